"""Checks of a mix spec that a JSON Schema cannot express: sums, stages, paths, and counts that must agree."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import NoReturn

from pydantic import ValidationError

from mixing.spec.components import Domain, Stage
from mixing.spec.shares import mean_shares

SHARE_TOLERANCE = 1e-6
"""Sums of shares may be off by this much (hand-written specs are rounded)."""
AGREEMENT = 1e-4
"""Relative difference allowed between two ways of writing the same count."""


def check_consistency(
    *,
    domains: Mapping[str, Domain],
    stages: Sequence[Stage],
    total_tokens: int,
    sequence_length: int | None,
    global_batch_tokens: int | None,
    data_root: str | None,
) -> None:
    """Raise ValueError, "field: what is wrong", for the first fields of a mix spec that do not agree."""
    _check_root(data_root)
    _check_names(domains)
    _check_stages(stages, domains, total_tokens)
    _check_shares(domains, stages, total_tokens)
    _check_counts(domains, total_tokens)
    _check_owners(domains)
    _check_batches(sequence_length, global_batch_tokens, total_tokens)


def _fail(field: str, message: str) -> NoReturn:
    # The loader puts the file's name before it: "mixspec.yaml: domains.web.share: ...".
    raise ValueError(f"{field}: {message}")


def _check_root(root: str | None) -> None:
    if root is None:
        return
    if not (PurePosixPath(root).is_absolute() or PureWindowsPath(root).is_absolute()):
        _fail("data_root", f"{root!r} is not an absolute path")
    if not _is_plain(root):
        _fail("data_root", "has a control character")


def _check_names(domains: Mapping[str, Domain]) -> None:
    for name, domain in domains.items():
        if not name.strip() or name != name.strip() or len(name) > 200 or not _is_plain(name):
            _fail(
                "domains",
                f"{name[:40]!r} is not a name: 1-200 characters, no control character or outer blank",
            )
        for field, shards in (("shards", domain.shards), ("heldout_shards", domain.heldout_shards)):
            for index, shard in enumerate(shards):
                fault = _prefix_fault(shard.prefix)
                if fault:
                    _fail(f"domains.{name}.{field}.{index}.prefix", f"{shard.prefix[:80]!r} {fault}")


def _is_plain(text: str) -> bool:
    """Whether `text` has no control character, line separator or lone surrogate."""
    return not any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in text)


def _prefix_fault(prefix: str) -> str | None:
    if "\\" in prefix:
        return "has a backslash: write forward slashes"
    if prefix.startswith("/") or PureWindowsPath(prefix).drive:
        return "is absolute: shards are relative to data_root"
    parts = prefix.split("/")
    if ".." in parts:
        return "leaves data_root"
    if not prefix or "" in parts or "." in parts:
        return "is not a plain relative path"
    # Megatron strips blanks from both ends of a prefix and would then look for another file.
    if prefix != prefix.strip() or not _is_plain(prefix):
        return "has a control character or an outer blank"
    if prefix.endswith((".bin", ".idx")):
        return "has an extension: write the path without .bin or .idx"
    return None


def _check_stages(stages: Sequence[Stage], domains: Mapping[str, Domain], total_tokens: int) -> None:
    if stages[0].from_token != 0:
        _fail("stages.0.from_token", f"is {stages[0].from_token}: the first stage starts at 0")
    for index, stage in enumerate(stages):
        where = f"stages.{index}"
        if index and stage.from_token <= stages[index - 1].from_token:
            _fail(f"{where}.from_token", "does not increase: order the stages by their first token")
        if stage.from_token >= total_tokens:
            _fail(f"{where}.from_token", f"is not below total_tokens ({total_tokens})")
        for name in stage.shares:
            if name not in domains:
                _fail(f"{where}.shares.{name}", "is not one of the domains")
        total = math.fsum(stage.shares.values())
        if abs(total - 1) > SHARE_TOLERANCE:
            _fail(f"{where}.shares", f"sum to {total:.8g}, not 1")


def _check_shares(domains: Mapping[str, Domain], stages: Sequence[Stage], total_tokens: int) -> None:
    total = math.fsum(domain.share for domain in domains.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        _fail("domains", f"shares sum to {total:.8g}, not 1")
    for name, average in mean_shares(stages, total_tokens, domains).items():
        share = domains[name].share
        if abs(share - average) > SHARE_TOLERANCE:
            _fail(f"domains.{name}.share", f"is {share:.8g}, but the stages average to {average:.8g}")


def _check_counts(domains: Mapping[str, Domain], total_tokens: int) -> None:
    for name, domain in domains.items():
        where = f"domains.{name}"
        if domain.epochs is not None:
            if domain.tokens is None:
                _fail(f"{where}.epochs", "is given without tokens: give both, or neither")
            epochs = domain.share * total_tokens / domain.tokens
            if not math.isclose(domain.epochs, epochs, rel_tol=AGREEMENT, abs_tol=SHARE_TOLERANCE):
                _fail(
                    f"{where}.epochs",
                    f"is {domain.epochs:.8g}, but share x total_tokens / tokens is {epochs:.8g}",
                )
        if domain.mean_tokens_per_document is not None and domain.tokens and domain.documents:
            mean = domain.tokens / domain.documents
            if not math.isclose(domain.mean_tokens_per_document, mean, rel_tol=AGREEMENT):
                _fail(
                    f"{where}.mean_tokens_per_document",
                    f"is {domain.mean_tokens_per_document:.8g}, but tokens / documents is {mean:.8g}",
                )
        in_shards = sum(shard.tokens for shard in domain.shards)
        if domain.shards and in_shards != domain.tokens:
            _fail(f"{where}.shards", f"hold {in_shards} tokens, but the domain's tokens are {domain.tokens}")


def _check_owners(domains: Mapping[str, Domain]) -> None:
    """Every shard belongs to one domain and one split, and all domains were tokenised alike."""
    tokenizers: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name, domain in domains.items():
        for shard in (*domain.shards, *domain.heldout_shards):
            # A shard of two domains, or of both splits, is trained on and tested on.
            if shard.prefix in owners:
                _fail(
                    f"domains.{name}.shards",
                    f"{shard.prefix!r} is already a shard of {owners[shard.prefix]!r}",
                )
            owners[shard.prefix] = name
        if domain.tokenizer_hash is not None:
            tokenizers.setdefault(domain.tokenizer_hash, name)
    if len(tokenizers) > 1:
        first, second, *_ = tokenizers.values()
        _fail(
            f"domains.{second}.tokenizer_hash", f"is not that of {first!r}: token shares need one tokenizer"
        )


def _check_batches(length: int | None, batch: int | None, total_tokens: int) -> None:
    if length and batch and batch % length:
        _fail("global_batch_tokens", f"{batch} is not a multiple of sequence_length {length}")
    for field, size in (("sequence_length", length), ("global_batch_tokens", batch)):
        if size and size > total_tokens:
            _fail("total_tokens", f"{total_tokens} is less than {field} {size}")


def dotted(path: Iterable[str | int]) -> str:
    """`domains.web.share`; the file itself is `(top level)`."""
    return ".".join(str(step) for step in path) or "(top level)"


def first_problem(error: ValidationError) -> str:
    """One line for the first thing wrong: field, then what is wrong with it."""
    first, *others = error.errors(include_url=False)
    message = first["msg"].removeprefix("Value error, ")
    line = f"{dotted(first['loc'])}: {message}" if first["loc"] else message
    return line if not others else f"{line} (and {len(others)} more)"
