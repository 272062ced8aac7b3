"""What is asked of a runs table, checked against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mixing.errors import InputError
from mixing.runs.increments import Increments, increments
from mixing.runs.table import RunTable


@dataclass(frozen=True)
class Question:
    """What the user asks of a runs table.

    `general` and `target` weight validation sets (weights sum to 1); `target_domains` are the share columns
    whose sum is the target share R. `tolerance` is in nats of general loss, `tokens` the continual-pre-training
    budget that is asked about.
    """

    general: dict[str, float]
    target: dict[str, float]
    target_domains: tuple[str, ...]
    tolerance: float
    tokens: int
    params: int | None = None
    level: float = 0.9

    def increments(self, table: RunTable) -> Increments:
        """The increments of the losses that it is about; raises InputError as `mixing.runs.increments` does."""
        return increments(table, self.general, self.target, self.target_domains, self.params)


def make_question(
    table: RunTable,
    general: dict[str, float],
    target: dict[str, float],
    target_domains: tuple[str, ...] | None = None,
    *,
    tolerance: float = 0.0,
    tokens: int | None = None,
    params: int | None = None,
    level: float = 0.9,
) -> Question:
    """Check a question against its table and fill what it leaves open.

    Weights are normalised. Target domains are the share columns named like a target validation set (case does not
    matter) unless given. `tokens` defaults to the largest budget of the table. With more than two sources `general`
    may be empty (nothing is protected), and target domains unknown. Raises InputError.
    """
    several = len(table.domains) > 2
    for role, weights in (("general", general), ("target", target)):
        if not weights:
            if several and role == "general":
                continue
            raise InputError(
                f"no {role} validation set named",
                f"Give --{role} NAME; the table has: " + ", ".join(table.evals[:30]),
            )
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise InputError(f"--{role} {name}: weight {weight}", "Weights are numbers of 0 or more")
        if math.fsum(weights.values()) <= 0:
            raise InputError(f"--{role}: all weights are 0", "Give at least one weight above 0")
    both = sorted(set(general) & set(target))
    if both:
        raise InputError(f"{', '.join(both)} is named as general and as target", "Name it once")
    if not 0 < level < 1:
        raise InputError(f"level {level} is not between 0 and 1", "Give --level 0.9 for a 90% interval")
    if params is not None and params < 1:
        raise InputError(f"params {params}: not a model size", "Give non-embedding parameters, e.g. 70000000")
    if not math.isfinite(tolerance) or tolerance < 0:
        raise InputError(f"tolerance {tolerance} is not a number of 0 or more", "Give it in nats, e.g. 0.02")
    table.weighted(general | target)
    domains = target_domains or _like(table.domains, target)
    unknown = [d for d in domains if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    if several and not target_domains and len(domains) in (0, len(table.domains)):
        domains = ()
    elif not domains or len(domains) == len(table.domains):
        raise InputError(
            f"{table.source}: cannot tell target domains from general ones among {', '.join(table.domains)}",
            "Name the share columns of the target with --target-domain",
        )
    if tokens is None:
        tokens = int(table.rows["tokens"].max() or 0)  # type: ignore[arg-type]
    if tokens <= 0:
        raise InputError(
            f"tokens {tokens} is not a token budget", "Give the budget asked about, e.g. 20000000000"
        )
    return Question(
        _normalised(general), _normalised(target), tuple(domains), tolerance, int(tokens), params, level
    )


def _like(domains: tuple[str, ...], evals: dict[str, float]) -> tuple[str, ...]:
    wanted = {name.casefold() for name in evals}
    return tuple(d for d in domains if d.casefold() in wanted)


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
