"""TFLite: every operator computes what LiteRT computes, in its layouts, types and quantisations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert.interpreter import Interpreter
from tflite_file import Operator, Tensor, model

from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.testing import CLOSE, QUANTIZED, Array, Level, assert_close, reference

SAME, VALID = 0, 1
RELU, RELU6, TANH = 1, 3, 4


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def litert(data: bytes, feeds: Sequence[Array]) -> list[Array]:
    interpreter = Interpreter(model_content=data)
    details = interpreter.get_input_details()
    for detail, feed in zip(details, feeds, strict=True):
        if tuple(detail["shape"]) != feed.shape:
            interpreter.resize_tensor_input(detail["index"], feed.shape)
    interpreter.allocate_tensors()
    for detail, feed in zip(details, feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return [np.array(interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()]


def converted(data: bytes, folder: Path) -> onnx.ModelProto:
    path = folder / "m.tflite"
    path.write_bytes(data)
    proto = ir.to_proto(load_model(path))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def compare(data: bytes, feeds: Sequence[Array], folder: Path, level: Level = CLOSE) -> onnx.ModelProto:
    """ONNX Runtime on what is imported, against LiteRT; the imported model."""
    proto = converted(data, folder)
    assert len(proto.graph.input) == len(feeds)
    found = reference(proto, {port.name: feed for port, feed in zip(proto.graph.input, feeds, strict=True)})
    for got, wanted in zip(found, litert(data, feeds), strict=True):
        assert_close(got, wanted, level, reduction=64, scale=4 if wanted.dtype == np.float32 else 0)
    return proto


def operators(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


@dataclass
class Case:
    """One operator. inputs: shapes or arrays; constants: arrays by place after them; outputs: their shapes and dtypes."""

    kind: str
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    constants: Sequence[Array | None] = ()
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    order: Sequence[int] = ()
    version: int = 1
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind}{self.note}"

    def feeds(self) -> list[Array]:
        return [normal(*x, seed=i) if isinstance(x, tuple) else x for i, x in enumerate(self.inputs)]

    def data(self) -> bytes:
        feeds = self.feeds()
        tensors = [Tensor(f"x{i}", x.shape, str(x.dtype)) for i, x in enumerate(feeds)]
        names = [t.name for t in tensors]
        for i, constant in enumerate(self.constants):
            names.append("" if constant is None else f"c{i}")
            if constant is not None:
                tensors.append(Tensor(f"c{i}", constant.shape, str(constant.dtype), constant))
        made = []
        for i, output in enumerate(self.outputs):
            shape, dtype = output if isinstance(output[-1], str) else (output, "float32")
            made.append(f"y{i}")
            tensors.append(Tensor(f"y{i}", shape, dtype))
        wired = [names[i] for i in self.order] if self.order else names
        op = Operator(self.kind, wired, made, self.table, self.options, version=self.version)
        return model(tensors, [op], [t.name for t in tensors if t.name[0] == "x"], made)


def i32(*values: Any) -> Array:
    return np.array(values, np.int32)


def conv(
    padding: int, stride: int, size: tuple[int, int], dilation: int = 1, act: int = 0, features: int = 5
) -> Case:
    options = {"Padding": padding, "StrideH": stride, "StrideW": stride, "FusedActivationFunction": act}
    options |= {"DilationHFactor": dilation, "DilationWFactor": dilation}
    constants = [normal(features, 3, 3, 4), normal(features)]
    name = f"-{padding}-{stride}-{dilation}-{act}"
    return Case(
        "CONV_2D", [(1, 9, 8, 4)], [(1, *size, features)], constants, "Conv2DOptions", options, note=name
    )


def depthwise(padding: int, stride: int, size: tuple[int, int], multiplier: int) -> Case:
    options = {"Padding": padding, "StrideH": stride, "StrideW": stride, "DepthMultiplier": multiplier}
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    constants = [normal(1, 3, 3, 4 * multiplier), normal(4 * multiplier)]
    return Case(
        "DEPTHWISE_CONV_2D", [(1, 9, 8, 4)], [(1, *size, 4 * multiplier)], constants, "DepthwiseConv2DOptions", options,
        note=f"-{padding}-{stride}-{multiplier}",
    )  # fmt: skip


def pool(kind: str, padding: int, size: tuple[int, int]) -> Case:
    options = {"Padding": padding, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3}
    return Case(kind, [(1, 9, 8, 4)], [(1, *size, 4)], (), "Pool2DOptions", options, note=f"-{padding}")


def unary(kind: str, x: Array | None = None, table: str = "", **options: Any) -> Case:
    array = normal(2, 3, 5) if x is None else x
    return Case(kind, [array], [array.shape], (), table, options)


def binary(kind: str, table: str = "", dtype: str = "float32", **options: Any) -> Case:
    return Case(kind, [(2, 3, 5), (3, 1)], [((2, 3, 5), dtype)], (), table, options)


POSITIVE = np.abs(normal(2, 3, 5)) + np.float32(0.1)
INTS = np.random.default_rng(0).integers(-9, 9, (2, 3, 5)).astype(np.int32)
CONV_SIZES = {(SAME, 1): (9, 8), (SAME, 2): (5, 4), (VALID, 1): (7, 6), (VALID, 2): (4, 3)}
CASES: list[Case] = [
    *(conv(p, s, size) for (p, s), size in CONV_SIZES.items()),
    conv(SAME, 1, (9, 8), dilation=2),
    *(conv(SAME, 1, (9, 8), act=act) for act in (RELU, 2, RELU6)),
    *(depthwise(p, s, size, m) for (p, s), size in CONV_SIZES.items() for m in (1, 2)),
    *(pool(kind, p, CONV_SIZES[p, 2]) for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D") for p in (SAME, VALID)),
    *(
        Case(
            "TRANSPOSE_CONV", [(1, 5, 4, 3)], [(1, *size, 2)], [i32(1, *size, 2), normal(2, 3, 3, 3)], "TransposeConvOptions",
            {"Padding": p, "StrideH": 2, "StrideW": 2}, order=(1, 2, 0), note=f"-{p}",
        )
        for p, size in ((SAME, (10, 8)), (VALID, (11, 9)))
    ),
    Case("FULLY_CONNECTED", [(3, 7)], [(3, 4)], [normal(4, 7), normal(4)], "FullyConnectedOptions", {"FusedActivationFunction": RELU}),
    Case("FULLY_CONNECTED", [(2, 3, 7)], [(2, 3, 4)], [normal(4, 7)], "FullyConnectedOptions", {"KeepNumDims": True}, version=5, note="-keep"),
    Case("FULLY_CONNECTED", [(2, 3, 7), (4, 7)], [(2, 3, 4)], [], "FullyConnectedOptions", {"KeepNumDims": True}, version=5, note="-keep-two"),
    Case("FULLY_CONNECTED", [(2, 3, 7), (4, 7)], [(6, 4)], [], "FullyConnectedOptions", note="-two"),
    Case("FULLY_CONNECTED", [(2, 1, 1, 7)], [(2, 4)], [normal(4, 7), normal(4)], "FullyConnectedOptions", note="-4d"),
    Case("BATCH_MATMUL", [(2, 3, 4), (2, 5, 4)], [(2, 3, 5)], (), "BatchMatMulOptions", {"AdjY": True}),
    Case("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], (), "BatchMatMulOptions", note="-plain"),
    unary("SOFTMAX", table="SoftmaxOptions", Beta=2.0),
    unary("LOG_SOFTMAX", table="LogSoftmaxOptions"),
    unary("L2_NORMALIZATION", normal(1, 3, 4, 5), table="L2NormOptions"),
    unary("LOCAL_RESPONSE_NORMALIZATION", normal(1, 3, 4, 9), table="LocalResponseNormalizationOptions", Radius=2, Bias=1.0, Alpha=0.1, Beta=0.75),
    *(unary(kind) for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "ELU", "FLOOR", "CEIL", "ROUND", "SIN")),
    *(unary(kind) for kind in ("COS", "ABS", "NEG", "EXP", "SQUARE", "HARD_SWISH", "SIGN")),
    *(unary(kind, POSITIVE) for kind in ("SQRT", "RSQRT", "LOG")),
    unary("LEAKY_RELU", table="LeakyReluOptions", Alpha=0.3),
    unary("GELU", table="GeluOptions", Approximate=False),
    unary("GELU", table="GeluOptions", Approximate=True),
    Case("PRELU", [(1, 4, 5, 3)], [(1, 4, 5, 3)], [normal(1, 1, 3)]),
    *(binary(kind, f"{kind.capitalize()}Options") for kind in ("ADD", "SUB", "MUL", "DIV")),
    *(binary(kind, table) for kind, table in (("MAXIMUM", "MaximumMinimumOptions"), ("MINIMUM", "MaximumMinimumOptions"))),
    *(binary(kind) for kind in ("SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD")),
    *(binary(kind, dtype="bool") for kind in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")),
    Case("FLOOR_DIV", [INTS, INTS[:, ::-1] * 2 + 1], [((2, 3, 5), "int32")], note="-int"),
    Case("FLOOR_MOD", [INTS, INTS[:, ::-1] * 2 + 1], [((2, 3, 5), "int32")], note="-int"),
    Case("DIV", [INTS, INTS[:, ::-1] * 2 + 1], [((2, 3, 5), "int32")], (), "DivOptions", note="-int"),
    Case("POW", [POSITIVE, (3, 1)], [(2, 3, 5)]),
    Case("ADD_N", [(2, 3), (2, 3), (2, 3)], [(2, 3)], (), "AddNOptions"),
    Case("SELECT_V2", [INTS > 0, (2, 3, 5), (3, 5)], [(2, 3, 5)]),
    *(Case(kind, [INTS > 0, INTS > 3], [((2, 3, 5), "bool")]) for kind in ("LOGICAL_AND", "LOGICAL_OR")),
    Case("LOGICAL_NOT", [INTS > 0], [((2, 3, 5), "bool")]),
    Case("RESHAPE", [(2, 3, 4)], [(4, 6)], [i32(4, -1)], "ReshapeOptions", {"NewShape": [4, -1]}),
    Case("SQUEEZE", [(2, 1, 4, 1)], [(2, 4)], (), "SqueezeOptions", {"SqueezeDims": [1, 3]}),
    Case("EXPAND_DIMS", [(2, 3)], [(2, 1, 3)], [i32(1)]),
    Case("TRANSPOSE", [(2, 3, 4, 5)], [(3, 2, 5, 4)], [i32(1, 0, 3, 2)]),
    Case("CONCATENATION", [(2, 3), (2, 4)], [(2, 7)], (), "ConcatenationOptions", {"Axis": -1}),
    Case("PACK", [(2, 3), (2, 3)], [(2, 2, 3)], (), "PackOptions", {"Axis": 1, "ValuesCount": 2}),
    Case("UNPACK", [(2, 3)], [(2,), (2,), (2,)], (), "UnpackOptions", {"Axis": 1, "Num": 3}),
    Case("SPLIT", [(2, 6)], [(2, 3), (2, 3)], [i32(1)], "SplitOptions", {"NumSplits": 2}, order=(1, 0)),
    Case("SPLIT_V", [(2, 6)], [(2, 2), (2, 4)], [i32(2, -1), i32(1)], "SplitVOptions", {"NumSplits": 2}),
    Case("SLICE", [(3, 5, 7)], [(2, 5, 3)], [i32(1, 0, 2), i32(2, -1, 3)]),
    Case("STRIDED_SLICE", [(3, 5, 7)], [(3, 3, 4)], [i32(0, 1, -1), i32(0, 4, -8), i32(1, 1, -2)], "StridedSliceOptions", {"BeginMask": 1, "EndMask": 1}),
    Case("STRIDED_SLICE", [(3, 5, 7)], [(5, 1, 7)], [i32(-1, 0, 0, 0), i32(0, 9, 0, 9), i32(1, 1, 1, 1)], "StridedSliceOptions", {"ShrinkAxisMask": 1, "NewAxisMask": 4, "EndMask": 8}, note="-axes"),
    Case("STRIDED_SLICE", [(3, 5, 7)], [(3, 5)], [i32(0, 2), i32(0, 3), i32(1, 1)], "StridedSliceOptions", {"EllipsisMask": 1, "ShrinkAxisMask": 2}, note="-ellipsis"),
    Case("PAD", [(1, 3, 4, 2)], [(1, 5, 5, 4)], [i32((0, 0), (1, 1), (0, 1), (2, 0))], "PadOptions"),
    Case("PADV2", [(3, 4)], [(5, 5)], [i32((1, 1), (0, 1)), np.float32(2.5).reshape(1)], "PadV2Options"),
    Case("MIRROR_PAD", [(3, 4)], [(5, 6)], [i32((1, 1), (0, 2))], "MirrorPadOptions", {"Mode": 0}),
    Case("TILE", [(2, 3)], [(4, 9)], [i32(2, 3)]),
    Case("BROADCAST_TO", [(3, 1)], [(2, 3, 4)], [i32(2, 3, 4)], version=2),
    Case("FILL", [np.array(2.5, np.float32)], [(2, 3)], [i32(2, 3)], order=(1, 0)),
    Case("ZEROS_LIKE", [(2, 3)], [(2, 3)]),
    Case("REVERSE_V2", [(2, 3, 4)], [(2, 3, 4)], [i32(1)]),
    Case("DEPTH_TO_SPACE", [(1, 3, 4, 8)], [(1, 6, 8, 2)], (), "DepthToSpaceOptions", {"BlockSize": 2}),
    Case("SPACE_TO_DEPTH", [(1, 6, 8, 2)], [(1, 3, 4, 8)], (), "SpaceToDepthOptions", {"BlockSize": 2}),
    Case("SPACE_TO_BATCH_ND", [(2, 5, 6, 3)], [(12, 2, 3, 3)], [i32(3, 2), i32((0, 1), (0, 0))]),
    Case("BATCH_TO_SPACE_ND", [(12, 2, 3, 3)], [(2, 5, 5, 3)], [i32(3, 2), i32((1, 0), (0, 1))]),
    *(
        Case(kind, [(1, 4, 5, 3)], [(1, *size, 3)], [i32(*size)], f"{table}Options", {"AlignCorners": corners, "HalfPixelCenters": half}, note=f"-{size}-{corners}{half}")
        for kind, table in (("RESIZE_BILINEAR", "ResizeBilinear"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor"))
        for size, corners, half in (((8, 10), 0, 1), ((8, 10), 0, 0), ((7, 9), 1, 0), ((2, 3), 0, 0))
    ),
    Case("GATHER", [(5, 3)], [(2, 2, 3)], [i32((4, 0), (1, 1))], "GatherOptions", {"Axis": 0}),
    Case("GATHER", [(5, 3)], [(5, 2)], [i32(2, 0)], "GatherOptions", {"Axis": 1}, note="-1"),
    Case("GATHER_ND", [(5, 3)], [(2,)], [i32((4, 0), (1, 2))]),
    Case("ONE_HOT", [i32(1, 0, 4)], [(3, 5)], [i32(5).reshape(()), np.float32(2).reshape(()), np.float32(-1).reshape(())], "OneHotOptions", {"Axis": -1}),
    Case("TOPK_V2", [(2, 7)], [(2, 3), ((2, 3), "int32")], [i32(3).reshape(())]),
    Case("ARG_MAX", [(2, 7)], [((2,), "int64")], [i32(1)], "ArgMaxOptions", {"OutputType": 4}),
    Case("ARG_MIN", [(2, 7)], [((2,), "int32")], [i32(-1)], "ArgMinOptions", {"OutputType": 2}),
    *(Case(kind, [(2, 3, 4)], [(2, 1, 4)], [i32(1)], "ReducerOptions", {"KeepDims": True}) for kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")),
    Case("MEAN", [(2, 3, 4, 5)], [(2, 5)], [i32(1, 2)], "ReducerOptions", {"KeepDims": False}, note="-pool"),
    *(Case(kind, [INTS > 0], [((2, 5), "bool")], [i32(1)], "ReducerOptions", {"KeepDims": False}) for kind in ("REDUCE_ANY", "REDUCE_ALL")),
    Case("CUMSUM", [(2, 5)], [(2, 5)], [i32(1)], "CumsumOptions", {"Exclusive": True, "Reverse": True}),
    Case("CAST", [normal(2, 3) * 9], [((2, 3), "int32")], (), "CastOptions", {"InDataType": 0, "OutDataType": 2}),
    Case("SHAPE", [(2, 3, 4)], [((3,), "int32")], (), "ShapeOptions", {"OutType": 2}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case: Case, tmp_path: Path) -> None:
    compare(case.data(), case.feeds(), tmp_path)


@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "CONV_2D"][:2], ids=str)
def test_nothing_is_transposed_but_the_ends(case: Case, tmp_path: Path) -> None:
    assert operators(compare(case.data(), case.feeds(), tmp_path)) == {"Transpose": 2, "Conv": 1}


# Chains: what lies between convolutions follows their layout


def chain(middle: Sequence[Operator], tensors: Sequence[Tensor], size: int = 6) -> bytes:
    """conv, the operators in the middle from "a" to "b", conv."""
    options = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    channels = tensors[-1].shape[-1]
    ends = [
        Tensor("x", (1, size, size, 3)), Tensor("w", (4, 3, 3, 3), data=normal(4, 3, 3, 3)),
        Tensor("v", (2, 1, 1, channels), data=normal(2, 1, 1, channels)), Tensor("zeros4", (4,), data=normal(4)),
        Tensor("zeros2", (2,), data=normal(2)), Tensor("a", (1, size, size, 4)),
    ]  # fmt: skip
    out = Tensor("y", (*tensors[-1].shape[:3], 2))
    first = Operator("CONV_2D", ["x", "w", "zeros4"], ["a"], "Conv2DOptions", options)
    last = Operator("CONV_2D", ["b", "v", "zeros2"], ["y"], "Conv2DOptions", options)
    return model([*ends, *tensors, out], [first, *middle, last], ["x"], ["y"])


def const(name: str, data: Array) -> Tensor:
    return Tensor(name, data.shape, str(data.dtype), data)


CHAINS: dict[str, tuple[list[Operator], list[Tensor]]] = {
    "add vector": ([Operator("ADD", ["a", "k"], ["b"], "AddOptions")], [const("k", normal(4)), Tensor("b", (1, 6, 6, 4))]),
    "mul scalar": ([Operator("MUL", ["k", "a"], ["b"], "MulOptions")], [const("k", normal(1)), Tensor("b", (1, 6, 6, 4))]),
    "mul rows": ([Operator("MUL", ["a", "k"], ["b"], "MulOptions")], [const("k", normal(6, 1)), Tensor("b", (1, 6, 6, 4))]),
    "softmax": ([Operator("SOFTMAX", ["a"], ["b"], "SoftmaxOptions", {"Beta": 1.0})], [Tensor("b", (1, 6, 6, 4))]),
    "squeeze and excite": (
        [
            Operator("MEAN", ["a", "k"], ["m"], "ReducerOptions", {"KeepDims": True}),
            Operator("LOGISTIC", ["m"], ["s"]),
            Operator("MUL", ["a", "s"], ["b"], "MulOptions"),
        ],
        [const("k", i32(1, 2)), Tensor("m", (1, 1, 1, 4)), Tensor("s", (1, 1, 1, 4)), Tensor("b", (1, 6, 6, 4))],
    ),
    "concat": (
        [Operator("RELU", ["a"], ["r"]), Operator("CONCATENATION", ["a", "r", "k"], ["b"], "ConcatenationOptions", {"Axis": 3})],
        [const("k", normal(1, 6, 6, 2)), Tensor("r", (1, 6, 6, 4)), Tensor("b", (1, 6, 6, 10))],
    ),
    "split": (
        [Operator("SPLIT", ["k", "a"], ["p", "q"], "SplitOptions", {"NumSplits": 2}), Operator("ADD", ["p", "q"], ["b"], "AddOptions")],
        [const("k", i32(3)), Tensor("p", (1, 6, 6, 2)), Tensor("q", (1, 6, 6, 2)), Tensor("b", (1, 6, 6, 2))],
    ),
    "slice": (
        [Operator("SLICE", ["a", "s", "n"], ["b"])],
        [const("s", i32(0, 1, 2, 1)), const("n", i32(1, 4, 3, 2)), Tensor("b", (1, 4, 3, 2))],
    ),
    "strided slice": (
        [Operator("STRIDED_SLICE", ["a", "s", "n", "t"], ["b"], "StridedSliceOptions", {"EndMask": 15})],
        [const("s", i32(0, 1, 0, 0)), const("n", i32(0, 0, 0, 0)), const("t", i32(1, 2, 2, 1)), Tensor("b", (1, 3, 3, 4))],
    ),
    "pad": ([Operator("PAD", ["a", "k"], ["b"], "PadOptions")], [const("k", i32((0, 0), (1, 0), (2, 1), (0, 0))), Tensor("b", (1, 7, 9, 4))]),
    "mirror pad": (
        [Operator("MIRROR_PAD", ["a", "k"], ["b"], "MirrorPadOptions")],
        [const("k", i32((0, 0), (1, 0), (2, 1), (0, 0))), Tensor("b", (1, 7, 9, 4))],
    ),
    "prelu": ([Operator("PRELU", ["a", "k"], ["b"])], [const("k", normal(1, 1, 4)), Tensor("b", (1, 6, 6, 4))]),
    "max over channels": (
        [Operator("REDUCE_MAX", ["a", "k"], ["b"], "ReducerOptions", {"KeepDims": True})],
        [const("k", i32(3)), Tensor("b", (1, 6, 6, 1))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_the_layout_goes_through(name: str, tmp_path: Path) -> None:
    proto = compare(chain(*CHAINS[name]), [normal(1, 6, 6, 3)], tmp_path)
    assert operators(proto)["Transpose"] == 2


def test_padding_and_dilation_become_those_of_the_convolution(tmp_path: Path) -> None:
    options = {"Padding": VALID, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    tensors = [
        Tensor("x", (1, 7, 6, 3)), const("pads", i32((0, 0), (1, 2), (2, 1), (0, 0))), Tensor("p", (1, 10, 9, 3)),
        const("w", normal(4, 3, 3, 3)), const("u", normal(4)), Tensor("a", (1, 8, 7, 4)), const("block", i32(2, 2)),
        const("around", i32((2, 2), (2, 3))), Tensor("s", (4, 6, 6, 4)), const("v", normal(4, 3, 3, 4)), Tensor("c", (4, 4, 4, 4)),
        const("crops", i32((0, 0), (0, 1))), Tensor("y", (1, 8, 7, 4)),
    ]  # fmt: skip
    steps = [
        Operator("PAD", ["x", "pads"], ["p"], "PadOptions"),
        Operator("CONV_2D", ["p", "w", "u"], ["a"], "Conv2DOptions", options),
        Operator("SPACE_TO_BATCH_ND", ["a", "block", "around"], ["s"]),
        Operator(
            "CONV_2D", ["s", "v", "u"], ["c"], "Conv2DOptions", options | {"FusedActivationFunction": RELU}
        ),
        Operator("BATCH_TO_SPACE_ND", ["c", "block", "crops"], ["y"]),
    ]
    proto = compare(model(tensors, steps, ["x"], ["y"]), [normal(1, 7, 6, 3)], tmp_path)
    assert operators(proto) == {"Transpose": 2, "Conv": 2, "Relu": 1}


def test_a_flattened_picture_is_not_transposed(tmp_path: Path) -> None:
    options = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    tensors = [
        Tensor("x", (1, 4, 5, 3), signature=(-1, 4, 5, 3)), const("w", normal(4, 3, 3, 3)), const("u", normal(4)),
        Tensor("a", (1, 4, 5, 4), signature=(-1, 4, 5, 4)), const("shape", i32(-1, 80)),
        Tensor("f", (1, 80), signature=(-1, 80)), const("v", normal(6, 80)), Tensor("y", (1, 6), signature=(-1, 6)),
    ]  # fmt: skip
    steps = [
        Operator("CONV_2D", ["x", "w", "u"], ["a"], "Conv2DOptions", options),
        Operator("RESHAPE", ["a", "shape"], ["f"], "ReshapeOptions", {"NewShape": [-1, 80]}),
        Operator("FULLY_CONNECTED", ["f", "v", ""], ["y"], "FullyConnectedOptions"),
    ]
    data = model(tensors, steps, ["x"], ["y"])
    for batch in (1, 3):
        proto = compare(data, [normal(batch, 4, 5, 3)], tmp_path)
    assert operators(proto) == {"Transpose": 1, "Conv": 1, "Reshape": 1, "Gemm": 1}
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_two_transposes_of_a_converter_cancel(tmp_path: Path) -> None:
    """A model that came from channels first has transposes of its own around its convolutions."""
    tensors = [
        Tensor("x", (1, 3, 6, 6)), const("last", i32(0, 2, 3, 1)), Tensor("a", (1, 6, 6, 3)), Tensor("b", (1, 3, 3, 3)),
        const("first", i32(0, 3, 1, 2)), Tensor("y", (1, 3, 3, 3)),
    ]  # fmt: skip
    options = {"Padding": SAME, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    steps = [
        Operator("TRANSPOSE", ["x", "last"], ["a"], "TransposeOptions"),
        Operator("MAX_POOL_2D", ["a"], ["b"], "Pool2DOptions", options),
        Operator("TRANSPOSE", ["b", "first"], ["y"], "TransposeOptions"),
    ]
    proto = compare(model(tensors, steps, ["x"], ["y"]), [normal(1, 3, 6, 6)], tmp_path)
    assert set(operators(proto)) <= {"MaxPool", "Identity"}


# Quantisation


def integers(dtype: str, *shape: int, seed: int = 0) -> Array:
    limits = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(limits.min, limits.max + 1, shape).astype(dtype)


def quantised_conv(dtype: str, per_channel: bool, act: int = 0) -> bytes:
    zero = 0 if dtype == "int16" else 3 if dtype == "int8" else 130
    options = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "FusedActivationFunction": act}
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    scales = [0.01, 0.02, 0.005, 0.03] if per_channel else [0.02]
    signed = dtype != "uint8"
    weights = integers("int8" if signed else "uint8", 4, 3, 3, 3)
    step = 0.05 if dtype != "int16" else 0.0002
    bias = np.random.default_rng(1).integers(-500, 500, 4).astype("int64" if dtype == "int16" else "int32")
    tensors = [
        Tensor("x", (1, 6, 6, 3), dtype, scale=[step], zero=[zero]),
        Tensor("w", weights.shape, str(weights.dtype), np.maximum(weights, -127) if signed else weights, scales,
               [0 if signed else 120] * len(scales)),
        Tensor("b", (4,), str(bias.dtype), bias, [step * s for s in scales], [0] * len(scales)),
        Tensor("y", (1, 6, 6, 4), dtype, scale=[step * 4], zero=[zero if dtype == "int16" else zero - 5]),
    ]  # fmt: skip
    return model(
        tensors,
        [Operator("CONV_2D", ["x", "w", "b"], ["y"], "Conv2DOptions", options, version=3)],
        ["x"],
        ["y"],
    )


@pytest.mark.parametrize(
    ("dtype", "per_channel", "act"),
    [("int8", False, 0), ("int8", True, 0), ("int8", True, RELU6), ("int8", False, RELU), ("uint8", False, 0), ("uint8", False, RELU6), ("int16", True, 0)],
)  # fmt: skip
def test_quantised_convolution(dtype: str, per_channel: bool, act: int, tmp_path: Path) -> None:
    data = quantised_conv(dtype, per_channel, act)
    proto = compare(data, [integers(dtype, 1, 6, 6, 3)], tmp_path, QUANTIZED)
    counts = operators(proto)
    assert counts["QuantizeLinear"] == 1
    assert counts["DequantizeLinear"] == (2 if dtype == "int16" else 3)


def quantised(
    kind: str,
    inputs: Sequence[Tensor],
    output: Tensor,
    table: str = "",
    options: Mapping[str, Any] | None = None,
    version: int = 2,
) -> bytes:
    op = Operator(kind, [t.name for t in inputs], [output.name], table, options or {}, version=version)
    return model([*inputs, output], [op], [t.name for t in inputs if t.data is None], [output.name])  # fmt: skip


def q8(
    name: str, shape: Sequence[int], scale: float = 0.05, zero: int = 3, data: Array | None = None
) -> Tensor:
    return Tensor(name, shape, "int8", data, [scale], [zero])


QUANTISED: dict[str, bytes] = {
    "ADD": quantised("ADD", [q8("x", (2, 3, 5)), q8("k", (5,), 0.03, 0, integers("int8", 5))], q8("y", (2, 3, 5), 0.08, -7), "AddOptions"),
    "MUL": quantised("MUL", [q8("x", (2, 3, 5)), q8("k", (5,), 0.03, 0, integers("int8", 5))], q8("y", (2, 3, 5), 0.08, -7), "MulOptions"),
    "SOFTMAX": quantised("SOFTMAX", [q8("x", (2, 9))], q8("y", (2, 9), 1 / 256, -128), "SoftmaxOptions", {"Beta": 1.0}),
    "LOGISTIC": quantised("LOGISTIC", [q8("x", (2, 9))], q8("y", (2, 9), 1 / 256, -128)),
    "TANH": quantised("TANH", [q8("x", (2, 9))], q8("y", (2, 9), 1 / 128, 0)),
    "HARD_SWISH": quantised("HARD_SWISH", [q8("x", (2, 9))], q8("y", (2, 9), 0.04, -90), version=1),
    "LEAKY_RELU": quantised("LEAKY_RELU", [q8("x", (2, 9))], q8("y", (2, 9), 0.04, -10), "LeakyReluOptions", {"Alpha": 0.2}),
    "RELU": quantised("RELU", [q8("x", (2, 9))], q8("y", (2, 9))),
    "RELU6": quantised("RELU6", [q8("x", (2, 9))], q8("y", (2, 9))),
    "MAX_POOL_2D": quantised("MAX_POOL_2D", [q8("x", (1, 6, 6, 3))], q8("y", (1, 3, 3, 3)), "Pool2DOptions", {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}),
    "AVERAGE_POOL_2D": quantised("AVERAGE_POOL_2D", [q8("x", (1, 6, 6, 3))], q8("y", (1, 3, 3, 3)), "Pool2DOptions", {"StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3}),
    "MEAN": quantised("MEAN", [q8("x", (1, 6, 6, 3)), const("k", i32(1, 2))], q8("y", (1, 3), 0.03, 2), "ReducerOptions"),
    "FULLY_CONNECTED": quantised("FULLY_CONNECTED", [q8("x", (2, 9)), q8("w", (4, 9), 0.02, 0, np.maximum(integers("int8", 4, 9), -127))], q8("y", (2, 4), 0.2, -4), "FullyConnectedOptions", version=4),
    "CONCATENATION": quantised("CONCATENATION", [q8("x", (2, 3)), q8("k", (2, 2), data=integers("int8", 2, 2))], q8("y", (2, 5)), "ConcatenationOptions", {"Axis": 1}),
    "PAD": quantised("PAD", [q8("x", (1, 3, 3, 2)), const("k", i32((0, 0), (1, 1), (1, 1), (0, 0)))], q8("y", (1, 5, 5, 2)), "PadOptions"),
    "RESIZE_BILINEAR": quantised("RESIZE_BILINEAR", [q8("x", (1, 3, 3, 2)), const("k", i32(6, 6))], q8("y", (1, 6, 6, 2)), "ResizeBilinearOptions", {"HalfPixelCenters": 1}),
    "QUANTIZE": quantised("QUANTIZE", [q8("x", (2, 9))], q8("y", (2, 9), 0.02, -20), "QuantizeOptions"),
    "DEQUANTIZE": quantised("DEQUANTIZE", [q8("x", (2, 9))], Tensor("y", (2, 9)), "DequantizeOptions"),
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_operator(name: str, tmp_path: Path) -> None:
    shape = next(iter(Interpreter(model_content=QUANTISED[name]).get_input_details()))["shape"]
    compare(QUANTISED[name], [integers("int8", *shape)], tmp_path, QUANTIZED)


def test_weights_in_half_floats(tmp_path: Path) -> None:
    weights = normal(4, 7).astype(np.float16)
    tensors = [Tensor("x", (2, 7)), const("h", weights), Tensor("w", (4, 7)), Tensor("y", (2, 4))]
    steps = [
        Operator("DEQUANTIZE", ["h"], ["w"]),
        Operator("FULLY_CONNECTED", ["x", "w", ""], ["y"], "FullyConnectedOptions"),
    ]
    proto = compare(model(tensors, steps, ["x"], ["y"]), [normal(2, 7)], tmp_path)
    assert operators(proto) == {"Gemm": 1}


# Layers of their own


@pytest.mark.parametrize("time_major", [True, False])
def test_lstm(time_major: bool, tmp_path: Path) -> None:
    inner, hidden, batch, steps = 3, 4, 2, 5
    names = [f"w{i}" for i in range(8)]
    shape = (steps, batch) if time_major else (batch, steps)
    tensors = [Tensor("x", (*shape, inner))]
    tensors += [const(n, normal(hidden, inner if i < 4 else hidden, seed=i)) for i, n in enumerate(names)]
    tensors += [const(f"b{i}", normal(hidden, seed=20 + i)) for i in range(4)]
    tensors += [Tensor(n, (batch, hidden), variable=True) for n in ("h", "c")] + [
        Tensor("y", (*shape, hidden))
    ]
    inputs = ["x", *names, "", "", "", *(f"b{i}" for i in range(4)), "", "", "h", "c", "", "", "", ""]
    options = {"FusedActivationFunction": TANH, "TimeMajor": time_major}
    op = Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, ["y"], "UnidirectionalSequenceLSTMOptions", options)
    compare(model(tensors, [op], ["x"], ["y"]), [normal(*shape, inner)], tmp_path)


@pytest.mark.parametrize("regular", [True, False])
def test_detection(regular: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    n, classes, most = 30, 3, 8
    anchors = np.concatenate([rng.uniform(0.2, 0.8, (n, 2)), rng.uniform(0.2, 0.4, (n, 2))], 1).astype(
        np.float32
    )
    options = {
        "max_detections": most, "max_classes_per_detection": 1, "detections_per_class": 5, "num_classes": classes,
        "nms_score_threshold": 0.3, "nms_iou_threshold": 0.4, "use_regular_nms": regular, "y_scale": 10.0, "x_scale": 10.0,
        "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    tensors = [Tensor("x", (1, n, 4)), Tensor("s", (1, n, classes + 1)), const("k", anchors)]
    tensors += [
        Tensor("boxes", (1, most, 4)),
        Tensor("classes", (1, most)),
        Tensor("scores", (1, most)),
        Tensor("count", (1,)),
    ]
    op = Operator(
        "TFLite_Detection_PostProcess",
        ["x", "s", "k"],
        ["boxes", "classes", "scores", "count"],
        custom=options,
    )
    data = model(tensors, [op], ["x", "s"], ["boxes", "classes", "scores", "count"])
    feeds = [
        rng.standard_normal((1, n, 4)).astype(np.float32),
        rng.uniform(0, 1, (1, n, classes + 1)).astype(np.float32),
    ]
    proto = converted(data, tmp_path)
    found = reference(proto, {"x": feeds[0], "s": feeds[1]})
    expected = litert(data, feeds)
    count = int(expected[3][0])
    assert 2 < count <= most
    assert_close(found[3], expected[3], CLOSE)
    for got, wanted in zip(found[:3], expected[:3], strict=True):
        assert_close(got[:, :count], wanted[:, :count], CLOSE, reduction=8, scale=1)


# Refusals


def test_all_unknown_operators_are_named(tmp_path: Path) -> None:
    tensors = [Tensor("x", (2, 2)), Tensor("a", (2, 2)), Tensor("y", (2, 2))]
    data = model(
        tensors, [Operator("HASHTABLE_FIND", ["x"], ["a"]), Operator("MyOwn", ["a"], ["y"])], ["x"], ["y"]
    )
    with pytest.raises(IngotError) as caught:
        converted(data, tmp_path)
    assert caught.value.code == "unsupported"
    assert "HASHTABLE_FIND" in caught.value.cause
    assert "MyOwn" in caught.value.cause


def test_a_tensor_is_written_once_and_before_it_is_read(tmp_path: Path) -> None:
    tensors = [Tensor("x", (2, 2)), Tensor("a", (2, 2)), Tensor("y", (2, 2))]
    for steps in (
        [Operator("RELU", ["a"], ["y"]), Operator("RELU", ["y"], ["a"])],
        [Operator("RELU", ["x"], ["y"]), Operator("ABS", ["x"], ["y"])],
    ):
        with pytest.raises(IngotError) as caught:
            converted(model(tensors, steps, ["x"], ["y"]), tmp_path)
        assert caught.value.code == "model-invalid"
