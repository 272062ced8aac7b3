"""What the plan refuses before anything is trained: a run that its text cannot fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.pipeline.plan import check_target_run, make_plan
from flows.study.models import Study
from mixing.errors import InputError
from tests.flows.study.short_study import GOOD, load

HERE = {"docs": 3_000_000, "python": 1_000_000}


def study(tmp_path: Path, total: str = "20B", docs: str = "", python: str = "") -> Study:
    text = GOOD.replace("role: general,", f"role: general, {docs}").replace(
        "role: target,", f"role: target, {python}"
    )
    return load(tmp_path, f"{text}spec: {{total_tokens: {total}}}\n")


def test_a_run_that_the_caps_leave_no_mixture_is_refused_with_the_amounts(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_target_run(study(tmp_path), HERE)
    assert "the caps leave no mixture: spec.total_tokens is 20B tokens" in str(caught.value)
    assert "docs 12M (4 x 3M), python 3M (3 x 1M)" in str(caught.value)
    assert "domains.<name>.supply" in str(caught.value)
    # 15M tokens are exactly what both may be read.
    check_target_run(study(tmp_path, "15M"), HERE)
    with pytest.raises(InputError, match="caps leave no mixture"):
        check_target_run(study(tmp_path, "15.1M"), HERE)


def test_what_an_error_of_the_estimate_explains_is_not_refused(tmp_path: Path) -> None:
    check_target_run(study(tmp_path, "25M"), HERE, estimated=True)
    with pytest.raises(InputError, match="read \\(estimated\\)"):
        check_target_run(study(tmp_path, "35M"), HERE, estimated=True)


def test_the_stated_supply_is_what_caps_and_natural_shares_go_by(tmp_path: Path) -> None:
    stated = study(tmp_path, docs="supply: 12B,", python="supply: 4B,")
    check_target_run(stated, HERE)
    plan = make_plan(stated, HERE)
    assert plan.real_supply == {"docs": 12_000_000_000, "python": 4_000_000_000}
    # A quarter of the run's 20B tokens from 4B of python: a proxy repeats it as often.
    assert plan.of_kind("proxy")[0].epochs["python"] == pytest.approx(1.25, rel=0.01)
    with pytest.raises(InputError, match="most of all python is short"):
        check_target_run(study(tmp_path, docs="supply: 4.9B,"), HERE)


def test_a_supply_below_what_is_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"domains\.python\.supply is 500,000 tokens, .* hold 1,000,000"):
        check_target_run(study(tmp_path, "1M", python="supply: 500k,"), HERE)
