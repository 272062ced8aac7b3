"""What the loaders gave, collected for the table at the end of `make test-exports`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    target: str
    loader: str
    unit: str
    items: int | None
    asked: dict[str, float]
    realised: dict[str, float] | None
    within: bool | None


ROWS: list[Row] = []


def unread(rows: list[Row]) -> list[Row]:
    """Targets whose loader gave nothing here: what their files say is asked for, and why it was not drawn."""
    from mixing.export.exporting import export
    from mixing.export.importing import import_spec
    from mixing.export.registry import TARGETS
    from mixing.export.target import GOLDEN_ONLY
    from tests.mixing.spec.examples import example_spec

    read = {row.target for row in rows}
    found = []
    for target in TARGETS.values():
        if target.name in read:
            continue
        reason = target.verified
        if target.name == "streaming":
            reason = "make test-streaming"
        elif target.verified != GOLDEN_ONLY:
            continue
        spec = example_spec()
        done = export(spec, target.name)
        asked = done.plan.stages[0].shares
        if target.read is not None:
            said = import_spec([done.files[0].text], target.name, name="file", like=spec).spec
            asked = {name: said.domains[name].share for name in asked}
        found.append(Row(target.name, reason, done.plan.unit, None, dict(asked), None, None))
    return found


def lines() -> list[str]:
    """The table, a line per target and unit; targets that no loader reads here come last."""
    heads = ("target", "unit", "items", "asked", "realised", "within", "verified with")
    rows = [
        (
            row.target,
            row.unit,
            "-" if row.items is None else str(row.items),
            _shares(row.asked),
            "-" if row.realised is None else _shares(row.realised),
            {True: "yes", False: "NO", None: "-"}[row.within],
            row.loader,
        )
        for row in [*ROWS, *unread(ROWS)]
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]


def _shares(shares: dict[str, float]) -> str:
    return " / ".join(f"{share:.4f}" for share in shares.values())
