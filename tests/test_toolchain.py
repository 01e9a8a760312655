"""The toolchain: what it builds, what the cache keeps, what it says when a tool fails."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingot import toolchain
from ingot.errors import IngotError
from ingot.toolchain import (
    Compiler,
    archive,
    build,
    cache,
    compile_objects,
    find_compiler,
    glibc,
    link_shared,
)

ANSWER = '__attribute__((visibility("default"))) int answer(void) { return 42; }\n'
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


@pytest.fixture(params=["zig", pytest.param("gcc", marks=needs_gcc)])
def compiler(request: pytest.FixtureRequest) -> Compiler:
    return find_compiler(None if request.param == "zig" else request.param)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that the build ran."""
    seen: list[list[str]] = []
    original = build.run_tool

    def spy(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        seen.append(list(command))
        return original(command, cwd)

    monkeypatch.setattr(build, "run_tool", spy)
    monkeypatch.setattr(glibc, "run_tool", spy)
    return seen


def test_links_a_library_that_loads(compiler: Compiler, tmp_path: Path) -> None:
    objects = compile_objects(compiler, {"a.c": ANSWER}, ["-O2"])
    link_shared(compiler, objects, tmp_path / "libanswer.so", ["-O2"])
    assert ctypes.CDLL(str(tmp_path / "libanswer.so")).answer() == 42


def test_symbols_are_hidden_unless_they_say_otherwise(compiler: Compiler, tmp_path: Path) -> None:
    objects = compile_objects(compiler, {"a.c": ANSWER + "int secret(void) { return 1; }\n"}, ["-O2"])
    link_shared(compiler, objects, tmp_path / "libanswer.so")
    library = ctypes.CDLL(str(tmp_path / "libanswer.so"))
    assert not hasattr(library, "secret")


def test_objects_come_in_the_order_of_the_sources(compiler: Compiler) -> None:
    sources = {f"k{i}.c": f"int k{i}(void) {{ return {i}; }}\n" for i in reversed(range(12))}
    seen: list[tuple[int, int]] = []
    objects = compile_objects(
        compiler, sources, ["-O1"], progress=lambda done, total: seen.append((done, total))
    )
    assert [path.stem for path in objects] == [Path(name).stem for name in sources]
    assert seen == [(i, 12) for i in range(13)]


def test_a_second_compilation_runs_nothing(compiler: Compiler, runs: list[list[str]]) -> None:
    first = compile_objects(compiler, {"a.c": ANSWER, "b.c": "int b;\n"}, ["-O2"])
    assert len(runs) == 2
    assert compile_objects(compiler, {"a.c": ANSWER, "b.c": "int b;\n"}, ["-O2"]) == first
    assert len(runs) == 2
    compile_objects(compiler, {"a.c": ANSWER, "b.c": "int other;\n"}, ["-O2"])
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("sources", "flags", "include"),
    [
        ({"a.c": '#include "h.h"\nint x = H + 1;\n'}, ["-O1"], {"h.h": "#define H 1\n"}),
        ({"a.c": '#include "h.h"\nint x = H;\n'}, ["-O2"], {"h.h": "#define H 1\n"}),
        ({"a.c": '#include "h.h"\nint x = H;\n'}, ["-O1"], {"h.h": "#define H 2\n"}),
        ({"b.c": '#include "h.h"\nint x = H;\n'}, ["-O1"], {"h.h": "#define H 1\n"}),
    ],
    ids=["text", "flags", "header", "name"],
)
def test_whatever_makes_an_object_is_in_its_key(
    sources: dict[str, str], flags: list[str], include: dict[str, str]
) -> None:
    zig = find_compiler()
    base = compile_objects(
        zig, {"a.c": '#include "h.h"\nint x = H;\n'}, ["-O1"], include={"h.h": "#define H 1\n"}
    )
    assert compile_objects(zig, sources, flags, include=include) != base


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86's vector instructions")
def test_intrinsics_are_parsed_once_and_change_no_object(
    runs: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(numbers: Sequence[int]) -> list[bytes]:
        sources = {
            f"{n}.c": f"#include <immintrin.h>\n__m256 f{n}(__m256 x) {{ return x; }}\n" for n in numbers
        }
        return [path.read_bytes() for path in compile_objects(find_compiler(), sources, ["-O2", "-mavx"])]

    objects = compiled([1, 2])
    assert [command[-2] for command in runs] == ["-o", "-include-pch", "-include-pch"]
    objects += compiled([3])
    assert len(runs) == 4
    (header,) = (tmp_path / "cache").rglob("*.pch")
    header.write_bytes(b"damaged")
    objects += compiled([4])
    assert len(runs) == 6
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(build, "_precompiled", lambda *_: None)
    assert objects == compiled([1, 2, 3, 4])


@needs_gcc
def test_the_compiler_is_in_the_key() -> None:
    objects = [compile_objects(find_compiler(cc), {"a.c": ANSWER}, []) for cc in (None, "gcc", "gcc -O1")]
    assert len({str(paths) for paths in objects}) == 3


def test_parts_of_a_key_cannot_run_together() -> None:
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])


@pytest.mark.parametrize("flags", [["-O2"], ["-O2", "-g"]])
def test_bytes_are_the_same_in_every_cache_and_environment(
    compiler: Compiler, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for name in ("one", "another-longer-name"):
        monkeypatch.setenv("INGOT_CACHE", str(tmp_path / name))
        monkeypatch.setenv("CPATH", str(tmp_path / name))
        monkeypatch.setenv("CFLAGS", f"-DX={name}")
        objects = compile_objects(compiler, {"a.c": "#include <math.h>\n" + ANSWER, "b.c": "int b;\n"}, flags)
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        link_shared(compiler, objects, folder / "libx.so", flags)
        archive(compiler, objects, folder / "libx.a")
        results.append([path.read_bytes() for path in (*objects, folder / "libx.so", folder / "libx.a")])
    assert results[0] == results[1]


def test_a_refused_source_is_kept_with_its_command(compiler: Compiler, tmp_path: Path) -> None:
    bad = '#include "h.h"\nint f(void) { return undeclared_thing; }\n'
    with pytest.raises(IngotError) as caught:
        compile_objects(compiler, {"good.c": ANSWER, "bad.c": bad}, ["-O2"], include={"h.h": "\n"})
    error = caught.value
    assert error.code == "compiler-failed"
    assert "undeclared_thing" in error.cause
    assert Path(error.where).read_text() == bad
    assert tmp_path / "cache" / "failed" in Path(error.where).parents
    match = re.search(r"`(.*)`", error.remedy)
    assert match is not None
    repeated = subprocess.run(match[1], shell=True, capture_output=True, text=True)
    assert repeated.returncode != 0
    assert "undeclared_thing" in repeated.stderr


def test_nothing_is_left_in_the_workspace(compiler: Compiler, tmp_path: Path) -> None:
    compile_objects(compiler, {"a.c": ANSWER}, [])
    with pytest.raises(IngotError):
        compile_objects(compiler, {"b.c": "syntax error"}, [])
    assert list((tmp_path / "cache" / "work").iterdir()) == []


def test_an_undefined_symbol_fails_the_link(compiler: Compiler, tmp_path: Path) -> None:
    source = 'int nowhere(void);\n__attribute__((visibility("default"))) int f(void) { return nowhere(); }\n'
    objects = compile_objects(compiler, {"a.c": source}, ["-O2"])
    with pytest.raises(IngotError, match="nowhere") as caught:
        link_shared(compiler, objects, tmp_path / "libx.so")
    assert caught.value.code == "link-failed"
    assert not (tmp_path / "libx.so").exists()


def test_output_that_cannot_be_written(compiler: Compiler, tmp_path: Path) -> None:
    objects = compile_objects(compiler, {"a.c": ANSWER}, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(IngotError) as caught:
        link_shared(compiler, objects, tmp_path / "file" / "libx.so")
    assert caught.value.code == "output-unwritable"


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(IngotError) as caught:
        compile_objects(find_compiler(), {"a.c": ANSWER}, [])
    assert caught.value.code == "cache-unwritable"
    assert "INGOT_CACHE" in caught.value.remedy


def test_archives_hold_every_object(compiler: Compiler, tmp_path: Path) -> None:
    objects = compile_objects(compiler, {"a.c": ANSWER, "b.c": "int b;\n"}, [])
    archive(compiler, objects, tmp_path / "libx.a")
    content = (tmp_path / "libx.a").read_bytes()
    assert content.startswith(b"!<arch>\n")
    assert b"a.o/" in content
    assert b"b.o/" in content


@pytest.mark.parametrize("cc", ["/nonexistent/cc", "true", "false"])
def test_a_missing_or_foreign_compiler(cc: str) -> None:
    with pytest.raises(IngotError) as caught:
        find_compiler(cc)
    assert caught.value.code == "compiler-not-found"
    assert caught.value.where == "--cc"
    assert caught.value.remedy


def test_ziglang_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IngotError) as caught:
        find_compiler()
    assert caught.value.code == "compiler-not-found"
    assert "ziglang" in caught.value.remedy


@needs_gcc
def test_cc_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc -m64")
    found = find_compiler()
    assert found.kind == "gcc"
    assert found.command[1:] == ("-m64",)
    assert find_compiler("gcc").command[1:] == ()


@pytest.mark.parametrize("words", ["", " cc", " clang"])
def test_zig_by_name_is_called_like_the_bundled_one(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = find_compiler()
    monkeypatch.setenv("PATH", f"{bundled.zig_folder}:{os.environ['PATH']}")
    assert find_compiler(f"zig{words}").identity == bundled.identity
    assert find_compiler(f"zig{words}").command[1:] == ("clang",)


def test_the_command_line_names_no_place_of_this_machine() -> None:
    line = find_compiler().command_line("kernel.c", ["-O3", "-march=haswell"])
    assert line.endswith("-O3 -march=haswell -c kernel.c -o kernel.o")
    assert sys.prefix not in line
    assert str(Path.home()) not in line


def test_the_command_line_compiles(tmp_path: Path) -> None:
    zig = find_compiler()
    (tmp_path / "a.c").write_text("#include <string.h>\n" + ANSWER)
    environment = {**os.environ, "ZIG": str(zig.zig_folder)}
    subprocess.run(zig.command_line("a.c", ["-O2"]), shell=True, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "a.o").exists()


def test_generic_code_holds_no_instruction_of_this_machine() -> None:
    source = (
        "void add(float *a, const float *b) { for (int i = 0; i < 4096; i++) a[i] = a[i] * b[i] + 1.0f; }\n"
    )
    zig = find_compiler()
    assert compile_objects(zig, {"a.c": source}, ["-O3"])[0].read_bytes() == (
        compile_objects(
            zig, {"a.c": source}, ["-O3", "-march=x86-64"] if os.uname().machine == "x86_64" else ["-O3"]
        )[0].read_bytes()
    )


@pytest.mark.parametrize("machine", sorted(glibc.LOADERS))
def test_links_for_another_processor(machine: str, tmp_path: Path) -> None:
    source = "#include <math.h>\n#include <stdio.h>\n#include <pthread.h>\n"
    source += 'static void done(void) { fprintf(stderr, "%f", sin(1.0)); }\n'
    source += '__attribute__((visibility("default"))) int f(void) { return pthread_atfork(0, 0, done); }\n'
    flags = ["-O1", f"--target={machine}-linux-gnu"]
    link_shared(
        find_compiler(), compile_objects(find_compiler(), {"a.c": source}, flags), tmp_path / "libx.so", flags
    )
    header = (tmp_path / "libx.so").read_bytes()[:20]
    assert int.from_bytes(header[18:20], "little") == {"x86_64": 62, "aarch64": 183}[machine]


def test_a_processor_without_stubs(tmp_path: Path) -> None:
    with pytest.raises(IngotError) as caught:
        link_shared(find_compiler(), [], tmp_path / "libx.so", ["--target=riscv64-linux-gnu"])
    assert caught.value.code == "unsupported"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the table holds the versions of x86-64")
def test_this_machine_has_every_symbol_of_the_stubs() -> None:
    libc = ctypes.CDLL(None)
    libc.dlvsym.restype = ctypes.c_void_p
    libc.dlvsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    libc.dlopen.restype = ctypes.c_void_p
    missing = []
    for soname, versions in glibc.symbols("x86_64").items():
        if soname in glibc.LOADERS.values():
            continue
        handle = libc.dlopen(soname.encode(), 2)
        for version, names in versions.items():
            assert tuple(map(int, version.split("."))) <= (2, 17)
            missing += [n for n in names if not libc.dlvsym(handle, n.encode(), f"GLIBC_{version}".encode())]
    assert missing == []


def test_handlers_of_a_library_go_with_it(tmp_path: Path) -> None:
    """pthread_atfork and atexit come from the static part of glibc, which must undo them at dlclose."""
    source = "#include <pthread.h>\n#include <stdlib.h>\n#include <sys/stat.h>\n"
    source += "static void gone(void) {}\n"
    source += '__attribute__((visibility("default"))) long go(int file) {\n'
    source += "  struct stat status;\n  pthread_atfork(gone, gone, gone);\n  atexit(gone);\n"
    source += "  return fstat(file, &status) ? -1 : (long)status.st_size;\n}\n"
    zig = find_compiler()
    link_shared(zig, compile_objects(zig, {"a.c": source}, ["-O2"]), tmp_path / "libx.so")
    (tmp_path / "five").write_text("12345")
    program = f"""
import _ctypes, ctypes, os
library = ctypes.CDLL({str(tmp_path / "libx.so")!r})
print(library.go(os.open({str(tmp_path / "five")!r}, os.O_RDONLY)))
_ctypes.dlclose(library._handle)
child = os.fork()
if child == 0:
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5", "0"]


def test_old_objects_are_pruned_and_used_ones_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    zig = find_compiler()
    (old,), (used,) = (compile_objects(zig, {"a.c": f"int x = {i};\n"}, []) for i in range(2))
    root = old.parents[2]
    long_ago = 1.0
    for path in (old.parent, used.parent, root / "pruned"):
        os.utime(path, (long_ago, long_ago))
    assert compile_objects(zig, {"a.c": "int x = 1;\n"}, []) == [used]
    compile_objects(zig, {"b.c": "int y;\n"}, [])
    assert not old.exists()
    assert used.exists()


def test_cache_usage_counts_objects(tmp_path: Path) -> None:
    assert toolchain.cache_usage().files == 0
    objects = compile_objects(find_compiler(), {"a.c": ANSWER}, [])
    usage = toolchain.cache_usage()
    assert usage.folder == tmp_path / "cache"
    assert usage.writable
    assert usage.bytes >= objects[0].stat().st_size
