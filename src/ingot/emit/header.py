"""The header of a compiled model: the whole C interface and what this model takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingot.runtime.ports import DTYPES, Port
from ingot.runtime.sources import native_text


def render_header(
    name: str, inputs: Sequence[Port], outputs: Sequence[Port], symbols: Sequence[str], compile_command: str
) -> str:
    """The text of `<name>.h`, which includes nothing but the C library's headers.

    name: a C identifier. symbols: in the order of the library. compile_command: what builds the library from its sources.
    Two such headers may be included in one program.
    """
    upper = name.upper()
    guard = f"{upper}_H_INCLUDED"
    parts = [
        f"/* {comment(name)}: a model compiled by ingot.",
        " *",
        *_table("inputs", inputs),
        *_table("outputs", outputs),
        " *",
        " * Its library was built with",
        *(f" *   {comment(line)}" for line in compile_command.splitlines()),
        " */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        native_text("ingot.h").rstrip(),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        *_enum(f"{upper}_INPUT", [port.name for port in inputs]),
        *_enum(f"{upper}_OUTPUT", [port.name for port in outputs]),
        *_enum(f"{upper}_SYMBOL", symbols),
        "/* Opens the model; see ingot_open. */",
        f"int32_t {name}_open(const char *weights_path, ingot_model **model);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def comment(text: str) -> str:
    """`text` as it may stand inside a C comment, on one line."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def describe(port: Port) -> str:
    """Such as `x: float32 [n, 3]`."""
    return comment(f"{port.name}: {port.dtype} [{', '.join(map(str, port.shape))}]")


def identifiers(names: Iterable[str]) -> list[str]:
    """An upper-case tail of a C identifier for each name, all different."""
    taken: set[str] = {"COUNT"}
    result = []
    for name in names:
        base = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).upper() or "_"
        tail, number = base, 2
        while tail in taken:
            tail, number = f"{base}_{number}", number + 1
        taken.add(tail)
        result.append(tail)
    return result


def _table(title: str, ports: Sequence[Port]) -> list[str]:
    lines = [f" *   {i}  {describe(port)}{_bytes(port)}" for i, port in enumerate(ports)]
    return [f" * {title}:", *(lines or [" *   none"])]


def _bytes(port: Port) -> str:
    elements = port.literal_elements
    return "" if elements is None else f", {elements * DTYPES[port.dtype].bits // 8} bytes"


def _enum(prefix: str, names: Sequence[str]) -> list[str]:
    tails = [*identifiers(names), "COUNT"]
    return ["enum {", *(f"    {prefix}_{tail} = {i}," for i, tail in enumerate(tails)), "};", ""]
