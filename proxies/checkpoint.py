"""Weights and resume points on disk: `torch.save` files that are read with `weights_only`, and checked."""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixing.atomic import replace_files
from mixing.errors import InputError
from mixing.versions import RUNS as VERSION
from proxies.runs.store import file_sha256
from proxies.spec import ProxySpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A base model: its weights and what they fit."""

    run: str
    depth: int
    vocab_size: int
    context: int
    tokenizer_hash: str
    model: dict[str, Tensor]


def weights_bytes(spec: ProxySpec, model: dict[str, Tensor], tokenizer_hash: str) -> bytes:
    """What `weights.pt` of a base run holds."""
    record = {
        "version": VERSION,
        "run": spec.run_id,
        "depth": spec.depth,
        "vocab_size": spec.vocab_size,
        "context": spec.context,
        "tokenizer_hash": tokenizer_hash,
        "model": {name: tensor.cpu() for name, tensor in model.items()},
    }
    return _saved(record)


def read_weights(path: Path, spec: ProxySpec, tokenizer_hash: str) -> Weights:
    """The base weights of a run, checked to be the ones it names and to fit its model and tokenizer.

    Raises InputError, naming the file, for anything else.
    """
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        if record.pop("version") != VERSION:
            raise ValueError("of another version")
        weights = Weights(**record)
    except Exception as error:  # torch raises a dozen kinds for a file that isn't one of its own
        raise InputError(f"{path}: not the weights of a base run ({error})", "Give its weights.pt") from error
    for name, ours, theirs in (
        ("depth", spec.depth, weights.depth),
        ("vocabulary", spec.vocab_size, weights.vocab_size),
        ("tokenizer", tokenizer_hash, weights.tokenizer_hash),
    ):
        if ours != theirs:
            raise InputError(
                f"{path}: these base weights have {name} {theirs}, the study {ours}",
                "Take model.depth and the tokenizer of the study that trained them, or train a base here",
            )
    if spec.context > weights.context:
        raise InputError(
            f"{path}: trained on windows of {weights.context} tokens, the study's are {spec.context}",
            "Shorten model.context",
        )
    identity = file_sha256(path) if spec.adopted else weights.run
    if identity != spec.base:
        raise InputError(
            f"{path}: not the base {spec.base} that the run names", "Give the weights of that base"
        )
    return weights


def save_checkpoint(path: Path, spec: ProxySpec, content: dict[str, Any]) -> None:
    """Replace the resume point. `content` holds tensors, numbers, text, lists and dicts only."""
    record = {"version": VERSION, "run": spec.run_id, "content": content, "digest": _digest(content)}
    replace_files({path: _saved(record)})


def load_checkpoint(path: Path, spec: ProxySpec) -> dict[str, Any] | None:
    """The resume point of a run; None, with a warning, where it is unusable: the run then starts afresh."""
    if not path.exists():
        return None
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        content: dict[str, Any] = record["content"]
        if record["version"] != VERSION or record["run"] != spec.run_id:
            raise ValueError("another run's")
        if record["digest"] != _digest(content):
            raise ValueError("altered")
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("%s: unusable, the run starts from scratch (%s)", path, reason)
        return None
    return content


def _saved(record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(record, buffer)
    return buffer.getvalue()


def _digest(content: Any) -> str:
    """sha256 over all tensors and the rest: a zip file can be read although a bit of it flipped."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            digest.update(f"[{len(value)}]".encode())
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(content)
    return digest.hexdigest()
