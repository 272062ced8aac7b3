"""Named token shares on the simplex."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mixing.errors import InputError

SUM_TOLERANCE = 0.02
"""A row of shares may be off 1 by this much (rounded tables are) and is then renormalised."""


@dataclass(frozen=True)
class Mixture:
    """Shares of training **tokens**, by domain; they sum to 1 and their order is kept."""

    domains: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, shares: Mapping[str, float], where: str = "mixture") -> Mixture:
        """Check and normalise; `where` names the file, run or field in the error.

        Raises InputError for an empty mapping, a negative or non-finite share, or a sum that is off 1 by
        more than `SUM_TOLERANCE`.
        """
        if not shares:
            raise InputError(f"{where}: no domains", "Name at least one domain and its share")
        for domain, share in shares.items():
            if not math.isfinite(share) or share < 0:
                raise InputError(f"{where}: share of {domain!r} is {share}", "Shares are numbers from 0 to 1")
        total = math.fsum(shares.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise InputError(f"{where}: shares sum to {total:.4g}, not 1", "Correct the shares of this row")
        return cls(tuple(shares), tuple(share / total for share in shares.values()))

    @classmethod
    def two(cls, general: str, target: str, target_share: float) -> Mixture:
        """`1 - R` of the general domain and `R` of the target."""
        return cls.of({general: 1 - target_share, target: target_share})

    def share(self, domain: str) -> float:
        """Share of one domain; 0 where the mixture does not name it."""
        return self.as_dict().get(domain, 0.0)

    def total(self, domains: Iterable[str]) -> float:
        """Summed share of several domains, e.g. the target share R."""
        return math.fsum(self.share(domain) for domain in domains)

    def as_dict(self) -> dict[str, float]:
        return dict(zip(self.domains, self.shares, strict=True))


def mixture_at(
    target_share: float, within: Mapping[str, float], target_domains: Iterable[str]
) -> dict[str, float]:
    """Token shares by domain at a target share R, for fixed proportions `within` each role.

    `within` are the domains' shares within the target domains, and within the others; both sum to 1.

    Example:
        >>> mixture_at(0.2, {"web": 0.75, "books": 0.25, "german": 1.0}, ["german"])
        {'web': 0.6000000000000001, 'books': 0.2, 'german': 0.2}
    """
    targets = set(target_domains)
    return {
        domain: part * (target_share if domain in targets else 1 - target_share)
        for domain, part in within.items()
    }
