"""Levanter and Marin: `data` with caches, weights per stage, and a block size; all stages in one file."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import DataFormat
from mixing.export.planning import Plan, StagePlan
from mixing.export.rendering import (
    data_folder,
    refuse_text,
    run_length,
    steps,
)
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, weight, yaml_text
from mixing.spec.model import MixSpec
from mixing.spec.shares import stage_tokens

BLOCKS = (2048, 4096, 8192, 16384, 32768)
"""Usual blocks, Levanter's default first. Each block has the same whole number of sequences of a domain."""
MAX_BLOCK = 2**16 - 1
"""Levanter packs the place in a block into 16 bits."""
PRECISE = 0.01
"""A block is large enough where no domain is off by more than this part of its share."""


def block_counts(weights: Mapping[str, float], block: int) -> dict[str, int]:
    """Sequences of each domain in a block: cut to whole ones, what is left goes to the largest domain."""
    counts = {name: int(value * block) for name, value in weights.items()}
    largest = max(counts, key=lambda name: counts[name])
    counts[largest] += block - sum(counts.values())
    return counts


def _error(weights: Mapping[str, float], block: int) -> float:
    counts = block_counts(weights, block)
    return max(abs(counts[name] / block / value - 1) for name, value in weights.items())


def _block(
    weights: Sequence[Mapping[str, float]], starts: Sequence[int], total: int, batch: int
) -> tuple[int, int]:
    """Block size, and the number of sequences that starts of later stages are rounded to.

    Starts stay where they are if a block that divides them all is precise; else they are moved, where the stages
    are long enough; else the least imprecise block is taken. All arguments are in sequences.
    """
    errors = functools.cache(lambda size: max(_error(stage, size) for stage in weights))
    common = math.gcd(*starts)
    fitting = _divisors(common) if common else list(BLOCKS)
    for size in sorted(fitting, key=lambda size: (size < BLOCKS[0], abs(size - BLOCKS[0]))):
        if errors(size) <= PRECISE:
            return size, 1
    for size in BLOCKS:
        multiple = math.lcm(size, batch)
        moved = [0, *((start + multiple // 2) // multiple * multiple for start in starts), total]
        if common and errors(size) <= PRECISE and all(first < last for first, last in pairwise(moved)):
            return size, multiple
    return min(reversed(fitting), key=errors), 1


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, min(number, MAX_BLOCK) + 1) if number % size == 0]


def _readable(weights: Mapping[str, float], sequences: float) -> dict[str, float]:
    """Without domains that no block can hold, if they are less than one sequence of the stage anyway."""
    least = 1 / BLOCKS[-1]
    return {name: value for name, value in weights.items() if value >= least or value * sequences >= 1}


def align(spec: MixSpec) -> int:
    """Tokens that starts of later stages must be multiples of. InputError without a batch and a length."""
    if len(spec.stages) == 1:
        return 1
    length, batch = run_length(spec, "Levanter's stages start at steps")
    starts = [(stage.from_token + batch // 2) // batch * batch for stage in spec.stages[1:]]
    weights = [
        _readable({name: share for name, share in stage.shares.items() if share > 0}, tokens / length)
        for stage, tokens in zip(spec.stages, stage_tokens(spec.stages, spec.total_tokens), strict=True)
    ]
    _, multiple = _block(
        weights,
        [max(start, batch) // length for start in starts],
        spec.total_tokens // length,
        batch // length,
    )
    return multiple * length


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`configs` (a cache per domain), `train_weights` (a mapping, or [step, mapping] per stage), block size."""
    length, batch = spec.sequence_length or 1, spec.global_batch_tokens or 1
    caches: dict[str, dict[str, str]] = {}
    mixes = [_readable(stage.weights, stage.tokens / length) for stage in stages]
    for stage, mix in zip(stages, mixes, strict=True):
        for name in mix:
            caches.setdefault(name, {"cache_dir": data_folder(stage, name)})
    refuse_text([cache["cache_dir"] for cache in caches.values()], "${", "which is filled in", caches)
    starts = [stage.first_token // length for stage in stages[1:]]
    block, _ = _block(mixes, starts, plan.tokens // length, batch // length or 1)
    notes = [note for stage, mix in zip(stages, mixes, strict=True) for note in _coarse(stage, mix, block)]
    data: dict[str, Any] = {
        "configs": caches,
        "train_weights": mixes[0]
        if len(stages) == 1
        else [[stage.first_token // batch, mix] for stage, mix in zip(stages, mixes, strict=True)],
        "mixture_block_size": block,
        "shuffle": True,
    }
    trainer: dict[str, Any] = {"seed": stages[0].seed}
    if spec.sequence_length and spec.global_batch_tokens:
        trainer |= {"train_batch_size": batch // length, "num_train_steps": steps(spec, plan.tokens)}
    flags = " ".join(f"--trainer.{key} {value}" for key, value in trainer.items())
    return RenderedFile(
        yaml_text({"data": data}),
        (f"python -m levanter.main.train_lm --config_path CONFIG.yaml {flags}, with data from {{file}}",),
        {**trainer, "mixture_block_size": block},
        tuple(notes),
    )


def _coarse(stage: StagePlan, weights: Mapping[str, float], block: int) -> list[str]:
    counts = block_counts(weights, block)
    for name, value in weights.items():
        if not counts[name]:
            raise InputError(
                f"domains.{name}.share: {value:.3g} is less than one sequence in a block of {block}, "
                "so Levanter would never read it",
                f"Give it at least {1 / block:.2g}, or 0",
            )
    dropped = [name for name in stage.weights if name not in weights]
    return [
        f"{name}: left out of stage {stage.number}, where Levanter would never read it" for name in dropped
    ] + [
        f"{name}: Levanter reads {counts[name] / block:.5g} instead of {value:.5g} in stage {stage.number}, "
        f"whole sequences in blocks of {block}"
        for name, value in weights.items()
        if abs(counts[name] / block / value - 1) > PRECISE
    ]


def read(text: str) -> Reading:
    """Inverse of `render`; reads Levanter's own configurations too, whole or their `data` alone.

    Caches are entries' paths.
    """
    config = parse_config(text)
    data = take(config, "data", dict) if "data" in config or "configs" not in config else config
    configs = take(data, "components" if "components" in data else "configs", dict)
    weights = take(data, "train_weights", (dict, list))
    stages = []
    for index, stage in enumerate([[0, weights]] if isinstance(weights, dict) else weights):
        if not isinstance(stage, list) or len(stage) != 2 or not isinstance(stage[1], dict):
            raise InputError(f"data.train_weights.{index}: is not [step, weights]")
        unknown = [name for name in stage[1] if name not in configs]
        if unknown:
            raise InputError(
                f"data.train_weights: {unknown[0]!r} is none of data.configs",
                "Correct the name, as Levanter wants it",
            )
        entries = tuple(
            Entry(name, _caches(data, configs, name), weight(value, f"data.train_weights.{index}.{name}"))
            for name, value in stage[1].items()
        )
        stages.append(FileStage(count({"step": stage[0]}, "step", 0) or 0, entries))
    weighed = {entry.name for stage in stages for entry in stage.entries}
    unused = [name for name in configs if name not in weighed]
    length, batch, steps_in_all = _run(config)
    return Reading(
        "window",
        tuple(stages),
        total_tokens=batch * steps_in_all if batch and steps_in_all else None,
        sequence_length=length,
        global_batch_tokens=batch,
        notes=(f"without a weight, so not trained on: {', '.join(unused)}",) if unused else (),
    )


def _caches(data: Mapping[str, Any], configs: Mapping[str, Any], name: str) -> tuple[str, ...]:
    config = configs.get(name)
    if isinstance(config, dict) and "cache_dir" in config:
        return (str(config["cache_dir"]),)
    return (f"{str(data['cache_dir']).rstrip('/')}/{name}",) if data.get("cache_dir") else ()


def _run(config: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """Tokens of a sequence and of a batch, and the steps of the run, as far as the configuration says them."""
    trainer, model = config.get("trainer"), config.get("model")
    lengths = [count(config, "train_seq_len")]
    if isinstance(model, dict):
        lengths += [count(model, key) for key in ("max_seq_len", "seq_len")]
    length = next((value for value in lengths if value), None)
    if not isinstance(trainer, dict):
        return length, None, None
    # Schedules of batch sizes are lists; only one size for the whole run is a batch of the mix spec.
    size = trainer.get("train_batch_size")
    batch = count(trainer, "train_batch_size") if isinstance(size, int) else None
    return length, length * batch if length and batch else None, count(trainer, "num_train_steps")


LEVANTER = Target(
    name="levanter",
    aliases=("marin",),
    filename="levanter_data.yaml",
    units=("window",),
    weighs="packed sequence, per block",
    repetition="none: restarts silently",
    data=DataFormat("levanter"),
    staged=True,
    align=align,
    render=render,
    read=read,
)
