"""Validation sets of one's own in the study file."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.pipeline.heldout import windows_of
from flows.study.corpora import study_evals
from mixing.errors import InputError
from tests.flows.study.short_study import GOOD, load

EVALS = "evals: {c4: {paths: own/c4}, 中文: {paths: own/zh.csv, text_field: body, encoding: gb18030}}\n"


def test_they_are_read_as_they_say_and_may_be_asked_about(tmp_path: Path) -> None:
    (tmp_path / "own" / "c4").mkdir(parents=True)
    (tmp_path / "own" / "zh.csv").touch()
    asked = GOOD.replace("tolerance: 0.0", "tolerance: 0.0, general: {c4: 1}, protect: {中文: 0.01}")
    study = load(tmp_path, asked + EVALS)
    assert study.validation_sets == ("docs", "python", "c4", "中文")
    c4, chinese = study_evals(study)
    assert (c4.name, c4.text_field) == ("c4", "text")
    assert (chinese.text_field, chinese.encodings) == ("body", ("gb18030",))
    assert study.identity != load(tmp_path, GOOD).identity
    # Their windows cost as much as a domain's.
    auto = "heldout: {windows: auto}\n"
    assert windows_of(load(tmp_path, GOOD + auto + EVALS)).last < windows_of(load(tmp_path, GOOD + auto)).last


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "evals: {docs: {paths: x}}\n", "evals.docs is the name of a domain too"),
        (GOOD + "evals: {a b: {paths: x}}\n", "'a b' is not a name"),
        (GOOD + "evals: {c4: {}}\n", "evals.c4: give either paths"),
        (GOOD + "evals: {c4: {tokens: 'megatron://x'}}\n", "evals.c4.tokens are ids"),
        (
            GOOD.replace("tolerance: 0.0", "tolerance: 0, protect: {c5: 0.1}") + EVALS,
            r"c5.*did you mean c4\?",
        ),
    ],
)
def test_what_they_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evals\.c4\.paths: .*own/c4 does not exist"):
        study_evals(load(tmp_path, GOOD + EVALS))
