"""Which padded convolutions read their input where it lies, and what their parts are."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.ir.program import Dense, Program
from ingot.ir.verify import verify
from ingot.lower import lowering
from ingot.oracle import interpret_model
from ingot.schedule.fuse import fuse
from ingot.schedule.peel import peel_borders
from ingot.testing import assert_close, reference, ulp


def model_of(inputs: str, body: str, weight: tuple[int, ...], outputs: str = "float[] y") -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 17]> first ({inputs}) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    array = np.arange(np.prod(weight), dtype=np.float32).reshape(weight) % 7 - 3
    model.graph.initializer.append(numpy_helper.from_array(array, "w"))
    return model


def peeled(model: onnx.ModelProto) -> tuple[Program, int]:
    graph = load_model(model)
    optimize(graph)
    program = fuse(lowering.lower(graph, "first"))
    count = peel_borders(program)
    verify(program)
    return program, count


@pytest.mark.parametrize(
    ("attributes", "size", "kernel", "parts"),
    [
        ("pads=[1,1,1,1]", (9, 11), (3, 3), 9),
        ("pads=[1,1,1,1],strides=[2,2]", (8, 10), (3, 3), 4),
        ("pads=[1,1,1,1],strides=[2,2]", (9, 10), (3, 3), 6),
        ("pads=[0,0,1,1],strides=[2,2]", (8, 10), (3, 3), 4),
        ("pads=[0,2,0,2]", (8, 10), (1, 5), 5),
        ("pads=[2,2,2,2],dilations=[2,2]", (8, 9), (3, 3), 9),
        ("pads=[1,1,1,1]", (1, 2), (3, 3), 2),
    ],
)
def test_parts(attributes: str, size: tuple[int, int], kernel: tuple[int, int], parts: int) -> None:
    height, width = size
    model = model_of(
        f"float[2,3,{height},{width}] x", f"c = Conv<{attributes}>(x, w)  y = Relu(c)", (17, 3, *kernel)
    )
    program, count = peeled(model)
    assert count == 1
    assert [type(o) for o in program.operations] == [Dense] * parts
    assert all(o.x is program.inputs[0] for o in program.operations if isinstance(o, Dense))
    x = np.random.default_rng(3).integers(-9, 10, (2, 3, height, width)).astype(np.float32)
    for got, wanted in zip(interpret_model(model)({"x": x}), reference(model, {"x": x}), strict=True):
        assert_close(got, wanted, ulp(0))


@pytest.mark.parametrize(
    ("inputs", "body", "weight"),
    [
        ("float[1,5,8,8] x", "y = Conv<pads=[1,1,1,1]>(x, w)", (8, 5, 3, 3)),
        ("float[1,3,9,9] x", "y = Conv<pads=[3,3,3,3]>(x, w)", (8, 3, 7, 7)),
        ("float[1,3,a,b] x", "y = Conv<pads=[1,1,1,1]>(x, w)", (8, 3, 3, 3)),
        ("float[1,3,9,9] x", "r = Relu(x)  y = Conv<pads=[1,1,1,1]>(r, w)", (8, 3, 3, 3)),
        ("float[1,3,4,4] x", "y = Conv<pads=[3,3,3,3]>(x, w)", (8, 3, 2, 2)),
        (
            "float[1,3,9,9] x",
            "a = Conv<pads=[1,1,1,1]>(x, w)  b = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w)  c = Relu(a)  y = Shape(c)  z = Neg(b)",
            (8, 3, 3, 3),
        ),
    ],
)
def test_refusals(inputs: str, body: str, weight: tuple[int, ...]) -> None:
    outputs = "int64[] y, float[] z, float[] c" if " z " in body else "float[] y"
    assert peeled(model_of(inputs, body, weight, outputs))[1] == 0
