"""An answer kept for as long as it would be the same: fits of many mixtures take a while, a re-run should not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import mixing
from mixing.atomic import replace_files
from mixing.decision.result import Decision
from mixing.fitting.report import FitReport, LawFit


@dataclass(frozen=True)
class LeftOut:
    """A run's increment as observed, and as a fit predicts it that has not seen its mixture (nats)."""

    run: str
    eval: str
    observed: float
    predicted: float


@dataclass(frozen=True)
class Kept:
    """What was worked out, under the key of all that it was worked out from. Of the fits, all that is asked of
    them later: not the rows that they left out.
    """

    key: str
    laws: list[LawFit]
    chosen: dict[str, str]
    warnings: list[str]
    domains: tuple[str, ...]
    decision: Decision
    left_out: list[LeftOut]

    @classmethod
    def of(cls, key: str, fits: FitReport, decision: Decision, left_out: list[LeftOut]) -> Kept:
        return cls(key, fits.laws, fits.chosen, fits.warnings, fits.domains, decision, left_out)

    @property
    def fits(self) -> FitReport:
        return FitReport(self.laws, self.chosen, self.warnings, domains=self.domains)


_KEPT = TypeAdapter(Kept)


def key_of(tables: Iterable[Path], question: object) -> str:
    """Hash of the runs' tables, the question, and the code that answers it."""
    digest = hashlib.sha256(_code().encode())
    for path in tables:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(repr(question).encode())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Hash of the package that fits and decides: another version may answer otherwise."""
    folder = Path(mixing.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load(path: Path, key: str) -> Kept | None:
    """What is kept under this key; None where there is nothing, or nothing of use."""
    try:
        kept = _KEPT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if kept.key == key else None


def save(path: Path, kept: Kept) -> None:
    replace_files({path: _KEPT.dump_json(kept)})
