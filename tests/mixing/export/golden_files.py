"""Files that exports must give, byte for byte: golden ones, and those that docs/exports.md shows.

`make export-files` writes them again; a test fails where they differ from what the tool writes.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from pathlib import Path

from flows.reports.exports import export_summary, targets_table
from mixing.export.exporting import Export, export
from mixing.export.registry import TARGETS
from mixing.spec.model import MixSpec
from mixing.spec.yaml_file import save_spec
from tests.mixing.spec.examples import example_spec, staged_spec

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "exports"
PAGE = ROOT / "docs" / "exports.md"
SNIPPET = re.compile(r"<!-- (?P<key>[^>]+) -->\n```(?P<kind>\w*)\n(?P<text>.*?)```\n", re.DOTALL)


def sharded_spec() -> MixSpec:
    """The example in two stages, with eight shards per domain."""
    data = staged_spec().model_dump()
    for name, domain in data["domains"].items():
        size = domain["tokens"] // 8
        domain["shards"] = [
            {
                "prefix": f"tokens/{name}/train-{part:05d}",
                "tokens": size + (domain["tokens"] % 8) * (part == 7),
            }
            for part in range(8)
        ]
    return MixSpec.model_validate(data)


def golden_files() -> dict[str, str]:
    """Name below `GOLDEN` and text: every target and unit over the example, and over two stages."""
    files: dict[str, str] = {}
    for name, target in TARGETS.items():
        for unit in target.units:
            _add(files, f"{name}.{unit}", target.filename, export(example_spec(), name, unit=unit))
        _add(files, f"{name}.stages", target.filename, export(sharded_spec(), name))
    return files


def _add(files: dict[str, str], stem: str, filename: str, exported: Export) -> None:
    suffix = Path(filename).suffix
    for number, file in enumerate(exported.files, start=1):
        part = f"-{number}" if len(exported.files) > 1 else ""
        files[f"{stem}{part}{suffix}"] = file.text


def snippet(key: str) -> str:
    """What belongs between the fences under `<!-- key -->`; KeyError for an unknown key."""
    if key == "mixlaw export --list":
        return targets_table() + "\n"
    if key == "mixlaw spec diff":
        return _diff()
    what, target, *rest = key.split(" ")
    if what not in {"file", "start", "summary"} or target not in TARGETS:
        raise KeyError(key)
    spec = sharded_spec() if "stages" in rest else example_spec()
    done = export(spec, target, unit="document" if "document" in rest else None)
    if what == "summary":
        return export_summary(spec, done) + "\n"
    file = done.files[int(rest[-1]) - 1 if rest and rest[-1].isdigit() else 0]
    return file.text if what == "file" else "".join(f"{line}\n" for line in file.start)


def _diff() -> str:
    from flows.cli.spec import diff

    data = example_spec().model_dump()
    shares = {"web": 0.6, "code": 0.3, "math": 0.1}
    for name, share in shares.items():
        data["domains"][name] |= {"share": share, "epochs": share * 102_400 / data["domains"][name]["tokens"]}
    data["stages"] = [{"from_token": 0, "shares": shares}]
    data["domains"]["math"]["max_epochs"] = 2.0
    with tempfile.TemporaryDirectory() as folder:
        for name, spec in (("old", example_spec()), ("new", MixSpec.model_validate(data))):
            save_spec(spec, Path(folder) / name)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            diff(f"{folder}/old", f"{folder}/new")
    return printed.getvalue()


def page_with_snippets(page: str) -> str:
    """The page with every marked snippet as the tool writes it now."""
    return SNIPPET.sub(
        lambda found: f"<!-- {found['key']} -->\n```{found['kind']}\n{snippet(found['key'])}```\n", page
    )


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    files = golden_files()
    for path in GOLDEN.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
    PAGE.write_text(page_with_snippets(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{len(files)} files below {GOLDEN.relative_to(ROOT)}, and {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
