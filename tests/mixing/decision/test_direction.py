"""Measures of which more is better: no mixture is recommended on them before somebody says what they are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.decision.decide import decide
from mixing.decision.wording import increment_title, increments
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from mixing.test_problems import LANDSCAPES

DOMAINS = ("web", "code", "math")
SHARES, BUDGETS = [0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000]


def rows() -> pl.DataFrame:
    return LANDSCAPES[0].study(SHARES, BUDGETS, run_sd=1e-4).rows.drop("params", "seed", "stderr")


def accuracies(*evals: str) -> pl.DataFrame:
    """The landscape with accuracies in the place of some losses."""
    mine = pl.col("eval").is_in(evals)
    return rows().with_columns(pl.when(mine).then(1 - pl.col("loss") / 8).otherwise("loss").alias("loss"))


@pytest.mark.parametrize("evals", [("target",), ("general", "target")])
def test_a_target_that_got_worse_everywhere_is_asked_about(evals: tuple[str, ...]) -> None:
    found = decide(accuracies(*evals), general="general", target="target", tolerance=0.02)
    assert found.status == "not_yet"
    assert found.shares == {}
    assert "is higher better here? Say what target holds: metric accuracy" in (found.reason or "")


def test_a_general_accuracy_that_falls_is_no_gain() -> None:
    found = decide(accuracies("general"), general="general", target="target", tolerance=0.02)
    assert found.status == "not_yet"
    assert "the general rises with the share of its own text" in (found.reason or "")


def test_said_accuracies_are_decided_on_and_shown_themselves() -> None:
    asked = {"general": "general", "target": "target"}
    plain = decide(rows(), **asked, tolerance=0.02)
    found = decide(read_runs(accuracies("general", "target"), metric="accuracy"), **asked, tolerance=0.02 / 8)
    assert found.critical_ratio == pytest.approx(plain.critical_ratio, abs=0.01)
    assert "nats" not in increment_title(found)
    general, target = increments(found)
    assert general.cells()[0].startswith("general (accuracy ")
    assert float(general.cells()[2]) < 0 < float(target.cells()[2])
    assert found.question.unit == "of accuracy"
    assert found.to_dict()["metrics"] == {"general": "accuracy", "target": "accuracy"}


def test_losses_below_one_that_behave_as_losses_are_none() -> None:
    table = RunTable(rows().with_columns(pl.col("loss") / 10), "t.csv")
    low = table.rows.with_columns(params=None, seed=None)
    found = decide(low, general="general", target="target", tolerance=0.002)
    assert found.has_answer
    assert any("lie between 0 and 1 and are taken for losses" in warning for warning in found.warnings)


def test_a_base_of_many_nats_may_be_a_perplexity() -> None:
    table = rows().with_columns(loss=(pl.col("loss") - 1).exp())
    found = decide(table, general="general", target="target", tolerance=0.1)
    assert any("if that is a perplexity, say metric perplexity" in warning for warning in found.warnings)
    assert (
        not decide(rows(), general="general", target="target", tolerance=0.02)
        .warnings[0]
        .startswith("the base")
    )


@pytest.mark.parametrize("suffix", ["", " benchmark"])
def test_accuracies_of_many_sources(suffix: str) -> None:
    """Without base rows the shares of a set's own text tell, where its name says which that is; else a warning does."""
    rng = np.random.default_rng(0)
    table = [
        {"run": f"m{i}", **{f"share.{d}": s for d, s in zip(DOMAINS, shares, strict=True)}, "tokens": 10**9}
        | {"eval": domain + suffix, "loss": 0.3 + 0.2 * shares[at] ** 0.7 + 0.001 * rng.standard_normal()}
        for i, shares in enumerate(rng.dirichlet([1, 1, 1], 14))
        for at, domain in enumerate(DOMAINS)
    ]
    found = decide(pl.DataFrame(table), target=f"code{suffix}")
    if suffix:
        assert any("lie between 0 and 1 and are taken for losses" in warning for warning in found.warnings)
    else:
        assert found.status == "not_yet"
        assert "the target rises with the share of its own text" in (found.reason or "")
