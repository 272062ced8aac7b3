"""One piece of a study's work as a Prefect task: named for people, logged, and tried again where its process died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from flows.settings import logging as log
from mixing.errors import MixlawError

T = TypeVar("T")
RETRIES = 2
"""Further tries of a task whose process died; a run that failed by itself (its loss diverged) is not tried again."""


def as_task(name: str, work: Callable[[], T], kind: str = "", retries: int = 0) -> Task[[], T]:
    """`work` as a Prefect task; `kind` is the name that tasks of one kind share (default: `name`)."""
    decorate = task(
        name=kind or name,
        task_run_name=name,
        tags=[kind_tag(kind)] if kind else None,
        retries=retries,
        retry_delay_seconds=1,
        retry_condition_fn=_process_died,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return decorate(work)


def run_task(name: str, work: Callable[[], T], kind: str = "", retries: int = 0) -> T:
    """Run `work` as a Prefect task, with its begin and end in the study's log; what it raises comes through."""
    with log.step(name):
        return as_task(name, work, kind, retries)()


def kind_tag(kind: str) -> str:
    """The tag of the task runs that train runs of this kind."""
    return f"mixlaw-kind:{kind}"


def _process_died(task: Any, run: Any, state: Any) -> bool:
    """Whether another try can help: not for bad input, nor for a run that says itself why it failed."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, MixlawError) or bool(getattr(error, "process_died", False))
