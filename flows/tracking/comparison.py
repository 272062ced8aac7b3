"""Two mixes side by side: their shares, the predictions with their intervals, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.tracking.promotion import judge, target_share
from mixing.spec.model import MixSpec


@dataclass(frozen=True)
class Side:
    """One mix. Losses and increments are in nats per token, by role; `proxy_seconds` is what its runs cost in
    seconds of training (None where their run store is not here). What is not known is None.
    """

    address: str
    shares: dict[str, float]
    epochs: dict[str, float | None]
    target_share: float
    interval: tuple[float, float] | None
    level: float | None
    law: str | None
    binding: str | None
    tolerance: float | None
    asked_tokens: int | None
    predicted: dict[str, dict[str, Any]]
    total_tokens: int
    proxy_runs: int | None
    proxy_tokens: int | None
    proxy_seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Two mixes. `question` names what was asked differently (empty: the same), and `data` whether the corpora
    differ; `same_base` is whether increments are over one base model (None: its runs are not here to tell);
    `moved` is the share of tokens that B draws from other domains than A. `verdict` is the rule's, by the specs
    alone, if A were champion and B the challenger.
    """

    sides: tuple[Side, Side]
    question: tuple[str, ...]
    data: tuple[str, ...]
    same_base: bool | None
    moved: float
    takes_over: bool
    verdict: str

    def to_json(self) -> dict[str, Any]:
        a, b = (asdict(side) for side in self.sides)
        return {
            "a": a,
            "b": b,
            "moved": self.moved,
            "different_question": list(self.question),
            "different_data": list(self.data),
            "same_base": self.same_base,
            "b_takes_over": self.takes_over,
            "verdict": self.verdict,
        }


def compare(a: MixSpec, b: MixSpec, addresses: tuple[str, str]) -> Comparison:
    """Put `b` beside `a`; `addresses` is how their user calls them."""
    verdict = judge(a, b, None)
    one, two = side(a, addresses[0]), side(b, addresses[1])
    names = dict.fromkeys([*one.shares, *two.shares])
    moved = sum(abs(one.shares.get(name, 0.0) - two.shares.get(name, 0.0)) for name in names) / 2
    return Comparison(
        (one, two),
        tuple(_question(a, b)),
        tuple(_data(a, b)),
        _same_base(a, b),
        moved,
        verdict.promote,
        verdict.reason,
    )


def side(spec: MixSpec, address: str) -> Side:
    """One mix as a comparison shows it; its first stage, where it has several."""
    decision = spec.decision
    runs = _runs_of(spec)
    return Side(
        address=address,
        shares=dict(spec.stages[0].shares),
        epochs={name: domain.epochs for name, domain in spec.domains.items()},
        target_share=target_share(spec),
        interval=decision.interval if decision else None,
        level=decision.level if decision else None,
        law=decision.law if decision else None,
        binding=decision.binding if decision else None,
        tolerance=decision.tolerance if decision else None,
        asked_tokens=decision.tokens if decision else None,
        predicted={k: v.model_dump(mode="json") for k, v in decision.predicted.items()} if decision else {},
        total_tokens=spec.total_tokens,
        proxy_runs=decision.n_runs if decision else None,
        proxy_tokens=sum(int(run.get("tokens") or 0) for run in runs) if runs else None,
        proxy_seconds=sum(float(run.get("seconds") or 0) for run in runs) if runs else None,
    )


def _runs_of(spec: MixSpec) -> list[dict[str, Any]]:
    """The records of the runs behind a mix; none unless all of them are here."""
    if spec.data_root is None or not spec.provenance.runs:
        return []
    records = []
    for run in spec.provenance.runs:
        try:
            records.append(json.loads((Path(spec.data_root) / "runs" / run / "done.json").read_text("utf-8")))
        except (OSError, ValueError):
            return []
    return records


def _same_base(a: MixSpec, b: MixSpec) -> bool | None:
    one, two = ({run.get("run") for run in _runs_of(spec) if run.get("kind") == "base"} for spec in (a, b))
    return one == two if one and two else None


def _question(a: MixSpec, b: MixSpec) -> Iterator[str]:
    if a.decision is None or b.decision is None:
        if a.decision is not b.decision:
            yield "only one of them was decided here"
        return
    for name in ("tolerance", "tokens", "level"):
        one, two = getattr(a.decision, name), getattr(b.decision, name)
        if one != two:
            yield f"{name} {one:g} and {two:g}"
    for role in ("general", "target"):
        if sorted(getattr(a.decision, role)) != sorted(getattr(b.decision, role)):
            yield f"other validation sets of {role} loss"


def _data(a: MixSpec, b: MixSpec) -> Iterator[str]:
    for name in dict.fromkeys([*a.domains, *b.domains]):
        if name not in b.domains:
            yield f"{name} only in A"
        elif name not in a.domains:
            yield f"{name} only in B"
        elif a.domains[name].tokenizer_hash != b.domains[name].tokenizer_hash:
            yield f"{name}: another tokenizer"
        elif a.provenance.data.get(name) != b.provenance.data.get(name):
            tokens = (a.domains[name].tokens, b.domains[name].tokens)
            counts = f" ({tokens[0]:,} and {tokens[1]:,} tokens)" if None not in tokens else ""
            yield f"{name}: other text{counts}"
