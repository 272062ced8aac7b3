"""The flow `mixlaw proxy`: train one run of a study, for a study that is spread over workers.

Deployments name it as `flows.proxy_flow.proxy_flow`; `flows.trainers.prefect` starts it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.orchestration.context import RunLogBoard
from flows.orchestration.flow_run import cores, worker_home
from flows.settings import logging as log
from flows.settings.environment import device, proxy_slots
from flows.settings.home import StudyFolder
from mixing.errors import InputError

PROXY = "mixlaw proxy"


@flow(name=PROXY, flow_run_name="{name}", persist_result=False)
def proxy_flow(study: str, run: str, name: str, weights: str | None = None, alone: bool = False) -> Any:
    """Train one run of a study into the shared run store.

    Args:
        study: The study's name: its folder in MIXLAW_HOME.
        run: The run's id, whose folder holds its spec.
        name: The run's name, for people.
        weights: File of the base model's weights, if not those of a run of this study.
        alone: Whether the run may use all of the worker's cores.
    """
    from proxies.runs.launch import launch
    from proxies.runs.store import read_spec

    root = worker_home()
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", study) or not re.fullmatch(r"[0-9a-f]{16}", run):
        raise InputError(
            f"{study}/{run}: not the name of a study and the id of a run", "Start it from a study"
        )
    folder = StudyFolder.of(study, root)
    log.to_files(folder.path, study, terminal=True)
    log.of_flow_run(flow_run.id)
    spec = read_spec(folder.runs / run)
    base = Path(weights) if weights else folder.runs / spec.base / "weights.pt" if spec.base else None
    row = RunLogBoard(get_run_logger()).row(name, spec.tokens or None)
    launch(
        spec,
        folder.runs,
        folder.tokens,
        base,
        threads=cores() if alone else 1,
        on_progress=lambda at: row.set(at.tokens),
        device=device(),
        slots=proxy_slots(root),
    )
    row.finish()
    return Completed(message=f"run {run} is done")
