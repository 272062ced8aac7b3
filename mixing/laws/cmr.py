"""The CMR law (Gu et al., EMNLP 2024, arXiv 2407.17467): the loss over target share R and tokens T.

The paper fits slices: at fixed T a ratio law alpha*R^s + beta, at fixed R a token law with one power of T for the
target loss and two for the general loss, which rises, then falls. The surface below is the one form whose slices
are exactly those, with exponents shared, so that a few ratios are enough and every checkpoint helps:

    L(R, T) = sum_k [a_k + b_k * P(R; s)] * P_k(T),   P_0 = 1, P_1 = P(T; p), P_2 = P(T; p + gap)

with P(x; s) = (x^s - 1)/s. The bilinear surface is ours; its slices are the paper's equations a and b.
`cmr-steady` is the same surface with an expectation of p and gap, for budgets past the last checkpoint;
`cmr-replay` has 1 - R in the place of R: the general loss answers to its own share, as in D-CPT (2406.01375).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.laws.power import power, power_ds, power_dx
from mixing.runs.points import Points

RATIO_EXPONENT = Parameter("s", -4.0, 12.0, "exponent of the target share")
REPLAY_EXPONENT = Parameter("s", -2.0, 4.0, "exponent of the replay share")
TOKEN_EXPONENT = Parameter("p", -1.5, 1.5, "first exponent of tokens")
TOKEN_GAP = Parameter("gap", 0.3, 3.0, "second exponent of tokens less the first")
STEADY_EXPONENT = replace(TOKEN_EXPONENT, expected=-0.5, spread=0.5)
STEADY_GAP = replace(TOKEN_GAP, expected=1.0, spread=0.5)
"""A warm-up that dies out and a slow fall: T^-1/2 and T^1/2 within about one half, on either side of the logarithm.

Checkpoints alone leave two exponents open, and past the last one they decide; where the runs know better, they win.
"""


@dataclass(frozen=True)
class Cmr(FormulaTraits):
    """The surface with `token_powers` 0 (ratio law at one budget), 1 (monotone) or 2 (rises, then falls)."""

    name: str
    title: str
    token_powers: int
    formula: str
    source: str = "Gu et al. 2024, arXiv 2407.17467; the joint surface is ours"
    needs: str = "a target share strictly between 0 and 1; tokens, but for the ratio law"
    caution: str = (
        "shares 0 and 1; past 4 times the trained tokens; turning points with few checkpoints after them"
    )
    min_mixtures: int = 3
    tokens_t: tuple[float, ...] = ()
    replay: bool = False
    steady: bool = False

    needs_target_share = True

    @property
    def one_budget(self) -> bool:
        return self.token_powers == 0

    @property
    def turns(self) -> bool:
        return self.token_powers == 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        share = REPLAY_EXPONENT if self.replay else RATIO_EXPONENT
        token = (STEADY_EXPONENT, STEADY_GAP) if self.steady else (TOKEN_EXPONENT, TOKEN_GAP)
        return (share, *token)[: 1 + self.token_powers]

    @property
    def linear(self) -> tuple[str, ...]:
        return tuple(f"{letter}{k}" for k in range(1 + self.token_powers) for letter in "ab")

    def usable(self, points: Points) -> NDArray[np.bool_]:
        """Interior shares only: with R = 1 in, a ratio law degenerates, and R = 0 has no power."""
        if np.isnan(points.target_n).all():
            return np.ones(len(points), dtype=bool)
        return points.interior()

    def prepare(self, points: Points) -> Cmr:
        if np.isnan(points.target_n).any():
            raise NotApplicable("needs a target share: two sources, or roles for more")
        ratios = np.unique(points.target_n.round(9))
        if len(ratios) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different target shares, got {len(ratios)}")
        checkpoints = np.unique(points.tokens_n)
        if len(checkpoints) < (1, 3, 4)[self.token_powers]:
            raise NotApplicable(f"needs more checkpoints than {len(checkpoints)}")
        return replace(self, tokens_t=tuple(checkpoints))

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        ratio = (-0.5, 0.3, 1.0, 2.0) if self.replay else (-1.0, 0.5, 1.5, 4.0)
        token = ((), ((-0.5,), (0.3,)), ((-0.5, 1.0), (0.2, 1.0), (0.5, 2.0)))[self.token_powers]
        rows = [(s, *t) for s in ratio for t in (token or ((),))]
        return np.array(rows, dtype=float)

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        ratio_bnr, time_bnk = self._ratio(theta_bq, points), self._time(theta_bq, points, power)
        return self._outer(time_bnk, ratio_bnr)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        ratio_bnr, time_bnk = self._ratio(theta_bq, points), self._time(theta_bq, points, power)
        ratio_ds_bnr = np.zeros_like(ratio_bnr)
        ratio_ds_bnr[..., 1] = power_ds(self._share(points), theta_bq[:, :1])
        rows = [self._outer(time_bnk, ratio_ds_bnr)]
        if self.token_powers:
            by_exponent_bnk = self._time(theta_bq, points, power_ds)
            by_exponent_bnk[..., 0] = 0
            rows.append(self._outer(by_exponent_bnk, ratio_bnr))
        if self.token_powers == 2:
            by_gap_bnk = by_exponent_bnk.copy()
            by_gap_bnk[..., 1] = 0
            rows.append(self._outer(by_gap_bnk, ratio_bnr))
        return np.stack([(row_bnl @ linear_bl[..., None])[..., 0] for row_bnl in rows], axis=1)

    def basis_slope(self, theta_bq: Floats, points: Points) -> Floats | None:
        """d basis / d ln T, slope_bnl, with which the turning point is found; None for the ratio law."""
        if not self.token_powers:
            return None
        time_bnk = self._time(theta_bq, points, power_dx)
        time_bnk[..., 0] = 0
        scaled_bnk = time_bnk * (points.tokens_n / points.token_unit)[None, :, None]
        return self._outer(scaled_bnk, self._ratio(theta_bq, points))

    @staticmethod
    def _outer(time_bnk: Floats, ratio_bnr: Floats) -> Floats:
        return (time_bnk[..., :, None] * ratio_bnr[..., None, :]).reshape(*time_bnk.shape[:2], -1)

    def _share(self, points: Points) -> Floats:
        return 1 - points.target_n if self.replay else points.target_n

    def _ratio(self, theta_bq: Floats, points: Points) -> Floats:
        share_bn = power(self._share(points), theta_bq[:, :1])
        return np.stack([np.ones_like(share_bn), share_bn], axis=-1)

    def _time(self, theta_bq: Floats, points: Points, form: object) -> Floats:
        assert callable(form)
        tokens_n = points.tokens_n / points.token_unit
        exponents = [theta_bq[:, 1:2], theta_bq[:, 1:2] + theta_bq[:, 2:3]][: self.token_powers]
        columns = [np.ones((len(theta_bq), len(points)))] + [form(tokens_n, e) for e in exponents]
        return np.stack(columns, axis=-1)


RATIO = Cmr(
    "ratio",
    "Ratio law",
    0,
    "L(R) = alpha R^s + beta, at the asked budget",
    caution="shares 0 and 1; any other budget",
)
CMR_MONOTONE = Cmr(
    "cmr-monotone",
    "CMR law, one power of T",
    1,
    "L(R,T) = (a0 + b0 R^s) + (a1 + b1 R^s) T^p",
    caution="shares 0 and 1; losses that turn; past 4 times the trained tokens",
)
CMR = Cmr(
    "cmr", "CMR law, two powers of T", 2, "L(R,T) = (a0 + b0 R^s) + (a1 + b1 R^s) T^p + (a2 + b2 R^s) T^q"
)


CMR_REPLAY = replace(
    CMR,
    name="cmr-replay",
    title="CMR law in the replay share",
    formula="L(R,T) = (a0 + b0 (1-R)^s) + (a1 + b1 (1-R)^s) T^p + (a2 + b2 (1-R)^s) T^q",
    source="Que et al. 2024, arXiv 2406.01375, for the share; the joint surface is ours",
    replay=True,
)
CMR_STEADY = replace(
    CMR, name="cmr-steady", title="CMR law, two powers of T, expected at -1/2 and 1/2", steady=True
)
