"""What `mixlaw run` refuses of a study before any work, and `mixlaw plan` shows: one list for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flows.pipeline.workspace import Workspace
from flows.settings.environment import device, proxy_slots
from mixing.amounts import format_amount
from mixing.decision.question import LARGE_TOLERANCE, REFUSE_BEYOND, USUAL_TOLERANCE, large_tolerance
from mixing.errors import InputError, MixlawError

MANY_HOURS = 100.0


def refusals(workspace: Workspace) -> tuple[MixlawError, ...]:
    """Everything in the study and its environment that keeps `mixlaw run` from starting, or from answering."""
    return tuple(_refusals(workspace))


def check_study(workspace: Workspace) -> None:
    """Raises the first of `refusals`, and says how many more there are."""
    found = refusals(workspace)
    if found:
        first, more = found[0], len(found) - 1
        if more:
            first.message += f" (and {more} more: see `mixlaw plan`)"
        raise first


def too_long(seconds: float) -> str:
    """A warning, with what to change, where a plan takes hundreds of hours; else empty."""
    hours = seconds / 3600
    if hours < MANY_HOURS:
        return ""
    return (
        f"about {hours:,.0f} hours on this machine: lower proxies.tokens, base.tokens or model.depth, take fewer "
        "proxies.target_shares, or train on more machines or a GPU (runner, MIXLAW_DEVICE)"
    )


def missing_files(workspace: Workspace) -> Iterator[InputError]:
    """The files of a model that the study names and that are not there."""
    study = workspace.study
    checkpoint = workspace.base_checkpoint
    if checkpoint is not None and not checkpoint.is_file():
        yield InputError(
            f"{study.file.name}: base.checkpoint: {checkpoint} does not exist",
            "Give the weights.pt of a base run",
        )
    if study.tokenizer.file is not None and not study.path(study.tokenizer.file).is_file():
        yield InputError(
            f"{study.file.name}: tokenizer.file: {study.path(study.tokenizer.file)} does not exist",
            "Give a tokenizer.json",
        )


def _refusals(workspace: Workspace) -> Iterator[MixlawError]:
    study = workspace.study
    yield from missing_files(workspace)
    tolerances = {"decision.tolerance": study.decision.tolerance}
    tolerances |= {f"decision.protect.{name}": nats for name, nats in (study.decision.protect or {}).items()}
    for key, nats in tolerances.items():
        if nats > LARGE_TOLERANCE and not study.decision.allow_large_tolerance:
            yield InputError(f"{study.file.name}: {key}: {large_tolerance(nats)}", LARGE_STEP)
    reach = study.asked_tokens / study.proxies.trained_tokens
    if reach > REFUSE_BEYOND:
        yield InputError(
            f"{study.file.name}: decision.tokens: {format_amount(study.asked_tokens)} tokens are {reach:.3g} times the "
            f"proxies' {format_amount(study.proxies.trained_tokens)}; no law is followed past {REFUSE_BEYOND:g} times",
            "Lower it, or raise proxies.tokens; the length of the target run is spec.total_tokens",
        )
    settings: tuple[Callable[[], object], ...] = (device, lambda: proxy_slots(workspace.root))
    for setting in settings:
        try:
            setting()
        except MixlawError as error:
            yield error


LARGE_STEP = f"{USUAL_TOLERANCE}; if it is meant, set decision.allow_large_tolerance: true"
