"""The loaders in docs/exports.md run as they stand there, on the files that the export writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixing.export.exporting import export
from mixing.export.registry import FORMATS
from mixing.export.writing import write_data, write_tasks
from tests.mixing.spec.examples import SHARES
from tests.scenarios.exports.corpus import EOS, VOCABULARY, WINDOW, WINDOWS, Store, shares_of, spec_over
from tests.scenarios.tiny_study import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def documented(target: str, **names: Any) -> dict[str, Any]:
    """Runs the section's Python code in the current folder; returns its names."""
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    code = page.split(f"\n## {target}\n")[1].split("```python\n")[1].split("```")[0]
    found = {"__name__": "documented", **names}
    exec(code, found)
    return found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_olmo_core(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("olmo_core")
    from olmo_core.data import TokenizerConfig

    # The page's numbers are those of 200 windows in batches of 8, as here.
    export(spec_over(store), "olmo-core", tmp_path)
    tokenizer = TokenizerConfig(vocab_size=VOCABULARY, eos_token_id=EOS, pad_token_id=EOS)
    dataset = documented("olmo-core", tokenizer=tokenizer, work_dir=str(tmp_path))["dataset"].build()
    dataset.prepare()
    tokens = np.concatenate([dataset[index]["input_ids"].numpy() for index in range(WINDOWS)])
    assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / WINDOWS + 0.001)


def test_litdata(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("litdata")
    spec = spec_over(store)
    done = export(spec, "litdata", tmp_path, data=str(tmp_path / "data"))
    write_data(write_tasks(spec, done), FORMATS["litdata"], WINDOW)
    blocks = iter(documented("litdata")["stream"])
    tokens = np.concatenate([np.asarray(next(blocks)) for _ in range(WINDOWS)])
    assert len(tokens) == WINDOW * WINDOWS
    # Four standard deviations of a share of 0.7 in 200 blocks.
    assert shares_of(tokens) == pytest.approx(SHARES, abs=0.13)


def test_datatrove(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    export(spec_over(store), "datatrove", tmp_path)
    readers = documented("datatrove")["readers"]
    mix = json.loads((tmp_path / "mix.json").read_text())
    assert sum(domain["windows"] for domain in mix["domains"]) == WINDOWS
    for place, name in enumerate(SHARES):
        sample = np.asarray(readers[name][0][0]["input_ids"])
        assert len(sample) == WINDOW
        assert list(shares_of(sample).values())[place] == 1
