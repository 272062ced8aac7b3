"""Mixlaw in Python: `import mixlaw as ml`. The names of `mixing`, and `export`; each is loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mixing

if TYPE_CHECKING:
    from mixing import *  # noqa: F403
    from mixing.export.exporting import export as export

__all__ = [*mixing.__all__, "export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        from mixing.export.exporting import export

        globals()[name] = export
        return export
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(mixing, name)


def __dir__() -> list[str]:
    return sorted(__all__)
