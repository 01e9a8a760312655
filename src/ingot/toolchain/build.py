"""Run the compiler, the linker and the archiver: each writes aside and renames, and the same input gives the same bytes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from ingot.errors import IngotError
from ingot.toolchain import cache, glibc
from ingot.toolchain.compilers import BASE_FLAGS, Compiler, find_compiler, machine_of
from ingot.toolchain.tools import run_tool, said

INTRINSICS = "immintrin.h"
"""The header of x86's vector instructions, which kernels include."""


def compile_objects(
    compiler: Compiler,
    sources: Mapping[str, str],
    flags: Sequence[str],
    *,
    progress: Callable[[int, int], None] | None = None,
    include: Mapping[str, str] | None = None,
) -> list[Path]:
    """Compiles each source (file name -> C text) to an object and gives their paths, in the order of `sources`.

    include: headers (file name -> text) that lie beside the sources. flags: added to `BASE_FLAGS`. progress: called with
    the number done and the number of sources. Objects come from the build cache where it has them; the others are
    compiled in parallel. Raises IngotError compiler-failed (the first source that fails, in order) and cache-unwritable.
    """
    headers = dict(include or {})
    common = [compiler.identity, machine_of(flags), shlex.join(BASE_FLAGS), shlex.join(flags)]
    common += [text for item in sorted(headers.items()) for text in item]
    keys = {name: cache.digest([*common, name, text]) for name, text in sources.items()}
    found = {name: cache.lookup(key, _object_name(name)) for name, key in keys.items()}
    missing = [name for name, path in found.items() if path is None]
    done = len(sources) - len(missing)
    if progress:
        progress(done, len(sources))
    if missing:
        cache.prune()
        with cache.workspace() as folder, ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
            for name, text in [*headers.items(), *((name, sources[name]) for name in missing)]:
                (folder / name).write_text(text)
            vectors = [name for name in missing if f"#include <{INTRINSICS}>" in sources[name]]
            parsed = _precompiled(compiler, folder, flags) if vectors else None
            pending = []
            for name in missing:
                given = parsed if name in vectors else None
                pending.append(
                    (name, pool.submit(_compile, compiler, folder, name, flags, keys[name], given))
                )
            try:
                for name, future in pending:
                    found[name] = future.result()
                    done += 1
                    if progress:
                        progress(done, len(sources))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return [path for path in found.values() if path is not None]


def _object_name(source: str) -> str:
    return Path(source).with_suffix(".o").name


def _precompiled(compiler: Compiler, folder: Path, flags: Sequence[str]) -> Path | None:
    """`INTRINSICS` as the compiler has parsed it, from the build cache or made in `folder`; None where it cannot be had.

    Reading that header takes a third of a second, most of the time of a small kernel. The objects are the same.
    """
    if compiler.kind != "zig":
        return None
    header = str(compiler.zig_folder / "lib" / "include" / INTRINSICS)
    key = cache.digest([compiler.identity, header, shlex.join(BASE_FLAGS), shlex.join(flags)])
    output = f"{INTRINSICS}.pch"
    if found := cache.lookup(key, output):
        return found
    parse = [*flags, "-Xclang", "-fno-pch-timestamp", "-x", "c-header"]
    done = run_tool(compiler.compile_command(header, output, parse), folder)
    return cache.store(key, folder / output) if done.returncode == 0 else None


def _compile(
    compiler: Compiler, folder: Path, name: str, flags: Sequence[str], key: str, parsed: Path | None
) -> Path:
    output = _object_name(name)
    anywhere = [*flags, f"-ffile-prefix-map={folder}=."]
    command = compiler.compile_command(name, output, anywhere)
    done = run_tool([*command, "-include-pch", str(parsed)] if parsed else command, folder)
    if parsed and done.returncode != 0:
        done = run_tool(command, folder)
    if done.returncode == 0:
        return cache.store(key, folder / output)
    kept = cache.keep_failed(key, folder, [name, *_headers(folder)])
    again = shlex.join(compiler.compile_command(name, output, flags))
    raise IngotError(
        "compiler-failed",
        f"the compiler said:\n{said(done)}",
        where=str(kept / name),
        remedy=f"this repeats it: `cd {shlex.quote(str(kept))} && {again}`",
    )


def _headers(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.h")]


def link_shared(compiler: Compiler, objects: Sequence[Path], output: Path, flags: Sequence[str] = ()) -> None:
    """Links `objects` to the shared library `output`, whose soname is its file name.

    flags: the flags that the objects were compiled with, and -Wl, ones for the linker. The library needs glibc 2.17 or
    newer and nothing else; a symbol that is defined nowhere is an error. Raises IngotError link-failed.
    """
    with cache.workspace() as folder:
        made = folder / output.name
        if compiler.kind == "zig":
            command = glibc.link_command(compiler, machine_of(flags), objects, made)
            command += [word for flag in flags if flag.startswith("-Wl,") for word in flag.split(",")[1:]]
        else:
            command = [*compiler.command, "-shared", *flags, f"-Wl,-soname,{output.name}", "-o", str(made)]
            command += [
                "-Wl,--build-id=none",
                "-Wl,-z,relro,-z,now",
                "-Wl,--hash-style=gnu",
                *map(str, objects),
            ]
            if not any(flag.startswith("-fsanitize") for flag in flags):
                command.append("-Wl,-z,defs")
            command += ["-Wl,--as-needed", "-lm", "-lpthread", "-ldl"]
        _make(command, folder, made, output)


def load_source(text: str, flags: Sequence[str]) -> ctypes.CDLL:
    """The C `text` as a shared library in this process. Raises as `compile_objects` and `link_shared` do."""
    compiler = find_compiler()
    objects = compile_objects(compiler, {"source.c": text}, flags)
    with TemporaryDirectory(prefix="ingot-source-") as folder:
        path = Path(folder) / "libsource.so"
        link_shared(compiler, objects, path, flags)
        return ctypes.CDLL(str(path))


def archive(compiler: Compiler, objects: Sequence[Path], output: Path) -> None:
    """Puts `objects` in the static library `output`, with no times or owners inside. Raises IngotError link-failed."""
    with cache.workspace() as folder:
        made = folder / output.name
        if compiler.kind == "zig":
            tool = [compiler.command[0], "ar"]
        else:
            tool = [run_tool([*compiler.command, "-print-prog-name=ar"], folder).stdout.strip() or "ar"]
        _make([*tool, "rcsD", str(made), *map(str, objects)], folder, made, output)


def _make(command: Sequence[str], folder: Path, made: Path, output: Path) -> None:
    try:
        done = run_tool(command, folder)
    except OSError as error:
        raise IngotError(
            "compiler-not-found", f"{command[0]} does not run: {error.strerror}", where=str(output)
        ) from error
    if done.returncode != 0 or not made.exists():
        raise IngotError(
            "link-failed",
            f"the linker said:\n{said(done)}",
            where=str(output),
            remedy=f"the command was `{shlex.join(command)}`",
        )
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        shutil.copyfile(made, aside)
        aside.chmod(0o755 if output.suffix == ".so" else 0o644)
        os.replace(aside, output)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise IngotError(
            "output-unwritable",
            f"cannot write: {error.strerror}",
            where=str(output),
            remedy="choose another folder",
        ) from error
