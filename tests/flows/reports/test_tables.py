"""What all screens are printed with."""

from __future__ import annotations

import pytest

from flows.reports.tables import plain, print_json, size, table


def test_a_table_as_text_has_no_spaces_at_the_ends_of_lines() -> None:
    text = plain(table("title", ("name", "number"), [("web", "1"), ("code", "20")]), "after [it]")
    assert text.split("\n") == [
        "title",
        "  name   number",
        "  ─────────────",
        "  web         1",
        "  code       20",
        "",
        "after [it]",
    ]


def test_sizes() -> None:
    assert [size(number) for number in (12, 1500, 2_000_000, 3.25e9, 4e12)] == [
        "12 B",
        "1.5 kB",
        "2 MB",
        "3.25 GB",
        "4 TB",
    ]


def test_numbers_that_json_lacks_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": "ü"}})
    assert capsys.readouterr().out == '{"a": null, "b": [1.5, null], "c": {"d": "ü"}}\n'
