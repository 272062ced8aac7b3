"""All export targets, by name, and what follows from them: the loaders and the data formats."""

from __future__ import annotations

from mixing.errors import InputError
from mixing.export.axolotl import AXOLOTL
from mixing.export.data_format import DataFormat
from mixing.export.datatrove import DATATROVE
from mixing.export.energon import ENERGON
from mixing.export.gpt_neox import GPT_NEOX
from mixing.export.huggingface import HUGGINGFACE
from mixing.export.levanter import LEVANTER
from mixing.export.lingua import LINGUA
from mixing.export.litdata import LITDATA
from mixing.export.llama_factory import LLAMA_FACTORY
from mixing.export.loader import Loader
from mixing.export.maxtext import MAXTEXT
from mixing.export.megatron import MEGATRON
from mixing.export.nanotron import NANOTRON
from mixing.export.olmo_core import OLMO_CORE
from mixing.export.streaming import STREAMING
from mixing.export.target import Target
from mixing.export.torchtitan import TORCHTITAN

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        MEGATRON,
        OLMO_CORE,
        HUGGINGFACE,
        MAXTEXT,
        LITDATA,
        STREAMING,
        NANOTRON,
        LEVANTER,
        GPT_NEOX,
        TORCHTITAN,
        LINGUA,
        LLAMA_FACTORY,
        ENERGON,
        AXOLOTL,
        DATATROVE,
    )
}
"""In the order of `mixlaw export --list`."""

LOADERS: dict[str, Loader] = {
    target.name: target.loader for target in TARGETS.values() if target.loader is not None
}
"""Trainers' own loaders that run without the trainer, by target."""

FORMATS: dict[str, DataFormat] = {
    target.data.name: target.data for target in TARGETS.values() if target.data.writer is not None
}
"""Data formats that Mixlaw writes."""


def target_named(name: str) -> Target:
    """The target of that name or alias. Raises InputError, listing the targets, where there is none."""
    for target in TARGETS.values():
        if name == target.name or name in target.aliases:
            return target
    raise InputError(f"{name!r} is not an export target", f"Targets: {', '.join(TARGETS)}")
