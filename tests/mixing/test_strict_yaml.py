"""The YAML reader that study files and mix specs share."""

from __future__ import annotations

import pytest

from mixing.errors import InputError
from mixing.strict_yaml import read_yaml


def test_aliases_only_where_they_are_allowed() -> None:
    text = b"a: &x [1]\nb: *x\n"
    assert read_yaml(text, "study.yaml", aliases=True) == {"a": [1], "b": [1]}
    with pytest.raises(InputError, match=r"mix\.yaml: line 2: YAML aliases are not allowed"):
        read_yaml(text, "mix.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: 1\nb: {c: 1, c: 2}\n", "line 2: 'c' is given twice"),
        (b"domains:\n  no: {role: general}\n", "line 2: the key 'False' is not text"),
        (b"a: &x {b: *x}\n", "not YAML"),
        (b"[" * 200_000, "nested deeper than 20 levels"),
        (b"a: !!python/name:os.system\n", "line 1: not YAML"),
        (b"a: [1\n", "line 2: not YAML"),
    ],
)
def test_what_is_refused_also_with_aliases(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(text, "study.yaml", aliases=True)
    assert str(caught.value).startswith("study.yaml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
