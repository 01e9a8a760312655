"""The tuning file: which candidates were timed on which machine, and which was picked. It may be shared and merged."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingot.emit.c import Printer
from ingot.errors import IngotError
from ingot.ir.index import show
from ingot.ir.program import Dense, MatMul, Operation, Program, Reduce
from ingot.ir.show import show_program
from ingot.kernels.builder import Built
from ingot.target import Target, cpu_name
from ingot.version import __version__

FORMAT = 1


@dataclass
class Result:
    """One choice. pick: the candidate to build. seconds: of each one that was timed, one call in a model's run."""

    pick: str
    seconds: dict[str, float] = field(default_factory=dict)


Results = dict[str, Result]
"""By key of the choice."""


def machine_key(target: Target) -> str:
    """What results hold for: target, processor, and version of ingot."""
    return f"{target.name} on {cpu_name()}, ingot {__version__}"


def kernel_key(operation: Operation, built: Built, symbols: Sequence[str]) -> str:
    """What a kernel computes, for people, and the hash of the C of its default: sizes, strides, layouts, epilogue."""
    text = Printer(built.kernel, symbols).function("kernel")
    shape = "x".join(map(show, operation.output.shape))
    if isinstance(operation, Dense):
        what = f"product with {'x'.join(map(str, operation.weight.shape))}"
    elif isinstance(operation, MatMul):
        what = f"product over {operation.k.extent}"
    else:
        over = operation.over if isinstance(operation, Reduce) else ()
        what = f"{type(operation).__name__.lower()} over {'x'.join(str(v.extent) for v in over)}"
    return f"{what} to {shape}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def program_key(program: Program) -> str:
    """The number of operations of a program, for people, and a hash of what they compute of what."""
    lines = [line.partition("  #")[0] for line in show_program(program).splitlines()[1:]]
    return f"{len(program.operations)} operations, {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"


def load_results(file: Path, *, missing: bool = False) -> dict[str, Results]:
    """All results of a tuning file, by machine. missing: whether a file that does not exist counts as empty.

    Raises IngotError tuning-invalid.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        if missing:
            return {}
        raise _invalid(file, "there is no such file") from error
    except OSError as error:
        raise _invalid(file, f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _invalid(file, f"it is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _invalid(file, f"it is not of format {FORMAT}")
    try:
        return {
            str(machine): {str(key): _result(entry) for key, entry in entries.items()}
            for machine, entries in content["machines"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(file, "an entry is not what ingot writes") from error


def _result(entry: Any) -> Result:
    seconds = {str(name): float(spent) for name, spent in entry["seconds"].items()}
    if not isinstance(entry["pick"], str) or not all(0 < spent < 1e6 for spent in seconds.values()):
        raise ValueError
    return Result(entry["pick"], seconds)


def save_results(file: Path, machine: str, results: Mapping[str, Result]) -> None:
    """Adds results to a tuning file, which is read again and replaced in one step while no other process does the same.

    Raises IngotError tuning-invalid and output-unwritable.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        everything = load_results(file, missing=True)
        everything.setdefault(machine, {}).update(results)
        content = {
            "format": FORMAT,
            "machines": {
                name: {
                    key: {
                        "pick": result.pick,
                        "seconds": {n: float(f"{s:.4g}") for n, s in result.seconds.items()},
                    }
                    for key, result in entries.items()
                }
                for name, entries in everything.items()
            },
        }
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as aside:
            aside.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
        os.chmod(aside.name, 0o644)
        os.replace(aside.name, file)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        os.close(folder)


def _invalid(file: Path, cause: str) -> IngotError:
    return IngotError(
        "tuning-invalid",
        cause,
        where=str(file),
        remedy="name a file that `ingot compile --tune` wrote, or a new one together with --tune",
    )


def _unwritable(file: Path, error: OSError) -> IngotError:
    return IngotError(
        "output-unwritable",
        f"the tuning file cannot be written: {error.strerror}",
        where=str(file),
        remedy="name a file in a folder that you can write with --tuning",
    )
