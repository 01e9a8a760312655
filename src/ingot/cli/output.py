"""How commands speak: tables to standard output, progress and errors to standard error, JSON where it is asked for."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec

import typer

from ingot.errors import IngotError

P = ParamSpec("P")
ANSWERS_NO = frozenset({"memory-exceeded", "outputs-differ"})


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """`command` with its errors told, red or as JSON where it has a JSON option that is set, and turned into exit codes."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except IngotError as error:
            destination = kwargs.get("json_output")
            if destination:
                fields = {
                    "code": error.code,
                    "where": error.where,
                    "cause": error.cause,
                    "remedy": error.remedy,
                }
                print_json({"error": fields}, destination if isinstance(destination, Path) else None)
            if not destination or isinstance(destination, Path):
                print_error(error)
            raise typer.Exit(1 if error.code in ANSWERS_NO else 2) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return wrapper


def print_error(error: IngotError) -> None:
    """The error in red on standard error."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    text = Text.assemble(("error", "bold red"), (f"[{error.code}] ", "red"))
    if error.where:
        text.append(f"{error.where}: ", style="bold")
    text.append(error.cause)
    console.print(text)
    if error.remedy:
        console.print(Text.assemble(("remedy: ", "green"), error.remedy))


def print_json(report: Any, file: Path | None = None) -> None:
    """The report as JSON, to `file`, or to standard output for None and for "-". Raises IngotError output-unwritable."""
    text = json.dumps(report, indent=2, sort_keys=True, allow_nan=True, default=str)
    if file is None or str(file) == "-":
        print(text)
        return
    try:
        file.write_text(text + "\n")
    except OSError as error:
        raise IngotError(
            "output-unwritable",
            f"cannot write: {error.strerror}",
            where=str(file),
            remedy="choose another file",
        ) from error


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on standard output; columns after the first are right-aligned where every cell starts with a digit."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", show_header=any(columns))
    for place, name in enumerate(columns):
        numeric = place > 0 and all(row[place][:1].isdigit() for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    Console(width=width).print(table)


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """A callback (stage, done, total) that draws a bar on standard error, or None where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda stage, done, total: progress.update(task, description=stage, completed=done, total=total)


def bytes_text(count: float) -> str:
    """A number of bytes for people: 1536 is "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def seconds_text(seconds: float) -> str:
    """A time for people: 0.00123 is "1.23 ms"."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def shape_text(shape: Any) -> str:
    """A shape for people: "1x3x224x224", "scalar" without dimensions."""
    return "unknown" if shape is None else "x".join(map(str, shape)) or "scalar"
