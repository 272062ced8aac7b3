"""The mix spec that SPEC names."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

from flows.settings import home
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking.mix_versions import fetch_spec
from mixing.errors import InputError, MixlawError
from mixing.spec.model import MixSpec
from mixing.spec.yaml_file import load_spec


def load_mix(spec: str, data_root: str | None = None) -> MixSpec:
    """The mix spec in a file, or of a registered mix in MLflow (`models:/NAME@champion`).

    With `data_root` its token files are those in that folder. Raises InputError for a spec that cannot be
    used, MixlawError where MLflow is not installed or does not answer.
    """
    registered = spec.startswith("models:/")
    mix = _registered(spec) if registered else load_spec(Path(spec))
    if data_root is None:
        return _with_files_found(mix, None if registered else Path(spec).absolute().parent)
    try:
        return mix.with_data_root(data_root)
    except InputError as error:
        raise InputError(error.message.replace("data_root", "--data-root", 1), error.hint) from None


def _with_files_found(mix: MixSpec, folder: Path | None) -> MixSpec:
    """The spec with its token files where they are now: in its own folder, or in that of its study in this home.

    A home may have been moved or copied since the spec was written; a line on stderr says so.
    """
    if mix.data_root is None:
        return mix
    study = mix.provenance.study
    for place in (folder, home.home() / study if study else None):
        if place is None or not _has_files(mix, place):
            continue
        if place.as_posix() != mix.data_root:
            print(f"note: the token files are read in {place}, not in {mix.data_root}", file=sys.stderr)
        return mix.with_data_root(place.as_posix())
    return mix


def note_missing_files(mix: MixSpec) -> None:
    """Say on stderr where the token files that the spec names are not on this machine."""
    named = any(domain.shards for domain in mix.domains.values())
    if named and mix.data_root is not None and not _has_files(mix, Path(mix.data_root)):
        print(
            f"note: token files of the spec are not in {mix.data_root} on this machine; --data-root DIR says where",
            file=sys.stderr,
        )


def _has_files(mix: MixSpec, folder: Path) -> bool:
    prefixes = [shard.prefix for domain in mix.domains.values() for shard in domain.shards]
    return bool(prefixes) and all((folder / f"{prefix}.bin").is_file() for prefix in prefixes)


def _registered(address: str) -> MixSpec:
    if importlib.util.find_spec("mlflow") is None:
        raise MixlawError(
            f"{address}: MLflow is not installed in this environment",
            "Give the mixspec.yaml: it is an artifact of the chosen mix",
        )
    root = home.home()
    set_defaults(root)
    with tempfile.TemporaryDirectory() as folder:
        return load_spec(fetch_spec(address, tracking_uri(root), Path(folder)))
