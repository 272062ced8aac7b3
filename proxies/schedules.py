"""Learning rates over the steps of a run."""

from __future__ import annotations

from proxies.spec import ProxySpec


def learning_rate(spec: ProxySpec, step: int) -> float:
    """Learning rate of `step` (from 0): a linear warm-up over `spec.warmup_steps`, then constant.

    The model after any number of tokens is then what a run of that many would have given, so one run answers
    for all its budgets.
    """
    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    return spec.learning_rate * warm
