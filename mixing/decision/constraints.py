"""What bounds a mixture besides the losses: shares, supply and repetition, a prior, single losses to protect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mixing.errors import InputError


@dataclass(frozen=True)
class Constraints:
    """What is asked of the mixture besides its losses; by domain where not said otherwise.

    `min_shares` and `max_shares` bound shares. `supply` is available tokens, read at most `max_epochs` times (one
    number, or one per domain) by a run of `budget` tokens (default: those that are asked about). `prior` are natural
    shares of every domain, of any sum, so that tokens or bytes will do (default: those of the supply, else the mean
    trained mixture); `kl` pulls towards them (nats), and `freeze` groups keep their proportions. `protect` bounds the
    increments of single validation sets (nats); with `worst_case` the worst target counts, not their mean.
    """

    min_shares: Mapping[str, float] = field(default_factory=dict)
    max_shares: Mapping[str, float] = field(default_factory=dict)
    supply: Mapping[str, float] = field(default_factory=dict)
    max_epochs: float | Mapping[str, float] = 4.0
    budget: int | None = None
    prior: Mapping[str, float] = field(default_factory=dict)
    kl: float = 0.0
    freeze: tuple[tuple[str, ...], ...] = ()
    protect: Mapping[str, float] = field(default_factory=dict)
    worst_case: bool = False

    def epochs(self, domain: str) -> float:
        """How often a domain may be read."""
        return self.max_epochs[domain] if isinstance(self.max_epochs, Mapping) else self.max_epochs

    def caps(self, tokens: float) -> dict[str, float]:
        """The largest share of each domain that repetition allows in that many tokens, where a supply is known."""
        budget = tokens if self.budget is None else self.budget
        return {domain: self.epochs(domain) * available / budget for domain, available in self.supply.items()}

    def natural_shares(self, domains: Iterable[str]) -> dict[str, float]:
        """The prior, or the supply where it covers every domain, not yet normalised; empty where neither is known."""
        if self.prior:
            return dict(self.prior)
        return dict(self.supply) if set(self.supply) >= set(domains) else {}

    def check(self, domains: tuple[str, ...]) -> None:
        """Raises InputError for a domain that is none of these, for what is not a number or share, and for a prior that
        leaves a domain out."""
        numbers = {
            "prior": self.prior,
            "supply": self.supply,
            "min_shares": self.min_shares,
            "max_shares": self.max_shares,
            "max_epochs": self.max_epochs if isinstance(self.max_epochs, Mapping) else {},
        }
        for name, values in numbers.items():
            for domain, value in values.items():
                if domain not in domains:
                    raise InputError(
                        f"{name} {domain}: no such domain", f"The table's domains: {', '.join(domains)}"
                    )
                if not math.isfinite(value) or value < 0:
                    raise InputError(f"{name} {domain}={value}: not a number of 0 or more", "Correct it")
                if name in ("min_shares", "max_shares") and value > 1:
                    raise InputError(f"{name} {domain}={value:g}: not a share", "Shares are from 0 to 1")
        unnamed = [domain for domain in domains if domain not in self.prior]
        if self.prior and unnamed:
            raise InputError(
                f"prior: no share of {', '.join(unnamed[:5])}", "Name every domain; 0 for one without text"
            )
        for domain in self.supply:
            if isinstance(self.max_epochs, Mapping) and domain not in self.max_epochs:
                raise InputError(f"max_epochs: none for {domain}", "Give every domain of the supply its own")
            epochs = self.epochs(domain)
            if not math.isfinite(epochs) or epochs <= 0:
                raise InputError(
                    f"max_epochs {epochs}: not above 0", "Up to 4 is about as good as fresh text"
                )
        if not isinstance(self.max_epochs, Mapping) and not (
            math.isfinite(self.max_epochs) and self.max_epochs > 0
        ):
            raise InputError(
                f"max_epochs {self.max_epochs}: not above 0", "Up to 4 is about as good as fresh text"
            )
        for name, allowed in self.protect.items():
            if not math.isfinite(allowed) or allowed < 0:
                raise InputError(f"protect {name}={allowed}: not a tolerance", "Give nats of 0 or more")

    def beyond_one_ratio(self) -> list[str]:
        """The arguments in use that one target share cannot answer."""
        used = {
            "min_shares": bool(self.min_shares),
            "freeze": bool(self.freeze),
            "kl": bool(self.kl),
            "worst_case": self.worst_case,
        }
        return [name for name, is_used in used.items() if is_used]


def ratio_range(
    caps: Mapping[str, float], within: Mapping[str, float], targets: Iterable[str]
) -> tuple[float, float]:
    """The range of target shares that no domain's cap forbids; empty (low > high) where the caps leave no mixture.

    `within` is each domain's share within its role, `targets` are the domains of the target role.
    """
    low, high, targets = 0.0, 1.0, set(targets)
    for domain, cap in caps.items():
        part = within.get(domain, 0.0)
        if part <= 0:
            continue
        if domain in targets:
            high = min(high, cap / part)
        else:
            low = max(low, 1 - cap / part)
    return low, high
