"""MindIR: primitives, functions and control flow of files written here, compared with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from caffe_file import normal
from mindir_file import STATE, Graph, Node, external, model

import ingot
from ingot.errors import IngotError
from ingot.testing import CLOSE, Array, assert_close, reference

X = normal(2, 3, 4)
IMAGE = normal(1, 2, 5, 6)


def converted(tmp_path: Path, data: bytes) -> onnx.ModelProto:
    path = tmp_path / "net.mindir"
    path.write_bytes(data)
    proto = ir.to_proto(ingot.convert(path).model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def ports(feed: Mapping[str, Array]) -> dict[str, Any]:
    return {name: (value.shape, value.dtype.name) for name, value in feed.items()}


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def windows(x: Array, k: int, stride: int, pads: tuple[int, int], fill: float) -> Array:
    """[N, C, rows, columns, k * k] of a picture with (begin, end) padding."""
    x = np.pad(x, [(0, 0), (0, 0), pads, pads], constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::stride, ::stride]
    return found.reshape(*found.shape[:4], k * k)


def convolved(x: Array, w: Array, stride: int, pads: tuple[int, int]) -> Array:
    return np.einsum("nchwk,fck->nfhw", windows(x, w.shape[-1], stride, pads, 0), w.reshape(*w.shape[:2], -1))


W = normal(4, 2, 3, 3)
GAMMA, BETA = normal(4), normal(4)
CONV = {"stride": (1, 1, 2, 2), "dilation": (1, 1, 1, 1), "group": 1, "format": "NCHW"}

CASES: dict[str, tuple[str, list[Any], dict[str, Any], Callable[..., Array]]] = {
    "conv same": ("Conv2D", [IMAGE[..., :5], W], CONV | {"pad_mode": "same"}, lambda x, w: convolved(x, w, 2, (1, 1))),
    "conv pad": ("Conv2D", [IMAGE, W], CONV | {"pad_mode": "pad", "pad": (1, 1, 1, 1)}, lambda x, w: convolved(x, w, 2, (1, 1))),
    "conv valid": ("Conv2D", [IMAGE, W], CONV | {"pad_mode": "valid", "stride": 1}, lambda x, w: convolved(x, w, 1, (0, 0))),
    "max pool": ("MaxPool", [IMAGE], {"kernel_size": (1, 1, 2, 2), "strides": (1, 1, 2, 2), "pad_mode": "VALID"}, lambda x: windows(x, 2, 2, (0, 0), 0).max(-1)),
    "average pool": ("AvgPool", [IMAGE, (3, 3), (1, 1), 2, 0], {}, lambda x: windows(x, 3, 1, (0, 0), 0).mean(-1)),
    "adaptive pool": ("AdaptiveAvgPool2D", [IMAGE], {"output_size": (-1, 4)}, lambda x: np.stack([x[..., a:b].mean(-1) for a, b in ((0, 2), (1, 3), (3, 5), (4, 6))], -1)),
    "matmul": ("MatMul", [X[0], normal(5, 4), False, True], {}, lambda a, b: a @ b.T),
    "old matmul": ("MatMul", [X[0], normal(3, 5)], {"transpose_a": True}, lambda a, b: a.T @ b),
    "dense": ("Dense", [X, normal(5, 4), normal(5)], {}, lambda x, w, b: x @ w.T + b),
    "bias": ("BiasAdd", [IMAGE, normal(2), 0], {}, lambda x, b: x + b[:, None, None]),
    "layer norm": ("LayerNorm", [X, GAMMA, BETA, -1, -1, 1e-5], {}, lambda x, g, b: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * g + b),
    "softmax": ("Softmax", [X, (-1,)], {}, softmax),
    "gelu": ("GeLU", [X], {}, lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "relu6": ("ReLU6", [8 * X], {}, lambda x: np.clip(x, 0, 6)),
    "scalar": ("Muls", [X, 2], {}, lambda x: x * 2),
    "integers and a real": ("Muls", [np.array([1, -2], np.int32), 0.5], {}, lambda x: x * np.float32(0.5)),
    "floor mod": ("FloorMod", [X, np.float32(0.7).reshape(1)], {}, np.mod),
    "select": ("Select", [X > 0, X, np.array(2, np.float32)], {}, np.where),
    "mean": ("ReduceMean", [X, (1,), True], {}, lambda x: x.mean(1, keepdims=True)),
    "sum of all": ("SumExt", [X, None, False, None], {}, lambda x: x.sum()),
    "any": ("ReduceAny", [X > 1, (0,), False], {}, lambda x: x.any(0)),
    "reshape": ("Reshape", [X, (4, -1)], {}, lambda x: x.reshape(4, -1)),
    "transpose": ("Transpose", [X, (2, 0, 1)], {}, lambda x: x.transpose(2, 0, 1)),
    "squeeze": ("Squeeze", [X[:, :1], (1,)], {}, lambda x: x[:, 0]),
    "slice": ("StridedSlice", [X, (0, 1, -1), (0, 3, 0), (1, 1, -2), 1, 5, 0, 0, 0], {}, lambda x: x[:, 1:3, ::-2]),
    "ellipsis": ("StridedSlice", [X, (0, 0, 1), (0, 0, 0), (1, 1, 1), 0, 0, 1, 2, 4], {}, lambda x: x[..., None, 1]),
    "gather": ("Gather", [X, np.array([2, 0], np.int32), 1, 0], {}, lambda x, i: x[:, i]),
    "one hot": ("OneHot", [np.array([2, 0], np.int32), 3, np.array(1, np.float32), np.array(0, np.float32), -1], {}, lambda i, *_: np.eye(3, dtype=np.float32)[i]),
    "cast": ("Cast", [4 * X, 34], {}, lambda x: x.astype(np.int32)),
    "pad": ("PadV3", [X, (1, 2, 0, 1), np.array(3, np.float32)], {"mode": "constant", "paddings_contiguous": True}, lambda x, _: np.pad(x, [(0, 0), (0, 1), (1, 2)], constant_values=3)),
    "clamp": ("ClampScalar", [X, None, 0.5], {}, lambda x: np.minimum(x, np.float32(0.5))),
    "cumulative sum": ("CumSum", [X, 1, False, True], {}, lambda x: x[:, ::-1].cumsum(1)[:, ::-1]),
}  # fmt: skip


@pytest.mark.parametrize("constant", [False, True], ids=["computed", "folded"])
@pytest.mark.parametrize("name", CASES)
def test_primitive(name: str, constant: bool, tmp_path: Path) -> None:
    """On inputs, and on constants, which leave nothing to compute."""
    op, given, attributes, expected = CASES[name]
    arrays = {f"x{place}": value for place, value in enumerate(given) if isinstance(value, np.ndarray)}
    inputs = [f"{'w' * constant}x{place}" if f"x{place}" in arrays else v for place, v in enumerate(given)]
    main = Graph(
        "main",
        ports({"x0": arrays["x0"]} if constant else arrays),
        [Node(op, inputs, "y", attributes), *([Node("Depend", ["y", "y"], "z")] if constant else [])],
        "z" if constant else "y",
        {f"w{key}": value for key, value in arrays.items()} if constant else {},
    )
    if op == "LayerNorm":
        main.nodes = [
            Node(op, inputs, "all", attributes),
            Node("TupleGetItem", ["all", 0], "y"),
            *main.nodes[1:],
        ]
    proto = converted(tmp_path, model(main))
    (found,) = reference(proto, {"x0": arrays["x0"]} if constant else arrays)
    wanted = np.asarray(expected(*arrays.values()))
    wanted = wanted.astype(np.float32) if wanted.dtype == np.float64 else wanted
    assert found.dtype == wanted.dtype
    assert_close(found, wanted, CLOSE, reduction=60, scale=1)
    if constant:
        assert {node.op_type for node in proto.graph.node} <= {"Identity", "OneHot"}, (
            "ONNX's reference has no OneHot of int64"
        )


def test_a_sequence_and_its_elements(tmp_path: Path) -> None:
    nodes = [
        Node("Split", ["x", 2, 2], "parts"),
        Node("TupleGetItem", ["parts", 1], "right"),
        Node("MakeTuple", ["right", "x"], "both"),
        Node("Concat", ["both", 2], "wide"),
        Node("Shape", ["x"], "shape"),
        Node("TupleGetItem", ["shape", 0], "n"),
        Node("MakeTuple", ["n", -1], "sizes"),
        Node("Reshape", ["wide", "sizes"], "rows"),
        Node("MakeTuple", ["rows", "right"], "y"),
    ]
    proto = converted(tmp_path, model(Graph("main", {"x": ((-1, 3, 4), "float32")}, nodes, "y")))
    assert [dim.dim_param or dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim] == [
        "N",
        3,
        4,
    ]
    rows, right = reference(proto, {"x": X})
    np.testing.assert_array_equal(rows, np.concatenate([X[..., 2:], X], 2).reshape(2, -1))
    np.testing.assert_array_equal(right, X[..., 2:])


def test_a_broadcast_to_computed_sizes_keeps_a_dimension(tmp_path: Path) -> None:
    nodes = [
        Node("ReduceMean", ["x", (2,), True], "mean"),
        Node("Shape", ["x"], "shape"),
        Node("TupleGetItem", ["shape", 0], "n"),
        Node("MakeTuple", ["n", -1, 4], "sizes"),
        Node("BroadcastTo", ["mean", "sizes"], "y"),
    ]
    proto = converted(tmp_path, model(Graph("main", {"x": ((-1, 3, 4), "float32")}, nodes, "y")))
    expected = np.broadcast_to(X.mean(2, keepdims=True), X.shape)
    assert_close(reference(proto, {"x": X})[0], expected, CLOSE, reduction=4, scale=1)


def lstm(x: Array, weights: Array, hidden: int) -> Array:
    """Of gates in the order i, f, g, o."""
    w, r, b = np.split(weights, [4 * hidden * x.shape[2], 4 * hidden * (x.shape[2] + hidden)])
    h = c = np.zeros((x.shape[1], hidden), np.float32)
    found = []
    for step in x:
        gates = step @ w.reshape(4 * hidden, -1).T + h @ r.reshape(4 * hidden, hidden).T + b
        i, f, g, o = np.split(gates, 4, 1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        found.append(h)
    return np.stack(found)


def test_lstm(tmp_path: Path) -> None:
    weights, state = normal(4 * 5 * (4 + 5 + 1), 1, 1), np.zeros((1, 3, 5), np.float32)
    attributes = {
        "input_size": 4,
        "hidden_size": 5,
        "num_layers": 1,
        "has_bias": True,
        "bidirectional": False,
    }
    nodes = [Node("LSTM", ["x", "h", "h", "w"], "all", attributes), Node("TupleGetItem", ["all", 0], "y")]
    x = normal(2, 3, 4)
    proto = converted(tmp_path, model(Graph("main", ports({"x": x}), nodes, "y", {"w": weights, "h": state})))
    assert [node.op_type for node in proto.graph.node] == ["LSTM", "Squeeze"]
    assert_close(reference(proto, {"x": x})[0], lstm(x, weights.reshape(-1), 5), CLOSE, reduction=60, scale=1)


FUNCTIONS = [
    Graph("double", {"d.x": ((2, 3), "float32"), "d.u": None}, [Node("Add", ["d.x", "d.x"], "d.y")], "d.y"),
    Graph(
        "shift",
        {"s.x": ((2, 3), "float32"), "s.by": ((), "float32")},
        [Node("Sub", ["s.x", "s.by"], "s.y")],
        "s.y",
    ),
]


def test_a_branch(tmp_path: Path) -> None:
    """The closures hold their arguments; what orders effects is no argument of ONNX."""
    nodes = [
        Node("SumExt", ["x", None, False, None], "sum"),
        Node("Greater", ["sum", np.array(0, np.float32)], "positive"),
        Node("Load", ["by", STATE], "loaded"),
        Node("Partial", ["double", "x", STATE], "one"),
        Node("Partial", ["shift", "x", "loaded"], "other"),
        Node("Switch", ["positive", "one", "other"], "chosen"),
        Node("chosen", [], "y", calls=True),
        Node("UpdateState", [STATE, "y"], "after"),
        Node("Depend", ["y", "after"], "z"),
    ]
    x = np.abs(normal(2, 3))
    by = np.float32(1.5).reshape(())
    proto = converted(tmp_path, model(Graph("main", ports({"x": x}), nodes, "z", {"by": by}), *FUNCTIONS))
    assert [node.op_type for node in proto.graph.node].count("If") == 1
    np.testing.assert_array_equal(reference(proto, {"x": x})[0], x + x)
    np.testing.assert_array_equal(reference(proto, {"x": -x})[0], -x - by)


def loop_of(condition: str = "Greater", turns: str = "while.body", rest: str = "while.end") -> list[Graph]:
    """while n > 0: y, n = y * w, n - 1"""
    ports: dict[str, Any] = {
        "w": ((2, 3), "float32"),
        "y": ((2, 3), "float32"),
        "n": ((), "int32"),
        "u": None,
    }

    def inputs(prefix: str) -> dict[str, Any]:
        return {f"{prefix}.{name}": port for name, port in ports.items()}

    one, zero = (np.int32(number).reshape(()) for number in (1, 0))
    head = [
        Node(condition, ["h.n", zero], "h.goes"),
        Node("Partial", ["while.body", "h.w", "h.y", "h.n", "h.u"], "h.body"),
        Node("Partial", ["while.end", "h.y"], "h.end"),
        Node("Switch", ["h.goes", *(f"h.{name.removeprefix('while.')}" for name in (turns, rest))], "h.next"),
        Node("h.next", [], "h.result", calls=True),
    ]
    body = [
        Node("Load", ["b.w", "b.u"], "b.loaded"),
        Node("Mul", ["b.y", "b.loaded"], "b.new"),
        Node("Sub", ["b.n", one], "b.left"),
        Node("while", ["b.w", "b.new", "b.left", "b.u"], "b.result", calls=True),
        Node("UpdateState", ["b.u", "b.result"], "b.after"),
        Node("Depend", ["b.result", "b.after"], "b.end"),
    ]
    end = Graph("while.end", {"e.y": ports["y"]}, [Node("Neg", ["e.y"], "e.z")], "e.z")
    return [
        Graph("while", inputs("h"), head, "h.result"),
        Graph("while.body", inputs("b"), body, "b.end"),
        end,
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_a_loop(turned: bool, tmp_path: Path) -> None:
    functions = loop_of("LessEqual", "while.end", "while.body") if turned else loop_of()
    start = [Node("while", ["w", "x", "n", STATE], "y", calls=True)]
    x, w = normal(2, 3), normal(2, 3)
    main = Graph("main", ports({"x": x, "n": np.int32(0).reshape(())}), start, "y", {"w": w})
    proto = converted(tmp_path, model(main, *functions))
    (loop,) = [node for node in proto.graph.node if node.op_type == "Loop"]
    assert len(loop.input) == 2 + 2, "the weights are the outer graph's, and not carried"
    for n in (3, 1, 0, -2):
        (found,) = reference(proto, {"x": x, "n": np.array(n, np.int32)})
        assert_close(found, -x * w ** max(n, 0), CLOSE, reduction=3, scale=1)


def test_weights_in_another_file(tmp_path: Path) -> None:
    w = normal(4, 5)
    (tmp_path / "net_variables").mkdir()
    (tmp_path / "net_variables" / "data_0").write_bytes(bytes(64) + w.tobytes())
    held = {"w": external(w, "w", "net_variables/data_0", 64)}
    data = model(Graph("main", ports({"x": X}), [Node("MatMulExt", ["x", "w"], "y")], "y", held))
    (found,) = reference(converted(tmp_path, data), {"x": X})
    assert_close(found, X @ w, CLOSE, reduction=4, scale=1)


@pytest.mark.parametrize(
    ("location", "offset", "length", "code"),
    [
        ("../data_0", 0, None, "external-data-outside"),
        ("/etc/passwd", 0, None, "external-data-outside"),
        ("nothing", 0, None, "external-data-missing"),
        ("data_0", 4, None, "external-data-missing"),
        ("data_0", -80, None, "external-data-missing"),
        ("data_0", 0, 2**62, "external-data-missing"),
        ("data_0", 0, 40, "model-invalid"),
        ("", 0, None, "model-invalid"),
    ],
)
def test_weights_that_are_not_there(
    location: str, offset: int, length: int | None, code: str, tmp_path: Path
) -> None:
    w = normal(4, 5)
    (tmp_path / "data_0").write_bytes(w.tobytes())
    held = {"w": external(w, "w", location, offset, length)}
    refused(
        tmp_path, model(Graph("main", ports({"x": X}), [Node("MatMulExt", ["x", "w"], "y")], "y", held)), code
    )


def refused(tmp_path: Path, data: bytes, code: str, word: str = ".") -> None:
    path = tmp_path / "net.mindir"
    path.write_bytes(data)
    with pytest.raises(IngotError, match=word) as caught:
        ingot.convert(path)
    assert caught.value.code == code


def calling(*nodes: Node, functions: tuple[Graph, ...] = ()) -> bytes:
    return model(Graph("main", ports({"x": X}), nodes, nodes[-1].output), *functions)


def test_what_cannot_be_converted_is_one_error(tmp_path: Path) -> None:
    data = calling(Node("Assign", ["x", "x"], "a"), Node("NMSWithMask", ["x"], "b"), Node("ReLU", ["x"], "y"))
    refused(tmp_path, data, "unsupported", "Assign, NMSWithMask")


@pytest.mark.parametrize(
    ("nodes", "code", "word"),
    [
        ([Node("Add", ["x", "y"], "y")], "model-cyclic", "own result"),
        ([Node("Add", ["x", "gone"], "y")], "model-invalid", "nothing computes"),
        ([Node("MatMulExt", ["x", "x"], "y")], "model-invalid", "shapes do not fit"),
        ([Node("Add", ["x", "=text"], "y")], "unsupported", "a text"),
        ([Node("Softmax", ["x", (0, 1)], "y")], "unsupported", "2 axes"),
        ([Node("Split", ["x", 2, 3], "y")], "unsupported", "3 parts"),
        ([Node("TupleGetItem", [(1, 2), 5], "y")], "model-invalid", "element 5"),
        ([Node("x", ["x"], "y", calls=True)], "model-invalid", "calls"),
        ([Node("BatchNorm", ["x", *[GAMMA] * 4, True], "y")], "unsupported", "set_train"),
        ([Node("Conv2D", ["x", W], "y", {"format": "NHWC"})], "unsupported", "NHWC"),
        ([Node("Tile", ["x", (2**20, 2**20, 1)], "y")], "model-too-large", "elements"),
        ([Node("main", ["x"], "y", calls=True)], "unsupported", "no loop"),
        ([Node("main", ["x"], "a", calls=True), Node("ReLU", ["a"], "y")], "unsupported", "before its end"),
        ([Node("ReLU", [], "y")], "model-invalid", "has 0 inputs"),
    ],
)  # fmt: skip
def test_refused(nodes: list[Node], code: str, word: str, tmp_path: Path) -> None:
    refused(tmp_path, calling(*nodes), code, word)


def test_functions_that_grow_without_end(tmp_path: Path) -> None:
    """Thirty functions, each of which calls the next one twice."""
    port = {"x": (X.shape, "float32")}

    def graph(place: int) -> Graph:
        names = [f"{name}{place}" for name in "xab"]
        nodes = [Node(f"f{place + 1}", [names[i]], names[i + 1], calls=True) for i in (0, 1)]
        nodes.append(Node("ReLU", [names[2]], f"y{place}"))
        return Graph(f"f{place}", {names[0]: port["x"]}, nodes, f"y{place}")

    end = Graph("f30", {"e": port["x"]}, [Node("ReLU", ["e"], "z")], "z")
    data = calling(Node("f0", ["x"], "y", calls=True), functions=(*map(graph, range(30)), end))
    refused(tmp_path, data, "model-too-large")
