"""Hugging Face datasets: the arguments of `interleave_datasets`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mixing.export.convert import Plan, StagePlan, Unit, document_mean
from mixing.export.target import Rendered, absolute_prefix
from mixing.spec import MixSpec

ROW_UNITS: dict[Unit, str] = {"window": "packed_sequence", "document": "document"}


@dataclass(frozen=True)
class HuggingFace:
    """JSON with `datasets` (domain names), `probabilities`, `seed`, `stopping_strategy` and `row_unit`.

    `interleave_datasets` draws rows: probabilities are token shares only where every row is a packed sequence
    of one length; for rows that are documents they are converted. `rows` is the budget in rows, and `passes`
    how often each dataset is repeated before it is interleaved, so that the stream does not end early.
    """

    name: str = "huggingface"
    filename: str = "interleave_datasets.json"
    units: tuple[Unit, ...] = ("window", "document")
    staged: bool = False
    takes_zero: bool = False
    repetition: str = "none: repeats silently"
    verified: str = "datasets 5.2.0"

    def render(self, spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
        (stage,) = stages
        unit = plan.unit
        arguments: dict[str, object] = {
            "datasets": list(stage.weights),
            "probabilities": list(stage.weights.values()),
            "seed": stage.seed,
            "stopping_strategy": "all_exhausted",
            "row_unit": ROW_UNITS[unit],
        }
        if unit == "window" and spec.sequence_length:
            arguments["sequence_length"] = spec.sequence_length
        rows = _rows(spec, stage, unit)
        if rows is not None:
            arguments["rows"] = rows
        if stage.epochs.keys() == stage.weights.keys():
            arguments["passes"] = [max(1, math.ceil(stage.epochs[name])) for name in stage.weights]
        if spec.data_root is not None and all(spec.domains[name].shards for name in stage.weights):
            arguments["shards"] = {
                name: [
                    absolute_prefix(spec, shard.prefix) for shard in spec.domains[name].shards if shard.tokens
                ]
                for name in stage.weights
            }
        dtypes = {spec.domains[name].dtype for name in stage.weights}
        if len(dtypes) == 1 and None not in dtypes:
            arguments["dtype"] = dtypes.pop()
        taken = "" if rows is None else f".take({rows})"
        kind = "packed sequences of one length" if unit == "window" else "whole documents, packed afterwards"
        return Rendered(
            _json(arguments),
            (
                f"interleave_datasets(datasets, probabilities=..., seed={stage.seed}, "
                f'stopping_strategy="all_exhausted"){taken}',
                f"with the values of {{file}}; the rows of each dataset must be {kind}",
            ),
        )


def _json(arguments: dict[str, object]) -> str:
    """A line per argument: indented JSON puts every probability on its own."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(spec: MixSpec, stage: StagePlan, unit: Unit) -> int | None:
    if unit == "window":
        return stage.tokens // spec.sequence_length if spec.sequence_length else None
    mean = math.fsum(weight * (document_mean(spec, name) or 0.0) for name, weight in stage.weights.items())
    return math.ceil(stage.tokens / mean)
