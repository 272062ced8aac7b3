"""Runs tables out of trainers' logs: the numbers they hold, and a word about all that is not used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from flows.importers.log_formats import Point
from flows.importers.logs import import_runs, read_logs, without_restarted
from mixing.errors import InputError
from tests.scenarios.tiny_study import in_process

HEAD = """
evals: "{evals}"
tokens_per_step: 1000
runs:
  base: {{log: base{suffix}, base: true}}
  r25: {{log: r25{suffix}, shares: {{web: 0.75, german: 0.25}}, seed: 0, params: 70M}}
  r50: {{log: r50{suffix}, mix: {{file: r50.blend, from: megatron}}}}
"""
LOSSES = {"base": 3.0, "r25": 2.5, "r50": 2.25}


def huggingface(folder: Path, run: str, loss: float) -> None:
    history = [
        {"step": 10, "loss": 2.0, "epoch": 0.1},
        {"step": 100, "eval_german_loss": loss, "eval_german_runtime": 1.5},
        {"step": 100, "eval_web_loss": loss + 1},
    ]
    (folder / f"{run}.json").write_text(json.dumps({"global_step": 100, "log_history": history}))


def lightning(folder: Path, run: str, loss: float) -> None:
    (folder / f"{run}.csv").write_text(
        f"epoch,step,train_loss,eval_german_loss,eval_web_loss\n0,10,2.0,,\n0,100,,{loss},\n0,100,,,{loss + 1}\n"
    )


def wandb_export(folder: Path, run: str, loss: float) -> None:
    (folder / f"{run}.csv").write_text(
        f'"Step","{run} - eval_german_loss","{run} - eval_german_loss__MIN","{run} - eval_web_loss",'
        f'"x - eval_web_loss"\n"100","{loss}","{loss - 1}","{loss + 1}","9"\n'
    )


def wandb_history(folder: Path, run: str, loss: float) -> None:
    rows = [{"_step": 10, "loss": 2}, {"_step": 100, "eval_german_loss": loss, "eval_web_loss": loss + 1}]
    (folder / f"{run}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def megatron(folder: Path, run: str, loss: float) -> None:
    line = " validation loss at iteration 100 on {} | lm loss value: {:.6E} | lm loss PPL: 1.2E+01 | \n"
    (folder / f"{run}.log").write_text(
        " iteration       10/     100 | consumed samples: 10 | lm loss: 2.0E+00 |\n"
        + "-" * 80
        + "\n"
        + line.format("german", loss)
        + line.format("web", loss + 1)
    )


def olmo_core(folder: Path, run: str, loss: float) -> None:
    (folder / f"{run}.log").write_text(
        "2026-01-01 00:00:00\ttrain\tINFO\t[step=10/100,epoch=1]\n    train/CE loss=2.0\n"
        "2026-01-01 00:00:01\ttrain\tINFO\t[step=100/100,epoch=1]\n    throughput/total tokens=100,000\n"
        f"    eval/lm/german-validation/CE loss={loss}\n    eval/lm/web-validation/CE loss={loss + 1}\n"
    )


WRITERS = [
    (huggingface, ".json", "eval_(?P<eval>.+)_loss"),
    (lightning, ".csv", "eval_(?P<eval>.+)_loss"),
    (wandb_export, ".csv", "eval_(?P<eval>.+)_loss"),
    (wandb_history, ".jsonl", "eval_(?P<eval>.+)_loss"),
    (megatron, ".log", "validation/(?P<eval>.+)/lm loss"),
    (olmo_core, ".log", "eval/lm/(?P<eval>.+)-validation/CE loss"),
]


@pytest.mark.parametrize(("write", "suffix", "evals"), WRITERS)
def test_every_format_gives_the_same_table(write, suffix: str, evals: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for run, loss in LOSSES.items():
        write(tmp_path, run, loss)
    (tmp_path / "r50.blend").write_text("1 /d/web_text_document 1 /d/german_text_document")
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "map.yaml").write_text(HEAD.format(evals=evals, suffix=suffix))
    table = import_runs(tmp_path, tmp_path / "map.yaml")
    shares = {name: dict(zip(mix.domains, mix.shares, strict=True)) for name, mix in table.mixtures().items()}
    assert shares == {"r25": {"web": 0.75, "german": 0.25}, "r50": {"web": 0.5, "german": 0.5}}
    found = {
        (row["run"], row["eval"]): (row["tokens"], row["loss"]) for row in table.rows.iter_rows(named=True)
    }
    assert found == {
        (run, name): (0 if run == "base" else 100_000, pytest.approx(loss + more))
        for run, loss in LOSSES.items()
        for name, more in (("german", 0), ("web", 1))
    }
    assert table.rows.filter(pl.col("run") == "r25")["params"].unique().to_list() == [70_000_000]
    assert any("1 files or folders not named in the map: notes.md" in note for note in table.warnings)
    if write is not megatron:
        assert any("not used: " in note for note in table.warnings)
    assert read_logs(f"logs:{tmp_path}/map.yaml").rows.equals(table.rows)


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "r25"))
    for step, loss in ((100, 2.5), (200, 2.4), (150, 2.45), (200, 2.25)):
        value = Summary.Value(tag="eval/german_loss", simple_value=loss)
        writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=[value])))
    writer.close()
    (tmp_path / "map.yaml").write_text(
        'evals: "eval/(?P<eval>.+)_loss"\ntokens_per_step: 1k\nruns: {r25: {log: r25, shares: {web: 0.5, german: 0.5}}}'
    )
    table = import_runs(tmp_path, tmp_path / "map.yaml")
    assert table.rows["tokens"].to_list() == [100_000, 150_000, 200_000]
    assert table.rows["loss"].to_list() == [2.5, pytest.approx(2.45), 2.25]
    assert "run r25: steps go back: 1 earlier rows left out, the later ones kept" in table.warnings


def test_what_a_hugging_face_trainer_logs_to_mlflow(
    mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    client = MlflowClient(tracking_uri=mlflow_uri)
    run = client.create_run(client.create_experiment("cpt"), run_name="r25").info.run_id
    client.log_metric(run, "eval_german_loss", 2.5, step=100)
    client.log_metric(run, "eval_german_runtime", 1.0, step=100)
    (tmp_path / "map.yaml").write_text(
        'evals: "eval_(?P<eval>.+)_loss"\ntokens_per_step: 1k\n'
        "runs: {r25: {log: 'mlflow:cpt', shares: {web: 0.5, german: 0.5}}}"
    )
    table = import_runs(tmp_path, tmp_path / "map.yaml")
    assert table.rows.select("tokens", "eval", "loss").rows() == [(100_000, "german", 2.5)]
    assert any("1 metrics not used: eval_german_runtime" in note for note in table.warnings)


def test_a_restart_keeps_the_later_rows() -> None:
    points = [
        Point(step, "loss", value) for step, value in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 2.5), (3, 3.5))
    ]
    kept, note = without_restarted(points)
    assert [(point.step, point.value) for point in kept] == [(1, 1.0), (2, 2.5), (3, 3.5)]
    assert note == "steps go back: 2 earlier rows left out, the later ones kept"
    assert without_restarted(kept) == (kept, "")


def test_cells_and_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('step,eval_web_loss\n100,2.5\n200,"2,4"\n')
    (tmp_path / "map.yaml").write_text(RUN.replace("a.json", "a.csv") + EVALS + "tokens_per_step: 1k\n")
    table = import_runs(tmp_path, tmp_path / "map.yaml")
    assert table.rows["tokens"].to_list() == [100_000]
    assert any("1 rows without a finite loss dropped (run a)" in note for note in table.warnings)
    (tmp_path / "a.csv").write_text("_step,train/global_step,eval_web_loss\n1,100,2.5\n")
    with pytest.raises(InputError, match="columns of steps: _step and train/global_step"):
        import_runs(tmp_path, tmp_path / "map.yaml")
    (tmp_path / "a.csv").write_text("step,eval_web_loss\nlast,2.5\n")
    with pytest.raises(InputError, match="row 1: 'step' is 'last', no whole number"):
        import_runs(tmp_path, tmp_path / "map.yaml")


RUN = "runs: {a: {log: a.json, shares: {web: 0.5, german: 0.5}}}\n"
EVALS = 'evals: "eval_(?P<eval>.+)_loss"\n'
BAD = [
    (RUN + EVALS, "give tokens_per_step"),
    (RUN + "tokens_per_step: 1k\nevals: eval_loss\n", r"no group \(\?P<eval>"),
    (RUN + EVALS + "tokens_per_step: 1k\nnoise: 1\n", "noise: Extra inputs"),
    (
        RUN + 'tokens_per_step: 1k\nevals: "(?P<eval>x)"\n',
        "evals matches no metric of run 'a'. Its metrics: eval_web",
    ),
    (RUN + EVALS + "tokens: seen\n", "'seen' is not logged at step 100"),
    (RUN.replace("a.json", "b.json") + EVALS + "tokens_per_step: 1k\n", "b.json: no such log"),
    (RUN.replace("a.json", "c.csv") + EVALS + "tokens_per_step: 1k\n", "share of one phase of a run"),
    (
        RUN.replace("shares: {web", "shares: {phase_0_web") + EVALS + "tokens_per_step: 1k\n",
        "share of one phase",
    ),
    (
        RUN.replace("shares: {web: 0.5, german: 0.5}", "seed: 1") + EVALS + "tokens_per_step: 1k\n",
        "give one of shares",
    ),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_a_map_that_does_not_fit_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"step": 100, "eval_web_loss": 2.5}]))
    (tmp_path / "c.csv").write_text("step,phase_0_web,eval_web_loss\n1,0.5,2\n")
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(InputError, match=reason):
        import_runs(tmp_path, tmp_path / "map.yaml")


def test_the_command_writes_a_table_that_can_be_read(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.json").write_text(json.dumps([{"step": 100, "eval_web_loss": 2.5}]))
    (tmp_path / "map.yaml").write_text(RUN + EVALS + "tokens_per_step: 1k\n")
    for name in ("runs.parquet", "runs.csv"):
        command = (
            "import-runs",
            str(logs),
            "--map",
            str(tmp_path / "map.yaml"),
            "--out",
            str(tmp_path / name),
        )
        done = in_process(tmp_path, *command)
        assert done.returncode == 0, done.stderr
        assert "1 run, domains web, german" in done.stdout
        from mixing.runs.read import read_runs

        assert read_runs(str(tmp_path / name)).rows["tokens"].to_list() == [100_000]
    assert in_process(tmp_path, *command[:-1], str(tmp_path / "runs.txt")).returncode == 2


def test_the_worked_example_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "runs-table.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"<!-- log (\S+) -->\n```\w*\n(.*?)```", text, re.DOTALL):
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_text(content)
    # Two files in a run's folder: the trainer's own log is the one that is read.
    monkeypatch.chdir(tmp_path)
    done = in_process(tmp_path, "import-runs", "logs", "--map", "logs/map.yaml")
    assert done.returncode == 0, done.stderr
    assert f"```\n{done.stdout}```" in text
    assert done.stderr == "warning: logs/map.yaml: 1 metrics not used: loss\n"


def test_calls_of_a_logger_are_no_steps(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(RUN.replace("a.json", "a.csv") + EVALS + "tokens_per_step: 1k\n")
    (tmp_path / "a.csv").write_text("_step,eval_web_loss\n0,3.5\n1,2.5\n2,2.4\n")
    with pytest.raises(InputError, match=r"'_step' is 0, 1, \.\.\. from row to row"):
        import_runs(tmp_path, tmp_path / "map.yaml")
    (tmp_path / "map.yaml").write_text((tmp_path / "map.yaml").read_text() + "step: _step\n")
    assert import_runs(tmp_path, tmp_path / "map.yaml").rows["tokens"].max() == 2000
