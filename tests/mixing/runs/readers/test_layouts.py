"""Every layout that is read, and what is refused naming its file."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.read import read_runs
from tests.mixing.runs.test_table import changed, check, frame, rows

STEP = 4096 * 256


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


def test_a_folder_with_a_single_table_stands_for_it(tmp_path: Path) -> None:
    frame(rows()).write_csv(tmp_path / "any.csv")
    (tmp_path / "notes.txt").write_text("")
    check(read_runs(tmp_path))
    frame(rows()).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"it holds any\.csv, other\.parquet"):
        read_runs(tmp_path)


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
    with pytest.raises(InputError, match="not finished runs"):
        read_runs(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"\x00\x01")
    with pytest.raises(InputError, match=r"x\.parquet"):
        read_runs(tmp_path / "x.parquet")
    (tmp_path / "e.csv").write_text("run,share.web,tokens,eval,loss\n")
    with pytest.raises(InputError, match="empty"):
        read_runs(tmp_path / "e.csv")


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


def test_wide_tables_may_have_standard_errors_of_increments(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(
        "run,share.a,share.b,tokens,loss.a,loss.b,stderr.b,increment_stderr.a,increment_stderr.b\n"
        "x,0.5,0.5,10,1,2,0.1,0.01,0.02\n"
    )
    assert sorted(read_runs(path).rows.select("eval", "loss", "stderr", "increment_stderr").rows()) == [
        ("a", 1.0, None, 0.01),
        ("b", 2.0, 0.1, 0.02),
    ]
