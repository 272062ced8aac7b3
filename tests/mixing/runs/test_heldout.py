"""Sampling errors from the losses of single held-out windows, against what repeated samples show."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.runs.heldout import carried, clustered_error, restated

WINDOWS, FEW = 240, 40


def test_a_loss_on_few_windows_is_carried_to_all() -> None:
    """Over 2,000 samples: as good as 240 windows would be but for the residual, and the error says so."""
    rng = np.random.default_rng(0)
    found, errors, plain = [], [], []
    for _ in range(2000):
        last_w = rng.normal(3, 1, WINDOWS)
        all_w = 0.8 * last_w + rng.normal(0, 0.2, WINDOWS) + 1
        losses_w = np.where(np.arange(WINDOWS) < FEW, all_w, np.nan)
        of_all = carried(losses_w, last_w)
        found.append(of_all.loss)
        errors.append(clustered_error(of_all.influence_w, np.arange(WINDOWS)))
        plain.append(np.nanmean(losses_w))
    expected = np.sqrt(0.8**2 / WINDOWS + 0.2**2 / FEW)
    # 2,000 samples tell a standard deviation to 1.6%; a slope of 40 windows costs 1/80 of the residual.
    assert np.std(found) == pytest.approx(expected, rel=0.05)
    assert np.mean(errors) == pytest.approx(expected, rel=0.05)
    assert np.mean(found) == pytest.approx(3.4, abs=0.01)
    assert np.std(plain) > 1.8 * np.std(found)


def test_windows_of_one_document_err_together() -> None:
    """Four windows a document that share its luck: the error over documents is that of repeated samples."""
    rng = np.random.default_rng(1)
    document_w = np.repeat(np.arange(60), 4)
    means, errors = [], []
    for _ in range(1000):
        losses_w = rng.normal(0, 1, 60)[document_w] + rng.normal(0, 0.5, 240)
        means.append(losses_w.mean())
        errors.append(clustered_error((losses_w - losses_w.mean()) / 240, document_w))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.07)
    assert clustered_error(np.zeros(4), np.zeros(4, dtype=np.int64)) is None


def windows(losses: dict[int, list[float]], ids: list[int]) -> pl.DataFrame:
    rows = [
        {"tokens": tokens, "eval": "web", "window": window, "document": window, "loss": loss}
        for tokens, of_windows in losses.items()
        for window, loss in zip(ids, of_windows, strict=False)
    ]
    return pl.DataFrame(rows)


FRAME = pl.DataFrame(
    {
        "run": ["base", "a", "c"],
        "share.web": [None, 0.5, 0.4],
        "params": [7, 7, 7],
        "tokens": [0, 10, 10],
        "eval": ["web"] * 3,
        "loss": [2.0, 2.5, 9.0],
    }
)


def test_rows_get_the_paired_error_of_their_increment() -> None:
    found = restated(
        FRAME, {"base": windows({0: [1, 2, 3]}, [1, 4, 6]), "a": windows({10: [1.4, 2.5, 3.6]}, [1, 4, 6])}
    )
    assert found["increment_stderr"].to_list() == [None, pytest.approx(0.1 / np.sqrt(3)), None]
    assert found["loss"].to_list() == FRAME["loss"].to_list()
    # Other windows than the base's: not paired.
    other = restated(
        FRAME, {"base": windows({0: [1, 2, 3]}, [1, 4, 6]), "a": windows({10: [1, 2, 3]}, [1, 4, 7])}
    )
    assert other["increment_stderr"].null_count() == 3
    assert restated(FRAME, {}).equals(FRAME)


def test_a_run_on_windows_of_its_own_keeps_its_increment_over_the_base_there() -> None:
    found = restated(FRAME, {"c": windows({0: [8.0, 8.4], 10: [9.0, 9.6]}, [2, 3])}).filter(run="c")
    assert found["loss"].to_list() == [pytest.approx(2.0 + 1.1)]
    assert found["heldout"].to_list() == ["confirmation"]
    assert found["increment_stderr"].to_list() == [pytest.approx(0.1)]


def test_the_base_tells_what_the_last_loss_leaves_open() -> None:
    """A loss half-way from the base's to the last: both together carry it almost exactly, the last alone does not."""
    rng = np.random.default_rng(2)
    alone, both, errors = [], [], []
    for _ in range(1000):
        base_w = rng.normal(3, 1, WINDOWS)
        last_w = base_w + rng.normal(0.2, 0.5, WINDOWS)
        half_w = (base_w + last_w) / 2 + rng.normal(0, 0.05, WINDOWS)
        losses_w = np.where(np.arange(WINDOWS) < FEW, half_w, np.nan)
        alone.append(carried(losses_w, last_w).loss - half_w.mean())
        found = carried(losses_w, last_w, base_w)
        both.append(found.loss - half_w.mean())
        errors.append(
            clustered_error(found.influence_w - (base_w - base_w.mean()) / WINDOWS, np.arange(WINDOWS))
        )
    assert np.std(alone) > 3 * np.std(both)
    # The increment moves by half of 0.5 over all windows, and by what the few leave open.
    expected = np.sqrt(0.25**2 / WINDOWS + 0.05**2 / FEW)
    assert np.mean(errors) == pytest.approx(expected, rel=0.05)


def test_early_losses_are_restated_on_all_windows_and_last_ones_stay() -> None:
    rng = np.random.default_rng(3)
    base_w = rng.normal(2, 1, 60)
    last_w = base_w + rng.normal(0.4, 0.3, 60)
    early_w = (base_w + last_w) / 2
    ids = list(range(60))
    of_windows = {
        "base": windows({0: list(base_w)}, ids),
        "a": windows({5: list(early_w[:20]), 10: list(last_w)}, ids),
    }
    early = FRAME.filter(run="a").with_columns(tokens=pl.lit(5, dtype=pl.Int64))
    found = restated(pl.concat([FRAME, early]), of_windows).filter(run="a").sort("tokens")
    assert found["loss"].to_list() == [pytest.approx(early_w.mean()), 2.5]


def test_a_loss_on_a_handful_of_windows_moves_with_them() -> None:
    """Three windows fit any slope: the loss is the last one's and how far the three were from theirs."""
    losses_w = np.array([2.0, 3.1, 4.3, np.nan])
    assert carried(losses_w, np.array([1.0, 2.0, 3.0, 8.0])).loss == pytest.approx(3.5 + 3.4 / 3)


def test_runs_of_several_sizes_are_paired_with_the_base_of_their_own_size() -> None:
    other = FRAME.with_columns(run="big " + pl.col("run"), params=pl.lit(9, dtype=pl.Int64))
    both = pl.concat([FRAME, other]).filter(~pl.col("run").str.ends_with("c"))
    of_windows = {
        "base": windows({0: [1, 2, 3]}, [1, 4, 6]),
        "a": windows({10: [1.4, 2.5, 3.6]}, [1, 4, 6]),
        "big base": windows({0: [1, 2, 3]}, [1, 4, 6]),
        "big a": windows({10: [1.2, 2.5, 3.8]}, [1, 4, 6]),
    }
    found = restated(both, of_windows)["increment_stderr"].to_list()
    assert found == [None, pytest.approx(0.1 / np.sqrt(3)), None, pytest.approx(0.3 / np.sqrt(3))]
