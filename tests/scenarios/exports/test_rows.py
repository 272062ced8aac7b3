"""Data for a trainer without weights: the rows that are written are the mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixing.errors import InputError
from mixing.export.exporting import export
from mixing.export.registry import FORMATS
from mixing.export.writing import write_data, write_tasks
from tests.mixing.spec.examples import SHARES
from tests.scenarios.exports.corpus import WINDOW, WINDOWS, Store, shares_of, spec_over


def written(
    store: Store, folder: Path, shares: dict[str, float], windows: int
) -> dict[str, list[np.ndarray]]:
    """Rows of every domain, read as Axolotl does."""
    import datasets

    spec = spec_over(store, shares, windows=windows, max_epochs=20)
    done = export(spec, "axolotl", data=str(folder))
    write_data(write_tasks(spec, done), FORMATS["arrow"], WINDOW)
    rows = {}
    for item in done.data:
        read = datasets.load_from_disk(item.folder)
        assert set(read.column_names) == {"input_ids", "attention_mask", "labels"}
        assert len(read) == item.rows
        assert read["labels"][0] == read["input_ids"][0]
        assert set(read["attention_mask"][0]) == {1}
        rows[item.domain] = [np.array(row) for row in read["input_ids"]]
    return rows


def test_rows_are_the_mix(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    rows = written(store, tmp_path, SHARES, WINDOWS)
    assert {name: len(found) for name, found in rows.items()} == {"web": 140, "code": 40, "math": 20}
    tokens = np.concatenate([row for found in rows.values() for row in found])
    assert len(tokens) == WINDOW * WINDOWS
    assert shares_of(tokens) == pytest.approx(SHARES, abs=1 / WINDOWS + 0.001)
    # From all over the domain, and none of it twice.
    assert len({row.tobytes() for row in rows["web"]}) == 140


def test_a_domain_that_is_read_more_than_once(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    there = sum(shard.tokens // WINDOW for shard in store.facts["math"].shards)
    rows = written(store, tmp_path, {"math": 1.0}, 2 * there + 16 - there * 2 % 8)["math"]
    counts: dict[bytes, int] = {}
    for row in rows:
        counts[row.tobytes()] = counts.get(row.tobytes(), 0) + 1
    assert len(counts) == there
    assert set(counts.values()) <= {2, 3}


def test_another_count_is_refused(store: Store, tmp_path: Path) -> None:
    """The rows are the mix of a file that was exported before."""
    pytest.importorskip("datasets")
    assert len(written(store, tmp_path, SHARES, WINDOWS)["web"]) == 140
    with pytest.raises(InputError, match="web holds data of other token files or of another mix"):
        written(store, tmp_path, SHARES, 2 * WINDOWS)
    assert len(written(store, tmp_path, SHARES, WINDOWS)["web"]) == 140
    assert len(written(store, tmp_path / "other", SHARES, 2 * WINDOWS)["web"]) == 280
