"""A runs table from trainers' logs and a map: `mixlaw import-runs LOGS --map FILE`, or `logs:MAP.yaml`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from flows.importers.log_formats import OTHER_RUN, RANGES, Point, read_log
from flows.importers.log_map import LoggedRun, LogMap, load_map
from mixing.errors import InputError
from mixing.export.importing import import_spec
from mixing.runs.table import SHARE, RunTable, make_table

PREFIX = "logs:"
MLFLOW = "mlflow:"


def read_logs(address: str) -> RunTable:
    """The runs table of `logs:MAP.yaml`, whose logs are relative to the map. The importer named `logs`."""
    path = Path(address.removeprefix(PREFIX))
    return import_runs(path.parent, path)


def import_runs(logs: Path, map_file: Path) -> RunTable:
    """The runs table of the logs below `logs`, as the map in `map_file` reads them.

    Its warnings name what is not used: metrics, files, and the rows that a restart wrote again. Raises InputError
    naming the map's key, the run or the log; MixlawError where a package is missing.
    """
    log_map = load_map(map_file)
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    unused: Counter[str] = Counter()
    for name, run in log_map.runs.items():
        shares = _shares(logs, name, run)
        points, note = without_restarted(_points_of(logs, log_map, name, run))
        notes += [f"run {name}: {note}"] if note else []
        found = list(_rows(log_map, name, run, shares, points, unused))
        if not found:
            metrics = ", ".join(sorted({point.metric for point in points})[:12])
            raise InputError(
                f"{map_file}: evals matches no metric of run {name!r}", f"Its metrics: {metrics}"
            )
        rows += found
    notes += _not_used(logs, log_map, map_file, unused)
    return make_table(pl.DataFrame(rows, infer_schema_length=None), str(map_file), notes)


def _points_of(logs: Path, log_map: LogMap, name: str, run: LoggedRun) -> list[Point]:
    if run.log.startswith(MLFLOW) or log_map.format == "mlflow":
        return _mlflow_points(run.log.removeprefix(MLFLOW), name)
    return read_log(logs / run.log, log_map.format, name, log_map.step)


def _mlflow_points(experiment: str, name: str) -> list[Point]:
    """All metrics of the run of this name in an MLflow experiment, as any trainer logs them by step."""
    from flows.importers.mlflow import metrics_of_run

    return [Point(step, metric, value) for step, metric, value in metrics_of_run(experiment, name)]


def _shares(logs: Path, name: str, run: LoggedRun) -> dict[str, float]:
    if run.mix is None:
        return run.shares or {}
    path = logs / run.mix.file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"run {name}: {path}: cannot be read ({error})", "Correct mix.file in the map"
        ) from None
    try:
        spec = import_spec([text], run.mix.trainer, name=path.name, total_tokens=10**12).spec
    except InputError as error:
        raise InputError(f"run {name}: {path}: {error.message}", error.hint) from None
    if len(spec.stages) > 1:
        raise InputError(
            f"run {name}: {path}: has {len(spec.stages)} stages", "Give the runs of one mixture each"
        )
    return dict(spec.stages[0].shares)


def without_restarted(points: Sequence[Point]) -> tuple[list[Point], str]:
    """The points without those that a restart wrote again: where a metric's steps go back, the later rows are kept."""
    kept: dict[str, list[Point]] = {}
    dropped = restarts = 0
    for point in points:
        before = kept.setdefault(point.metric, [])
        length = len(before)
        while before and before[-1].step >= point.step:
            before.pop()
        dropped += length - len(before)
        restarts += length > len(before)
        before.append(point)
    note = f"steps go back: {dropped} earlier rows left out, the later ones kept" if restarts else ""
    return [point for of_metric in kept.values() for point in of_metric], note


def _rows(
    log_map: LogMap,
    name: str,
    run: LoggedRun,
    shares: dict[str, float],
    points: list[Point],
    unused: Counter[str],
) -> Iterator[dict[str, Any]]:
    pattern = re.compile(log_map.evals)
    counted = {point.step: point.value for point in points if point.metric == log_map.tokens}
    per_step = run.tokens_per_step or log_map.tokens_per_step
    facts = {"run": name, "params": run.params, "seed": run.seed}
    for point in points:
        match = pattern.fullmatch(point.metric)
        if match is None or point.metric.endswith(RANGES) or point.metric.startswith(OTHER_RUN):
            unused[point.metric] += point.metric != log_map.tokens
            continue
        if run.base or point.step == 0:
            tokens: float | None = 0
        else:
            tokens = counted.get(point.step) if log_map.tokens is not None else point.step * (per_step or 0)
        if tokens is None:
            raise InputError(
                f"run {name}: {log_map.tokens!r} is not logged at step {point.step:,}, where {point.metric!r} is",
                "Give tokens_per_step instead",
            )
        mixture = {} if tokens == 0 else {SHARE + domain: share for domain, share in shares.items()}
        yield {**facts, **mixture, "tokens": int(tokens), "eval": match["eval"], "loss": point.value}


def _not_used(logs: Path, log_map: LogMap, map_file: Path, unused: Counter[str]) -> list[str]:
    notes = []
    names = sorted(name for name, count in unused.items() if count)
    if names:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        notes.append(f"{map_file}: {len(names)} metrics not used: {shown}")
    used = [logs / run.log for run in log_map.runs.values()]
    used += [logs / run.mix.file for run in log_map.runs.values() if run.mix is not None]
    others = [
        path
        for path in sorted(logs.iterdir() if logs.is_dir() else ())
        if path.resolve() != map_file.resolve()
        and not any(path == one or path in one.parents for one in used)
    ]
    if others:
        shown = ", ".join(path.name for path in others[:8]) + (", ..." if len(others) > 8 else "")
        notes.append(f"{logs}: {len(others)} files or folders not named in the map: {shown}")
    return notes
