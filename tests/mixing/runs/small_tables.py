"""Small tables of two sources over a base model, as rows and as text, for tests of readers."""

from __future__ import annotations

from typing import Any

SHARES = (0.1, 0.25, 0.5, 0.8)
BUDGETS = (100_000_000, 200_000_000, 400_000_000, 800_000_000)


def loss(name: str, share: float, tokens: float) -> float:
    """A loss that forgetting raises (web) and the new domain lowers (german)."""
    grown = tokens / 1e8
    if name == "web":
        return round(2.9 - 0.05 * (1 - share) * grown**0.3 + 0.08 * share**2 * grown**0.2, 4)
    return round(3.4 - 0.3 * share * grown**0.25, 4)


def small_rows() -> list[dict[str, Any]]:
    """The base model's rows, then every run's, as they are logged."""
    blank: dict[str, Any] = {"share.web": None, "share.german": None}
    rows: list[dict[str, Any]] = [
        {"run": "base", **blank, "tokens": 0, "eval": name, "loss": loss(name, 0, 0)}
        for name in ("web", "german")
    ]
    for share in SHARES:
        rows += [
            {"run": f"r{share}", "share.web": round(1 - share, 4), "share.german": share}
            | {"tokens": tokens, "eval": name, "loss": loss(name, share, tokens)}
            for tokens in BUDGETS
            for name in ("web", "german")
        ]
    return rows


def as_text(rows: list[dict[str, Any]], delimiter: str = ",", nothing: str = "") -> str:
    """Rows as delimited text, with a header; `nothing` stands for None."""
    lines = [
        list(rows[0]),
        *([nothing if cell is None else str(cell) for cell in row.values()] for row in rows),
    ]
    return "".join(delimiter.join(line) + "\n" for line in lines)
