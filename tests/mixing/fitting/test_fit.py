"""Laws fitted, scored on what they have not seen, and chosen; how the report shows itself, and its JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixing.errors import InputError, MixlawError
from mixing.fitting.fit import fit, losses_of
from mixing.fitting.report import FitReport
from mixing.fitting.selection import MODELS
from mixing.laws import LAWS
from mixing.laws.repetition import effective
from mixing.runs.table import RunTable, make_table
from mixing.test_problems import LANDSCAPES

POWER = LANDSCAPES[0]
BUDGETS = [200_000 * i for i in range(1, 6)]


@cache
def table(seed: int = 0) -> RunTable:
    return POWER.study([0.2, 0.35, 0.5, 0.65, 0.8, 0.9], BUDGETS, run_sd=3e-4, checkpoint_sd=3e-4, seed=seed)


def only(count: int) -> RunTable:
    """The first runs of the table."""
    runs = sorted(set(table().trained["run"]))
    return table().without(set(runs[count:]))


@cache
def report() -> FitReport:
    return fit(table(), ["general", "target"], test=table(1))


def numbers(found: Any) -> Iterator[float]:
    if isinstance(found, dict):
        for value in found.values():
            yield from numbers(value)
    elif isinstance(found, list):
        for value in found:
            yield from numbers(value)
    elif isinstance(found, float):
        yield found


def test_the_json_is_that_of_the_interface() -> None:
    out = report().to_dict()
    assert json.loads(json.dumps(out, allow_nan=False)) == out
    assert set(out) == {"laws", "chosen", "choice", "domains", "warnings"}
    assert out["domains"] == ["general", "target"]
    assert all(map(math.isfinite, numbers(out)))
    for one in out["laws"]:
        assert set(one) >= {
            "law", "eval", "n_runs", "n_rows", "parameters", "train", "cv", "test", "seconds"
        }  # fmt: skip
        assert set(one["train"]) == {"mae", "mre"}
        assert set(one["cv"]) == {"mae", "mre", "spearman", "kind"}
        assert one["cv"]["kind"] == "leave-mixture-out"
        assert set(one["test"]) == {"mae", "mre", "spearman", "pearson", "mse", "regret"}
        assert one["n_runs"] == 6
        assert one["n_rows"] == (6 if one["law"] == "ratio" else 30)
        assert one["seconds"] >= 0
        assert all(isinstance(value, float) for value in one["parameters"].values())


def test_every_law_is_fitted_to_every_loss() -> None:
    for name in ("general", "target"):
        listed = [one.law for one in report().laws if one.eval == name]
        assert len(listed) == len(set(listed))
        # What needs more mixtures than six is left out.
        too_demanding = {
            "exponential-implicit",
            "gaussian-process",
            "lightgbm",
            "product+process",
            "product+trees",
        }
        assert set(listed) - {"blend"} == set(MODELS) - too_demanding


def test_the_law_that_made_the_losses_is_chosen() -> None:
    assert report().chosen["general"].startswith("cmr")
    maes = {one.law: one.cv.mae for one in report().laws if one.eval == "general" and one.cv}
    assert maes[report().chosen["general"]] < 2e-3 < maes["linear"] < maes["constant"]


def test_scores_on_a_test_table() -> None:
    """A second study of the same mixtures: its noise of 4e-4 nats is all that the true form misses."""
    for one in report().laws:
        assert one.test is not None
        assert one.test.mse >= one.test.mae**2
        if one.law == "cmr" and one.eval == "general":
            assert one.test.mae < 1.5e-3
            assert one.test.spearman == pytest.approx(1.0)
            assert one.test.regret == 0.0
        if one.law == "constant":
            assert one.test.spearman is None
            assert one.test.mae > 0.01
    without = fit(table(), ["general"], "linear")
    assert all(one.test is None for one in without.laws)
    assert all("test" not in one for one in without.to_dict()["laws"])


@pytest.mark.parametrize("law", [law for law in LAWS if law != "exponential-implicit"])
def test_a_named_law_stands_beside_the_baselines(law: str) -> None:
    found = fit(table(), ["general"], law)
    assert {one.law for one in found.laws} == {"constant", "linear", law}
    assert found.chosen == {"general": law}


def test_baselines_are_listed_where_nothing_else_fits() -> None:
    two = only(2)
    found = fit(two, ["general"])
    assert {one.law for one in found.laws} == {"constant", "linear"}
    with pytest.raises(InputError, match="law 'cmr' cannot be fitted to 'general'"):
        fit(two, ["general"], "cmr")


def test_a_single_mixture_is_a_constant() -> None:
    found = fit(only(1), ["general"])
    assert found.chosen == {"general": "constant"}
    assert "constant" in {one.law for one in found.laws}
    assert any("too few mixtures" in w for w in found.warnings)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("wrong", "hint"), [("cmr-replai", "Did you mean cmr-replay"), ("cubic", "Give auto, or")]
)
def test_an_unknown_law_names_those_alike(wrong: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"no law '{wrong}'") as caught:
        fit(table(), ["general"], wrong)
    assert caught.value.hint.startswith(hint)
    assert len(str(caught.value)) < 160


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="no validation set 'german'"):
        fit(table(), ["german"])
    with pytest.raises(InputError, match="no validation set named"):
        fit(table(), [])
    with pytest.raises(InputError, match="target domain python"):
        fit(table(), ["general"], target_domains=("python",))
    other = RunTable(table().rows.rename({"share.target": "share.python"}), "u.csv")
    with pytest.raises(InputError, match=r"u\.csv: its domains differ"):
        fit(table(), ["general"], test=other)


def test_base_rows_alone_are_nothing_to_fit() -> None:
    with pytest.raises(InputError, match="no trained rows of general"):
        fit(RunTable(table().base, "t.csv"), ["general"])


def test_several_sizes_are_fitted_on_the_largest() -> None:
    small = table(2).rows.with_columns(params=pl.lit(10), run=pl.col("run") + "s")
    both = RunTable(
        pl.concat([table().rows.with_columns(params=pl.lit(20)), small], how="vertical_relaxed"), "t"
    )
    found = fit(both, ["general"], "linear")
    assert any("2 model sizes" in w and "20" in w for w in found.warnings)
    assert found.laws[0].n_rows == 30
    asked = fit(both, ["general"], "linear", params=10)
    assert not any("model sizes" in w for w in asked.warnings)
    assert asked.laws[0].n_rows == 30


def test_one_size_says_nothing_of_others() -> None:
    sized = RunTable(table().rows.with_columns(params=pl.lit(5)), "t.csv")
    found = fit(sized, ["general"], "linear", params=7)
    assert any("only the order of mixtures" in w for w in found.warnings)


def test_a_size_that_was_not_trained_is_asked_of_all_sizes() -> None:
    parts = []
    for seed, size in enumerate((10, 30, 90)):
        rows = table(seed).rows.with_columns(params=pl.lit(size), run=pl.col("run") + f"n{size}")
        parts.append(rows.with_columns(loss=pl.col("loss") + 2.0 * size**-0.5))
    several = RunTable(pl.concat(parts, how="vertical_relaxed"), "t")
    found = fit(several, ["general"], params=300)
    assert {one.cv_kind for one in found.laws} == {"leave-largest-N"}
    assert found.laws[0].n_rows == 90
    # Only laws with a term in N can say what the largest size does.
    assert found.chosen["general"] in {"mixture-additive", "mixture-joint", "mixture-product", "d-cpt"}
    two = RunTable(pl.concat(parts[:2], how="vertical_relaxed"), "t")
    asked = fit(two, ["general"], "mixture-additive", params=300)
    assert {one.cv_kind for one in asked.laws} == {"leave-mixture-out"}
    assert any("a third size" in w for w in asked.warnings)


def test_past_the_trained_budgets_laws_are_judged_on_later_checkpoints() -> None:
    found = fit(table(), ["general"], tokens=2 * BUDGETS[-1])
    assert {one.cv_kind for one in found.laws} == {"leave-largest-T"}
    within = fit(table(), ["general"], "linear", tokens=BUDGETS[-1])
    assert {one.cv_kind for one in within.laws} == {"leave-mixture-out"}


def test_a_weighted_loss_is_one_loss() -> None:
    found = fit(table(), {"both": {"general": 1.0, "target": 3.0}}, "linear")
    assert {one.eval for one in found.laws} == {"both"}
    same = fit(table(), {"both": {"general": 2.0, "target": 6.0}}, "linear")
    assert [one.parameters for one in found.laws] == [one.parameters for one in same.laws]


def test_regression_tables_of_many_domains() -> None:
    """No roles, no tokens column: the linear baseline is exact on a linear loss."""
    rows = [
        {"run": f"r{i}", "share.a": a / 4, "share.b": b / 4, "share.c": 1 - (a + b) / 4, "eval": "x"}
        | {"loss": 2 + a / 10 - b / 20}
        for i, (a, b) in enumerate((a, b) for a in range(5) for b in range(5 - a))
    ]
    found = fit(make_table(pl.DataFrame(rows), "t.csv"), ["x"])
    assert {"constant", "linear", "scheffe", "mixture-product"} <= {one.law for one in found.laws}
    assert found.chosen == {"x": "linear"}
    linear = next(one for one in found.laws if one.law == "linear")
    assert linear.train.mae < 1e-9
    assert sorted(linear.parameters.values()) == pytest.approx([1.8, 2.0, 2.4])


@st.composite
def tables(draw: st.DrawFn) -> RunTable:
    domains = draw(st.integers(1, 4))
    budgets = draw(st.lists(st.integers(0, 10**13), min_size=1, max_size=5, unique=True))
    losses = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 2.5, 1e-12])
    rows: list[dict[str, object]] = []
    for i in range(draw(st.integers(1, 6))):
        weights = draw(st.lists(st.integers(0, 20), min_size=domains, max_size=domains).filter(sum))
        shares = {f"share.d{d}": w / sum(weights) for d, w in enumerate(weights)}
        rows += [
            {"run": f"r{i}", **shares, "tokens": budget, "eval": name, "loss": draw(losses)}
            for budget in budgets
            for name in ("x", "y")
        ]
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(found=tables(), law=st.sampled_from(["auto", *MODELS]), ahead=st.sampled_from([None, 10, 10**14]))
def test_no_finite_table_breaks_it(found: RunTable, law: str, ahead: int | None) -> None:
    try:
        done = fit(found, ["x", "y"], law, tokens=ahead)
    except MixlawError:
        return
    json.dumps(done.to_dict(), allow_nan=False)
    assert set(done.chosen) == {"x", "y"}
    assert {"constant"} <= {one.law for one in done.laws}


def test_runs_that_read_a_source_again_and_again() -> None:
    """A loss of effective tokens: with the supply named, a law in effective tokens is chosen and errs far less."""
    rng = np.random.default_rng(2)
    unique = {"code": 2e8}
    rows = []
    for number, share in enumerate(np.linspace(0.1, 0.9, 9)):
        for tokens in np.geomspace(1e9, 8e9, 5):
            worth = effective(share * tokens, unique["code"]) / 1e9
            loss = 2 + 0.4 * (float(worth) + 0.1) ** -0.3 + 5e-4 * rng.standard_normal()
            rows.append((f"r{number}", 1 - share, share, tokens, "code", loss))
    columns = ["run", "share.web", "share.code", "tokens", "eval", "loss"]
    table = make_table(pl.DataFrame(rows, schema=columns, orient="row"), "t.csv")
    plain = fit(table, ["code"], "d-cpt")
    found = fit(table, ["code"], "d-cpt", supply=unique)
    assert {law.law for law in found.laws} == {"constant", "linear", "d-cpt", "d-cpt with repetition"}
    errors = {law.law: law.cv.mae for law in found.laws if law.cv}
    assert errors["d-cpt"] == next(law.cv.mae for law in plain.laws if law.law == "d-cpt" and law.cv)
    assert errors["d-cpt with repetition"] < 0.5 * errors["d-cpt"]
    # Nothing was read twice: there is nothing to say.
    assert len(fit(table, ["code"], "d-cpt", supply={"code": 1e11}).laws) == 3
    with pytest.raises(InputError, match="supply german"):
        fit(table, ["code"], supply={"german": 1e9})
    with pytest.raises(InputError, match="not above 0"):
        fit(table, ["code"], supply={"code": 0.0})


def test_losses_are_named_by_a_name_a_list_or_weights() -> None:
    both = table()
    alone = {"general": {"general": 1.0}, "target": {"target": 1.0}}
    assert losses_of("general", both) == {"general": {"general": 1.0}}
    assert losses_of(["general", "target"], both) == losses_of(("general", "target"), both) == alone
    weights = {"general": 1, "target": 3}
    assert losses_of(weights, both) == {"general+target": {"general": 1.0, "target": 3.0}}
    assert losses_of({"all": weights}, both) == {"all": weights}
    assert list(losses_of(dict.fromkeys("abcde", 1.0), both)) == ["weighted"]
    with pytest.raises(InputError, match="no validation set named"):
        losses_of({}, both)


def test_a_report_as_text() -> None:
    lines = repr(report()).splitlines()
    assert lines[0] == f"FitReport of {len(report().laws)} fits, chosen by error on held-out rows"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["general", "target"]
    assert report().chosen["general"] in lines[1]
    assert lines[1].endswith("on 6 runs, leave-mixture-out")
    many = FitReport([], {f"loss{i}": "linear" for i in range(20)})
    assert len(repr(many)) < 400
    assert "loss0: linear, not scored" in repr(many)
    assert "... and 14 more" in repr(many)


def test_a_report_in_a_notebook() -> None:
    page = FitReport(report().laws, report().chosen, ["a < b"])._repr_html_()
    assert page.count("<b>") == 6 * 2
    assert f"<b>{report().chosen['general']}</b>" in page
    assert page.count("constant") == page.count("linear") == 2
    assert "a &lt; b" in page


def test_a_report_as_a_frame() -> None:
    laws = report().to_frame()
    assert laws.height == len(report().laws)
    assert dict(laws.filter("chosen").select("eval", "law").iter_rows()) == report().chosen
    for name in ("general", "target"):
        mae = laws.filter(eval=name)["cv_mae"]
        assert mae.to_list() == mae.sort().to_list()
        assert laws.filter(eval=name, law="linear")["test_mae"].null_count() == 0
    without = fit(table(), "general", law="linear").to_frame()
    assert without["test_mae"].dtype == pl.Float64
    assert without["test_mae"].null_count() == without.height
    assert FitReport([], {}).to_frame().height == 0


def test_the_best_fit_of_a_loss() -> None:
    best = report().best("general")
    assert (best.eval, best.law) == ("general", report().chosen["general"])
    with pytest.raises(InputError, match="no loss 'german' was fitted"):
        report().best("german")


def test_a_report_draws_itself() -> None:
    figure = report().plot("target")
    assert "target" in "".join(text.get_text() for text in figure.texts)
    assert "general" in "".join(text.get_text() for text in report().plot().texts)
    with pytest.raises(InputError, match="'german' has no law that was scored"):
        report().plot("german")


@pytest.mark.parametrize("name", ["general", "target"])
def test_the_order_of_the_columns_means_nothing(name: str) -> None:
    rows = table().rows
    others = [column for column in rows.columns if not column.startswith("share.")]
    swapped = RunTable(rows.select(*others[:1], "share.target", "share.general", *others[1:]), table().source)
    assert swapped.domains == table().domains[::-1]
    plain, found = fit(table(), name, target_domains=None).to_dict(), fit(swapped, name).to_dict()
    for law in (*plain["laws"], *found["laws"]):
        del law["seconds"]
    assert found == plain


def test_the_target_share_of_two_sources_is_told_by_their_names() -> None:
    """Of web and code only code is a validation set: its share is R, whichever column is first."""
    rows = table().rows.rename({"share.general": "share.web", "share.target": "share.code"})
    rows = rows.with_columns(eval=pl.col("eval").replace("target", "code"))
    named = fit(RunTable(rows, "t.csv"), "general", law="cmr").best("general")
    asked = fit(RunTable(rows, "t.csv"), "general", law="cmr", target_domains=("code",)).best("general")
    assert named.parameters == asked.parameters


def test_test_runs_of_another_size_are_comparable_in_rank_only() -> None:
    sized = RunTable(table().rows.with_columns(params=pl.lit(10)), "t.csv")
    larger = RunTable(table(1).rows.with_columns(params=pl.lit(60)), "u.csv")
    found = fit(sized, ["general"], "linear", test=larger)
    assert any("60 parameters" in w and "only ranks" in w for w in found.warnings)
    same = fit(sized, ["general"], "linear", test=RunTable(larger.rows.with_columns(params=10), "u.csv"))
    assert not any("only ranks" in w for w in same.warnings)


def test_the_error_of_the_whole_choice_is_told() -> None:
    for name in ("general", "target"):
        choice = report().choices[name]
        assert choice.law == report().chosen[name]
        assert choice.mixture_matters
        assert choice.cv is not None
        assert report().error(name) == choice.cv
        assert choice.cv.mae >= min(law.cv.mae for law in report().laws if law.eval == name and law.cv)
    out = report().to_dict()["choice"]["general"]
    assert set(out) == {"law", "by_luck", "mixture_matters", "cv"}
    assert set(out["cv"]) == {"mae", "mre", "spearman"}
    named = fit(table(), ["general"], "linear")
    assert named.choices == {}
    assert named.error("general") == next(law.cv for law in named.laws if law.law == "linear")
