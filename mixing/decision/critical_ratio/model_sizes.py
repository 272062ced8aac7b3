"""From proxies of three sizes or more to a model size that was not trained.

At every target share the increment is taken to move with the logarithm of the parameters, the first term of any power
of them and all that three sizes can tell: g(R, N) = c(R) + d(R) ln N. Each size brings what is believed of its own
curve, so the scatter of runs, the law's misfit and few runs are carried along. How far such a line goes astray is seen
on the largest size, predicted from the others; that miss, per unit of ln N, widens the answer as far as it is followed.
"""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats
from mixing.decision.critical_ratio.posterior import LossPosterior
from mixing.decision.question import Question
from mixing.errors import InputError
from mixing.runs.table import RunTable

MIN_SIZES = 3
REFUSE_BEYOND = 100.0
"""How many times the largest trained size is followed at all."""


def sizes_to_extend(table: RunTable, question: Question) -> list[int] | None:
    """The trained sizes, rising, where another one is asked about; None where no extension is needed.

    Raises InputError for a size that the trained ones cannot tell of.
    """
    sizes = [int(n) for n in table.trained["params"].drop_nulls().unique().sort().to_list()]
    if question.params is None or not sizes or question.params in sizes:
        return None
    named = ", ".join(f"{n:,}" for n in sizes)
    if len(sizes) < MIN_SIZES:
        raise InputError(
            f"{table.source}: no runs of {question.params} parameters, and the {len(sizes)} size(s) trained ({named}) "
            "say too little of others",
            f"Train the same mixtures at {MIN_SIZES} sizes or more, or ask about a size of the table",
        )
    if question.params < sizes[0] or question.params > REFUSE_BEYOND * sizes[-1]:
        raise InputError(
            f"{table.source}: no runs of {question.params} parameters, too far from the sizes trained ({named})",
            f"Ask about {sizes[0]:,} to {int(REFUSE_BEYOND * sizes[-1]):,} parameters",
        )
    return sizes


def line_weights(sizes: list[int], params: float) -> Floats:
    """Weights of the sizes, weight_k, in a straight line in ln N read off at `params`."""
    columns_k2 = np.stack([np.ones(len(sizes)), np.log(np.array(sizes, dtype=float))], 1)
    return np.asarray(np.array([1.0, np.log(params)]) @ np.linalg.pinv(columns_k2))


def extend(
    posterior_k: list[LossPosterior], sizes: list[int], params: int, rng: np.random.Generator
) -> tuple[LossPosterior, float]:
    """The curve at another size, and by how many nats the largest size was missed by the others (mean absolute)."""
    weight_k = line_weights(sizes, params)
    mean_g = np.tensordot(weight_k, np.stack([c.mean_g for c in posterior_k]), 1)
    # Sizes are drawn apart: their runs share no luck that is known of.
    draws_bg = sum(
        w * c.draws_bg[rng.permutation(len(c.draws_bg))] for w, c in zip(weight_k, posterior_k, strict=True)
    )
    earlier_j = line_weights(sizes[:-1], sizes[-1])
    predicted_g = np.tensordot(earlier_j, np.stack([c.mean_g for c in posterior_k[:-1]]), 1)
    inner_g = (posterior_k[-1].grid_g > 0.1) & (posterior_k[-1].grid_g < 0.9)
    miss_g = (predicted_g - posterior_k[-1].mean_g)[inner_g]
    step = np.log(sizes[-1] / sizes[-2])
    beyond = max(np.log(params / sizes[-1]), 0.0)
    drift = float(np.sqrt((miss_g**2).mean())) / step * beyond
    last = posterior_k[-1]
    tilt_g = np.clip((last.grid_g - 0.5) / 0.3, -2, 2)
    astray_b2 = drift * rng.standard_normal((len(last.draws_bg), 2))
    draws_bg = np.asarray(draws_bg + astray_b2[:, :1] + astray_b2[:, 1:] * tilt_g)
    extended = LossPosterior(last.grid_g, mean_g, draws_bg, last.scatter_b, checkpoint_sd=last.checkpoint_sd)
    return extended, float(np.abs(miss_g).mean())
