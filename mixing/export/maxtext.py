"""MaxText (Grain): the JSON of `grain_train_mixture_config_path`."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence

from mixing.export.planning import Plan, StagePlan, items_of, passes
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, folder, steps
from mixing.export.text import json_text, parse_json, take, weight
from mixing.spec.model import MixSpec

NOTICED = 5e-4
"""Differences between asked and realised shares from which on the user is told."""


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """Per domain a pattern of ArrayRecord files and a weight.

    Grain mixes records before MaxText packs them: weights are token shares only over pretokenised records of one
    length. The `;` form of `grain_train_files` would round weights to four decimals.
    """
    (stage,) = stages
    mix = {
        name: {"path": f"{glob.escape(folder(stage, name))}/*.array_record", "weight": share}
        for name, share in stage.weights.items()
    }
    needed = passes(spec, stage, plan.unit, random=False)
    settings = {
        "tokenize_train_data": plan.unit == "document",
        "max_target_length": spec.sequence_length,
        # The mix ends with the first domain that does, so all are repeated as often as the one read most.
        "num_epoch": max(needed.values()) if needed else None,
        "data_shuffle_seed": stage.seed,
        "steps": steps(spec, stage.first_token + stage.tokens),
    }
    known = {key: value for key, value in settings.items() if value is not None}
    flags = " ".join(f"{key}={value}" for key, value in known.items())
    return Rendered(
        json_text(mix),
        (
            "MaxText's train command with dataset_type=grain grain_file_type=arrayrecord "
            f"grain_train_mixture_config_path={{file}} {flags}",
        ),
        {**known, "items": items_of(spec, stage, plan.unit)},
        tuple(_coarse(stage.weights)),
    )


def _coarse(weights: Mapping[str, float]) -> list[str]:
    """Grain cuts weights to whole hundredths of the smallest one."""
    scale = 100 / min(weights.values())
    whole = {name: int(value * scale) for name, value in weights.items()}
    total = sum(whole.values())
    return [
        f"{name}: Grain draws {whole[name] / total:.5g} instead of {value:.5g} "
        "(its weights are whole hundredths of the smallest)"
        for name, value in weights.items()
        if abs(whole[name] / total - value) > NOTICED
    ]


def read(text: str) -> Reading:
    """Inverse of `render`. The file does not say whether records are windows; windows are assumed."""
    mix = parse_json(text)
    entries = tuple(
        Entry(
            name, (take(entry, "path", str),), weight(take(entry, "weight", (int, float)), f"{name}.weight")
        )
        for name, entry in mix.items()
    )
    return Reading("window", (FileStage(0, entries),))


MAXTEXT = Target(
    name="maxtext",
    aliases=("grain",),
    filename="grain_mixture.json",
    units=("window", "document"),
    weighs="ArrayRecord record",
    repetition="num_epoch, for all alike; ends with the first",
    data="array_record",
    verified="grain 0.2.18",
    render=render,
    read=read,
)
