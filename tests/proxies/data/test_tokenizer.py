"""Tokenizers: trained here, or given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from mixing.corpora.catalog import scan
from mixing.corpora.documents import Source, documents, is_heldout
from mixing.errors import InputError, MixlawError
from proxies.data.tokenizer import (
    EOS,
    eos_id,
    load_tokenizer,
    tokenizer_hash,
    train_bpe,
    train_tokenizer,
    training_sample,
    vocabulary_size,
)
from tests.proxies.data.small_corpora import FRACTION, corpus, texts


class TestTokenizer:
    def test_the_same_text_gives_the_same_file_in_any_order_and_process(self, tmp_path: Path) -> None:
        some = texts(300)
        train_bpe(some, 500, tmp_path / "a.json")
        train_bpe(iter(some[::-1]), 500, tmp_path / "b.json")
        code = (
            "import sys; from tests.proxies.data.test_tokenizer import *; "
            "train_bpe(texts(300), 500, Path(sys.argv[1]))"
        )
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "c.json")], check=True, env=environment)
        assert len({tokenizer_hash(tmp_path / f"{name}.json") for name in "abc"}) == 1
        assert vocabulary_size(load_tokenizer(tmp_path / "a.json")) == 500

    @settings(max_examples=200, deadline=None)
    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_comes_back(self, text: str, tokenizer: Path) -> None:
        loaded = load_tokenizer(tokenizer)
        assert loaded.decode(loaded.encode(text, add_special_tokens=False).ids) == text

    def test_text_that_spells_the_special_token_is_text(self, tokenizer: Path) -> None:
        loaded = load_tokenizer(tokenizer)
        end = eos_id(loaded, tokenizer)
        assert loaded.id_to_token(end) == EOS
        assert end not in loaded.encode(f"a {EOS} b", add_special_tokens=False).ids

    def test_truncation_and_padding_of_a_given_tokenizer_are_off(
        self, tokenizer: Path, tmp_path: Path
    ) -> None:
        given_tokenizer = Tokenizer.from_file(str(tokenizer))
        given_tokenizer.enable_truncation(4)
        given_tokenizer.enable_padding(length=64)
        given_tokenizer.save(str(tmp_path / "tokenizer.json"))
        ids = load_tokenizer(tmp_path).encode_batch(["one two three four five six", "one"])
        assert len(ids[0].ids) > 4
        assert len(ids[1].ids) < 64

    def test_eos_of_a_given_tokenizer(self, tmp_path: Path) -> None:
        path = tmp_path / "tokenizer.json"
        Tokenizer(models.WordLevel({"a": 0, "</s>": 7, "<stop>": 9}, unk_token="a")).save(str(path))
        loaded = load_tokenizer(path)
        assert vocabulary_size(loaded) == 10
        assert eos_id(loaded, path) == 7
        assert eos_id(loaded, path, "<stop>") == 9
        with pytest.raises(InputError, match=r"tokenizer\.json has no token '<end>'.*\(eos\)"):
            eos_id(loaded, path, "<end>")
        for configured in ("<stop>", {"content": "<stop>"}):
            (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": configured}))
            assert eos_id(loaded, tmp_path) == 9
        (tmp_path / "tokenizer_config.json").write_text("not JSON")
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(path))
        with pytest.raises(InputError, match=r"no end-of-document token is known.*Name the token.*eos"):
            eos_id(load_tokenizer(path), path)

    @pytest.mark.parametrize("content", ["", "{}", '{"model": 1}'])
    def test_a_file_that_is_not_a_tokenizer(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(InputError, match=r"tokenizer\.json is not a tokenizer"):
            load_tokenizer(tmp_path / "tokenizer.json")
        with pytest.raises(InputError, match=r"other\.json does not exist"):
            load_tokenizer(tmp_path / "other.json")

    def test_a_vocabulary_that_is_too_small(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="256 is too small"):
            train_bpe(["text"], 256, tmp_path / "a.json")
        train_bpe(["text"], 257, tmp_path / "a.json")
        with pytest.raises(MixlawError, match=r"nowhere/a\.json: cannot be written"):
            train_bpe(["text"], 300, tmp_path / "nowhere" / "a.json")

    def test_the_sample_is_balanced_and_never_held_out(self, tmp_path: Path) -> None:
        large = corpus(tmp_path / "large", texts(3000))
        small = corpus(tmp_path / "small", texts(300, 1))
        catalog = scan([large, small], FRACTION)
        sample = list(training_sample([large, small], catalog, 100_000))
        heldout = {d.text for s in (large, small) for d in documents(s) if is_heldout(d.digest, FRACTION)}
        assert heldout.isdisjoint(sample)
        sizes = [
            sum(len(text.encode()) for text in sample if text.startswith(start)) for start in ("0.", "1.")
        ]
        assert sizes == [pytest.approx(50_000, rel=0.25)] * 2

    def test_it_is_trained_once(self, sources: list[Source], tmp_path: Path) -> None:
        path = tmp_path / "tokenizer.json"
        catalog = scan(sources, FRACTION)
        train_tokenizer(sources, catalog, 400, path)
        content, stamp = path.read_bytes(), path.stat().st_ino
        train_tokenizer(sources, catalog, 400, path)
        assert path.stat().st_ino == stamp
        path.write_bytes(content + b" ")
        train_tokenizer(sources, catalog, 400, path)
        assert path.read_bytes() == content
        train_tokenizer(sources, catalog, 300, path)
        assert vocabulary_size(load_tokenizer(path)) == 300
