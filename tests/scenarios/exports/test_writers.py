"""Data in trainers' formats holds the store's tokens, is resumed, and is read by those formats' own readers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixing.corpora.token_files import read_index
from mixing.errors import InputError, MixlawError
from mixing.export.data_format import Writer
from mixing.export.exporting import export
from mixing.export.registry import FORMATS, TARGETS
from mixing.export.writing import WriteTask, write_data, write_tasks, writer_of
from tests.proxies.data.small_corpora import stamps
from tests.scenarios.exports.corpus import DOMAINS, WINDOW, WINDOWS, Store, spec_over

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def tasks(store: Store, root: Path) -> list[WriteTask]:
    return [
        WriteTask(
            name, tuple((store.root / s.prefix, s.tokens) for s in store.facts[name].shards), root / name
        )
        for name in DOMAINS
    ]


def read_arrow(folder: Path) -> list[np.ndarray]:
    datasets = pytest.importorskip("datasets")
    return [np.array(row) for row in datasets.load_from_disk(str(folder))["input_ids"]]


def read_array_record(folder: Path) -> list[np.ndarray]:
    grain = pytest.importorskip("grain")
    from mixing.export.maxtext import ids_of

    source = grain.sources.ArrayRecordDataSource(
        [str(path) for path in sorted(folder.glob("*.array_record"))]
    )
    return [ids_of(source[index]) for index in range(len(source))]


def read_litdata(folder: Path) -> list[np.ndarray]:
    litdata = pytest.importorskip("litdata")
    from litdata.streaming.item_loader import TokensLoader

    dataset = litdata.StreamingDataset(str(folder), item_loader=TokensLoader(block_size=WINDOW))
    return [dataset[index].numpy() for index in range(len(dataset))]


def read_ds(folder: Path) -> list[np.ndarray]:
    utils = pytest.importorskip("datatrove.utils.dataset")
    found = []
    for path in sorted(folder.glob("*.ds")):
        # Its windows have one token more than asked for.
        dataset = utils.DatatroveFileDataset(str(path), seq_len=WINDOW - 1, token_size=2)
        found += [np.array(dataset[index]["input_ids"]) for index in range(len(dataset))]
    return found


def read_mds(folder: Path) -> list[np.ndarray]:
    streaming = pytest.importorskip("streaming")
    dataset = streaming.LocalDataset(str(folder))
    return [dataset[index]["tokens"] for index in range(len(dataset))]


READERS: dict[str, Callable[[Path], list[np.ndarray]]] = {
    "arrow": read_arrow,
    "array_record": read_array_record,
    "ds": read_ds,
    "litdata": read_litdata,
    "mds": read_mds,
}
formats = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.streaming) if n == "mds" else n for n in READERS]
)


def writer(name: str) -> Writer:
    own = FORMATS[name].writer
    assert own is not None
    return own


def need(name: str) -> None:
    pytest.importorskip(writer(name).module)


@formats
def test_it_holds_the_windows_of_the_store(store: Store, tmp_path: Path, name: str) -> None:
    need(name)
    told: list[tuple[int, int]] = []
    write_data(tasks(store, tmp_path), FORMATS[name], WINDOW, lambda *at: told.append(at))
    for domain in DOMAINS:
        expected = [
            window
            for tokens in store.tokens(domain)
            for window in tokens[: len(tokens) // WINDOW * WINDOW].reshape(-1, WINDOW)
        ]
        found = READERS[name](tmp_path / domain)
        assert len(found) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert told == sorted(told)
    total = sum(fact.tokens for fact in store.facts.values())
    assert told[-1] == (total, total)


def test_arrow_holds_documents_too(store: Store, tmp_path: Path) -> None:
    need("arrow")
    write_data(tasks(store, tmp_path), FORMATS["arrow"], None)
    rows = read_arrow(tmp_path / "web")
    assert [len(row) for row in rows] == store.documents["web"]
    assert np.array_equal(np.concatenate(rows), np.concatenate(store.tokens("web")))


def test_ds_is_our_bin_and_its_index_ends_documents(store: Store, tmp_path: Path) -> None:
    need("ds")
    write_data(tasks(store, tmp_path), FORMATS["ds"], WINDOW)
    for part, prefix in enumerate(store.prefixes("web")):
        written = tmp_path / "web" / f"part-{part:05d}.ds"
        assert written.read_bytes() == Path(f"{prefix}.bin").read_bytes()
        ends = np.fromfile(f"{written}.index", "<u8")
        assert np.array_equal(ends, read_index(Path(f"{prefix}.idx")).bounds[1:])


def test_rows_are_counted_where_a_trainer_has_no_weights(store: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    spec = spec_over(store, {"web": 0.25, "code": 0.25, "math": 0.5})
    exported = export(spec, "axolotl", data=str(tmp_path))
    write_data(write_tasks(spec, exported), FORMATS["arrow"], WINDOW)
    again = write_data(write_tasks(spec, exported), FORMATS["arrow"], WINDOW)
    assert (again.new, again.existing) == (0, 4)
    for name, share in (("web", 0.25), ("code", 0.25), ("math", 0.5)):
        rows = datasets.load_from_disk(str(tmp_path / name)).with_format("numpy")
        assert len(rows) == share * WINDOWS
        assert set(rows.column_names) == {"input_ids", "attention_mask", "labels"}
        found = [tuple(row) for row in rows["input_ids"]]
        held = [
            tuple(window)
            for tokens in store.tokens(name)
            for window in tokens[: len(tokens) // WINDOW * WINDOW].reshape(-1, WINDOW)
        ]
        assert set(found) <= set(held)
        # Read as evenly as can be: no window twice more often than another.
        most = max(found.count(row) for row in set(found))
        assert most == -(-len(found) // len(held))
        assert np.array_equal(rows[0]["labels"], rows[0]["input_ids"])
        assert rows[0]["attention_mask"].min() == 1


@formats
def test_a_second_time_writes_nothing(store: Store, tmp_path: Path, name: str) -> None:
    need(name)
    first = write_data(tasks(store, tmp_path), FORMATS[name], WINDOW)
    assert (first.new, first.existing) == (4, 0)
    data = [path for path, _ in stamps(tmp_path).items() if "part-" in path or "data-" in path]
    before = {path: stamps(tmp_path)[path] for path in data}
    again = write_data(tasks(store, tmp_path), FORMATS[name], WINDOW)
    assert (again.new, again.existing) == (0, 4)
    assert {path: stamps(tmp_path)[path] for path in data} == before


@formats
def test_a_folder_with_other_rows_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    """A file that was exported before reads that folder."""
    need(name)
    write_data(tasks(store, tmp_path), FORMATS[name], WINDOW)
    before = stamps(tmp_path)
    if writer(name).any_length:
        again = write_data(tasks(store, tmp_path), FORMATS[name], WINDOW // 2)
        assert (again.new, again.existing) == (0, 4)
    else:
        with pytest.raises(InputError, match="web holds windows of 512 tokens, not windows of 256 tokens"):
            write_data(tasks(store, tmp_path), FORMATS[name], WINDOW // 2)
    fewer = [WriteTask(task.domain, task.shards[:1], task.folder) for task in tasks(store, tmp_path)]
    with pytest.raises(InputError, match="web holds data of other token files"):
        write_data(fewer, FORMATS[name], WINDOW)
    others = [WriteTask(task.domain, task.shards[::-1], task.folder) for task in tasks(store, tmp_path)]
    with pytest.raises(InputError, match="web holds data of other token files"):
        write_data(others, FORMATS[name], WINDOW)
    after = stamps(tmp_path)
    for stamp in (before, after):
        for path in [path for path in stamp if path.endswith("lock")]:
            del stamp[path]
    assert after == before


KILLED = """
import os, sys
from pathlib import Path
from mixing.export.registry import FORMATS
from mixing.export.writing import WriteTask, write_data
root, out, name, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
calls = 0
def counted(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
for function in ("replace", "unlink", "fsync"):
    setattr(os, function, counted(getattr(os, function)))
shards = [(root / f"tokens/web/train {part}", 1) for part in (0, 1)]
write_data([WriteTask("web", tuple(shards), out / "web")], FORMATS[name], 512)
"""


@formats
def test_killed_at_any_moment_it_is_resumed(store: Store, tmp_path: Path, name: str) -> None:
    need(name)
    web = [task for task in tasks(store, tmp_path / "fresh") if task.domain == "web"]
    write_data(web, FORMATS[name], WINDOW)
    expected = READERS[name](tmp_path / "fresh" / "web")
    command = [sys.executable, "-c", KILLED, str(store.root), str(tmp_path / "killed"), name]
    killed = [subprocess.run([*command, str(moment)]).returncode for moment in (1, 2, 3, 5)]
    assert killed.count(-9) >= 3
    write_data([WriteTask("web", web[0].shards, tmp_path / "killed" / "web")], FORMATS[name], WINDOW)
    found = READERS[name](tmp_path / "killed" / "web")
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not list((tmp_path / "killed" / "web" / ".mixlaw").glob(".partial-*"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, data_format in FORMATS.items():
        with pytest.raises(MixlawError, match="pip install") as caught:
            writer_of(data_format)
        assert writer(name).package in str(caught.value)
        assert ("environment of its own" in str(caught.value)) == (name == "mds")
    with pytest.raises(InputError, match="'levanter' cannot be written here"):
        writer_of(TARGETS["levanter"].data)


def test_what_cannot_be_written(store: Store, tmp_path: Path) -> None:
    need("ds")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "mine.txt").write_text("mine")
    web = tasks(store, tmp_path)[:1]
    with pytest.raises(InputError, match=r"not of Mixlaw \(mine\.txt\)"):
        write_data(web, FORMATS["ds"], WINDOW)
    with pytest.raises(InputError, match="windows of one length"):
        write_data(web, FORMATS["ds"], None)
    gone = [WriteTask("web", ((tmp_path / "gone", 1),), tmp_path / "out")]
    with pytest.raises(InputError, match=r"gone.*does not exist"):
        write_data(gone, FORMATS["ds"], WINDOW)
    (tmp_path / "file").write_text("")
    with pytest.raises(MixlawError, match="cannot be written"):
        write_data([WriteTask("web", web[0].shards, tmp_path / "file" / "web")], FORMATS["ds"], WINDOW)


def test_two_writers_of_one_folder(store: Store, tmp_path: Path) -> None:
    need("ds")
    import fcntl

    web = tasks(store, tmp_path)[:1]
    write_data(web, FORMATS["ds"], WINDOW)
    with open(tmp_path / "web" / ".mixlaw" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MixlawError, match="written by another process"):
            write_data(web, FORMATS["ds"], WINDOW)
