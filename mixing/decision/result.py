"""A decision: what it says (`mixing.decision.record`), and how it shows itself in a notebook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from mixing.arguments import amount, number
from mixing.decision import notebook, wording
from mixing.decision.question import Question, TurningPoint, check_levels
from mixing.decision.record import DecisionRecord
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mixing.spec.model import MixSpec


class Evidence(Protocol):
    """Fitted losses that can answer another question about the same runs."""

    def answer(self, question: Question) -> Decision:
        """The decision on a question of another tolerance, level or confidence."""
        ...

    def observed(self) -> pl.DataFrame:
        """The runs' increments over the base: run, share, tokens, general, target; empty with more than two sources."""
        ...


@dataclass(frozen=True, repr=False)
class Decision(DecisionRecord):
    """The chosen mixture, or an honest "not yet". See `DecisionRecord` for what each field means.

    A decision fresh from `decide` remembers what its runs say, so that `ask` answers another tolerance at once; one
    read from a file doesn't.
    """

    def __repr__(self) -> str:
        return wording.summary(self)

    def _repr_html_(self) -> str:
        return notebook.decision_html(self)

    def ask(
        self,
        *,
        tolerance: float | None = None,
        level: float | None = None,
        confidence: float | None = None,
        turning_point: TurningPoint | None = None,
    ) -> Decision:
        """Another question to the same fits: what is not given stays as it was asked.

        With two sources it takes about a tenth of a second, and leaves out `cmr_curve`, the critical ratio over budgets
        (for that, call `decide` again); with more, the optimum is searched again. Numbers are those of `decide`.

        Raises InputError for values without a meaning, MixlawError where the decision remembers no fits.
        """
        evidence = self.fits()
        if evidence is None:
            raise MixlawError(
                "this decision has no fits to ask: it was read from a file, or nothing could be fitted",
                "Call decide on its runs with the new question",
            )
        levels = {"tolerance": tolerance, "level": level, "confidence": confidence}
        changes: dict[str, Any] = {k: number(v, k) for k, v in levels.items() if v is not None}
        if turning_point is not None:
            changes["turning_point"] = turning_point
        question = replace(self.question, **changes)
        check_levels(question)
        return evidence.answer(question)

    def plot(self) -> Figure:
        """The decision as a figure: increments over the target share, or the best mixture of many sources.

        Raises MixlawError where there is nothing to draw.
        """
        import matplotlib

        from mixing.plots.mixture import mixture
        from mixing.plots.ratio import OBSERVED, increment_over_share
        from mixing.plots.style import STYLE

        evidence = self.fits()
        observed = (
            pl.DataFrame(schema=dict.fromkeys(OBSERVED, pl.Float64))
            if evidence is None
            else evidence.observed()
        )
        if not (self.share_intervals or self.ratio_curves or observed.height):
            raise MixlawError(
                f"nothing to draw: not yet: {self.reason}", "Train the mixtures of next_runs first"
            )
        with matplotlib.rc_context(STYLE):
            if self.share_intervals:
                return mixture(self)
            return increment_over_share(self, observed.with_columns(kind=pl.lit("swarm")))

    def to_spec(self, name: str, *, total_tokens: float | str | None = None, seed: int = 0) -> MixSpec:
        """The mix spec `name` of this decision, for a run of `total_tokens` (default: the budget that was asked about).

        It has shares but no token files: those come from a study. Raises MixlawError for a "not yet".
        """
        from mixing.spec.build import build_spec

        tokens = None if total_tokens is None else amount(total_tokens, "total_tokens")
        return build_spec(self, None, name=name, total_tokens=tokens, seed=seed)

    def remembering(self, evidence: Evidence) -> Decision:
        """The same decision, which can be asked again. Not a field: it is neither compared, nor printed, nor saved."""
        copy = replace(self)
        object.__setattr__(copy, "_remembered", evidence)
        return copy

    def fits(self) -> Evidence | None:
        """The fits that it remembers."""
        return getattr(self, "_remembered", None)
