"""Perplexities, accuracies and bits per byte: read by name, declared, or asked about; never taken for nats unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.metrics import metric_of_name
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from tests.mixing.runs.small_tables import as_text, small_rows


def frame(change: Any, rows: list[dict[str, Any]] | None = None) -> pl.DataFrame:
    rows = small_rows() if rows is None else rows
    return pl.DataFrame([{**row, "loss": change(row["loss"])} for row in rows], infer_schema_length=None)


def same_losses(one: RunTable, other: RunTable) -> bool:
    losses = [table.rows.sort("run", "tokens", "eval")["loss"].to_numpy() for table in (one, other)]
    return bool(np.allclose(*losses, atol=1e-9))


PLAIN = read_runs(frame(lambda loss: loss))


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("web_ppl", "perplexity"),
        ("val/perplexity", "perplexity"),
        ("mmlu_acc", "accuracy"),
        ("Exact Match", "accuracy"),
        ("web.bpb", "bits_per_byte"),
        ("bits-per-byte", "bits_per_byte"),
        ("web_loss", "loss"),
        ("macchiato", None),
        ("web", None),
        ("access", None),
    ],
)
def test_names_say_what_they_hold(name: str, metric: str | None) -> None:
    assert metric_of_name(name) == metric


def test_a_declared_perplexity_is_the_same_table() -> None:
    table = read_runs(frame(np.exp), metric="perplexity")
    assert same_losses(table, PLAIN)
    assert table.metrics == {"web": "perplexity", "german": "perplexity"}
    assert any("web read as perplexity" in warning for warning in table.warnings)


def test_a_column_or_a_name_says_it_too(tmp_path: Path) -> None:
    rows = [{**row, "loss": float(np.exp(row["loss"]))} for row in small_rows()]
    for tidy in (
        [{**row, "metric": "perplexity"} for row in rows],
        [{"perplexity" if key == "loss" else key: value for key, value in row.items()} for row in rows],
    ):
        (tmp_path / "t.csv").write_text(as_text(tidy))
        assert same_losses(read_runs(tmp_path / "t.csv"), PLAIN)
    wide = frame(np.exp).pivot(on="eval", index=["run", "share.web", "share.german", "tokens"], values="loss")
    table = read_runs(wide.rename({"web": "ppl.web", "german": "perplexity.german"}))
    assert table.metrics == {"german": "perplexity", "web": "perplexity"}
    assert same_losses(table, PLAIN)
    named = read_runs(frame(np.exp).with_columns(pl.col("eval") + "_ppl"))
    assert set(named.evals) == {"web_ppl", "german_ppl"}
    assert same_losses(named, PLAIN)
    # What is said goes before what a name says.
    assert read_runs(frame(lambda x: x).with_columns(pl.col("eval") + "_ppl"), metric="loss").metrics == {
        "web_ppl": "loss",
        "german_ppl": "loss",
    }


def test_joined_tables_are_converted_once() -> None:
    tables = [read_runs(frame(np.exp).filter(pl.col("run").is_in(runs)).with_columns(pl.col("eval") + "_ppl"))
              for runs in (["base", "r0.1", "r0.5"], ["r0.25", "r0.8"])]  # fmt: skip
    joined = read_runs(tables)
    assert joined.metrics == {"german_ppl": "perplexity", "web_ppl": "perplexity"}
    assert joined.rows["loss"].max() == PLAIN.rows["loss"].max()
    with pytest.raises(InputError, match="'web' is loss in one table and perplexity in another"):
        read_runs([PLAIN, read_runs(frame(np.exp).with_columns(metric=pl.lit("ppl")))])


@pytest.mark.parametrize("scale", [1, 100])
def test_accuracies_become_errors(scale: int) -> None:
    table = read_runs(frame(lambda loss: scale * (1 - loss / 5)), metric="accuracy")
    assert np.allclose(table.rows["loss"].to_numpy(), PLAIN.rows["loss"].to_numpy() / 5)
    assert any(("in percent" in warning) == (scale == 100) for warning in table.warnings)


def test_standard_errors_follow() -> None:
    table = read_runs(frame(np.exp).with_columns(stderr=0.01 * pl.col("loss")), metric="perplexity")
    assert np.allclose(table.rows["stderr"].to_numpy(), 0.01)


def test_values_that_are_no_nats_are_asked_about() -> None:
    with pytest.raises(InputError, match=r"the values of 'web' are 1\d\.\d+ in the middle") as caught:
        read_runs(frame(np.exp))
    assert "metric=perplexity" in caught.value.hint
    large = read_runs(frame(np.exp), metric={"web": "loss", "german": "loss"})
    assert large.rows["loss"].max() > 15  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (lambda x: x / 10, "perplexity", r"on 'web', which is no perplexity"),
        (lambda x: 100 * x, "accuracy", r"which is no accuracy"),
        (lambda x: x, "bleu", "'bleu' is not a metric"),
        (lambda x: x, {"wiki": "loss"}, "metric wiki: data frame has no such validation set"),
    ],
)
def test_what_cannot_be_is_refused(change: Any, metric: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_runs(frame(change), metric=metric)


def test_a_set_holds_one_metric() -> None:
    rows = [{**row, "metric": "ppl" if row["run"] == "r0.5" else "loss"} for row in small_rows()]
    with pytest.raises(InputError, match="validation set 'web' has rows of loss and ppl"):
        read_runs(pl.DataFrame(rows, infer_schema_length=None))
