"""The next runs with more than two sources: the most telling, or spread."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.decision.mixture.next_mixtures import most_telling, spread


def test_the_most_telling_run_is_the_one_that_explains_the_answer() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((5000, 3))
    answers = np.stack([hidden[:, 0], -hidden[:, 0]], axis=1)
    losses = np.stack([hidden[:, 0] + hidden[:, 1], hidden[:, 2], 0.1 * hidden[:, 0]], axis=1)[None]
    chosen, left = most_telling(answers, losses, np.array([0.05]), 2)
    # 0.1 h + noise 0.05 leaves 0.2 of the variance, h + another of its size 0.5.
    assert chosen == [2, 0]
    assert left[0] == pytest.approx(0.2, abs=0.02)
    assert left[1] == pytest.approx(1 / 6, abs=0.02)
    assert most_telling(np.zeros((10, 2)), np.zeros((1, 10, 3)), np.ones(1), 2) == ([], [])


def test_spread_goes_where_nothing_is() -> None:
    options = np.eye(3)
    assert spread(options, np.array([[1.0, 0.0, 0.0]]), 2) == [1, 2]
