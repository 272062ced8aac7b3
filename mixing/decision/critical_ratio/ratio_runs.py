"""Runs as a law of one ratio sees them: a target share each, and one composition within each role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.decision.critical_ratio.feasibility import GRID
from mixing.decision.critical_ratio.levels import SAME_BUDGET
from mixing.decision.critical_ratio.model_sizes import sizes_to_extend
from mixing.decision.direction import Values
from mixing.decision.question import Question
from mixing.decision.record import ROLES
from mixing.errors import InputError
from mixing.mixture import mixture_at
from mixing.runs.increments import Increments
from mixing.runs.points import Points
from mixing.runs.table import RunTable

SAME_COMPOSITION = 0.02
"""Shares within a role that differ by no more than this between runs count as the same."""


@dataclass(frozen=True)
class RatioRuns:
    """A table with its rows in order, the increments of one size, and each domain's share `within` its role.

    `sizes` are the trained sizes, rising, where another one is asked about; `increments` are then of the largest.
    `inside` are the points whose target share is strictly between 0 and 1, the only ones that a ratio law sees.
    `alone` are the increments of single validation sets, besides the roles': those of a mean, and protected ones.
    """

    table: RunTable
    question: Question
    increments: Increments
    inside: NDArray[np.bool_]
    within: dict[str, float]
    sizes: list[int] | None
    alone: Mapping[str, Increments] = field(default_factory=dict)

    @property
    def base(self) -> dict[str, float]:
        """The base model's losses: of both roles, and of each single set."""
        single = {name: data.base["general"] for name, data in self.alone.items()}
        return {**self.increments.base, **single}

    @property
    def points(self) -> Points:
        return self.increments.points.take(self.inside)

    @cached_property
    def ratios(self) -> list[float]:
        """The trained target shares strictly between 0 and 1, rising."""
        return sorted(np.unique(self.points.target_n.round(9)).tolist())

    @cached_property
    def trained(self) -> list[float]:
        """The target shares of all runs, rising: also 0 and 1, where a run reached the usual budget."""
        points = self.increments.points
        if not self.inside.any():
            return sorted({round(float(r), 9) for r in points.target_n})
        ends_n = ~self.inside & (points.tokens_n >= (1 - SAME_BUDGET) * self.usual_budget)
        return sorted({*self.ratios, *(round(float(r), 9) for r in points.target_n[ends_n])})

    @property
    def reachable(self) -> tuple[float, float]:
        """The target shares that an answer may have: half-way to 0 and to 1 from the outermost trained ones."""
        trained = self.trained
        return max(trained[0] / 2, float(GRID[0])), (1 + trained[-1]) / 2

    @property
    def usual_budget(self) -> float:
        """The largest budget that almost all runs have reached: how far past it is asked is measured from here."""
        return self.points.usual_budget

    @property
    def n_runs(self) -> int:
        return len(np.unique(self.points.run_n))

    def values(self) -> dict[str, Values]:
        """The losses of both roles at the usual budget, and the shares of their own text."""
        data = self.increments
        at = data.points.at_usual_budget()
        target_n = data.points.target_n[at]
        return {
            "general": Values(data.general_n[at] + data.base["general"], 1 - target_n, data.base["general"]),
            "target": Values(data.target_n[at] + data.base["target"], target_n, data.base["target"]),
        }

    def mix(self, ratio: float) -> dict[str, float]:
        """The mixture at a target share."""
        return mixture_at(ratio, self.within, self.question.target_domains)


def ratio_runs(
    table: RunTable,
    question: Question,
    composition: Mapping[str, float] | None = None,
    protect: Iterable[str] = (),
) -> RatioRuns:
    """The runs of a table for a question about one ratio.

    `composition` is each domain's share within its role, where it is known; else it is read off the runs. `protect`
    names validation sets with a tolerance of their own. Raises InputError for a table without base rows, without the
    named validation sets, or whose shares within a role vary.
    """
    table = in_order(table)
    sizes = sizes_to_extend(table, question)
    own = question if sizes is None else replace(question, params=sizes[-1])
    increments = own.increments(table)
    if composition is None:
        within = _composition(table, increments.points.shares_nd, question)
    else:
        within = {domain: composition.get(domain, 0.0) for domain in table.domains}
    alone = {
        name: replace(own, general={name: 1.0}, target={name: 1.0}).increments(table)
        for name in _single_sets(question, protect)
    }
    return RatioRuns(table, question, increments, increments.points.interior(), within, sizes, alone)


def _single_sets(question: Question, protect: Iterable[str]) -> list[str]:
    """The validation sets whose own losses are followed, besides the roles'. Raises InputError for a name of a role."""
    means = [name for role in (question.general, question.target) if len(role) > 1 for name in role]
    names = [name for name in dict.fromkeys([*means, *protect]) if role_of(question, name) is None]
    unclear = sorted({*names} & {*ROLES} & {*protect})
    if unclear:
        raise InputError(
            f"protect {unclear[0]}: a validation set of that name cannot be told from the mean of the role",
            "Rename it in the table",
        )
    return [name for name in names if name not in ROLES]


def set_of(question: Question, name: str) -> str:
    """The validation set behind the name of a loss: a role's one set, or a single set itself."""
    weights = getattr(question, name) if name in ROLES else {}
    return next(iter(weights)) if len(weights) == 1 else name


def role_of(question: Question, name: str) -> str | None:
    """The role whose loss is that of the one validation set `name`."""
    return next((role for role in ROLES if list(getattr(question, role)) == [name]), None)


def in_order(table: RunTable) -> RunTable:
    """The order of rows means nothing, so it may not reach even the last digit of a sum."""
    rows = table.rows.sort("eval", "run", "params", "seed", "tokens")
    return RunTable(rows, table.source, table.warnings)


def one_composition(table: RunTable, target_domains: tuple[str, ...]) -> bool:
    """Whether all runs have the same proportions within the target domains, and within the others."""
    shares_nd = table.trained.select([f"share.{d}" for d in table.domains]).unique().to_numpy()
    return all(
        parts_nd is None or np.ptp(parts_nd, axis=0).max() <= SAME_COMPOSITION
        for _, parts_nd in _parts(shares_nd, table.domains, target_domains)
    )


def _composition(table: RunTable, shares_nd: Floats, question: Question) -> dict[str, float]:
    """Each domain's share within its role, which must be the same in all runs for R to be one number."""
    within_d = np.zeros(len(table.domains))
    roles = _parts(shares_nd, table.domains, question.target_domains)
    for role, (mask_d, parts_nd) in zip(("target", "general"), roles, strict=True):
        if parts_nd is None:
            within_d[mask_d] = 1 / mask_d.sum()
            continue
        if np.ptp(parts_nd, axis=0).max() > SAME_COMPOSITION:
            raise InputError(
                f"{table.source}: shares within the {role} domains vary between runs, so no single target share "
                "describes them",
                "Keep the proportions within each role fixed",
            )
        within_d[mask_d] = parts_nd.mean(0)
    return dict(zip(table.domains, within_d.tolist(), strict=True))


def _parts(
    shares_nd: Floats, domains: tuple[str, ...], target_domains: tuple[str, ...]
) -> list[tuple[NDArray[np.bool_], Floats | None]]:
    """For the target, then the general domains: which they are, and their shares within the role (None: never read)."""
    is_target_d = np.isin(domains, target_domains)
    parts: list[tuple[NDArray[np.bool_], Floats | None]] = []
    for mask_d in (is_target_d, ~is_target_d):
        total_n = shares_nd[:, mask_d].sum(1)
        rows = total_n > 1e-9
        parts.append((mask_d, shares_nd[rows][:, mask_d] / total_n[rows, None] if rows.any() else None))
    return parts
