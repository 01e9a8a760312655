"""A C program that runs a compiled model on input files, written beside its library."""

from __future__ import annotations

from collections.abc import Sequence

from ingot.emit.header import comment, describe
from ingot.runtime.ports import Port
from ingot.runtime.sources import native_text


def render_example(name: str, inputs: Sequence[Port], outputs: Sequence[Port], symbols: Sequence[str]) -> str:
    """The text of `example.c`, which includes `<name>.h` alone.

    It exits with 0, 1 when the model fails, 2 for bad use or bad files.
    """
    files = "".join(f" input{i}.npy" for i in range(len(inputs)))
    sizes = "".join(f" --dim {comment(symbol)}=1" for symbol in symbols)
    about = [
        f"/* Runs the model {name} on one file for each input and prints its outputs. Without files it runs on zeros.",
        " *",
        f" *   cc example.c -L. -l{name} -o example",
        f" *   LD_LIBRARY_PATH=. ./example{files}{sizes} --threads 1",
        " *",
        " * A file is an array that NumPy saved (.npy), or the bare elements, row-major and little-endian. The sizes that",
        " * differ from run to run come from the .npy files or from --dim, and are 1 otherwise.",
        " *",
        *(f" * input  {describe(port)}" for port in inputs),
        *(f" * output {describe(port)}" for port in outputs),
        " */",
    ]
    text = native_text("example.c").replace("@ABOUT@", "\n".join(about))
    return text.replace("@name@", name).replace("@NAME@", name.upper())
