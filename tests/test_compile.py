"""`ingot.compile`: what it takes, what it makes, the same every time, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
from small import SMALL, assert_same, normal, parse, shell, zig_cc

import ingot
from ingot import toolchain
from ingot.compiler import identifier
from ingot.errors import IngotError
from ingot.runtime import Port
from ingot.testing import CLOSE, Array, assert_close, lengths, reference

TEXT = "net (float[N, 8] x) => (float[N, 3] y) { a = MatMul(x, w) b = Relu(a) y = Softmax <axis = -1> (b) }"


def perceptron(text: str = TEXT) -> onnx.ModelProto:
    return parse(text, {"w": normal(8, 3)})


@pytest.fixture
def model() -> onnx.ModelProto:
    return perceptron()


@pytest.fixture
def package(model: onnx.ModelProto) -> ingot.Package:
    return ingot.compile(model)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty build cache."""
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_right(package: ingot.Package, model: onnx.ModelProto, rows: int = 3) -> None:
    feed = {"x": normal(rows, 8)}
    for got, wanted in zip(ingot.load(package).run(None, feed), reference(model, feed), strict=True):
        assert_close(got, wanted, CLOSE, **lengths(model))


# What a model may be


@pytest.mark.parametrize("name", SMALL)
def test_small_models_compute_what_onnxruntime_computes(name: str) -> None:
    model = SMALL[name].make()
    package = ingot.compile(model)
    for threads in (1, 2):
        session = ingot.load(package, threads=threads)
        for feed in SMALL[name].feeds(session.get_inputs()):
            for got, wanted in zip(session.run(None, feed), reference(model, feed), strict=True):
                assert_close(got, wanted, CLOSE, reduction=max(64, lengths(model)["reduction"]), scale=1.0)


@pytest.mark.parametrize("kind", ["string", "path", "proto", "ir"])
def test_kinds_of_models(kind: str, model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "my net.onnx")
    kinds: dict[str, Any] = {
        "string": str(tmp_path / "my net.onnx"),
        "path": tmp_path / "my net.onnx",
        "proto": model,
        "ir": onnx_ir.from_proto(model),
    }
    package = ingot.compile(kinds[kind])
    assert package.name == ("my_net" if kind in ("string", "path") else "net")
    assert_right(package, model)


def test_the_model_is_not_changed(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    ingot.compile(model, shapes={"x": (2, 8)})
    assert model.SerializeToString(deterministic=True) == before


def test_an_ir_model_can_be_compiled_twice(model: onnx.ModelProto) -> None:
    shared = onnx_ir.from_proto(model)
    first, second = ingot.compile(shared), ingot.compile(shared)
    assert_right(second, model)
    assert files_of(first) == files_of(second)


# Options


def test_shapes_take_the_place_of_the_models(model: onnx.ModelProto) -> None:
    package = ingot.compile(model, shapes={"x": (5, 8)})
    session = ingot.load(package)
    assert session.get_inputs() == [Port("x", "float32", (5, 8))]
    assert session.get_outputs() == [Port("y", "float32", (5, 3))]
    assert session.symbols == ()
    assert_right(package, model, rows=5)


def test_shapes_may_name_symbols() -> None:
    model = perceptron(TEXT.replace("N, 8", "4, 8").replace("N, 3", "4, 3"))
    package = ingot.compile(model, shapes={"x": ("rows", 8)})
    session = ingot.load(package)
    assert session.get_inputs()[0].shape == ("rows", 8)
    assert session.get_outputs()[0].shape == ("rows", 3)
    (one,) = session.run(None, {"x": normal(4, 8)[:1]})
    (four,) = session.run(None, {"x": normal(4, 8)})
    assert four.shape == (4, 3)
    assert one.tobytes() == four[:1].tobytes()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("net", "net"),
        ("my net-2", "my_net_2"),
        ("2net", "m_2net"),
        ("größe", "gr__e"),
        ("", "model"),
        ("äö", "model"),
    ],
)
def test_names_become_identifiers(text: str, name: str) -> None:
    assert identifier(text) == name


@pytest.mark.parametrize(
    "name",
    [
        "other",
        "ingot",
        "ingot_runtime",
        "ingot_abi",
        "kernels_0",
        "example",
        "int",
        "main",
        "malloc",
        "CMakeLists",
    ],
)
def test_a_name_collides_with_nothing(name: str, model: onnx.ModelProto, tmp_path: Path) -> None:
    package = ingot.compile(model, name=name)
    assert_right(package, model)
    source = ingot.compile(model, name=name, emit="source")
    assert_right(from_sources(source, tmp_path / "m.ingot"), model)


@pytest.mark.parametrize(
    "symbol",
    ["s", "a", "w", "f", "p", "for", "int", "begin", "end", "x", "y", "run", "i1", "t1", "batch size"],
)
def test_a_symbol_may_have_any_name(symbol: str) -> None:
    model = perceptron()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = symbol
    assert_right(ingot.compile(model), model)


def test_symbols_of_similar_names_are_two() -> None:
    model = parse(
        "net (float[N, 8] x, float[M, 8] v) => (float[N, 8] y, float[M, 8] u) { y = Relu(x) u = Neg(v) }"
    )
    for i, symbol in enumerate(("a.b", "a_b")):
        for value in (model.graph.input[i], model.graph.output[i]):
            value.type.tensor_type.shape.dim[0].dim_param = symbol
    session = ingot.load(ingot.compile(model))
    y, u = session.run(None, {"x": normal(2, 8), "v": normal(3, 8)})
    assert y.tobytes() == np.maximum(normal(2, 8), 0).tobytes()
    assert u.tobytes() == (-normal(3, 8)).tobytes()


def test_names_of_tensors_and_nodes_may_be_anything(tmp_path: Path) -> None:
    model = perceptron()
    odd = 'a"b*/ \\ \n %s ?? ü'
    model.graph.input[0].name = model.graph.node[0].input[0] = odd
    model.graph.node[0].name = '*/ #error \n "'
    package = ingot.compile(model)
    session = ingot.load(package)
    assert session.get_inputs()[0].name == odd
    (got,) = session.run(None, {odd: normal(3, 8)})
    (wanted,) = reference(perceptron(), {"x": normal(3, 8)})
    assert_close(got, wanted, CLOSE, reduction=8)
    folder = package.save(tmp_path / "net.ingot")
    shell([*zig_cc(), "-Wall", "-Werror", "-c", "example.c", "-o", "example.o"], folder)


@pytest.mark.parametrize("target", ["generic", "avx2"])
def test_targets(target: str, model: onnx.ModelProto) -> None:
    package = ingot.compile(model, target=target)
    assert package.manifest["target"]["name"] == target
    assert_right(package, model)


def test_the_compiler_can_be_chosen(model: onnx.ModelProto) -> None:
    if not shutil.which("gcc"):
        pytest.skip("there is no gcc on this machine")
    package = ingot.compile(model, cc="gcc")
    assert_right(package, model)
    content = package.files["net.h"]
    assert isinstance(content, bytes)
    assert "gcc" in content.decode()


def test_progress_is_told(model: onnx.ModelProto, own_cache: Path) -> None:
    told: list[tuple[str, int, int]] = []
    ingot.compile(model, progress=lambda *step: told.append(step))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    wanted = ["load", "optimise graph", "lower", "fuse", "layout", "kernels", "memory", "emit", "build"]
    assert [stage for stage in stages if stage in wanted] == wanted
    for stage in stages:
        steps = [(done, total) for name, done, total in told if name == stage]
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]
        assert all(0 <= done <= total for done, total in steps)


# What a package holds


def test_the_report(package: ingot.Package) -> None:
    report = package.report
    assert report["nodes_before"] == 3
    assert 1 <= report["nodes_after"] <= 3
    assert report["kernels"] == len(package.manifest["kernels"]) > 0
    assert report["precision"] == "f32"
    assert report["arena_lower_bound"] <= report["arena_bytes"]
    library = package.files["libnet.so"]
    assert isinstance(library, bytes)
    assert report["library_bytes"] == len(library)
    assert report["weights_bytes"] >= 8 * 3 * 4
    assert set(report["seconds"]) >= {"load", "lower", "emit", "build"}
    assert all(seconds >= 0 for seconds in report["seconds"].values())


def test_the_manifest(package: ingot.Package, tmp_path: Path) -> None:
    folder = package.save(tmp_path / "net.ingot")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["name"] == "net"
    assert manifest["version"] == ingot.__version__
    assert manifest["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 8]}]
    assert manifest["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["N", 3]}]
    assert manifest["target"]["name"] in ("generic", "avx2", "avx512")
    assert manifest["precision"] == "f32"
    assert set(manifest["symbols"]) == {"N"}
    assert manifest["memory"]["weights_bytes"] == package.report["weights_bytes"]
    nodes = {node for kernel in manifest["kernels"] for node in kernel["nodes"]}
    assert len(nodes) >= 3
    expected = {"example.c", "libnet.so", "net.h", "net.weights"}
    assert set(manifest["files"]) == expected
    assert {path.name for path in folder.iterdir()} == expected | {"manifest.json"}
    assert ingot.Package.open(folder).damaged() == []


def test_the_c_names_nodes_and_shapes(model: onnx.ModelProto) -> None:
    for node, name in zip(model.graph.node, ("product", "rectifier", "classes"), strict=True):
        node.name = name
    package = ingot.compile(model, emit="source")
    texts = [
        content.decode()
        for name, content in package.files.items()
        if name.startswith("kernels_") and isinstance(content, bytes)
    ]
    text = "\n".join(texts)
    for name in ("product", "rectifier", "classes"):
        assert re.search(rf"/\*[^/]*\b{name}\b", text), name
    assert re.search(r"// .*\b(N|8|3)\b", text)


def test_the_header_names_the_command(package: ingot.Package) -> None:
    header = package.files["net.h"]
    assert isinstance(header, bytes)
    assert "-O3" in header.decode()
    assert str(Path.home()) not in header.decode()


def test_static_libraries(model: onnx.ModelProto) -> None:
    package = ingot.compile(model, emit="static")
    assert "libnet.a" in package.files
    assert "libnet.so" not in package.files
    with pytest.raises(IngotError) as caught:
        ingot.load(package)
    assert caught.value.code == "package-format"
    assert "--emit library" in caught.value.remedy


def test_sources_build_with_any_compiler(model: onnx.ModelProto, tmp_path: Path) -> None:
    package = ingot.compile(model, emit="source")
    assert not [name for name in package.files if name.endswith((".so", ".a", ".o"))]
    built = from_sources(package, tmp_path / "net.ingot")
    assert_right(built, model)
    feed = {"x": normal(6, 8)}
    assert_same([ingot.load(built).run(None, feed)], [ingot.load(ingot.compile(model)).run(None, feed)])


def from_sources(package: ingot.Package, folder: Path) -> ingot.Package:
    """The package with the library that its CMakeLists.txt builds, or its sources without CMake."""
    package.save(folder)
    name = package.name
    library = f"lib{name}.so"
    host = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if shutil.which("cmake") and host:
        shell(["cmake", "-S", ".", "-B", "build", f"-DCMAKE_C_COMPILER={host}"], folder)
        shell(["cmake", "--build", "build"], folder)
        shutil.copyfile(folder / "build" / library, folder / library)
        shutil.rmtree(folder / "build")
    else:
        sources = [path.name for path in folder.glob("*.c") if path.name != "example.c"]
        flags = [
            "-O2",
            "-ffp-contract=off",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            *package.manifest["target"]["flags"],
        ]
        shell([*zig_cc(), *flags, *sources, "-o", library, "-lm", "-lpthread", "-ldl"], folder)
    files: dict[str, bytes | Path] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"
    }
    return ingot.Package(name, package.manifest, files)


def test_packages_move(package: ingot.Package, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = package.save(tmp_path / "first.ingot")
    assert_right(ingot.Package.open(folder), model)
    moved = tmp_path / "sub folder"
    folder.rename(moved)
    feed = {"x": normal(3, 8)}
    assert_same([ingot.load(moved).run(None, feed)], [ingot.load(package).run(None, feed)])
    assert not folder.exists()


def test_a_package_runs_in_a_process_without_the_compiler(package: ingot.Package, tmp_path: Path) -> None:
    folder = package.save(tmp_path / "net.ingot")
    feed = {"x": normal(2, 8)}
    np.save(tmp_path / "x.npy", feed["x"])
    program = f"""
import sys
import numpy
import ingot
(y,) = ingot.load({str(folder)!r}).run(None, {{"x": numpy.load({str(tmp_path / "x.npy")!r})}})
numpy.save({str(tmp_path / "y.npy")!r}, y)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("onnx", "onnx_ir", "google") or name in ("ingot.compiler", "ingot.toolchain")))
"""
    assert shell([sys.executable, "-c", program], tmp_path) == "[]\n"
    assert np.load(tmp_path / "y.npy").tobytes() == ingot.load(package).run(None, feed)[0].tobytes()


# Sizes known while running


def test_symbolic_sizes_need_one_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SMALL["attention"].make()
    session = ingot.load(ingot.compile(model))
    monkeypatch.setattr("ingot.toolchain.build.run_tool", None)
    whole = normal(4, 40, 12)
    for batch, length in ((1, 1), (4, 40), (2, 7), (3, 16), (1, 33), (4, 40)):
        feed = {"x": whole[:batch, :length]}
        for got, wanted in zip(session.run(None, feed), reference(model, feed), strict=True):
            assert got.shape == (batch, length, 12)
            assert_close(got, wanted, CLOSE, reduction=lengths(model)["reduction"] + length + 12)


@pytest.mark.parametrize(("kind", "linear"), [("LSTM", 0), ("GRU", 0), ("GRU", 1), ("RNN", 0)])
def test_a_recurrent_layer_has_the_same_bits_on_threads_and_alone(kind: str, linear: int) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    attributes = f"hidden_size = 128{f', linear_before_reset = {linear}' if kind == 'GRU' else ''}"
    text = f"net (float[T, N, 8] x) => (float[T, D, N, 128] y) {{ y = {kind}<{attributes}>(x, w, r) }}"
    model = parse(text, {"w": normal(1, gates * 128, 8), "r": normal(1, gates * 128, 128) * np.float32(0.1)})
    package = ingot.compile(model)
    feed = {"x": normal(6, 3, 8)}
    (wanted,) = ingot.load(package).run(None, feed)
    assert_close(wanted, reference(model, feed)[0], CLOSE, reduction=6 * gates * 136, scale=1.0)
    for threads in (2, 3):
        session = ingot.load(package, threads=threads)
        for _ in range(20):
            assert session.run(None, feed)[0].tobytes() == wanted.tobytes()
        for row in range(3):
            alone = session.run(None, {"x": feed["x"][:, row : row + 1]})[0]
            assert alone.tobytes() == wanted[:, :, row : row + 1].tobytes()


@pytest.mark.parametrize("name", [name for name in SMALL if SMALL[name].sizes != ({},)])
def test_empty_batches(name: str) -> None:
    model = SMALL[name].make()
    session = ingot.load(ingot.compile(model), threads=2)
    batch = session.get_inputs()[0].shape[0]
    feeds = SMALL[name].feeds(session.get_inputs())
    feed = {
        port.name: feeds[-1][port.name][tuple(slice(0, 0) if d == batch else slice(None) for d in port.shape)]
        for port in session.get_inputs()
    }
    for port, got in zip(session.get_outputs(), session.run(None, feed), strict=True):
        assert (0 in got.shape) == (batch in port.shape)
    for got, wanted in zip(session.run(None, feeds[0]), reference(model, feeds[0]), strict=True):
        assert got.shape == wanted.shape


@pytest.mark.parametrize(
    ("declared", "rows", "target"),
    [("3, 4", 3, [1, 4]), ("N, 4", 3, [1, 4]), ("N, 4", 1, [2, 4]), ("N, 4", 3, [-1, 8])],
)
def test_a_reshape_that_does_not_fit(declared: str, rows: int, target: list[int]) -> None:
    """Found while compiling where the sizes are known, and while running where they are not; never read past the end."""
    model = parse(
        f"net (float[{declared}] x) => (float[A, B] y) {{ y = Reshape(x, shape) }}",
        {"shape": np.array(target)},
    )
    with pytest.raises(IngotError) as caught:
        ingot.load(ingot.compile(model)).run(None, {"x": normal(rows, 4)})
    assert caught.value.code in (
        "model-invalid",
        "unsupported",
        "input-shape",
        "run-failed",
        "shape-mismatch",
    )


def test_indices_out_of_range() -> None:
    """A Gather whose indices come at run time reads nothing outside of its table, and the run says so."""
    model = parse("net (int64[N] i) => (float[N, 5] y) { y = Gather(table, i) }", {"table": normal(6, 5)})
    session = ingot.load(ingot.compile(model))
    (y,) = session.run(None, {"i": np.array([-6, -1, 0, 5])})
    assert y.tobytes() == normal(6, 5)[[0, 5, 0, 5]].tobytes()
    for wrong in (6, -7, 2**40, -(2**62)):
        with pytest.raises(IngotError) as caught:
            session.run(None, {"i": np.array([2, wrong])})
        assert caught.value.code == "index-range"
    assert session.run(None, {"i": np.array([1])})[0].tobytes() == normal(6, 5)[[1]].tobytes()


@pytest.mark.parametrize(
    "text",
    [
        "net () => (float[2] y) { y = Constant <value = float[2] {1.0, 2.0}> () }",
        "net (float[2] x) => (float[2] y, float[2] c) { y = Relu(x) c = Constant <value = float[2] {1.0, 2.0}> () }",
        "net (float[2] x) => (float[2] x) { }",
        "net (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Identity(y) }",
        "net (float[2] x, float[3] unused) => (float[2] y) { y = Relu(x) }",
        "net (float x) => (float y) { y = Relu(x) }",
        "net (float[0, 4] x) => (float[0, 4] y) { y = Relu(x) }",
        "net (float[N, 4] x) => (int64[2] y) { y = Shape(x) }",
    ],
)
def test_odd_graphs(text: str) -> None:
    model = parse(text)
    session = ingot.load(ingot.compile(model))
    feed = {p.name: normal(*(3 if isinstance(d, str) else d for d in p.shape)) for p in session.get_inputs()}
    feed = {name: np.asarray(array) for name, array in feed.items()}
    assert_same([session.run(None, feed)], [reference(model, feed)])


# The same bytes every time


def files_of(package: ingot.Package) -> dict[str, bytes]:
    return {
        name: content if isinstance(content, bytes) else content.read_bytes()
        for name, content in package.files.items()
    }


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("form", ["library", "static", "source"])
@pytest.mark.parametrize("name", ["conv", "attention", "lstm"])
def test_builds_are_reproducible(name: str, form: str, tmp_path: Path) -> None:
    """In another cache, folder, process and environment, with other hashes of strings."""
    path = tmp_path / "net.onnx"
    onnx.save(SMALL[name].make(), path)
    program = f"import ingot, sys; ingot.compile(sys.argv[1], emit={form!r}).save(sys.argv[2])"
    trees = []
    for i in range(2):
        home = tmp_path / "/".join([f"home{i}"] * (i + 1))
        home.mkdir(parents=True)
        env = os.environ | {
            "INGOT_CACHE": str(home / "cache"),
            "PYTHONHASHSEED": str(i),
            "HOME": str(home),
            "TZ": f"UTC{i}",
        }
        (home / "sub").mkdir()
        shell([sys.executable, "-c", program, path, home / "sub" / "net.ingot"], home / "sub", env=env)
        trees.append(tree(home / "sub" / "net.ingot"))
    assert trees[0].keys() == trees[1].keys()
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []


def test_a_warm_cache_runs_no_compiler(
    model: onnx.ModelProto, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingot.compile(model)
    commands: list[list[str]] = []
    real = toolchain.build.run_tool

    def record(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        commands.append([str(word) for word in command])
        return real(command, cwd)

    monkeypatch.setattr("ingot.toolchain.build.run_tool", record)
    second = ingot.compile(model)
    assert files_of(first) == files_of(second)
    assert [command for command in commands if "-c" in command] == []


# What is left behind


@pytest.fixture
def broken_compiler(tmp_path: Path) -> Path:
    """gcc, but for one file, which it refuses."""
    real = shutil.which("gcc")
    if real is None:
        pytest.skip("there is no gcc on this machine")
    script = 'case "$*" in *-c*kernels_0.c*) echo "no registers left today" >&2; exit 3;; esac'
    program = tmp_path / "fake-cc"
    program.write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    program.chmod(0o755)
    return program


def test_a_failing_compiler(
    model: onnx.ModelProto,
    own_cache: Path,
    broken_compiler: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message, the C and the command are shown; the C is dumped all the same; the command repeats the failure."""
    monkeypatch.setenv("INGOT_DUMP", str(tmp_path / "dump"))
    with pytest.raises(IngotError) as caught:
        ingot.compile(model, cc=str(broken_compiler))
    error = caught.value
    assert error.code == "compiler-failed"
    assert "no registers left today" in error.cause
    assert Path(error.where).name == "kernels_0.c"
    assert "void net_" in Path(error.where).read_text()
    assert list((own_cache / "work").iterdir()) == []
    assert {"net.c", "kernels_0.c"} <= {path.name for path in (tmp_path / "dump").rglob("*")}
    command = error.remedy.split("`")[1]
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 3
    assert "no registers left today" in done.stderr


def test_the_dump_builds(model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """INGOT_DUMP receives the stages, the C, and a script that builds it."""
    monkeypatch.setenv("INGOT_DUMP", str(tmp_path / "dump"))
    ingot.compile(model)
    names = {path.name for path in (tmp_path / "dump").rglob("*") if path.is_file()}
    assert {"net.c", "kernels_0.c", "ingot_runtime.c", "ingot.h"} <= names
    scripts = [path for path in (tmp_path / "dump").rglob("*.sh")]
    assert len(scripts) == 1
    shell(["sh", scripts[0]], scripts[0].parent)
    assert list(scripts[0].parent.rglob("*.o"))


def test_compiling_leaves_nothing_but_the_cache(
    model: onnx.ModelProto, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    ingot.compile(model)
    with pytest.raises(IngotError):
        ingot.compile(parse("net (float[2] x) => (float[2] y) { y = Frobnicate(x) }"))
    assert list((tmp_path / "here").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list((own_cache / "work").iterdir()) == []


def test_a_stopped_compilation_leaves_nothing(
    model: onnx.ModelProto, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "build" and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingot.compile(model, progress=stop)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list((own_cache / "work").iterdir()) == []
    assert_right(ingot.compile(model), model)


def test_results_do_not_depend_on_earlier_runs(package: ingot.Package) -> None:
    session = ingot.load(package)
    rows = normal(9, 8)
    alone: list[Array] = [session.run(None, {"x": rows[i : i + 1]})[0] for i in range(9)]
    session.run(None, {"x": np.full((20, 8), np.nan, np.float32)})
    assert np.concatenate(alone).tobytes() == session.run(None, {"x": rows})[0].tobytes()


def test_what_the_model_says_of_itself_is_what_onnx_runtime_says() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = parse("net (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.producer_name, model.domain, model.model_version = "maker", "org.example", 7
    model.doc_string, model.graph.doc_string = "a model", "a graph"
    onnx.helper.set_model_props(model, {"names": "{0: 'cat'}", "stride": "32"})
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).get_modelmeta()
    meta = ingot.load(ingot.compile(model)).get_modelmeta()
    for field, value in vars(meta).items():
        assert value == getattr(wanted, field), field


@pytest.mark.parametrize("stated", ["r", "q", "y"])
def test_a_range_of_a_value_inside_bounds_a_size_that_a_run_tells(stated: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> m (int64 n) => (int64[k] y) '
        "<int64 a = {0}, int64 d = {1}> { r = Range(a, n, d)  q = Add(r, d)  y = Mul(q, r) }"
    )
    with pytest.raises(IngotError, match="--shape r:"):
        ingot.compile(model)
    session = ingot.load(ingot.compile(model, shapes={stated: ("1..64",)}))
    for n in (0, 1, 64):
        (y,) = session.run(None, {"n": np.array(n)})
        assert y.tolist() == [(i + 1) * i for i in range(n)]
    with pytest.raises(IngotError, match="beyond its bound"):
        session.run(None, {"n": np.array(65)})


def test_a_size_without_a_bound_is_told_with_a_shape_that_bounds_it() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> m (float[1,3] x, int64[2] s) => (float[a,3] y) { y = Expand(x, s) }'
    )
    (gap,) = ingot.check(model).gaps
    assert gap.remedy.endswith("--shape y:1..512x3")
    session = ingot.load(ingot.compile(model, shapes={"y": ("1..512", 3)}))
    x = np.ones((1, 3), np.float32)
    assert session.run(None, {"x": x, "s": np.array([4, 1])})[0].shape == (4, 3)


def test_nodes_of_one_name_have_bounds_of_their_own() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> m (float[1] x, int64[2] s) => (float[3] y, float[5] z) '
        "{ a, b = Split(s) c = Expand(x, a) y = Exp(c) d = Expand(x, b) z = Exp(d) }"
    )
    for node in model.graph.node:
        node.name = "node"
    x = np.ones(1, np.float32)
    y, z = ingot.load(ingot.compile(model)).run(None, {"x": x, "s": np.array([3, 5])})
    assert (y.shape, z.shape) == ((3,), (5,))


def test_a_range_bounds_the_arena_and_the_sizes_of_a_run() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> m (float[n,64] x) => (float[n,64] y) '
        "{ a = Softmax(x)  b = Transpose<perm=[1,0]>(a)  c = MatMul(b, a)  y = MatMul(x, c) }"
    )
    wide = ingot.compile(model, shapes={"x": ("1..8", 64)})
    assert wide.manifest["symbols"] == {"n": {"typical": 8, "least": 1, "most": 8}}
    session = ingot.load(wide)
    for n in (1, 8):
        x = np.random.default_rng(n).standard_normal((n, 64)).astype(np.float32)
        assert_close(session.run(None, {"x": x})[0], reference(model, {"x": x})[0], CLOSE, reduction=64)
    with pytest.raises(IngotError) as caught:
        session.run(None, {"x": np.zeros((9, 64), np.float32)})
    assert caught.value.code == "input-shape"
    assert "n has to be 1 to 8" in caught.value.cause
