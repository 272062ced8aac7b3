"""How many held-out windows a study's losses are measured on, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.study.models import Study

if TYPE_CHECKING:
    from flows.pipeline.plan import PlannedRun

FEWEST = 64
"""Windows per domain at a budget, whatever they cost."""
PART_OF_TRAINING = 0.15
"""What the windows of the last budget may cost, as a part of the training of a proxy; those of all earlier ones too."""
MOST_TOKENS = 1 << 20
"""Held-out tokens per domain past which the sampling error of a loss is below what runs scatter by."""
FORWARD = 0.4
"""Time of a held-out token, which is a forward pass, as a part of a training token's."""


@dataclass(frozen=True)
class Windows:
    """Held-out windows per domain: `last` at the last budget, `few` of these at the others; what domains have at most.

    `auto` says that they were chosen here: then a third of a domain's held-out text is kept for the confirmation.
    """

    few: int
    last: int
    auto: bool

    def tokens_of(self, run: PlannedRun, study: Study) -> int:
        """Held-out tokens that a run is measured on in all: at every budget, a confirmation's base before it too."""
        times = self.few * (study.proxies.checkpoints - 1) + self.last * (1 + (run.kind == "confirmation"))
        return times * study.model.context * len(study.validation_sets)


def windows_of(study: Study) -> Windows:
    """The windows of a study: the number that its file gives, at every budget, or where it says `auto`, as many as may
    be had for `PART_OF_TRAINING`, up to `MOST_TOKENS`: once at the last budget, and once at all others together."""
    asked = study.heldout.windows
    if asked != "auto":
        return Windows(asked, asked, auto=False)
    tokens = PART_OF_TRAINING * study.proxies.trained_tokens / FORWARD / len(study.validation_sets)

    def windows(budgets: int) -> int:
        return max(FEWEST, round(min(tokens / budgets, MOST_TOKENS)) // study.model.context)

    return Windows(windows(study.proxies.checkpoints - 1), windows(1), auto=True)
