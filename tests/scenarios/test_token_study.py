"""A study that is given token ids instead of text, from the ids to the mix spec."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.study.loading import load_study
from mixing.errors import InputError
from proxies.data.tokenizer import eos_id, load_tokenizer, vocabulary_size
from tests.conftest import Finished
from tests.proxies.data.small_corpora import contents
from tests.scenarios.tiny_study import STUDY, mixlaw

TEXT_DOMAINS = """\
  docs: {role: general, paths: corpora/docs}
  code: {role: target, paths: corpora/code}
"""
ID_DOMAINS = """\
  docs: {role: general, tokens: "megatron://ids/docs/*-0*"}
  code: {role: target, tokens: "olmo://ids/code/*.npy", token_dtype: uint16}
"""
TRAINED = "tokenizer: {train: {vocab_size: 320}}"


def id_study(folder: Path, tokenizer: str, text: str = STUDY) -> Path:
    text = text.replace(TEXT_DOMAINS, ID_DOMAINS).replace(TRAINED, f"tokenizer: {tokenizer}")
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def ids(finished: Finished, tmp_path: Path) -> Path:
    """What another study tokenised: Megatron's pairs of one domain, OLMo's raw files of the other."""
    tokens = finished.folder / "tokens"
    shutil.copytree(tokens / "docs", tmp_path / "ids" / "docs")
    (tmp_path / "ids" / "code").mkdir()
    for file in tokens.glob("code/*.bin"):
        shutil.copy(file, tmp_path / "ids" / "code" / f"{file.stem}.npy")
    shutil.copy(finished.folder / "tokenizer.json", tmp_path / "tokenizer.json")
    return tmp_path


@pytest.mark.slow
def test_ids_run_like_text(finished: Finished, ids: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ids / "tokenizer.json")
    given = {"vocab_size": vocabulary_size(tokenizer), "eos_id": eos_id(tokenizer, ids / "tokenizer.json")}
    study = id_study(tmp_path, json.dumps(given))
    catalog = json.loads(mixlaw(tmp_path / "home", "catalog", str(study), "--json").stdout)
    earlier = json.loads((finished.folder / "catalog.json").read_text())
    for then, now in zip(earlier["domains"], catalog["domains"], strict=True):
        assert (now["documents"], now["tokens"]) == (then["documents"], then["tokens"])
    plan = json.loads(mixlaw(tmp_path / "home", "plan", str(study), "--json").stdout)
    assert plan["supply_estimated"]

    done = mixlaw(tmp_path / "home", "run", str(study))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "home" / "tiny"
    spec = yaml.safe_load((folder / "mixspec.yaml").read_text())
    assert spec["domains"]["docs"]["tokenizer"] is None
    manifest = json.loads((folder / "tokens" / "manifest.json").read_text())
    for name, then in zip(("docs", "code"), earlier["domains"], strict=True):
        parts = manifest["domains"][name]
        assert parts["train"]["documents"] + parts["heldout"]["documents"] == then["documents"]
        assert parts["train"]["tokens"] + parts["heldout"]["tokens"] == then["tokens"]
        assert spec["domains"][name]["tokens"] == parts["train"]["tokens"]
    before = contents(folder / "tokens")
    again = mixlaw(tmp_path / "home", "run", str(study), "--json")
    assert json.loads(again.stdout)["runs"]["trained_now"] == 0
    assert contents(folder / "tokens") == before


def test_with_a_tokenizers_file_text_and_ids_mix(ids: Path, finished: Finished, tmp_path: Path) -> None:
    from flows.pipeline.prepare import catalogue, token_store
    from flows.pipeline.workspace import Workspace

    shutil.copytree(finished.study.parent / "corpora", tmp_path / "corpora")
    text = STUDY.replace("docs: {role: general, paths: corpora/docs}", ID_DOMAINS.split("\n")[0].strip())
    study = id_study(tmp_path, "{file: tokenizer.json}", text)
    workspace = Workspace.load(study, tmp_path / "home")
    store = token_store(workspace, catalogue(workspace))
    earlier = finished.folder / "tokens" / "manifest.json"
    code = json.loads(earlier.read_text())["domains"]["code"]["train"]
    assert store.domains["code"].train.tokens == code["tokens"]
    assert int(np.max(store.domains["docs"].train.windows(np.arange(4), 32))) < store.vocab_size


@pytest.mark.parametrize(
    ("domains", "tokenizer", "said"),
    [
        (ID_DOMAINS, "{train: {vocab_size: 320}}", "docs.tokens are ids: give the tokenizer"),
        (ID_DOMAINS, "{vocab_size: 320}", "vocab_size and eos_id go together"),
        (ID_DOMAINS, "{vocab_size: 320, eos_id: 320}", "eos_id 320 is not below vocab_size 320"),
        (ID_DOMAINS, "{file: a.json, vocab_size: 320, eos_id: 1}", "give one of train"),
        (ID_DOMAINS, "{train: {vocab_size: 320}, eos: x}", "eos names a token of file"),
        (ID_DOMAINS.replace(", token_dtype: uint16", ""), "{file: a.json}", "do not say their type"),
        (ID_DOMAINS.replace("olmo:", "s3:"), "{file: a.json}", "neither megatron://PREFIX nor olmo"),
        (ID_DOMAINS.replace("target,", "target, paths: a,"), "{file: a.json}", "give either paths"),
        (TEXT_DOMAINS, "{vocab_size: 320, eos_id: 0}", "domains.docs is text"),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, domains: str, tokenizer: str, said: str) -> None:
    text = STUDY.replace(TEXT_DOMAINS, domains).replace(TRAINED, f"tokenizer: {tokenizer}")
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_study(tmp_path / "study.yaml")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    study = id_study(tmp_path, "{vocab_size: 320, eos_id: 0}")
    done = mixlaw(tmp_path / "home", "plan", str(study))
    assert done.returncode == 2
    assert "study.yaml: domains.docs.tokens:" in done.stderr
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
