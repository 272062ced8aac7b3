"""What trainers do silently, or refuse late: each trap has its test. Loaders run in scenarios/exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixing.corpora.files import folder_name
from mixing.errors import InputError
from mixing.export.data_format import STORE
from mixing.export.exporting import Export, export
from mixing.export.levanter import block_counts
from mixing.export.planning import apportion
from mixing.export.registry import TARGETS, target_named
from mixing.export.stages import divide_shards
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec
from tests.mixing.spec.examples import example_spec, staged_spec


def with_shares(shares: dict[str, float], **changes: Any) -> MixSpec:
    data = {**example_spec().model_dump(), **changes}
    data["stages"] = [{"from_token": 0, "shares": shares}]
    for name, share in shares.items():
        data["domains"][name] |= {"share": share, "epochs": None}
    return MixSpec.model_validate(data)


def with_domain(name: str, **changes: Any) -> MixSpec:
    data = example_spec().model_dump()
    data["domains"][name] |= changes
    return MixSpec.model_validate(data)


def with_shards(spec: MixSpec, count: int) -> MixSpec:
    """The same domains in `count` shards each."""
    data = spec.model_dump()
    for name, domain in data["domains"].items():
        size = domain["tokens"] // count
        sizes = [size] * (count - 1) + [domain["tokens"] - size * (count - 1)]
        domain["shards"] = [{"prefix": f"{name}/{part}", "tokens": size} for part, size in enumerate(sizes)]
    return MixSpec.model_validate(data)


def data_of(exported: Export, index: int = 0) -> Any:
    text = exported.files[index].text
    return json.loads(text) if text.startswith("{") else yaml.safe_load(text)


def test_olmo_core_gets_whole_batches_and_a_dtype() -> None:
    # 102,400 + 3,000 tokens: the rest of a batch would be spread over paths evenly, whatever their ratios.
    data = example_spec().model_dump()
    for domain in data["domains"].values():
        domain["epochs"] = None
    spec = MixSpec.model_validate({**data, "total_tokens": 105_400})
    (file,) = export(spec, "olmo-core").files
    assert file.settings["requested_tokens"] == 102_400
    assert file.settings["requested_tokens"] % file.settings["global_batch_size"] == 0
    # Left out, it is guessed, beginning with uint8.
    assert file.settings["dtype"] == "uint16"
    wide = example_spec().model_dump()
    for domain in wide["domains"].values():
        domain["dtype"] = "int32"
    (file,) = export(MixSpec.model_validate(wide), "olmo-core").files
    assert file.settings["dtype"] == "uint32"


def test_olmo_core_is_given_the_caps() -> None:
    sources = data_of(export(with_domain("math", max_epochs=2.5), "olmo-core"))["sources"]
    assert [source["max_repetition_ratio"] for source in sources] == [4.0, 4.0, 2.5]
    sources = data_of(export(with_domain("math", max_epochs=0.5), "olmo-core"))["sources"]
    assert (sources[2]["max_repetition_ratio"], sources[2]["max_source_fraction"]) == (1.0, 0.5)
    # At the cap to the last token: OLMo-core cuts both sides to whole tokens and would refuse.
    exact = with_domain("math", max_epochs=0.256 * (1 - 1e-13))
    source = data_of(export(exact, "olmo-core"))["sources"][2]
    assert int(40_000 * source["max_source_fraction"] * source["max_repetition_ratio"]) >= int(102_400 * 0.1)


@pytest.mark.parametrize("field", ["sequence_length", "global_batch_tokens"])
def test_olmo_core_needs_the_batch(field: str) -> None:
    with pytest.raises(
        InputError, match=f"{field}: is missing: OLMo-core spreads tokens beyond whole batches"
    ):
        export(example_spec(**{field: None}), "olmo-core")


def test_olmo_core_needs_the_dtype() -> None:
    with pytest.raises(InputError, match=r"domains\.math\.dtype: is missing, and OLMo-core would guess it"):
        export(with_domain("math", dtype=None), "olmo-core")
    with pytest.raises(InputError, match=r"domains\.web\.dtype: is not that of all domains"):
        export(with_domain("math", dtype="int32"), "olmo-core")


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("levanter", "global_batch_tokens"),
        ("nanotron", "global_batch_tokens"),
        ("litdata", "sequence_length"),
        ("axolotl", "sequence_length"),
    ],
)
def test_lengths_that_a_target_needs(target: str, field: str) -> None:
    with pytest.raises(InputError, match=f"{field}: is missing"):
        export(staged_spec(**{field: None}), target)


def test_olmo_core_reads_stars_as_patterns() -> None:
    with pytest.raises(InputError, match="which OLMo-core reads as a pattern"):
        export(example_spec(data_root="/data/*"), "olmo-core")


@pytest.mark.parametrize("target", list(TARGETS))
def test_no_target_repeats_silently(target: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"domains\.math: 0\.26 epochs, above its max_epochs of 0\.2"):
        export(with_domain("math", max_epochs=0.2), target, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", list(TARGETS))
def test_no_target_gets_a_weight_of_zero(target: str) -> None:
    exported = export(with_shares({"web": 0.75, "code": 0.0, "math": 0.25}), target)
    assert "code: share 0, left out" in exported.notes
    reading = target_named(target).read
    assert reading is not None
    (stage,) = reading(exported.files[0].text).stages
    assert len(stage.entries) == 2
    assert all(entry.weight > 0 for entry in stage.entries)


def test_huggingface_does_not_stop_early_or_forget_weights() -> None:
    arguments = data_of(export(example_spec(), "huggingface"))
    assert arguments["stopping_strategy"] == "all_exhausted"
    assert sum(arguments["probabilities"]) == pytest.approx(1, abs=1e-12)
    # Drawn by chance, a domain read 0.98 times is read more than once in half of the runs.
    small = with_domain(
        "math", tokens=10_500, documents=52, mean_tokens_per_document=None, epochs=None,
        shards=[{"prefix": "m", "tokens": 10_500}],
    )  # fmt: skip
    assert data_of(export(small, "huggingface"))["passes"] == [1, 1, 2]


@pytest.mark.parametrize("target", ["huggingface", "maxtext", "streaming", "torchtitan", "energon"])
def test_documents_are_converted(target: str) -> None:
    read = target_named(target).read
    assert read is not None
    (stage,) = read(export(example_spec(), target, unit="document").files[0].text).stages
    assert [entry.weight for entry in stage.entries] == pytest.approx([0.648, 0.0741, 0.2779], abs=1e-4)


@pytest.mark.parametrize("target", ["lingua", "llama-factory"])
def test_documents_are_all_that_some_draw(target: str) -> None:
    with pytest.raises(InputError, match="draws documents, not windows"):
        export(example_spec(), target, unit="window")


def test_litdata_stops_at_no_domain_that_is_read_twice() -> None:
    spec = with_domain(
        "math", tokens=5120, documents=25, mean_tokens_per_document=None, epochs=None,
        shards=[{"prefix": "m", "tokens": 5120}],
    )  # fmt: skip
    data = data_of(export(spec, "litdata"))
    # Weights exclude the default, iterate_over_all=True.
    assert data["iterate_over_all"] is False
    math = [stream for stream in data["streams"] if stream["name"] == "math"]
    # 20 blocks of 10, and four standard deviations more: four passes in orders of their own.
    assert len(math) == 4
    assert len({stream["seed"] for stream in math}) == 4
    assert sum(stream["weight"] for stream in math) == pytest.approx(0.1)


def test_grain_resolution_is_said() -> None:
    close = with_shares({"web": 0.337, "code": 0.3325, "math": 0.3305})
    note = next(note for note in export(close, "maxtext").notes if "instead" in note)
    assert note.startswith("web: Grain draws 0.33555 instead of 0.337")
    # The `;` form would round 0.00004 to 0.
    tiny = with_shares({"web": 0.99996, "code": 0.0, "math": 0.00004})
    assert data_of(export(tiny, "maxtext"))["math"]["weight"] == pytest.approx(4e-5)


def test_maxtext_paths_are_patterns() -> None:
    mix = data_of(export(example_spec(), "maxtext", data="/data/[v2]"))
    assert mix["web"]["path"] == "/data/[[]v2]/web/*.array_record"


def test_streaming_has_proportions_only() -> None:
    text = export(example_spec(), "streaming").files[0].text
    assert "repeat" not in text
    assert "choose" not in text
    assert data_of(export(example_spec(), "streaming"))["train_loader"]["dataset"]["epoch_size"] == 200
    with pytest.raises(InputError, match="which LLM Foundry would fill in"):
        export(example_spec(), "streaming", data="/data/${oc.env:HOME}")


def test_nanotron_has_two_lists_and_counts_steps_from_one() -> None:
    stages = data_of(export(staged_spec(), "nanotron"))["data_stages"]
    assert [stage["start_training_step"] for stage in stages] == [1, 14]
    assert stages[1]["data"]["dataset"]["dataset_weights"] == pytest.approx([0.4, 0.4, 0.2])
    assert stages[1]["data"]["dataset"]["dataset_folder"][0] == "/data/example/nanotron/web"


def test_levanter_blocks() -> None:
    # 0.7 of 2048 is cut to 1433, and what is left goes to the largest.
    assert block_counts({"web": 0.7, "code": 0.2, "math": 0.1}, 2048) == {
        "web": 1435,
        "code": 409,
        "math": 204,
    }
    assert data_of(export(example_spec(), "levanter"))["data"]["mixture_block_size"] == 2048
    # A weight below 1/2048 would get no sequence at all.
    small = with_shares(
        {"web": 0.7, "code": 0.2998, "math": 0.0002}, total_tokens=102_400_000, data_root=None
    )
    small = small.model_copy(update={"data_root": "/data"})
    data = small.model_dump()
    for domain in data["domains"].values():
        domain |= {"tokens": 10**9, "documents": 10**6, "mean_tokens_per_document": None, "epochs": None}
        domain["shards"] = []
    data["stages"][0]["shares"] = {"web": 0.7, "code": 0.2998, "math": 0.0002}
    block = data_of(export(MixSpec.model_validate(data), "levanter"))["data"]["mixture_block_size"]
    assert block_counts({"web": 0.7, "code": 0.2998, "math": 0.0002}, block)["math"] / block == pytest.approx(
        0.0002, rel=0.1
    )
    for name, share in (("web", 0.7), ("code", 0.29999), ("math", 0.00001)):
        data["domains"][name]["share"] = share
        data["stages"][0]["shares"][name] = share
    with pytest.raises(InputError, match="less than one sequence in a block of 32768"):
        export(MixSpec.model_validate(data), "levanter")


def test_levanter_stages_start_at_blocks() -> None:
    data = data_of(export(staged_spec(), "levanter"))["data"]
    assert [step for step, _ in data["train_weights"]] == [0, 13]
    assert 13 * 8 % data["mixture_block_size"] == 0


def test_gpt_neox_names_all_splits_and_no_document_weights() -> None:
    data = data_of(export(example_spec(), "gpt-neox"))
    assert data["weight_by_num_documents"] is False
    assert "eval_iters" not in data
    bare = example_spec().model_dump()
    for domain in bare["domains"].values():
        domain["heldout_shards"] = []
    exported = export(MixSpec.model_validate(bare), "gpt-neox")
    data = data_of(exported)
    assert data["valid_data_paths"] == data["test_data_paths"] == data["train_data_paths"]
    assert data["eval_iters"] == 0
    assert any("no held-out shards" in note for note in exported.notes)


def test_llama_factory_lists_hold_no_comma() -> None:
    data = example_spec().model_dump()
    data["domains"]["a, b"] = data["domains"].pop("math")
    data["stages"] = [{"from_token": 0, "shares": {"web": 0.7, "code": 0.2, "a, b": 0.1}}]
    text = export(MixSpec.model_validate(data), "llama-factory").files[0].text
    assert yaml.safe_load(text)["dataset"] == f"web,code,{folder_name('a, b')}"


def test_axolotl_rows_are_exact() -> None:
    exported = export(example_spec(), "axolotl")
    assert exported.files[0].settings["rows"] == {"web": 140, "code": 40, "math": 20}
    assert [(item.domain, item.rows) for item in exported.data] == [("web", 140), ("code", 40), ("math", 20)]
    assert "weight" not in exported.files[0].text
    staged = export(staged_spec(), "axolotl")
    assert len({item.folder for item in staged.data}) == 4


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.data == STORE])
def test_stages_read_shards_of_their_own(target: str) -> None:
    spec = with_shards(staged_spec(), 8)
    exported = export(spec, target)
    read = target_named(target).read
    assert read is not None
    paths = [
        {path for entry in read(file.text).stages[0].entries for path in entry.paths}
        for file in exported.files
    ]
    assert len(paths) == 2
    assert not paths[0] & paths[1]
    assert "web: every stage reads shards of its own, none of which another stage reads" in exported.notes


def test_data_of_stages_lies_apart() -> None:
    folders = {
        item.folder: len(item.shards) for item in export(with_shards(staged_spec(), 8), "streaming").data
    }
    # Web is read 53,248 and 19,661 tokens: six shards and two. Code and math are read in one stage only.
    assert folders == {
        "/data/example/streaming/stage-1/web": 6,
        "/data/example/streaming/stage-2/web": 2,
        "/data/example/streaming/code": 8,
        "/data/example/streaming/math": 8,
    }


def test_shards_are_divided_by_what_is_read() -> None:
    shards = [Shard(prefix=str(index), tokens=100) for index in range(10)]
    first, second = divide_shards(shards, [300.0, 700.0], 4) or []
    assert (len(first), len(second)) == (3, 7)
    assert divide_shards(shards[:1], [1.0, 1.0], 4) is None
    assert divide_shards(shards, [500.0, 0.0], 4) is None
    # One huge shard: whoever does not get it would read its own part too often.
    uneven = [Shard(prefix="a", tokens=10_000), Shard(prefix="b", tokens=10)]
    assert divide_shards(uneven, [5000.0, 5000.0], 4) is None


def test_apportioned_counts_are_whole_and_near() -> None:
    counts = apportion({"a": 0.5, "b": 0.3, "c": 0.2}, 7)
    assert counts == {"a": 4, "b": 2, "c": 1} or sum(counts.values()) == 7
    assert all(abs(counts[name] - 7 * share) < 1 for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2)))


def test_folders_of_unlike_names_are_unlike() -> None:
    names = ["a b", "a_b", "a/b", "ä", "Ä", ".", "..", "a" * 100, "a" * 101]
    assert len({folder_name(name) for name in names}) == len(names)
    assert folder_name("web-2_x") == "web-2_x"


@pytest.mark.parametrize("target", list(TARGETS))
def test_aliases(target: str) -> None:
    for alias in TARGETS[target].aliases:
        assert target_named(alias).name == target
        assert export(example_spec(), alias).target == target
