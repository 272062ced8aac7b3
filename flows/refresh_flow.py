"""The flow `mixlaw refresh`: look at the corpora again, and run the study only if a change can move its answer.

Deployments name it as `flows.refresh_flow.refresh_flow`.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed

from flows.orchestration.corpus_changes import compare_with_published
from flows.orchestration.events import emit_unchanged, emitting_failures
from flows.orchestration.flow_run import cancel_proxies, held_study, name_by_study, train_and_decide

# Fits are many small solves: a second BLAS thread only waits for the first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

REFRESH = "mixlaw refresh"
UNCHANGED = "Unchanged"
"""Name of the state of a flow run that found nothing that can move the answer."""


@flow(name=REFRESH, flow_run_name=name_by_study, persist_result=False, on_cancellation=[cancel_proxies])
def refresh_flow(
    study_file: str,
    token_change: float = 0.05,
    workers: int | None = None,
    spread: int = 0,
    promote_gain: float = 0.01,
) -> Any:
    """Look at the corpora again; run the study only if a change can move its answer.

    Args:
        study_file: Absolute path of the study file, as this worker sees it.
        token_change: Share of a domain's tokens or documents that may change without any consequence.
        workers: Proxies trained at the same time on this worker (default: one per core).
        spread: Where above 0, runs are flow runs of the deployment `mixlaw proxy`, so many at the same time.
        promote_gain: Nats per token that a new mix must gain to become champion where intervals overlap.
    """
    with held_study(study_file) as held:
        if not isinstance(held, tuple):
            return held
        workspace, context = held
        with emitting_failures(workspace):
            difference = compare_with_published(workspace, token_change)
        sentence = difference.sentence()
        get_run_logger().info("%s: %s", workspace.study.study, sentence)
        if not difference.changed:
            emit_unchanged(workspace, sentence)
            return Completed(name=UNCHANGED, message=sentence)
        context.note = sentence
        return train_and_decide(workspace, context, workers, spread, promote_gain)
