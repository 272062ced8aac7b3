"""`mixlaw spec` by hand: show, diff, validate, import and schema, on good and on bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import main as cli
from mixing.export.exporting import export
from mixing.spec.diff import differences, moved_share
from mixing.spec.model import MixSpec
from mixing.spec.schema import schema_text
from mixing.spec.yaml_file import dump_spec, load_spec, save_spec
from tests.mixing.spec.examples import example_spec, staged_spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Specs a.yaml and staged.yaml, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save_spec(example_spec(), tmp_path / "a.yaml")
    save_spec(staged_spec(), tmp_path / "staged.yaml")
    return tmp_path


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["spec", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def changed(**values: Any) -> MixSpec:
    return MixSpec.model_validate({**example_spec().model_dump(), **values})


def with_shares(shares: dict[str, float]) -> MixSpec:
    data = example_spec().model_dump()
    for name, share in shares.items():
        data["domains"][name] |= {"share": share, "epochs": None}
    return MixSpec.model_validate({**data, "stages": [{"from_token": 0, "shares": shares}]})


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("show", "a.yaml") == 0
    text = capsys.readouterr().out
    for words in (
        "102,400 tokens",
        "sequences of 512",
        "web",
        "0.7",
        "401,000",
        "0.179",
        "critical ratio 0.100",
        "limited by: the general loss reaches its tolerance",
        "compared with replay 5%: loss on general 2.8700",
    ):
        assert words in text
    assert status_of("show", "staged.yaml") == 0
    assert "from 51,200" in capsys.readouterr().out
    assert status_of("show", "a.yaml", "--json") == 0
    assert MixSpec.model_validate(json.loads(capsys.readouterr().out)) == load_spec(folder / "a.yaml")


def test_show_keeps_brackets_in_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        dump_spec(example_spec())
        .replace("  math:", "  '[red]math':")
        .replace("    math:", "    '[red]math':")
    )
    data = yaml.safe_load(text)
    (folder / "b.yaml").write_text(yaml.safe_dump(data))
    assert status_of("show", "b.yaml") == 0
    assert "[red]math" in capsys.readouterr().out


def test_diff_says_nothing_of_equal_specs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("diff", "a.yaml", "a.yaml") == 0
    assert capsys.readouterr().out == "the specs say the same\n"
    assert status_of("diff", "a.yaml", "a.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"identical": True, "moved_share": 0.0, "differences": []}


def test_epochs_that_a_spec_leaves_out_are_computed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, spec in (("a", example_spec()), ("b", with_shares({"web": 0.6, "code": 0.3, "math": 0.1}))):
        data = yaml.safe_load(dump_spec(spec))
        for domain in data["domains"].values():
            del domain["epochs"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data))
    assert status_of("show", "a.yaml") == 0
    shown = capsys.readouterr().out
    assert "0.179" in shown
    assert "?" not in shown
    assert status_of("diff", "a.yaml", "b.yaml") == 0
    assert "71,680 tokens (0.179 epochs) -> 61,440" in capsys.readouterr().out


def test_export_names_the_options_that_are_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (("--json",), "--json: export prints the trainer's own file"),
        (("--data-root", "rel"), "--data-root: 'rel' is not an absolute path"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(["export", "a.yaml", "--to", "megatron", *arguments])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_diff_in_words_and_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_spec(with_shares({"web": 0.6, "code": 0.3, "math": 0.1}), folder / "b.yaml")
    assert status_of("diff", "a.yaml", "b.yaml") == 0
    text = capsys.readouterr().out
    assert "10.00% of the tokens come from another domain" in text
    assert "web: 70.00% -> 60.00% of the tokens (-10 points); 71,680 tokens (0.179 epochs) -> 61,440" in text
    assert status_of("diff", "a.yaml", "b.yaml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["moved_share"] == pytest.approx(0.1)
    assert found["differences"][0]["field"] == "domains.web.share"
    assert found["differences"][0]["first"] == pytest.approx(0.7)


def test_diff_of_everything_else() -> None:
    first = example_spec()
    data = first.model_dump()
    data["domains"]["web"] |= {"max_epochs": 2.0, "tokenizer_hash": "cd" * 32, "role": "target"}
    for name in ("code", "math"):
        data["domains"][name]["tokenizer_hash"] = "cd" * 32
    data["domains"]["code"]["heldout_shards"] = []
    data["decision"] |= {"law": "bimix", "n_runs": 9, "critical_ratio": 0.3, "interval": (0.25, 0.35)}
    data["decision"]["predicted"]["target"] |= {"loss": 1.4, "interval": (1.35, 1.44)}
    data |= {"seed": 7, "sequence_length": 256}
    words = {item.field: item.words for item in differences(first, MixSpec.model_validate(data))}
    assert words["domains.web.max_epochs"] == "web: may be read 4 -> 2 times"
    assert words["domains.web.role"] == "web: general -> target"
    assert "another tokenizer" in words["domains.web.tokenizer_hash"]
    assert words["domains.code.heldout_shards"] == "code: 0 held-out files added, 1 removed, 0 kept"
    assert words["seed"] == "seed: 0 -> 7"
    assert words["sequence_length"] == "sequence length: 512 -> 256"
    assert words["decision.law"] == "decision: law cmr -> bimix"
    assert words["decision.critical_ratio"] == (
        "decision: critical ratio 0.100 [0.080, 0.120] -> 0.300 [0.250, 0.350], intervals apart"
    )
    assert "1.5000 -> 1.4000 (-0.1000 nats), intervals apart" in words["decision.predicted.target.loss"]
    undecided = first.model_copy(update={"decision": None})
    assert [item.words for item in differences(first, undecided)] == ["decision: given -> none"]


def test_diff_of_stages_and_domains() -> None:
    words = [item.words for item in differences(example_spec(), staged_spec())]
    assert words[0] == "1 stage from 0 -> 2 stages from 0, 51,200"
    assert words[-1] == "stage 2, from token 51,200: web 40.00%, code 40.00%, math 20.00%"
    data = example_spec().model_dump()
    data["domains"]["prose"] = data["domains"].pop("math")
    data["domains"]["prose"]["shards"] = [{"prefix": "p", "tokens": 40_000}]
    data["stages"] = [{"from_token": 0, "shares": {"web": 0.7, "code": 0.2, "prose": 0.1}}]
    other = MixSpec.model_validate(data)
    words = [item.words for item in differences(example_spec(), other)]
    assert words[:2] == [
        "math leaves, with 10.00% of the tokens",
        "prose is new, with 10.00% of the tokens",
    ]
    assert moved_share(example_spec(), other) == pytest.approx(0.1)


def test_validate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("validate", "a.yaml") == 0
    text = capsys.readouterr().out
    assert "a.yaml: a valid mix spec (version 1): 3 domains, 1 stage" in text
    assert "can be exported to: megatron, olmo-core" in text
    save_spec(changed(sequence_length=None, data_root=None), folder / "bare.yaml")
    assert status_of("validate", "bare.yaml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True
    assert found["targets"]["huggingface"] is None
    assert found["targets"]["megatron"].startswith("data_root: is missing")
    assert found["targets"]["axolotl"].startswith("sequence_length: is missing")
    assert status_of("validate", "bare.yaml", "--to", "nemo") == 2
    assert "data_root: is missing" in capsys.readouterr().err


def test_validate_warns_of_caps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = example_spec().model_dump()
    data["domains"]["math"]["max_epochs"] = 0.2
    save_spec(MixSpec.model_validate(data), folder / "b.yaml")
    assert status_of("validate", "b.yaml") == 0
    text = capsys.readouterr().out
    assert "warning: domains.math: 0.26 epochs, above its max_epochs of 0.2" in text
    assert "can be exported to: nothing yet" in text


@pytest.mark.parametrize("command", ["show", "validate", "diff"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixspec: 1\nname: x\n", "bad.yaml: domains: is missing"),
        ("mixspec: 9\n", "bad.yaml: mixspec: version 9 is unknown"),
        ("[1", "bad.yaml: line "),
    ],
)
def test_bad_specs(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, text: str, message: str
) -> None:
    (folder / "bad.yaml").write_text(text)
    assert status_of(command, *(["a.yaml"] if command == "diff" else []), "bad.yaml") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("schema") == 0
    text = capsys.readouterr().out
    assert text == schema_text()
    assert json.loads(text)["$id"] == "urn:mixlaw:mixspec:1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "none.json", "--from", "megatron"], "none.json: cannot be read"),
        (["import", "a.yaml", "--from", "megatron"], "a.yaml: train: is missing"),
        (["import", "blend.json", "--from", "nemotron"], "'nemotron' is not an export target"),
        (["import", "blend.json", "--from", "megatron"], "blend.json: the file does not say how many tokens"),
        (["import", "blend.json", "--from", "megatron", "--tokens", "lots"], "--tokens 'lots'"),
        (
            ["import", "blend.json", "--from", "megatron", "--tokens", "1M", "--unit", "document"],
            "does not draw",
        ),
        (
            ["import", "blend.json", "--from", "megatron", "--like", "a.yaml"],
            "is none of the domains or files",
        ),
        (["import", "blend.json"], "Missing option '--from'"),
    ],
)
def test_bad_imports(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    blend = {
        "train": ["0.9", "/d/web_text_document", "0.1", "/d/code_text_document"],
        "valid": None,
        "test": None,
    }
    (folder / "blend.json").write_text(json.dumps(blend))
    assert status_of(*arguments) == 2
    assert message in capsys.readouterr().err


def test_import_names_domains_after_files_or_folders(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for prefixes, names in (
        (["/d/web_text_document", "/d/code_text_document"], ["web", "code"]),
        (["/d/web/a", "/d/code/a"], ["web", "code"]),
        (["/d/web/x/a", "/d/code/x/a"], ["d/web/x", "d/code/x"]),
    ):
        blend = {"train": ["3", prefixes[0], "1", prefixes[1]]}
        (folder / "blend.json").write_text(json.dumps(blend))
        assert status_of("import", "blend.json", "--from", "megatron", "--tokens", "1M") == 0
        captured = capsys.readouterr()
        spec = yaml.safe_load(captured.out)
        assert list(spec["domains"]) == names
        assert spec["stages"][0]["shares"] == {names[0]: 0.75, names[1]: 0.25}
        assert spec["decision"] is None
        assert spec["provenance"]["imported"] == "megatron: blend.json"
        assert "no sizes and no files" in captured.err


@pytest.mark.parametrize("target", ["megatron", "streaming", "huggingface", "nanotron", "levanter"])
def test_import_of_all_stages(folder: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    staged = load_spec(folder / "staged.yaml")
    files = [file.path for file in export(staged, target, folder / "file.x").files]
    names = [path.name for path in files if path is not None]
    assert status_of("import", *names, "--from", target, "--like", "staged.yaml", "--out", "back.yaml") == 0
    back = load_spec(folder / "back.yaml")
    assert back.decision == staged.decision
    assert [stage.shares for stage in back.stages] == [
        {name: pytest.approx(share) for name, share in stage.shares.items()} for stage in staged.stages
    ]
    # In batches of 4096, the second stage starts at the nearest one, where the files say so.
    assert back.stages[1].from_token == (51_200 if target == "megatron" else 53_248)


def test_stages_that_start_nowhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(load_spec(folder / "staged.yaml"), "megatron", folder / "blend.json")
    stages = [f"blend.stage-{number}.json" for number in (1, 2)]
    assert status_of("import", *stages, "--from", "megatron", "--tokens", "1M") == 2
    assert (
        "do not say where their stages start. Give a spec with as many stages as like (--like SPEC)"
        in capsys.readouterr().err
    )
    (folder / "blend.stage-2.json").write_text('{"train": ["0", "/d/web"]}')
    assert status_of("import", *stages, "--from", "megatron", "--like", "staged.yaml") == 2
    assert "file 2: no item has a positive weight" in capsys.readouterr().err


def test_import_finds_token_files_that_were_moved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(load_spec(folder / "a.yaml"), "megatron", folder / "blend.json", data_root="/elsewhere/data")
    assert status_of("import", "blend.json", "--from", "megatron", "--like", "a.yaml", "--out", "b.yaml") == 0
    assert load_spec(folder / "b.yaml") == load_spec(folder / "a.yaml")
