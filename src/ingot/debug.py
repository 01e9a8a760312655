"""Every environment variable that ingot reads, in one table, and the typed way to read each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variable:
    """name: as in the environment. default: what holds when it is unset, in words. meaning: one line for the manual."""

    name: str
    default: str
    meaning: str


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "CC",
        "the ziglang wheel's clang",
        "the C compiler, with arguments if it needs any; --cc goes before it",
    ),
    Variable(
        "INGOT_BENCH_MODELS", "~/.cache/ingot/bench-models", "folder of the models that `make bench` exports"
    ),
    Variable("INGOT_CACHE", "$XDG_CACHE_HOME/ingot or ~/.cache/ingot", "folder of compiled objects"),
    Variable(
        "INGOT_DEBUG",
        "0",
        "1 stages and times, 2 each kernel call with its tasks and nodes, 3 the layout chosen for each tensor, "
        "4 where the generated C lies, 5 the program after each stage; to standard error",
    ),
    Variable(
        "INGOT_DUMP", "unset", "folder that receives every stage, the C and a script that builds it again"
    ),
    Variable(
        "INGOT_TEST_DATA",
        "../shared/data beside the checkout",
        "folder of real models and pictures for tests",
    ),
    Variable(
        "INGOT_THREADS",
        "the processors this process may use",
        "most threads of the process-wide pool, in compiled libraries too",
    ),
    Variable(
        "INGOT_TUNING",
        "tuning.json in the folder of compiled objects",
        "file that `ingot compile --tune` adds to where --tuning names none",
    ),
    Variable("INGOT_VERIFY", "0", "1 checks the program after every stage, not only before kernels are made"),
)


def level() -> int:
    """INGOT_DEBUG as a number from 0 to 5; anything that is not a number counts as 0."""
    text = os.environ.get("INGOT_DEBUG", "0").strip()
    return min(int(text), 5) if text.isdecimal() else 0


def dump_folder() -> Path | None:
    """INGOT_DUMP, or None when nothing is to be dumped."""
    text = os.environ.get("INGOT_DUMP", "")
    return Path(text) if text else None


def cache_folder() -> Path:
    """The folder of the build cache; it need not exist yet."""
    if text := os.environ.get("INGOT_CACHE"):
        return Path(text).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "ingot"


def tuning_file() -> Path:
    """INGOT_TUNING, or the one beside the build cache; it need not exist."""
    text = os.environ.get("INGOT_TUNING")
    return Path(text).expanduser().absolute() if text else cache_folder() / "tuning.json"


def verify() -> bool:
    """Whether every pass is to be checked after it ran."""
    return os.environ.get("INGOT_VERIFY", "0") not in ("", "0")


def compiler() -> str | None:
    """$CC, or None when it is unset or empty."""
    return os.environ.get("CC") or None
