"""Which C compilers there are and how each is called.

The default is the clang inside the `ziglang` wheel, called as `zig clang` with the wheel's own glibc headers: `zig cc`
would lower -O3 to -O2, keep frame pointers, take this machine's CPU as the default and keep a second cache.
"""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ingot import debug
from ingot.errors import IngotError

BASE_FLAGS = ("-std=gnu11", "-fPIC", "-fvisibility=hidden")
GLIBC_MINOR = 17
_SAME_MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    command: what starts it, before any flag. kind: the family, which decides how it links. version: what it says it is.
    """

    command: tuple[str, ...]
    kind: Literal["zig", "clang", "gcc"]
    version: str

    @property
    def identity(self) -> str:
        """What the cache tells compilers apart by: the version, and the command where it can change the output."""
        return self.version if self.kind == "zig" else f"{shlex.join(self.command)}\n{self.version}"

    def compile_command(self, source: str, output: str, flags: Sequence[str]) -> list[str]:
        """The command that compiles the file `source` to the object `output`."""
        own: list[str] = []
        if self.kind == "zig":
            own = zig_flags(str(self.zig_folder), machine_of(flags))
        return [*self.command, *own, *BASE_FLAGS, *flags, "-c", source, "-o", output]

    def command_line(self, source: str, flags: Sequence[str]) -> str:
        """A shell line that repeats the compilation of `source` anywhere; the same on every machine.

        With ziglang, $ZIG stands for the folder of that Python package.
        """
        output = str(Path(source).with_suffix(".o"))
        if self.kind != "zig":
            return shlex.join(self.compile_command(source, output, flags))
        words = [
            "clang",
            *zig_flags("$ZIG", machine_of(flags)),
            *BASE_FLAGS,
            *flags,
            "-c",
            source,
            "-o",
            output,
        ]
        return " ".join(['"$ZIG"/zig', *(w if w.startswith("$ZIG") else shlex.quote(w) for w in words)])

    @property
    def zig_folder(self) -> Path:
        """The folder of the `zig` program and its `lib`. Only for kind "zig"."""
        return Path(self.command[0]).parent


def machine_of(flags: Sequence[str]) -> str:
    """The processor family that `flags` compile for: that of --target=, or else this machine's."""
    targets = [flag.split("=", 1)[1] for flag in flags if flag.startswith("--target=")]
    machine = targets[-1].split("-", 1)[0] if targets else platform.machine()
    return _SAME_MACHINE.get(machine, machine)


def zig_flags(folder: str, machine: str) -> list[str]:
    """What makes `zig clang` in `folder` see the wheel's headers, and nothing of the machine that it runs on."""
    family = "x86" if machine == "x86_64" else machine
    headers = [
        f"{folder}/lib/libc/include/{name}"
        for name in (f"{family}-linux-gnu", "generic-glibc", f"{family}-linux-any", "any-linux-any")
    ]
    return [
        "--no-default-config",
        f"--target={machine}-linux-gnu",
        "-nostdlibinc",
        "-resource-dir",
        f"{folder}/lib",
        *(word for header in headers for word in ("-isystem", header)),
        f"-D__GLIBC_MINOR__={GLIBC_MINOR}",
    ]


def find_compiler(cc: str | None = None) -> Compiler:
    """The compiler to use: `cc` (a command with arguments), else $CC, else the ziglang wheel's.

    Raises IngotError compiler-not-found.
    """
    if cc:
        return _probe(cc, "--cc")
    if env := debug.compiler():
        return _probe(env, "CC")
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise IngotError(
            "compiler-not-found",
            "the Python package ziglang is not installed and no other compiler is named",
            remedy="run `pip install ziglang`, or name a compiler with --cc or CC",
        )
    return _zig(str(Path(spec.origin).parent / "zig"))


@cache
def _zig(program: str) -> Compiler:
    try:
        done = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise IngotError(
            "compiler-not-found",
            f"zig does not run: {error}",
            where=program,
            remedy="run `pip install --force-reinstall ziglang`, or name a compiler with --cc or CC",
        ) from error
    return Compiler((program, "clang"), "zig", f"zig {done.stdout.strip()}")


@cache
def _probe(command: str, origin: str) -> Compiler:
    words = shlex.split(command)
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise IngotError(
            "compiler-not-found",
            f"there is no program {words[0] if words else command!r}",
            where=origin,
            remedy="name an installed C compiler, or none, to take the one in the ziglang package",
        )
    if Path(program).name == "zig" and words[1:] in ([], ["cc"], ["clang"]):
        return _zig(str(Path(program).resolve()))
    version = _output((program, *words[1:], "--version"))
    macros = _output((program, *words[1:], "-dM", "-E", "-x", "c", "/dev/null"))
    if "__GNUC__" not in macros:
        raise IngotError(
            "compiler-not-found",
            f"{command!r} does not behave as a C compiler",
            where=origin,
            remedy="name gcc, clang or a cross compiler of theirs",
        )
    kind: Literal["clang", "gcc"] = "clang" if "__clang__" in macros else "gcc"
    return Compiler((program, *words[1:]), kind, version.partition("\n")[0].strip())


def _output(command: Sequence[str]) -> str:
    """What a command prints; empty where it fails or takes a minute."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
