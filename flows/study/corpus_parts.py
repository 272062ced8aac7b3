"""The parts of a study file that name corpora: domains, and validation sets of one's own. See `flows.study.parts`."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from flows.study.parts import Paths, StudyPart, Tokens, several
from mixing.corpora.encodings import encoding_name
from mixing.corpora.kinds import Format
from mixing.corpora.left_out import MAX_SHARE
from mixing.errors import InputError

Encodings = Annotated[
    tuple[str, ...],
    BeforeValidator(several, json_schema_input_type=str | tuple[str, ...]),
    Field(min_length=1),
]
"""An encoding of text, or several in the order in which they are tried."""


class RolePart(StudyPart):
    """What a domain is to the base model."""

    role: Literal["general", "target"] = Field(
        description="general: what the base model knows and must not forget (replay); target: the new domain."
    )


class CorpusPart(StudyPart):
    """A named source of text or of token ids, and how it is read."""

    paths: Paths = Field(
        default=(),
        description="Folders, files or globs: .jsonl, .json, .parquet, .csv, .arrow or text files, plain or "
        ".gz .bz2 .xz .zst. A text file is one document; beside records, text files are left out. Required unless "
        "`tokens` is given.",
    )
    format: Format | None = Field(
        default=None,
        description="How the files are read. jsonl, json, parquet, csv and arrow are records, text is one document a "
        "file. Default: as each file's content says.",
    )
    text_field: str = Field(
        default="text", description="Field that holds the text of a record; `a.b` is field b in field a."
    )
    encoding: Encodings = Field(
        default=("utf-8",),
        description="Encoding of the text: utf-8, latin-1, cp1252, utf-16, ... Several are tried in their order, "
        "document by document.",
    )
    max_left_out: float = Field(
        default=MAX_SHARE,
        ge=0,
        le=1,
        description="Part of this corpus that may be left out because it cannot be read; more is an error. Above 0.1 % "
        "every command warns.",
    )
    tokens: Paths = Field(
        default=(),
        description="Instead of `paths`, files of token ids: megatron://PREFIX (a .bin with its .idx) or "
        "olmo://FILE.npy (raw ids). Several, and globs, are accepted.",
    )
    token_dtype: Literal["uint8", "uint16", "uint32", "uint64"] | None = Field(
        default=None,
        description="Integer type of olmo:// files, which do not record it.",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encodings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(encoding_name(name) for name in value)
        except InputError as error:
            raise ValueError(str(error).rstrip(".")) from None

    @model_validator(mode="after")
    def _text_or_ids(self) -> Self:
        if bool(self.paths) == bool(self.tokens):
            raise ValueError("give either paths (text) or tokens (ids: megatron://PREFIX, olmo://FILE.npy)")
        kinds = {self.token_kind(address) for address in self.tokens}
        if len(kinds) > 1:
            raise ValueError("tokens are of one kind: all megatron:// or all olmo://")
        if kinds == {"olmo"} and self.token_dtype is None:
            raise ValueError("olmo:// files do not say their type: add token_dtype (uint16, uint32, ...)")
        if kinds != {"olmo"} and self.token_dtype is not None:
            raise ValueError("token_dtype is for olmo:// files only")
        return self

    @staticmethod
    def token_kind(address: str) -> Literal["megatron", "olmo"]:
        """The layout that an address of token files names. Raises ValueError for any other address."""
        scheme, _, path = address.partition("://")
        if path and scheme == "megatron":
            return "megatron"
        if path and scheme == "olmo":
            return "olmo"
        raise ValueError(f"{address!r} is neither megatron://PREFIX nor olmo://FILE.npy")


class SplitPart(StudyPart):
    """Buckets of one field: `values` or `edges`."""

    field: str = Field(
        description="Field of the records, such as language or quality; `a.b` is field b in field a."
    )
    values: tuple[str, ...] = Field(
        default=(), description="Values of the field, a bucket each. Records with another value are left out."
    )
    edges: tuple[float, ...] = Field(
        default=(),
        description="Ascending numbers between the buckets of a field of numbers, or of counts of duplicates: one "
        "bucket more than edges.",
    )
    bucket: int | None = Field(
        default=None,
        ge=1,
        description="Only this bucket, 1 for the first. Default: each is a domain of its own, called DOMAIN-VALUE, or "
        "DOMAIN-1, DOMAIN-2, ... by edges.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> SplitPart:
        if bool(self.values) == bool(self.edges):
            raise ValueError("give either values: [...] or edges: [...] of the field")
        if len(set(self.values)) < len(self.values) or any(
            high <= low for low, high in itertools.pairwise(self.edges)
        ):
            raise ValueError("values are different, and edges ascend")
        if self.bucket is not None and self.bucket > (len(self.values) or len(self.edges) + 1):
            raise ValueError(f"there is no bucket {self.bucket}")
        return self


class DomainPart(CorpusPart, RolePart):
    """A named source of text or of token ids that is trained on."""

    sample: Tokens | None = Field(
        default=None,
        description="Read about so many tokens of a larger corpus. Chosen by hashes, so that a larger sample holds a "
        "smaller one; the rest is estimated. Default: what the runs can use, of a corpus above 1 GB.",
    )
    supply: Tokens | None = Field(
        default=None,
        description="Training tokens that the real corpus has, where only a part of it is here. Caps on repetition, "
        "epochs and natural shares are then those of the real corpus. Default: what is here, or what a sample tells.",
    )
    split_by: SplitPart | None = Field(
        default=None,
        description="Cut this source into domains of their own, by a field of its records.",
    )
    max_epochs: float = Field(
        default=4.0,
        gt=0,
        description="How often this text may be repeated. Proxies, the decision and the exports keep to it.",
    )
    weight: float | None = Field(
        default=None,
        gt=0,
        description="Share within its role, where a role has several domains. The weights of a role are "
        "normalised; give one to all of its domains or to none. Default: in proportion to their tokens.",
    )

    @model_validator(mode="after")
    def _split_records(self) -> Self:
        if self.split_by is not None and (self.tokens or self.format == "text"):
            raise ValueError("split_by: only records have fields, and neither ids nor text files")
        return self


class EvalPart(CorpusPart):
    """A validation set of one's own."""
