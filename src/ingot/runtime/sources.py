"""The C sources that every library is built with."""

from __future__ import annotations

from pathlib import Path

NATIVE = Path(__file__).parent / "native"


def native_text(name: str) -> str:
    """The text of `ingot.h`, `ingot_abi.h`, `ingot_runtime.c` or the template `example.c`."""
    return (NATIVE / name).read_text(encoding="utf-8")
