"""The C runtime, the Python session, the header and the example, on models written by hand in tests/native."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ingot.emit.example import render_example
from ingot.emit.header import identifiers, render_header
from ingot.errors import IngotError
from ingot.runtime import DTYPES, Port, Session, load
from ingot.runtime.library import Library
from ingot.runtime.modelmeta import ModelMeta
from ingot.runtime.sources import NATIVE, native_text
from ingot.toolchain import compile_objects, find_compiler, link_shared
from ingot.version import __version__

MODELS = Path(__file__).parent / "native"
WEIGHTS = np.array([1, 2, 3, 4], "<f4").tobytes()
DIGEST = hashlib.sha256(WEIGHTS).digest()
SCALE_DIGEST = ",".join(map(str, DIGEST))
KINDS = [n for n, dtype in DTYPES.items() if n != "string" and (dtype.number <= 16 or n == "float8e5m2")]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SYSTEM_CC = shutil.which("gcc") or shutil.which("cc")
ZIG = [sys.executable, "-m", "ziglang"]
THREADS = {"INGOT_THREADS": "4", "TSAN_OPTIONS": "atexit_sleep_ms=0"}
PLAIN_CC = [SYSTEM_CC] if SYSTEM_CC else [*ZIG, "cc", "-fno-sanitize=all"]

PORTS: dict[str, tuple[list[Port], list[Port], list[str]]] = {
    "scale": ([Port("x", "float32", ("n", 4))], [Port("y", "float32", ("n", 4))], ["n"]),
    "spread": (
        [Port("x", "float32", ("n",)), Port("steps", "int64", ())],
        [Port("y", "float32", ("n",)), Port("total", "float32", ())],
        ["n"],
    ),
    "keep": ([Port("x", "float32", ("n",))], [Port("kept", "float32", ("m",))], ["n", "m"]),
    "kinds": (
        [*(Port(f"x{DTYPES[k].number}", k, ("n", 2)) for k in KINDS), Port("pi", "float64", ())],
        [*(Port(f"y{DTYPES[k].number}", k, ("n", 2)) for k in KINDS), Port("tau", "float64", ())],
        ["n"],
    ),
}


def weights_file(data: bytes = WEIGHTS, *, magic: bytes = b"INGOTW01", digest: bytes = DIGEST) -> bytes:
    return (magic + struct.pack("<Q", len(data)) + digest).ljust(4096, b"\0") + data


def source(name: str) -> str:
    return (MODELS / f"{name}.c").read_text().replace("SCALE_DIGEST", SCALE_DIGEST)


def write_package(folder: Path, name: str, library: Path) -> Path:
    inputs, outputs, symbols = PORTS[name]
    folder.mkdir(parents=True)
    shutil.copyfile(library, folder / f"lib{name}.so")
    if name == "scale":
        (folder / "scale.weights").write_bytes(weights_file())
    (folder / f"{name}.h").write_text(render_header(name, inputs, outputs, symbols, f"cc -c {name}.c"))
    (folder / "example.c").write_text(render_example(name, inputs, outputs, symbols))
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    manifest = {
        "format": 1,
        "name": name,
        "inputs": [{"name": p.name, "dtype": p.dtype, "shape": list(p.shape)} for p in inputs],
        "outputs": [{"name": p.name, "dtype": p.dtype, "shape": list(p.shape)} for p in outputs],
        "memory": {"weights_bytes": 16 if name == "scale" else 0},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Path:
    """A folder with a package of each model, built with the default compiler."""
    folder = tmp_path_factory.mktemp("built")
    compiler = find_compiler()
    names = list(PORTS)
    sources = {f"{name}.c": source(name) for name in names} | {
        "ingot_runtime.c": native_text("ingot_runtime.c")
    }
    headers = {name: native_text(name) for name in ("ingot.h", "ingot_abi.h")}
    flags = ["-O2", "-ffp-contract=off", *WARNINGS]
    *objects, runtime = compile_objects(compiler, sources, flags, include=headers)
    for name, one in zip(names, objects, strict=True):
        link_shared(compiler, [one, runtime], folder / f"lib{name}.so", ["-O2"])
        write_package(folder / f"{name}.ingot", name, folder / f"lib{name}.so")
    return folder


@pytest.fixture
def copy_of(built: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(built / f"{name}.ingot", tmp_path / f"{name}.ingot"))


@dataclass(frozen=True)
class Build:
    """One way to build C programs: `compile` makes objects, `link` makes programs of them."""

    name: str
    compile: tuple[str, ...]
    link: tuple[str, ...]
    skip: tuple[str, ...] = ()


def builds() -> list[Build]:
    cc = SYSTEM_CC or ""
    zig_cc = (*ZIG, "cc")
    link = (cc,) if cc else zig_cc
    thread = (*link, "-fsanitize=thread")
    thread_skip = ("no_allocation", "fork") if cc else ("no_allocation", "fork", "loaded")
    address = (cc, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return [
        Build("zig", (*zig_cc, "-fno-sanitize=all"), link),
        Build("gcc", (cc,), (cc,)),
        Build("address", address, address, ("no_allocation",)),
        Build("thread", thread, thread, thread_skip),
    ]


def run_tool(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module", params=builds(), ids=lambda build: build.name)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, Path]:
    """The programs `program` and `two` of tests/native, built one way, with what they link to beside them."""
    build: Build = request.param
    if not build.compile[0]:
        pytest.skip(f"build {build.name}: there is no gcc or cc on this machine")
    folder = tmp_path_factory.mktemp(build.name)
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    probe = subprocess.run(
        [*build.link, "probe.c", "-o", "probe"], cwd=folder, capture_output=True, text=True
    )
    if probe.returncode or subprocess.run(["./probe"], cwd=folder).returncode:
        pytest.skip(
            f"build {build.name}: {build.link} cannot build a program that runs: {probe.stderr[-300:]}"
        )
    (folder / "scale.weights").write_bytes(weights_file())
    for name in ("scale", "spread", "keep"):
        (folder / f"{name}.c").write_text(source(name))
    common = [
        "-std=gnu11",
        "-O1",
        "-g",
        "-fPIC",
        "-ffp-contract=off",
        *WARNINGS,
        f"-I{NATIVE}",
        f"-I{MODELS}",
    ]
    for path in (
        NATIVE / "ingot_runtime.c",
        *(MODELS / f"{n}.c" for n in ("program", "two", "count_allocations")),
    ):
        shutil.copyfile(path, folder / path.name)
    for name in ("scale", "spread", "keep", "ingot_runtime", "program", "two", "count_allocations"):
        run_tool([*build.compile, *common, "-c", f"{name}.c", "-o", f"{name}.o"], folder)
    run_tool([*build.compile, *common, "-DTWO_LOADED", "-c", "two.c", "-o", "two_loaded.o"], folder)
    counting = [] if "no_allocation" in build.skip else ["count_allocations.o"]
    objects = ["program.o", "scale.o", "spread.o", "keep.o", "ingot_runtime.o", *counting]
    run_tool([*build.link, *objects, "-o", "program", "-lpthread", "-ldl"], folder)
    return build, folder


CASES = [
    "lifecycle",
    "shapes",
    "values",
    "data_dependent",
    "failing_allocator",
    "caller_memory",
    "contexts_on_threads",
    "busy_context",
    "ranges",
    "waves",
    "nested",
    "fork",
    "idle",
    "no_allocation",
    "float_mode",
]


def run_program(command: list[str], folder: Path) -> None:
    environment = os.environ | THREADS
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "well\n"


def skip_if_forbidden(build: Build, case: str) -> None:
    if case in build.skip:
        pytest.skip(f"the {build.name} sanitizer of this compiler forbids what the case {case} does")


@pytest.mark.parametrize("case", CASES)
def test_native(program: tuple[Build, Path], case: str) -> None:
    build, folder = program
    skip_if_forbidden(build, case)
    run_program(["./program", case, "scale.weights"], folder)


def test_native_internals(program: tuple[Build, Path]) -> None:
    build, folder = program
    command = [*build.link, "-std=gnu11", "-O1", "-g", *WARNINGS, f"-I{NATIVE}", str(MODELS / "internals.c")]
    run_tool([*command, "-o", "internals", "-lpthread", "-ldl"], folder)
    run_program(["./internals"], folder)


def test_two_libraries_loaded_apart_share_one_pool(program: tuple[Build, Path]) -> None:
    build, folder = program
    skip_if_forbidden(build, "loaded")
    for name in ("scale", "spread"):
        made = ["-shared", f"{name}.o", "ingot_runtime.o", "-o", f"lib{name}.so", "-lpthread", "-ldl"]
        run_tool([*build.link, *made], folder)
    run_tool([*build.link, "two_loaded.o", "-o", "two_loaded", "-ldl"], folder)
    run_program(["./two_loaded", "scale.weights", "./libscale.so", "./libspread.so"], folder)


def test_two_libraries_of_the_default_compiler_share_one_pool(built: Path, tmp_path: Path) -> None:
    command = [*PLAIN_CC, "-DTWO_LOADED", f"-I{NATIVE}", str(MODELS / "two.c"), "-o", "two", "-ldl"]
    run_tool(command, tmp_path)
    weights = str(built / "scale.ingot" / "scale.weights")
    run_program(["./two", weights, str(built / "libscale.so"), str(built / "libspread.so")], tmp_path)


@pytest.mark.parametrize("way", ["archives", "objects"])
def test_two_libraries_link_into_one_program(program: tuple[Build, Path], way: str) -> None:
    build, folder = program
    for name in ("scale", "spread"):
        (folder / f"lib{name}.a").unlink(missing_ok=True)
        run_tool([*ZIG, "ar", "rcs", f"lib{name}.a", f"{name}.o", "ingot_runtime.o"], folder)
    linked = ["libscale.a", "libspread.a"]
    if way == "objects":
        linked = ["-Wl,--whole-archive", *linked, "-Wl,--no-whole-archive"]
    run_tool([*build.link, "two.o", *linked, "-o", f"two_{way}", "-lpthread", "-ldl"], folder)
    run_program([f"./two_{way}", "scale.weights"], folder)


def test_importing_the_runtime_needs_numpy_alone() -> None:
    code = (
        "import sys, ingot.runtime\n"
        "print(sorted({'onnx', 'onnx_ir', 'typer', 'rich', 'torch', 'onnxruntime', 'ziglang',"
        " 'ingot.compiler', 'ingot.ir', 'ingot.graph', 'ingot.lower'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def scaled(x: np.ndarray) -> np.ndarray:
    return 2 * x + np.array([1, 2, 3, 4], np.float32)


def rows(n: int) -> np.ndarray:
    return np.arange(4 * n, dtype=np.float32).reshape(n, 4)


def test_a_session_runs_any_size(built: Path) -> None:
    session = load(built / "scale.ingot")
    for n in (3, 3, 1, 0, 7, 7, 3, 8, 100, 101, 102, 0):
        (y,) = session.run(None, {"x": rows(n)})
        assert y.shape == (n, 4)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, scaled(rows(n)))


def test_outputs_are_new_arrays(built: Path) -> None:
    session = load(built / "scale.ingot")
    first = session.run(None, {"x": rows(2)})[0]
    second = session.run(None, {"x": rows(2) + 1})[0]
    np.testing.assert_array_equal(first, scaled(rows(2)))
    np.testing.assert_array_equal(second, scaled(rows(2) + 1))


def test_a_binding_runs_on_arrays_in_place(built: Path) -> None:
    session, x = load(built / "scale.ingot"), rows(3)
    binding = session.bind({"x": x})
    assert binding.inputs["x"] is x
    for factor in (1, -2):
        x *= factor
        outputs = binding.run()
        assert outputs[0] is binding.outputs[0]
        assert outputs[0].tobytes() == session.run(None, {"x": x})[0].tobytes()
    strided = session.bind({"x": np.repeat(x, 2, axis=0)[::2]})
    assert strided.run()[0].tobytes() == outputs[0].tobytes()
    with pytest.raises(IngotError) as caught:
        session.bind({"y": x})
    assert caught.value.code == "input-name"


def test_a_binding_outlives_its_session_and_gives_everything_back(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("scale")
    session = load(folder)
    wanted = session.run(None, {"x": rows(2)})[0]
    binding = session.bind({"x": rows(2)})
    del session
    assert binding.run()[0].tobytes() == wanted.tobytes()
    del binding
    assert str(folder / "scale.weights") not in Path("/proc/self/maps").read_text()


def test_a_binding_of_sizes_known_only_while_running(built: Path) -> None:
    session = load(built / "keep.ingot")
    x = np.array([1, -1, 2, -2, 3], np.float32)
    binding = session.bind({"x": x})
    for _ in range(2):
        x[:] = -x
        assert binding.run()[0].tobytes() == session.run(None, {"x": x})[0].tobytes()


def test_a_binding_writes_to_given_arrays(built: Path) -> None:
    session, x, y = load(built / "scale.ingot"), rows(3), np.empty((3, 4), np.float32)
    binding = session.bind({"x": x}, {"y": y})
    assert binding.run()[0] is y
    np.testing.assert_array_equal(y, scaled(x))
    read_only = np.empty((3, 4), np.float32)
    read_only.flags.writeable = False
    for wrong in (np.empty((3, 4)), np.empty((4, 3), np.float32), y[::-1], read_only, [[0.0] * 4] * 3):
        with pytest.raises(IngotError) as caught:
            session.bind({"x": x}, {"y": wrong})
        assert caught.value.code == "output-array"
    with pytest.raises(IngotError) as caught:
        session.bind({"x": x}, {"z": y})
    assert caught.value.code == "output-name"


def test_inputs_and_outputs_are_bound_one_by_one(built: Path) -> None:
    session = load(built / "spread.ingot")
    x, steps, y = np.ones(5, np.float32), np.array(2), np.empty(5, np.float32)
    bound = session.io_binding()
    bound.bind_cpu_input("x", x)
    bound.bind_cpu_input("steps", steps)
    bound.bind_output("total")
    bound.bind_output("y", "cpu", array=y)
    assert bound.get_outputs() == []
    session.run_with_iobinding(bound)
    wanted = session.run(["total", "y"], {"x": x, "steps": steps})
    for got in (bound.get_outputs(), bound.copy_outputs_to_cpu()):
        assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
    assert bound.get_outputs()[1] is y
    assert bound.copy_outputs_to_cpu()[1] is not y
    x *= 3
    session.run_with_iobinding(bound)
    assert y.tobytes() == session.run(["y"], {"x": x, "steps": steps})[0].tobytes()
    bound.bind_cpu_input("x", x[:2])
    bound.clear_binding_outputs()
    bound.bind_output("y")
    session.run_with_iobinding(bound)
    assert [a.shape for a in bound.get_outputs()] == [(2,)]
    bound.bind_output("z")
    with pytest.raises(IngotError) as caught:
        session.run_with_iobinding(bound)
    assert caught.value.code == "output-name"
    bound.clear_binding_outputs()
    bound.clear_binding_inputs()
    with pytest.raises(IngotError) as caught:
        session.run_with_iobinding(bound)
    assert caught.value.code == "input-name"
    with pytest.raises(IngotError) as caught:
        bound.bind_output("y", "cuda")
    assert caught.value.code == "option-invalid"


def test_bindings_made_again_and_again_share_a_context(built: Path) -> None:
    session = load(built / "scale.ingot")
    for _ in range(5):
        session.bind({"x": rows(2)}).run()
    assert len(session._idle) == 1


def test_the_header_has_the_version_of_the_package() -> None:
    parts = __version__.split(".")
    number = int(parts[0]) * 10000 + int(parts[1]) * 100 + int(parts[2])
    assert f"#define INGOT_VERSION {number}\n" in native_text("ingot.h")


def test_what_a_session_tells(built: Path) -> None:
    session = load(str(built / "spread.ingot"), threads=2)
    assert [(p.name, p.shape, p.type) for p in session.get_inputs()] == [
        ("x", ("n",), "tensor(float)"),
        ("steps", (), "tensor(int64)"),
    ]
    assert [p.name for p in session.get_outputs()] == ["y", "total"]
    assert session.symbols == ("n",)
    assert session.threads == 2
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_modelmeta() == ModelMeta()


def test_outputs_are_chosen_by_name(built: Path) -> None:
    session = load(built / "spread.ingot")
    feeds = {"x": np.ones(5, np.float32), "steps": np.array(2)}
    y, total = session.run(None, feeds)
    assert total.shape == ()
    assert total == y.sum()
    (only,) = session.run(["total"], feeds)
    assert only == total
    assert [a.shape for a in session.run(["total", "y", "total"], feeds)] == [(), (5,), ()]
    assert [a.shape for a in session.run([], feeds)] == [(5,), ()]


def test_threads_do_not_change_results(built: Path) -> None:
    feeds = {"x": np.linspace(-1, 1, 4001, dtype=np.float32), "steps": np.array(7)}
    expected = load(built / "spread.ingot").run(None, feeds)
    for threads in (0, 2, 3, 4):
        got = load(built / "spread.ingot", threads=threads).run(None, feeds)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def kinds_feeds(n: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(n)
    feeds = {"pi": np.array(np.pi)}
    for kind in KINDS:
        dtype = np.dtype(DTYPES[kind].numpy)
        values = random.integers(0, 2 if kind == "bool" else 100, (n, 2)).astype(dtype)
        feeds[f"x{DTYPES[kind].number}"] = values
    return feeds


@pytest.mark.parametrize("n", [0, 1, 5])
def test_every_element_type(built: Path, n: int) -> None:
    session = load(built / "kinds.ingot")
    for feeds in (kinds_feeds(n), kinds_feeds(n)):
        *same, tau = session.run(None, feeds)
        assert tau == 2 * np.pi
        for kind, got in zip(KINDS, same, strict=True):
            wanted = feeds[f"x{DTYPES[kind].number}"]
            assert got.dtype.name == (DTYPES[kind].extension or kind)
            np.testing.assert_array_equal(got.view(wanted.dtype), wanted)


def test_types_that_numpy_lacks_are_given_and_come_as_those_of_ml_dtypes(built: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    session = load(built / "kinds.ingot")
    feeds = kinds_feeds(3)
    feeds["x16"] = np.arange(6).reshape(3, 2).astype(ml_dtypes.bfloat16)
    feeds["x19"] = np.arange(6).reshape(3, 2).astype(ml_dtypes.float8_e5m2)
    given = np.zeros((3, 2), ml_dtypes.bfloat16)
    binding = session.bind(feeds, {"y16": given})
    binding.run()
    np.testing.assert_array_equal(given, feeds["x16"])
    for results in (session.run(None, feeds), binding.outputs):
        outputs = dict(zip(KINDS, results[:-1], strict=True))
        np.testing.assert_array_equal(outputs["bfloat16"], feeds["x16"])
        np.testing.assert_array_equal(outputs["float8e5m2"], feeds["x19"])


def test_types_that_numpy_lacks_come_as_bits_without_ml_dtypes(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    feeds = kinds_feeds(3)
    outputs = dict(zip(KINDS, load(built / "kinds.ingot").run(None, feeds)[:-1], strict=True))
    for kind in ("bfloat16", "float8e5m2"):
        wanted = feeds[f"x{DTYPES[kind].number}"]
        assert outputs[kind].dtype == wanted.dtype
        np.testing.assert_array_equal(outputs[kind], wanted)


def misaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "variant",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
        lambda a: a.astype(a.dtype.newbyteorder()).astype(a.dtype),
        misaligned,
        read_only,
        lambda a: a.tolist() and np.array(a.tolist(), np.float32),
        lambda a: np.ma.asarray(a),
    ],
    ids=["fortran", "strided", "reversed", "swapped", "misaligned", "read-only", "list", "masked"],
)
def test_arrays_in_any_layout(built: Path, variant: Callable[[np.ndarray], np.ndarray]) -> None:
    session = load(built / "scale.ingot")
    for n in (3, 3, 1, 5):
        np.testing.assert_array_equal(session.run(None, {"x": variant(rows(n))})[0], scaled(rows(n)))
        np.testing.assert_array_equal(session.run(None, {"x": rows(n)})[0], scaled(rows(n)))


@pytest.mark.parametrize(
    ("feeds", "code", "text"),
    [
        ({}, "input-name", "no array for input 'x'"),
        ({"z": rows(1)}, "input-name", "no array for input 'x'"),
        ({"x": rows(1), "z": rows(1)}, "input-name", "there is no input 'z'"),
        ({"x": rows(1).astype(np.float64)}, "input-dtype", "float64 instead of float32"),
        ({"x": rows(1).astype(">f4")}, "input-dtype", ">f4 instead of float32"),
        ({"x": [[1.0, 2.0, 3.0, 4.0]]}, "input-dtype", "float64"),
        ({"x": np.array(["a"])}, "input-dtype", "<U1"),
        ({"x": None}, "input-dtype", "object"),
        ({"x": rows(1)[0]}, "input-rank", "1 dimensions instead of 2"),
        ({"x": np.zeros((1, 1, 4), np.float32)}, "input-rank", "[n, 4]"),
        ({"x": np.zeros((2, 5), np.float32)}, "input-shape", "axis 1 must be 4"),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_wrong_inputs(built: Path, feeds: dict[str, np.ndarray], code: str, text: str, warm: bool) -> None:
    session = load(built / "scale.ingot")
    if warm:
        session.run(None, {"x": rows(1)})
    with pytest.raises(IngotError) as caught:
        session.run(None, feeds)
    assert caught.value.code == code
    assert text in str(caught.value)
    np.testing.assert_array_equal(session.run(None, {"x": rows(1)})[0], scaled(rows(1)))
    np.testing.assert_array_equal(session.run(None, {"x": rows(2)})[0], scaled(rows(2)))


def test_one_symbol_has_one_size(built: Path) -> None:
    feeds = kinds_feeds(3)
    feeds["x7"] = feeds["x7"][:2]
    with pytest.raises(IngotError, match="'n' is 3 in input 'x1' and 2 in 'x7'") as caught:
        load(built / "kinds.ingot").run(None, feeds)
    assert caught.value.code == "input-shape"


def test_other_errors_of_run(built: Path) -> None:
    session = load(built / "spread.ingot")
    x = np.ones(3, np.float32)
    with pytest.raises(IngotError, match="INGOT_E_VALUE") as caught:
        session.run(None, {"x": x, "steps": np.array(-1)})
    assert caught.value.code == "run-failed"
    with pytest.raises(IngotError) as caught:
        session.run(["nothing"], {"x": x, "steps": np.array(1)})
    assert caught.value.code == "output-name"
    assert session.run(["total"], {"x": x, "steps": np.array(1)})[0] == 3 * 1.75
    with pytest.raises(IngotError) as caught:
        load(built / "spread.ingot", threads=-1)
    assert caught.value.code == "option-invalid"


def test_too_much_memory_is_an_error_and_the_session_goes_on(built: Path) -> None:
    session = load(built / "scale.ingot")
    session.run(None, {"x": rows(2)})
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1 << 50, 4), (0, 0))
    with pytest.raises(IngotError) as caught:
        session.run(None, {"x": huge})
    assert caught.value.code == "memory-exhausted"
    np.testing.assert_array_equal(session.run(None, {"x": rows(2)})[0], scaled(rows(2)))


def test_sizes_known_only_while_running(built: Path) -> None:
    session = load(built / "keep.ingot")
    for x in ([1, -1, 2], [-1, -2, -3], [1, 2, 3], [], [5], [0, 0, 0, 0, 7]):
        array = np.array(x, np.float32)
        (kept,) = session.run(None, {"x": array})
        np.testing.assert_array_equal(kept, array[array > 0])


def test_python_threads_share_a_session(built: Path) -> None:
    session = load(built / "spread.ingot", threads=2)
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for i in range(150):
                x = np.full(200 + seed * 50 + i, seed, np.float32)
                y, _ = session.run(None, {"x": x, "steps": np.array(1)})
                if not np.array_equal(y, x * np.float32(0.75) + 1) or y.shape != x.shape:
                    wrong.append((seed, i))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_process_runs_the_session(built: Path) -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from ingot.runtime import load\n"
        f"session = load({str(built / 'spread.ingot')!r}, threads=3)\n"
        "feeds = {'x': np.ones(2000, np.float32), 'steps': np.array(3)}\n"
        "expected = session.run(None, feeds)[0]\n"
        "child = os.fork()\n"
        "same = all(np.array_equal(session.run(None, feeds)[0], expected) for _ in range(20))\n"
        "if child == 0: os._exit(not same)\n"
        "assert same and os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ | THREADS)


def test_a_dropped_session_gives_everything_back(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("scale")
    session = load(folder)
    session.run(None, {"x": rows(2)})
    assert str(folder / "scale.weights") in Path("/proc/self/maps").read_text()
    del session
    assert str(folder / "scale.weights") not in Path("/proc/self/maps").read_text()


def test_a_package_in_memory(built: Path) -> None:
    class InMemory:
        def folder(self) -> Path:
            return built / "scale.ingot"

    np.testing.assert_array_equal(load(InMemory()).run(None, {"x": rows(2)})[0], scaled(rows(2)))


def test_overhead_of_a_repeated_run(built: Path) -> None:
    session, x = load(built / "scale.ingot"), rows(1)
    feeds = {"x": x}
    run = session.run
    best = 1.0
    for _ in range(200):
        start = time.perf_counter()
        for _ in range(100):
            run(None, feeds)
        best = min(best, (time.perf_counter() - start) / 100)
    print(f"{best * 1e6:.2f} us for a run")
    assert best < 4e-6


def expect_load_error(folder: Path, code: str, text: str = "") -> None:
    with pytest.raises(IngotError) as caught:
        Session(folder)
    assert caught.value.code == code
    assert text in str(caught.value)


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_packages_that_are_none(tmp_path: Path, copy_of: Callable[[str], Path]) -> None:
    expect_load_error(tmp_path / "nothing", "package-not-found")
    expect_load_error(tmp_path, "package-not-found")
    folder = copy_of("scale")
    edit_manifest(folder, format=99)
    expect_load_error(folder, "package-format", "99")
    edit_manifest(folder, format=1, files={"example.c": ""})
    expect_load_error(folder, "package-format", "libscale.so")
    (folder / "manifest.json").write_text("[]")
    expect_load_error(folder, "package-format")
    (folder / "manifest.json").write_text("{")
    expect_load_error(folder, "package-damaged", "JSON")
    (folder / "manifest.json").write_bytes(b"\xff\xfe\xfa")
    expect_load_error(folder, "package-damaged")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3},
        {"name": "../scale"},
        {"files": []},
        {"inputs": 7},
        {"inputs": []},
        {"inputs": [{"name": "x", "dtype": "float99", "shape": ["n", 4]}]},
        {"inputs": [{"name": "x", "dtype": "int32", "shape": ["n", 4]}]},
        {"outputs": [{"name": "y", "dtype": "float32", "shape": ["n"]}]},
        {"outputs": None},
    ],
)
def test_damaged_manifests(copy_of: Callable[[str], Path], changes: dict[str, object]) -> None:
    folder = copy_of("scale")
    edit_manifest(folder, **changes)
    expect_load_error(folder, "package-damaged")


def test_damaged_libraries(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("scale")
    library = folder / "libscale.so"
    content = library.read_bytes()
    library.write_bytes(content[:-1])
    expect_load_error(folder, "package-damaged", "differs")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    library.write_bytes(b"no library at all")
    edit_manifest(folder, files=files | {library.name: hashlib.sha256(b"no library at all").hexdigest()})
    expect_load_error(folder, "package-damaged", "cannot be loaded")
    library.unlink()
    expect_load_error(folder, "package-damaged", "cannot be read")


def test_a_library_without_its_entry(built: Path, tmp_path: Path) -> None:
    with pytest.raises(IngotError) as caught:
        Library(built / "libscale.so", "other", str(built / "libscale.so"))
    assert caught.value.code == "package-damaged"
    assert "other_open" in caught.value.cause


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "missing"),
        (b"", "0 bytes"),
        (weights_file()[:-1], "4111 bytes"),
        (weights_file()[:30], "30 bytes"),
        (weights_file() + b"x", "4113 bytes"),
        (weights_file(magic=b"INGOTW02"), "no weights file"),
        (weights_file(digest=bytes(32)), "another model"),
        (weights_file(WEIGHTS[:-4]).ljust(4112, b"\0"), "another model"),
        (bytes(4112), "no weights file"),
    ],
)
def test_wrong_weights(copy_of: Callable[[str], Path], content: bytes | None, text: str) -> None:
    folder = copy_of("scale")
    (folder / "scale.weights").unlink()
    if content is not None:
        (folder / "scale.weights").write_bytes(content)
    expect_load_error(folder, "package-damaged", text)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (None, -3),
        (b"", -4),
        (weights_file()[:-1], -4),
        (weights_file()[:30], -4),
        (weights_file() + b"x", -4),
        (weights_file(magic=b"INGOTW02"), -4),
        (weights_file(digest=bytes(32)), -4),
    ],
)
def test_wrong_weights_for_the_library(
    built: Path, tmp_path: Path, content: bytes | None, status: int
) -> None:
    import ctypes

    library = Library(built / "libscale.so", "scale", str(built / "libscale.so"))
    path = tmp_path / "scale.weights"
    if content is not None:
        path.write_bytes(content)
    model = ctypes.c_void_p(1)
    assert library.open(os.fsencode(path), ctypes.byref(model)) == status
    assert model.value is None
    assert str(path) in library.last_error().decode()


def test_a_library_replaced_under_the_same_path_is_loaded_anew(
    built: Path, copy_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of("scale")
    old = load(folder)
    np.testing.assert_array_equal(old.run(None, {"x": rows(2)})[0], scaled(rows(2)))
    changed = source("scale").replace("2 * x[i]", "3 * x[i]")
    sources = {"scale.c": changed, "ingot_runtime.c": native_text("ingot_runtime.c")}
    headers = {name: native_text(name) for name in ("ingot.h", "ingot_abi.h")}
    objects = compile_objects(find_compiler(), sources, ["-O2"], include=headers)
    link_shared(find_compiler(), objects, tmp_path / "libscale.so", ["-O2"])
    shutil.rmtree(folder)
    write_package(folder, "scale", tmp_path / "libscale.so")
    for _ in range(2):
        np.testing.assert_array_equal(load(folder).run(None, {"x": rows(2)})[0], scaled(rows(2)) + rows(2))
    np.testing.assert_array_equal(old.run(None, {"x": rows(2)})[0], scaled(rows(2)))


LANGUAGES = {
    "c11": ["-std=c11", "-x", "c"],
    "c++17": ["-std=c++17", "-x", "c++"],
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("system", [True, False], ids=["system", "zig"])
def test_headers_compile_together(built: Path, tmp_path: Path, language: str, system: bool) -> None:
    tool = "c++" if language == "c++17" else "cc"
    command = [shutil.which(tool) or ""] if system else [*ZIG, tool]
    if not command[0]:
        pytest.skip(f"there is no {tool} on this machine")
    (tmp_path / "use.c").write_text(
        '#include "scale.h"\n#include "spread.h"\n#include "kinds.h"\n#include "scale.h"\n'
        "int use(ingot_model **model) {\n"
        "    return scale_open(0, model) + spread_open(0, model) + SPREAD_INPUT_STEPS + KINDS_INPUT_COUNT;\n}\n"
    )
    folders = [f"-I{built / name}.ingot" for name in PORTS]
    run_tool(
        [*command, *LANGUAGES[language], *WARNINGS, "-Wpedantic", *folders, "-c", "use.c", "-o", "use.o"],
        tmp_path,
    )


def test_the_header_tells_the_model(built: Path) -> None:
    text = (built / "spread.ingot" / "spread.h").read_text()
    assert "x: float32 [n]" in text
    assert "total: float32 []" in text
    assert "cc -c spread.c" in text
    assert "SPREAD_INPUT_X = 0" in text
    assert "SPREAD_OUTPUT_COUNT = 2" in text
    assert native_text("ingot.h").strip() in text


def test_odd_names_stay_inside_comments_and_identifiers(tmp_path: Path) -> None:
    assert identifiers(["a.b", "a/b", "a b", "", "é", "count", "A_B_2"]) == [
        "A_B",
        "A_B_2",
        "A_B_3",
        "_",
        "__2",
        "COUNT_2",
        "A_B_2_2",
    ]
    ports = [Port("*/ int oops; /*", "float32", ("n*/", 2)), Port("line\nbreak\\", "int64", ())]
    text = render_header("odd", ports, ports, ["n*/"], "cc */ -c\nsecond")
    (tmp_path / "odd.h").write_text(text)
    (tmp_path / "example.c").write_text(render_example("odd", ports, ports, ["n*/"]))
    run_tool([*ZIG, "cc", "-std=c11", *WARNINGS, "-c", "example.c", "-o", "example.o"], tmp_path)


@pytest.fixture(scope="module")
def examples(built: Path) -> Path:
    for name in PORTS:
        folder = built / f"{name}.ingot"
        run_tool(
            [*PLAIN_CC, *WARNINGS, "-Wpedantic", "example.c", "-L.", f"-l{name}", "-o", "example"], folder
        )
    return built


def run_example(folder: Path, *words: str) -> tuple[int, str, str]:
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    command = [str(folder / "example"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def printed(text: str) -> dict[str, tuple[str, list[float]]]:
    """Output name -> its shape and values."""
    result: dict[str, tuple[str, list[float]]] = {}
    for line in text.splitlines():
        if line.endswith("]"):
            name, shape = line.split(" ", 1)
            result[name] = shape, []
        else:
            result[name][1].append(float(line))
    return result


def test_example_reads_npy_and_raw_files(examples: Path, tmp_path: Path) -> None:
    folder = examples / "scale.ingot"
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    for words in ([str(tmp_path / "x.npy")], [str(tmp_path / "x.bin"), "--dim", "n=3", "--threads", "2"]):
        code, out, err = run_example(folder, *words)
        assert (code, err) == (0, "")
        shape, values = printed(out)["y"]
        assert shape == "[3, 4]"
        np.testing.assert_array_equal(np.array(values, np.float32).reshape(3, 4), scaled(x))


def test_example_without_files_runs_on_zeros(examples: Path) -> None:
    code, out, _ = run_example(examples / "scale.ingot")
    assert code == 0
    assert printed(out) == {"y": ("[1, 4]", [1, 2, 3, 4])}
    code, out, _ = run_example(examples / "keep.ingot", "--dim", "n=9")
    assert code == 0
    assert printed(out) == {"kept": ("[0]", [])}


def test_example_with_two_inputs_and_many_values(examples: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(200, dtype=np.float32))
    (tmp_path / "steps.bin").write_bytes(struct.pack("<q", 1))
    code, out, _ = run_example(
        examples / "spread.ingot", str(tmp_path / "x.npy"), str(tmp_path / "steps.bin"), "--threads", "0"
    )
    assert code == 0
    assert "y [200]" in out
    assert "... 200 values" in out
    assert out.splitlines()[1:3] == ["1", "1.75"]
    expected = np.float32(0)
    for value in np.arange(200, dtype=np.float32) * np.float32(0.75) + np.float32(1):
        expected += value
    assert out.splitlines()[-2:] == ["total []", f"{expected:.9g}"]


def test_example_prints_every_element_type(examples: Path, tmp_path: Path) -> None:
    feeds = kinds_feeds(2)
    feeds["x10"] = np.array([[1.5, -2], [6e-8, np.inf]], np.float16)
    files = []
    for port in PORTS["kinds"][0]:
        files.append(str(tmp_path / f"{port.name}.npy"))
        np.save(files[-1], feeds[port.name])
    bare = {port.name for port in PORTS["kinds"][0] if port.dtype in ("bfloat16", "float8e5m2")}
    for i, port in enumerate(PORTS["kinds"][0]):
        if port.name in bare:
            files[i] = str(tmp_path / f"{port.name}.bin")
            Path(files[i]).write_bytes(feeds[port.name].tobytes())
    code, out, err = run_example(examples / "kinds.ingot", *files)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    start = lines.index("y10 [2, 2]")
    halves = np.array([float(line) for line in lines[start + 1 : start + 5]], np.float32)
    np.testing.assert_array_equal(halves, feeds["x10"].astype(np.float32).ravel())
    start = lines.index("y13 [2, 2]")
    assert [int(line) for line in lines[start + 1 : start + 5]] == feeds["x13"].ravel().tolist()
    assert float(lines[-1]) == 2 * np.pi


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["absent.bin"], "cannot be read"),
        (["short.bin"], "3 bytes of data"),
        (["short.bin", "--dim", "n=2"], "input x takes 32"),
        (["double.npy"], "another type"),
        (["flat.npy"], "another number of dimensions"),
        (["fortran.npy"], "column-major"),
        (["cut.npy"], "cut short"),
        (["--dim"], "a value is missing"),
        (["--dim", "n"], "NAME=VALUE"),
        (["--dim", "m=2"], "no size of that name"),
        (["--dim", "n=x"], "whole number"),
        (["--threads", "-1"], "whole number"),
        (["--what"], "there are only"),
        (["short.bin", "short.bin"], "more files"),
    ],
)
def test_example_refuses_bad_use(examples: Path, words: list[str], text: str) -> None:
    folder = examples / "scale.ingot"
    (folder / "short.bin").write_bytes(b"abc")
    np.save(folder / "double.npy", rows(2).astype(np.float64))
    np.save(folder / "flat.npy", rows(1)[0])
    np.save(folder / "fortran.npy", np.asfortranarray(rows(3)))
    (folder / "cut.npy").write_bytes((folder / "flat.npy").read_bytes()[:40])
    code, out, err = run_example(folder, *words)
    assert code == 2
    assert out == ""
    assert text in err


def test_example_reports_what_the_model_says(examples: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 5), np.float32))
    code, _, err = run_example(examples / "scale.ingot", str(tmp_path / "wide.npy"))
    assert code == 1
    assert "INGOT_E_SHAPE" in err
    (tmp_path / "x.bin").write_bytes(bytes(4))
    (tmp_path / "steps.bin").write_bytes(struct.pack("<q", -1))
    code, _, err = run_example(
        examples / "spread.ingot", str(tmp_path / "x.bin"), str(tmp_path / "steps.bin")
    )
    assert code == 1
    assert "INGOT_E_VALUE" in err
