"""Where proxy runs are trained: a file per trainer, and their registry."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flows.trainers.base import Open, Setting, Trainer
from flows.trainers.dask import open_dask
from flows.trainers.local import open_local
from flows.trainers.prefect import open_prefect
from flows.trainers.ray import open_ray

__all__ = ["TRAINERS", "Setting", "Trainer", "open_trainer"]

TRAINERS: dict[str, Open] = {
    "local": open_local,
    "prefect": open_prefect,
    "dask": open_dask,
    "ray": open_ray,
}
"""By `runner.kind` of a study."""


def open_trainer(setting: Setting) -> AbstractContextManager[Trainer]:
    """The trainer that the study names; with `spread`, Prefect's for a study that names none."""
    kind = setting.workspace.study.runner.kind
    return TRAINERS["prefect" if kind == "local" and setting.spread > 0 else kind](setting)
