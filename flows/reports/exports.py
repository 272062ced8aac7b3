"""What `mixlaw export` and `mixlaw check` print: shares and weights, notes, and how to start the trainer."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from flows.reports.tables import plain, table
from mixing.errors import InputError
from mixing.export.checking import Check
from mixing.export.exporting import Export
from mixing.export.registry import TARGETS
from mixing.export.target import GOLDEN_ONLY
from mixing.spec.model import MixSpec


def export_text(exported: Export) -> str:
    """The file itself, for stdout. Raises InputError where there are several files, one per stage."""
    if len(exported.files) > 1:
        raise InputError(
            f"{exported.target} takes one file per stage, and this spec has {len(exported.files)}",
            "Give --out FILE: each stage is written beside it",
        )
    return exported.files[0].text


def export_summary(spec: MixSpec, exported: Export) -> str:
    """Per stage a table of domains, then notes, files and the line that starts the trainer."""
    blocks = []
    heads = ("domain", "token share", f"{exported.plan.unit} weight", "epochs", "max epochs")
    for stage in exported.plan.stages:
        until = stage.first_token + stage.tokens
        title = f"stage {stage.number}: tokens {stage.first_token} to {until}"
        rows = [
            (
                name,
                f"{share:.6g}",
                f"{stage.weights[name]:.6g}",
                f"{stage.epochs[name]:.3g}" if name in stage.epochs else "?",
                f"{spec.domains[name].max_epochs:g}",
            )
            for name, share in stage.shares.items()
        ]
        blocks.append(plain(table(title, heads, rows)))
    if exported.notes:
        blocks.append("\n".join(f"note: {note}" for note in exported.notes))
    for number, file in enumerate(exported.files, start=1):
        lines = [f"wrote {file.path}"] if file.path else []
        if number > 1:
            first = exported.plan.stages[number - 1].first_token
            step = f", step {first // spec.global_batch_tokens}" if spec.global_batch_tokens else ""
            lines.append(f"  from token {first}{step}, with the checkpoint of stage {number - 1}:")
        blocks.append("\n".join([*lines, *(f"  {line}" for line in file.start)]))
    return "\n\n".join(blocks)


def targets_table() -> str:
    """The targets: what their weights mean, whether they take stages, what happens at the end of a domain."""
    heads = ("target", "also", "unit of its weights", "stages", "when a domain runs out", "verified with")
    rows = [
        (
            target.name,
            ", ".join(target.aliases),
            f"{target.weighs} ({' or '.join(target.units)})",
            "in one file" if target.staged else "one file each",
            target.repetition,
            target.verified,
        )
        for target in TARGETS.values()
    ]
    caps = (
        "The spec's max_epochs is enforced for every target: nothing is written for a mix that repeats more."
    )
    return plain(table("Targets", heads, rows, left=len(heads)), caps)


def targets_json() -> dict[str, Any]:
    """The same as one JSON object."""
    return {
        "targets": [
            {
                "target": target.name,
                "aliases": list(target.aliases),
                "file": target.filename,
                "weighs": target.weighs,
                "units": list(target.units),
                "staged": target.staged,
                "repetition": target.repetition,
                "data": target.data.name,
                "imports": target.read is not None,
                "verified": None if target.verified == GOLDEN_ONLY else target.verified,
            }
            for target in TARGETS.values()
        ]
    }


def print_check(check: Check, console: Console) -> None:
    """Per stage the shares that the trainer's loader drew, beside those asked for."""
    kind = "drawn by chance" if check.random else "apportioned"
    heads = ("domain", "asked", "realised", "difference", "tolerance", "met")
    for stage in check.stages:
        rows = [
            (
                line.domain,
                f"{line.asked:.4f}",
                f"{line.realised:.4f}",
                f"{line.realised - line.asked:+.4f}",
                f"{line.tolerance:.4f}",
                "yes" if line.met else "NO",
            )
            for line in stage.lines
        ]
        title = f"stage {stage.number}: {stage.items:,} {check.unit}s {kind}, read by {check.loader}"
        console.print(table(title, heads, rows))


def check_json(check: Check) -> dict[str, Any]:
    """The same as one JSON object."""
    return {
        "target": check.target,
        "loader": check.loader,
        "unit": check.unit,
        "random": check.random,
        "met": check.met,
        "stages": [
            {
                "stage": stage.number,
                "items": stage.items,
                "domains": {
                    line.domain: {
                        "asked": line.asked,
                        "realised": line.realised,
                        "tolerance": line.tolerance,
                        "met": line.met,
                    }
                    for line in stage.lines
                },
            }
            for stage in check.stages
        ],
    }
