"""Runs of many mixtures of three sources, for the tests of the best mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.decision.constraints import Constraints
from mixing.decision.mixture.decider import decide_mixture
from mixing.decision.question import make_question
from mixing.decision.result import Decision
from mixing.runs.table import RunTable, make_table

DOMAINS = ("web", "code", "books")
Losses = dict[str, Callable[[Floats], float]]
LINEAR: Losses = {
    "general": lambda p: 3.0 + 0.4 * p[1] + 0.2 * p[2],
    "target": lambda p: 2.0 - 0.5 * p[1] - 0.1 * p[2],
}
BASE = {"general": 3.1, "target": 2.0}


def swarm(
    mixtures_rd: Floats,
    losses: Losses | None = None,
    noise: float = 1e-4,
    base: dict[str, float] | None = None,
    domains: tuple[str, ...] = DOMAINS,
    seed: int = 0,
) -> RunTable:
    losses = losses or LINEAR
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for name, loss in (base or {}).items():
        rows.append({"run": "base", "tokens": 0, "eval": name, "loss": loss})
    for r, mix in enumerate(mixtures_rd):
        for name, law in losses.items():
            shares = {f"share.{d}": float(s) for d, s in zip(domains, mix, strict=True)}
            loss = law(mix) + noise * rng.standard_normal()
            rows.append({"run": f"r{r}", **shares, "tokens": 1000, "eval": name, "loss": loss})
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "swarm.csv")


def drawn(count: int, width: int = 3, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).dirichlet(np.ones(width), count)


def corners(count: int = 12) -> Floats:
    return np.concatenate([np.eye(3), drawn(count)])


def decide(
    table: RunTable,
    constraints: Constraints | None = None,
    general: str | None = "general",
    law: str = "linear",
    **more: Any,
) -> Decision:
    asked = {"tolerance": 0.0} | more
    question = make_question(table, {general: 1.0} if general else {}, {"target": 1.0}, **asked)
    return decide_mixture(table, question, constraints, law=law)
