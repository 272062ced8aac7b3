"""Domains that are cut into buckets, written out as the domains that they stand for."""

from __future__ import annotations

from typing import Any

from flows.study.names import name_of
from mixing.errors import InputError


def with_buckets(document: dict[str, Any]) -> dict[str, Any]:
    """A study's document in which each bucket of a domain with `split_by` is a domain of its own.

    What is no such domain stays as it is, for the checks that follow. Raises InputError for two buckets of one name,
    and for a `supply` or a `weight` that would be each bucket's.
    """
    domains = document.get("domains")
    if not isinstance(domains, dict):
        return document
    written: dict[str, Any] = {}
    for name, part in domains.items():
        for bucket, below in _buckets(name, part):
            if bucket in written or (bucket != name and bucket in domains):
                raise InputError(
                    f"domains.{name}.split_by: two domains would be called {bucket!r}", "Rename one"
                )
            written[bucket] = below
    return {**document, "domains": written}


def _buckets(name: str, part: Any) -> list[tuple[str, Any]]:
    split = part.get("split_by") if isinstance(part, dict) else None
    if not isinstance(split, dict) or split.get("bucket") is not None:
        return [(name, part)]
    values, edges = split.get("values"), split.get("edges")
    if isinstance(values, list) and not edges:
        # YAML reads some words (no, 2024) as something else than text.
        if not all(isinstance(value, str) for value in values):
            raise InputError(
                f"domains.{name}.split_by.values: {values} are not all text", "Put them in quotes"
            )
        names = [f"{name}-{name_of(value) or number}" for number, value in enumerate(values, 1)]
    elif isinstance(edges, list) and not values:
        names = [f"{name}-{number}" for number in range(1, len(edges) + 2)]
    else:
        return [(name, part)]
    for key in ("supply", "weight"):
        if part.get(key) is not None:
            raise InputError(
                f"domains.{name}.{key} would be that of each of its buckets",
                "Write a domain for each (split_by: {..., bucket: 1}), with its own",
            )
    return [
        (bucket, {**part, "split_by": {**split, "bucket": number}}) for number, bucket in enumerate(names, 1)
    ]
