"""The check: what a trainer's own loader draws from an exported mix, against what was asked for."""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixing.errors import InputError, MixlawError
from mixing.export.data_format import ALONE, STORE
from mixing.export.exporting import Export, export
from mixing.export.loader import UNKNOWN, DrawRequest, Draws, Loader
from mixing.export.planning import Unit, items_of
from mixing.export.registry import LOADERS, target_named
from mixing.export.target import Target
from mixing.spec.model import MixSpec

ITEMS = 2000
"""Windows or documents that are drawn of each stage."""
SLACK = 0.001
"""Part by which shares of deterministic loaders may be off, beside the rounding to whole items."""
SIGMAS = 4
"""Standard deviations by which shares of items drawn by chance may be off."""


@dataclass(frozen=True)
class DomainCheck:
    """One domain: token shares asked for and drawn, and how far apart they may be."""

    domain: str
    asked: float
    realised: float
    tolerance: float

    @property
    def met(self) -> bool:
        """Whether the realised share is within the tolerance."""
        return abs(self.realised - self.asked) <= self.tolerance


@dataclass(frozen=True)
class StageCheck:
    """One stage, and how many items of `unit` were drawn of it."""

    number: int
    items: int
    lines: tuple[DomainCheck, ...]


@dataclass(frozen=True)
class Check:
    """Shares drawn by the loader of a target. `loader` is its package and version."""

    target: str
    loader: str
    unit: Unit
    random: bool
    stages: tuple[StageCheck, ...]

    @property
    def met(self) -> bool:
        """Whether every domain of every stage is within its tolerance."""
        return all(line.met for stage in self.stages for line in stage.lines)


def loader_of(target: Target) -> Loader:
    """Raises InputError where no loader of the target can be run here, MixlawError where it is not installed."""
    loader = target.loader
    if loader is None:
        raise InputError(
            f"{target.name}: its loader cannot be run without the trainer, so its files are compared with ones "
            "known to be right in our tests only",
            f"Targets that can be checked: {', '.join(LOADERS)}",
        )
    if importlib.util.find_spec(loader.module.split(".")[0]) is None:
        raise MixlawError(
            f"{target.name}: its loader is not installed here",
            f"Run: pip install {loader.install}" + ALONE * loader.alone,
        )
    return loader


def check(
    spec: MixSpec,
    to: str,
    work: Path,
    *,
    file: Path | None = None,
    unit: Unit | None = None,
    data: str | None = None,
    items: int = ITEMS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Check:
    """Open the exported file with the trainer's loader and draw up to `items` windows or documents per stage.

    `file` is what `export` was given as `out`; without it the mix is exported into `work`, an empty folder that
    also takes the loaders' caches. `data` as in `export`.

    Raises as `loader_of` and `export`, InputError for a spec without a sequence length, for a file or data that
    is not there, MixlawError where the loader itself refuses the file.
    """
    target = target_named(to)
    loader = loader_of(target)
    if spec.sequence_length is None:
        raise InputError("sequence_length: is missing, so there are no windows to draw", "Add it to the spec")
    if data is not None and target.data == STORE:
        raise InputError(
            f"data: {target.name} reads the token files as they are",
            "Leave data (--data) out; the spec's data_root (--data-root) says where they are",
        )
    exported = export(spec, to, work / target.filename, unit=unit, data=data)
    files = _files(exported, work, file, target)
    if file is None or data is not None:
        _require_data(exported, target)
    if file is not None:
        for path in files:
            _require_target(path, target)
    stages = []
    for number, (stage, path, rendered) in enumerate(
        zip(exported.plan.stages, files, exported.files, strict=True)
    ):
        if on_progress:
            on_progress(number, len(files))
        scratch = work / f"loader-{number}"
        scratch.mkdir()
        most = min(items, items_of(spec, stage, exported.plan.unit) or items)
        request = DrawRequest(path, rendered.settings, spec, stage, exported.plan.unit, most, scratch)
        drawn = _draw(loader, request)
        _require_length(drawn, request)
        stages.append(StageCheck(stage.number, drawn.items, _lines(drawn, request, target, loader)))
    if on_progress:
        on_progress(len(files), len(files))
    version = importlib.metadata.version(loader.package)
    return Check(target.name, f"{loader.package} {version}", exported.plan.unit, target.random, tuple(stages))


def _draw(loader: Loader, request: DrawRequest) -> Draws:
    """Items that the loader draws. Raises MixlawError, naming file and loader, where the loader fails."""
    try:
        return loader.draw(request)
    except (MixlawError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or "no reason given"
        raise MixlawError(
            f"{request.file}: {loader.package} refuses it ({type(error).__name__}: {reason})",
            "Export it (and its data) again; --debug shows where it failed",
        ) from error


def _files(exported: Export, work: Path, file: Path | None, target: Target) -> list[Path]:
    exports = [rendered.path for rendered in exported.files if rendered.path is not None]
    assert len(exports) == len(exported.files)
    if file is None:
        return exports
    first = file / target.filename if file.is_dir() else file
    if len(exports) == 1:
        paths = [first]
    else:
        paths = [first.with_name(f"{first.stem}.stage-{n + 1}{first.suffix}") for n in range(len(exports))]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} does not exist", "Give the file that `mixlaw export --out` wrote")
    return paths


def _require_target(file: Path, target: Target) -> None:
    """InputError for a file that is not the target's, or that names data (not token files) that is not here."""
    if target.read is None:
        return
    try:
        reading = target.read(file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text", f"Give a file of {target.name}") from None
    except InputError as error:
        raise InputError(
            f"{file}: is not a file of {target.name} ({error.message})",
            f"Give the file that `mixlaw export --to {target.name} --out` wrote",
        ) from None
    if target.data == STORE:
        # A missing token file is the loader's to refuse.
        return
    for path in dict.fromkeys(path for stage in reading.stages for e in stage.entries for path in e.paths):
        if not (glob.glob(path) or os.path.exists(path) or os.path.exists(f"{path}.idx")):
            raise InputError(
                f"{file}: {path} does not exist",
                f"Write it: mixlaw export SPEC --to {target.name} --data DIR --out FILE",
            )


def _require_data(exported: Export, target: Target) -> None:
    for data in exported.data:
        if not Path(data.folder).is_dir() or not any(Path(data.folder).iterdir()):
            raise InputError(
                f"{data.folder}: there is no {target.data} data of {data.domain}",
                f"Write it: mixlaw export SPEC --to {target.name} --data DIR, and give the same data here (--data)",
            )


def _require_length(drawn: Draws, request: DrawRequest) -> None:
    """Shares of windows of another length may be right, and the run is not."""
    other_lengths = drawn.tokens_n[drawn.tokens_n != request.length]
    if request.unit == "window" and len(other_lengths):
        raise MixlawError(
            f"{request.file}: windows of {other_lengths[0]} tokens are drawn, not of the spec's sequence_length "
            f"{request.length}",
            "Give the spec that the file and its data were exported from, or export them again into another folder",
        )


def _lines(drawn: Draws, request: DrawRequest, target: Target, loader: Loader) -> tuple[DomainCheck, ...]:
    shares = drawn.shares
    expected = {**request.stage.shares, **({UNKNOWN: 0.0} if shares.get(UNKNOWN) else {})}
    return tuple(
        DomainCheck(name, share, shares[name], _tolerance(name, share, drawn, request, target, loader))
        for name, share in expected.items()
    )


def _tolerance(
    name: str, share: float, drawn: Draws, request: DrawRequest, target: Target, loader: Loader
) -> float:
    count = max(1, drawn.items)
    if name == UNKNOWN:
        return 0.0
    if not target.random:
        return loader.parts(request, name) / count + SLACK
    if request.unit == "window":
        return SIGMAS * math.sqrt(share * (1 - share) / count)
    # Delta method: a document adds (its tokens, if of this domain) - share x its tokens to the error.
    of_this = drawn.domain_n == drawn.names.index(name)
    errors = (of_this - share) * drawn.tokens_n
    return float(SIGMAS * np.std(errors) * math.sqrt(count) / max(1, int(drawn.tokens_n.sum())))
