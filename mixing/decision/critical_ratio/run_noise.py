"""How far runs scatter around a law, and noise drawn by run, to which surfaces are refitted.

The unit is the run: neighbouring checkpoints of one run share its luck (initial weights, data order), so they are
never resampled apart. A run's error is an offset common to its checkpoints plus a part of its own at each
checkpoint, correlated with the one before (AR(1) in checkpoint order).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats, Ints

PRIOR_DOF = 3.0
"""Weight, in degrees of freedom, of the belief that runs scatter as much as the checkpoints of one run do.

With four runs and a three-parameter law one degree of freedom is left: its variance estimate alone would make
intervals four times too wide or far too narrow. Coverage on known-answer landscapes chose the value
(`python -m benchmarks.coverage`).
"""


@dataclass(frozen=True)
class Noise:
    """Standard deviations in nats: `run` between runs, `checkpoint` within one; `correlation` of neighbours.

    `dof` are the degrees of freedom behind `run`.
    """

    run: float
    checkpoint: float
    correlation: float
    dof: float

    def total(self) -> float:
        """The scatter of one run at one checkpoint."""
        return float(np.hypot(self.run, self.checkpoint))

    def draw(self, run_n: Ints, tokens_n: Floats, count: int, rng: np.random.Generator) -> Floats:
        """`count` noise vectors noise_bn, heavy-tailed as a variance estimated from few runs demands."""
        codes, inverse = np.unique(run_n, return_inverse=True)
        inflation_b = np.sqrt(self.dof / rng.chisquare(self.dof, size=count))
        offsets_br = self.run * inflation_b[:, None] * rng.standard_normal((count, len(codes)))
        noise_bn = offsets_br[:, inverse]
        white_bn = rng.standard_normal((count, len(run_n)))
        keep = np.sqrt(1 - self.correlation**2)
        for code in range(len(codes)):
            rows = np.flatnonzero(inverse == code)
            rows = rows[np.argsort(tokens_n[rows], kind="stable")]
            state_b = white_bn[:, rows[0]]
            noise_bn[:, rows[0]] += self.checkpoint * state_b
            for row in rows[1:]:
                state_b = self.correlation * state_b + keep * white_bn[:, row]
                noise_bn[:, row] += self.checkpoint * state_b
        return noise_bn


def estimate(
    residual_n: Floats, run_n: Ints, tokens_n: Floats, n_ratio_parameters: int, token_powers: int = 0
) -> Noise:
    """Noise from the residuals of one fit.

    Each power of tokens costs the checkpoints within runs its exponent and two coefficients (`token_powers`).

    `n_ratio_parameters` is what the law spends across mixtures (3 for a ratio law): r runs leave r minus that
    many degrees of freedom for the scatter between runs, and each run's mean costs one of its checkpoints.
    """
    codes = np.unique(run_n)
    offsets, squares, lagged, pairs, inner = [], 0.0, 0.0, 0, 0
    for code in codes:
        rows = np.flatnonzero(run_n == code)
        errors = residual_n[rows[np.argsort(tokens_n[rows], kind="stable")]]
        offsets.append(errors.mean())
        within = errors - errors.mean()
        squares += float((within**2).sum())
        lagged += float((within[1:] * within[:-1]).sum())
        inner += max(len(rows) - 1, 0)
        pairs += max(len(rows) - 1, 0)
    spent = 3.0 * token_powers if token_powers else (2.0 if inner > 6 else 0.0)
    checkpoint = np.sqrt(squares / max(inner - spent, 1.0)) if inner else 0.0
    correlation = float(np.clip(lagged / squares, 0.0, 0.9)) if squares > 0 and pairs else 0.0
    left = max(len(codes) - n_ratio_parameters, 0)
    between = float((np.array(offsets) ** 2).sum())
    prior = PRIOR_DOF if inner else 0.0
    dof = max(left + prior, 1.0)
    run = np.sqrt((between + prior * checkpoint**2) / dof)
    return Noise(float(run), float(checkpoint), correlation, float(dof))
