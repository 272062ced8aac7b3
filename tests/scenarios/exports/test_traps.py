"""What trainers do with a mix that nobody warns of, with their own loaders, and that an export avoids it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from mixing.errors import InputError
from mixing.export.exporting import export
from mixing.export.loader import DrawRequest, Draws
from mixing.export.registry import LOADERS, TARGETS
from mixing.export.target import GOLDEN_ONLY
from mixing.spec.model import MixSpec
from tests.mixing.spec.examples import SHARES, specs
from tests.scenarios.exports.corpus import (
    DOMAINS,
    EOS,
    VOCABULARY,
    WINDOW,
    WINDOWS,
    Store,
    shares_of,
    spec_over,
)
from tests.scenarios.tiny_study import ROOT

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::UserWarning",
    "ignore::FutureWarning",
    # Megatron's, of a file that it could not open.
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def request_for(
    spec: MixSpec, name: str, work: Path, items: int = WINDOWS, edit: Any = None, **settings: Any
) -> DrawRequest:
    """What a loader is given; `edit` changes the exported text, `settings` what belongs to it."""
    exported = export(spec, name, work / TARGETS[name].filename)
    file = exported.files[0]
    assert file.path is not None
    if edit is not None:
        file.path.write_text(edit(file.path.read_text()))
    given = {**file.settings, **settings}
    return DrawRequest(file.path, given, spec, exported.plan.stages[0], exported.plan.unit, items, work)


def test_named_versions_are_those_that_are_tested() -> None:
    """`export --list` claims no loader that these tests don't run, in no other version."""
    verified = {target.name: target.verified for target in TARGETS.values() if target.verified != GOLDEN_ONLY}
    assert verified.keys() == LOADERS.keys()
    pins = "\n".join(Path(f"constraints-{name}.txt").read_text() for name in ("exports", "streaming"))
    for name, text in verified.items():
        package, version = text.split()
        assert package == LOADERS[name].package
        assert re.search(rf"^{re.escape(package)}=={re.escape(version)}$", pins, re.MULTILINE | re.IGNORECASE)


class TestMegatron:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("megatron.core")

    def test_it_reads_the_shares_from_the_tokens_themselves(self, store: Store, tmp_path: Path) -> None:
        from mixing.export.megatron import training_dataset

        dataset = training_dataset(request_for(spec_over(store), "megatron", tmp_path))
        tokens = np.concatenate([dataset[index]["tokens"].numpy() for index in range(WINDOWS)])
        assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / WINDOWS + 0.001)

    def test_the_validation_blend_has_the_same_shares(self, store: Store, tmp_path: Path) -> None:
        from mixing.export.megatron import training_dataset

        def held_out(text: str) -> str:
            return json.dumps({"train": json.loads(text)["valid"]})

        asked = request_for(spec_over(store), "megatron", tmp_path, 40, held_out)
        dataset = training_dataset(asked)
        tokens = np.concatenate([dataset[index]["tokens"].numpy() for index in range(40)])
        assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / 40 + 0.001)

    def test_it_repeats_silently_and_we_refuse(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"domains\.math: 2\.\d+ epochs, above its max_epochs of 2"):
            export(spec_over(store, {"math": 1.0}, max_epochs=2), "megatron", tmp_path / "refused.json")
        assert not (tmp_path / "refused.json").exists()
        # The control: Megatron itself takes the same mix, at more than two epochs, without a word.
        asked = request_for(spec_over(store, {"math": 1.0}, max_epochs=4), "megatron", tmp_path)
        drawn = LOADERS["megatron"].draw(asked)
        assert drawn.items == WINDOWS
        assert WINDOWS * WINDOW / store.facts["math"].tokens > 2

    def test_it_fails_on_a_weight_of_zero_and_we_leave_it_out(self, store: Store, tmp_path: Path) -> None:
        spec = spec_over(store, {"web": 0.5, "code": 0.0, "math": 0.5})
        asked = request_for(spec, "megatron", tmp_path)
        assert "code" not in asked.file.read_text().split('"valid"')[0]
        LOADERS["megatron"].draw(asked)
        prefix = str(store.prefixes("code")[0])

        def with_zero(text: str) -> str:
            blend = json.loads(text)
            return json.dumps({**blend, "train": [*blend["train"], "0.0", prefix]})

        (tmp_path / "zero").mkdir()
        with pytest.raises(Exception, match=r"^$"):  # an assertion, without a word
            LOADERS["megatron"].draw(request_for(spec, "megatron", tmp_path / "zero", edit=with_zero))

    def test_it_reads_the_shards_of_a_domain_equally_often(self, store: Store, tmp_path: Path) -> None:
        from mixing.export.megatron import training_dataset

        dataset = training_dataset(request_for(spec_over(store), "megatron", tmp_path))
        counts = Counter(int(dataset[index]["dataset_id"]) for index in range(WINDOWS))
        per_token = [counts[part] / shard.tokens for part, shard in enumerate(store.facts["web"].shards)]
        assert per_token[0] == pytest.approx(per_token[1], rel=0.05)

    def test_a_later_stage_reads_nothing_of_an_earlier_one(self, store: Store, tmp_path: Path) -> None:
        """Megatron begins every phase at the start of its data: stages get shards of their own."""
        stages = [{"from_token": 0, "shares": {"web": 1.0}}, {"from_token": 51_200, "shares": {"web": 1.0}}]
        exported = export(spec_over(store, {"web": 1.0}, stages=stages), "megatron", tmp_path / "blend.json")
        read = [set(json.loads(file.text)["train"][1::2]) for file in exported.files]
        assert len(read) == 2
        assert not read[0] & read[1]

    @settings(max_examples=40, deadline=None)
    @given(specs())
    def test_it_parses_every_blend(self, spec: MixSpec) -> None:
        from megatron.core.datasets.utils import get_blend_from_list

        try:
            exported = export(spec, "megatron")
        except InputError:
            assume(False)
        prefixes = {
            f"{spec.data_root}/{shard.prefix}" for domain in spec.domains.values() for shard in domain.shards
        }
        for file in exported.files:
            paths, weights = get_blend_from_list(json.loads(file.text)["train"])
            assert set(paths) <= prefixes
            assert all(weight > 0 for weight in weights)


class TestOlmoCore:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("olmo_core")

    def test_it_reads_the_shares_from_the_tokens_themselves(self, store: Store, tmp_path: Path) -> None:
        from mixing.export.olmo_core import dataset_of

        dataset = dataset_of(request_for(spec_over(store), "olmo-core", tmp_path))
        assert len(dataset) == WINDOWS
        tokens = np.concatenate([dataset[index]["input_ids"].numpy() for index in range(WINDOWS)])
        assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / WINDOWS + 0.001)

    def test_tokens_beyond_whole_batches_are_spread_evenly_so_they_are_rounded(
        self, store: Store, tmp_path: Path
    ) -> None:
        spec = spec_over(store, windows=210, global_batch_tokens=64 * WINDOW)
        asked = request_for(spec, "olmo-core", tmp_path)
        requested = asked.settings["requested_tokens"]
        assert requested % (64 * WINDOW) == 0
        assert requested == 192 * WINDOW
        drawn = LOADERS["olmo-core"].draw(asked)
        assert drawn.items == 192
        assert _worst(drawn) < 3 / 192 + 0.001
        # The control: what was asked for, not rounded, is another mix, without an error.
        (tmp_path / "not").mkdir()
        unrounded = request_for(spec, "olmo-core", tmp_path / "not", requested_tokens=210 * WINDOW)
        assert _worst(LOADERS["olmo-core"].draw(unrounded)) > 0.03

    def test_a_domain_is_repeated_up_to_its_cap_only(self, store: Store, tmp_path: Path) -> None:
        from olmo_core.exceptions import OLMoConfigurationError

        spec = spec_over(store, {"web": 0.3, "code": 0.2, "math": 0.5}, max_epochs=2)
        drawn = LOADERS["olmo-core"].draw(request_for(spec, "olmo-core", tmp_path))
        assert drawn.shares["math"] == pytest.approx(0.5, abs=3 / WINDOWS + 0.001)
        (tmp_path / "cap").mkdir()

        def capped(text: str) -> str:
            return re.sub(r"max_repetition_ratio: [0-9.]+", "max_repetition_ratio: 1.0", text)

        with pytest.raises(OLMoConfigurationError, match="Insufficient tokens for source: math"):
            LOADERS["olmo-core"].draw(request_for(spec, "olmo-core", tmp_path / "cap", edit=capped))

    def test_left_to_guess_it_takes_a_small_vocabulary_for_bytes_so_the_type_is_written(
        self, store: Store, tmp_path: Path
    ) -> None:
        from olmo_core.data import NumpyFSLDatasetConfig, TokenizerConfig

        asked = request_for(spec_over(store), "olmo-core", tmp_path)
        assert asked.settings["dtype"] == "uint16"
        assert "dtype: uint16" in asked.file.read_text()
        for vocabulary, guessed in ((200, "uint8"), (VOCABULARY, "uint16")):
            tokenizer = TokenizerConfig(vocab_size=vocabulary, eos_token_id=EOS, pad_token_id=EOS)
            config = NumpyFSLDatasetConfig(
                tokenizer=tokenizer, sequence_length=WINDOW, paths=[f"{store.prefixes('web')[0]}.bin"]
            )
            assert config.get_dtype().__name__ == guessed

    def test_its_raw_npy_is_our_bin(self, store: Store, tmp_path: Path) -> None:
        """The same bytes under OLMo-core's own file name."""
        spec = spec_over(store)
        numbers = iter(range(10))

        def linked(text: str) -> str:
            def link(found: re.Match[str]) -> str:
                path = tmp_path / f"part-{next(numbers)}.npy"
                path.symlink_to(found[0])
                return str(path)

            return re.sub(rf"{re.escape(str(store.root))}[^\n,\]'\"]*\.bin", link, text)

        asked = request_for(spec, "olmo-core", tmp_path, edit=linked)
        assert ".bin" not in asked.file.read_text()
        from mixing.export.olmo_core import dataset_of

        dataset = dataset_of(asked)
        tokens = np.concatenate([dataset[index]["input_ids"].numpy() for index in range(WINDOWS)])
        assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / WINDOWS + 0.001)


class TestDatasets:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("datasets")

    def test_the_documented_loader_reads_the_token_store(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        arguments = json.loads(export(spec_over(store), "huggingface", tmp_path).files[0].text)
        page = ROOT / "docs" / "exports.md"
        section = page.read_text(encoding="utf-8").split("\n## huggingface\n")[1]
        code = section.split("```python\n")[1].split("```")[0]
        names: dict[str, Any] = {"__name__": "documented"}
        exec(code, names)
        rows = [np.array(row["input_ids"]) for row in names["stream"]]
        assert len(rows) == arguments["rows"] == WINDOWS
        assert {len(row) for row in rows} == {WINDOW}
        for name, share in shares_of(np.concatenate(rows)).items():
            assert abs(share - SHARES[name]) < 4 * math.sqrt(SHARES[name] * (1 - SHARES[name]) / WINDOWS)

    def test_shares_given_to_a_sampler_of_documents_are_far_off(self, store: Store, tmp_path: Path) -> None:
        """The control of the conversion: the same rows with the token shares as probabilities."""
        from mixing.export.huggingface import interleaved

        spec = spec_over(store, windows=2400, max_epochs=20)
        arguments = json.loads(export(spec, "huggingface", unit="document").files[0].text)
        naive = {**arguments, "datasets": list(SHARES), "probabilities": list(SHARES.values())}
        items = [(row["domain"], row["tokens"]) for row in interleaved(naive).take(2000)]
        wrong = Draws.of(DOMAINS, items).shares
        assert max(abs(wrong[name] - SHARES[name]) for name in DOMAINS) > 0.15

    def test_other_stopping_strategies_end_early_or_forget_the_shares(self, store: Store) -> None:
        from mixing.export.huggingface import interleaved

        spec = spec_over(store, {"web": 0.3, "code": 0.2, "math": 0.5}, windows=400, max_epochs=20)
        arguments = json.loads(export(spec, "huggingface").files[0].text)
        assert arguments["stopping_strategy"] == "all_exhausted"
        assert len(list(interleaved(arguments).take(400))) == 400

        def rows(strategy: str) -> list[str]:
            once = {**arguments, "passes": [1, 1, 1], "stopping_strategy": strategy}
            return [row["domain"] for row in interleaved(once)]

        # The default ends with the smallest domain.
        assert len(rows("first_exhausted")) < 300
        natural = Counter(rows("all_exhausted_without_replacement"))
        windows = {name: sum(s.tokens // WINDOW for s in f.shards) for name, f in store.facts.items()}
        assert dict(natural) == windows

    def test_probabilities_sum_to_1_for_it(self, store: Store) -> None:
        from mixing.export.huggingface import interleaved

        for shares in ({"web": 0.1, "code": 0.2, "math": 0.7}, dict.fromkeys(DOMAINS, 1 / 3)):
            spec = spec_over(store, shares, max_epochs=20)
            arguments = json.loads(export(spec, "huggingface").files[0].text)
            next(iter(interleaved(arguments)))
        with pytest.raises(ValueError, match="sum"):
            list(interleaved({**arguments, "probabilities": [0.5, 0.5, 0.5]}).take(1))


class TestGrain:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("grain")

    def test_it_draws_coarse_weights_and_the_export_says_so(self) -> None:
        import grain

        asked = {"a": 0.0134, "b": 0.0201, "c": 0.9665}
        data = {name: grain.MapDataset.source([name] * 4000).to_iter_dataset() for name in asked}
        drawn = Counter(
            item for _, item in zip(range(4000), grain.IterDataset.mix(data, asked), strict=False)
        )
        whole = {name: int(weight * 100 / 0.0134) for name, weight in asked.items()}
        for name in asked:
            assert drawn[name] / 4000 == pytest.approx(whole[name] / sum(whole.values()), abs=1e-3)
        with pytest.raises(ValueError, match="non-zero proportions"):
            grain.IterDataset.mix(data, {**asked, "a": 0.0})


class TestLitData:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("litdata")

    def test_weights_with_its_default_are_refused_so_the_export_says_not_all(self, store: Store) -> None:
        from litdata import CombinedStreamingDataset

        exported = export(spec_over(store), "litdata", data="/data")
        assert json.loads(exported.files[0].text)["iterate_over_all"] is False
        with pytest.raises(ValueError, match="iterate_over_all"):
            CombinedStreamingDataset([], weights=[1.0])


@pytest.mark.streaming
def test_streaming_takes_a_proportion_or_a_repeat_not_both(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("streaming")
    from streaming import Stream

    text = export(spec_over(store), "streaming", data="/data").files[0].text
    assert "proportion" in text
    assert "repeat" not in text
    streams = [
        Stream(local=str(tmp_path / "a"), proportion=0.5),
        Stream(local=str(tmp_path / "b"), repeat=2),
    ]
    with pytest.raises(ValueError, match=r"[Pp]roportion"):
        Stream.validate_weights(streams)


def _worst(drawn: Draws) -> float:
    return max(abs(drawn.shares[name] - share) for name, share in SHARES.items())
