"""Small models that reach every kind of kernel, and the C program that runs them."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from ingot.runtime import Port
from ingot.testing import Array, Feed

NATIVE = Path(__file__).parent / "native"
Sizes = Mapping[str, int]


def parse(text: str, constants: Mapping[str, Array] | None = None, *, opset: int = 18) -> onnx.ModelProto:
    """A model. text: from the graph's name on. constants: arrays for the initializers, by name."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    for name, array in (constants or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Small:
    """A model. sizes: what its symbols are to be, for each run. integers: the range of an integer input, by name."""

    make: Callable[[], onnx.ModelProto]
    sizes: Sequence[Sizes] = ({},)
    integers: Mapping[str, tuple[int, int]] | None = None

    def feeds(self, inputs: Iterable[Port]) -> list[Feed]:
        """The inputs of each run."""
        ports = list(inputs)
        return [{p.name: self._array(p, sizes, i) for p in ports} for i, sizes in enumerate(self.sizes)]

    def _array(self, port: Port, sizes: Sizes, seed: int) -> Array:
        shape = tuple(sizes[d] if isinstance(d, str) else d for d in port.shape)
        if port.dtype == "float32":
            return normal(*shape, seed=seed)
        low, high = (self.integers or {})[port.name]
        return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(port.dtype)


def _conv() -> onnx.ModelProto:
    text = """net (float[N, 3, 13, 11] x) => (float[N, 7, 1, 1] y) {
        a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w0, b0)
        b = Relu(a)
        c = Conv <group = 5, pads = [1, 1, 1, 1]> (b, w1, b1)
        d = Sigmoid(c)
        e = Conv(d, w2, b2)
        s = Add(e, b)
        f = Conv <pads = [2, 2, 1, 1], dilations = [2, 2]> (s, w3)
        g = Tanh(f)
        y = GlobalAveragePool(g)
    }"""
    weights = {"w0": normal(5, 3, 3, 3), "b0": normal(5), "w1": normal(5, 1, 3, 3), "b1": normal(5)}
    weights |= {"w2": normal(5, 5, 1, 1), "b2": normal(5), "w3": normal(7, 5, 3, 3)}
    return parse(text, weights)


def _grouped() -> onnx.ModelProto:
    text = """net (float[1, 6, 9, 9] x) => (float y, float z) {
        y = Conv <group = 2, pads = [0, 1, 2, 3]> (x, w)
        z = ConvTranspose <strides = [2, 2], pads = [1, 0, 0, 1]> (x, v, b)
    }"""
    model = parse(text, {"w": normal(10, 3, 3, 2), "v": normal(6, 5, 3, 3), "b": normal(5)})
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def _pool() -> onnx.ModelProto:
    text = """net (float[N, 5, 12, 17] x) => (float[N, 5, A, B] y, float[N, 5, C, D] z, float[N, 5, E, F] u) {
        y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)
        z = AveragePool <kernel_shape = [2, 3], strides = [1, 2], pads = [0, 1, 1, 0], count_include_pad = 1> (x)
        u = MaxPool <kernel_shape = [3, 2], strides = [2, 3], ceil_mode = 1> (x)
    }"""
    return parse(text)


def _softmax() -> onnx.ModelProto:
    text = """net (float[N, 5, M] x) => (float[N, 5, M] y, float[N, 5, M] z) {
        y = Softmax <axis = -1> (x)
        z = LogSoftmax <axis = 1> (x)
    }"""
    return parse(text)


def _normalise() -> onnx.ModelProto:
    text = """net (float[N, 37] x) => (float[N, 37] y, float[N] z) {
        a = LayerNormalization <axis = -1> (x, g, b)
        y = Erf(a)
        z = ReduceMax <keepdims = 0> (y, axes)
    }"""
    return parse(text, {"g": normal(37), "b": normal(37, seed=1), "axes": np.array([1])})


def _matmul() -> onnx.ModelProto:
    text = """net (float[B, M, K] x, float[B, K, P] v) => (float[B, M, 19] y, float[B, M, P] z) {
        z = MatMul(x, v)
        k = Shape <start = 2, end = 3> (x)
        n = Slice(w, zero, k, zero)
        a = MatMul(x, n)
        c = Add(a, b)
        y = Relu(c)
    }"""
    return parse(text, {"w": normal(40, 19), "b": normal(19), "zero": np.array([0])})


def _gemm() -> onnx.ModelProto:
    text = """net (float[N, 33] x) => (float[N, 3] y) {
        a = Gemm <transB = 1, alpha = 0.5> (x, w, b)
        c = Clip(a, low, high)
        y = MatMul(c, v)
    }"""
    weights = {"w": normal(29, 33), "b": normal(29), "v": normal(29, 3)}
    return parse(text, weights | {"low": np.float32(-1), "high": np.float32(2)})


def _attention() -> onnx.ModelProto:
    text = """net (float[N, S, 12] x) => (float[N, S, 12] y) {
        q0 = MatMul(x, wq)
        q1 = Reshape(q0, heads)
        q = Transpose <perm = [0, 2, 1, 3]> (q1)
        k0 = MatMul(x, wk)
        k1 = Reshape(k0, heads)
        k = Transpose <perm = [0, 2, 3, 1]> (k1)
        a = MatMul(q, k)
        s = Mul(a, scale)
        p = Softmax <axis = -1> (s)
        o = MatMul(p, q)
        t = Transpose <perm = [0, 2, 1, 3]> (o)
        y = Reshape(t, flat)
    }"""
    shapes = {"heads": np.array([0, 0, 3, 4]), "flat": np.array([0, 0, 12])}
    return parse(
        text, shapes | {"wq": normal(12, 12), "wk": normal(12, 12, seed=1), "scale": np.float32(0.5)}
    )


def _lstm() -> onnx.ModelProto:
    text = """net (float[T, N, 5] x, float[2, N, 6] h, float[2, N, 6] c) => (float[T, 2, N, 6] y, float[2, N, 6] u, float[2, N, 6] v) {
        y, u, v = LSTM <hidden_size = 6, direction = "bidirectional"> (x, w, r, b, , h, c)
    }"""
    return parse(text, {"w": normal(2, 24, 5), "r": normal(2, 24, 6), "b": normal(2, 48)})


def _gru() -> onnx.ModelProto:
    text = """net (float[T, N, 5] x) => (float[T, 1, N, 7] y, float[1, N, 7] h) {
        y, h = GRU <hidden_size = 7, linear_before_reset = 1> (x, w, r, b)
    }"""
    return parse(text, {"w": normal(1, 21, 5), "r": normal(1, 21, 7), "b": normal(1, 42)})


def _gather() -> onnx.ModelProto:
    text = """net (int64[N, S] ids, float[N, S, 9] x) => (float[N, S, 9] y, float[N, S] z) {
        e = Gather(table, ids)
        y = Add(e, x)
        m = Mod(ids, nine)
        i = Unsqueeze(m, two)
        g = GatherElements <axis = 2> (y, i)
        z = Squeeze(g, two)
    }"""
    return parse(text, {"table": normal(11, 9), "two": np.array([2]), "nine": np.array(9)})


def _movement() -> onnx.ModelProto:
    text = """net (float[N, 3, M] x) => (float[N, 5, L] y, float[M, N, 3] z, float[N, 2, M] u) {
        p = Pad <mode = "reflect"> (x, pads)
        a, b = Split <axis = 1, num_outputs = 2> (x)
        q = Pad(a, more)
        y = Concat <axis = 1> (p, q)
        z = Transpose <perm = [2, 0, 1]> (x)
        u = Slice(x, start, stop, axes, steps)
    }"""
    constants = {"pads": [0, 0, 2, 0, 0, 3], "more": [0, 0, 1, 0, 0, 4]}
    constants |= {"start": [2, -1], "stop": [-9, -99], "axes": [1, 2], "steps": [-2, -1]}
    return parse(text, {name: np.array(values) for name, values in constants.items()})


def _resize() -> onnx.ModelProto:
    text = """net (float[1, 3, 5, 7] x) => (float[1, 3, 10, 14] y, float[1, 3, 8, 9] z) {
        y = Resize <mode = "nearest"> (x, , twice)
        z = Resize <mode = "linear"> (x, , , sizes)
    }"""
    return parse(text, {"twice": np.array([1, 1, 2, 2], np.float32), "sizes": np.array([1, 3, 8, 9])})


def _integers() -> onnx.ModelProto:
    text = """net (int32[N] x, int32[N] d) => (int32[N] y, int64 s, bool[N] b) {
        q = Div(x, d)
        m = Mod(x, d)
        p = Mul(q, m)
        y = Sub(p, x)
        w = Cast <to = 7> (y)
        s = ReduceSum <keepdims = 0> (w)
        b = Less(x, d)
    }"""
    return parse(text)


_ODD = tuple({"N": n, "M": m} for n, m in ((2, 7), (1, 1), (3, 16), (5, 17), (1, 33)))
SMALL: dict[str, Small] = {
    "conv": Small(_conv, ({"N": 1}, {"N": 3})),
    "grouped": Small(_grouped),
    "pool": Small(_pool, ({"N": 1}, {"N": 2})),
    "softmax": Small(_softmax, _ODD),
    "normalise": Small(_normalise, ({"N": 1}, {"N": 9})),
    "matmul": Small(
        _matmul,
        tuple(
            {"B": b, "M": m, "K": k, "P": p} for b, m, k, p in ((1, 1, 1, 1), (2, 3, 5, 7), (1, 15, 40, 33))
        ),
    ),
    "gemm": Small(_gemm, ({"N": 1}, {"N": 4}, {"N": 31})),
    "attention": Small(_attention, ({"N": 1, "S": 1}, {"N": 2, "S": 5}, {"N": 1, "S": 34})),
    "lstm": Small(_lstm, ({"T": 1, "N": 1}, {"T": 4, "N": 3})),
    "gru": Small(_gru, ({"T": 1, "N": 1}, {"T": 5, "N": 2})),
    "gather": Small(_gather, ({"N": 1, "S": 1}, {"N": 2, "S": 19}), {"ids": (0, 11)}),
    "movement": Small(_movement, ({"N": 1, "M": 4}, {"N": 3, "M": 18})),
    "resize": Small(_resize),
    "integers": Small(_integers, ({"N": 1}, {"N": 37}), {"x": (-50, 50), "d": (1, 9)}),
}


def write_feed(path: Path, inputs: Sequence[Port], symbols: Sequence[str], feeds: Sequence[Feed]) -> Path:
    """The file that `drive` reads: bounds are the largest sizes met."""
    bounds = dict.fromkeys(symbols, 0)
    for feed in feeds:
        for port in inputs:
            for size, wanted in zip(feed[port.name].shape, port.shape, strict=True):
                if isinstance(wanted, str):
                    bounds[wanted] = max(bounds[wanted], size)
    parts = [struct.pack(f"<{1 + len(bounds)}q", len(feeds), *bounds.values())]
    for feed in feeds:
        for port in inputs:
            array = np.ascontiguousarray(feed[port.name])
            parts.append(struct.pack(f"<{2 + array.ndim}q", array.ndim, *array.shape, array.nbytes))
            parts.append(array.tobytes())
    path.write_bytes(b"".join(parts))
    return path


def read_made(path: Path, outputs: Sequence[Port], runs: int) -> list[list[Array]]:
    """The outputs of each run that `drive` wrote."""
    data = memoryview(path.read_bytes())
    at = 0

    def number() -> int:
        nonlocal at
        (value,) = struct.unpack_from("<q", data, at)
        at += 8
        return int(value)

    made = []
    for _ in range(runs):
        row = []
        for port in outputs:
            shape = [number() for _ in range(number())]
            size = number()
            row.append(np.frombuffer(data[at : at + size], port.dtype).reshape(shape))
            at += size
        made.append(row)
    assert at == len(data)
    return made


def assert_same(made: Sequence[Sequence[Array]], expected: Sequence[Sequence[Array]], what: str = "") -> None:
    """All arrays have the same bits."""
    assert len(made) == len(expected)
    for run, (row, wanted) in enumerate(zip(made, expected, strict=True)):
        for i, (a, b) in enumerate(zip(row, wanted, strict=True)):
            assert a.shape == b.shape, f"{what} run {run} output {i}: {a.shape} instead of {b.shape}"
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes(), (
                f"{what} run {run} output {i}: other bits, {a.ravel()[:8]}, {b.ravel()[:8]}"
            )


def shell(
    command: Sequence[str | Path], folder: Path, timeout: float = 300, env: Mapping[str, str] | None = None
) -> str:
    """Runs a command, which must end well; what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def zig_cc() -> list[str]:
    return [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all"]
