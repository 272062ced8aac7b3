"""`mixlaw spec`: show, compare, validate and import mix specs."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.cli.mix_spec import load_mix
from flows.cli.options import Json, Spec, token_count
from flows.reports.tables import console, print_file, print_json, table
from mixing.amounts import format_amount, parse_tokens
from mixing.decision.wording import LIMITED_BY
from mixing.errors import InputError
from mixing.export.exporting import export
from mixing.export.importing import ImportedMix, import_spec
from mixing.export.registry import TARGETS, target_named
from mixing.spec.components import SpecDecision
from mixing.spec.diff import differences, moved_share
from mixing.spec.model import MixSpec
from mixing.spec.schema import schema_text
from mixing.spec.shares import exceeds_cap
from mixing.spec.yaml_file import dump_spec, save_spec

app = typer.Typer(
    help="Show, compare, validate or import mix specs.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def show(spec: Spec, as_json: Json = False) -> None:
    """Show the mix, how it was decided, and where it comes from."""
    mix = load_mix(spec)
    if as_json:
        print_json(mix.model_dump(mode="json"))
        return
    out = console()
    out.print(f"{mix.name}: {format_amount(mix.total_tokens)} tokens{_run(mix)}", markup=False)
    out.print()
    out.print(_mix_table(mix))
    if mix.decision is not None:
        for line in _decision(mix.decision):
            out.print(line, markup=False)
    for line in _provenance(mix):
        out.print(line, markup=False)


def _run(mix: MixSpec) -> str:
    parts = []
    if mix.sequence_length:
        parts.append(f"sequences of {mix.sequence_length:,}")
    if mix.global_batch_tokens:
        parts.append(f"batches of {format_amount(mix.global_batch_tokens)} tokens")
    parts.append(f"seed {mix.seed}")
    return ", " + ", ".join(parts)


def _mix_table(mix: MixSpec) -> Any:
    staged = len(mix.stages) > 1
    heads = ["domain", "role", "share"]
    if staged:
        heads += [f"from {format_amount(stage.from_token)}" for stage in mix.stages]
    heads += ["tokens there", "epochs", "max", "files"]
    rows = []
    for name, domain in mix.domains.items():
        row = [escape(name), domain.role, f"{domain.share:.4g}"]
        if staged:
            row += [f"{stage.shares.get(name, 0.0):.4g}" for stage in mix.stages]
        row += [
            "?" if domain.tokens is None else format_amount(domain.tokens),
            "?" if (epochs := mix.epochs_of(name)) is None else f"{epochs:.3g}",
            f"{domain.max_epochs:g}",
            str(len(domain.shards)),
        ]
        rows.append(row)
    return table("shares of training tokens", heads, rows, left=2)


def _decision(decision: SpecDecision) -> list[str]:
    lines = [
        f"decided with {decision.law} on {decision.n_runs} runs, at {format_amount(decision.tokens)} tokens"
    ]
    if decision.critical_ratio is not None:
        low, high = decision.interval or (None, None)
        interval = "" if low is None else f" [{low:.3f}, {high:.3f}] at level {decision.level:g}"
        least = "at least " if decision.status == "bound" else ""
        safe = (
            f"; safe at {decision.confidence:.0%}: {decision.safe_ratio:.3f}" if decision.safe_ratio else ""
        )
        lines.append(f"  critical ratio {least}{decision.critical_ratio:.3f}{interval}{safe}")
    lines.append(f"  limited by: {LIMITED_BY[decision.binding]}; tolerance {decision.tolerance:g} nats")
    for name, value in decision.predicted.items():
        low, high = value.interval
        # Rounded first: a mix at its tolerance of 0 has an increment of -0.0000.
        increment = round(value.increment, 4) + 0.0
        lines.append(
            f"  loss on {name}: {value.loss:.4f} [{low:.4f}, {high:.4f}], {increment:+.4f} on the base"
        )
    for baseline in decision.baselines:
        losses = ", ".join(f"{name} {value.loss:.4f}" for name, value in baseline.predicted.items())
        lines.append(f"  compared with {baseline.name}: loss on {losses}")
    return lines + [f"  warning: {warning}" for warning in decision.warnings]


def _provenance(mix: MixSpec) -> list[str]:
    source = mix.provenance
    lines = []
    if source.study:
        lines.append(f"from study {source.study}, {len(source.runs)} runs")
    if source.imported:
        lines.append(f"read from {source.imported}; nobody decided this mix here")
    if mix.data_root:
        lines.append(f"token files in {mix.data_root}")
    if source.versions:
        lines.append("written by " + ", ".join(f"{name} {value}" for name, value in source.versions.items()))
    return lines


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="SPEC", help="A mix spec.")],
    second: Annotated[str, typer.Argument(metavar="OTHER", help="The mix spec to compare it with.")],
    as_json: Json = False,
) -> None:
    """List what changes from one mix spec to another, in words and numbers."""
    old, new = load_mix(first), load_mix(second)
    changes, moved = differences(old, new), moved_share(old, new)
    if as_json:
        print_json(
            {
                "identical": not changes,
                "moved_share": moved,
                "differences": [
                    {
                        "field": change.field,
                        "first": change.first,
                        "second": change.second,
                        "words": change.words,
                    }
                    for change in changes
                ],
            }
        )
        return
    if not changes:
        print("the specs say the same")
        return
    print(f"{moved:.2%} of the tokens come from another domain")
    for change in changes:
        print(f"  {change.words}")


@app.command()
def validate(
    spec: Spec,
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="Also check that it can be exported to this target.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a mix spec: schema, sums, counts, caps, and which targets it can be exported to."""
    mix = load_mix(spec)
    warnings = [
        f"domains.{name}: {epochs:.2f} epochs, above its max_epochs of {domain.max_epochs:g}"
        for name, domain in mix.domains.items()
        if (epochs := mix.epochs_of(name)) is not None and exceeds_cap(epochs, domain.max_epochs)
    ]
    warnings += [
        f"domains.{name}: its tokens are not given, so its repetition cannot be checked"
        for name, domain in mix.domains.items()
        if domain.tokens is None and domain.share > 0
    ]
    if to:
        export(mix, to)
    reasons: dict[str, str | None] = {}
    for target in [target_named(to)] if to else TARGETS.values():
        try:
            export(mix, target.name)
            reasons[target.name] = None
        except InputError as error:
            reasons[target.name] = error.message
    if as_json:
        print_json({"valid": True, "mixspec": mix.mixspec, "warnings": warnings, "targets": reasons})
        return
    stages = f"{len(mix.stages)} stage{'s' * (len(mix.stages) > 1)}"
    print(f"{spec}: a valid mix spec (version {mix.mixspec}): {len(mix.domains)} domains, {stages}")
    for warning in warnings:
        print(f"  warning: {warning}")
    ready = [name for name, reason in reasons.items() if reason is None]
    print(f"  can be exported to: {', '.join(ready) or 'nothing yet'}")
    for reason in dict.fromkeys(reason for reason in reasons.values() if reason is not None):
        names = ", ".join(name for name, other in reasons.items() if other == reason)
        print(f"  not to {names}: {reason}")


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="A trainer's own file, or one per stage, in order."),
    ],
    target: Annotated[
        str,
        typer.Option("--from", metavar="TARGET", help="The trainer; `mixlaw export --list` shows them all."),
    ],
    like: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="A mix spec with the same domains, to take sizes, files and run settings from.",
        ),
    ] = "",
    tokens: Annotated[
        str | None, typer.Option(help="Training tokens (20e9, 20B), where the file does not give them.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="window or document, for files that could weigh either.")
    ] = None,
    mean_tokens: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="Mean tokens per document of a domain, several times, for files that weigh documents.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
) -> None:
    """Read a mix spec from a trainer's own file."""
    texts = [_text(file) for file in files]
    base = load_mix(like) if like else None
    total = token_count(tokens)
    try:
        imported = import_spec(
            texts,
            target,
            name=files[0].name,
            like=base,
            total_tokens=total,
            unit=unit,
            document_tokens=_mean_tokens(mean_tokens or []),
        )
    except InputError as error:
        raise InputError(f"{files[0]}: {error.message}", error.hint) from None
    mix = imported.spec
    _print_notes(imported, files[0])
    if out is None:
        print_file(dump_spec(mix))
    else:
        save_spec(mix, out)
        print(f"wrote {out}: {len(mix.domains)} domains", file=sys.stderr)


def _print_notes(imported: ImportedMix, file: Path) -> None:
    """What the file does not say, and what of it is not used, on stderr."""
    mix = imported.spec
    for note in imported.notes:
        print(f"note: {file}: {note}", file=sys.stderr)
    unknown = [name for name, domain in mix.domains.items() if domain.tokens is None]
    if unknown:
        print(
            f"note: {len(unknown)} of {len(mix.domains)} domains have no sizes and no files in the spec: their .idx "
            "files are not here. Give --like SPEC, or fill them in",
            file=sys.stderr,
        )


def _mean_tokens(given: list[str]) -> dict[str, float]:
    means = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        tokens = parse_tokens(number) if equals and name else None
        if tokens is None or not 0 < tokens < math.inf:
            raise InputError(f"--mean-tokens {text!r}: is not NAME=N", "Such as --mean-tokens web=612")
        means[name] = tokens
    return means


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {error.strerror or error}", "Give a trainer's file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 text (byte {error.start})", "Save it as UTF-8") from None


@app.command()
def schema() -> None:
    """Print the JSON Schema of mix specs, for editors."""
    print_file(schema_text())
