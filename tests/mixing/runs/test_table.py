"""The runs table: every layout that is read, what is repaired with a warning, and what is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mixing.errors import InputError, MixlawError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable, left_out, make_table

STEP = 4096 * 256


def rows(**changes: Any) -> list[dict[str, Any]]:
    """Two runs at two checkpoints on two sets, and the base model."""
    blank = {"share.web": None, "share.code": None}
    out: list[dict[str, Any]] = [
        {"run": "base", **blank, "tokens": 0, "eval": name, "loss": 3.0} for name in ("web", "code")
    ]
    for run, share in (("a", 0.25), ("b", 0.5)):
        shares = {"share.web": 1 - share, "share.code": share}
        out += [
            {"run": run, **shares, "tokens": tokens, "eval": name, "loss": 2.0 + share + tokens / 1000}
            for tokens in (100, 200)
            for name in ("web", "code")
        ]
    return [{**row, **changes} for row in out]


def frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, infer_schema_length=None)


def changed(of: str, **changes: Any) -> pl.DataFrame:
    return frame([{**row, **changes} if row["run"] == of else row for row in rows()])


def check(table: RunTable) -> None:
    assert table.domains == ("web", "code")
    assert set(table.evals) == {"web", "code"}
    assert table.trained.height == 8
    assert table.base.height == 2
    assert table.base["share.web"].null_count() == 2
    assert {r: m.share("code") for r, m in table.mixtures().items()} == {"a": 0.25, "b": 0.5}
    found = table.trained.filter(run="b", tokens=200, eval="web")["loss"]
    assert found.to_list() == pytest.approx([2.7])


def test_tidy_csv_and_parquet(tmp_path: Path) -> None:
    frame(rows()).write_csv(tmp_path / "runs.csv")
    frame(rows()).write_parquet(tmp_path / "runs.parquet")
    for name in ("runs.csv", "runs.parquet"):
        table = read_runs(tmp_path / name)
        check(table)
        assert table.warnings == []


def test_wide(tmp_path: Path) -> None:
    wide = frame(rows()).pivot(on="eval", index=["run", "share.web", "share.code", "tokens"], values="loss")
    wide = wide.rename({"web": "loss.web", "code": "loss.code"})
    wide.write_csv(tmp_path / "wide.csv")
    check(read_runs(tmp_path / "wide.csv"))


def test_wide_with_an_eval_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("run,share.web,share.code,tokens,eval,loss.web\na,0.5,0.5,1,web,2\n")
    with pytest.raises(InputError, match=r"wide\.csv"):
        read_runs(tmp_path / "wide.csv")


def test_mixinglaws_layout(tmp_path: Path) -> None:
    lines = ["model_size,mix_id,weight_web,weight_code,step,val_domain,loss"]
    for row in rows():
        shares = ",,," if row["share.web"] is None else f",{row['share.web']},{row['share.code']},"
        lines.append(f"70M,{row['run']}{shares}{row['tokens']},{row['eval']},{row['loss']}")
    (tmp_path / "ct.csv").write_text("\n".join(lines))
    table = read_runs(tmp_path / "ct.csv")
    assert set(table.trained["tokens"]) == {100 * STEP, 200 * STEP}
    assert set(table.rows["params"]) == {70_000_000}
    assert {r: m.share("code") for r, m in table.mixtures().items()} == {"a@70M": 0.25, "b@70M": 0.5}
    assert table.base.height == 2


@pytest.mark.parametrize("column", ["mix_id", "step"])
def test_mixinglaws_layout_without_a_column_names_the_file(tmp_path: Path, column: str) -> None:
    row = {"mix_id": "a", "weight_web": 0.5, "weight_code": 0.5, "step": 1, "val_domain": "web", "loss": 2.0}
    pl.DataFrame([row]).drop(column).write_csv(tmp_path / "ct.csv")
    with pytest.raises(InputError, match=r"ct\.csv"):
        read_runs(tmp_path / "ct.csv")


def test_slimpajama_layout(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "weight_web,weight_code,model_size,n_tokens,web_loss,code_loss\n"
        "0.25,0.75,122000000.0,2e9,3.1,2.1\n"
        "0.25,0.75,122000000.0,4e9,3.0,\n"
        "0.5,0.5,122000000.0,4e9,2.9,2.2\n"
    )
    table = read_runs(tmp_path / "s.csv")
    assert len(table.mixtures()) == 2
    assert set(table.rows["params"]) == {122_000_000}
    assert set(table.rows["tokens"]) == {2 * 10**9, 4 * 10**9}
    assert table.rows.height == 5
    assert any("without a finite loss" in w for w in table.warnings)


def test_weights_of_an_unknown_layout_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("weight_web,weight_code,score\n0.5,0.5,1\n")
    with pytest.raises(InputError, match=r"w\.csv: weight_"):
        read_runs(tmp_path / "w.csv")


@pytest.mark.parametrize(
    ("text", "params"), [("2.3M", 2_300_000), ("1.2B", 1_200_000_000), ("70000", 70_000)]
)
def test_sizes_are_exact(tmp_path: Path, text: str, params: int) -> None:
    (tmp_path / "ct.csv").write_text(
        f"model_size,mix_id,weight_web,weight_code,step,val_domain,loss\n{text},a,0.5,0.5,1,web,2.0\n"
    )
    assert read_runs(tmp_path / "ct.csv").rows["params"].to_list() == [params]


def test_regmix_pair(tmp_path: Path) -> None:
    shares, losses = tmp_path / "mixture.csv", tmp_path / "pile_loss.csv"
    shares.write_text("index,train_the_pile_arxiv,train_the_pile_github\n1,0.4,0.6\n2,0.797,0.2\n")
    losses.write_text("index,metric/the_pile_arxiv_val_loss,metric/the_pile_github_val_loss\n2,3,4\n1,1,2\n")
    for path in (f"{shares},{losses}", str(tmp_path)):
        table = read_runs(path)
        assert table.domains == ("arxiv", "github")
        assert set(table.evals) == {"arxiv", "github"}
        assert table.trained.filter(run="1", eval="github")["loss"].to_list() == [2.0]
        assert table.mixtures()["2"].shares == pytest.approx((0.797 / 0.997, 0.2 / 0.997))
        assert any("renormalised" in w for w in table.warnings)
        assert any("tokens" in w for w in table.warnings)


def test_olmix_pair(tmp_path: Path) -> None:
    (tmp_path / "ratios.csv").write_text(",run,name,index,art,code\n0,x1,n1,0,0.5,0.5\n1,x2,n2,1,0.1,0.9\n")
    (tmp_path / "metrics.csv").write_text(
        ",run,name,index,arc:rc,piqa\n0,x1,n1,0,1.5,0.9\n1,x2,n2,1,1.4,0.8\n"
    )
    table = read_runs(tmp_path)
    assert table.domains == ("art", "code")
    assert set(table.evals) == {"arc:rc", "piqa"}
    assert table.trained.filter(run="x2", eval="piqa")["loss"].to_list() == [0.8]


def test_pairs_that_do_not_fit(tmp_path: Path) -> None:
    a, b, c = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    a.write_text("index,web,code\n1,0.5,0.5\n")
    b.write_text("name,web_val_loss\n1,2.0\n")
    c.write_text("index,web_val_loss\n7,2.0\n")
    with pytest.raises(InputError, match="share no 'run' or 'index'"):
        read_runs(f"{a},{b}")
    with pytest.raises(InputError, match="no run in common"):
        read_runs(f"{a},{c}")
    with pytest.raises(InputError, match="3 files"):
        read_runs(f"{a},{b},{c}")


def test_a_folder_of_finished_runs(tmp_path: Path) -> None:
    full = frame(rows())
    for run in ("base", "a", "b"):
        (tmp_path / run).mkdir()
        full.filter(run=run).write_parquet(tmp_path / run / "losses.parquet")
        (tmp_path / run / "done.json").write_text(json.dumps({}))
    # A run that has not finished is not read.
    (tmp_path / "c").mkdir()
    changed("a", run="c").filter(run="c").write_parquet(tmp_path / "c" / "losses.parquet")
    check(read_runs(tmp_path))


def test_a_study_lists_the_runs_of_its_answer(tmp_path: Path) -> None:
    full = frame(rows())
    for run in ("base", "a", "b", "confirmation"):
        (tmp_path / run).mkdir()
        part = full.filter(run=run) if run != "confirmation" else full.filter(run="b")
        part.with_columns(run=pl.lit(run)).write_parquet(tmp_path / run / "losses.parquet")
        (tmp_path / run / "done.json").write_text("{}")
    assert set(read_runs(tmp_path).mixtures()) == {"a", "b", "confirmation"}
    (tmp_path / "answered.json").write_text('{"runs": ["base", "b", "a"]}')
    table = read_runs(tmp_path)
    check(table)
    assert table.trained["run"].unique(maintain_order=True).to_list() == ["b", "a"]
    assert len(table.warnings) == 1
    assert "left out 1 run (confirmation)" in table.warnings[0]
    (tmp_path / "answered.json").write_text('{"runs": ["base", "a", "gone"]}')
    assert any("1 run (gone) of the study's answer not there" in w for w in read_runs(tmp_path).warnings)
    for text in ("[]", "{", '{"runs": ["other"]}'):
        (tmp_path / "answered.json").write_text(text)
        with pytest.raises(InputError, match=r"answered\.json"):
            read_runs(tmp_path)


@pytest.mark.parametrize("name", ["t[a].csv", "t*.csv", "t?.csv", "t[a].parquet"])
def test_a_path_is_no_pattern(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "g[1]*"
    folder.mkdir()
    write = "write_parquet" if name.endswith("parquet") else "write_csv"
    getattr(frame(rows()), write)(folder / name)
    # What the name would match as a pattern is another table.
    getattr(frame(rows(run="other", tokens=0)), write)(folder / f"ta{Path(name).suffix}")
    check(read_runs(folder / name))
    run = tmp_path / "runs[1]" / "a*"
    run.mkdir(parents=True)
    frame(rows()).write_parquet(run / "losses.parquet")
    (run / "done.json").write_text("{}")
    check(read_runs(run.parent))


def test_a_folder_with_a_broken_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "done.json").write_text("{}")
    with pytest.raises(InputError, match=r"losses\.parquet"):
        read_runs(tmp_path)
    (tmp_path / "a" / "losses.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError):
        read_runs(tmp_path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_runs(tmp_path / "none.csv")
    with pytest.raises(InputError, match="neither finished runs"):
        read_runs(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"\x00\x01")
    with pytest.raises(InputError, match=r"x\.parquet"):
        read_runs(tmp_path / "x.parquet")
    (tmp_path / "e.csv").write_text("run,share.web,tokens,eval,loss\n")
    with pytest.raises(InputError, match="empty"):
        read_runs(tmp_path / "e.csv")


@pytest.mark.parametrize("off", [-0.019, 0.019])
def test_shares_a_little_off_are_renormalised(off: float) -> None:
    table = make_table(changed("a", **{"share.web": 0.75 + off}), "t.csv")
    assert sum(table.mixtures()["a"].shares) == pytest.approx(1, abs=1e-12)
    assert table.mixtures()["a"].share("code") == pytest.approx(0.25 / (1 + off))
    assert len(table.warnings) == 1
    assert "renormalised" in table.warnings[0]
    assert table.mixtures()["b"].shares == (0.5, 0.5)


@pytest.mark.parametrize("off", [-0.03, 0.03, -0.75])
def test_shares_far_off_are_refused_by_run(off: float) -> None:
    with pytest.raises(InputError, match=r"t\.csv: shares of run 'a' sum to") as caught:
        make_table(changed("a", **{"share.web": 0.75 + off}), "t.csv")
    assert caught.value.hint


@pytest.mark.parametrize("share", [-0.25, math.nan, math.inf])
def test_impossible_shares_are_refused_by_run(share: float) -> None:
    with pytest.raises(InputError, match="run 'b' has a share below 0 or not finite"):
        make_table(changed("b", **{"share.web": share}), "t.csv")


def test_a_run_has_one_mixture() -> None:
    found = rows()
    found[-1] = {**found[-1], "share.web": 0.4, "share.code": 0.6}
    with pytest.raises(InputError, match="run 'b' has rows with different shares"):
        make_table(frame(found), "t.csv")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
def test_rows_without_a_finite_loss_are_dropped_by_run(loss: float | None) -> None:
    found = rows()
    found[-1] = {**found[-1], "loss": loss}
    table = make_table(frame(found), "t.csv")
    assert table.trained.height == 7
    assert len(table.warnings) == 1
    assert "1 rows without a finite loss dropped (run b)" in table.warnings[0]


def test_no_finite_loss_at_all() -> None:
    with pytest.raises(InputError, match="no finite loss"):
        make_table(frame(rows(loss=math.nan)), "t.csv")


def test_repeated_rows_keep_the_first() -> None:
    again = [{**row, "loss": 9.0} for row in rows()[-2:]]
    table = make_table(frame(rows() + again), "t.csv")
    check(table)
    assert any("2 repeated rows" in w for w in table.warnings)


@pytest.mark.parametrize("column", ["run", "eval", "loss"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"t.csv: no column '{column}'"):
        make_table(frame(rows()).drop(column), "t.csv")


def test_no_share_column() -> None:
    with pytest.raises(InputError, match="no share"):
        make_table(frame(rows()).drop("share.web", "share.code"), "t.csv")


@pytest.mark.parametrize("column", ["run", "eval", "tokens"])
def test_empty_cells_are_refused_by_column(column: str) -> None:
    found = rows()
    found[-1] = {**found[-1], column: None}
    with pytest.raises(InputError, match=f"column '{column}' has empty cells"):
        make_table(frame(found), "t.csv")


def test_words_where_numbers_belong() -> None:
    with pytest.raises(InputError, match="not a number"):
        make_table(frame(rows(loss="high")), "t.csv")
    with pytest.raises(InputError, match="not a number"):
        make_table(changed("a", tokens=math.nan), "t.csv")
    with pytest.raises(InputError, match="negative"):
        make_table(changed("a", tokens=-5), "t.csv")


def test_weighted_means_and_rows_that_lack_a_set() -> None:
    found = [{**row, "loss": 4.0 if row["eval"] == "code" else 2.0} for row in rows()][:-1]
    table = make_table(frame(found), "t.csv")
    mean = table.weighted({"web": 3, "code": 1})
    assert mean["loss"].to_list() == pytest.approx([2.5] * 4)
    assert not mean.filter(run="b", tokens=200).height
    with pytest.raises(InputError, match="no validation set 'german'"):
        table.weighted({"german": 1.0})
    with pytest.raises(MixlawError):
        table.weighted({"web": 0.0})


def test_runs_can_be_left_out() -> None:
    table = make_table(frame(rows()), "t.csv").without({"a"})
    assert set(table.mixtures()) == {"b"}
    assert table.base.height == 2


@pytest.mark.parametrize(("kind", "tokens"), [("trained", 5), ("base", 0)])
def test_rows_that_are_all_without_a_loss_are_named(kind: str, tokens: int) -> None:
    rows = [
        {"run": run, "share.a": 0.5, "share.b": 0.5, "tokens": at, "eval": "x"}
        | {"loss": float("nan") if at == tokens else 2.0}
        for run, at in (("m", 0), ("r", 5))
    ]
    with pytest.raises(InputError, match=f"no {kind} row has a finite loss"):
        make_table(pl.DataFrame(rows), "t.csv")


def test_standard_errors_of_evaluations() -> None:
    found = [{**row, "stderr": 0.04 if row["eval"] == "code" else 0.03} for row in rows()]
    table = make_table(frame(found), "t.csv")
    both = table.weighted({"web": 1, "code": 1})
    assert both["stderr"].to_list() == pytest.approx([0.025] * both.height)
    found[-1]["stderr"] = None
    table = make_table(frame(found), "t.csv")
    assert table.weighted({"web": 1, "code": 1})["stderr"].null_count() == 1
    assert make_table(frame(rows()), "t.csv").weighted({"web": 1})["stderr"].is_null().all()
    for bad in (-0.1, math.inf, math.nan):
        found[-1]["stderr"] = bad
        with pytest.raises(InputError, match="'b' has a stderr"):
            make_table(frame(found), "t.csv")


def test_standard_errors_of_a_wide_table(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(
        "run,share.a,share.b,tokens,loss.a,loss.b,stderr.b\nx,0.5,0.5,10,1,2,0.1\ny,0.2,0.8,10,3,4,0.2\n"
    )
    table = read_runs(path)
    assert sorted(table.rows.select("run", "eval", "loss", "stderr").rows()) == [
        ("x", "a", 1.0, None),
        ("x", "b", 2.0, 0.1),
        ("y", "a", 3.0, None),
        ("y", "b", 4.0, 0.2),
    ]


def test_losses_beyond_floating_point_and_columns_that_were_not_found() -> None:
    with pytest.raises(InputError, match="'a' has a loss of 1e\\+300, too large to fit"):
        make_table(changed("a", loss=1e300), "t.csv")
    with pytest.raises(InputError, match="columns as read: run, eval, loss"):
        make_table(frame([{"run": "a", "eval": "web", "loss": 2.0}]), "t.csv")


def test_runs_that_lack_a_set_are_named() -> None:
    table = make_table(frame([row for row in rows() if (row["run"], row["eval"]) != ("b", "code")]), "t.csv")
    assert table.lacking({"web": 1.0, "code": 1.0}) == ["b"]
    (warning,) = left_out(table, {"web": 1.0, "code": 1.0})
    assert "without losses on web, code: b; evaluate" in warning
    assert left_out(table, {"web": 1.0}) == []
