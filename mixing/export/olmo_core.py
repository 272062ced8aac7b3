"""OLMo-core: the sources of a `SourceMixtureDatasetConfig`, by tokens and with a cap on repetition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixing.errors import InputError
from mixing.export.data_format import STORE
from mixing.export.loader import UNKNOWN, DrawRequest, Draws, Loader, shard_count
from mixing.export.planning import Plan, StagePlan
from mixing.export.rendering import (
    common_dtype,
    refuse_text,
    run_length,
    shard_paths,
)
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import parse_config, take, weight, yaml_text
from mixing.spec.components import Domain
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`SourceMixtureList`: names, token ratios that sum to 1, caps, and raw token files."""
    (stage,) = stages
    length, batch = run_length(
        spec, "OLMo-core spreads tokens beyond whole batches evenly over files, so they must be known"
    )
    sources: list[dict[str, Any]] = []
    for name, share in stage.shares.items():
        paths = shard_paths(spec, stage, name, ".bin")
        refuse_text(paths, "*", "which OLMo-core reads as a pattern")
        caps = _caps(spec.domains[name], stage, name)
        sources.append({"source_name": name, "target_ratio": share, **caps, "paths": paths})
    settings = {
        # More than whole batches would be spread evenly over the paths, against their ratios.
        "requested_tokens": stage.tokens,
        "global_batch_size": batch,
        "sequence_length": length,
        "dtype": _dtype(spec, stage),
        "seed": stage.seed,
    }
    comments = (
        "SourceMixtureList of OLMo-core. The other settings that belong to this mix:",
        *(f"{key}: {value}" for key, value in settings.items()),
    )
    start = (
        "SourceMixtureDatasetConfig(source_list=SourceMixtureList.from_yaml({file!r}), "
        f"requested_tokens={stage.tokens}, global_batch_size={batch}, seed={stage.seed})",
        f"in NumpyFSLDatasetConfig.from_src_mix(..., sequence_length={length}, "
        f"dtype=NumpyDatasetDType.{settings['dtype']})",
    )
    return RenderedFile(yaml_text({"sources": sources}, comments), start, settings)


def _caps(domain: Domain, stage: StagePlan, name: str) -> dict[str, float]:
    """OLMo-core refuses a source without `ratio x requested` tokens, cut to whole ones, under its cap."""
    ratio, fraction = max(1.0, domain.max_epochs), min(1.0, domain.max_epochs)
    size = sum(shard.tokens for shard in stage.shards[name])
    requested = int(stage.tokens * stage.shares[name])
    if int(size * fraction * ratio) < requested:
        # At the cap to the last token; a token more than the cap is rounding, not repetition.
        least = (requested + 0.5) / size
        ratio, fraction = (least, 1.0) if requested >= size else (1.0, min(1.0, least))
    caps = {"max_repetition_ratio": ratio}
    return caps if fraction == 1 else {**caps, "max_source_fraction": fraction}


def _dtype(spec: MixSpec, stage: StagePlan) -> str:
    """OLMo-core's name of the one type that all files have; left out, it would guess, beginning with uint8."""
    dtype = common_dtype(spec, stage)
    if dtype is None:
        unknown = [name for name in stage.shares if spec.domains[name].dtype is None]
        name = (unknown or list(stage.shares))[0]
        problem = "is missing, and OLMo-core would guess it" if unknown else "is not that of all domains"
        raise InputError(f"domains.{name}.dtype: {problem}", "Write uint16 or int32, as the token files are")
    # Megatron's index has no uint32; ids below 2**31 have the same bytes in both.
    return "uint32" if dtype == "int32" else dtype


def read(text: str) -> Reading:
    """Inverse of `render`; the settings that are not in the file are None.

    Reads the composable form too: `source_specs` with a ratio each, anywhere in a configuration.
    """
    data = parse_config(text) if ":" in text else {}
    specs = _source_specs(data)
    if "sources" not in data and specs:
        return _of_specs(specs)
    entries = []
    for index, source in enumerate(take(data, "sources", list)):
        name = take(source, "source_name", str)
        cap = weight(source.get("max_repetition_ratio", 1.0), f"sources.{index}.max_repetition_ratio")
        fraction = weight(source.get("max_source_fraction", 1.0), f"sources.{index}.max_source_fraction")
        entries.append(
            Entry(
                name=name,
                paths=tuple(str(path).removesuffix(".bin") for path in take(source, "paths", list)),
                weight=weight(
                    take(source, "target_ratio", (int, float, str)), f"sources.{index}.target_ratio"
                ),
                max_epochs=cap * fraction,
            )
        )
    total = sum(entry.weight for entry in entries)
    off = abs(total - 1) > SUM_TOLERANCE
    notes = (
        (f"target_ratio sums to {total:.6g}, which OLMo-core refuses; shares are normalised",) if off else ()
    )
    return Reading("window", (FileStage(0, tuple(entries)),), notes=notes)


SUM_TOLERANCE = 1e-4


def _source_specs(values: Any) -> list[Any]:
    """The first list of `source_specs` below `values`."""
    if isinstance(values, list):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return []
    if isinstance(values.get("source_specs"), list):
        return list(values["source_specs"])
    return next((found for inner in values.values() if (found := _source_specs(inner))), [])


def _of_specs(specs: list[Any]) -> Reading:
    entries = []
    for index, spec in enumerate(specs):
        cap = take(spec, "max_repetition_factor", (int, float)) if "max_repetition_factor" in spec else None
        entries.append(
            Entry(
                name=take(spec, "label", str),
                paths=(),
                weight=weight(take(spec, "ratio", (int, float, str)), f"source_specs.{index}.ratio"),
                max_epochs=cap,
            )
        )
    return Reading(
        "window", (FileStage(0, tuple(entries)),), notes=("the paths of source_specs are not read",)
    )


def draw(request: DrawRequest) -> Draws:
    """Draw every instance of the run; up to `items` of them, evenly spread, are also read."""
    dataset = dataset_of(request)
    names = request.names
    prefixes = request.prefixes()
    owners = [prefixes.get(str(path).removesuffix(".bin"), UNKNOWN) for path in dataset.paths]
    counts = [end - start for start, end in dataset.offsets]
    domain_n = np.repeat([names.index(owner) for owner in owners], counts)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(request.items, len(dataset))).astype(int)):
        instance = dataset[int(index)]["input_ids"]
        assert len(instance) == request.length
    return Draws(names, domain_n, np.full(len(domain_n), request.length, np.int64))


def dataset_of(request: DrawRequest) -> Any:
    """The dataset, prepared, with its indices in `work`."""
    from olmo_core.data import NumpyDatasetDType, NumpyFSLDatasetConfig, TokenizerConfig
    from olmo_core.data.source_mixture import SourceMixtureDatasetConfig, SourceMixtureList

    settings = request.settings
    mix = SourceMixtureDatasetConfig(
        source_list=SourceMixtureList.from_yaml(str(request.file)),
        requested_tokens=settings["requested_tokens"],
        global_batch_size=settings["global_batch_size"],
        seed=settings["seed"],
        render_tables=False,
        quiet=True,
    )
    end = request.end_of_document()
    folder = request.work / "olmo"
    folder.mkdir(exist_ok=True)
    dataset = NumpyFSLDatasetConfig.from_src_mix(
        mix,
        tokenizer=TokenizerConfig(vocab_size=1 << 31, eos_token_id=end, pad_token_id=end),
        sequence_length=request.length,
        dtype=NumpyDatasetDType(settings["dtype"]),
        work_dir=str(folder),
    ).build()
    dataset.prepare()
    return dataset


OLMO_CORE = Target(
    name="olmo-core",
    aliases=("olmo",),
    filename="olmo-core.sources.yaml",
    units=("window",),
    weighs="token ratio",
    repetition="max_repetition_ratio, enforced",
    data=STORE,
    verified="ai2-olmo-core 3.0.0",
    render=render,
    read=read,
    loader=Loader("olmo_core", "ai2-olmo-core", "ai2-olmo-core==3.0.0", draw, shard_count),
)
