"""`ingot optimize`: the graph rules alone, ONNX -> ONNX."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingot.cli.options import Inputs, Shapes
from ingot.cli.output import print_json, print_table, progress_bar, seconds_text
from ingot.errors import IngotError

if TYPE_CHECKING:
    from ingot.report.optimize import Optimized


def command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="A model: ONNX, Caffe (.prototxt), TFLite or PyTorch (.pt2).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="ONNX file to write.", show_default=False)
    ] = None,
    list_rules: Annotated[
        bool, typer.Option("--list", help="List the rules, and what --disable leaves of them.")
    ] = False,
    disable: Annotated[
        list[str] | None, typer.Option(help="Rule to leave out. Repeatable.", show_default=False)
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Runtime whose own operators may be written: onnxruntime.",
            metavar="RUNTIME",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            help="Tell where this rule fires and where it comes close and why it does not; write nothing.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Run the model after each rule; fail and name the rule that changes an output."
        ),
    ] = False,
    inputs: Inputs = None,
    shape: Shapes = None,
    json_output: Annotated[
        Path | None,
        typer.Option("--json", help="Write the report to this file; - prints it.", show_default=False),
    ] = None,
) -> None:
    """Write a model with fewer operators and the same outputs: standard ONNX, which any runtime loads, unless --for names one."""
    from ingot.report.inputs import parse_shapes
    from ingot.report.optimize import optimize

    if list_rules:
        _list(disable or [], json_output)
        return
    if model is None:
        raise IngotError("option-invalid", "no model was given", where="MODEL", remedy="give the file of one")
    shapes = parse_shapes(shape or ())
    if explain is not None:
        _explain(model, explain, shapes, json_output)
        return
    if output is None:
        raise IngotError("option-invalid", "no output was given", where="-o", remedy="write -o OUT.onnx")
    with progress_bar() as progress:
        result = optimize(
            model,
            output,
            shapes=shapes,
            disable=disable or (),
            runtime=runtime,
            verify=verify,
            inputs=dict(_named(inputs or [], model)),
            progress=progress,
        )
    if json_output is not None:
        print_json(result.to_dict(), json_output)
    if json_output is None or str(json_output) != "-":
        _show(result)


def _named(options: list[str], model: Path) -> dict[str, str]:
    from ingot.report.inputs import parse_inputs
    from ingot.report.inspect import inspect as look

    return parse_inputs(options, [port["name"] for port in look(model)["inputs"]]) if options else {}


def _list(disable: list[str], json_output: Path | None) -> None:
    from ingot.graph.pipeline import COMPILE, OPTIMIZE, RULES, RUNTIMES, check_names

    check_names(disable)
    rules = [
        {
            "name": name,
            "what": _what(rule),
            "optimize": name in OPTIMIZE and name not in disable,
            "compile": name in COMPILE,
            "for": next((runtime for runtime, rules in RUNTIMES.items() if name in rules), ""),
        }
        for name, rule in RULES.items()
    ]
    if json_output is not None:
        print_json({"rules": rules}, json_output)
        return
    words = {True: "on", False: "off"}
    rows = [
        [
            str(r["name"]),
            str(r["what"]),
            f"--for {r['for']}" if r["for"] else words[bool(r["optimize"])],
            words[bool(r["compile"])],
        ]
        for r in rules
    ]
    print_table(f"rules: {len(rules)}", ["rule", "before -> after", "optimize", "compile"], rows)


def _what(rule: Any) -> str:
    """The first line of what a rule says of itself."""
    return inspect.cleandoc(importlib.import_module(rule.__module__).__doc__ or "").partition("\n")[0]


def _explain(
    model: Path, rule: str, shapes: dict[str, tuple[int | str, ...]], json_output: Path | None
) -> None:
    from ingot.report.optimize import explain

    events = explain(model, rule, shapes)
    if json_output is not None:
        print_json({"rule": rule, "events": [event._asdict() for event in events]}, json_output)
        return
    fired = sum(not event.reason for event in events)
    rows = [[event.node, event.reason or "fired"] for event in events]
    print(f"{rule}: fired {fired} times, declined {len(rows) - fired} times")
    if rows:
        print_table("", ["node", ""], rows)


def _show(result: Optimized) -> None:
    rows = [
        [one.name, str(one.fired), seconds_text(one.seconds)]
        for one in result.passes
        if one.fired and one.name != "infer_shapes"
    ]
    print_table("", ["rule", "fired", "time"], rows)
    names = [*result.before, *(name for name in result.after if name not in result.before)]
    changed = [
        [name, str(result.before.get(name, 0)), str(result.after.get(name, 0))]
        for name in names
        if result.before.get(name, 0) != result.after.get(name, 0)
    ]
    if changed:
        print_table("", ["operator", "before", "after"], changed)
    raised = ""
    if result.opset_after != result.opset_before:
        raised = f", operator set {result.opset_before} -> {result.opset_after}"
    print(f"operators: {result.operators_before} -> {result.operators_after}{raised}")
    if result.checks:
        print(f"verified: outputs equal after each of {len(result.checks)} steps")
    print(f"{result.file}: {seconds_text(result.seconds)}")
