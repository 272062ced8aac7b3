"""RegMix (Liu et al. 2025, arXiv 2407.01492): `train_the_pile_*` and `metric/the_pile_*_val_loss`, by `index`."""

from __future__ import annotations

from mixing.runs.readers.pair import Pair

REGMIX = Pair("regmix", key="index")
