"""Mix specs and decisions for tests: one small example, and random ones."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from mixing.decision.question import Question
from mixing.decision.record import Baseline, Prediction
from mixing.decision.result import Decision
from mixing.spec.build import DomainFacts, build_spec
from mixing.spec.components import Domain, Provenance, Shard, SpecDecision, Stage
from mixing.spec.model import MixSpec

DOCUMENT_MEANS = {"web": 600, "code": 1500, "math": 200}
SHARES = {"web": 0.7, "code": 0.2, "math": 0.1}


def example_decision(**changes: Any) -> Decision:
    """Two general domains and a target, decided at 102,400 tokens."""
    question = Question(
        general={"web": 1.0},
        target={"math": 1.0},
        target_domains=("math",),
        tolerance=0.01,
        tokens=102_400,
    )
    predicted = {
        "general": Prediction(2.87, (2.86, 2.88), 0.009),
        "target": Prediction(1.5, (1.45, 1.55), -0.4),
    }
    values: dict[str, Any] = {
        "question": question,
        "status": "decided",
        "shares": SHARES,
        "critical_ratio": 0.1,
        "interval": (0.08, 0.12),
        "binding": "tolerance",
        "law": "cmr",
        "n_runs": 6,
        "predicted": predicted,
        "baselines": [Baseline("replay 5%", {"web": 0.05, "math": 0.95}, predicted)],
        "warnings": ["one seed per mixture"],
    }
    return Decision(**{**values, **changes})


def example_facts() -> dict[str, DomainFacts]:
    sizes = {"web": 401_000, "code": 150_000, "math": 40_000}
    return {
        name: DomainFacts(
            role="target" if name == "math" else "general",
            tokens=tokens,
            documents=tokens // DOCUMENT_MEANS[name],
            shards=(Shard(prefix=f"tokens/{name}/train-00000", tokens=tokens),),
            heldout_shards=(Shard(prefix=f"tokens/{name}/heldout-00000", tokens=tokens // 20),),
            tokenizer="tokenizer.json",
            tokenizer_hash="ab" * 32,
            dtype="uint16",
        )
        for name, tokens in sizes.items()
    }


def example_spec(**changes: Any) -> MixSpec:
    """`example_decision` over `example_facts`: 200 windows of 512 tokens in batches of 8."""
    spec = build_spec(
        example_decision(),
        example_facts(),
        name="example",
        sequence_length=512,
        global_batch_tokens=4096,
        provenance=Provenance(study="example", data={"web": "0" * 64}, runs=("a1", "b2")),
    )
    values = {**spec.model_dump(), "data_root": "/data/example", **changes}
    return MixSpec.model_validate(values)


names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=12,
).filter(
    lambda name: name == name.strip() and name not in {".", ".."} and not name.endswith((".bin", ".idx"))
)


@st.composite
def shares_over(draw: st.DrawFn, domains: list[str]) -> dict[str, float]:
    """Shares with zeros, tiny ones, and equal ones; at least one is positive."""
    sizes = st.one_of(st.just(0.0), st.just(1e-9), st.floats(1e-7, 1.0), st.floats(0.1, 1.0))
    drawn = draw(st.lists(sizes, min_size=min(len(domains), 8), max_size=min(len(domains), 8)))
    weights = [drawn[index % len(drawn)] for index in range(len(domains))]
    if math.fsum(weights) < 1e-6:
        weights[draw(st.integers(0, len(domains) - 1))] = 1.0
    total = math.fsum(weights)
    return {name: weight / total for name, weight in zip(domains, weights, strict=True)}


@st.composite
def domain_names(draw: st.DrawFn) -> list[str]:
    """1-60 names, few of them drawn in full: texts are slow to draw."""
    count = draw(st.integers(1, 60))
    drawn = draw(st.lists(names, min_size=1, max_size=min(count, 5), unique=True))
    return list(dict.fromkeys([*drawn, *(f"{drawn[i % len(drawn)]} {i}" for i in range(count - len(drawn)))]))


@st.composite
def shard_sizes(draw: st.DrawFn, needed: float) -> list[int]:
    """Tokens of 1-5 shards that hold about what is needed (or much more, or too little); some are empty."""
    tokens = max(1, round(needed * draw(st.sampled_from([0.3, 1.1, 1.1, 3.0, 100.0]))))
    parts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    total = sum(parts)
    sizes = [tokens * part // total for part in parts] if total else [0] * len(parts)
    return [sizes[0] + tokens - sum(sizes), *sizes[1:]]


@st.composite
def specs(draw: st.DrawFn) -> MixSpec:
    """1-60 domains, 1-3 stages, several shards each, caps that mostly hold, batches that stages mostly fill."""
    domains = draw(domain_names())
    length = draw(st.sampled_from([1, 128, 4096]))
    batch = length * draw(st.integers(1, 64))
    total = batch * draw(st.integers(1, 5000)) + draw(st.integers(0, batch - 1))
    cuts = draw(st.sets(st.one_of(st.integers(1, 5000), st.just(0)), max_size=2))
    offset = draw(st.sampled_from([0, 0, 0, 1, batch // 2]))
    starts = [0, *sorted({cut * batch + offset for cut in cuts if 0 < cut * batch + offset < total})]
    stages = [Stage(from_token=start, shares=draw(shares_over(domains))) for start in starts]
    ends = [*starts[1:], total]
    root = draw(names)
    # One choice for most domains: with one each, some domain of sixty would always be above its cap.
    usual = draw(st.sampled_from([1.0, 4.0, 1e12, 1e12]))
    dtype = draw(st.sampled_from(["uint16", "int32"]))
    built = {}
    for index, name in enumerate(domains):
        share = math.fsum(
            stage.shares[name] * ((end - start) / total)
            for stage, start, end in zip(stages, starts, ends, strict=True)
        )
        cap = usual if index else draw(st.sampled_from([1.0, 4.0, 1e12]))
        sizes = draw(shard_sizes(share * total)) if index < 8 else [round(2 * share * total) + 1]
        tokens = sum(sizes)
        documents = draw(st.integers(1, tokens)) if index < 8 else max(1, tokens // (100 * index))
        built[name] = Domain(
            role="target" if index % 3 else "general",
            share=min(share, 1.0),
            tokens=tokens,
            documents=documents,
            mean_tokens_per_document=tokens / documents,
            max_epochs=cap,
            epochs=share * total / tokens,
            shards=tuple(
                Shard(prefix=f"tokens/{name}/train {part}", tokens=size) for part, size in enumerate(sizes)
            ),
            heldout_shards=(Shard(prefix=f"tokens/{name}/heldout {index}", tokens=index),),
            dtype=dtype,
        )
    return MixSpec(
        name="random",
        domains=built,
        stages=tuple(stages),
        total_tokens=total,
        sequence_length=length,
        global_batch_tokens=batch,
        seed=draw(st.integers(0, 1000)),
        data_root=f"/{root}/mix",
        decision=SpecDecision(
            law="cmr",
            tokens=1000,
            critical_ratio=None,
            interval=None,
            level=0.9,
            binding="none",
            tolerance=0.0,
            general={},
            target={},
            predicted={},
            n_runs=0,
        ),
    )


def staged_spec(**changes: Any) -> MixSpec:
    """The example in two stages: half of it web only, then the rest."""
    stages = [
        Stage(from_token=0, shares={"web": 1.0}),
        Stage(from_token=51_200, shares={"web": 0.4, "code": 0.4, "math": 0.2}),
    ]
    return example_spec(**{"stages": stages, **changes})
