"""The keys of a study file with their descriptions, from which template, documentation and schema are written."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Key:
    """One key: its description, and the model of what stands below it (None for a plain value)."""

    name: str
    description: str
    default: Any
    required: bool
    below: type[BaseModel] | None
    named: bool
    """Whether names of the user's own stand between the key and the model, as in domains.<name>."""

    @property
    def summary(self) -> str:
        """The description's first sentence, without its full stop."""
        return first_sentence(self.description).rstrip(".")


def keys_of(model: type[BaseModel]) -> Iterator[Key]:
    """The keys of one part of a study file, in the model's order."""
    for name, field in model.model_fields.items():
        below = next(models_in(field.annotation), None)
        yield Key(
            name,
            field.description or _docstring(below),
            field.default,
            field.is_required(),
            below,
            _is_mapping(field),
        )


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models in a type annotation, such as DomainPart in dict[str, DomainPart]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from models_in(inner)


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a word: `.jsonl` and `a.b` hold none."""
    match = re.match(r".*?\.(?=\s|$)", text, re.DOTALL)
    return match[0] if match else text


def _docstring(model: type[BaseModel] | None) -> str:
    assert model is not None, "a key without a model needs a description"
    return " ".join((inspect.getdoc(model) or "").split())


def _is_mapping(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is dict
