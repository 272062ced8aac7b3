"""What is on disk from another version of mixlaw, and paths in it that lead elsewhere."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from mixing.corpora.catalog import Catalog
from mixing.errors import InputError
from mixing.runs.readers import read_layout
from mixing.versions import NewerState, OlderState, check_version, version_in
from proxies.data.manifest import read_manifest
from proxies.runs import store as runs
from tests.proxies.memory_store import memory_store, proxy_spec
from tests.scenarios.tiny_study import ROOT

# Versions.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run folder, without training."""
    spec = proxy_spec(memory_store())
    folder = tmp_path / spec.run_id
    runs.write_spec(folder, spec)
    rows = [runs.LossRow(spec.tokens, "web", 3.0, 0.1)]
    runs.finish(folder, spec, {runs.LOSSES: runs.losses_table(spec, rows)}, {"tokens": spec.tokens})
    return folder


def set_version(path: Path, version: object) -> bytes:
    record = json.loads(path.read_text())
    record["version"] = version
    path.write_text(json.dumps(record))
    return path.read_bytes()


def test_versions() -> None:
    check_version("file", 1, 1, "step")
    with pytest.raises(NewerState, match=r"newer mixlaw \(version 2; this one reads 1\)\. Upgrade mixlaw"):
        check_version("file", 2, 1, "step")
    for older in (0, None, "1", True, 1.5):
        with pytest.raises(OlderState, match=r"and this mixlaw reads 1\. step"):
            check_version("file", older, 1, "step")
    assert version_in(b'{"recipe": {"version": 3}}', "recipe", "version") == 3
    for none in (b"{", b"[]", b'{"recipe": 1}', b"\xff"):
        assert version_in(none, "recipe", "version") is None


@pytest.mark.parametrize("name", [runs.SPEC, runs.DONE])
def test_a_newer_run_is_refused_and_left_alone(run: Path, name: str) -> None:
    content = set_version(run / name, 2)
    with pytest.raises(InputError, match=rf"{name}: written by a newer mixlaw.*Upgrade mixlaw"):
        runs.read_spec(run) if name == runs.SPEC else runs.state(run)
    spec = proxy_spec(memory_store())
    with pytest.raises(InputError, match="Upgrade mixlaw"):
        runs.write_spec(run, spec) if name == runs.SPEC else runs.done(run)
    assert (run / name).read_bytes() == content


def test_a_finished_run_with_a_newer_spec_is_not_used(run: Path) -> None:
    set_version(run / runs.SPEC, 2)
    with pytest.raises(InputError, match=r"spec\.json: written by a newer mixlaw.*Upgrade"):
        runs.done(run)


def test_a_fit_refuses_a_newer_run(run: Path) -> None:
    set_version(run / runs.DONE, 2)
    with pytest.raises(NewerState, match=r"done\.json: written by a newer mixlaw.*Upgrade"):
        read_layout(str(run.parent))


@pytest.mark.parametrize("name", [runs.SPEC, runs.DONE])
def test_an_older_run_is_refused_with_the_step(run: Path, name: str) -> None:
    set_version(run / name, 0)
    with pytest.raises(InputError, match=r"of version 0, and this mixlaw reads 1\. Set MIXLAW_HOME"):
        runs.read_spec(run) if name == runs.SPEC else runs.state(run)


def test_a_run_of_this_version_with_fields_of_later_ones_is_read(run: Path) -> None:
    record = json.loads((run / runs.DONE).read_text())
    (run / runs.DONE).write_text(json.dumps({**record, "energy_joules": 5}))
    assert runs.state(run) == "done"


CATALOG = {
    "heldout_fraction": 0.1,
    "domains": [
        {
            **{"name": "web", "role": "general", "files": 1, "file_bytes": 10, "documents": 3, "bytes": 9},
            **{"duplicates": 0, "empty": 0, "invalid_utf8": 0, "heldout_documents": 1},
            **{"fingerprint": "a", "files_fingerprint": "b"},
        }
    ],
}


def test_a_catalogue_from_before_versions_is_read() -> None:
    old = Catalog.from_json(json.dumps(CATALOG))
    assert old.domains[0].documents == 3
    assert json.loads(old.to_json())["version"] == 1


def test_a_newer_catalogue_is_refused() -> None:
    text = json.dumps({**CATALOG, "version": 2, "domains": {"of": "another form"}})
    with pytest.raises(NewerState, match=r"catalog\.json: written by a newer mixlaw.*Upgrade"):
        Catalog.from_json(text, "catalog.json")


MANIFEST = {
    "recipe": {
        **{"version": 1, "tokenizer_hash": "h", "vocab_size": 300, "eos_id": 0, "dtype": "uint16"},
        **{"heldout_fraction": 0.1, "shard_bytes": 1000},
    },
    "domains": {},
}


def write_manifest(store: Path, **changes: object) -> Path:
    (store / "manifest.json").write_text(json.dumps({**MANIFEST, **changes}))
    return store


def test_a_newer_token_store_is_refused_whatever_else_it_says(tmp_path: Path) -> None:
    store = write_manifest(tmp_path, recipe={"version": 7, "codec": "new"})
    with pytest.raises(NewerState, match=r"manifest\.json: written by a newer mixlaw \(version 7"):
        read_manifest(store)


def test_an_older_token_store_is_refused_with_the_step(tmp_path: Path) -> None:
    recipe = {**MANIFEST["recipe"], "version": 0}  # type: ignore[dict-item]
    with pytest.raises(OlderState, match="Delete this file and run again: the tokens are rebuilt"):
        read_manifest(write_manifest(tmp_path, recipe=recipe))


# Paths.


@pytest.mark.parametrize(
    "prefix", ["../web/train-00000", "/etc/train-00000", "web/../../x", "code/train-00000", "web/train-1", ""]
)
def test_a_manifest_that_leads_out_of_its_store_is_refused(tmp_path: Path, prefix: str) -> None:
    shard = {"prefix": prefix, "documents": 1, "tokens": 2, "bytes": 3, "bin_sha256": "", "idx_sha256": ""}
    split = {"documents": 1, "tokens": 2, "mean_tokens_per_document": 2.0, "shards": [shard]}
    good = {**split, "shards": [{**shard, "prefix": "web/train-00000"}]}
    domains = {"web": {"files_fingerprint": "", "train": good, "heldout": split}}
    with pytest.raises(InputError, match=r"manifest\.json: domains\.web: .* is no shard of this domain"):
        read_manifest(write_manifest(tmp_path, domains=domains))


@pytest.mark.parametrize("base", ["../../../etc", "/etc", "0123", "0123456789abcdeF", "", "a" * 17])
def test_a_run_whose_base_is_no_run_id_is_refused(base: str) -> None:
    fields = proxy_spec(memory_store()).model_dump()
    with pytest.raises(ValidationError, match="neither a run id nor a sha256"):
        type(proxy_spec(memory_store())).model_validate({**fields, "base": base})


@pytest.mark.parametrize(
    "name", ["../elsewhere", "/elsewhere", "a/b", "..", ".hidden", "Tiny", "slots", "prefect", ""]
)
def test_a_study_that_names_a_folder_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    from flows.study.loading import load_study
    from tests.scenarios.tiny_study import STUDY, write_study

    study = write_study(tmp_path, STUDY.replace("study: tiny", f"study: {json.dumps(name)}"))
    with pytest.raises(InputError, match="study: "):
        load_study(study)


@pytest.mark.parametrize("name", ["../docs", "a/b", "..", ""])
def test_a_domain_that_names_a_folder_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    from flows.study.loading import load_study
    from tests.scenarios.tiny_study import STUDY, write_study

    study = write_study(tmp_path, STUDY.replace("  docs:", f"  {json.dumps(name)}:"))
    with pytest.raises(InputError):
        load_study(study)


def test_a_confirmation_that_names_a_folder_elsewhere_is_refused(tmp_path: Path) -> None:
    from flows.pipeline.status import confirmed_run

    path = tmp_path / "confirmation.json"
    for run_id in ("../../etc", "", 5, None):
        path.write_text(json.dumps({"run": run_id, "target_share": 0.5}))
        with pytest.raises(InputError, match=r"confirmation\.json: .*not the id of a run"):
            confirmed_run(path)
    path.write_text(json.dumps({"run": "0123456789abcdef", "target_share": 0.5}))
    assert confirmed_run(path) == ("0123456789abcdef", 0.5)


# What the code may not do.

PACKAGES = ("mixlaw", "mixing", "proxies", "flows", "benchmarks", "deploy", "examples")
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNPACKERS = {"tarfile", "zipfile"}


def sources() -> list[tuple[Path, ast.Module]]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 80
    return [(path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in found]


def calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Calls with their names as written: `torch.load`."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_nothing_is_unpickled_unpacked_or_evaluated() -> None:
    for path, tree in sources():
        assert not imported(tree) & (UNPICKLERS | UNPACKERS), path
        for name, call in calls(tree):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            where = f"{path}:{call.lineno}"
            assert name not in ("eval", "exec", "os.system"), where
            assert not name.endswith((".extractall", "unpack_archive", ".read_pickle", ".to_pickle")), where
            assert "shell" not in keywords or keywords["shell"] == "False", where
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", where
            if name in ("np.load", "numpy.load"):
                assert keywords.get("allow_pickle", "False") == "False", where


def test_yaml_is_read_safely() -> None:
    """`yaml.load` only with a loader of ours, which is derived from the safe one."""
    read = 0
    for path, tree in sources():
        for name, call in calls(tree):
            where = f"{path}:{call.lineno}"
            assert not name.startswith("yaml.") or not name.endswith(("unsafe_load", "full_load")), where
            if name in ("yaml.load", "yaml.load_all"):
                given = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
                module = importlib.import_module(".".join(path.with_suffix("").parts))
                loader = getattr(module, ast.unparse(given[0]))
                assert issubclass(loader, (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader))), (
                    where
                )
                read += 1
    assert read == 1, "strict YAML is read in one place"


def test_sql_takes_values_as_parameters_only() -> None:
    """No statement is put together from strings at run time, except from constants of its own module."""
    for path, tree in sources():
        for name, call in calls(tree):
            if not re.fullmatch(
                r".*(connection|table|database|cursor|duckdb)\.(execute|sql|query|executemany)", name
            ):
                continue
            statement = call.args[0]
            where = f"{path}:{call.lineno}"
            if isinstance(statement, ast.Name):
                made = assigned(tree, statement.id)
                assert made, f"{where}: {statement.id} comes from elsewhere"
                for value in made:
                    check_constant(tree, value, where)
            else:
                check_constant(tree, statement, where)


def assigned(tree: ast.Module, name: str) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]


def check_constant(tree: ast.Module, value: ast.expr, where: str) -> None:
    """A string, or an f-string of names that are only ever bound to strings in the same module."""
    if isinstance(value, ast.JoinedStr):
        for part in value.values:
            if isinstance(part, ast.FormattedValue):
                assert isinstance(part.value, ast.Name), where
                bound = assigned(tree, part.value.id)
                assert bound, where
                for found in bound:
                    options = [found.body, found.orelse] if isinstance(found, ast.IfExp) else [found]
                    assert all(isinstance(option, ast.Constant) for option in options), where
        return
    assert isinstance(value, ast.Constant), where
