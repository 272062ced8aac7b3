"""The JSON Schema of a study file, for completion and checks in editors.

`python -m flows.study.schema > study.schema.json` writes it. It holds the keys, their types and descriptions;
`mixlaw plan` also checks what concerns several keys.
"""

from __future__ import annotations

import json
from typing import Any

from flows.study.models import Study


def study_schema() -> dict[str, Any]:
    """The schema as a JSON object (draft 2020-12)."""
    schema = _without_titles(Study.model_json_schema(mode="validation"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Study file of mixlaw",
        **{key: value for key, value in schema.items() if key != "description"},
    }


def schema_text() -> str:
    """The schema as the text of study.schema.json."""
    return json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n"


def _without_titles(schema: Any) -> Any:
    """Pydantic's titles repeat the keys' names; a key of the name title would hold an object, not text."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" else _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema


if __name__ == "__main__":
    print(schema_text(), end="")
