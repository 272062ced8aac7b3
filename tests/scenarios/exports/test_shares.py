"""Every loader that can be run here draws the shares that were asked for; `mixlaw check` says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixing.errors import InputError, MixlawError
from mixing.export.checking import Check, check, loader_of
from mixing.export.exporting import export
from mixing.export.registry import LOADERS, target_named
from mixing.export.writing import write_data, write_tasks
from mixing.spec.model import MixSpec
from tests.mixing.spec.examples import SHARES
from tests.scenarios.exports.corpus import WINDOWS, Store, spec_over
from tests.scenarios.exports.table import ROWS, Row

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)

DATA = {"huggingface": "arrow", "maxtext": "array_record", "litdata": "litdata", "streaming": "mds"}
MARKS = {"streaming": pytest.mark.streaming}
RANDOM_WINDOWS = 2400


def marked(name: str) -> object:
    return pytest.param(name, marks=MARKS[name]) if name in MARKS else name


targets = pytest.mark.parametrize("name", [marked(name) for name in LOADERS])


def need(name: str) -> None:
    pytest.importorskip(LOADERS[name].module)


def with_data(spec: MixSpec, name: str, folder: Path, unit: str | None = None) -> str | None:
    """Writes the data that the target reads, where it doesn't read the store."""
    if name not in DATA:
        return None
    exported = export(spec, name, unit=unit, data=str(folder))  # type: ignore[arg-type]
    length = None if unit == "document" else spec.sequence_length
    write_data(write_tasks(spec, exported), target_named(name).data, length)
    return str(folder)


def record(checked: Check) -> None:
    (stage,) = checked.stages
    asked = {line.domain: line.asked for line in stage.lines}
    realised = {line.domain: line.realised for line in stage.lines}
    ROWS.append(Row(checked.target, checked.loader, checked.unit, stage.items, asked, realised, checked.met))


@targets
def test_the_shares_asked_for_are_drawn(store: Store, tmp_path: Path, name: str) -> None:
    need(name)
    random = target_named(name).random
    spec = spec_over(store, windows=RANDOM_WINDOWS if random else WINDOWS, max_epochs=10)
    data = with_data(spec, name, tmp_path / "data")
    (tmp_path / "work").mkdir()
    checked = check(spec, name, tmp_path / "work", data=data, items=4000)
    record(checked)
    assert checked.met
    (stage,) = checked.stages
    assert stage.items == (RANDOM_WINDOWS if random else WINDOWS)
    if not random:
        # Whole windows, whatever the number of files of a domain.
        assert all(abs(line.realised - line.asked) <= 1 / WINDOWS + 0.001 for line in stage.lines)


def test_documents_of_datasets(store: Store, tmp_path: Path) -> None:
    need("huggingface")
    spec = spec_over(store, windows=RANDOM_WINDOWS, max_epochs=20)
    data = with_data(spec, "huggingface", tmp_path / "data", "document")
    (tmp_path / "work").mkdir()
    checked = check(spec, "huggingface", tmp_path / "work", unit="document", data=data, items=4000)
    record(checked)
    assert checked.met
    assert checked.stages[0].items >= 2000


@targets
def test_a_domain_that_is_left_out_and_one_alone(store: Store, tmp_path: Path, name: str) -> None:
    need(name)
    for number, shares in enumerate(({"web": 0.5, "code": 0.0, "math": 0.5}, {"math": 1.0})):
        spec = spec_over(store, shares, max_epochs=5)
        data = with_data(spec, name, tmp_path / f"data-{number}")
        work = tmp_path / f"work-{number}"
        work.mkdir()
        checked = check(spec, name, work, data=data)
        assert checked.met
        assert {line.domain for line in checked.stages[0].lines} == {n for n, s in shares.items() if s}


@targets
def test_a_file_with_other_shares_does_not_pass(store: Store, tmp_path: Path, name: str) -> None:
    """The control: the check sees a mix that is not the one asked for."""
    need(name)
    spec = spec_over(store, max_epochs=20)
    data = with_data(spec, name, tmp_path / "data")
    other = spec_over(store, {"web": 0.2, "code": 0.2, "math": 0.6}, max_epochs=20)
    export(other, name, tmp_path / "other", data=data)
    (tmp_path / "work").mkdir()
    checked = check(spec, name, tmp_path / "work", file=tmp_path / "other", data=data)
    assert not checked.met


def test_stages_are_checked_one_by_one(store: Store, tmp_path: Path) -> None:
    need("megatron")
    stages = [{"from_token": 0, "shares": {"web": 1.0}}, {"from_token": 51_200, "shares": SHARES}]
    mean = {"web": 0.85, "code": 0.1, "math": 0.05}
    checked = check(spec_over(store, mean, max_epochs=20, stages=stages), "megatron", tmp_path)
    assert checked.met
    assert [stage.number for stage in checked.stages] == [1, 2]


def test_nothing_is_written_beside_the_data(store: Store, tmp_path: Path) -> None:
    need("megatron")
    before = sorted(store.root.rglob("*"))
    check(spec_over(store), "megatron", tmp_path)
    assert sorted(store.root.rglob("*")) == before


def test_what_cannot_be_checked(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("megatron")
    spec = spec_over(store)
    with pytest.raises(InputError, match=r"gone\.json does not exist"):
        check(spec, "megatron", tmp_path, file=tmp_path / "gone.json")
    (tmp_path / "broken.json").write_text('{"train": ["0.5", "/nowhere/web", "0.5", "/nowhere/code"]}')
    (tmp_path / "b").mkdir()
    with pytest.raises(MixlawError, match=r"broken\.json: megatron-core refuses it"):
        check(spec, "megatron", tmp_path / "b", file=tmp_path / "broken.json")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, loader in LOADERS.items():
        with pytest.raises(MixlawError, match="pip install") as caught:
            loader_of(target_named(name))
        assert loader.install in str(caught.value)
