"""Materialization: the arrays of a tree written to disk, block by block, at any size.

Names are imported when they are first used: each worker imports only the modules that it needs.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "Checked": ".progress",
    "Cost": ".result",
    "Failed": ".result",
    "Result": ".result",
    "Status": ".progress",
    "Storage": ".settings",
    "Workers": ".settings",
    "check_blocks": ".progress",
    "finish": ".progress",
    "materialize": ".run",
    "status": ".progress",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
