"""Mix specs as YAML files: reading, with errors that name file and field, and writing."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from mixing.atomic import replace_files
from mixing.errors import InputError
from mixing.spec.model import VERSION, MixSpec
from mixing.spec.schema import check_schema
from mixing.spec.validation import first_problem
from mixing.strict_yaml import MAX_BYTES, read_yaml

HEADER = """\
# Mix spec written by mixlaw; shares are of training tokens.
# `mixlaw export THIS_FILE --to TARGET` writes a trainer's own file.
"""


def parse_spec(text: bytes, where: str) -> MixSpec:
    """A mix spec from YAML; `where` names the file in errors. Raises InputError naming file and field."""
    data = read_yaml(text, where)
    if not isinstance(data, dict) or "mixspec" not in data:
        raise InputError(
            f"{where}: mixspec: is missing, so this is not a mix spec", "Give the file `mixlaw run` wrote"
        )
    version = data["mixspec"]
    if isinstance(version, int) and version != VERSION:
        raise InputError(
            f"{where}: mixspec: version {str(version)[:20]} is unknown: this mixlaw reads {VERSION}",
            "Upgrade mixlaw (pip install --upgrade mixlaw), or write the spec again with this one",
        )
    check_schema(data, where)
    try:
        return MixSpec.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error)}", "Correct this field") from error


def load_spec(path: Path | str) -> MixSpec:
    """The mix spec in the YAML file `path`. Raises InputError, naming file and field, for anything that is not one.

    Example:
        >>> spec = load_spec("mix.yaml")
        >>> spec.stages[0].shares
        {'web': 0.7, 'code': 0.2, 'math': 0.1}
    """
    if not isinstance(path, str | Path):
        raise InputError(f"a {type(path).__name__} is no path of a mix spec", "Give the path of a mix spec")
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}", "Give the path of a mix spec"
        ) from error
    return parse_spec(text, str(path))


def dump_spec(spec: MixSpec) -> str:
    """The YAML that `save_spec` writes: fields in the model's order, after comment lines that say what it is."""
    return HEADER + yaml.safe_dump(
        spec.model_dump(mode="json"),
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
        default_flow_style=False,
    )


def save_spec(spec: MixSpec, path: Path) -> None:
    """Write the spec as YAML, atomically. Raises MixlawError where the file cannot be written."""
    replace_files({path: dump_spec(spec).encode()})
