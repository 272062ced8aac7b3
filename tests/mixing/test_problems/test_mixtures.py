"""Landscapes of several sources: their best mixture is the best, and a study of one finds it."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.decision.mixture.decider import decide_mixture
from mixing.decision.question import make_question
from mixing.test_problems import MIXTURE_LANDSCAPES, MixtureLandscape
from mixing.test_problems.mixtures import TOKENS


@pytest.mark.parametrize("landscape", MIXTURE_LANDSCAPES, ids=lambda each: each.name)
def test_no_mixture_within_the_tolerance_is_better(landscape: MixtureLandscape) -> None:
    best_d, least = landscape.best()
    assert best_d.sum() == pytest.approx(1)
    assert landscape.general(best_d[None])[0] <= landscape.base + landscape.tolerance + 1e-7
    shares_md = np.random.default_rng(1).dirichlet(np.ones(len(best_d)), 50_000)
    allowed = landscape.general(shares_md) <= landscape.base + landscape.tolerance
    assert allowed.any()
    assert landscape.target(shares_md[allowed]).min() >= least - 1e-9


def test_a_study_finds_the_best_mixture() -> None:
    """Regret below the scatter of one run, and intervals around the truth: seed 4 of a landscape in the family."""
    landscape = MIXTURE_LANDSCAPES[0]
    table = landscape.study(40, noise=5e-4, seed=4)
    asked = make_question(
        table, {"general": 1.0}, {"target": 1.0}, landscape.domains[1:], tolerance=0.02, tokens=TOKENS
    )
    found = decide_mixture(table, asked, seed=4)
    best_d, least = landscape.best()
    assert found.status == "decided"
    mix = np.array([[found.shares[d] for d in landscape.domains]])
    assert landscape.target(mix)[0] - least < 5e-4
    assert landscape.general(mix)[0] < landscape.base + landscape.tolerance + 1e-3
    for domain, share in zip(landscape.domains, best_d, strict=True):
        low, high = found.share_intervals[domain]
        assert low <= share <= high


def test_the_same_seed_draws_the_same_study() -> None:
    first, second = (MIXTURE_LANDSCAPES[1].study(5, seed=3).rows for _ in range(2))
    assert first.equals(second)
