"""Amounts of tokens, read and written."""

from __future__ import annotations

import pytest

from mixing.amounts import abbreviate_amount, format_amount, parse_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("500000", 500_000),
        ("500_000", 500_000),
        ("2e6", 2_000_000),
        ("2E+6", 2_000_000),
        ("0.5M", 500_000),
        ("20B", 20_000_000_000),
        (" 20 b ", 20_000_000_000),
        ("1.5t", 1_500_000_000_000),
        ("7k", 7_000),
        ("1.5", 1.5),
        ("1,000", 1_000),
        ("1,600,000", 1_600_000),
        ("1 600 000", 1_600_000),
        ("1\u202f600\u202f000", 1_600_000),
        ("1'600'000", 1_600_000),
        ("0.8bn", 800_000_000),
        ("1.4 billion", 1_400_000_000),
        ("20B tokens", 20_000_000_000),
    ],
)
def test_amounts_are_read(text: str, tokens: float) -> None:
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1e-3", "20BB", "B", "1,00", "1,6", "1.600.000", ".5M", "90%", "nan"]
)
def test_what_is_no_amount(text: str) -> None:
    assert parse_tokens(text) is None


def test_amounts_are_written_for_tables() -> None:
    numbers = (0, 999, 1234, 999_999, 1_500_000, 20e9, 123_456_789, 2e15)
    assert [format_amount(number) for number in numbers] == [
        "0",
        "999",
        "1,234",
        "999,999",
        "1.5M",
        "20B",
        "123M",
        "2,000T",
    ]


def test_amounts_are_written_for_axes() -> None:
    numbers = (999, 1234, 99_999, 614_400, 10_500_000, 20e9, 3e12)
    assert [abbreviate_amount(number) for number in numbers] == [
        "999",
        "1.2k",
        "100k",
        "0.61M",
        "10M",
        "20B",
        "3T",
    ]


@pytest.mark.parametrize("text", ["100.000", "1.600"])
def test_a_count_that_may_be_two_is_none(text: str) -> None:
    assert parse_tokens(text) is None
    assert parse_tokens(text, ",") == float(text.replace(".", ""))
