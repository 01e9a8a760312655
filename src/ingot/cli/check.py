"""`ingot check`: can a model be compiled?"""

from __future__ import annotations

import dataclasses

import typer

from ingot.cli.options import Json, Model, Target
from ingot.cli.output import print_json, print_table


def command(model: Model, target: Target = "native", json_output: Json = False) -> None:
    """List everything in a model that cannot be compiled, with what to do about it. Exits with 1 if there is something."""
    import ingot

    report = ingot.check(model, target=target)
    if json_output:
        gaps = [dataclasses.asdict(gap) for gap in report.gaps]
        print_json({"ok": report.ok, "nodes": report.nodes, "gaps": gaps})
    elif report.ok:
        print(f"{model}: all {report.nodes} nodes can be compiled")
    else:
        rows = [
            [gap.node, _operator(gap.domain, gap.operator), gap.reason, gap.remedy] for gap in report.gaps
        ]
        title = f"{model}: gaps: {len(rows)}, nodes: {report.nodes}"
        print_table(title, ["node", "operator", "reason", "remedy"], rows)
    if not report.ok:
        raise typer.Exit(1)


def _operator(domain: str, operator: str) -> str:
    return f"{domain}::{operator}" if domain not in ("", "ai.onnx") else operator
