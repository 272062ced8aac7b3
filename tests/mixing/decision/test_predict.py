"""`predict`: the losses of a run that was not trained, with an interval that holds them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mixing.decision.decide import decide
from mixing.decision.predict import predict
from mixing.errors import InputError, MixlawError
from tests.mixing.decision.critical_ratio.ratio_studies import BUDGETS, at_end, landscape, study
from tests.mixing.decision.mixture.swarms import BASE, LINEAR, corners, swarm


def test_two_sources_are_predicted_between_the_trained_shares() -> None:
    power = landscape("power")
    table = study(power)
    found = predict(table, {"general": 0.5, "target": 0.5})
    assert set(found) == {"general", "target"}
    for name, surface in (("general", power.general), ("target", power.target)):
        truth = float(np.ravel(surface(np.array([0.5]), np.ones(1)))[0])
        assert found[name].increment == pytest.approx(truth, abs=3e-3)
        low, high = found[name].interval
        assert low <= found[name].loss <= high
        assert found[name].loss - found[name].increment == pytest.approx(
            {"general": 3.0, "target": 2.0}[name]
        )
    wider = predict(table, {"general": 0.5, "target": 0.5}, level=0.99)
    assert wider["general"].interval[0] < found["general"].interval[0]
    assert wider["general"].loss == found["general"].loss
    assert predict(table, {"general": 0.5, "target": 0.5}) == found


def test_it_is_the_prediction_of_the_decision() -> None:
    table = study(landscape("power"))
    decision = decide(table, general="general", target="target", tolerance=0.02)
    found = predict(table, decision.shares)
    for name in ("general", "target"):
        assert found[name].loss == pytest.approx(decision.predicted[name].loss, abs=2e-4)
        width, other = (p.interval[1] - p.interval[0] for p in (found[name], decision.predicted[name]))
        assert width == pytest.approx(other, rel=0.2)


def test_many_sources_are_predicted_by_their_laws(few_replicates: None) -> None:
    mix = np.array([0.5, 0.3, 0.2])
    shares = dict(zip(("web", "code", "books"), mix.tolist(), strict=True))
    for base in (None, BASE):
        found = predict(swarm(corners(), base=base), shares)
        for name, law in LINEAR.items():
            assert found[name].loss == pytest.approx(law(mix), abs=1e-3)
            increment = found[name].increment
            assert (
                math.isnan(increment)
                if base is None
                else increment == pytest.approx(law(mix) - base[name], abs=1e-3)
            )


def test_what_cannot_be_predicted_is_refused() -> None:
    table = study(landscape("power"))
    half = {"general": 0.5, "target": 0.5}
    with pytest.raises(InputError, match="shares german: no such domain"):
        predict(table, {"general": 0.5, "german": 0.5})
    with pytest.raises(InputError, match="sum to"):
        predict(table, {"general": 0.5})
    with pytest.raises(InputError, match="level 2"):
        predict(table, half, level=2)
    with pytest.raises(MixlawError, match="times the largest trained budget"):
        predict(table, half, tokens=5 * BUDGETS[-1])
    with pytest.raises(MixlawError, match="no law fits these runs"):
        predict(at_end([0.5]), half)
    with pytest.raises(MixlawError, match="lies outside all mixtures"):
        predict(swarm(np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]] * 4)), {"books": 1.0})
