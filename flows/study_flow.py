"""The flow `mixlaw study`: from text to a mix; finished runs are kept.

`mixlaw run` calls it in its own process; deployments name it as `flows.study_flow.study_flow`, and workers import it
from the installed package. The run store knows which runs are finished, so the next flow run resumes a killed one.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import flow

from flows.orchestration.flow_run import cancel_proxies, held_study, name_by_study, train_and_decide

# Fits are many small solves: a second BLAS thread only waits for the first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

STUDY = "mixlaw study"


@flow(name=STUDY, flow_run_name=name_by_study, persist_result=False, on_cancellation=[cancel_proxies])
def study_flow(
    study_file: str, workers: int | None = None, spread: int = 0, promote_gain: float = 0.01
) -> Any:
    """Run the whole study; finished runs are kept: catalogue, tokens, proxies, laws, decision, mix spec, MLflow.

    Args:
        study_file: Absolute path of the study file, as this worker sees it.
        workers: Proxies trained at the same time on this worker (default: one per core).
        spread: Where above 0, runs are flow runs of the deployment `mixlaw proxy`, so many at the same time.
        promote_gain: Nats per token that a new mix must gain to become champion where intervals overlap.
    """
    with held_study(study_file) as held:
        if not isinstance(held, tuple):
            return held
        return train_and_decide(*held, workers, spread, promote_gain)
