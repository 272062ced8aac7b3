"""The mix spec: what it refuses, in which words, and that nothing changes on the way to disk and back."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from mixing.errors import InputError, MixlawError
from mixing.spec.build import build_spec
from mixing.spec.model import MixSpec
from mixing.spec.schema import schema_text
from mixing.spec.shares import mean_shares
from mixing.spec.yaml_file import dump_spec, load_spec, parse_spec, save_spec
from tests.mixing.spec.examples import example_decision, example_facts, example_spec, specs


def edited(tmp_path: Path, path: str, value: Any) -> Path:
    """The example spec on disk, with the field at the dotted `path` set (or deleted: `...`)."""
    data = yaml.safe_load(dump_spec(example_spec()))
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    node = data
    for step in parents:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    file = tmp_path / "mixspec.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def test_shipped_schema_is_the_models() -> None:
    shipped = resources.files("mixing.spec").joinpath("mixspec.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(), "run: python -m mixing.spec.schema > mixing/spec/mixspec.schema.json"


def test_round_trip(tmp_path: Path) -> None:
    spec = example_spec()
    save_spec(spec, tmp_path / "mixspec.yaml")
    assert load_spec(tmp_path / "mixspec.yaml") == spec
    assert [path.name for path in tmp_path.iterdir()] == ["mixspec.yaml"]


@settings(max_examples=40, deadline=None)
@given(specs())
def test_random_specs_round_trip(spec: MixSpec) -> None:
    assert parse_spec(dump_spec(spec).encode(), "x.yaml") == spec


def test_built_spec_is_derived_from_decision_and_facts() -> None:
    spec = build_spec(example_decision(), example_facts(), name="x", data_root=Path("/data/x"))
    web = spec.domains["web"]
    assert (web.share, web.epochs) == (pytest.approx(0.7), pytest.approx(0.7 * 102_400 / 401_000))
    assert web.mean_tokens_per_document == pytest.approx(401_000 / (401_000 // 600))
    assert spec.decision.interval == (0.08, 0.12)
    assert spec.decision.baselines[0].predicted["target"].increment == -0.4
    assert spec.provenance.versions["mixlaw"]
    assert spec.data_root == "/data/x"


def test_a_spec_for_a_longer_run_says_what_was_decided() -> None:
    spec = build_spec(example_decision(), example_facts(), name="x", total_tokens=400_000)
    assert (spec.total_tokens, spec.decision.tokens) == (400_000, 102_400)
    assert spec.domains["math"].epochs == pytest.approx(1.0)


def test_spec_of_a_bare_table_has_shares_only(tmp_path: Path) -> None:
    spec = build_spec(example_decision(), None, name="table")
    assert [domain.role for domain in spec.domains.values()] == ["general", "general", "target"]
    save_spec(spec, tmp_path / "s.yaml")
    assert load_spec(tmp_path / "s.yaml").domains["web"].tokens is None


def test_a_decision_above_a_cap_is_warned_of() -> None:
    spec = build_spec(example_decision(shares={"math": 1.0}, warnings=[]), example_facts(), name="x")
    assert spec.decision.warnings == ()
    facts = example_facts()
    facts["math"] = type(facts["math"])(**{**vars(facts["math"]), "max_epochs": 2.0})
    spec = build_spec(example_decision(shares={"math": 1.0}, warnings=[]), facts, name="x")
    assert "math: 2.56 epochs" in spec.decision.warnings[0]


def test_not_yet_has_no_spec() -> None:
    with pytest.raises(MixlawError, match="not yet"):
        build_spec(example_decision(status="not_yet", critical_ratio=None), example_facts(), name="x")


def test_a_share_of_an_unknown_domain() -> None:
    with pytest.raises(InputError, match="'german'"):
        build_spec(example_decision(shares={"german": 1.0}), example_facts(), name="x")


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("domains.web.share", 1.2, "domains.web.share: 1.2 is above 1"),
        ("domains.web.share", "most", "domains.web.share: 'most' is not of type number"),
        ("domains.web.share", float("nan"), "domains.web.share: Input should be a finite number"),
        ("domains.web.shar", 0.1, "domains.web.shar: is not a field; did you mean 'share'?"),
        ("domains.web.share", ..., "domains.web.share: is missing"),
        ("domains.web.share", 0.6, "domains: shares sum to 0.9, not 1"),
        ("domains.web.role", "replay", "domains.web.role: 'replay' is not one of ['general', 'target']"),
        (
            "domains.web.epochs",
            3.0,
            "domains.web.epochs: is 3, but share x total_tokens / tokens is 0.17875312",
        ),
        ("domains.web.documents", 10, "domains.web.mean_tokens_per_document: is "),
        ("domains.web.tokens", 400_000, "domains.web.epochs: is 0.17875312"),
        ("domains.web.shards.0.tokens", 5, "domains.web.shards: hold 5 tokens"),
        (
            "domains.web.shards.0.prefix",
            "../secret",
            "domains.web.shards.0.prefix: '../secret' leaves data_root",
        ),
        ("domains.web.shards.0.prefix", "/etc/x", "domains.web.shards.0.prefix: '/etc/x' is absolute"),
        ("domains.web.shards.0.prefix", "C:/x", "domains.web.shards.0.prefix: 'C:/x' is absolute"),
        ("domains.web.shards.0.prefix", "a\\b", "domains.web.shards.0.prefix: 'a\\\\b' has a backslash"),
        ("domains.web.shards.0.prefix", "a/./b", "domains.web.shards.0.prefix: 'a/./b' is not a plain"),
        ("domains.web.shards.0.prefix", "a/b ", "domains.web.shards.0.prefix: 'a/b ' has"),
        ("domains.web.shards.0.prefix", "a/b.bin", "domains.web.shards.0.prefix: 'a/b.bin' has an extension"),
        ("domains.web.heldout_shards.0.prefix", "tokens/web/train-00000", "domains.web.shards: 'tokens/web/"),
        ("domains.code.tokenizer_hash", "cd" * 32, "domains.code.tokenizer_hash: is not that of 'web'"),
        ("domains", {}, "domains: {} has fewer entries than 1"),
        ("stages", [], "stages: [] has fewer items than 1"),
        ("stages.0.from_token", 7, "stages.0.from_token: is 7: the first stage starts at 0"),
        ("stages.0.shares.web", 0.2, "stages.0.shares: sum to 0.5, not 1"),
        ("stages.0.shares", {"webb": 1.0}, "stages.0.shares.webb: is not one of the domains"),
        ("stages.0.shares", {"web": 1.0}, "domains.web.share: is 0.7, but the stages average to 1"),
        ("total_tokens", "1e9", "total_tokens: '1e9' is not of type integer"),
        ("total_tokens", True, "total_tokens: True is not of type integer"),
        ("total_tokens", 10**19, "total_tokens: 10000000000000000000 is above 10"),
        ("global_batch_tokens", 1000, "global_batch_tokens: 1000 is not a multiple of sequence_length 512"),
        ("sequence_length", 0, "sequence_length: 0 "),
        ("data_root", "here", "data_root: 'here' is not an absolute path"),
        ("seed", -1, "seed: -1 is below 0"),
        ("decision.interval", [0.1], "decision.interval: [0.1] "),
        ("mixspec", 2, "mixspec: version 2 is unknown: this mixlaw reads 1"),
        ("mixspec", "1", "mixspec: '1' is not 1"),
        ("mixspec", ..., "mixspec: is missing"),
    ],
)
def test_bad_fields_are_named(tmp_path: Path, path: str, value: Any, line: str) -> None:
    file = edited(tmp_path, path, value)
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert caught.value.message.startswith(f"{file}: {line}"), caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a: &x [1]\nb: *x\n", "line 2: YAML aliases are not allowed"),
        (b"[" * 50, "nested deeper than 20 levels"),
        (b"[" * 200_000, "nested deeper than 20 levels"),
        (b"a" * (4 * 2**20 + 1), "is larger than 4 MiB"),
        (b"mixspec: 1\nmixspec: 1\n", "line 2: 'mixspec' is given twice"),
        (b"mixspec: 1\n3: 4\n", "line 2: the key '3' is not text"),
        (b"? [1]\n: 2\n", "line 1: the key"),
        (b"a: [1\n", "line "),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        (b"a: 2020-99-99\n", "not YAML"),
        (b"a: " + b"9" * 5000 + b"\n", "not YAML"),
        (b"", "mixspec: is missing"),
        (b"- 1\n", "mixspec: is missing"),
    ],
)
def test_yaml_is_bounded(tmp_path: Path, text: bytes, line: str) -> None:
    file = tmp_path / "mixspec.yaml"
    file.write_bytes(text)
    with pytest.raises(InputError, match=re.escape(line)):
        load_spec(file)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_spec(path)


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mixspec.yaml"
    save_spec(example_spec(), file)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MixlawError, match=r"mixspec\.yaml: cannot be written: No space left"):
        save_spec(example_spec(seed=7), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mixspec.yaml"]


def test_stages_average_to_the_shares() -> None:
    spec = example_spec()
    stages = [
        {"from_token": 0, "shares": {"web": 1.0}},
        {"from_token": 51_200, "shares": {"web": 0.4, "code": 0.4, "math": 0.2}},
    ]
    staged = MixSpec.model_validate({**spec.model_dump(), "stages": stages})
    assert mean_shares(staged.stages, staged.total_tokens, staged.domains) == pytest.approx(
        {"web": 0.7, "code": 0.2, "math": 0.1}
    )
    stages[1]["from_token"] = 0
    with pytest.raises(ValueError, match=r"stages\.1\.from_token: does not increase"):
        MixSpec.model_validate({**spec.model_dump(), "stages": stages})
    stages[1]["from_token"] = 102_400
    with pytest.raises(ValueError, match=r"stages\.1\.from_token: is not below total_tokens"):
        MixSpec.model_validate({**spec.model_dump(), "stages": stages})


def test_schema_alone_accepts_what_is_saved() -> None:
    import jsonschema

    data = yaml.safe_load(dump_spec(example_spec()))
    jsonschema.validate(data, json.loads(schema_text()))


def test_a_spec_is_a_few_lines_at_the_prompt() -> None:
    assert repr(example_spec()).splitlines() == [
        "MixSpec example: 102,400 tokens",
        "  web 0.7, code 0.2, math 0.1",
        "  critical ratio 0.100 from 6 runs, law cmr",
    ]
