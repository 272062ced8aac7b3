"""Files written from the models of the study file: docs/study.md's table, the JSON Schema, the example's comments.

`make study-docs` writes them again; a test fails where they differ from the models.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.study import schema
from flows.study.documentation import page_with_keys
from flows.study.template import commented_yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "study.md"
SCHEMA = Path(schema.__file__).with_name("study.schema.json")
EXAMPLE = ROOT / "examples" / "code" / "study.yaml"


def study_files() -> dict[Path, str]:
    """Each file and the text that the models give it."""
    example = EXAMPLE.read_text(encoding="utf-8")
    introduction, _, _ = example.partition("\n\n")
    return {
        PAGE: page_with_keys(PAGE.read_text(encoding="utf-8")),
        SCHEMA: schema.schema_text(),
        EXAMPLE: f"{introduction}\n\n{commented_yaml(yaml.safe_load(example))}",
    }


def main() -> None:
    for path, text in study_files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
