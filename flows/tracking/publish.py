"""A study's result as MLflow's records: its runs, the answer and the registered mix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flows.pipeline.files import runs_table
from flows.pipeline.mix_spec import spec_digest
from flows.pipeline.publication import Publication
from flows.pipeline.result import StudyResult, StudyRun
from flows.settings.environment import tracking_uri
from flows.tracking import corpus_snapshot
from flows.tracking.client import Tracker
from flows.tracking.promotion import Rule, Verdict, judge
from flows.tracking.records import Point, RunRecord, StudyRecord
from mixing.decision.wording import answer_line
from mixing.errors import InputError
from mixing.runs.table import SHARE, STANDARD_ERRORS

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.spec.model import MixSpec


def publish(result: StudyResult, figures: list[Path], gain: float, page: str) -> Publication:
    """Bring MLflow in line with the run store.

    `gain` is the rule's threshold (`flows.tracking.promotion`), in nats; `page` is the decision as Markdown, the
    note of the parent run.

    Raises MixlawError, one line, where MLflow does not take it; the mix spec is on disk all the same.
    """
    from mixing.spec.yaml_file import save_spec

    workspace = result.workspace
    tracker = Tracker(tracking_uri(workspace.root), workspace.root, workspace.study.study)
    runs = run_records(result)
    record = study_record(result, figures, page, min(run.finished - run.seconds for run in runs))
    parent = tracker.open(record)
    if result.spec is None:
        return tracker.publish(record, runs, None, "")
    # The spec says which MLflow run it comes from, which only now is known.
    provenance = result.spec.provenance.model_copy(update={"mlflow_run": parent})
    result.spec = spec = result.spec.model_copy(update={"provenance": provenance})
    save_spec(spec, workspace.folder.mixspec)
    return tracker.publish(
        record,
        runs,
        workspace.folder.mixspec,
        spec_digest(spec),
        _rule(spec, result.analysis.decision, gain),
        held_back=_held_back(result),
        beside=lambda folder: corpus_snapshot.save(workspace, folder),
    )


def _held_back(result: StudyResult) -> str:
    """Why the mix is not promoted by itself, whatever the rule says; empty where nothing speaks against it."""
    confirmation = result.confirmation
    if confirmation is None or confirmation.beyond <= 0:
        return ""
    return f"its confirmation run ended {confirmation.beyond:.4f} nats beyond the tolerance"


def _rule(spec: MixSpec, decision: Decision, gain: float) -> Rule:
    """Whether the mix of `spec` takes over from the champion whose spec is in a file."""

    def rule(champion: Path) -> Verdict:
        from mixing.spec.yaml_file import load_spec

        try:
            current = load_spec(champion)
        except InputError as error:
            return Verdict(False, f"the champion's spec cannot be read ({error.message})")
        return judge(current, spec, decision, gain)

    return rule


def run_records(result: StudyResult) -> list[RunRecord]:
    """Every run of the study that is done or failed, read from the run store."""
    runs = result.workspace.folder.runs
    done = [run for run in result.runs if not run.failure]
    table = runs_table(runs, [run.run for run in done]).rows
    base = dict(table.filter(run=result.base).select("eval", "loss").iter_rows())
    finished = [_finished(runs / run.run, run, table.filter(run=run.run), base) for run in done]
    failed = [_failed(runs / run.run, run) for run in result.runs if run.failure]
    return finished + [record for record in failed if record is not None]


def _title(run: StudyRun) -> str:
    """A run's name in MLflow, whose list shows some fifteen characters: what tells it apart comes first."""
    if run.kind == "base" or run.target_share is None:
        return "base"
    return f"target {run.target_share:g}" + (f" ({run.kind})" if run.kind == "confirmation" else "")


def _finished(folder: Path, run: StudyRun, losses: pl.DataFrame, base: dict[str, float]) -> RunRecord:
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    points = []
    for row in losses.sort("tokens", "eval").iter_rows(named=True):
        points.append(Point(f"loss.{row['eval']}", row["tokens"], row["loss"]))
        points += [
            Point(f"{error}.{row['eval']}", row["tokens"], row[error])
            for error in STANDARD_ERRORS
            if row[error] is not None
        ]
        if run.kind != "base":
            points.append(Point(f"increment.{row['eval']}", row["tokens"], row["loss"] - base[row["eval"]]))
    pretraining = folder / "pretraining.parquet"
    if pretraining.exists():
        rows = pl.read_parquet(pretraining, glob=False).sort("tokens", "eval").iter_rows(named=True)
        points += [Point(f"pretraining_loss.{row['eval']}", row["tokens"], row["loss"]) for row in rows]
    samples = losses["heldout"].drop_nulls().unique().to_list()
    return RunRecord(
        run=run.run,
        name=_title(run),
        kind=run.kind,
        params=_params(spec, done) | ({"heldout": samples[0]} if samples else {}),
        points=points,
        finished=(folder / "done.json").stat().st_mtime,
        seconds=float(done.get("seconds", 0.0)),
    )


def _params(spec: dict[str, Any], done: dict[str, Any]) -> dict[str, object]:
    shares = {f"{SHARE}{name}": round(spec["mixture"].get(name, 0.0), 6) for name in spec["data"]}
    names = ("kind", "depth", "context", "tokens", "batch_tokens", "learning_rate", "seed", "study_seed")
    return {**shares, **{key: spec[key] for key in names}, "params": done.get("params", "")}


def _failed(folder: Path, run: StudyRun) -> RunRecord | None:
    """A failed run, by the spec that it left; None where it left none."""
    path = folder / "spec.json"
    if not path.exists():
        return None
    spec = json.loads(path.read_text(encoding="utf-8"))
    when = path.stat().st_mtime
    return RunRecord(run.run, _title(run), run.kind, _params(spec, {}), [], when, 0.0, run.failure)


def study_record(result: StudyResult, figures: list[Path], page: str, started: float) -> StudyRecord:
    """What the parent run shows. `started` is seconds since the epoch."""
    workspace, decision = result.workspace, result.analysis.decision
    folder, question = workspace.folder, decision.question
    files = {"study.yaml": workspace.study.file, "fits.json": folder.fits, "decision.json": folder.decision}
    files |= {"catalog.json": folder.catalog}
    if result.confirmation is not None:
        files["confirmation.json"] = folder.confirmation
    files |= {f"figures/{path.name}": path for path in figures}
    return StudyRecord(
        name=workspace.study.study,
        identity=result.identity,
        title=f"mix: {_headline(result)}",
        params={
            "tolerance": question.tolerance,
            "tokens": question.tokens,
            "level": question.level,
            "confidence": question.confidence,
            "turning_point": question.turning_point,
        },
        tags={"status": decision.status, "binding": decision.binding, "law": decision.law},
        metrics={name: round(float(value), 6) for name, value in _metrics(result).items() if value == value},
        note=page,
        started=started,
        question=workspace.study.identity,
        summary=answer_line(decision) + (f". {result.note}" if result.note else ""),
        artifacts=files,
    )


def _metrics(result: StudyResult) -> dict[str, float]:
    """The answer in numbers. MLflow folds metrics by the part of their name before `/`."""
    decision, fits = result.analysis.decision, result.analysis.fits
    metrics: dict[str, float] = {"runs": decision.n_runs}
    if decision.critical_ratio is not None:
        metrics["critical_ratio"] = decision.critical_ratio
    if decision.interval is not None:
        metrics["critical_ratio.low"], metrics["critical_ratio.high"] = decision.interval
    if decision.safe_ratio is not None:
        metrics["safe_ratio"] = decision.safe_ratio
    if decision.within is not None:
        metrics["within_tolerance"] = decision.within
    for name, prediction in decision.predicted.items():
        metrics[f"predicted_increment.{name}"] = prediction.increment
    if result.confirmation is not None:
        for role, increment in result.confirmation.observed.items():
            metrics[f"observed_increment.{role}"] = increment
    for fit in fits.laws:
        if fit.cv is not None:
            metrics[f"cv_mae/{fit.law}.{fit.eval}"] = fit.cv.mae
        if fits.chosen.get(fit.eval) != fit.law:
            continue
        for name, value in fit.parameters.items():
            metrics[f"law/{fit.law}.{fit.eval}.{name}"] = value
    return metrics


def _headline(result: StudyResult) -> str:
    """The answer as the name of the parent run."""
    decision = result.analysis.decision
    if decision.status == "bound":
        return f"target at least {decision.critical_ratio:.3f}"
    return "not yet" if decision.target_share is None else f"target {decision.target_share:.3f}"
