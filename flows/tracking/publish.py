"""A study's outcome in MLflow: runs, figures and the registered mix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flows.pipeline.analysis import spec_digest
from flows.pipeline.plan import Kind
from flows.pipeline.result import Publication
from flows.reports.wording import decision_markdown, ratio_line
from flows.settings import home
from flows.tracking import corpus_snapshot as corpora_seen
from flows.tracking.client import Point, RunRecord, StudyRecord, Tracker
from flows.tracking.promotion import Rule, Verdict, judge
from mixing.errors import InputError
from mixing.runs.table import SHARE

if TYPE_CHECKING:
    from flows.pipeline.result import Outcome

CONFIRMED = "confirmation"


def publish(outcome: Outcome, figures: list[Path], gain: float) -> Publication:
    """Bring MLflow in line with the run store. `gain` is the rule's threshold (`flows.tracking.promotion`), in nats.

    Raises MixlawError, one line, where MLflow does not take it; the mix spec is on disk all the same.
    """
    from mixing.spec.yaml_file import save_spec

    job = outcome.job
    uri = home.tracking_uri(job.root)
    tracker = Tracker(uri, job.root, job.study.study)
    runs = run_records(outcome)
    started = min(run.finished - run.seconds for run in runs)
    record = study_record(outcome, figures, started)
    parent = tracker.open(record)
    if outcome.spec is not None:
        # The spec says which MLflow run it comes from, which only now is known.
        provenance = outcome.spec.provenance.model_copy(update={"mlflow_run": parent})
        outcome.spec = outcome.spec.model_copy(update={"provenance": provenance})
        save_spec(outcome.spec, job.folder.mixspec)
    path = job.folder.mixspec if outcome.spec is not None else None
    digest = spec_digest(outcome.spec) if outcome.spec is not None else ""
    done = tracker.publish(
        record,
        runs,
        path,
        digest,
        _rule(outcome, gain),
        beside=lambda folder: corpora_seen.save(job, folder),
    )
    return Publication(uri, done.experiment, done.run, done.version, done.changed, done.alias, done.verdict)


def _rule(outcome: Outcome, gain: float) -> Rule:
    """Whether the outcome's mix takes over from the champion whose spec is in a file."""

    def rule(champion: Path) -> Verdict:
        from mixing.spec.yaml_file import load_spec

        assert outcome.spec is not None
        try:
            known = load_spec(champion)
        except InputError as error:
            return Verdict(False, f"the champion's spec cannot be read ({error.message})")
        return judge(known, outcome.spec, outcome.given.decision, gain)

    return rule


def draw(outcome: Outcome) -> list[Path]:
    """The study's figures as PNG files, drawn afresh."""
    from mixing.plots.ratio import draw_all

    seen = outcome.seen
    return draw_all(outcome.given.decision, seen.observed, seen.predicted, outcome.job.folder.figures)


def run_records(outcome: Outcome) -> list[RunRecord]:
    """Every run of the study that is done or failed, read from the run store."""
    runs = outcome.job.folder.runs
    base = {row["eval"]: row["loss"] for row in _losses(runs / outcome.base).iter_rows(named=True)}
    records = [_record(runs / run, run, name, base) for run, name in outcome.names.items()]
    return records + _failed(outcome)


def _kind(name: str) -> Kind:
    if name == "base":
        return "base"
    return "confirmation" if name.startswith(CONFIRMED) else "proxy"


def _title(kind: Kind, name: str) -> str:
    """A run's name in MLflow, whose list shows some fifteen characters: what tells it apart comes first."""
    if kind == "base":
        return name
    share = name.partition("target=")[2].partition(" ")[0]
    return f"target {share}" + (f" ({kind})" if kind == "confirmation" else "")


def _losses(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "losses.parquet")


def _record(folder: Path, run: str, name: str, base: dict[str, float]) -> RunRecord:
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    kind = _kind(name)
    points = []
    for row in _losses(folder).sort("tokens", "eval").iter_rows(named=True):
        points.append(Point(f"loss.{row['eval']}", row["tokens"], row["loss"]))
        if row.get("stderr") is not None:
            points.append(Point(f"stderr.{row['eval']}", row["tokens"], row["stderr"]))
        if kind != "base":
            points.append(Point(f"increment.{row['eval']}", row["tokens"], row["loss"] - base[row["eval"]]))
    pretraining = folder / "pretraining.parquet"
    if pretraining.exists():
        rows = pl.read_parquet(pretraining).sort("tokens", "eval").iter_rows(named=True)
        points += [Point(f"pretraining_loss.{row['eval']}", row["tokens"], row["loss"]) for row in rows]
    return RunRecord(
        run=run,
        name=_title(kind, name),
        kind=kind,
        params=_params(spec, done),
        points=points,
        finished=(folder / "done.json").stat().st_mtime,
        seconds=float(done.get("seconds", 0.0)),
    )


def _params(spec: dict[str, Any], done: dict[str, Any]) -> dict[str, object]:
    shares = {f"{SHARE}{name}": round(spec["mixture"].get(name, 0.0), 6) for name in spec["data"]}
    kept = ("kind", "depth", "context", "tokens", "batch_tokens", "learning_rate", "seed", "study_seed")
    return {**shares, **{key: spec[key] for key in kept}, "params": done.get("params", "")}


def _failed(outcome: Outcome) -> list[RunRecord]:
    """Failed runs, by the spec that they left."""
    records = []
    by_name = outcome.failed_runs
    for name, reason in outcome.failures.items():
        folder = outcome.job.folder.runs / by_name.get(name, "")
        if name not in by_name or not (folder / "spec.json").exists():
            continue
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        when = (folder / "spec.json").stat().st_mtime
        kind = _kind(name)
        records.append(
            RunRecord(by_name[name], _title(kind, name), kind, _params(spec, {}), [], when, 0.0, reason)
        )
    return records


def study_record(outcome: Outcome, figures: list[Path], started: float) -> StudyRecord:
    """What the parent run shows. MLflow folds metrics by the part of their name before `/`."""
    job, decision = outcome.job, outcome.given.decision
    folder = job.folder
    metrics: dict[str, float] = {"runs": decision.n_runs}
    if decision.critical_ratio is not None:
        metrics["critical_ratio"] = decision.critical_ratio
    if decision.interval is not None:
        metrics["critical_ratio.low"], metrics["critical_ratio.high"] = decision.interval
    for role, prediction in decision.predicted.items():
        metrics[f"predicted_increment.{role}"] = prediction.increment
    if outcome.confirmation is not None:
        for role, increment in outcome.confirmation.observed.items():
            metrics[f"observed_increment.{role}"] = increment
    for fit in outcome.given.fits.laws:
        if fit.cv is not None:
            metrics[f"cv_mae/{fit.law}.{fit.eval}"] = fit.cv.mae
        if outcome.given.fits.chosen.get(fit.eval) != fit.law:
            continue
        for name, value in fit.parameters.items():
            metrics[f"law/{fit.law}.{fit.eval}.{name}"] = value
    files = {"study.yaml": job.study.file, "fits.json": folder.fits, "decision.json": folder.decision}
    files |= {"catalog.json": folder.catalog}
    if outcome.confirmation is not None:
        files["confirmation.json"] = folder.confirmation
    files |= {f"figures/{path.name}": path for path in figures}
    asked = decision.question
    return StudyRecord(
        name=job.study.study,
        identity=outcome.identity,
        title=f"mix: {_headline(outcome)}",
        params={"tolerance": asked.tolerance, "tokens": asked.tokens, "level": asked.level},
        tags={"status": decision.status, "binding": decision.binding, "law": decision.law},
        metrics={name: round(float(value), 6) for name, value in metrics.items() if value == value},
        note=decision_markdown(outcome),
        started=started,
        question=job.study.identity,
        summary=f"target share {ratio_line(decision)}" + (f". {outcome.note}" if outcome.note else ""),
        artifacts=files,
    )


def _headline(outcome: Outcome) -> str:
    """The answer as the name of a run."""
    ratio = outcome.given.decision.critical_ratio
    return "not yet" if ratio is None else f"target {ratio:.3f}"
