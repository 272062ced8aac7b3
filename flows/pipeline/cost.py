"""How long a plan takes: by the speed of runs that are done, or of a few steps tried now."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.pipeline.heldout import FORWARD, windows_of
from flows.pipeline.plan import Plan
from flows.pipeline.status import status_of
from flows.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from proxies.spec import ProxySpec

TRIED_SECONDS = 1.5
STARTING = 5.0
"""Seconds that a worker takes to start and to end."""
AROUND = 30.0
"""Seconds for all that is not training: text, Prefect, fits, figures, MLflow."""
THREADS_WORTH = 0.85
"""What each further thread adds to one small model, as a part of a core."""


@dataclass(frozen=True)
class Cost:
    """What is left to spend. `source` says how the speed is known; `done` counts finished runs; `measuring` is the part
    of the work of all runs that goes into held-out losses.
    """

    seconds: float
    tokens_per_second: float
    source: str
    params: int
    cores: int
    done: int
    measuring: float


def cost_of(workspace: Workspace, plan: Plan, cores: int) -> Cost:
    """Estimate what is left of a plan on this machine."""
    spec = _example(workspace)
    measured = _measured(workspace, spec.params)
    speed = measured if measured is not None else _tried(spec)
    source = "measured on its finished runs" if measured is not None else "a few steps tried now"
    done = {run.key for run in status_of(workspace).runs if run.state == "done"}
    windows = windows_of(workspace.study)
    measured_tokens = FORWARD * sum(windows.tokens_of(run, workspace.study) for run in plan.runs)
    seconds = AROUND
    waves: list[float] = []
    for run in plan.runs:
        if run.key in done:
            continue
        work = run.tokens + FORWARD * windows.tokens_of(run, workspace.study)
        if run.kind == "proxy":
            waves.append(work / speed + STARTING)
        else:
            seconds += work / (speed * (1 + THREADS_WORTH * (cores - 1))) + STARTING
    seconds += sum(waves[:1]) * math.ceil(len(waves) / cores)
    measuring = measured_tokens / (measured_tokens + plan.tokens)
    return Cost(seconds, speed, source, spec.params, cores, len(done), measuring)


def _example(workspace: Workspace) -> ProxySpec:
    """A spec of the study's model, before there are tokens."""
    from proxies.spec import ProxySpec, log_budgets

    study = workspace.study
    tokens = study.proxies.batch_tokens * 16
    return ProxySpec(
        kind="base",
        depth=study.model.depth,
        context=study.model.context,
        vocab_size=_vocabulary(workspace),
        mixture={"any": 1.0},
        tokens=tokens,
        batch_tokens=study.proxies.batch_tokens,
        learning_rate=study.proxies.learning_rate,
        warmup_steps=1,
        weight_decay=0.0,
        seed=0,
        study_seed=0,
        budgets=log_budgets(tokens, study.proxies.batch_tokens),
        heldout_windows=2,
        max_epochs={},
        data={"any": ""},
    )


def _vocabulary(workspace: Workspace) -> int:
    tokenizer = workspace.study.tokenizer
    if tokenizer.train is not None:
        return tokenizer.train.vocab_size
    if tokenizer.vocab_size is not None:
        return tokenizer.vocab_size
    from proxies.data.tokenizer import load_tokenizer, vocabulary_size

    assert tokenizer.file is not None
    return vocabulary_size(load_tokenizer(workspace.study.path(tokenizer.file)))


def _measured(workspace: Workspace, params: int) -> float | None:
    """Median tokens per second of the finished proxies of this size."""
    speeds = []
    for path in sorted(workspace.folder.runs.glob("*/done.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("kind") == "proxy" and record.get("params") == params and record.get("tokens_per_s"):
            speeds.append(float(record["tokens_per_s"]))
    return sorted(speeds)[len(speeds) // 2] if speeds else None


def _tried(spec: ProxySpec) -> float:
    """Tokens per second of one thread, over a moment of training on noise."""
    import torch

    from proxies.models.decoder import Decoder
    from proxies.train import adamw

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = Decoder(spec)
        optimizer = adamw(spec, model)
        generator = torch.Generator().manual_seed(0)
        windows = torch.randint(spec.vocab_size, (spec.batch_windows, spec.context + 1), generator=generator)
        steps, started = 0, 0.0
        # The first two steps also allocate.
        while steps < 3 or time.perf_counter() - started < TRIED_SECONDS:
            if steps == 2:
                started = time.perf_counter()
            model.loss(windows).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            steps += 1
        return (steps - 2) * spec.batch_tokens / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
