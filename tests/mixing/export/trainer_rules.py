"""The trainers' own rules, written from their sources and not from our renderers.

Each checker takes a file's text and returns, per stage, what a trainer would draw: items by name or path. It
asserts whatever the trainer itself would refuse, or accept and then do something else.
"""

from __future__ import annotations

import ast
import fnmatch
import glob
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import yaml

Drawn = dict[str, float]
"""Parts of the items drawn, by domain, folder or prefix; they sum to 1."""


@dataclass(frozen=True)
class Promise:
    """What a file makes a trainer draw in one stage, from which optimiser step on, and how exactly."""

    drawn: Drawn
    step: int = 0
    slack: float = 1e-9


def normalised(weights: Mapping[str, float]) -> Drawn:
    assert weights
    assert all(weight > 0 and math.isfinite(weight) for weight in weights.values()), "a weight of 0"
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def megatron(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    splits = json.loads(text)
    # common_utils.py: all three keys, each null, a string or a list.
    assert set(splits) == {"train", "valid", "test"}
    assert settings["seed"] > 0, "Seed (0) should be a positive integer"
    for split in ("train", "valid"):
        words = splits[split]
        if words is None:
            assert split == "valid"
            continue
        assert len(words) % 2 == 0
        assert all(isinstance(word, str) for word in words)
        weights = [float(word) for word in words[::2]]
        paths = words[1::2]
        # get_blend_from_list strips; blended_dataset.py asserts positive weights, and counts datasets in int16.
        assert all(path == path.strip() for path in paths)
        assert all(weight > 0 for weight in weights)
        assert 0 < len(paths) < 32767
        assert len(set(paths)) == len(paths)
    train = splits["train"]
    return [Promise(normalised(dict(zip(train[1::2], map(float, train[::2]), strict=True))))]


def olmo_core(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    sources = yaml.safe_load(text)["sources"]
    requested, batch = settings["requested_tokens"], settings["global_batch_size"]
    # source_mixture.py: instances above whole batches are spread evenly over paths.
    assert requested > 0
    assert requested % batch == 0
    assert batch % settings["sequence_length"] == 0
    assert settings["dtype"] in {"uint16", "uint32"}, "guessed from the vocabulary: uint8"
    for key, value in settings.items():
        assert f"# {key}: {value}\n" in text
    for source in sources:
        assert set(source) <= {
            "source_name",
            "target_ratio",
            "max_repetition_ratio",
            "max_source_fraction",
            "paths",
        }
        assert 0 < source["target_ratio"] <= 1
        assert source["max_repetition_ratio"] >= 1
        assert 0 < source.get("max_source_fraction", 1.0) <= 1
        assert source["paths"]
        assert not any("*" in path for path in source["paths"])
    assert np.allclose(sum(source["target_ratio"] for source in sources), 1.0)
    assert len({source["source_name"] for source in sources}) == len(sources)
    return [Promise(normalised({source["source_name"]: source["target_ratio"] for source in sources}))]


def olmo_core_has_enough(text: str, settings: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """`sizes` are tokens of the paths. OLMo-core raises "Insufficient tokens for source" otherwise."""
    for source in yaml.safe_load(text)["sources"]:
        population = sum(sizes[path.removesuffix(".bin")] for path in source["paths"])
        most = int((population * source.get("max_source_fraction", 1.0)) * source["max_repetition_ratio"])
        assert int(settings["requested_tokens"] * source["target_ratio"]) <= most


def huggingface(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    arguments = json.loads(text)
    probabilities = arguments["probabilities"]
    assert len(probabilities) == len(arguments["datasets"]) == len(set(arguments["datasets"]))
    # numpy's choice, which datasets calls, raises for sums off by more than this.
    assert abs(sum(probabilities) - 1) < 1e-8
    np.random.default_rng(0).choice(len(probabilities), size=2, p=probabilities)
    # first_exhausted ends with the smallest; all_exhausted_without_replacement forgets the weights.
    assert arguments["stopping_strategy"] == "all_exhausted"
    assert arguments["row_unit"] in {"packed_sequence", "document"}
    assert all(passes >= 1 for passes in arguments.get("passes", []))
    return [Promise(normalised(dict(zip(arguments["datasets"], probabilities, strict=True))))]


def maxtext(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    mix = json.loads(text)
    weights = {name: entry["weight"] for name, entry in mix.items()}
    assert 0 not in weights.values(), "Must specify all non-zero proportions for mixing"
    for entry in mix.values():
        # Paths are patterns for glob: they must find the files of their own folder.
        folder = entry["path"].removesuffix("/*.array_record")
        plain = folder.replace("[[]", "[").replace("[?]", "?").replace("[*]", "*")
        assert glob.escape(plain) == folder
        assert fnmatch.fnmatchcase(f"{plain}/a.array_record", entry["path"])
        assert plain.startswith("/")
    # Grain: whole hundredths of the smallest.
    scale = 100 / min(weights.values())
    whole = {name: int(weight * scale) for name, weight in weights.items()}
    assert all(whole.values())
    return [Promise(normalised(whole), slack=0.011)]


def litdata(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    arguments = json.loads(text)
    # combined.py raises for weights with the default iterate_over_all=True.
    assert arguments["iterate_over_all"] is False
    assert arguments["block_size"] > 0
    weights: dict[str, float] = {}
    seen = set()
    for stream in arguments["streams"]:
        assert stream["weight"] > 0
        # Two readers of one folder with one seed would give the same order.
        key = (stream["input_dir"], stream["seed"])
        assert key not in seen
        seen.add(key)
        weights[stream["input_dir"]] = weights.get(stream["input_dir"], 0.0) + stream["weight"]
    return [Promise(normalised(weights))]


def streaming(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    loader = yaml.safe_load(text)["train_loader"]
    assert loader["name"] == "text"
    dataset = loader["dataset"]
    # OmegaConf would try to fill in.
    assert "${" not in text
    assert dataset["epoch_size"] >= 1
    for stream in dataset["streams"].values():
        # proportion excludes repeat and choose; it must not be negative.
        assert set(stream) == {"local", "proportion"}
        assert stream["proportion"] > 0
    return [Promise(normalised({s["local"]: s["proportion"] for s in dataset["streams"].values()}))]


def nanotron(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    stages = yaml.safe_load(text)["data_stages"]
    starts = [stage["start_training_step"] for stage in stages]
    assert 1 in starts, "You must have a training stage starting at 1"
    assert len(set(starts)) == len(starts)
    assert starts == sorted(starts)
    assert len({stage["name"] for stage in stages}) == len(stages)
    promises = []
    for stage in stages:
        assert set(stage["data"]) == {"seed", "num_loading_workers", "dataset"}
        dataset = stage["data"]["dataset"]
        # The documented mapping {path: weight} is not what the code reads.
        assert isinstance(dataset["dataset_folder"], list)
        assert len(dataset["dataset_folder"]) == len(dataset["dataset_weights"])
        assert dataset.get("token_size_in_bytes", 2) in {2, 4}
        weights = dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True))
        promises.append(Promise(normalised(weights), stage["start_training_step"] - 1))
    return promises


def levanter(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)["data"]
    block = data["mixture_block_size"]
    assert 0 < block < 2**16, "Block size must be at most 2^16"
    weights = data["train_weights"]
    stages = [[0, weights]] if isinstance(weights, dict) else weights
    assert stages[0][0] == 0
    batch = settings.get("train_batch_size", 1)
    promises = []
    for index, (step, mix) in enumerate(stages):
        assert set(mix) <= set(data["configs"])
        if index:
            assert step > stages[index - 1][0]
            assert step * batch % block == 0, "start_seq_index for a stage must be a multiple of block_size"
        shares = normalised(mix)
        counts = {name: int(np.int32(share * block)) for name, share in shares.items()}
        counts[max(counts, key=lambda name: counts[name])] += block - sum(counts.values())
        assert all(counts.values()), "has 0 samples in the block"
        promises.append(Promise(normalised(counts), step, slack=(len(mix) + 1) / block))
    return promises


def gpt_neox(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)
    for split in ("train", "valid", "test"):
        # arguments.py: all three or none, and as many weights as paths.
        assert data[f"{split}_data_paths"]
        assert len(data[f"{split}_data_paths"]) == len(data[f"{split}_data_weights"])
        assert all(weight > 0 for weight in data[f"{split}_data_weights"])
    assert data["weight_by_num_documents"] is False, "would override the weights"
    assert "data_path" not in data
    assert "train_epochs" not in data
    return [Promise(normalised(dict(zip(data["train_data_paths"], data["train_data_weights"], strict=True))))]


@contextmanager
def _torchtitan() -> Iterator[None]:
    """Stand-ins for the three classes, which keep what they are given."""
    names = ["torchtitan", "torchtitan.components", "torchtitan.components.data"]
    modules = {name: ModuleType(name) for name in names}
    for name, classes in (
        ("dataset", ("DatasetMixConfig", "WeightedDataset")),
        ("packing", ("ConcatThenSplitPackingConfig",)),
    ):
        module = ModuleType(f"torchtitan.components.data.{name}")
        for kind in classes:
            setattr(module, kind, type(kind, (SimpleNamespace,), {}))
        modules[module.__name__] = module
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def torchtitan(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    ast.parse(text)
    names: dict[str, Any] = {}
    with _torchtitan():
        exec(compile(text, "dataset_mix.py", "exec"), names)
        mix = names["dataset_mix"]({name: name for name in names["WEIGHTS"]})
    packed_last = type(mix).__name__ == "ConcatThenSplitPackingConfig"
    if packed_last:
        mix = mix.dataset
    weights = {}
    for item in mix.datasets:
        # Pack then mix: windows. Mix then pack: documents.
        weights[item.dataset if packed_last else item.dataset.dataset] = item.weight
    return [Promise(normalised(weights))]


def lingua(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)["data"]
    assert data["root_dir"].startswith("/")
    assert "${" not in text
    return [
        Promise(normalised({f"{data['root_dir']}/{name}": value for name, value in data["sources"].items()}))
    ]


def llama_factory(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)
    # split_arg: by commas, then stripped.
    names = [name.strip() for name in data["dataset"].split(",")]
    weights = [float(value) for value in data["interleave_probs"].split(",")]
    assert len(names) == len(weights) == len(set(names))
    assert abs(sum(weights) - 1) < 1e-8
    assert data["mix_strategy"] == "interleave_over"
    comment = "".join(line[1:] for line in text.splitlines(keepends=True) if line.startswith("#"))
    info = json.loads(comment.split("dataset_info.json:")[1])
    assert list(info) == names
    return [Promise(normalised({info[n]["file_name"]: w for n, w in zip(names, weights, strict=True)}))]


def energon(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)
    assert data["__module__"] == "megatron.energon"
    assert data["__class__"] == "MetadatasetV2"
    blend = data["splits"]["train"]["blend"]
    assert all(set(item) == {"weight", "path"} for item in blend)
    return [Promise(normalised({item["path"]: item["weight"] for item in blend}))]


def axolotl(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = yaml.safe_load(text)
    # There are no weights: the rows decide.
    assert all(set(dataset) <= {"path", "ds_type", "type"} for dataset in data["datasets"])
    rows = settings["rows"]
    assert len(rows) == len(data["datasets"])
    paths = [dataset["path"] for dataset in data["datasets"]]
    assert len(set(paths)) == len(paths)
    for path, count in zip(paths, rows.values(), strict=True):
        assert f"# {path}: {count}\n" in text
    drawn = dict(zip(paths, rows.values(), strict=True))
    return [Promise(normalised(drawn), slack=1 / sum(rows.values()))]


def datatrove(text: str, settings: Mapping[str, Any]) -> list[Promise]:
    data = json.loads(text)
    domains = data["domains"]
    if "sequence_length" in data:
        assert sum(domain["windows"] for domain in domains) == data["tokens"] // data["sequence_length"]
    return [Promise(normalised({domain["name"]: domain["share"] for domain in domains}))]


RULES: dict[str, Callable[[str, Mapping[str, Any]], list[Promise]]] = {
    "megatron": megatron,
    "olmo-core": olmo_core,
    "huggingface": huggingface,
    "maxtext": maxtext,
    "litdata": litdata,
    "streaming": streaming,
    "nanotron": nanotron,
    "levanter": levanter,
    "gpt-neox": gpt_neox,
    "torchtitan": torchtitan,
    "lingua": lingua,
    "llama-factory": llama_factory,
    "energon": energon,
    "axolotl": axolotl,
    "datatrove": datatrove,
}
