"""Our trainer against a plain eager PyTorch loop with the same model: `python -m benchmarks.trainer`.

Both train the same weights on the same batches with the same hyperparameters, in turns, on one thread. The
plain loop has `benchmarks.plain_llama`, default AdamW and the cross-entropy of the whole batch's logits; a
second one is given our model, so that what the model and what the rest of the step gain can be told apart.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_llama import PlainLlama
from proxies.models.decoder import Decoder
from proxies.spec import ProxySpec, log_budgets
from proxies.train import BETAS, CLIP_NORM, Trainer

STEPS = 50
TARGET_RATIO, TARGET_DIFFERENCE = 1.25, 1e-4


@dataclass(frozen=True)
class ZipfSplit:
    """Endless windows of text-like token frequencies, a function of their number."""

    vocab_size: int

    def n_windows(self, context: int) -> int:
        return 1 << 20

    def windows(self, ids: np.ndarray, context: int) -> np.ndarray:
        rows = [np.random.default_rng(int(i)).zipf(1.2, context + 1) for i in ids]
        return np.minimum(np.stack(rows), self.vocab_size) - 1


@dataclass(frozen=True)
class ZipfDomain:
    train: ZipfSplit
    heldout: ZipfSplit


@dataclass(frozen=True)
class ZipfStore:
    domains: dict[str, ZipfDomain]
    vocab_size: int
    fingerprints: dict[str, str] = field(default_factory=lambda: {"text": "zipf"})
    tokenizer_hash: str = "zipf"


@dataclass
class Loop:
    name: str
    step: Callable[[int], float]
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def run(self, first: int, steps: int) -> None:
        started = time.perf_counter()
        for step in range(first, first + steps):
            self.losses.append(self.step(step))
        self.seconds.append(time.perf_counter() - started)


def plain_loop(name: str, model: nn.Module, loss_of: Callable[[Tensor], Tensor], trainer: Trainer) -> Loop:
    """Default AdamW with our hyperparameters, and the usual step."""
    spec = trainer.spec
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=spec.learning_rate, betas=BETAS)

    def step(index: int) -> float:
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * min(1.0, (index + 1) / spec.warmup_steps)
        loss = loss_of(torch.from_numpy(trainer.sampler.batch(index)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item()

    return Loop(name, step)


def loops(spec: ProxySpec) -> tuple[Loop, Loop, Loop]:
    """Ours, the plain one, and the plain one with our model."""
    domain = ZipfDomain(ZipfSplit(spec.vocab_size), ZipfSplit(spec.vocab_size))
    trainer = Trainer.start(spec, ZipfStore({"text": domain}, spec.vocab_size), None)
    # Batches come from a list, so that only training is timed.
    batches = [trainer.sampler.batch(step) for step in range(spec.steps)]
    object.__setattr__(trainer.sampler, "batch", lambda step: batches[step])
    plain = PlainLlama.of(trainer.model)
    ours = Decoder(spec)

    def full_logits(windows: Tensor) -> Tensor:
        logits = ours(windows[:, :-1]) @ ours.embedding.t()
        return F.cross_entropy(logits, windows[:, 1:].reshape(-1))

    return (
        Loop("ours", lambda index: trainer.train_step()),
        plain_loop("plain", plain, plain.loss, trainer),
        plain_loop("plain loop, our model", ours, full_logits, trainer),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=12, help="of a few steps of each loop in turn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    per_round = 5
    steps = max(STEPS, arguments.rounds * per_round)
    tokens = steps * arguments.batch_tokens
    spec = ProxySpec(
        kind="base", depth=arguments.depth, context=arguments.context, vocab_size=arguments.vocab,
        mixture={"text": 1.0}, tokens=tokens, batch_tokens=arguments.batch_tokens, learning_rate=1e-3,
        warmup_steps=10, weight_decay=0.1,
        seed=0, study_seed=0, budgets=log_budgets(tokens, arguments.batch_tokens), heldout_windows=2,
        max_epochs={}, data={"text": "zipf"},
    )  # fmt: skip
    contestants = loops(spec)
    for first in range(0, steps, per_round):
        for loop in contestants:
            loop.run(first, per_round)
    print(
        f"{spec.params + spec.vocab_size * spec.width:,} parameters (depth {spec.depth}), "
        f"context {spec.context}, vocabulary {spec.vocab_size}, {spec.batch_tokens} tokens a step, "
        f"one thread, {steps // per_round} rounds of {per_round} steps of each loop in turn"
    )
    ours = contestants[0]
    passed = True
    for loop in contestants:
        speeds = [per_round * spec.batch_tokens / seconds for seconds in loop.seconds[1:]]
        ratios = [theirs / mine for theirs, mine in zip(loop.seconds[1:], ours.seconds[1:], strict=True)]
        difference = max(abs(a - b) for a, b in zip(ours.losses[:STEPS], loop.losses[:STEPS], strict=True))
        line = f"  {loop.name:24} {statistics.median(speeds):8,.0f} tokens/s"
        if loop is not ours:
            ratio = statistics.median(ratios)
            line += f"   ours is {ratio:.2f} x [{min(ratios):.2f}-{max(ratios):.2f}]"
            line += f"   losses differ by at most {difference:.1e} over {STEPS} steps"
            passed &= difference <= TARGET_DIFFERENCE and (loop.name != "plain" or ratio >= TARGET_RATIO)
        print(line)
    print(
        f"wanted: at least {TARGET_RATIO} x the plain loop, losses within {TARGET_DIFFERENCE:g}: "
        + ("reached" if passed else "NOT reached")
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
