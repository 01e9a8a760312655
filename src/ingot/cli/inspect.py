"""`ingot inspect`: look inside a model or package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ingot.cli.options import Json, Precision, PrecisionName, Shapes, Source, Target
from ingot.cli.output import bytes_text, print_json, print_table, shape_text


def command(
    source: Source,
    html: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write: the graph before and after each rule, costs, memory.",
            show_default=False,
        ),
    ] = None,
    target: Target = "native",
    shape: Shapes = None,
    precision: Precision = PrecisionName.f32,
    json_output: Json = False,
) -> None:
    """Show the inputs, outputs, operators and sizes of a model, or the manifest of a package.

    --target, --shape and --precision are those that the page is made for.
    """
    from ingot.report.inspect import inspect

    report = inspect(source)
    if html is not None:
        from ingot.report.inputs import parse_shapes
        from ingot.report.page import page_data, write_page

        shapes = parse_shapes(shape or ()) or None
        write_page(page_data(source, shapes=shapes, target=target, precision=precision.value), html)
    if json_output:
        print_json(report)
    elif report["kind"] == "package":
        _show_package(report)
    else:
        _show_model(report)


def _ports(kind: str, ports: list[dict[str, Any]]) -> list[list[str]]:
    return [[kind, port["name"], f"{port['dtype']} {shape_text(port['shape'])}"] for port in ports]


def _show_model(report: dict[str, Any]) -> None:
    rows = _ports("input", report["inputs"]) + _ports("output", report["outputs"])
    rows += [["opset", domain or "ai.onnx", str(version)] for domain, version in report["opsets"].items()]
    rows.append(["parameters", f"{report['parameters']:,}", bytes_text(report["parameter_bytes"])])
    rows.append(["producer", report["producer"] or "unknown", f"IR version {report['ir_version']}"])
    print_table(f"model {report['name']}", ["", "", ""], rows)
    operators = [[name, str(count)] for name, count in report["operators"].items()]
    print_table(f"nodes: {report['nodes']}", ["operator", "nodes"], operators)


def _show_package(report: dict[str, Any]) -> None:
    manifest = report["manifest"]
    rows = _ports("input", manifest.get("inputs", [])) + _ports("output", manifest.get("outputs", []))
    rows.append(["target", str(manifest.get("target", {}).get("name", "")), manifest.get("precision", "")])
    rows.append(["version", str(manifest.get("version", "")), f"format {manifest['format']}"])
    rows += [
        ["memory", name, bytes_text(count)] for name, count in sorted(manifest.get("memory", {}).items())
    ]
    for name, size in report["sizes"].items():
        rows.append(["file", name, bytes_text(size) + (" DAMAGED" if name in report["damaged"] else "")])
    rows += [["file", name, "MISSING"] for name in report["damaged"] if name not in report["sizes"]]
    print_table(f"package {report['name']}", ["", "", ""], rows)
    kernels = manifest.get("kernels", [])
    if kernels and all(isinstance(kernel, dict) for kernel in kernels):
        columns = list(dict.fromkeys(key for kernel in kernels for key in kernel))
        table = [[_cell(kernel.get(column, "")) for column in columns] for kernel in kernels]
        print_table(f"kernels: {len(kernels)}", columns, table)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
