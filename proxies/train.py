"""Train one run: a base model from scratch, or a proxy continued from it on one mixture.

A run is a function of its spec, and continues to the bit from its checkpoint (with the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixing.errors import InputError, MixlawError
from proxies.checkpoint import Weights, load_checkpoint, read_weights, save_checkpoint, weights_bytes
from proxies.data.sampler import Sampler, Store
from proxies.evaluate import (
    WindowLosses,
    Windows,
    evaluate,
    heldout_windows,
    loss_rows,
    window_table,
)
from proxies.models.decoder import Decoder
from proxies.progress import Progress, Report
from proxies.runs import store as runs
from proxies.schedules import learning_rate
from proxies.spec import ProxySpec

BETAS = (0.9, 0.95)
CLIP_NORM = 1.0
CHECKPOINT_SECONDS = 15.0
"""Work that a kill may cost."""
DIVERGED_NATS = 1.0
"""A run has diverged when the mean of `DIVERGED_STEPS` training losses is this far above its first."""
DIVERGED_STEPS = 20


class Diverged(MixlawError):
    """The loss is NaN, infinite, or has been far above its start for a while."""


def train(
    spec: ProxySpec,
    run_dir: Path,
    store: Store,
    base_weights: Path | None = None,
    on_progress: Report | None = None,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    claim_wait_s: float = 60.0,
) -> None:
    """Bring the run in `run_dir` (`runs/<run id>`) to its end, from its checkpoint if it has one.

    `base_weights` is the `weights.pt` of the run's base, or of the base to adopt. `on_progress` is called
    after every step. Returns at once if the run is done.

    Raises InputError for tokens, weights or epochs that don't fit the spec, before anything is trained;
    Diverged, after recording it in `failed.json`; Claimed if another process still works on the run after
    `claim_wait_s`, ClaimLost if one took it over; MixlawError where its folder can't be written.
    """
    runs.write_spec(run_dir, spec)
    with runs.claim(run_dir, claim_wait_s) as held:
        if runs.done(run_dir) is not None:
            return
        (run_dir / runs.FAILED).unlink(missing_ok=True)
        _check_data(spec, store)
        weights = _base_weights(spec, store, base_weights)
        windows = heldout_windows(spec, store)
        if spec.adopted:
            assert weights is not None
            _adopt(spec, run_dir, weights, windows, device, held)
            return
        trainer = Trainer.start(spec, store, weights, device)
        try:
            _run(trainer, run_dir, windows, store.tokenizer_hash, on_progress, checkpoint_seconds, held)
        except Diverged as error:
            runs.record_failure(run_dir, spec, runs.Failure("divergence", error.message, error.hint))
            raise


@dataclass
class Trainer:
    """Model, optimizer and training stream of a run, and how far it is."""

    spec: ProxySpec
    model: Decoder
    optimizer: torch.optim.AdamW
    sampler: Sampler
    step: int = 0
    measured: dict[int, WindowLosses] = field(default_factory=dict)
    """Held-out losses by tokens; at 0, where a run has windows of its own, the base's."""
    first_loss: float = math.nan
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=DIVERGED_STEPS))
    seconds: float = 0.0

    @classmethod
    def start(cls, spec: ProxySpec, store: Store, weights: Weights | None, device: str = "cpu") -> Trainer:
        """At step 0: from `weights`, or where None from the seed."""
        sampler = Sampler.of(spec, store)
        model = Decoder(spec)
        if weights is not None:
            model.load_state_dict(weights.model)
        model.to(device)
        return cls(spec, model, adamw(spec, model), sampler)

    @property
    def tokens(self) -> int:
        return self.step * self.spec.batch_tokens

    def train_step(self) -> float:
        """One step; the training loss in nats before it."""
        rate = learning_rate(self.spec, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        windows = torch.from_numpy(self.sampler.batch(self.step)).to(self.model.embedding.device)
        loss = self.model.loss(windows)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        value = loss.item()
        self._watch(value)
        return value

    def take_losses(self, windows: Mapping[str, Windows]) -> None:
        """Measure the held-out losses at this step: before the last one on a few of the windows."""
        few = 0 < self.step < self.spec.steps
        losses = evaluate(self.model, windows, few)
        for domain, losses_w in losses.items():
            taken_w = losses_w[windows[domain].few_w] if few else losses_w
            if not math.isfinite(mean := float(taken_w.mean())):
                raise self._diverged(f"held-out loss of {domain!r} is {mean}")
        self.measured[self.tokens] = losses

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "measured": self.measured,
            "first_loss": self.first_loss,
            "recent": list(self.recent),
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.measured = state["measured"]
        self.first_loss = state["first_loss"]
        self.recent.extend(state["recent"])
        self.seconds = state["seconds"]

    def _watch(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._diverged(f"training loss is {loss}")
        if self.step == 1:
            self.first_loss = loss
        self.recent.append(loss)
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == DIVERGED_STEPS and mean > self.first_loss + DIVERGED_NATS:
            raise self._diverged(f"training loss rose from {self.first_loss:.3f} to {mean:.3f}")

    def _diverged(self, what: str) -> Diverged:
        spec = self.spec
        mixture = ", ".join(f"{name} {share:.4g}" for name, share in spec.mixture.items())
        return Diverged(
            f"run {spec.run_id} ({mixture}) diverged at step {self.step} of {spec.steps}: {what}",
            f"Lower its learning rate ({spec.learning_rate:g}) or lengthen its warm-up "
            f"({spec.warmup_steps} steps)",
        )


def adamw(spec: ProxySpec, model: nn.Module) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    gains = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": spec.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=BETAS, fused=True)


def _run(
    trainer: Trainer,
    run_dir: Path,
    windows: Mapping[str, Windows],
    tokenizer_hash: str,
    on_progress: Report | None,
    checkpoint_seconds: float,
    held: runs.Held,
) -> None:
    spec = trainer.spec
    checkpoint = run_dir / runs.CHECKPOINT
    state = load_checkpoint(checkpoint, spec)
    # Checkpoints of 0.1.0 hold no losses of single windows: such a run starts afresh.
    if state is not None and "measured" in state:
        trainer.restore(state)
    if trainer.step == 0 and spec.heldout == "confirmation":
        trainer.take_losses(windows)
    started, first_step, earlier = time.monotonic(), trainer.step, trainer.seconds
    saved = started
    while trainer.step < spec.steps:
        loss = trainer.train_step()
        at_budget = trainer.tokens in spec.budgets
        if at_budget:
            trainer.take_losses(windows)
        now = time.monotonic()
        trainer.seconds = earlier + now - started
        if trainer.step < spec.steps and (at_budget or now - saved >= checkpoint_seconds):
            save_checkpoint(checkpoint, spec, trainer.state())
            saved = time.monotonic()
        speed = (trainer.step - first_step) * spec.batch_tokens / max(now - started, 1e-9)
        left = (spec.tokens - trainer.tokens) / speed
        at = Progress(spec.run_id, trainer.step, spec.steps, trainer.tokens, speed, loss, left)
        held.note(at)
        if on_progress is not None:
            on_progress(at)
    held.check()
    _finish(trainer, run_dir, windows, tokenizer_hash)


def _finish(trainer: Trainer, run_dir: Path, windows: Mapping[str, Windows], tokenizer_hash: str) -> None:
    spec, measured = trainer.spec, trainer.measured
    rows = loss_rows({tokens: losses for tokens, losses in measured.items() if tokens > 0})
    files = {runs.LOSSES: runs.losses_table(spec, rows)}
    if spec.kind == "base":
        # It stands for the model before continual pre-training, as in its losses.
        measured = {0: measured[spec.tokens]}
        files[runs.PRETRAINING] = runs.pretraining_table(spec, rows)
        files[runs.WEIGHTS] = weights_bytes(spec, trainer.model.state_dict(), tokenizer_hash)
    files[runs.WINDOW_LOSSES] = runs.parquet(window_table(measured, windows))
    facts = {
        "tokens": spec.tokens,
        "steps": spec.steps,
        "seconds": round(trainer.seconds, 3),
        "tokens_per_s": round(spec.tokens / max(trainer.seconds, 1e-9), 1),
        "epochs": trainer.sampler.epochs(),
        "tokenizer_hash": tokenizer_hash,
    }
    runs.finish(run_dir, spec, files, facts)


def _adopt(
    spec: ProxySpec,
    run_dir: Path,
    weights: Weights,
    windows: Mapping[str, Windows],
    device: str,
    held: runs.Held,
) -> None:
    """A base run out of given weights: their losses on this study's held-out windows, and a copy of them."""
    started = time.monotonic()
    model = Decoder(spec)
    model.load_state_dict(weights.model)
    measured = {0: evaluate(model.to(device), windows)}
    rows = loss_rows(measured)
    if not all(math.isfinite(row.loss) for row in rows):
        raise InputError(f"base {spec.base}: its held-out losses are not finite", "Give another checkpoint")
    files = {
        runs.LOSSES: runs.losses_table(spec, rows),
        runs.WEIGHTS: weights_bytes(spec, model.state_dict(), weights.tokenizer_hash),
        runs.WINDOW_LOSSES: runs.parquet(window_table(measured, windows)),
    }
    facts = {"seconds": round(time.monotonic() - started, 3), "tokenizer_hash": weights.tokenizer_hash}
    held.check()
    runs.finish(run_dir, spec, files, facts)


def _check_data(spec: ProxySpec, store: Store) -> None:
    """Refuse tokens that are not those that the spec was made for."""
    fingerprints = store.fingerprints
    for domain, expected in spec.data.items():
        if fingerprints.get(domain) != expected:
            raise InputError(
                f"run {spec.run_id}: the tokens of domain {domain!r} are not those that it was planned on",
                "Run the study again: it plans on the tokens that are there",
            )
    for name, expected in spec.evals.items():
        if name not in store.evals or store.evals[name].fingerprint != expected:
            raise InputError(
                f"run {spec.run_id}: the tokens of validation set {name!r} are not those that it was planned on",
                "Run the study again: it plans on the tokens that are there",
            )
    if store.vocab_size != spec.vocab_size:
        raise InputError(
            f"run {spec.run_id}: planned for a vocabulary of {spec.vocab_size}, not {store.vocab_size}",
            "Run the study again: it plans on the tokens that are there",
        )


def _base_weights(spec: ProxySpec, store: Store, path: Path | None) -> Weights | None:
    if spec.base is None:
        return None
    if path is None:
        raise InputError(
            f"run {spec.run_id}: no weights of its base {spec.base}", "Give the base's weights.pt"
        )
    return read_weights(path, spec, store.tokenizer_hash)
