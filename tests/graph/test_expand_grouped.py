"""GroupQueryAttention and QAttention, written in standard ONNX, beside ONNX Runtime's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx.parser
import pytest
from graphcase import Array, Outcome, apply

import ingot
from ingot.graph.rules import expand_contrib
from ingot.testing import CLOSE, assert_close, lengths, reference

RNG = np.random.default_rng(5)
HEADER = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>\n'
SIZE = 16


def normal(*shape: int) -> Array:
    """Small enough that the exponentials of scores keep the accuracy of the scores."""
    return (0.3 * RNG.standard_normal(shape)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """past: rows of the past, None for no past. known: how many keys each sample has in all, less one."""

    length: int
    past: int | None
    known: tuple[int, ...]
    attributes: str = ""
    heads: int = 2
    packed: bool = False
    more: tuple[str, ...] = ()

    def run(self) -> Outcome:
        batch, total = len(self.known), max(self.known) + 1
        own, shared = 4 * SIZE, self.heads * SIZE
        arrays = {"q": normal(batch, self.length, own + 2 * shared if self.packed else own)}
        if not self.packed:
            arrays |= {name: normal(batch, self.length, shared) for name in "kv"}
        if self.past is not None:
            arrays |= {name: normal(batch, self.heads, self.past, SIZE) for name in ("pk", "pv")}
        arrays |= {"n": np.array(self.known, np.int32), "t": np.array(total, np.int32)}
        given = {
            "c": normal(20, SIZE // 2),
            "s": normal(20, SIZE // 2),
            "p": np.arange(3, 3 + self.length, dtype=np.int64)[None].repeat(batch, 0),
            "bias": normal(1, 4, self.length, total),
            "row": normal(batch, 1, self.length, total),
            "sink": normal(4),
        }
        arrays |= {name: given[name] for name in self.more}
        at = ("q", "k", "v", "pk", "pv", "n", "t", "c", "s", "p", "bias", "sink")
        named = {"row": "bias"}
        taken = {named.get(name, name): name for name in arrays}
        inputs = ", ".join(taken.get(name, "") for name in at).rstrip(", ")
        kinds = {np.dtype(np.float32): "float", np.dtype(np.int32): "int32", np.dtype(np.int64): "int64"}
        declared = ", ".join(
            f"{kinds[a.dtype]}{list(a.shape) if a.ndim else ''} {name}" for name, a in arrays.items()
        )
        # rows of the present beyond a sample's keys are whatever they are
        whole = len(set(self.known)) == 1 and total >= (self.past or 0)
        outputs = ["y", "nk", "nv"] if whole else ["y"]
        results = ", ".join(
            f"float[A{i}, B{i}, C{i}{', D' * (i > 0)}] {name}" for i, name in enumerate(outputs)
        )
        text = f"""g ({declared}) => ({results}) {{ y, nk, nv = com.microsoft.GroupQueryAttention
        <num_heads = 4, kv_num_heads = {self.heads}{self.attributes}>({inputs}) }}"""
        got = apply(expand_contrib, HEADER + text, feed=arrays, level=CLOSE)
        assert got.fired == 1
        assert not any(node.domain for node in got.model.graph)
        return got


ROTARY = ", do_rotary = 1"


@pytest.mark.parametrize(
    "case",
    [
        Case(5, None, (4, 4)),
        Case(5, 0, (4, 2)),
        Case(5, 9, (4,)),
        Case(1, 6, (6, 6)),
        Case(1, 6, (6, 4)),
        Case(1, 12, (6, 4)),
        Case(3, 4, (6,), packed=True),
        Case(3, 4, (6,), heads=1),
        Case(3, 4, (6,), heads=4),
        Case(5, None, (4, 2), ROTARY, more=("c", "s")),
        Case(1, 6, (6, 4), ROTARY, more=("c", "s")),
        Case(1, 6, (6, 4), f"{ROTARY}, rotary_interleaved = 1", more=("c", "s")),
        Case(3, 4, (6,), ROTARY, packed=True, more=("c", "s", "p")),
        Case(3, 4, (6,), ", scale = 0.7"),
        Case(3, 4, (6,), ", softcap = 0.7", more=("bias",)),
        Case(1, 9, (6, 4), more=("row",)),
        Case(3, 4, (6,), ", local_window_size = 2"),
        Case(1, 6, (6, 4), ", local_window_size = 3"),
        Case(1, 6, (6, 4), ", causal = 0"),
        Case(3, 4, (6,), ", smooth_softmax = 1"),
        Case(3, 4, (6,), ", local_window_size = 2", more=("sink",)),
    ],
    ids=str,
)
def test_grouped_queries(case: Case) -> None:
    case.run()


@pytest.mark.parametrize(
    ("attributes", "inputs", "reason"),
    [
        (', k_quant_type = "PER_TENSOR"', "q, k, k, p, p, n, t", "its past and its present are quantised"),
        (", sliding_window_cache = 1", "q, k, k, p, p, n, t", "its past and its present hold a window"),
        ("", "q, k, k, p, p, n, t, , , , , , , , w, w", "its queries and keys are normalised"),
        ("", "q, k, k, p, , n, t", "it has a past of keys or of values alone"),
        ("", "u, k, k, p, p, n, t", "the sizes of its heads are not known"),
        ("", "q, k, k, p, p, n, t, , , , w", "the heads of its bias are not known"),
    ],
)
def test_refuses_grouped_queries(attributes: str, inputs: str, reason: str) -> None:
    text = f"""g (float[1, 1, 64] q, float[1, 1, U] u, float[1, 1, 32] k, float[1, 2, 3, 16] p, int32[1] n, int32 t, float[16] w) => (float[A, B, C] y)
    {{ y = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2{attributes}>({inputs}) }}"""
    assert apply(expand_contrib, HEADER + text, run=False).refused == [reason]


def test_a_decoder_with_a_growing_past_compiles() -> None:
    """As ONNX Runtime's tools write it: what is known comes from a mask of all tokens."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[B, S, 64] q, float[B, S, 32] k, float[B, S, 32] v, float[B, 2, P, 16] pk, float[B, 2, P, 16] pv, int64[B, T] mask, float[20, 8] c, float[20, 8] s)
    => (float[B, S, 64] y, float[B, 2, T, 16] nk, float[B, 2, T, 16] nv) <int64[1] one = {1}, int64 second = {1}> {
      n = ReduceSum<keepdims = 0>(mask, one) m = Sub(n, one) known = Cast<to = 6>(m) whole = Shape(mask) t = Gather(whole, second) total = Cast<to = 6>(t)
      y, nk, nv = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2, do_rotary = 1>(q, k, v, pk, pv, known, total, c, s) }""")
    library = ingot.load(ingot.compile(model))
    tables = {"c": normal(20, 8), "s": normal(20, 8)}
    for batch, length, past in [(1, 4, 0), (1, 1, 4), (2, 1, 7)]:
        feed = tables | {
            "q": normal(batch, length, 64),
            "k": normal(batch, length, 32),
            "v": normal(batch, length, 32),
        }
        feed |= {name: normal(batch, 2, past, 16) for name in ("pk", "pv")}
        feed["mask"] = np.ones((batch, past + length), np.int64)
        for got, expected in zip(library.run(None, feed), reference(model, feed), strict=True):
            assert_close(got, expected, CLOSE, reduction=lengths(model)["reduction"])


@pytest.mark.parametrize("columns", [1, 24])
@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ("x, w, b, sx, sw", ""),
        ("x, w, b, sx, sw, , zx, zw", ", unidirectional = 1"),
        ("x, w, b, sx, sw, n, zx, zw", ", mask_filter_value = -3.0"),
        ("x, w, b, sx, sw, m, zx, zw, past", ", scale = 0.3"),
    ],
)
def test_quantised_attention(inputs: str, attributes: str, columns: int) -> None:
    total = 8 if "past" in inputs else 5
    text = f"""g (uint8[2, 5, 8] x, int8[8, 24] w, float[24] b, float sx, float[{columns}] sw, int32[2] n, int32[2, {total}] m, uint8 zx, int8[{columns}] zw,
    float[2, 2, 2, 3, 4] past) => (float[A, B, C] y, float[D, E, F, G, H] present)
    {{ y, present = com.microsoft.QAttention<num_heads = 2{attributes}>({inputs}) }}"""
    if columns == 1:
        text = text.replace("float[1] sw", "float sw").replace("int8[1] zw", "int8 zw")
    shape = (columns,) if columns > 1 else ()
    constants = {
        "w": RNG.integers(-20, 20, (8, 24)).astype(np.int8),
        "b": normal(24),
        "sx": np.float32(0.01),
        "sw": RNG.uniform(0.01, 0.02, shape).astype(np.float32),
        "zx": np.uint8(120),
        "zw": RNG.integers(-3, 4, shape).astype(np.int8),
    }
    feed = {"x": RNG.integers(0, 255, (2, 5, 8)).astype(np.uint8), "past": normal(2, 2, 2, 3, 4)}
    feed |= {"n": np.array([3, 5], np.int32), "m": RNG.integers(0, 2, (2, total)).astype(np.int32)}
    feed["m"][:, 0] = 1
    got = apply(expand_contrib, HEADER + text, constants, feed=feed, level=CLOSE)
    assert got.fired == 1
    assert "DequantizeLinear" in got.ops


def test_refuses_rotated_quantised_attention() -> None:
    text = """g (uint8[2, 5, 8] x, int8[8, 24] w, float[24] b, float s) => (float[A, B, C] y)
    { y = com.microsoft.QAttention<num_heads = 2, do_rotary = 1>(x, w, b, s, s) }"""
    got = apply(expand_contrib, HEADER + text, run=False)
    assert got.refused == ["it rotates its queries, or its past and its present share memory"]
