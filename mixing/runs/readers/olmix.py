"""olmix (arXiv 2602.12237): `ratios.csv` and `metrics.csv`, paired by `run`."""

from __future__ import annotations

from mixing.runs.readers.pair import Pair

OLMIX = Pair("olmix", key="run")
