"""A cache of the analysis, valid while it would come out the same: fitting takes a while, a re-run should not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import mixing
from mixing.atomic import replace_files
from mixing.decision.critical_ratio.left_out import LeftOut
from mixing.decision.result import Decision
from mixing.fitting.report import Chosen, FitReport, LawFit


@dataclass(frozen=True)
class CachedAnalysis:
    """An analysis under the key of everything that it was computed from.

    The fits are stored without the rows that they left out, which nobody asks for later.
    """

    key: str
    laws: list[LawFit]
    chosen: dict[str, str]
    warnings: list[str]
    domains: tuple[str, ...]
    choices: dict[str, Chosen]
    decision: Decision
    left_out: list[LeftOut]

    @classmethod
    def of(cls, key: str, fits: FitReport, decision: Decision, left_out: list[LeftOut]) -> CachedAnalysis:
        return cls(key, fits.laws, fits.chosen, fits.warnings, fits.domains, fits.choices, decision, left_out)

    @property
    def fits(self) -> FitReport:
        return FitReport(self.laws, self.chosen, self.warnings, domains=self.domains, choices=self.choices)


@dataclass(frozen=True)
class CachedDecision:
    """A decision under the key of everything that it was computed from."""

    key: str
    decision: Decision


T = TypeVar("T", CachedAnalysis, CachedDecision)
_SCHEMAS: dict[type, TypeAdapter[Any]] = {
    CachedAnalysis: TypeAdapter(CachedAnalysis),
    CachedDecision: TypeAdapter(CachedDecision),
}


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


def load(path: Path, key: str, of: type[T]) -> T | None:
    """What lies under this key; None where there is nothing, or another version's."""
    try:
        cached: T = _SCHEMAS[of].validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return cached if cached.key == key else None


def save(path: Path, cached: CachedAnalysis | CachedDecision) -> None:
    """Write it whole or not at all."""
    replace_files({path: _SCHEMAS[type(cached)].dump_json(cached)})
