"""The laws, one file each; adding a law is one file and one line here."""

from __future__ import annotations

from mixing.laws.autoscale import AutoScale
from mixing.laws.base import Law
from mixing.laws.bimix import BiMix
from mixing.laws.cmr import CMR, CMR_MONOTONE, CMR_REPLAY, CMR_STEADY, RATIO
from mixing.laws.constant import Constant
from mixing.laws.dcpt import DCpt
from mixing.laws.exponential import EXPONENTIAL, IMPLICIT, LOG_LINEAR
from mixing.laws.linear import Linear
from mixing.laws.optimal_mixture import ADDITIVE, JOINT, PRODUCT
from mixing.laws.scheffe import Scheffe

CONSTANT = Constant()
"""What is left to say where no law can be scored."""

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        CONSTANT,
        Linear(),
        RATIO,
        CMR_MONOTONE,
        CMR,
        CMR_REPLAY,
        CMR_STEADY,
        DCpt(),
        BiMix(),
        EXPONENTIAL,
        IMPLICIT,
        LOG_LINEAR,
        ADDITIVE,
        JOINT,
        PRODUCT,
        AutoScale(),
        Scheffe(),
    )
}

BASELINES = tuple(law.name for law in LAWS.values() if law.baseline)
"""The laws that are always fitted and shown, by name."""

__all__ = ["BASELINES", "CMR", "CMR_MONOTONE", "CMR_REPLAY", "CMR_STEADY", "CONSTANT", "LAWS", "RATIO", "Law"]
