"""Write docs/reference from the code: python tools/make_reference.py [--check]

With --check nothing is written; it names the pages that are out of date and exits with 1 if there are any.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnx
from operator_table import Support, opsets, supported

import ingot
from ingot import cli, debug, errors, target
from ingot.graph.pipeline import COMPILE, OPTIMIZE, RULES, RUNTIMES
from ingot.lower import lowering, shapes
from ingot.lower.registry import REGISTRY
from ingot.runtime.sources import native_text

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"


def main() -> int:
    pages = {name: render() for name, render in PAGES.items()}
    if "--check" in sys.argv[1:]:
        old = stale(pages)
        for name in old:
            print(f"docs/reference/{name} is out of date: run python tools/make_reference.py")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
    return 0


def stale(pages: dict[str, str]) -> list[str]:
    """The pages whose file is missing or differs, and the files that are no page."""
    files = {path.name for path in FOLDER.glob("*")}
    changed = [
        name for name, text in pages.items() if name not in files or (FOLDER / name).read_text() != text
    ]
    return changed + sorted(files - set(pages))


def page(title: str, source: str, *parts: str) -> str:
    """A page with a note on where it comes from."""
    note = f"<!-- Made from {source} by tools/make_reference.py: change that, and run it again. -->"
    return "\n\n".join([f"# {title}", note, *(part.strip() for part in parts if part.strip())]) + "\n"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(columns)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    return f"`{text}`"


def sentence(text: str) -> str:
    """One line of prose, from a docstring or a comment; what looks like a tag outside of code is none."""
    words = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(word if word.startswith("`") else word.replace("<", "&lt;") for word in words)


def prose(text: str | None) -> str:
    """A docstring as paragraphs."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(p if p.startswith("    ") else sentence(p) for p in paragraphs)


# --- command line ---


def command_line() -> str:
    codes = (cli.__doc__ or "").partition("Exit codes: ")[2]
    parts = [
        f"Exit codes: {sentence(codes)}",
        f"{', '.join(map(code, sorted(cli.output.ANSWERS_NO)))} are the errors that count as an answer; "
        "all others are [bad use or bad input](errors.md).",
    ]
    for info in cli.app.registered_commands:
        parts += _command(str(info.name), info.callback)
    return page("Command line", "src/ingot/cli", *parts)


def _command(name: str, callback: Any) -> list[str]:
    hints = typing.get_type_hints(inspect.unwrap(callback), include_extras=True)
    rows, arguments = [], []
    for parameter in inspect.signature(callback).parameters.values():
        kind, info = hints[parameter.name].__origin__, hints[parameter.name].__metadata__[0]
        if type(info).__name__ == "ArgumentInfo":
            arguments.append((info.metavar, info.help))
            continue
        declared = [
            d for d in (info.default, *(info.param_decls or ())) if isinstance(d, str) and d[0] == "-"
        ]
        spelling = ", ".join(map(code, declared or [f"--{parameter.name.replace('_', '-')}"]))
        shown = parameter.default if info.show_default is True else info.show_default
        if isinstance(shown, enum.Enum):
            shown = shown.value
        default = "" if shown is None or shown is False else code(shown)
        rows.append([spelling, _kind(kind), default, sentence(info.help or "")])
    usage = " ".join(["ingot", name, *(metavar for metavar, _ in arguments), "[OPTIONS]"])
    return [
        f"## ingot {name}",
        prose(callback.__doc__),
        f"```\n{usage}\n```",
        "\n".join(f"`{metavar}`: {sentence(text)}" for metavar, text in arguments),
        table(["option", "takes", "default", "meaning"], rows),
    ]


def _kind(annotation: Any) -> str:
    """What an option takes, in words."""
    if isinstance(annotation, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        return _kind(typing.get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(code(member.value) for member in annotation)
    return {bool: "", int: "a whole number", float: "a number", str: "text", Path: "a path"}[annotation]


# --- Python ---


def python() -> str:
    parts = ["Everything here is imported from `ingot`, on first use.", "## Functions"]
    names = [name for name in ingot.__all__ if not name.startswith("_")]
    values = {name: getattr(ingot, name) for name in names}
    for name, value in values.items():
        if inspect.isfunction(value):
            parts += [f"### ingot.{name}", _signature(f"ingot.{name}", value), prose(value.__doc__)]
    parts.append("## Classes")
    for name, value in values.items():
        if inspect.isclass(value):
            parts += _class(f"ingot.{name}", value)
    parts.append("## What calls return")
    runtime = importlib.import_module("ingot.runtime")
    for kind in (runtime.Binding, lowering.CheckReport, lowering.Gap, runtime.Port):
        parts += _class(kind.__name__, kind)
    parts += ["`ingot.__version__` is the version as a string."]
    return page("Python", "src/ingot/__init__.py and the docstrings of what it names", *parts)


def _class(title: str, kind: type) -> list[str]:
    own = vars(kind)
    constructor = own.get("__init__")
    parts = [f"### {title}"]
    if constructor is not None:
        parts.append(_signature(title, constructor, bound=True, returns=False))
    parts.append(prose(kind.__doc__))
    for name, member in own.items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            result = member.fget.__annotations__.get("return", "") if member.fget else ""
            parts.append(f"`.{name}` is a property: `{result}`. {prose(member.__doc__)}".strip())
        elif isinstance(member, classmethod):
            text = _signature(f"{title}.{name}", member.__func__, bound=True)
            parts += [text, prose(member.__func__.__doc__)]
        elif inspect.isfunction(member):
            parts += [_signature(f".{name}", member, bound=True), prose(member.__doc__)]
    return parts


def _signature(name: str, function: Callable[..., Any], bound: bool = False, returns: bool = True) -> str:
    """A call as the source declares it, one parameter a line where it is long. bound: without its first parameter."""
    signature = inspect.signature(function)
    words = []
    for parameter in list(signature.parameters.values())[int(bound) :]:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        text = parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += " = ..." if "factory" in repr(parameter.default) else f" = {parameter.default!r}"
        words.append(text)
    result = _annotation(signature.return_annotation)
    arrow = f" -> {result}" if returns and signature.return_annotation is not signature.empty else ""
    line = f"{name}({', '.join(words)}){arrow}"
    if len(line) > 100:
        line = "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){arrow}"])
    return f"```python\n{line}\n```"


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


# --- tables of the compiler ---


def error_codes() -> str:
    rows = [[code(name), meaning] for name, meaning in errors.CODES.items()]
    return page(
        "Error codes",
        "src/ingot/errors.py",
        "Every error that ingot raises on purpose is an `ingot.IngotError` with `code`, `where`, `cause` and `remedy`. "
        "The codes are stable: programs may match on them. The C API has [numbers](c-api.md#ingot_status) instead.",
        table(["code", "meaning"], rows),
    )


def environment() -> str:
    rows = [[code(v.name), v.default, v.meaning] for v in sorted(debug.VARIABLES, key=lambda v: v.name)]
    return page(
        "Environment variables",
        "src/ingot/debug.py",
        "[Debug](../how-to/debug.md) shows them at work.",
        table(["variable", "where it is unset", "meaning"], rows),
    )


def operators() -> str:
    known = supported()
    families: dict[str, list[tuple[str, str]]] = {}
    for key, function in REGISTRY.items():
        if function.__module__.startswith("ingot."):
            families.setdefault(function.__module__.rpartition(".")[2], []).append(key)
    bodies = {
        (schema.domain, schema.name)
        for schema in onnx.defs.get_all_schemas()
        if (schema.domain, schema.name) not in REGISTRY
        and (schema.has_function or schema.has_context_dependent_function)
    }

    def rows(keys: Iterable[tuple[str, str]]) -> str:
        lines = []
        for key in sorted(keys):
            support = known.get(key, Support())
            lines.append(
                [
                    code(".".join(filter(None, key))),
                    opsets(key),
                    ", ".join(sorted(support.types)),
                    ", ".join(sorted(support.operations)),
                ]
            )
        return table(["operator", "opsets", "element types", "operations"], lines)

    parts = [
        f"{sum(map(len, families.values()))} operators are lowered, each in the file of its family, on every target. "
        "`ingot check MODEL` tells of a whole model, with the attributes and dtypes that an operator here may still refuse.",
        "Found by lowering the cases of ONNX's own node suite, and the first case of each operator with every element type that "
        "ONNX allows: element types are those of the first tensor, operations what "
        "[the program](../architecture.md#operations-and-kernels) consists of. An empty cell means that the suite has no "
        "case of the operator alone. `python tools/onnx_suite.py` runs the suite.",
    ]
    for family, keys in sorted(families.items()):
        module = importlib.import_module(f"ingot.lower.{family}")
        parts += [f"## src/ingot/lower/{family}.py", prose(module.__doc__), rows(keys)]
    parts += [
        "## src/ingot/lower/shapes.py",
        prose(shapes.__doc__),
        ", ".join(map(code, sorted(shapes._HANDLERS))),
        "## src/ingot/graph/rules/expand_operators.py",
        "These have a body of other operators in ONNX's definition, which takes their place; they work where that body does.",
        rows(bodies),
    ]
    return page("Operators", "src/ingot/lower", *parts)


def graph_rules() -> str:
    parts = [
        "The rules run in this order, and again from the start while one of them fires. The model is valid ONNX after each. "
        f"`ingot compile` applies the first {len(COMPILE)}; `ingot optimize` all but "
        f"{', '.join(code(name) for name in COMPILE if name not in OPTIMIZE)}, and the last "
        f"{len(RUNTIMES['onnxruntime'])} only with `--for onnxruntime`. "
        "[Debug](../how-to/debug.md#why-did-a-rule-not-fire) shows how to ask why one did not fire.",
    ]
    for number, (name, rule) in enumerate(RULES.items(), 1):
        rewrite, _, rest = inspect.cleandoc(importlib.import_module(rule.__module__).__doc__ or "").partition(
            "\n\n"
        )
        parts += [f"## {number}. {name}", f"```\n{rewrite}\n```", prose(rest)]
    return page("Graph rules", "src/ingot/graph/rules", *parts)


def targets() -> str:
    rows = []
    for one in target.TARGETS.values():
        flags = " ".join(one.flags)
        features = " ".join(sorted(one.cpu_flags))
        rows.append(
            [
                code(one.name),
                code(f"isa/{one.isa}.py"),
                str(one.lanes),
                str(one.registers),
                f"{one.l1 >> 10} KiB, {one.l2 >> 10} KiB",
                code(flags) if flags else "",
                features,
                code(one.fallback) if one.fallback else "",
            ]
        )
    columns = ["target", "instructions", "float32 lanes", "vector registers", "L1, L2", "compiler flags"]
    return page(
        "Targets",
        "src/ingot/target.py",
        "`native`, the default of every command, is the widest target that this machine can run. "
        "`ingot targets` tells which ones those are.",
        table([*columns, "processor features it needs", "falls back to"], rows),
    )


# --- C ---


def c_api() -> str:
    """One section for each declaration of ingot.h, with the comment before it."""
    text = native_text("ingot.h")
    about, _, rest = text.partition("*/")
    parts = [
        "The header of a package, `<name>.h`, holds all of this and declares `<name>_open`.",
        _comment(about),
    ]
    body = rest.partition('extern "C" {\n#endif\n')[2].partition("#ifdef __cplusplus")[0]
    for block in re.split(r"\n\s*\n", body.strip()):
        comment, declaration = "", block.strip()
        if declaration.startswith("/*"):
            comment, _, declaration = declaration.partition("*/")
        declaration = declaration.strip()
        names = _declared(declaration)
        if names:
            parts += ["## " + ", ".join(names), _comment(comment), f"```c\n{declaration}\n```"]
    return page("C API", "src/ingot/runtime/native/ingot.h", *parts)


def _declared(declaration: str) -> list[str]:
    """The names that a block declares."""
    if declaration.startswith("#define"):
        return re.findall(r"^#define (\w+)", declaration, re.MULTILINE)
    closing = re.search(r"^\} (\w+);", declaration, re.MULTILINE)
    if closing:
        return [closing[1]]
    return [
        next(filter(None, names))
        for names in re.findall(r"\(\*(\w+)\)|(\w+)\(|(\w+);$", declaration, re.MULTILINE)
    ]


def _comment(text: str) -> str:
    lines = [re.sub(r"^\s*/?\* ?", "", line) for line in text.strip().splitlines()]
    return prose(textwrap.dedent("\n".join(lines)))


PAGES: dict[str, Callable[[], str]] = {
    "c-api.md": c_api,
    "cli.md": command_line,
    "environment.md": environment,
    "errors.md": error_codes,
    "graph-rules.md": graph_rules,
    "operators.md": operators,
    "python.md": python,
    "targets.md": targets,
}

if __name__ == "__main__":
    sys.exit(main())
