"""Which mix is champion: the rule by which a new one takes over from the one in use.

A new mix is `challenger`. It becomes `champion` where it differs for certain (the intervals of the target share
do not overlap), where staying would cost more than a threshold, or where the champion cannot be trained any
more; else by hand. The first mix is champion at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.spec.model import MixSpec

GAIN = 0.01
"""Nats per token that a new mix must gain where intervals overlap: more than proxies of one mixture scatter."""

Rule = Callable[[Path], "Verdict"]
"""Given the champion's spec file: whether the new mix takes over."""


@dataclass(frozen=True)
class Verdict:
    """Whether the new mix becomes champion, and why (or why not), in a sentence."""

    promote: bool
    reason: str


def judge(champion: MixSpec, challenger: MixSpec, decision: Decision | None, gain: float = GAIN) -> Verdict:
    """Whether `challenger` takes over from `champion`.

    `decision` is the challenger's, whose curves say what the champion's share would cost by today's law; None
    where only the specs are known. `gain` is in nats per token.
    """
    if reason := of_another_study(champion, challenger):
        return Verdict(False, reason)
    if reason := untrainable(champion, challenger):
        return Verdict(True, reason)
    apart = intervals_apart(champion, challenger)
    if apart is not None and apart:
        return Verdict(True, f"the intervals {_spans(champion, challenger)} do not overlap")
    cost = None if decision is None else cost_of_staying(champion, decision)
    if cost is not None and cost >= gain:
        return Verdict(True, f"staying with the champion costs {cost:.4f} nats, {gain:g} or more")
    parts = [] if apart is None else [f"the intervals {_spans(champion, challenger)} overlap"]
    if cost is not None:
        parts.append(f"staying with the champion costs {cost:.4f} nats, less than {gain:g}")
    return Verdict(False, " and ".join(parts) or "no rule compares these mixes")


def target_share(spec: MixSpec) -> float:
    """The share of target domains in the tokens of the first stage."""
    shares = spec.stages[0].shares
    return sum(share for name, share in shares.items() if spec.domains[name].role == "target")


def of_another_study(champion: MixSpec, challenger: MixSpec) -> str:
    """Why the two mixes answer different questions; empty where they share general and target domains."""
    for role in ("general", "target"):
        names = [
            {name for name, domain in spec.domains.items() if domain.role == role}
            for spec in (champion, challenger)
        ]
        if all(names) and not names[0] & names[1]:
            listed = ", ".join(sorted(names[0]))
            return f"the champion's {role} domains are others ({listed}): is it another study of this name?"
    return ""


def untrainable(champion: MixSpec, challenger: MixSpec) -> str:
    """Why the champion cannot be trained on what the challenger knows of the corpora; empty where it can."""
    for name, domain in champion.domains.items():
        if domain.share <= 0:
            continue
        now = challenger.domains.get(name)
        if now is None:
            return f"the champion needs {name}, which is not in the study any more"
        if now.tokens is None:
            continue
        epochs = domain.share * challenger.total_tokens / now.tokens
        if epochs > now.max_epochs * (1 + 1e-9):
            return (
                f"the champion would read {name} {epochs:.2f} times, above its max_epochs {now.max_epochs:g}"
            )
    return ""


def intervals_apart(a: MixSpec, b: MixSpec) -> bool | None:
    """Whether the intervals of the target share are disjoint; None where one of them has none."""
    span_a, span_b = interval(a), interval(b)
    if span_a is None or span_b is None:
        return None
    (low_a, high_a), (low_b, high_b) = span_a, span_b
    return high_a < low_b or high_b < low_a


def interval(spec: MixSpec) -> tuple[float, float] | None:
    """The interval of the target share; None for a mix without a critical ratio."""
    return None if spec.decision is None else spec.decision.interval


def cost_of_staying(champion: MixSpec, decision: Decision) -> float | None:
    """What the champion's share costs by the new law, in nats per token at the budget that was asked about.

    General loss beyond the tolerance, or target loss above that of the new mix, whichever is more. None where
    the law has no curve there.
    """
    share = target_share(champion)
    general = _at(decision, "general", share)
    target = _at(decision, "target", share)
    if general is None or target is None or "target" not in decision.predicted:
        return None
    beyond = max(0.0, general - decision.question.tolerance)
    return max(beyond, target - decision.predicted["target"].increment)


def _at(decision: Decision, role: str, share: float) -> float | None:
    curve = decision.ratio_curves.get(role, [])
    if len(curve) < 2 or not curve[0].x <= share <= curve[-1].x:
        return None
    return float(np.interp(share, [point.x for point in curve], [point.value for point in curve]))


def _spans(a: MixSpec, b: MixSpec) -> str:
    return " and ".join(f"[{span[0]:.3f}, {span[1]:.3f}]" for span in map(interval, (a, b)) if span)
