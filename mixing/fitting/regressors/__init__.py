"""Models that fit themselves, beside the laws that `mixing.fitting.engine` searches; one file each, one line here."""

from __future__ import annotations

from mixing.fitting.regressors.boosted_trees import BoostedTrees
from mixing.fitting.regressors.corrected import Corrected
from mixing.fitting.regressors.gaussian_process import GaussianProcess
from mixing.fitting.regressors.nested import Nested
from mixing.laws.base import Regressor
from mixing.laws.optimal_mixture import PRODUCT

REGRESSORS: dict[str, Regressor] = {
    regressor.name: regressor
    for regressor in (
        Nested(),
        GaussianProcess(),
        BoostedTrees(),
        Corrected(
            "product+process",
            "Optimal-mixture law, corrected by a Gaussian process",
            PRODUCT,
            GaussianProcess(),
        ),
        Corrected(
            "product+trees", "Optimal-mixture law, corrected by trees", PRODUCT, BoostedTrees(trees=100)
        ),
    )
}

__all__ = ["REGRESSORS"]
