"""ingot casts a trained model into a small, fast, sealed native library.

Names are imported on first use, so that loading a package needs neither onnx nor the compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingot.errors import IngotError
from ingot.version import __version__

if TYPE_CHECKING:
    from ingot.compiler import check, compile
    from ingot.emit.package import Package
    from ingot.frontends.convert import convert
    from ingot.report.compare import Comparison, compare
    from ingot.report.inspect import inspect
    from ingot.report.optimize import Optimized, optimize
    from ingot.runtime import Session, load

__all__ = [
    "Comparison", "IngotError", "Optimized", "Package", "Session", "__version__",
    "check", "compare", "compile", "convert", "inspect", "load", "optimize",
]  # fmt: skip

_HOMES = {
    "Comparison": "ingot.report.compare",
    "Optimized": "ingot.report.optimize",
    "Package": "ingot.emit.package",
    "Session": "ingot.runtime",
    "check": "ingot.compiler",
    "compare": "ingot.report.compare",
    "compile": "ingot.compiler",
    "convert": "ingot.frontends.convert",
    "inspect": "ingot.report.inspect",
    "load": "ingot.runtime",
    "optimize": "ingot.report.optimize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ingot' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
