"""The laws, one file each; adding a law is one file and one line here."""

from __future__ import annotations

from mixing.laws.base import Law
from mixing.laws.cmr import CMR, CMR_MONOTONE, RATIO
from mixing.laws.constant import Constant
from mixing.laws.linear import Linear

LAWS: dict[str, Law] = {law.name: law for law in (Constant(), Linear(), RATIO, CMR_MONOTONE, CMR)}

__all__ = ["CMR", "CMR_MONOTONE", "LAWS", "RATIO", "Law"]
