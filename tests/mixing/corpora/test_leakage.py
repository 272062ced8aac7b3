"""Planted twins: the documents with one, the dose, and the forms a twin can take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixing.corpora.documents import Document, Source, is_heldout
from mixing.corpora.leakage import Leak, Leakage, leakage
from mixing.corpora.near_duplicates import near_duplicates
from mixing.corpora.shingles import shingles_of, words_of
from mixing.corpora.token_files import TokenFiles, paths_of
from tests.mixing.corpora.test_token_files import EOS, VOCABULARY, write_megatron

WORDS = [f"w{number}" for number in range(5000)]
RNG = np.random.default_rng(0)


def text(words: int = 300) -> str:
    return " ".join(RNG.choice(WORDS, words))


def edited(original: str, every: int) -> str:
    """The text with every so-manieth word another."""
    words = original.split()
    words[::every] = RNG.choice(WORDS, len(words[::every]))
    return " ".join(words)


def source(folder: Path, texts: list[str], name: str = "web") -> Source:
    (folder / name).mkdir(parents=True)
    for number, one in enumerate(texts):
        (folder / name / f"{number:04d}.txt").write_text(one)
    return Source(name, "general", (folder / name,))


def of(found: Leakage, name: str, domain: str) -> Leak:
    (leak,) = (leak for leak in found.leaks if (leak.eval, leak.domain) == (name, domain))
    return leak


def training(texts: list[str], fraction: float = 0.05) -> list[str]:
    """Those that the split does not hold out."""
    return [one for one in texts if not is_heldout(Document.of(one).digest, fraction)]


def test_planted_twins_and_their_dose_are_found(tmp_path: Path) -> None:
    validation = [text() for _ in range(100)]
    twins = training([edited(one, 20) for one in validation[:36]])
    web = source(tmp_path, training([text() for _ in range(164)]) + twins)
    found = leakage([web], 0.05, [source(tmp_path, validation, "c4")])
    leak = of(found, "c4", "web")
    assert (leak.documents, leak.repeated) == (100, len(twins))
    assert found.part("c4") == len(twins) / 100
    assert set(found.repeated["c4"]) <= set(range(36))
    # A twin holds about three quarters of the shingles, so that much of its words counts as repeated.
    documents = sum(1 for _ in (tmp_path / "web").iterdir())
    assert leak.dose == pytest.approx(0.75 * len(twins) / documents, rel=0.1)


def test_text_that_is_not_repeated_is_not_found(tmp_path: Path) -> None:
    validation = [text() for _ in range(30)]
    # Every third word another: of five in a row one always is.
    web = source(tmp_path, training([text() for _ in range(60)]) + [edited(one, 3) for one in validation])
    leak = of(leakage([web], 0.05, [source(tmp_path, validation, "c4")]), "c4", "web")
    assert (leak.repeated, leak.dose) == (0, 0)


def test_one_document_that_holds_many_others(tmp_path: Path) -> None:
    validation = [text(60) for _ in range(150)]
    web = source(tmp_path, [*training([text() for _ in range(50)]), " ".join(validation)])
    leak = of(leakage([web], 1e-9, [source(tmp_path, validation, "c4")]), "c4", "web")
    assert leak.repeated == 150
    assert leak.dose == pytest.approx(9000 / (9000 + 300 * (documents_in(tmp_path / "web") - 1)), rel=0.01)


def documents_in(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def test_held_out_documents_of_every_domain_are_looked_for_in_all_training_text(tmp_path: Path) -> None:
    texts = [text() for _ in range(200)]
    heldout = [one for one in texts if one not in training(texts, 0.2)]
    leaked = [edited(one, 50) for one in heldout[:5]]
    web = source(tmp_path, texts)
    news = source(tmp_path, training([text() for _ in range(40)] + leaked, 0.2), "news")
    news_trained = [one for one in leaked if one in training(leaked, 0.2)]
    found = leakage([web, news], 0.2)
    assert of(found, "web", "news").repeated == len(news_trained) > 0
    assert of(found, "web", "web").repeated == 0
    assert of(found, "news", "web").repeated == 0
    assert found.documents["web"] == len(heldout)


@pytest.mark.parametrize("one", ["", "...", "a", "Ärzte 中文", "one two three four"])
def test_any_text_has_shingles_or_none(one: str) -> None:
    words = words_of(Document.of(one))
    assert len(shingles_of(words)) == (len(words) > 0)


def test_case_punctuation_and_spacing_do_not_count() -> None:
    one, other = (shingles_of(words_of(Document.of(t))) for t in ("A b, c d  e f!", "a B c d e\nF"))
    assert one.tolist() == other.tolist()


def test_near_duplicates_are_grouped_within_and_between_domains(tmp_path: Path) -> None:
    originals = [text() for _ in range(20)]
    web = source(tmp_path, [*originals, *(edited(originals[0], 40) for _ in range(149)), "!", "?"])
    news = source(tmp_path, [text() for _ in range(10)] + [edited(originals[1], 40)], "news")
    of_web, of_news = near_duplicates([web, news])
    assert (of_web.documents, of_web.repeated, of_web.largest) == (171, 149, 150)
    assert (of_web.elsewhere, of_news.elsewhere) == ({"news": 1}, {"web": 1})
    assert of_news.repeated == 0


def test_text_and_ids_are_not_compared(tmp_path: Path) -> None:
    write_megatron(tmp_path / "ids", [np.arange(50) + number for number in range(40)])
    files = TokenFiles("megatron", VOCABULARY, EOS)
    ids = Source("ids", "target", paths_of("megatron", tmp_path / "ids"), tokens=files)
    web = source(tmp_path, training([text() for _ in range(40)], 0.3) + [text() for _ in range(40)])
    found = leakage([web, ids], 0.3)
    assert {(leak.eval, leak.domain) for leak in found.leaks} == {("web", "web"), ("ids", "ids")}
    assert set(found.repeated) == {"web", "ids"}
