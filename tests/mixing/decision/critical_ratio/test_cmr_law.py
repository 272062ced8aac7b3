"""The CMR law over budgets: known pairs, and how far it is followed."""

from __future__ import annotations

import pytest

from mixing.decision.critical_ratio.cmr_law import fit_cmr_law


@pytest.mark.parametrize(
    ("a4", "s4", "b3"), [(0.22524761, 0.26944345, -0.48139982), (-2.36384831, -0.15125569, 1.59223649)]
)
def test_published_parameters_come_back(a4: float, s4: float, b3: float) -> None:
    """Table 5 of the paper, T in units of 0.2B tokens, at budgets from 10B to 40B."""
    budgets = [10e9, 15e9, 20e9, 30e9, 40e9]
    law = fit_cmr_law({a4 * (t / 0.2e9) ** s4 + b3: t for t in budgets})
    assert law is not None
    assert law.error < 1e-4
    assert law.ratio(20e9) == pytest.approx(a4 * 100**s4 + b3, abs=2e-4)
    assert law.s4 == pytest.approx(s4, abs=0.05)


def test_it_is_followed_four_times_as_far_at_most() -> None:
    law = fit_cmr_law({0.3: 1e6, 0.5: 2e6, 0.6: 4e6})
    assert law is not None
    assert law.error < 1e-3
    assert law.warning(8e6) is None
    assert law.ratio(8e6) is not None
    assert "2.5 times" in (law.warning(10e6) or "")
    assert law.ratio(10e6) is not None
    assert law.ratio(16.1e6) is None
    assert "not followed" in (law.warning(16.1e6) or "")
    assert law.ratio(1.0) == 0.0


@pytest.mark.parametrize("times", [{}, {0.3: 1e6, 0.5: 2e6}, {0.3: 0.0, 0.5: 1e6, 0.6: 2e6, 0.9: None}])
def test_fewer_than_three_pairs_are_no_law(times: dict[float, float | None]) -> None:
    assert fit_cmr_law(times) is None
