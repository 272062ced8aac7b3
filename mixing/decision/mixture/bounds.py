"""Where a mixture may lie: bounds per domain, frozen parts, and the simplex; empty regions are named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mixing.arrays import Floats
from mixing.errors import InputError

Why = Literal["bound", "repetition", "trained", ""]
"""Why a share may not rise or fall further; empty: only because shares lie between 0 and 1."""
_SLACK = 1e-9


ROOM = 1e-9
"""A part with no more room than this is fixed."""
ROUNDING = 1e-6
"""A part whose trained shares differ by less never varied."""
SAME_DIRECTION = 1e-3
"""A direction in which (scaled) shares vary by less than this variance comes of rounding."""


@dataclass(frozen=True)
class Region:
    """Mixtures p = parts' q with q on the simplex and within bounds.

    A part is one domain, or several whose proportions are frozen: parts_qd holds each part's shares within itself
    (rows sum to 1). `low_why` and `high_why` say where a part's bounds come from.
    """

    domains: tuple[str, ...]
    names: tuple[str, ...]
    parts_qd: Floats
    low_q: Floats
    high_q: Floats
    low_why: tuple[Why, ...]
    high_why: tuple[Why, ...]

    def shares(self, q_mq: Floats) -> Floats:
        return np.asarray(q_mq @ self.parts_qd)

    def project(self, q_mq: Floats) -> Floats:
        """The nearest points (Euclidean) on the simplex within the bounds."""
        q_mq = np.where(np.isfinite(q_mq), q_mq, 0.0)
        shift_low = (q_mq - self.high_q).min(1)
        shift_high = (q_mq - self.low_q).max(1)
        for _ in range(60):
            shift = (shift_low + shift_high) / 2
            above = np.clip(q_mq - shift[:, None], self.low_q, self.high_q).sum(1) > 1
            shift_low, shift_high = np.where(above, shift, shift_low), np.where(above, shift_high, shift)
        inside = np.clip(q_mq - shift_high[:, None], self.low_q, self.high_q)
        # What bisection leaves (1e-16 or so) goes where there is room.
        left = 1 - inside.sum(1, keepdims=True)
        room = np.where(left > 0, self.high_q - inside, inside - self.low_q)
        return np.asarray(inside + left * room / np.maximum(room.sum(1, keepdims=True), 1e-300))

    def parts_of(self, shares_md: Floats) -> Floats:
        """The nearest q of any mixtures: each part's total, projected."""
        member_qd = self.parts_qd > 0
        return self.project(shares_md @ member_qd.T.astype(float))

    def directions(self, mixtures_kd: Floats) -> tuple[int, int]:
        """In how many directions k mixtures vary over the parts that vary, and how many would tell these apart."""
        parts_kq = mixtures_kd @ (self.parts_qd > 0).T.astype(float)
        parts_kq = parts_kq[:, (self.high_q - self.low_q > ROOM) & (np.ptp(parts_kq, axis=0) > ROUNDING)]
        if parts_kq.shape[1] < 2:
            return 0, 0
        spread_q = parts_kq.std(0)
        of_spread = np.linalg.svd((parts_kq - parts_kq.mean(0)) / spread_q, compute_uv=False) ** 2 / len(
            parts_kq
        )
        return int((of_spread > SAME_DIRECTION).sum()), len(spread_q) - 1

    def sample(self, centres_mq: Floats, count: int, rng: np.random.Generator) -> Floats:
        """`count` mixtures around centres, from near ones to the region's corners, as q_mq."""
        width = len(self.names)
        centre = centres_mq[rng.integers(len(centres_mq), size=count)]
        strength = np.exp(rng.uniform(np.log(0.3), np.log(300.0), size=(count, 1)))
        gamma = rng.standard_gamma(np.maximum(strength * centre + 0.3 / width, 1e-3))
        drawn = (gamma + 1e-300) / (gamma + 1e-300).sum(1, keepdims=True)
        return self.project(drawn)

    def binding(self, q_q: Floats) -> list[tuple[str, Why, float]]:
        """The parts that lie at a bound somebody set, as (name, why, bound)."""
        active: list[tuple[str, Why, float]] = []
        for at, name in enumerate(self.names):
            if self.high_q[at] - self.low_q[at] < ROOM:
                continue
            if self.high_why[at] and q_q[at] > self.high_q[at] - 1e-6:
                active.append((name, self.high_why[at], float(self.high_q[at])))
            elif self.low_why[at] and q_q[at] < self.low_q[at] + 1e-6:
                active.append((name, self.low_why[at], float(self.low_q[at])))
        return active


def make_region(
    domains: tuple[str, ...],
    trained_nd: Floats,
    *,
    low: Mapping[str, float] | None = None,
    high: Mapping[str, float] | None = None,
    caps: Mapping[str, float] | None = None,
    freeze: Sequence[Sequence[str]] = (),
    within: Mapping[str, float] | None = None,
) -> Region:
    """The region that user bounds, repetition `caps` and the trained shares leave.

    No part may leave the range of its trained shares: a law says nothing there. `freeze` groups keep the proportions
    of `within` (default: the mean trained ones). Raises InputError naming the constraints that cannot be met.
    """
    low, high, caps = dict(low or {}), dict(high or {}), dict(caps or {})
    _check_bounds(domains, low, high, caps)
    share_d = np.array([within.get(d, 0.0) for d in domains]) if within else trained_nd.mean(0)
    parts, ranges, names = [], [], []
    for group in _groups(domains, freeze):
        at = [domains.index(d) for d in group]
        ratio = _ratio(group, share_d[at])
        row = np.zeros(len(domains))
        row[at] = ratio
        names.append("+".join(group))
        parts.append(row)
        trained = trained_nd[:, at].sum(1)
        ranges.append(_range(group, ratio, trained, low, high, caps))
    low_q = np.array([min(floor[0], top[0]) for floor, top in ranges])
    high_q = np.array([top[0] for _, top in ranges])
    low_why, high_why = [floor[1] for floor, _ in ranges], [top[1] for _, top in ranges]
    _not_empty(names, low_q, high_q, low_why, high_why)
    return Region(domains, tuple(names), np.stack(parts), low_q, high_q, tuple(low_why), tuple(high_why))


def _check_bounds(
    domains: tuple[str, ...], low: dict[str, float], high: dict[str, float], caps: dict[str, float]
) -> None:
    for what, bounds in (("min_shares", low), ("max_shares", high), ("supply", caps)):
        for name, value in bounds.items():
            if name not in domains:
                raise InputError(
                    f"{what} {name}: no such domain", f"The table's domains: {', '.join(domains)}"
                )
            if what != "supply" and not (math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"{what} {name}={value}: not a share", "Shares are numbers from 0 to 1")


def _range(
    group: tuple[str, ...],
    ratio: Floats,
    trained_n: Floats,
    low: dict[str, float],
    high: dict[str, float],
    caps: dict[str, float],
) -> tuple[tuple[float, Why], tuple[float, Why]]:
    """The tightest lower and upper bound of a part, each with why; `ratio` are its domains' shares within it."""
    floors: list[tuple[float, Why]] = [(0.0, ""), (_outward(trained_n.min(), False), "trained")]
    tops: list[tuple[float, Why]] = [(1.0, ""), (_outward(trained_n.max(), True), "trained")]
    for domain, part in zip(group, ratio.tolist(), strict=True):
        if low.get(domain, 0.0) > 0:
            if part <= 0:
                raise InputError(
                    f"min_shares {domain}={low[domain]:g}: its frozen part holds none of it", "Freeze others"
                )
            floors.append((low[domain] / part, "bound"))
        if domain in high and part > 0:
            tops.append((high[domain] / part, "bound"))
        if domain in caps and part > 0:
            tops.append((caps[domain] / part, "repetition"))
    floor, top = max(floors, key=lambda f: f[0]), min(tops, key=lambda t: t[0])
    if floor[0] > top[0] + _SLACK:
        raise InputError(
            f"{'+'.join(group)}: its share must be at least {floor[0]:.4g} ({_words(floor[1])}) and at most "
            f"{top[0]:.4g} ({_words(top[1])})",
            _remedy({floor[1], top[1]}),
        )
    return floor, top


def _groups(domains: tuple[str, ...], freeze: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    frozen: set[str] = set()
    for group in freeze:
        if len(group) < 2:
            raise InputError(
                f"freeze {','.join(group)}: one domain has no proportions", "Name two or more: A,B"
            )
        for domain in group:
            if domain not in domains:
                raise InputError(
                    f"freeze {domain}: no such domain", f"The table's domains: {', '.join(domains)}"
                )
            if domain in frozen:
                raise InputError(f"freeze {domain}: named twice", "A domain is in one frozen part")
            frozen.add(domain)
    first = {group[0]: tuple(group) for group in freeze}
    return [first.get(d, (d,)) for d in domains if d not in frozen or d in first]


def _ratio(group: tuple[str, ...], share_g: Floats) -> Floats:
    if len(group) == 1:
        return np.ones(1)
    if share_g.sum() <= 0:
        raise InputError(
            f"freeze {','.join(group)}: all their shares are 0", "Give their proportions as prior"
        )
    return np.asarray(share_g / share_g.sum())


def _outward(value: float, up: bool) -> float:
    """Trained ends by a hair wider, so that rounding leaves every trained mixture inside."""
    return float(min(1.0, value + 1e-9) if up else max(0.0, value - 1e-9))


def _words(why: Why) -> str:
    return {
        "bound": "as asked",
        "repetition": "its text would be repeated too often",
        "trained": "as far as runs went",
        "": "a share",
    }[why]


def _remedy(whys: set[Why]) -> str:
    if "trained" in whys and "bound" in whys:
        return "Train runs there first, or relax min_shares or max_shares"
    if "repetition" in whys:
        return "Add text, allow more epochs, or lower the token budget"
    return "Relax min_shares or max_shares"


def _not_empty(
    names: list[str], low_q: Floats, high_q: Floats, low_why: list[Why], high_why: list[Why]
) -> None:
    if high_q.sum() < 1 - _SLACK:
        raise InputError(
            f"the caps leave no mixture: all domains together may fill {high_q.sum():.4g} of the budget "
            f"({_listed(names, high_q, high_why)})",
            _remedy(set(high_why)),
        )
    if low_q.sum() > 1 + _SLACK:
        raise InputError(
            f"the least shares sum to {low_q.sum():.4g}, more than the whole ({_listed(names, low_q, low_why)})",
            "Lower min_shares",
        )


def _listed(names: list[str], value_q: Floats, why: list[Why]) -> str:
    """`repeated too often: a 0.1, b 0.2, ...; as asked: c 0.3`, the tightest first."""
    parts = []
    for reason in dict.fromkeys(w for w in why if w):
        order = sorted((v, n) for n, v, w in zip(names, value_q.tolist(), why, strict=True) if w == reason)
        shown = ", ".join(f"{name} {value:.3g}" for value, name in order[:5])
        parts.append(f"{_words(reason)}: {shown}" + (", ..." if len(order) > 5 else ""))
    return "; ".join(parts)


def by_domain(domains: tuple[str, ...], shares_d: Floats) -> dict[str, float]:
    """A mixture's shares by domain; a hair above 0 is 0."""
    clean_d = np.where(shares_d < 1e-6, 0.0, shares_d)
    return dict(zip(domains, (clean_d / clean_d.sum()).tolist(), strict=True))
