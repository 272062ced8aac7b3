"""Trainers' own files, in the forms that people train with: read as the trainer reads them, or refused."""

from __future__ import annotations

import json

import pytest

from mixing.errors import InputError
from mixing.export.importing import ImportedMix, import_spec

MEGATRON_SCRIPT = """#!/bin/bash
# pretraining
DATA_ROOT=/data/tok
BLEND="0.3 $DATA_ROOT/web_text_document 0.7 ${DATA_ROOT}/code_text_document"
GPT_ARGS=(
    --seq-length 4096
    --global-batch-size 512
    --train-iters 1000   # steps
    --data-path $BLEND
    --split 99,1,0
)
torchrun pretrain_gpt.py "${GPT_ARGS[@]}" 2>&1 | tee log
"""
TORCHTITAN = """
from torchtitan import DatasetMixConfig, WeightedDataset
def build():
    return DatasetMixConfig(datasets=(
        WeightedDataset(dataset=ConcatThenSplitPackingConfig(dataset=HF(path="web")), weight=0.75),
        WeightedDataset(dataset=ConcatThenSplitPackingConfig(dataset=HF(path="code")), weight=0.25),
    ))
"""
FOUNDRY = """
variables: {root: /mds, length: 4096}
max_seq_len: ${variables.length}
global_train_batch_size: 128
train_loader:
  name: text
  dataset:
    max_seq_len: ${max_seq_len}
    streams:
      web: {local: "${variables.root}/web", split: train, proportion: 0.8}
      code: {local: "${variables.root}/code", split: train, proportion: 2e-1}
"""

FORMS = [
    (
        "gpt-neox",
        '{"train-data-paths": ["d/A/A", "d/B/B",], "train-data-weights": [1., 3.],}',
        {"A": 0.25, "B": 0.75},
    ),
    ("gpt-neox", "train_data_paths: [/d/a, /d/b]\n", {"a": 0.5, "b": 0.5}),
    (
        "nanotron",
        "data_stages: [{data: {dataset: {dataset_folder: {d/web: 4, d/code: 1}}}}]",
        {"web": 0.8, "code": 0.2},
    ),
    ("nanotron", "data_stages: [{data: {dataset: {dataset_folder: d/web}}}]", {"web": 1.0}),
    ("megatron", "30 /d/web_text_document\n70 /d/code_text_document\n", {"web": 0.3, "code": 0.7}),
    ("megatron", '{"train": "3 /d/web 7 /d/code", "valid": null, "test": null}', {"web": 0.3, "code": 0.7}),
    ("megatron", '{"train": [3, "/d/web", 7, "/d/code"]}', {"web": 0.3, "code": 0.7}),
    ("megatron", '["3", "/d/web", "7", "/d/code"]', {"web": 0.3, "code": 0.7}),
    ("megatron", '{"blend": [["/d/web", "/d/code"], [3, 7]]}', {"web": 0.3, "code": 0.7}),
    (
        "megatron",
        "dataset: {blend_per_split: [[[/d/web, /d/code], [3, 7]], null, null]}",
        {"web": 0.3, "code": 0.7},
    ),
    ("megatron", "model: {data: {data_prefix: [0.3, /d/web, 0.7, /d/code]}}", {"web": 0.3, "code": 0.7}),
    (
        "megatron",
        "data: {paths: {train: [0.3, /d/web, 0.7, /d/code], validation: [/v]}}",
        {"web": 0.3, "code": 0.7},
    ),
    ("megatron", "pretrain_gpt.py --data-path 3 /d/web \\\n  7 /d/code --seed 1", {"web": 0.3, "code": 0.7}),
    ("megatron", "pretrain_gpt.py --train-data-path='3 /d/web 7 /d/code'", {"web": 0.3, "code": 0.7}),
    ("megatron", MEGATRON_SCRIPT, {"web": 0.3, "code": 0.7}),
    (
        "levanter",
        "configs: {web: {}, code: {}}\ntrain_weights: {web: 0.7, code: 0.3}",
        {"web": 0.7, "code": 0.3},
    ),
    (
        "levanter",
        "data: {components: {web: {}, code: {}}, train_weights: {web: 7, code: 3}}",
        {"web": 0.7, "code": 0.3},
    ),
    ("olmo-core", "sources: [{source_name: a, target_ratio: 1.0, paths: [/d/a*.npy]}]", {"a": 1.0}),
    ("olmo-core", "x: {source_specs: [{label: a, ratio: 3}, {label: b, ratio: 1}]}", {"a": 0.75, "b": 0.25}),
    ("streaming", FOUNDRY, {"web": 0.8, "code": 0.2}),
    (
        "maxtext",
        "dataset_type: grain\ngrain_train_files: '/d/web*,3;/d/code*,1'",
        {"web": 0.75, "code": 0.25},
    ),
    (
        "maxtext",
        "train.py base.yml grain_train_files=/d/web*,3;/d/code*,1 steps=10",
        {"web": 0.75, "code": 0.25},
    ),
    ("torchtitan", TORCHTITAN, {"web": 0.75, "code": 0.25}),
    ("huggingface", "{datasets: [a, b], probabilities: [0.25, 0.75]}", {"a": 0.25, "b": 0.75}),
]


def imported(target: str, text: str, **options: object) -> ImportedMix:
    return import_spec([text], target, name="file", total_tokens=10**9, **options)  # type: ignore[arg-type]


def shares(mix: ImportedMix) -> dict[str, float]:
    return dict(mix.spec.stages[0].shares)


@pytest.mark.parametrize(("target", "text", "expected"), FORMS)
def test_forms_that_people_train_with(target: str, text: str, expected: dict[str, float]) -> None:
    assert shares(imported(target, text)) == pytest.approx(expected)


DOCUMENTS = [
    ("lingua", "data: {root_dir: /d, sources: {web: 60.0, code: 40.0}}"),
    ("llama-factory", "dataset: [web, code]\nmix_strategy: interleave_over\ninterleave_probs: [0.6, 0.4]"),
    ("llama-factory", "dataset: web, code\nmix_strategy: interleave_over\ninterleave_probs: 0.6, 0.4"),
    ("energon", "splits: {train: {datasets: [{weight: 6, path: ./web}, {weight: 4, path: ./code}]}}"),
    (
        "energon",
        "splits: {train: {blend: [{weight: 1, blend: [{weight: 6, path: web}, {weight: 4, path: code}]}]}}",
    ),
]


@pytest.mark.parametrize(("target", "text"), DOCUMENTS)
def test_files_that_weigh_documents_need_their_mean_lengths(target: str, text: str) -> None:
    with pytest.raises(
        InputError, match=r"mean tokens per document of each \(--mean-tokens NAME=N\)"
    ) as refused:
        imported(target, text)
    # Only what is possible is advised.
    assert ("--unit window" in str(refused.value)) == (target == "energon")
    mix = imported(target, text, document_tokens={"web": 500, "code": 1000})
    assert shares(mix) == pytest.approx({"web": 3 / 7, "code": 4 / 7})
    with pytest.raises(InputError, match="'cod' is no domain of the file"):
        imported(target, text, document_tokens={"cod": 1000})


REFUSED = [
    ("gpt-neox", "train-data-paths: [a]\ntrain_data_paths: [b]", "given twice, with - and with _"),
    ("gpt-neox", "train-data-paths: [a, b]\ntrain-data-weights: [1]", "1 weights for 2 paths"),
    ("gpt-neox", "train-data-paths: [a]\nweight-by-num-documents: true", "weights are not used"),
    ("nanotron", "data_stages: [{data: {dataset: {dataset_folder: [a, b]}}}]", "by the sizes of the folders"),
    ("nanotron", "data_stages: [{data: {dataset: {hf_dataset_or_datasets: {a: 1}}}}]", "by their sizes"),
    ("megatron", "/d/web /d/code", "not pairs|neither JSON"),
    ("megatron", '{"train": ["/d/web", "/d/code"]}', "blends by size"),
    ("megatron", '{"blend": [["/d/web", "/d/code"], null]}', "not one weight for each"),
    ("megatron", "30 /d/web 70", "not pairs of weight and prefix"),
    ("megatron", "run --data-args-path blend.txt", "blend stands in blend.txt"),
    ("megatron", "run --data-path 1 /a --data-path 1 /b", "given twice"),
    ("levanter", "configs: {web: {}}\ntrain_weights: {wbe: 1}", "'wbe' is none of data.configs"),
    ("streaming", "train_loader: {dataset: {streams: {a: {local: /a, repeat: 2}}}}", "depends on its size"),
    ("maxtext", "grain_train_files: '/d/web*'", "has no weight"),
    ("maxtext", "grain_train_mixture_config_path: mix.json", "stands in the file that it names"),
    ("energon", "splits: {train: {blend_epochized: [{repetitions: 2, path: a}]}}", "gives repetitions"),
    ("llama-factory", "dataset: a,b\ninterleave_probs: 0.5,0.5", "is not used"),
    ("llama-factory", "dataset: a,a\nmix_strategy: interleave_over\ninterleave_probs: 0.5,0.5", "twice"),
    ("torchtitan", "DatasetMixConfig(datasets=tuple(x for x in y))", "computed, not written out"),
    (
        "huggingface",
        '{"datasets": ["a"], "probabilities": [1], "row_unit": "rows"}',
        "neither packed_sequence",
    ),
    ("axolotl", "datasets: [{path: a}]", "Axolotl has no weights|not given in a comment"),
]


@pytest.mark.parametrize(("target", "text", "reason"), REFUSED)
def test_what_is_no_mix_is_refused_with_the_reason(target: str, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        imported(target, text)


def blend(*paths: str) -> str:
    return json.dumps({"train": [word for path in paths for word in ("1", path)]})


NAMED = [
    (
        ("/d/ja/wiki_text_document", "/d/ja/cc_text_document", "/d/en/pile_text_document"),
        ["wiki", "cc", "pile"],
    ),
    (("/d/ja/a", "/d/ja/b", "/d/en/a"), ["ja/a", "ja/b", "en/a"]),
    (("/d/cc/2019_text_document", "/d/cc/2020_text_document"), ["2019", "2020"]),
    (("/d/cc/CC-2019-05", "/d/cc/CC-2019-13"), ["CC-2019-05", "CC-2019-13"]),
    (("/d/web/train-00000", "/d/web/train-00001", "/d/code/train-00000"), ["web", "code"]),
    (("/d/web_0_text_document", "/d/web_1_text_document", "/d/code_0_text_document"), ["web", "code_0"]),
    (("s3://b/中文/a", "s3://b/de utsch/a"), ["中文", "de utsch"]),
    (("web", "code"), ["web", "code"]),
]


@pytest.mark.parametrize(("paths", "names"), NAMED)
def test_corpora_of_one_folder_stay_apart_and_shards_are_one(
    paths: tuple[str, ...], names: list[str]
) -> None:
    mix = imported("megatron", blend(*paths))
    assert list(mix.spec.domains) == names
    # What was added up is said, with the part of each.
    assert bool(mix.notes) == (len(names) < len(paths))


def test_what_is_not_used_or_assumed_is_said() -> None:
    assert imported("megatron", '{"train": ["1", "/a"], "valid": ["1", "/b"], "test": null}').notes == (
        "not part of a mix spec, and not read: the blend of valid",
    )
    assert "taken to be packed windows" in imported("streaming", FOUNDRY).notes[0]
    assert (
        "so not trained on: code"
        in imported("levanter", "configs: {a: {}, code: {}}\ntrain_weights: {a: 1}").notes[0]
    )
    mix = imported("megatron", MEGATRON_SCRIPT)
    assert mix.notes == ("the file's own run is 2.1B tokens long, not 1B",)
    assert mix.spec.global_batch_tokens == 512 * 4096
    merged = imported("megatron", blend("/d/web/t-00000", "/d/web/t-00001", "/d/code/t-00000")).notes
    assert merged == ("web is 2 items of the file: t-00000 0.3333, t-00001 0.3333",)


def test_stages_of_a_whole_nanotron_configuration() -> None:
    text = """
tokens: {sequence_length: 4096, micro_batch_size: 2, batch_accumulation_per_replica: 4, train_steps: 100}
parallelism: {dp: 8, tp: 1}
data_stages:
- {start_training_step: 51, data: {dataset: {dataset_folder: {d/web: 1, d/code: 1}}}}
- {start_training_step: 1, data: {dataset: {dataset_folder: {d/web: 3, d/code: 1}}}}
"""
    spec = import_spec([text], "nanotron", name="file").spec
    batch = 4096 * 2 * 4 * 8
    assert (spec.total_tokens, spec.global_batch_tokens) == (100 * batch, batch)
    assert [stage.from_token for stage in spec.stages] == [0, 50 * batch]
    assert spec.stages[0].shares == {"web": 0.75, "code": 0.25}
