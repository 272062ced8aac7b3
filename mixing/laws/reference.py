"""Published formulas as their papers write them, in the papers' own units, and what the papers do with them.

No fit and no decision uses these. They are what tests and benchmarks hold our forms against, and are here for whoever
wants a paper's number again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from mixing.arrays import Floats
from mixing.laws.repetition import PARAMETER_HALF_LIFE, effective

Loss = Callable[[float], float]
"""A loss (nats per token) at a share."""


def ratio_law(target_r: Floats, alpha: float, s: float, beta: float) -> Floats:
    """alpha R^s + beta: the loss at target shares R and one budget (Gu et al. 2024, arXiv 2407.17467, eq. a)."""
    return np.asarray(alpha * target_r**s + beta)


def cmr_law(tokens: Floats | float, a4: float, s4: float, b3: float) -> Floats:
    """The critical ratio a4 T^s4 + b3, clamped to [0, 1], T in units of 0.2B tokens (Gu et al. 2024, eq. d)."""
    return np.asarray(np.clip(a4 * np.asarray(tokens, dtype=float) ** s4 + b3, 0.0, 1.0))


def turning_time(a2: float, s2: float, a3: float, s3: float) -> float | None:
    """Where a2 T^s2 + a3 T^s3 turns from rising to falling (T0 of Gu et al. 2024, eq. c); None where it never does."""
    if s2 == s3 or a3 * s3 == 0 or -(a2 * s2) / (a3 * s3) <= 0:
        return None
    time = float((-(a2 * s2) / (a3 * s3)) ** (1 / (s3 - s2)))
    # The term with the larger exponent rules the slope after T0: it must pull down.
    later = a2 * s2 if s2 > s3 else a3 * s3
    return time if later < 0 else None


def largest_share(
    general: Loss, base: float, tolerance: float, low: float = 0.01, high: float = 0.99
) -> float:
    """The largest target share whose general loss is at most (1 + tolerance) times the base model's; 0 for none.

    The first use of the D-CPT law (Que et al. 2024, arXiv 2406.01375). `general` gives the general loss at a target
    share r (the law at 1 - r). The tolerance is **relative**, where that of a decision is in nats.
    """
    limit = (1 + tolerance) * base
    if general(high) <= limit:
        return high
    if general(low) > limit:
        return 0.0
    return float(brentq(lambda r: general(r) - limit, low, high))


def share_of_scarce(target: Callable[[float, float], float], scarce: float, low: float = 0.01) -> float:
    """The share of least target loss with only `scarce` target tokens to read once, so that D = scarce / r.

    The second use of the D-CPT law; `target(r, tokens)` is the law of the target loss.
    """
    best = minimize_scalar(lambda r: target(r, scarce / r), bounds=(low, 1.0), method="bounded")
    return float(best.x)


def best_size(
    loss: Callable[[float, float], float], compute: float, low: float = 1e6, high: float = 1e13
) -> float:
    """The parameters N of least loss at `compute` FLOPs, with D = compute / (6 N) tokens: the third use of D-CPT."""
    best = minimize_scalar(
        lambda x: loss(float(np.exp(x)), compute / (6 * float(np.exp(x)))),
        bounds=(float(np.log(low)), float(np.log(high))),
        method="bounded",
    )
    return float(np.exp(best.x))


def learnability(initial_loss: float, rate: float, weights: tuple[float, float]) -> float:
    """K = w1 / k1 + w2 k2 of a domain in the cross-domain D-CPT law: k1 its initial loss, k2 how fast that falls."""
    return weights[0] / initial_loss + weights[1] * rate


def cross_domain(loss: float, scale: float, domain: float, power: float) -> float:
    """The cross-domain D-CPT law: the loss of what all domains have in common, and F / K^mu of this one."""
    return float(loss + scale / domain**power)


def falls_with_share(predict: Loss, low: float, high: float) -> bool:
    """Whether a loss falls with its own share over a range: where it does not, D-CPT must not be trusted."""
    losses = [predict(float(r)) for r in np.linspace(low, high, 50)]
    return bool((np.diff(losses) <= 0).all())


def data_constrained_loss(params: float, tokens: float, unique: float) -> float:
    """The loss of N parameters on D tokens of which U are unique, for C4 (Muennighoff et al. 2023, arXiv 2305.16264).

    Nats per token, by the fit of its appendix A.
    """
    ln_a, ln_b, ln_e, alpha = 6.255414, 7.3049974, 0.6254804, 0.3526596
    # The parameters that the unique tokens are compute-optimal for; those beyond are worth less, as repeats are.
    balance = np.exp((ln_a - ln_b) / (2 * alpha))
    useful = min(params, balance**2 * unique)
    worth_params = effective(params, useful, PARAMETER_HALF_LIFE)
    worth_tokens = effective(tokens, unique)
    return float(np.exp(ln_e) + np.exp(ln_a) / worth_params**alpha + np.exp(ln_b) / worth_tokens**alpha)
