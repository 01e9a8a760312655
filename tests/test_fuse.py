"""What fusion makes of detection heads: which operations are left, and where they write."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.ir.program import Dense, Fill, Map, Program
from ingot.ir.verify import verify
from ingot.lower import lowering
from ingot.schedule.fuse import fuse

SHAPES = {"w": (4, 5, 1, 1), "v": (17, 5, 1, 1), "k": (4, 5, 3, 3)}


def fused(inputs: str, body: str, outputs: str = "float[] y", **constants: tuple[int, ...]) -> Program:
    text = f'<ir_version: 8, opset_import: ["" : 17]> heads ({inputs}) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    arrays = {name: np.full(shape, ord(name), np.float32) for name, shape in SHAPES.items()}
    arrays |= {name: np.array(value, np.int64) for name, value in constants.items()}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items() if n in body)
    graph = load_model(model)
    optimize(graph)
    program = fuse(lowering.lower(graph, "heads"))
    verify(program)
    return program


def kinds(program: Program) -> list[str]:
    return [type(o).__name__ for o in program.operations]


JOINED = "a = Conv(x, w)  b = Conv(x, v)  s = Sigmoid(b)  c = Concat<axis=1>(a, s)  "


def test_heads_write_their_part_of_the_output() -> None:
    program = fused(
        "float[1,5,4,7] x",
        JOINED + "f = Reshape(c, shape)  y = Transpose<perm=[0,2,1]>(f)",
        shape=(1, 21, 28),
    )
    assert kinds(program) == ["Dense", "Dense"]
    for operation, start in zip(program.operations, (0, 4), strict=True):
        root, origin = operation.output.root()
        assert root is program.outputs[0]
        assert [o.value for o in origin] == [0, 0, start]
        assert isinstance(operation, Dense)
        assert operation.feature == 2


def test_scales_write_their_part_of_the_output() -> None:
    program = fused(
        "float[n,5,4,7] x, float[n,5,2,2] z",
        "a = Conv(x, w)  p = Reshape(a, s)  b = Conv(z, w)  q = Reshape(b, s)  c = Concat<axis=2>(p, q)  y = Transpose<perm=[0,2,1]>(c)",
        s=(0, 4, -1),
    )
    assert kinds(program) == ["Dense", "Dense"]
    assert [o.output.root()[1][1].value for o in program.operations] == [0, 28]


def test_a_whole_that_others_read_stays() -> None:
    program = fused(
        "float[1,5,4,7] x", JOINED + "y = Transpose<perm=[0,2,3,1]>(c)  z = Neg(c)", "float[] y, float[] z"
    )
    assert kinds(program) == ["Dense", "Dense", "Map", "Map"]
    assert program.operations[0].output.root()[0] is program.operations[1].output.root()[0]


def test_parts_that_mix_stay() -> None:
    program = fused(
        "float[1,5,4,7] x",
        "a = Conv(x, w)  b = Conv<pads=[1,1,1,1]>(x, k)  d = Relu(b)  c = Concat<axis=1>(a, d)  r = Reshape(c, s)  "
        "t = Transpose<perm=[0,2,1,3]>(r)  y = Neg(t)",
        s=(1, 2, 4, 28),
    )
    assert kinds(program).count("Dense") == 2
    assert any(isinstance(o, Map) for o in program.operations)


@pytest.mark.parametrize("perm", ["[0,3,2,1]", "[0,2,1,3]"])
def test_other_orders_of_positions_are_left_to_a_map(perm: str) -> None:
    program = fused("float[1,5,4,7] x", f"a = Conv(x, w)  t = Transpose<perm={perm}>(a)  y = Relu(t)")
    assert kinds(program) == ["Dense", "Map"]


def test_a_padded_convolution_keeps_its_rows() -> None:
    body = "a = Conv<pads=[1,1,1,1]>(x, k)  t = Transpose<perm=[0,2,3,1]>(a)  "
    joined = fused("float[1,5,4,7] x", body + "y = Reshape(t, s)", s=(1, 28, 4))
    assert [type(o) for o in joined.operations[-2:]] == [Dense, Map]
    apart = fused("float[1,5,4,7] x", body + "y = Neg(t)")
    assert isinstance(apart.operations[-1], Dense)
    assert any(isinstance(o, Fill) for o in apart.operations)


QKV = "float[b,4,n,8] q, float[b,2,m,8] k, float[b,2,m,8] v"


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        (QKV, "y = Attention(q, k, v)"),
        (QKV, "y = Attention<is_causal=1, softcap=30.0>(q, k, v)"),
        (QKV.replace("[b", "[1"), "y = Attention<is_causal=1>(q, k, v)"),
        (
            QKV.replace("[b", "[1"),
            "y = ai.onnx.preview.FlexAttention<score_mod = s (float[B,H,L,S] c) => (float[B,H,L,S] d) { d = Tanh(c) }>(q, k, v)",
        ),
    ],
)
def test_attention_is_one_operation(inputs: str, body: str) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 24, "ai.onnx.preview" : 1]> g ({inputs}) => (float[] y) {{ {body} }}'
    program = fuse(lowering.lower(load_model(onnx.parser.parse_model(text)), "g"))
    verify(program)
    assert kinds(program) == ["Attention"]
