"""torchtitan: a Python file with a `DatasetMixConfig`, since its mixes are written in code."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import OWN
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import last_step, without_none
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import weight
from mixing.spec.model import MixSpec

PACKED = '''\
"""The mix for torchtitan, packed windows of each dataset: pack first, then mix, so weights are token shares."""

from torchtitan.components.data.dataset import DatasetMixConfig, WeightedDataset
from torchtitan.components.data.packing import ConcatThenSplitPackingConfig

WEIGHTS = {
%s}


def dataset_mix(datasets):
    """`datasets` maps each name to its dataset config, with repeat=True."""
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=ConcatThenSplitPackingConfig(dataset=datasets[name]), weight=weight)
            for name, weight in WEIGHTS.items()
        )
    )
'''

DOCUMENTS = '''\
"""The mix for torchtitan, documents packed after mixing: weights are converted from token shares."""

from torchtitan.components.data.dataset import DatasetMixConfig, WeightedDataset
from torchtitan.components.data.packing import ConcatThenSplitPackingConfig

WEIGHTS = {
%s}


def dataset_mix(datasets):
    """`datasets` maps each name to its dataset config, with repeat=True."""
    mix = DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=datasets[name], weight=weight) for name, weight in WEIGHTS.items()
        )
    )
    return ConcatThenSplitPackingConfig(dataset=mix)
'''


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`WEIGHTS` and `dataset_mix`, which packs and mixes in the order that makes the weights right."""
    (stage,) = stages
    # A JSON string is a Python string too, in the quotes that formatters want.
    lines = "".join(
        f"    {json.dumps(name, ensure_ascii=False)}: {value!r},\n" for name, value in stage.weights.items()
    )
    settings = without_none(
        {
            "seq_len": spec.sequence_length,
            "steps": last_step(spec, stage),
            "seed": stage.seed,
            "items": items_of(spec, stage, plan.unit),
        }
    )
    beside = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "items")
    return RenderedFile(
        (DOCUMENTS if plan.unit == "document" else PACKED) % lines,
        (f"in torchtitan's config: dataset_mix(...) of {{file}}, and {beside}",),
        settings,
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads a `DatasetMixConfig` of people's own code too. Nothing in the file is run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"not Python: {error}", "Give the Python file with the DatasetMixConfig") from None
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WEIGHTS":
            try:
                weights = ast.literal_eval(node.value)
            except ValueError:
                break
            if not isinstance(weights, dict):
                break
            entries = tuple(
                Entry(str(name), (), weight(value, f"WEIGHTS.{name}")) for name, value in weights.items()
            )
            documents = "documents packed after mixing" in (ast.get_docstring(tree) or "")
            return Reading("document" if documents else "window", (FileStage(0, entries),))
    mixes = [node for node in ast.walk(tree) if _calls(node, "DatasetMixConfig")]
    if len(mixes) != 1:
        raise InputError(
            f"{len(mixes)} calls of DatasetMixConfig, and no WEIGHTS",
            "Give the Python file with one mix, its datasets and weights written out",
        )
    return _of_call(mixes[0])


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].endswith(name)


def _argument(call: Any, name: str, position: int) -> ast.expr | None:
    named = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return named[0] if named else call.args[position] if len(call.args) > position else None


def _of_call(mix: Any) -> Reading:
    """The mix of a call with its datasets written out: packed first and then mixed, or the other way round."""
    members = _argument(mix, "datasets", 0)
    if not isinstance(members, ast.Tuple | ast.List) or not all(
        _calls(member, "WeightedDataset") for member in members.elts
    ):
        raise InputError(
            "datasets: are computed, not written out",
            "Write DatasetMixConfig(datasets=(WeightedDataset(...), ...))",
        )
    entries, packed = [], set()
    for index, member in enumerate(members.elts):
        dataset, value = _argument(member, "dataset", 0), _argument(member, "weight", 1)
        if dataset is None or not isinstance(value, ast.Constant):
            raise InputError(
                f"datasets.{index}: has no dataset with a number as its weight", "Write both out"
            )
        packed.add(_calls(dataset, "PackingConfig"))
        inner = _argument(dataset, "dataset", 0) if _calls(dataset, "PackingConfig") else dataset
        entries.append(Entry(_label(inner), (), weight(value.value, f"datasets.{index}.weight")))
    if len(packed) > 1:
        raise InputError("datasets: some are packed before they are mixed, some are not", "Pack all or none")
    return Reading("window" if packed == {True} else "document", (FileStage(0, tuple(entries)),))


def _label(dataset: ast.expr | None) -> str:
    """What the code calls a dataset: its own first text, or the expression."""
    if dataset is None:
        return "dataset"
    texts = [
        node.value
        for node in ast.walk(dataset)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return texts[0] if texts else ast.unparse(dataset)


TORCHTITAN = Target(
    name="torchtitan",
    filename="dataset_mix.py",
    units=("window", "document"),
    weighs="item of the mixed datasets",
    repetition="repeat=True of each dataset",
    data=OWN,
    render=render,
    read=read,
)
