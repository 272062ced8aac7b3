"""One run in one process: `python -m proxies.runs.worker RUN_DIR STORE_DIR [BASE_WEIGHTS]`.

Trains the run of RUN_DIR/spec.json on one thread (OMP_NUM_THREADS says otherwise). Progress and the outcome
go to stdout as one JSON object a line, the log to stderr. Exit status as the command line's: 0 done, 1
failed, 2 bad input. With `--parent PID` it ends when that process is no longer its parent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from proxies.progress import Progress
    from proxies.runs.store import FailureKind

REPORT_SECONDS = 0.5
CLAIM_SECONDS = 3.0
"""A worker of a launcher that died ends within a second; longer waits are the launcher's, which costs less."""
ORPHANED = 3
"""Exit status of a worker whose parent is gone; nobody is left to read it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m proxies.runs.worker", description="Train one run.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("store_dir", type=Path)
    parser.add_argument("base_weights", type=Path, nargs="?")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(message)s")
    if options.parent is not None:
        _end_with(options.parent)
    try:
        _train(options)
    except KeyboardInterrupt:
        return 130
    except MixlawError as error:
        _fail(options.run_dir, error)
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        _fail(options.run_dir, MixlawError(f"run {options.run_dir.name}: {type(error).__name__}: {error}"))
        return 1
    _emit(event="done")
    return 0


def _train(options: argparse.Namespace) -> None:
    # Before torch is imported: it sizes its thread pool once, and workers that share cores crawl with more.
    threads = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
    import torch

    from proxies.data.token_store import TokenStore
    from proxies.runs.store import read_spec
    from proxies.train import train

    torch.set_num_threads(threads)
    check_device(options.device)
    spec = read_spec(options.run_dir)
    # Who builds the store verifies it; hashing it again in every worker would cost more than small runs.
    store = TokenStore.open(options.store_dir, verify=False)
    shown = 0.0

    def report(at: Progress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= REPORT_SECONDS or at.step == at.steps:
            shown = now
            _emit(event="progress", **asdict(at))

    train(
        spec,
        options.run_dir,
        store,
        options.base_weights,
        report,
        device=options.device,
        claim_wait_s=CLAIM_SECONDS,
    )


def check_device(device: str) -> None:
    """Raises InputError for a GPU that PyTorch does not see."""
    import torch

    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        built = "PyTorch sees no such GPU here" if torch.version.cuda else "this PyTorch is built for the CPU"
        raise InputError(f"MIXLAW_DEVICE is {device}: {built}", "Leave MIXLAW_DEVICE out to train on the CPU")


def _fail(run_dir: Path, error: MixlawError) -> None:
    """Tell the parent why, and the run's folder, if it can be written and is not another process's."""
    from proxies.runs.claims import Claimed, ClaimLost
    from proxies.runs.store import Failure, read_spec, record_failure
    from proxies.train import Diverged

    kind: FailureKind = "input" if isinstance(error, InputError) else "error"
    if isinstance(error, Diverged):
        kind = "divergence"  # the trainer recorded it
    elif isinstance(error, Claimed | ClaimLost):
        kind = "claimed"  # the run is another process's to write in
    else:
        with contextlib.suppress(MixlawError):
            record_failure(run_dir, read_spec(run_dir), Failure(kind, error.message, error.hint))
    _emit(event="failed", kind=kind, reason=error.message, hint=error.hint)


def _emit(**record: Any) -> None:
    try:
        print(json.dumps(record), flush=True)
    except BrokenPipeError:
        os._exit(ORPHANED)


def _end_with(parent: int) -> None:
    """End this process, at once, when its parent has died: nobody would read its progress or start the next.

    A run can be killed at any moment, so there is nothing to tidy up.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main())
