"""`ingot doctor`: look at this machine."""

from __future__ import annotations

import typer

from ingot.cli.options import Json
from ingot.cli.output import print_json


def command(json_output: Json = False) -> None:
    """Check this machine: compiler, cache, processor, memory, installed peers. Exits with 1 if compiling would fail."""
    from ingot.report.doctor import examine

    report = examine()
    if json_output:
        print_json(report.to_dict())
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(soft_wrap=True)
        styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        for line in report.lines:
            console.print(
                Text.assemble(
                    (f"{line.level:<5}", styles[line.level]), (f"{line.topic:<13}", "bold"), line.text
                )
            )
            if line.remedy:
                console.print(Text(f"{'':<18}{line.remedy}"))
    if not report.ok:
        raise typer.Exit(1)
