"""Tables of runs with two roles, for the tests of the critical ratio."""

from __future__ import annotations

from typing import Any

import polars as pl

from mixing.decision.question import Question, make_question
from mixing.runs.table import RunTable, make_table
from mixing.test_problems import LANDSCAPES, Landscape

SHARES = [0.2, 0.4, 0.6, 0.75, 0.9]
BUDGETS = [200_000 * i for i in range(1, 6)]
TOLERANCE = 0.02


def ask(table: RunTable, **changes: Any) -> Question:
    return make_question(table, {"general": 1.0}, {"target": 1.0}, **{"tolerance": TOLERANCE, **changes})


def study(landscape: Landscape, seed: int = 0, noise: float = 5e-4) -> RunTable:
    return landscape.study(SHARES, BUDGETS, run_sd=noise, checkpoint_sd=noise, seed=seed)


def landscape(name: str) -> Landscape:
    return next(found for found in LANDSCAPES if found.name == name)


def at_end(ratios: list[float]) -> RunTable:
    """Runs of one checkpoint: general rises as R^2 / 10 - 0.03, target falls."""
    rows: list[dict[str, object]] = []
    for name, loss in (("general", 3.0), ("target", 2.0)):
        rows.append(
            {"run": "base", "share.general": None, "share.target": None, "tokens": 0}
            | {"eval": name, "loss": loss}
        )
        rows += [
            {"run": f"r{i}", "share.general": 1 - r, "share.target": r, "tokens": 1000, "eval": name}
            | {"loss": loss + (0.1 * r**2 - 0.03 if name == "general" else -0.5 * r**0.5)}
            for i, r in enumerate(ratios)
        ]
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")


def four_domains(varying: bool) -> RunTable:
    rows: list[dict[str, object]] = []
    blank = dict.fromkeys(("share.web", "share.books", "share.python", "share.rust"))
    for name, loss in (("general", 3.0), ("target", 2.0)):
        rows.append({"run": "base", **blank, "tokens": 0, "eval": name, "loss": loss})
        for i, r in enumerate([0.2, 0.4, 0.6, 0.8]):
            part = 0.25 + (0.1 * i if varying else 0.0)
            shares = {
                "share.web": 0.75 * (1 - r), "share.books": 0.25 * (1 - r),
                "share.python": part * r, "share.rust": (1 - part) * r,
            }  # fmt: skip
            loss_here = loss + (0.1 * r**2 - 0.03 if name == "general" else -0.5 * r)
            rows.append({"run": f"r{i}", **shares, "tokens": 1000, "eval": name, "loss": loss_here})
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")
