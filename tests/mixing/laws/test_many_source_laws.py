"""Laws of many sources: each against a surface of its own making, and its Jacobian against differences."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.arrays import Floats
from mixing.fitting.engine import fit, fit_model
from mixing.fitting.regressors import REGRESSORS
from mixing.fitting.regressors.repetition import Repeated
from mixing.fitting.selection import MODELS
from mixing.laws import LAWS
from mixing.laws.base import Law, NotApplicable
from mixing.laws.reference import (
    best_size,
    cross_domain,
    data_constrained_loss,
    falls_with_share,
    largest_share,
    learnability,
    share_of_scarce,
)
from mixing.laws.repetition import effective
from mixing.runs.points import Points

SEARCHED = [law for law in LAWS.values() if law.name not in ("constant", "linear", "scheffe")]


def swarm(mixtures: int = 40, domains: int = 3, budgets: int = 4, sizes: int = 2, seed: int = 0) -> Points:
    """Every mixture at every budget and size; two sources have a target share."""
    rng = np.random.default_rng(seed)
    shares_md = rng.dirichlet(np.full(domains, 0.8), size=mixtures).clip(1e-3)
    shares_md /= shares_md.sum(1, keepdims=True)
    m, t, s = (
        a.ravel()
        for a in np.meshgrid(np.arange(mixtures), np.arange(budgets), np.arange(sizes), indexing="ij")
    )
    tokens_n = 1e9 * 2.0**t
    run_n = (m * sizes + s).astype(np.int64)
    return Points(
        shares_md[m], shares_md[m, -1], tokens_n, tokens_n.max(), m.astype(np.int64), run_n, 1e8 * 3.0**s
    )


def theta_of(law: Law, rng: np.random.Generator) -> Floats:
    """Parameters near what is expected of them."""
    spread = [min(p.spread, 0.25 * (p.high - p.low), 0.7) for p in law.parameters]
    theta = np.array([p.expected for p in law.parameters]) + 0.5 * np.array(spread) * rng.standard_normal(
        len(spread)
    )
    return np.clip(theta, [p.low + 1e-3 for p in law.parameters], [p.high - 1e-3 for p in law.parameters])


@pytest.mark.parametrize("law", SEARCHED, ids=lambda law: law.name)
@pytest.mark.parametrize(("budgets", "sizes"), [(4, 2), (1, 1)])
def test_the_jacobian_is_the_slope_of_the_prediction(law: Law, budgets: int, sizes: int) -> None:
    points = swarm(budgets=budgets, sizes=sizes)
    try:
        law = law.prepare(points)
    except NotApplicable:
        pytest.skip("the law needs several checkpoints")
    rng = np.random.default_rng(1)
    theta = theta_of(law, rng)[None, :]
    linear = rng.standard_normal((1, len(law.linear)))
    jacobian_qn = law.jacobian(theta, linear, points)[0]
    assert jacobian_qn.shape == (theta.shape[1], len(points))
    h = 1e-6
    for q in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[0, q] = h
        up, down = (law.basis(theta + sign * step, points)[0] @ linear[0] for sign in (1, -1))
        # Central differences: rounding over h, far below 1e-5 of the largest slope.
        np.testing.assert_allclose(
            jacobian_qn[q], (up - down) / (2 * h), rtol=1e-5, atol=1e-5 * (1 + np.abs(jacobian_qn).max())
        )


@pytest.mark.parametrize("law", SEARCHED, ids=lambda law: law.name)
def test_a_law_finds_its_own_surface(law: Law) -> None:
    """Noise-free losses of the law itself: the fit must predict unseen mixtures, whatever its parameters are."""
    points = swarm(sizes=2 if "N" in law.formula else 1)
    prepared = law.prepare(points)
    rng = np.random.default_rng(3)
    theta = theta_of(prepared, rng)[None, :]
    linear = np.abs(rng.normal(1.0, 0.3, (1, len(prepared.linear))))
    losses_n = prepared.basis(theta, points)[0] @ linear[0]
    if (losses_n <= 0).any():
        losses_n = losses_n - losses_n.min() + 0.5
    spread = losses_n.std()
    kept = points.mixture_n % 5 != 0
    found = fit(law, points.take(kept), losses_n[None, kept])[0]
    error_n = found.predict(points.take(~kept))[0] - losses_n[~kept]
    # Expectations about parameters pull a little even without noise; 3% of the spread is far below what matters.
    assert np.sqrt((error_n**2).mean()) < 0.03 * spread


@pytest.mark.parametrize("name", list(REGRESSORS))
def test_a_regressor_beats_the_constant_on_a_smooth_surface(name: str) -> None:
    points = swarm(mixtures=60, sizes=1)
    losses_n = (
        2 + np.exp(points.shares_nd @ [-1.0, 0.3, -0.2]) + 0.3 * (points.tokens_n / points.token_unit) ** -0.4
    )
    kept = points.mixture_n % 5 != 0
    found = fit_model(REGRESSORS[name], points.take(kept), losses_n[None, kept])[0]
    error_n = found.predict(points.take(~kept))[0] - losses_n[~kept]
    assert np.sqrt((error_n**2).mean()) < 0.25 * losses_n.std()
    assert all(np.isfinite(list(found.named().values())))


def test_an_absent_source_counts_for_nothing_and_breaks_nothing() -> None:
    points = swarm(sizes=1, budgets=1)
    shares_nd = points.shares_nd * np.array([1.0, 1.0, 0.0])
    points = Points(
        shares_nd / shares_nd.sum(1, keepdims=True),
        np.full(len(points), np.nan),
        points.tokens_n,
        points.token_unit,
        points.mixture_n,
        points.run_n,
    )
    losses_n = 3 - points.shares_nd[:, 0]
    for name in ("exponential", "mixture-additive", "mixture-product", "autoscale"):
        assert np.isfinite(fit(LAWS[name], points, losses_n[None, :])[0].predict(points)).all()


def test_repetition_golden() -> None:
    """The published fit's losses, as its authors' code gives them."""
    assert data_constrained_loss(6.34e9, 242e9, 25e9) == pytest.approx(2.2256440889984477, abs=1e-12)
    assert data_constrained_loss(8.67e9, 178e9, 25e9) == pytest.approx(2.2269634075087867, abs=1e-12)


def test_four_epochs_are_nearly_fresh_and_forty_are_not() -> None:
    assert effective(4.0, 1.0) > 0.9 * 4
    assert effective(40.0, 1.0) < 0.5 * 40
    assert effective(0.5, 1.0) == 0.5


def test_a_law_in_effective_tokens() -> None:
    points = swarm(sizes=1)
    unique_d = (5e7, np.inf, np.inf)
    worth_nd = effective(points.shares_nd * points.tokens_n[:, None], np.array(unique_d))
    losses_n = 2 + 0.1 * ((worth_nd / points.token_unit + 0.05) ** -0.35).sum(1)
    kept = points.mixture_n % 5 != 0
    errors = []
    for law in (LAWS["autoscale"], Repeated(LAWS["autoscale"], unique_d)):
        found = fit_model(law, points.take(kept), losses_n[None, kept])[0]
        errors.append(np.abs(found.predict(points.take(~kept))[0] - losses_n[~kept]).mean())
    assert errors[1] < errors[0] / 5


def test_d_cpt_golden_share() -> None:
    """Que et al. 2024: chemistry, 1.8B, 10B tokens: within 3% of 2.8602 the largest share is 0.924."""
    shares = np.array([0.90, 0.91, 0.92, 0.93, 0.94, 1.0])
    general = np.array([2.9052, 2.9193, 2.9376, 2.9644, 2.9848, 3.4667])
    interior = shares < 1
    nothing = np.arange(interior.sum())
    own = 1 - shares[interior]
    points = Points(np.stack([own, 1 - own], 1), own, np.full(len(own), 1e10), 1e10, nothing, nothing)
    found = fit(LAWS["d-cpt"], points, general[None, interior])[0]

    def loss(r: float) -> float:
        return float(found.predict(points.at(np.array([1 - r]), np.array([1e10])))[0, 0])

    # Measured losses are given to 1e-4 and scatter by some 2e-3 around any smooth curve: 3e-3 of share.
    assert largest_share(loss, 2.8602, 0.03) == pytest.approx(0.924, abs=0.003)


def test_the_other_uses_of_d_cpt() -> None:
    def target(r: float, tokens: float) -> float:
        return 1.0 + 0.5 * r**0.2 / tokens**0.3 + 0.3 / (r + 0.1) ** 0.7

    best = share_of_scarce(target, 1.0)
    around = [target(r, 1.0 / r) for r in (best - 0.02, best, best + 0.02)]
    assert around[1] < min(around[0], around[2])
    # L = A/N^a + B/D^b at C = 6ND has its least at N = (aA/(bB))^(1/(a+b)) (C/6)^(b/(a+b)).
    size = best_size(lambda n, d: 406.4 / n**0.34 + 410.7 / d**0.28, 1e21)
    exact = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (1e21 / 6) ** (0.28 / 0.62)
    assert size == pytest.approx(exact, rel=1e-3)
    assert falls_with_share(lambda r: target(r, 1e3), 0.1, 0.9)
    assert not falls_with_share(lambda r: r, 0.1, 0.9)
    assert largest_share(lambda r: 3 + r, 2.0, 0.1) == 0.0


def test_the_cross_domain_form() -> None:
    """Que et al. 2024: + F/K^mu with K = w1/k1 + w2 k2: what is harder to learn (smaller K) has the higher loss."""
    easy, hard = learnability(2.0, 0.4, (1.0, 0.5)), learnability(4.0, 0.1, (1.0, 0.5))
    assert (easy, hard) == (pytest.approx(0.7), pytest.approx(0.3))
    assert cross_domain(1.5, 0.2, easy, 0.5) == pytest.approx(1.5 + 0.2 / 0.7**0.5)
    assert cross_domain(1.5, 0.2, hard, 0.5) > cross_domain(1.5, 0.2, easy, 0.5) > 1.5


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_law_says_what_it_needs_and_where_not_to_trust_it(model: Law) -> None:
    for text in (model.title, model.formula, model.source, model.needs, model.caution):
        assert len(text) >= 5
    assert model.min_mixtures >= 1


def test_chinchilla_refit() -> None:
    """The protocol's golden numbers (Besiroglu et al. 2024, arXiv 2404.10102), recovered from noisy losses."""
    rng = np.random.default_rng(0)
    params, tokens = (
        a.ravel() for a in np.meshgrid(np.geomspace(5e7, 1.5e10, 12), np.geomspace(1e9, 5e11, 12))
    )
    losses = 1.8172 + 477.84 / params**0.3473 + 2143.86 / tokens**0.3672
    codes = np.arange(len(params)) % 7
    share = 0.1 + 0.1 * codes
    points = Points(
        np.stack([1 - share, share], 1),
        np.full(len(params), np.nan),
        tokens,
        tokens.max(),
        codes,
        codes,
        params,
    )
    noisy = losses + 0.002 * rng.standard_normal(len(losses))
    found = fit(LAWS["mixture-additive"], points, noisy[None, :])[0].named()
    # Parameters' own standard errors at this noise are about 0.004 (powers).
    assert found["powerA"] == pytest.approx(0.3473, abs=0.012)
    assert found["powerB"] == pytest.approx(0.3672, abs=0.012)
