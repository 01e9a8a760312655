"""Models that ask for more than there is: each ends soon, within little memory, compiled or with an error."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small import parse

import ingot
from ingot.errors import IngotError
from ingot.testing import CLOSE, assert_close

SECONDS = 120
MEMORY = 1 << 31


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def made(
    nodes: list[onnx.NodeProto], output: str, constants: Mapping[str, Any] | None = None, **how: Any
) -> onnx.ModelProto:
    """A model of an input x of one float."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **how)


def chain(operator: str, count: int, twice: bool = False, first: str = "x", **how: Any) -> onnx.ModelProto:
    """Each node reads the one before, twice where that is wanted."""
    nodes, last = [], first
    for i in range(count):
        nodes.append(helper.make_node(operator, [last, last] if twice else [last], [f"t{i}"], **how))
        last = f"t{i}"
    constants = {first: floats(1, 2)} if first != "x" else {}
    if constants:
        nodes.append(helper.make_node("Add", [last, "x"], ["y"]))
        last = "y"
    return made(nodes, last, constants)


def calls(depth: int, width: int) -> onnx.ModelProto:
    """Functions that each call the next several times."""
    functions = []
    for i in range(depth):
        inner, domain = ("Relu", "") if i == depth - 1 else (f"f{i + 1}", "local")
        names = ["a", *(f"b{j}" for j in range(width))]
        nodes = [helper.make_node(inner, [names[j]], [names[j + 1]], domain=domain) for j in range(width)]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        functions.append(helper.make_function("local", f"f{i}", ["a"], [names[-1]], nodes, opsets))
    return made([helper.make_node("f0", ["x"], ["y"], domain="local")], "y", functions=functions)


def nested(depth: int) -> onnx.ModelProto:
    """If inside If."""
    true = numpy_helper.from_array(np.array(True), "c")
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"])], "b", [], [helper.make_tensor_value_info("r", 1, [1])]
    )
    for i in range(depth):
        other = helper.make_graph(
            [helper.make_node("Neg", ["x"], [f"n{i}"])],
            "e",
            [],
            [helper.make_tensor_value_info(f"n{i}", 1, [1])],
        )
        node = helper.make_node("If", ["c"], [f"o{i}"], then_branch=branch, else_branch=other)
        branch = helper.make_graph([node], "b", [], [helper.make_tensor_value_info(f"o{i}", 1, [1])])
    branch.input.append(helper.make_tensor_value_info("x", 1, [1]))
    branch.initializer.append(true)
    return helper.make_model(branch, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def loop(trips: int) -> onnx.ModelProto:
    text = """net (float[2] x) => (float[2] y, float[a, 2] z) { y, z = Loop(m, , x)
        <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] t, float[2] u) { d = Identity(c) t = Relu(s) u = Neg(s) }> }"""
    return parse(text, {"m": np.array(trips)})


LARGE, COMPILED = ("model-too-large", "memory-exhausted", "unsupported"), ()
MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "expand": (
        lambda: parse("net (float[1] x) => (float[A, B] y) { y = Expand(x, s) }", {"s": ints(2**20, 2**20)}),
        LARGE,
    ),
    "tile": (lambda: parse("net (float[4] x) => (float[A] y) { y = Tile(x, s) }", {"s": ints(2**61)}), LARGE),
    "constant of shape": (
        lambda: parse(
            "net (float[1] x) => (float[A] y) { c = ConstantOfShape(s) y = Add(c, x) }", {"s": ints(10**9)}
        ),
        COMPILED,
    ),
    "sum of a constant": (
        lambda: parse(
            "net (float[1] x) => (float[1] y) { c = ConstantOfShape(s) r = ReduceSum <keepdims = 0> (c) y = Add(r, x) }",
            {"s": ints(10**9)},
        ),
        COMPILED,
    ),
    "pad": (
        lambda: parse("net (float[4] x) => (float[A] y) { y = Pad(x, s) }", {"s": ints(2**50, 2**50)}),
        LARGE,
    ),
    "resize": (
        lambda: parse(
            "net (float[1, 1, 4, 4] x) => (float[A, B, C, D] y) { y = Resize(x, , s) }",
            {"s": floats(1, 1, 1e9, 1e9)},
        ),
        LARGE,
    ),
    "resize by more than a float": (
        lambda: parse(
            "net (float[1, 1, 4, 4] x) => (float[A, B, C, D] y) { y = Resize(x, , s) }",
            {"s": floats(1, 1, 3e38, 1)},
        ),
        LARGE,
    ),
    "resize table": (
        lambda: parse(
            'net (float[1, 1, 4, 4] x) => (float[A, B, C, D] y) { y = Resize <mode = "linear"> (x, , s) }',
            {"s": floats(1, 1, 2e8, 1)},
        ),
        COMPILED,
    ),
    "range": (
        lambda: parse(
            "net (float[1] x) => (float[A] y) { r = Range(a, b, d) y = Add(r, x) }",
            {"a": np.float32(0), "b": np.float32(1e12), "d": np.float32(1)},
        ),
        LARGE,
    ),
    "one hot": (
        lambda: parse(
            "net (int64[4] x) => (float[A, B] y) { y = OneHot(x, d, v) }",
            {"d": np.array(2**50), "v": floats(0, 1)},
        ),
        LARGE,
    ),
    "convolution": (
        lambda: parse(
            "net (float[1, 1, 4, 4] x) => (float[A, B, C, D] y) { y = Conv <pads = [1000000000, 1000000000, 0, 0]> (x, w) }",
            {"w": np.ones((1, 1, 3, 3), np.float32)},
        ),
        LARGE,
    ),
    "pooling window": (
        lambda: parse(
            "net (float[1, 1, 4, 4] x) => (float[A, B, C, D] y) { y = MaxPool <kernel_shape = [100000, 100000], pads = [50000, 50000, 50000, 50000]> (x) }"
        ),
        COMPILED,
    ),
    "concatenated with itself": (lambda: chain("Concat", 40, True, axis=0), LARGE),
    "constant with itself": (lambda: chain("Concat", 40, True, "c", axis=0), LARGE),
    "doubled": (lambda: chain("Add", 300, True), COMPILED),
    "long": (lambda: chain("Relu", 1200), COMPILED),
    "calls": (lambda: calls(30, 2), LARGE),
    "many calls": (lambda: calls(6, 10), LARGE),
    "nested calls": (lambda: calls(60, 1), COMPILED),
    "nested branches": (lambda: nested(30), COMPILED),
    "endless loop": (lambda: loop(2**62), LARGE),
}


@pytest.fixture
def bounded() -> Iterator[None]:
    """Little memory beyond what the process has, and little time."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {SECONDS} seconds")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_asks_for_too_much(name: str, bounded: None) -> None:
    make, codes = MODELS[name]
    model = make()
    if not codes:
        ingot.compile(model, emit="source", target="generic")
        return
    with pytest.raises(IngotError) as caught:
        ingot.compile(model, emit="source", target="generic")
    assert caught.value.code in codes, str(caught.value)
    assert caught.value.remedy


def test_too_deep_for_python_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*arguments: Any) -> Any:
        return deep(*arguments)

    monkeypatch.setattr("ingot.compiler.fuse", deep)
    with pytest.raises(IngotError) as caught:
        ingot.compile(parse("net (float[1] x) => (float[1] y) { y = Relu(x) }"), emit="source")
    assert caught.value.code == "model-too-large"


def test_a_long_chain_compiles() -> None:
    x = np.array([0.5], np.float32)
    expected = x
    for _ in range(3000):
        expected = np.sin(expected)
    (y,) = ingot.load(ingot.compile(chain("Sin", 3000), target="generic")).run(None, {"x": x})
    assert_close(y, expected, CLOSE, reduction=3000)


@pytest.mark.slow
def test_a_very_long_chain_is_checked(bounded: None) -> None:
    assert ingot.check(chain("Sin", 20_000)).ok


@pytest.mark.parametrize("depth", [50, 500])
def test_subgraphs_nested_too_deeply_for_protobuf_are_an_error(depth: int, tmp_path: Path) -> None:
    def field(number: int, data: bytes) -> bytes:
        length, digits = len(data), bytearray()
        while length > 127:
            digits.append(length & 127 | 128)
            length >>= 7
        return bytes([number << 3 | 2, *digits, length]) + data

    node = field(1, b"x") + field(2, b"y") + field(4, b"Neg")
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, field(1, node) + field(2, b"g")) + b"\xa0\x01\x05"
        node = field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute)
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + field(7, field(1, node) + field(2, b"g")) + field(8, b"\x10\x11"))
    with pytest.raises(IngotError) as caught:
        ingot.check(path)
    assert caught.value.code == "model-invalid"
