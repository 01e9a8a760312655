"""The `ingot` command. Exit codes: 0 well, 1 the answer is no, 2 bad use or bad input, 130 interrupted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ingot
from ingot.cli import bench, check, compare, compile, convert, doctor, inspect, optimize, run, targets
from ingot.cli.output import guarded

app = typer.Typer(
    name="ingot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (compile, convert, run, bench, compare, optimize, inspect, check, doctor, targets):
    app.command(module.__name__.rpartition(".")[2])(guarded(module.command))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ingot {ingot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and end."),
    ] = False,
) -> None:
    """Cast a trained model into a small, fast, sealed native library."""


def main() -> None:
    """The entry point of the `ingot` program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
