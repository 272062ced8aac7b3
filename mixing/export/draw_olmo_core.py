"""OLMo-core's `SourceMixtureDatasetConfig` and `NumpyFSLDatasetConfig.from_src_mix`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixing.export.drawing import UNKNOWN, Drawn, Loader, Request, names_of, shards_read


def draw(request: Request) -> Drawn:
    """Every instance of the run, counted; up to `items` of them, evenly spread, are read."""
    dataset = dataset_of(request)
    names = names_of(request)
    prefixes = request.prefixes()
    owners = [prefixes.get(str(path).removesuffix(".bin"), UNKNOWN) for path in dataset.paths]
    counts = [end - start for start, end in dataset.offsets]
    domain_n = np.repeat([names.index(owner) for owner in owners], counts)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(request.items, len(dataset))).astype(int)):
        instance = dataset[int(index)]["input_ids"]
        assert len(instance) == request.length
    return Drawn(names, domain_n, np.full(len(domain_n), request.length, np.int64))


def dataset_of(request: Request) -> Any:
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


OLMO_CORE = Loader("olmo_core", "ai2-olmo-core", "ai2-olmo-core==3.0.0", draw, shards_read, whole=True)
