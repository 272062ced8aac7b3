from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.runs.clean_twins import clean_twins

DOCUMENTS, PER_DOCUMENT, TWINS = 60, 4, 20
GAP = 0.3
"""How much more a run gains on documents that recur in its training text."""
SCATTER = 0.05


def windows(tokens: int, loss_w: np.ndarray, name: str = "web") -> pl.DataFrame:
    count = DOCUMENTS * PER_DOCUMENT
    return pl.DataFrame(
        {
            "tokens": [tokens] * count,
            "eval": [name] * count,
            "window": range(count),
            "document": np.arange(count) // PER_DOCUMENT,
            "loss": loss_w,
        }
    )


@pytest.fixture
def measured() -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(0)
    count = DOCUMENTS * PER_DOCUMENT
    before_w = rng.normal(3, 0.5, count)
    leaked_w = (np.arange(count) // PER_DOCUMENT < TWINS) * GAP
    early = windows(100, before_w)
    last = windows(200, before_w - 0.1 - leaked_w + rng.normal(0, SCATTER, count))
    return {"base": windows(0, before_w), "r": pl.concat([early, last])}


def test_the_gap_that_planted_twins_make_is_measured(measured: dict[str, pl.DataFrame]) -> None:
    (twin,) = clean_twins(measured, "base", {"web": range(TWINS)})
    assert (twin.run, twin.eval, twin.tokens) == ("r", "web", 200)
    assert twin.clean_increment == pytest.approx(-0.1, abs=3 * SCATTER / np.sqrt(160))
    # A third of the documents, so a third of the gap. The error also counts which documents were drawn.
    assert twin.gap == pytest.approx(GAP / 3, abs=0.01)
    assert 0.005 < twin.stderr < 0.03


def test_a_run_with_windows_of_its_own_is_held_against_its_own_base(
    measured: dict[str, pl.DataFrame],
) -> None:
    other = {
        "c": pl.concat(
            [table.with_columns(pl.col("window") + 1000) for table in (measured["base"], measured["r"])]
        )
    }
    of_swarm, of_confirmation = clean_twins({**measured, **other}, "base", {"web": range(TWINS)})
    assert of_confirmation.gap == of_swarm.gap


@pytest.mark.parametrize("repeated", [[], [0, 1], range(DOCUMENTS), range(DOCUMENTS - 7)])
def test_with_few_twins_or_few_clean_documents_nothing_is_said(
    measured: dict[str, pl.DataFrame], repeated: list[int]
) -> None:
    assert clean_twins(measured, "base", {"web": repeated}) == []
    assert clean_twins(measured, "base", {"news": [1]}) == []


def test_a_run_that_was_measured_elsewhere_is_left_out(measured: dict[str, pl.DataFrame]) -> None:
    moved = {**measured, "r": measured["r"].with_columns(pl.col("window") + 1)}
    assert clean_twins(moved, "base", {"web": range(TWINS)}) == []
