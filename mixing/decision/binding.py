"""The names of what limits a decision. Imports nothing, so that the mix spec can use them and stay light."""

from __future__ import annotations

from typing import Literal

Binding = Literal["tolerance", "turning_point", "bound", "repetition", "none"]
"""The constraint at which a target share stops growing; `bound`: the edge of the trained or allowed shares."""
