"""The two kinds of array that are computed with.

A name's suffix says what its axes are, a letter each (`losses_rv`: run, validation set); see `mixing.laws.base`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
