"""How far a run is: what a worker reports and its launcher passes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`loss` is the training loss (nats) of the last step. `tokens_per_s` and `eta_s` (seconds) are by this
    session's work, evaluations included.
    """

    run: str
    step: int
    steps: int
    tokens: int
    tokens_per_s: float
    loss: float
    eta_s: float


Report = Callable[[Progress], None]
