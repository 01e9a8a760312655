"""Which part of ingot may import which: the layering of docs/architecture.md, read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx
import pytest

import ingot

SOURCE = Path(ingot.__file__).parent
BELOW = {
    "errors": (),
    "version": (),
    "debug": (),
    "dump": ("debug", "errors"),
    "target": ("errors",),
    "testing": ("errors",),
    "runtime": ("errors",),
    "toolchain": ("errors", "debug"),
    "ir": ("errors",),
    "isa": ("ir",),
    "frontends": ("errors",),
    "graph": ("errors", "debug", "frontends", "testing"),
    "lower": ("errors", "ir"),
    "schedule": ("errors", "ir", "target"),
    "kernels": ("errors", "ir", "isa", "schedule", "target"),
    "emit": ("errors", "ir", "isa", "kernels", "runtime", "schedule", "target"),
    "tune": ("emit", "errors", "ir", "kernels", "runtime", "target", "version"),
    "compiler": (
        "debug",
        "dump",
        "emit",
        "errors",
        "frontends",
        "graph",
        "ir",
        "kernels",
        "lower",
        "runtime",
        "schedule",
        "target",
        "toolchain",
        "tune",
        "version",
    ),
}
"""Each part and what it may import besides itself. The parts that are not here stand above all of them."""
ABOVE = ("__main__", "cli", "onnx_backend", "oracle", "report")


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("ingot", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imports(name: str) -> Iterator[str]:
    """The modules of ingot that a module imports anywhere in it."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "ingot")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            if (node.module or "").split(".")[0] == "ingot":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in modules() else str(node.module)


def part_of(name: str) -> str:
    """The part that a module belongs to; "" for the package itself."""
    return [*name.split("."), ""][1]


def test_every_part_has_its_place() -> None:
    assert {part_of(name) for name in modules()} == {"", *BELOW, *ABOVE}
    for part, below in BELOW.items():
        assert set(below) <= set(BELOW) - {part}


def test_the_order_has_no_circle() -> None:
    left = {part: set(below) for part, below in BELOW.items()}
    while left:
        ready = [part for part, below in left.items() if not below & left.keys()]
        assert ready, f"these import each other: {sorted(left)}"
        for part in ready:
            del left[part]


@pytest.mark.parametrize("part", BELOW)
def test_a_part_imports_only_what_lies_below(part: str) -> None:
    allowed = {part, *BELOW[part]}
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if part_of(name) == part
        for other in imports(name)
        if part_of(other) not in allowed
    ]
    assert wrong == []


def test_every_module_can_be_imported_alone() -> None:
    names = [name for name in modules() if not name.endswith("__main__")]
    program = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    subprocess.run([sys.executable, "-c", program, *reversed(names)], check=True)


def test_no_operator_of_onnx_is_named_in_emit() -> None:
    schemas = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    kinds = set(_classes("ingot.ir"))
    found = []
    for name, tree in modules().items():
        if part_of(name) != "emit":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [(name, word) for word in re.findall(r"\w+", node.value) if word in schemas - kinds]
            elif isinstance(node, ast.Name | ast.Attribute):
                word = node.id if isinstance(node, ast.Name) else node.attr
                found += [(name, word)] if word in schemas - kinds else []
    assert found == []


def _classes(package: str) -> Iterator[str]:
    for name, tree in modules().items():
        if name.startswith(package):
            yield from (node.name for node in tree.body if isinstance(node, ast.ClassDef))


@pytest.mark.parametrize("name", ["ingot", "ingot.runtime", "ingot.errors", "ingot.cli"])
def test_running_a_package_needs_no_compiler(name: str) -> None:
    """Loading these brings in neither onnx nor anything that compiles."""
    program = f"import sys, {name}\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"onnx", "onnx_ir", "google.protobuf", "onnxruntime", "torch", "PIL"}
    heavy |= {f"ingot.{part}" for part in BELOW if part not in ("errors", "version", "debug", "runtime")}
    assert heavy & set(loaded) == set()


def test_the_runtime_needs_numpy_and_the_standard_library_alone() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "ingot"}
    for name, tree in modules().items():
        if part_of(name) in ("runtime", "errors", "version"):
            for node in ast.walk(tree):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                assert {one.split(".")[0] for one in names} <= allowed, name


def test_nothing_but_templates_is_no_python() -> None:
    """The package holds its modules, the runtime's C, the template of a page and the marker of its types."""
    others = {
        path.relative_to(SOURCE).parts[:2]
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others == {("py.typed",), ("report", "page.html"), ("runtime", "native")}
