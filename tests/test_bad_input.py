"""Bad input ends in an IngotError with code, place, cause and remedy, from Python and on the command line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small import normal, parse, shell
from typer.testing import CliRunner, Result

import ingot
from ingot.cli import app
from ingot.errors import CODES, IngotError
from ingot.testing import Array, Feed, reference

TEXT = "net (float[N, 4] x) => (float[N, 2] y) { a = MatMul(x, w) y = Relu(a) }"


def good() -> onnx.ModelProto:
    return parse(TEXT, {"w": normal(4, 2)})


def assert_helpful(error: IngotError, code: str | tuple[str, ...]) -> None:
    codes = (code,) if isinstance(code, str) else code
    assert error.code in codes, str(error)
    assert error.code in CODES
    assert error.where, f"no place: {error}"
    assert error.cause
    assert error.remedy, f"no remedy: {error}"
    assert "Traceback" not in str(error)
    assert "\n  File" not in str(error)


def run_cli(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200", "TERM": "dumb"})


def assert_cli_refuses(folder: Path, *args: str | Path, code: str | tuple[str, ...]) -> dict[str, Any]:
    """`ingot compile` ends with 2 and an error in JSON, and leaves no output."""
    output = folder / "out.ingot"
    before = sorted(path.name for path in folder.iterdir())
    result = run_cli("compile", *args, "-o", output, "--json")
    assert result.exit_code == 2, result.output
    assert sorted(path.name for path in folder.iterdir()) == before
    error: dict[str, Any] = json.loads(result.stdout)["error"]
    assert error["code"] in ((code,) if isinstance(code, str) else code), error
    assert all(error[key] for key in ("where", "cause", "remedy")), error
    plain = run_cli("compile", *args, "-o", output)
    assert plain.exit_code == 2
    assert error["code"] in plain.stderr
    assert sorted(path.name for path in folder.iterdir()) == before
    return error


# Files


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _model(make: Callable[[], onnx.ModelProto]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(make().SerializeToString()) and None


def _truncated(path: Path) -> None:
    data = parse(TEXT, {"w": normal(4, 2)}).SerializeToString()
    path.write_bytes(data[: len(data) // 2])


def _cyclic() -> onnx.ModelProto:
    model = good()
    model.graph.node[0].input[0] = "y"
    return model


def _huge_input() -> onnx.ModelProto:
    model = good()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**62
    return model


def _huge_weight() -> onnx.ModelProto:
    model = good()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**31, 2**31])
    return model


def _huge_inside() -> onnx.ModelProto:
    text = "net (float[1, 4] x) => (float[A, 4] y) { y = Expand(x, shape) }"
    return parse(text, {"shape": np.array([2**60, 4])})


def _huge_filled() -> onnx.ModelProto:
    text = "net (float[1] x) => (float[A] y) { f = ConstantOfShape(shape) y = Add(f, x) }"
    return parse(text, {"shape": np.array([2**50])})


def _negative() -> onnx.ModelProto:
    return parse("net (float[4] x) => (float[A] y) { y = Reshape(x, shape) }", {"shape": np.array([-3, 2])})


def _external(path: Path) -> None:
    model = good()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(normal(64, 64), "w"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def _unknown_operator() -> onnx.ModelProto:
    return parse("net (float[4] x) => (float[4] y) { y = Frobnicate(x) }")


def _unknown_domain() -> onnx.ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"], name="odd", domain="com.example")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(
        helper.make_graph([node], "g", ports[:1], ports[1:]), opset_imports=opsets, ir_version=8
    )


def _wrong_ranks() -> onnx.ModelProto:
    return parse("net (float[4, 3] x) => (float[A, B] y) { y = Conv(x, w) }", {"w": normal(2, 3, 3, 3)})


def _wrong_types() -> onnx.ModelProto:
    return parse(
        "net (int64[1, 3, 4, 4] x) => (float[A, B, C, D] y) { y = Conv(x, w) }", {"w": normal(2, 3, 3, 3)}
    )


def _wrong_sizes() -> onnx.ModelProto:
    return parse("net (float[4, 3] x) => (float[4, 2] y) { y = MatMul(x, w) }", {"w": normal(5, 2)})


def _wrong_broadcast() -> onnx.ModelProto:
    return parse("net (float[4, 3] x, float[2, 3] v) => (float[4, 3] y) { y = Add(x, v) }")


def _wrong_concat() -> onnx.ModelProto:
    return parse("net (float[4, 3] x, float[2, 5] v) => (float[A, B] y) { y = Concat <axis = 1> (x, v) }")


def _wrong_axis() -> onnx.ModelProto:
    return parse("net (float[4, 3] x) => (float[4, 3] y) { y = Softmax <axis = 7> (x) }")


def _wrong_split() -> onnx.ModelProto:
    text = "net (float[4, 3] x) => (float[A, 3] y, float[B, 3] z) { y, z = Split(x, parts) }"
    return parse(text, {"parts": np.array([3, 3])})


def _wrong_gather() -> onnx.ModelProto:
    return parse("net (float[4, 3] x) => (float[2, 3] y) { y = Gather(x, i) }", {"i": np.array([0, 9])})


def _wrong_permutation() -> onnx.ModelProto:
    return parse("net (float[4, 3] x) => (float[A, B] y) { y = Transpose <perm = [0, 0]> (x) }")


def _wrong_kernel() -> onnx.ModelProto:
    text = "net (float[1, 3, 4, 4] x) => (float[1, 2, A, B] y) { y = Conv <strides = [0, 1]> (x, w) }"
    return parse(text, {"w": normal(2, 3, 3, 3)})


def _window_too_large() -> onnx.ModelProto:
    return parse(
        "net (float[1, 3, 4, 4] x) => (float[1, 2, A, B] y) { y = Conv(x, w) }", {"w": normal(2, 3, 9, 9)}
    )


def _strings() -> onnx.ModelProto:
    return parse("net (string[4] x) => (int64[1, N] y) { y = NonZero(x) }")


def _no_rank() -> onnx.ModelProto:
    model = parse("net (float[4] x) => (float[4] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def _nine_dimensions() -> onnx.ModelProto:
    nine = ", ".join("123456789")
    return parse(f"net (float[{nine}] x) => (float[{nine}] y) {{ y = Relu(x) }}")


def _old() -> onnx.ModelProto:
    return parse("net (float[4] x) => (float[4] y) { y = Relu(x) }", opset=0)


def _future() -> onnx.ModelProto:
    return parse("net (float[4] x) => (float[4] y) { y = Relu(x) }", opset=999)


MALFORMED = ("model-invalid", "shape-mismatch", "unsupported")
FILES: dict[str, tuple[Callable[[Path], None], str | tuple[str, ...]]] = {
    "empty": (_bytes(b""), "model-empty"),
    "truncated": (_truncated, "model-truncated"),
    "text": (_bytes(b"hello, this is no model\n" * 9), "model-not-onnx"),
    "zeros": (_bytes(bytes(500)), "model-not-onnx"),
    "picture": (_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)), "model-not-onnx"),
    "cyclic": (_model(_cyclic), "model-cyclic"),
    "huge input": (_model(_huge_input), ("model-too-large", "model-invalid")),
    "huge weight": (_model(_huge_weight), ("model-too-large", "model-invalid")),
    "huge inside": (_model(_huge_inside), ("model-too-large", "model-invalid", "memory-exhausted")),
    "huge filled": (_model(_huge_filled), ("model-too-large", "model-invalid", "memory-exhausted")),
    "negative reshape": (_model(_negative), MALFORMED),
    "external data": (_external, "external-data-missing"),
    "unknown operator": (_model(_unknown_operator), "unsupported"),
    "unknown domain": (_model(_unknown_domain), "unsupported"),
    "ranks": (_model(_wrong_ranks), MALFORMED),
    "types": (_model(_wrong_types), "model-invalid"),
    "sizes": (_model(_wrong_sizes), MALFORMED),
    "broadcast": (_model(_wrong_broadcast), MALFORMED),
    "concat": (_model(_wrong_concat), MALFORMED),
    "axis": (_model(_wrong_axis), MALFORMED),
    "split": (_model(_wrong_split), MALFORMED),
    "gather": (_model(_wrong_gather), MALFORMED),
    "permutation": (_model(_wrong_permutation), MALFORMED),
    "stride": (_model(_wrong_kernel), MALFORMED),
    "window": (_model(_window_too_large), MALFORMED),
    "strings": (_model(_strings), "unsupported"),
    "no rank": (_model(_no_rank), "shape-unknown"),
    "nine dimensions": (_model(_nine_dimensions), "unsupported"),
    "too old": (_model(_old), "model-opset"),
    "too new": (_model(_future), "model-opset"),
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A limit that a hostile model must not reach: 4 GiB more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", FILES)
def test_bad_models(name: str, tmp_path: Path, little_memory: None) -> None:
    write, code = FILES[name]
    path = tmp_path / "net.onnx"
    write(path)
    with pytest.raises(IngotError) as caught:
        ingot.compile(path)
    assert_helpful(caught.value, code)
    assert_cli_refuses(tmp_path, path, code=code)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path, tmp_path / "none" / "none.onnx"):
        with pytest.raises(IngotError) as caught:
            ingot.compile(path)
        assert_helpful(caught.value, "model-not-found")
    assert_cli_refuses(tmp_path, tmp_path / "none.onnx", code="model-not-found")


def test_every_prefix_and_flipped_byte_ends_well(tmp_path: Path) -> None:
    """A damaged model compiles or is refused; nothing else is raised."""
    data = good().SerializeToString()
    path = tmp_path / "net.onnx"
    rng = np.random.default_rng(0)
    damaged = [data[:end] for end in range(0, len(data), 7)]
    for _ in range(120):
        one = bytearray(data)
        one[rng.integers(len(one))] = rng.integers(256)
        damaged.append(bytes(one))
    refused = []
    for one in damaged:
        path.write_bytes(one)
        try:
            ingot.compile(path, emit="source")
        except IngotError as error:
            refused.append(error)
    assert len(refused) > 50
    assert [str(error) for error in refused if error.code == "internal" or not error.cause] == []


# Options


@pytest.mark.parametrize(
    "shapes",
    [
        {"x": (float("nan"), 4)},
        {"x": (float("inf"), 4)},
        {"x": (2.0, 4)},
        {"x": (-1, 4)},
        {"x": (True, 4)},
        {"x": (None, 4)},
        {"x": ("two rows", 4)},
        {"x": ("", 4)},
        {"x": "2x4"},
        {"x": 3},
        {"x": (4,)},
        {"x": (1, 1, 4)},
        {"x": (2**62, 4)},
        {"x": (2**70, 4)},
        {"x": (2, 5)},
    ],
    ids=str,
)
def test_bad_shapes(shapes: Mapping[str, Any], tmp_path: Path) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(good(), shapes=shapes)
    assert_helpful(caught.value, ("input-shape", *MALFORMED, "model-too-large"))


def test_a_shape_for_an_unknown_input(tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    with pytest.raises(IngotError) as caught:
        ingot.compile(good(), shapes={"z": (1, 4)})
    assert_helpful(caught.value, "input-name")
    assert_cli_refuses(tmp_path, tmp_path / "net.onnx", "--shape", "z:1x4", code="input-name")


@pytest.mark.parametrize(
    "text",
    [
        "x:nanx4",
        "x:NaNx4",
        "x:-1x4",
        "x:1.5x4",
        "x:1e3x4",
        "x:",
        "x",
        ":1x4",
        "x:1xx4",
        "x:1x4x",
        "x:0x10x4",
        "x:²x4",
        "x:99999999999999999999x4",
        "x:infx4",
    ],
)
def test_bad_shape_options(text: str, tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    codes = ("option-invalid", "input-shape", "input-name", "model-too-large")
    assert_cli_refuses(tmp_path, tmp_path / "net.onnx", "--shape", text, code=codes)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"target": "z80"}, "target-unknown"),
        ({"target": ""}, "target-unknown"),
        ({"precision": "f8"}, "option-invalid"),
        ({"emit": "exe"}, "option-invalid"),
        ({"cc": "no-such-compiler"}, "compiler-not-found"),
        ({"cc": "true"}, "compiler-not-found"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, str], code: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(good(), **options)  # type: ignore[arg-type]
    assert_helpful(caught.value, code)


@pytest.mark.parametrize("model", [None, 3, b"bytes", [], object()], ids=lambda model: type(model).__name__)
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(model)
    assert caught.value.code == "model-not-found"
    assert caught.value.remedy


def test_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    assert_cli_refuses(tmp_path, tmp_path / "net.onnx", "--cc", "no-such-cc -O2", code="compiler-not-found")
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(IngotError) as caught:
        ingot.compile(good())
    assert_helpful(caught.value, "compiler-not-found")
    assert_cli_refuses(tmp_path, tmp_path / "net.onnx", code="compiler-not-found")


# Folders


def test_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    place = Path("/proc/net.ingot")
    with pytest.raises(IngotError) as caught:
        ingot.compile(good()).save(place)
    assert_helpful(caught.value, "output-unwritable")
    result = run_cli("compile", tmp_path / "net.onnx", "-o", place)
    assert result.exit_code == 2
    assert "output-unwritable" in result.output


def test_a_read_only_output_folder(tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    place = tmp_path / "locked"
    place.mkdir()
    place.chmod(0o555)
    if os.getuid() == 0:
        pytest.skip("root writes everywhere: test_package.py has this case for root")
    program = (
        f"import ingot; ingot.compile({str(tmp_path / 'net.onnx')!r}).save({str(place / 'net.ingot')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "output-unwritable" in done.stderr
    assert list(place.iterdir()) == []


def test_a_build_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(good(), tmp_path / "net.onnx")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(IngotError) as caught:
        ingot.compile(good())
    assert_helpful(caught.value, "cache-unwritable")
    assert_cli_refuses(tmp_path, tmp_path / "net.onnx", code="cache-unwritable")


# Running


@pytest.fixture(scope="module")
def session() -> ingot.Session:
    text = "net (float[N, 4] x, int64[N] k) => (float[N, 2] y) { a = MatMul(x, w) c = Cast <to = 1> (k) d = Unsqueeze(c, one) y = Add(a, d) }"
    return ingot.load(ingot.compile(parse(text, {"w": normal(4, 2), "one": np.array([1])})))


def feed(**changes: Any) -> Feed:
    arrays: dict[str, Any] = {"x": normal(3, 4), "k": np.arange(3)} | changes
    return {name: array for name, array in arrays.items() if array is not None}


BAD_FEEDS: dict[str, tuple[Feed, str]] = {
    "missing": (feed(k=None), "input-name"),
    "unknown": (feed(z=normal(3)), "input-name"),
    "all missing": ({}, "input-name"),
    "float64": (feed(x=normal(3, 4).astype(np.float64)), "input-dtype"),
    "int32": (feed(k=np.arange(3, dtype=np.int32)), "input-dtype"),
    "list of floats": (feed(x=[[1.0] * 4] * 3), "input-dtype"),
    "strings": (feed(x=np.full((3, 4), "a")), "input-dtype"),
    "objects": (feed(x=np.full((3, 4), None)), "input-dtype"),
    "big-endian": (feed(x=normal(3, 4).astype(">f4")), "input-dtype"),
    "rank 1": (feed(x=normal(12)), "input-rank"),
    "rank 3": (feed(x=normal(3, 4, 1)), "input-rank"),
    "scalar": (feed(k=np.array(3)), "input-rank"),
    "columns": (feed(x=normal(3, 5)), "input-shape"),
    "no columns": (feed(x=normal(3, 0)), "input-shape"),
    "symbols differ": (feed(k=np.arange(4)), "input-shape"),
}


@pytest.mark.parametrize("name", BAD_FEEDS)
def test_bad_arrays(session: ingot.Session, name: str) -> None:
    arrays, code = BAD_FEEDS[name]
    with pytest.raises(IngotError) as caught:
        session.run(None, arrays)
    assert caught.value.code == code
    assert caught.value.where
    assert caught.value.cause
    (y,) = session.run(None, feed())
    assert y.shape == (3, 2)


def test_an_unknown_output(session: ingot.Session) -> None:
    with pytest.raises(IngotError) as caught:
        session.run(["y", "z"], feed())
    assert_helpful(caught.value, "output-name")


def test_sizes_beyond_all_memory(session: ingot.Session) -> None:
    x: Array = np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (2**50, 4), (0, 4))
    k: Array = np.lib.stride_tricks.as_strided(np.zeros(1, np.int64), (2**50,), (0,))
    with pytest.raises(IngotError) as caught:
        session.run(None, {"x": x, "k": k})
    assert caught.value.code == "memory-exhausted"
    assert session.run(None, feed())[0].shape == (3, 2)


def test_special_values_pass(session: ingot.Session) -> None:
    x = normal(3, 4)
    x[0], x[1] = np.nan, np.inf
    (y,) = session.run(None, {"x": x, "k": np.arange(3)})
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[2]).all()


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


CONTRADICTIONS: dict[str, tuple[str, dict[str, Array], Feed]] = {
    "sum": (
        "(float[N, 3] x, float[M, 3] v) => (float[A, 3] y) { y = Add(x, v) }",
        {},
        {"x": _ones(4, 3), "v": _ones(2, 3)},
    ),
    "sum with a constant": (
        "(float[N] x) => (float[A] y) { y = Add(x, c) }",
        {"c": _ones(3)},
        {"x": _ones(4)},
    ),
    "choice": (
        "(bool[N] c, float[M] x, float[K] v) => (float[A] y) { y = Where(c, x, v) }",
        {},
        {"c": np.ones(4, bool), "x": _ones(4), "v": _ones(3)},
    ),
    "concatenation": (
        "(float[N, 3] x, float[M, 5] v) => (float[A, B] y) { y = Concat <axis = 1> (x, v) }",
        {},
        {"x": _ones(4, 3), "v": _ones(2, 5)},
    ),
    "product": (
        "(float[2, K] x, float[M, 5] v) => (float[A, B] y) { y = MatMul(x, v) }",
        {},
        {"x": _ones(2, 4), "v": _ones(3, 5)},
    ),
    "product with a constant": (
        "(float[2, K] x) => (float[A, B] y) { y = MatMul(x, w) }",
        {"w": _ones(3, 5)},
        {"x": _ones(2, 4)},
    ),
    "bias": (
        "(float[N, 4] x, float[M, 5] b) => (float[N, 5] y) { y = Gemm(x, w, b) }",
        {"w": _ones(4, 5)},
        {"x": _ones(3, 4), "b": _ones(2, 5)},
    ),
    "reshape": (
        "(float[N, K] x) => (float[A, B] y) { y = Reshape(x, s) }",
        {"s": np.array([0, 6])},
        {"x": _ones(2, 4)},
    ),
    "reshape of a rest": (
        "(float[N, K] x) => (float[A, B] y) { y = Reshape(x, s) }",
        {"s": np.array([-1, 3])},
        {"x": _ones(2, 4)},
    ),
    "squeeze": (
        "(float[N, 3] x) => (float[3] y) { y = Squeeze(x, a) }",
        {"a": np.array([0])},
        {"x": _ones(4, 3)},
    ),
    "expansion": (
        "(float[N, 3] x) => (float[A, 3] y) { y = Expand(x, s) }",
        {"s": np.array([4, 3])},
        {"x": _ones(2, 3)},
    ),
    "channels": (
        "(float[1, C, 5, 5] x) => (float[1, 2, 3, 3] y) { y = Conv(x, w) }",
        {"w": _ones(2, 3, 3, 3)},
        {"x": _ones(1, 2, 5, 5)},
    ),
    "window": (
        "(float[1, 3, H, 5] x) => (float[1, 2, A, 3] y) { y = Conv(x, w) }",
        {"w": _ones(2, 3, 3, 3)},
        {"x": _ones(1, 3, 1, 5)},
    ),
}
"""Models whose symbols must agree, and sizes that do not: ONNX Runtime refuses every one of these."""


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_sizes_that_contradict_each_other(name: str) -> None:
    """Found before anything is read or written out of bounds."""
    text, constants, arrays = CONTRADICTIONS[name]
    model = parse(f"net {text}", constants)
    with pytest.raises(IngotError) as caught:
        ingot.load(ingot.compile(model)).run(None, arrays)
    assert caught.value.code in ("input-shape", "run-failed", *MALFORMED)
    assert caught.value.cause


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (
            "(float[N, 3] x, float[M, 3] v) => (float[A, 3] y) { y = Add(x, v) }",
            {"x": _ones(4, 3), "v": _ones(1, 3)},
        ),
        (
            "(float[N, 3] x, float[M, 3] v) => (float[A, 3] y) { y = Add(x, v) }",
            {"x": _ones(1, 3), "v": _ones(4, 3)},
        ),
        ("(float[N] x) => (float[A] y) { y = Add(x, c) }", {"x": _ones(1)}),
        (
            "(float[N, 1, 2, K] x, float[M, 3, K, 2] v) => (float[A, 3, 2, 2] y) { y = MatMul(x, v) }",
            {"x": _ones(1, 1, 2, 4), "v": _ones(5, 3, 4, 2)},
        ),
    ],
)
def test_a_size_that_turns_out_to_be_one(text: str, arrays: Feed) -> None:
    """It is broadcast, as ONNX says, or refused; it never gives another answer."""
    model = parse(f"net {text}", {"c": _ones(3)} if "c)" in text else {})
    refusal = None
    try:
        (y,) = ingot.load(ingot.compile(model)).run(None, arrays)
    except IngotError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code in ("input-shape", "run-failed", "unsupported")
        assert refusal.cause
    else:
        (expected,) = reference(model, arrays)
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8"])
def test_integer_division_does_not_trap(operator: str, dtype: str, tmp_path: Path) -> None:
    """In a process of its own, which x86 would end: by zero, and of the lowest number by -1."""
    kinds = {"int32": "int32", "int64": "int64", "int8": "int8", "uint8": "uint8"}
    info = np.iinfo(dtype)
    minus = -1 if info.min < 0 else 1
    a = np.array([info.min, 7, 7, info.max] * 9, dtype)
    b = np.array([minus, 2, 0, minus] * 9, dtype)
    model = parse(
        f"net ({kinds[dtype]}[N] a, {kinds[dtype]}[N] b) => ({kinds[dtype]}[N] y) {{ y = {operator}(a, b) }}"
    )
    package = ingot.compile(model).save(tmp_path / "net.ingot")
    np.savez(tmp_path / "feed.npz", a=a, b=b)
    program = f"""
import numpy, ingot
feed = dict(numpy.load({str(tmp_path / "feed.npz")!r}))
try:
    (y,) = ingot.load({str(package)!r}).run(None, feed)
    print(*y[1::4].tolist())
except ingot.IngotError as error:
    print(error.code)
"""
    printed = shell([sys.executable, "-c", program], tmp_path).strip()
    assert printed in (" ".join(["3" if operator == "Div" else "1"] * 9), "run-failed")


# What `ingot check` says


def test_check_lists_everything_at_once(tmp_path: Path) -> None:
    text = """net (float[4, 3] x) => (float[4, 3] y, float[1, 2, A, B] z) {
        a = Frobnicate(x)
        b = Relu(x)
        c = Twiddle(b)
        d = com.example.Own(b)
        z = Conv <auto_pad = "SOMETIMES"> (picture, w)
        y = Sum(a, b, c, d)
    }"""
    model = parse(text, {"picture": normal(1, 3, 5, 5), "w": normal(2, 3, 3, 3)})
    node = model.graph.node[3]
    node.op_type, node.domain = "Own", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    for name, one in zip(("frob", "fine", "twid", "own", "odd", "sum"), model.graph.node, strict=True):
        one.name = name
    report = ingot.check(model)
    assert not report.ok
    found = {gap.node: gap for gap in report.gaps}
    assert set(found) == {"frob", "twid", "own", "odd"}
    assert "fine" not in found
    assert "sum" not in found
    assert found["own"].domain == "com.example"
    assert all(gap.reason and gap.remedy for gap in report.gaps)
    onnx.save(model, tmp_path / "net.onnx")
    result = run_cli("check", tmp_path / "net.onnx", "--json")
    assert result.exit_code == 1
    assert {gap["node"] for gap in json.loads(result.stdout)["gaps"]} == set(found)
    plain = run_cli("check", tmp_path / "net.onnx")
    assert plain.exit_code == 1
    assert all(name in plain.stdout for name in ("frob", "twid", "own"))


def test_check_agrees_with_compile(tmp_path: Path) -> None:
    """What compiles has no gaps, and what compile finds unsupported or malformed has."""
    assert ingot.check(good()).ok
    for name, (write, codes) in FILES.items():
        if "unsupported" in codes:
            write(tmp_path / "net.onnx")
            try:
                found = not ingot.check(tmp_path / "net.onnx").ok
            except IngotError:
                found = True
            assert found, name


@pytest.mark.parametrize("name", ["empty", "truncated", "text", "cyclic"])
def test_check_of_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    write, code = FILES[name]
    write(tmp_path / "net.onnx")
    with pytest.raises(IngotError) as caught:
        ingot.check(tmp_path / "net.onnx")
    assert_helpful(caught.value, code)
    assert run_cli("check", tmp_path / "net.onnx").exit_code == 2
