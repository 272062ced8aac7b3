"""The run store: one folder per run, the only truth about what was trained.

runs/<run id>/spec.json             what determines the run (ProxySpec)
              lock, claim.<n>       held while a process works on it (proxies/runs/claims.py)
              checkpoint.pt         to continue from; removed when the run is done
              losses.parquet        its rows of the runs table
              window_losses.parquet the losses of single held-out windows (mixing/runs/heldout.py)
              pretraining.parquet   base runs: losses over the tokens of their own training
              weights.pt            base runs: final weights
              done.json             written last: the run is complete
              failed.json           why it failed
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import ValidationError

from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError
from mixing.runs.heldout import WINDOW_LOSSES
from mixing.versions import RUNS as VERSION
from mixing.versions import RUNS_OLDER as OLDER
from mixing.versions import check_version, version_in
from proxies.runs import claims
from proxies.runs.claims import Claimed, Held
from proxies.spec import ProxySpec

__all__ = ["WINDOW_LOSSES", "Claimed", "Held"]

SPEC, LOCK, CHECKPOINT = "spec.json", "lock", "checkpoint.pt"
LOSSES, PRETRAINING, WEIGHTS = "losses.parquet", "pretraining.parquet", "weights.pt"
DONE, FAILED = "done.json", "failed.json"

State = Literal["done", "failed", "running", "partial", "absent"]
FailureKind = Literal["divergence", "input", "error", "claimed"]


@dataclass(frozen=True)
class LossRow:
    """A held-out loss (nats per token) of one domain after `tokens` training tokens."""

    tokens: int
    eval: str
    loss: float
    stderr: float


@dataclass(frozen=True)
class Failure:
    """Why a run failed. A `divergence` is in the run itself and would come again; the others may not. `claimed`
    is no failure of the run: another process works on it (it is never written down).
    """

    kind: FailureKind
    reason: str
    hint: str


def state(run_dir: Path) -> State:
    """What is known of a run: `partial` was begun and can be continued, `absent` never was."""
    if done(run_dir) is not None:
        return "done"
    if claims.holder(run_dir / LOCK) is not None:
        return "running"
    if (run_dir / FAILED).exists():
        return "failed"
    return "partial" if (run_dir / SPEC).exists() else "absent"


def done(run_dir: Path) -> dict[str, Any] | None:
    """The record of a finished run, else None. Raises InputError where it, or the spec, is of another version."""
    record = _read_json(run_dir / DONE)
    if record is None or not (run_dir / LOSSES).exists():
        return None
    with contextlib.suppress(OSError):
        if (version := version_in((run_dir / SPEC).read_bytes(), "version")) is not None:
            check_version(run_dir / SPEC, version, VERSION, OLDER)
    return record


def failure(run_dir: Path) -> str | None:
    """Why the run failed, in a sentence; None if it has not."""
    earlier = read_failure(run_dir)
    return earlier.reason if earlier else None


def read_failure(run_dir: Path) -> Failure | None:
    record = _read_json(run_dir / FAILED)
    if record is None:
        return None
    return Failure(record.get("kind", "error"), record.get("reason", "unknown"), record.get("hint", ""))


def check_done(run_dir: Path) -> dict[str, Any]:
    """The record of a finished run whose files are as they were written; MixlawError if one is not."""
    record = done(run_dir)
    if record is None:
        raise MixlawError(f"{run_dir}: the run is not done", "Run the study again to finish it")
    for name, expected in record.get("sha256", {}).items():
        path = run_dir / name
        if not path.exists() or file_sha256(path) != expected:
            raise MixlawError(
                f"{path}: missing or altered since the run was done",
                f"Delete the folder {run_dir} and run again to train it anew",
            )
    return record


def read_spec(run_dir: Path) -> ProxySpec:
    """The spec of a run folder; InputError if it holds none."""
    path = run_dir / SPEC
    try:
        content = path.read_bytes()
        if (version := version_in(content, "version")) is not None:
            check_version(path, version, VERSION, OLDER)
        return ProxySpec.model_validate_json(content)
    except FileNotFoundError:
        raise InputError(f"{path}: not found", "Name a run folder, runs/<run id>") from None
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path}: not the spec of a run ({_line(error)})", "Delete the run's folder"
        ) from error


def write_spec(run_dir: Path, spec: ProxySpec) -> None:
    """Make the run's folder with its spec, or with its new caps. Raises InputError if it is another run's."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MixlawError(
            f"{run_dir}: cannot be made: {error.strerror or error}",
            "Set MIXLAW_HOME to a folder that is writable and has room; finished runs are kept",
        ) from error
    content = spec.model_dump_json(indent=2).encode()
    if (run_dir / SPEC).exists() and read_spec(run_dir).run_id != spec.run_id:
        raise InputError(
            f"{run_dir}: the folder of another run than {spec.run_id}", "Give each run its own folder"
        )
    if not (run_dir / SPEC).exists() or (run_dir / SPEC).read_bytes() != content:
        replace_files({run_dir / SPEC: content})


@contextlib.contextmanager
def claim(run_dir: Path, wait_s: float = 60.0) -> Iterator[Held]:
    """Work on a run alone. Waits for another process that is about to end.

    Raises Claimed if the run is still another's after `wait_s`; MixlawError where its folder cannot be written.
    """
    with claims.claim(run_dir / LOCK, wait_s) as held:
        for leftover in run_dir.glob(".*.partial"):
            leftover.unlink(missing_ok=True)
        yield held


def finish(run_dir: Path, spec: ProxySpec, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    """Write the results of a run, then the marker that it is done, then drop what it no longer needs."""
    replace_files({run_dir / name: content for name, content in files.items()})
    record = {
        "version": VERSION,
        "run": spec.run_id,
        "kind": spec.kind,
        "params": spec.params,
        **facts,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    replace_files({run_dir / DONE: _json_bytes(record)})
    for name in (CHECKPOINT, FAILED):
        with contextlib.suppress(OSError):
            (run_dir / name).unlink(missing_ok=True)


def record_failure(run_dir: Path, spec: ProxySpec, failure: Failure) -> None:
    """Say why a run failed. A diverged run also loses its checkpoint: nothing good continues from it."""
    record = {"version": VERSION, "run": spec.run_id, "mixture": spec.mixture, **asdict(failure)}
    replace_files({run_dir / FAILED: _json_bytes(record)})
    if failure.kind == "divergence":
        (run_dir / CHECKPOINT).unlink(missing_ok=True)


def losses_table(spec: ProxySpec, rows: Sequence[LossRow]) -> bytes:
    """The run's rows of the runs table, as Parquet.

    A base run stands for the model before continual pre-training: its last losses, tokens 0, no shares.
    """
    if spec.kind == "base":
        last = max(row.tokens for row in rows)
        rows = [LossRow(0, row.eval, row.loss, row.stderr) for row in rows if row.tokens == last]
        shares: dict[str, float | None] = dict.fromkeys(sorted(spec.data))
    else:
        shares = {domain: spec.mixture.get(domain, 0.0) for domain in sorted(spec.data)}
    columns: dict[str, Any] = {"run": pl.Series([spec.run_id] * len(rows), dtype=pl.String)}
    for domain, share in shares.items():
        columns[f"share.{domain}"] = pl.Series([share] * len(rows), dtype=pl.Float64)
    columns["params"] = pl.Series([spec.params] * len(rows), dtype=pl.Int64)
    columns["tokens"] = pl.Series([row.tokens for row in rows], dtype=pl.Int64)
    columns["seed"] = pl.Series([spec.seed] * len(rows), dtype=pl.Int64)
    if spec.heldout != "swarm":
        columns["heldout"] = pl.Series([spec.heldout] * len(rows), dtype=pl.String)
    return parquet(pl.DataFrame({**columns, **_loss_columns(rows)}))


def pretraining_table(spec: ProxySpec, rows: Sequence[LossRow]) -> bytes:
    """How a base run's losses fell over the tokens of its own training, as Parquet."""
    columns = {
        "run": pl.Series([spec.run_id] * len(rows), dtype=pl.String),
        "tokens": pl.Series([row.tokens for row in rows], dtype=pl.Int64),
    }
    return parquet(pl.DataFrame({**columns, **_loss_columns(rows)}))


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _loss_columns(rows: Sequence[LossRow]) -> dict[str, pl.Series]:
    return {
        "eval": pl.Series([row.eval for row in rows], dtype=pl.String),
        "loss": pl.Series([row.loss for row in rows], dtype=pl.Float64),
        "stderr": pl.Series([row.stderr for row in rows], dtype=pl.Float64),
    }


def parquet(table: pl.DataFrame) -> bytes:
    """The table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _json_bytes(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2) + "\n").encode()


def _read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is not there or not ours: the run then counts as not done (or failed).

    Raises InputError for one of another version: training the run again would overwrite it.
    """
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    check_version(path, record.get("version"), VERSION, OLDER)
    return record


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
