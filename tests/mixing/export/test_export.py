"""Exports: conversion, caps, rounding and stages, for one example and for random specs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings

from flows.reports.exports import export_summary, export_text, targets_table
from mixing.errors import InputError, MixlawError
from mixing.export.exporting import export
from mixing.export.planning import document_weights, shares_of_documents
from mixing.export.registry import FORMATS, LOADERS, TARGETS
from mixing.spec.build import build_spec
from mixing.spec.model import MixSpec
from tests.mixing.spec.examples import example_decision, example_spec, names, staged_spec

MEGATRON = """\
{
  "train": [
    "0.7", "/data/example/tokens/web/train-00000",
    "0.2", "/data/example/tokens/code/train-00000",
    "0.1", "/data/example/tokens/math/train-00000"
  ],
  "valid": [
    "0.7", "/data/example/tokens/web/heldout-00000",
    "0.2", "/data/example/tokens/code/heldout-00000",
    "0.1", "/data/example/tokens/math/heldout-00000"
  ],
  "test": null
}
"""


def blend(pairs: list[str]) -> dict[str, float]:
    return {prefix: float(weight) for weight, prefix in zip(pairs[::2], pairs[1::2], strict=True)}


def test_megatron_golden(tmp_path: Path) -> None:
    exported = export(example_spec(), "megatron", tmp_path / "blend.json")
    assert (tmp_path / "blend.json").read_text() == MEGATRON
    (file,) = exported.files
    assert file.start[0] == (
        f"pretrain_gpt.py --per-split-data-args-path {tmp_path}/blend.json --seed 1 --seq-length 512 "
        "--global-batch-size 8 --train-iters 25"
    )


def test_huggingface_rows_of_windows_and_of_documents() -> None:
    windows = json.loads(export(example_spec(), "huggingface").files[0].text)
    assert windows["datasets"] == ["web", "code", "math"]
    assert windows["probabilities"] == pytest.approx([0.7, 0.2, 0.1])
    assert windows["stopping_strategy"] == "all_exhausted"
    assert (windows["row_unit"], windows["rows"], windows["passes"]) == ("packed_sequence", 200, [1, 1, 1])
    assert windows["shards"]["web"] == ["/data/example/tokens/web/train-00000"]
    documents = json.loads(export(example_spec(), "huggingface", unit="document").files[0].text)
    assert documents["probabilities"] == pytest.approx([0.648, 0.0741, 0.2779], abs=1e-4)
    assert documents["row_unit"] == "document"
    assert documents["rows"] == 185


def test_document_conversion_inverts() -> None:
    shares = {"a": 0.7, "b": 0.2, "c": 0.1}
    means = {"a": 600.0, "b": 1500.0, "c": 200.0}
    weights = document_weights(shares, means)
    assert weights == pytest.approx({"a": 35 / 54, "b": 4 / 54, "c": 15 / 54})
    tokens = {name: weight * means[name] for name, weight in weights.items()}
    assert {name: count / sum(tokens.values()) for name, count in tokens.items()} == pytest.approx(shares)
    assert shares_of_documents(weights, means) == pytest.approx(shares)


def test_caps_refuse_before_anything_is_written(tmp_path: Path) -> None:
    data = example_spec().model_dump()
    data["domains"]["math"] |= {
        "tokens": 4000,
        "documents": 20,
        "mean_tokens_per_document": 200.0,
        "epochs": 2.56,
    }
    data["domains"]["math"]["shards"] = [{"prefix": "m", "tokens": 4000}]
    data["domains"]["math"]["max_epochs"] = 2.5
    with pytest.raises(
        InputError, match=r"domains\.math: 2\.56 epochs, above its max_epochs of 2\.5"
    ) as caught:
        export(MixSpec.model_validate(data), "megatron", tmp_path / "blend.json")
    assert "Lower total_tokens to 100000" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    # A mix that was optimised to the cap is at the cap, to the last bit or so.
    data["domains"]["math"]["max_epochs"] = 2.56 * (1 - 1e-15)
    export(MixSpec.model_validate(data), "megatron")


def test_zero_shares_are_dropped_and_said() -> None:
    shares = {"web": 0.75, "code": 0.0, "math": 0.25}
    data = example_spec().model_dump()
    for name, share in shares.items():
        data["domains"][name] |= {"share": share, "epochs": None}
    exported = export(
        MixSpec.model_validate({**data, "stages": [{"from_token": 0, "shares": shares}]}), "megatron"
    )
    assert "code" not in exported.files[0].text
    assert "code: share 0, left out" in exported.notes


def test_total_is_rounded_down_to_whole_batches() -> None:
    data = example_spec(total_tokens=102_400).model_dump()
    for domain in data["domains"].values():
        domain["epochs"] = None
    exported = export(MixSpec.model_validate({**data, "total_tokens": 102_400 + 4095}), "megatron")
    assert exported.plan.tokens == 102_400
    assert "total rounded from 106495 to 102400 tokens: whole global batches" in exported.notes


def test_shards_share_a_domains_weight_by_tokens() -> None:
    data = example_spec().model_dump()
    data["domains"]["web"]["shards"] = [
        {"prefix": "w0", "tokens": 300_750},
        {"prefix": "w1", "tokens": 0},
        {"prefix": "w2", "tokens": 100_250},
    ]
    train = blend(json.loads(export(MixSpec.model_validate(data), "megatron").files[0].text)["train"])
    assert train["/data/example/w0"] == pytest.approx(0.525)
    assert train["/data/example/w2"] == pytest.approx(0.175)
    # Megatron's loader never returns from a shard without tokens.
    assert "/data/example/w1" not in train


def test_without_heldout_shards_valid_is_null() -> None:
    data = example_spec().model_dump()
    for domain in data["domains"].values():
        domain["heldout_shards"] = []
    assert json.loads(export(MixSpec.model_validate(data), "megatron").files[0].text)["valid"] is None


def test_stages_become_one_file_each(tmp_path: Path) -> None:
    exported = export(staged_spec(), "megatron", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "per_split_data_args.stage-1.json",
        "per_split_data_args.stage-2.json",
    ]
    first, second = (json.loads(file.text)["train"] for file in exported.files)
    assert list(blend(first)) == ["/data/example/tokens/web/train-00000"]
    assert sorted(blend(second).values()) == pytest.approx([0.2, 0.4, 0.4])
    # 51,200 tokens are 12.5 batches: the boundary is a whole one.
    assert "--phase-transition-iterations 13" in exported.files[0].start[0]
    assert "--seed 1 " in exported.files[0].start[0]
    assert "--seed 2 " in exported.files[1].start[0]
    assert any("stage 2 starts at token 53248, not 51200" in note for note in exported.notes)
    assert any(
        note.startswith("web: too few shards to give every stage its own") and "about 13%" in note
        for note in exported.notes
    )
    with pytest.raises(InputError, match="one file per stage"):
        export_text(exported)


def test_a_stage_shorter_than_a_batch() -> None:
    data = staged_spec().model_dump()
    data["stages"] = [
        {"from_token": 0, "shares": {"web": 1.0}},
        {"from_token": 100, "shares": example_shares()},
    ]
    for name, domain in data["domains"].items():
        domain["epochs"] = None
        domain["share"] = (name == "web") * 100 / 102_400 + example_shares()[name] * (1 - 100 / 102_400)
    with pytest.raises(InputError, match=r"stages\.0: is shorter than one batch"):
        export(MixSpec.model_validate(data), "megatron")


def example_shares() -> dict[str, float]:
    return {"web": 0.7, "code": 0.2, "math": 0.1}


def test_spec_of_a_bare_table() -> None:
    spec = build_spec(example_decision(), None, name="table")
    exported = export(spec, "huggingface")
    assert json.loads(exported.files[0].text)["probabilities"] == pytest.approx([0.7, 0.2, 0.1])
    assert "web: its tokens are not in the spec, so repetition was not checked" in exported.notes
    with pytest.raises(InputError, match="data_root: is missing"):
        export(spec, "megatron")
    with pytest.raises(InputError, match=r"domains\.web\.shards: is empty"):
        export(spec, "megatron", data_root="/elsewhere")
    with pytest.raises(InputError, match=r"domains\.web\.mean_tokens_per_document: is missing"):
        export(spec, "huggingface", unit="document")


def test_data_root_can_be_elsewhere() -> None:
    text = export(example_spec(), "megatron", data_root="/cluster/mix/").files[0].text
    assert '"/cluster/mix/tokens/web/train-00000"' in text
    with pytest.raises(InputError, match="not an absolute path"):
        export(example_spec(), "megatron", data_root="mix")


def test_missing_token_files_are_said(tmp_path: Path) -> None:
    spec = example_spec(data_root=str(tmp_path))
    assert any(
        "3 of 3 token files are not on this machine" in note for note in export(spec, "megatron").notes
    )
    for name in ("web", "code", "math"):
        (tmp_path / "tokens" / name).mkdir(parents=True)
        (tmp_path / "tokens" / name / "train-00000.bin").touch()
    assert export(spec, "megatron").notes == ()


def test_missing_data_is_said(tmp_path: Path) -> None:
    spec = example_spec(data_root=str(tmp_path))
    for name in ("maxtext", "litdata", "streaming", "nanotron", "axolotl"):
        note = export(spec, name).notes[-1]
        assert "not there yet: web, code, math" in note
        assert f"e.g. {tmp_path}/{name}/web" in note
        assert "write them with `mixlaw export --data DIR`" in note
    for name in ("levanter", "lingua", "llama-factory", "energon"):
        assert "write them with its own tools" in export(spec, name).notes[-1]
    assert "its own tools" in export(spec, "axolotl", unit="document").notes[-1]
    for name in ("web", "math"):
        (tmp_path / "maxtext" / name).mkdir(parents=True)
    assert "not there yet: code (e.g." in export(spec, "maxtext").notes[-1]
    (tmp_path / "maxtext" / "code").mkdir()
    assert not any("not there yet" in note for note in export(spec, "maxtext").notes)
    # --data says it itself, before it writes.
    assert not any("not there yet" in note for note in export(spec, "maxtext", data="/gone").notes)


@pytest.mark.parametrize("target", ["streaming", "levanter"])
def test_a_domain_whose_name_would_be_filled_in(target: str) -> None:
    data = example_spec().model_dump()
    data["domains"]["${web}"] = data["domains"].pop("web")
    data["stages"][0]["shares"]["${web}"] = data["stages"][0]["shares"].pop("web")
    with pytest.raises(InputError, match=r"domains\.\$\{web\}: has .* in its name.*Rename the domain"):
        export(MixSpec.model_validate(data), target)


def test_unknown_target_and_unit() -> None:
    with pytest.raises(InputError, match=r"'megatrn' is not an export target\. Targets: megatron, olmo-core"):
        export(example_spec(), "megatrn")
    with pytest.raises(InputError, match="megatron draws windows, not documents"):
        export(example_spec(), "megatron", unit="document")


def test_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(MixlawError, match="cannot be written"):
        export(example_spec(), "megatron", tmp_path / "none" / "blend.json")


def test_what_is_printed() -> None:
    spec = example_spec()
    text = export_summary(spec, export(spec, "huggingface", unit="document"))
    assert "domain   token share   document weight   epochs   max epochs" in text
    assert "code             0.2          0.074" in text
    assert "web              0.7          0.648" in text
    table = targets_table()
    assert " ".join(table.split()).count("nemo, megatron-bridge packed window (window)") == 1
    assert "row (window or document)" in table


@settings(max_examples=50, deadline=None)
@given(names, names)
def test_any_name_and_path_survive(name: str, folder: str) -> None:
    assume(name != folder)
    data = example_spec(data_root=f"/{folder}").model_dump()
    domain = data["domains"].pop("web")
    domain["shards"] = [{"prefix": f"{folder}/{name}", "tokens": 401_000}]
    data["domains"] = {name: domain, **data["domains"]}
    shares = data["stages"][0]["shares"]
    data["stages"] = [
        {"from_token": 0, "shares": {name: shares["web"], **{k: shares[k] for k in ("code", "math")}}}
    ]
    spec = MixSpec.model_validate(data)
    train = json.loads(export(spec, "megatron").files[0].text)["train"]
    assert train[1] == f"/{folder}/{folder}/{name}" == train[1].strip()
    assert json.loads(export(spec, "huggingface").files[0].text)["datasets"][0] == name


def test_every_target_is_registered_under_its_name() -> None:
    assert all(name == target.name for name, target in TARGETS.items())


def test_sixty_domains_take_less_than_a_second(tmp_path: Path) -> None:
    from benchmarks.exports import seconds_per_target, sixty_domains

    taken = seconds_per_target(sixty_domains(), tmp_path)
    assert all(processor < 1 for _, processor in taken.values()), taken


def test_an_export_needs_no_trainers_package_and_nothing_heavy() -> None:
    code = (
        "import sys, mixing.export.exporting, mixing.export.importing, mixing.export.writing; "
        "heavy = {'torch', 'datasets', 'litdata', 'grain', 'streaming', 'scipy', 'polars', 'duckdb', 'pyarrow'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loaders_and_formats_are_those_of_the_targets() -> None:
    """Adding a trainer is a file and a line in TARGETS; `mixlaw check` and `--data` follow from it."""
    assert {name: target.loader for name, target in TARGETS.items() if target.loader} == LOADERS
    assert set(FORMATS) == {"arrow", "array_record", "litdata", "mds", "ds"}
    for target in TARGETS.values():
        assert target.data.name not in FORMATS or target.data is FORMATS[target.data.name]
        assert target.is_written(target.units[0]) == (target.data.name in FORMATS)


def test_an_export_is_a_few_lines_at_the_prompt(tmp_path: Path) -> None:
    written = repr(export(example_spec(), "megatron", tmp_path / "blend.json")).splitlines()
    assert written[:2] == [
        f"Export to megatron: {tmp_path}/blend.json",
        "  from token 0: web 0.7, code 0.2, math 0.1",
    ]
    assert repr(export(example_spec(), "megatron")).startswith("Export to megatron: 1 file(s), not written")
