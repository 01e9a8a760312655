"""Cases of `ingot.lower.movement`: the results have the same bits as the elements that were moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import EXACT

BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})


def exact(name: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any) -> Case:
    return case(name, inputs, body, outputs, level=EXACT, **how)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


FORWARD = [
    exact("identity", "float[3,5] x", "y = Identity(x)"),
    exact("identity_of_computed", "float[3,5] x", "a = Relu(x)  y = Identity(a)"),
    exact(
        "constant_as_output",
        "float[2] x",
        "y = Relu(x)  c = Constant<value = float[3] {1.0, 2.0, 3.0}>()",
        "float[] y, float[] c",
    ),
    exact("identity_scalar_int", "int64 x", "y = Identity(x)", "int64[] y"),
]

RESHAPE = [
    *(
        exact(f"reshape_{label}", f"float[{shape}] x", "y = Reshape(x, s)", constants={"s": ints(*to)})
        for label, shape, to in (
            ("flat", "2,3,4", (-1,)),
            ("split", "24", (2, 3, 4)),
            ("keep_zero", "2,3,4", (0, -1)),
            ("regroup", "6,4", (8, 3)),
            ("ones", "2,3", (1, 2, 1, 3, 1)),
            ("heads", "2,5,12", (2, 5, 3, 4)),
            ("join_inner", "2,5,3,4", (2, 5, 12)),
            ("coprime", "7,9", (9, 7)),
            ("to_vector_of_one", "1,1", (1,)),
            ("to_scalar", "1", ()),
            ("wide", "17,33", (33, 17)),
        )
    ),
    exact("reshape_allowzero", "float[0,3] x", "y = Reshape<allowzero=1>(x, s)", constants={"s": ints(3, 0)}),
    exact("reshape_batch", "float[n,3,4] x", "y = Reshape(x, s)", constants={"s": ints(0, -1)}, sizes=BATCHES),
    exact("reshape_hole_is_batch", "float[n,3,4] x", "y = Reshape(x, s)", constants={"s": ints(-1, 12)}, sizes=BATCHES),
    exact("reshape_batch_joined", "float[n,3,4] x", "y = Reshape(x, s)", constants={"s": ints(-1, 4)}, sizes=BATCHES),
    exact("reshape_batch_and_length", "float[n,m,12] x", "y = Reshape(x, s)", constants={"s": ints(0, 0, 3, 4)},
          sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7}, {"n": 5, "m": 16})),
    exact("reshape_from_shape", "float[n,m,12] x",
          "s = Shape(x)  a = Gather(s, zero)  b = Gather(s, one)  m = Mul(a, b)  u = Unsqueeze(m, axes)  t = Concat<axis=0>(u, last)  "
          "y = Reshape(x, t)",
          constants={"zero": np.int64(0), "one": np.int64(1), "axes": ints(0), "last": ints(12)},
          sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7})),
    exact("reshape_int64", "int64[2,6] x", "y = Reshape(x, s)", "int64[] y", constants={"s": ints(3, 4)}),
    exact("reshape_then_channels", "float[1,34,3,3] x", "a = Relu(x)  y = Reshape(a, s)", constants={"s": ints(1, 2, 17, 9)}),
    *(
        exact(f"flatten_{label}", f"float[{shape}] x", f"y = Flatten<axis={axis}>(x)")
        for label, shape, axis in (("zero", "2,3,4", 0), ("one", "2,3,4", 1), ("two", "2,3,4", 2), ("end", "2,3,4", 3),
                                   ("negative", "2,3,4", -1), ("vector", "5", 0))
    ),
    exact("flatten_default", "float[2,3,4] x", "y = Flatten(x)"),
    exact("flatten_batch", "float[n,3,4] x", "y = Flatten(x)", sizes=BATCHES),
    exact("flatten_after_pool", "float[2,17,3,3] x", "p = GlobalMaxPool(x)  y = Flatten(p)"),
]  # fmt: skip

SQUEEZE = [
    exact("squeeze_all", "float[1,3,1,2] x", "y = Squeeze(x)"),
    exact("squeeze_one", "float[1,3,1,2] x", "y = Squeeze(x, a)", constants={"a": ints(2)}),
    exact("squeeze_negative", "float[1,3,1,2] x", "y = Squeeze(x, a)", constants={"a": ints(-2, 0)}),
    exact("squeeze_opset11", "float[1,3,1,2] x", "y = Squeeze<axes=[0,2]>(x)", opset=11),
    exact("squeeze_to_scalar", "float[1] x", "y = Squeeze(x)"),
    exact(
        "squeeze_batch_kept", "float[n,1,3] x", "y = Squeeze(x, a)", constants={"a": ints(1)}, sizes=BATCHES
    ),
    exact("unsqueeze_one", "float[3,2] x", "y = Unsqueeze(x, a)", constants={"a": ints(1)}),
    exact("unsqueeze_many", "float[3,2] x", "y = Unsqueeze(x, a)", constants={"a": ints(0, -1, 2)}),
    exact("unsqueeze_scalar", "float x", "y = Unsqueeze(x, a)", constants={"a": ints(0)}),
    exact("unsqueeze_opset11", "float[3,2] x", "y = Unsqueeze<axes=[0,3]>(x)", opset=11),
]

TRANSPOSE = [
    exact(f"transpose_{'_'.join(map(str, perm))}_{'x'.join(map(str, shape))}", f"float{list(shape)} x",
          f"y = Transpose<perm={list(perm)}>(x)")
    for shape, perm in (
        ((3, 5), (1, 0)), ((17, 33), (1, 0)), ((1, 7), (1, 0)), ((2, 3, 5), (0, 2, 1)), ((2, 3, 5), (2, 0, 1)),
        ((2, 3, 4, 5), (0, 2, 3, 1)), ((2, 17, 3, 3), (0, 2, 3, 1)), ((2, 3, 3, 17), (0, 3, 1, 2)), ((2, 5, 3, 8), (0, 2, 1, 3)),
        ((1, 4, 1, 5), (2, 1, 0, 3)), ((2, 2, 3, 2, 5), (4, 2, 0, 3, 1)), ((7,), (0,)), ((2, 0, 3), (1, 0, 2)),
    )
] + [
    exact("transpose_default", "float[2,3,5] x", "y = Transpose(x)"),
    exact("transpose_batch", "float[n,3,9] x", "y = Transpose<perm=[0,2,1]>(x)", sizes=BATCHES),
    exact("transpose_batch_moved", "float[n,3,9] x", "y = Transpose<perm=[1,0,2]>(x)", sizes=BATCHES),
    exact("transpose_twice", "float[2,3,9] x", "a = Transpose<perm=[1,0,2]>(x)  b = Relu(a)  y = Transpose<perm=[2,1,0]>(b)"),
    exact("transpose_int8", "int8[17,9] x", "y = Transpose(x)", "int8[] y"),
    exact("transpose_bool", "bool[17,9] x", "y = Transpose(x)", "bool[] y"),
]  # fmt: skip


def concat(name: str, shapes: Sequence[str], axis: int, **how: Any) -> Case:
    inputs = ", ".join(f"float[{s}] x{i}" for i, s in enumerate(shapes))
    parts = ", ".join(f"x{i}" for i in range(len(shapes)))
    return exact(f"concat_{name}", inputs, f"y = Concat<axis={axis}>({parts})", **how)


CONCAT = [
    concat("rows", ("2,5", "3,5"), 0),
    concat("columns", ("2,5", "2,3", "2,1"), 1),
    concat("negative", ("2,5", "2,3"), -1),
    concat("one", ("2,5",), 0),
    concat("with_empty", ("2,0", "2,3"), 1),
    concat("all_empty", ("2,0", "2,0"), 1),
    concat("channels", ("2,17,3,3", "2,16,3,3", "2,1,3,3"), 1),
    concat("vectors", ("7", "9", "1"), 0),
    concat("batch", ("n,3,4", "n,5,4"), 1, sizes=BATCHES),
    concat("on_batch", ("n,3", "2,3"), 0, sizes=BATCHES),
    exact("concat_two_lengths", "float[n,3] a, float[m,3] b", "y = Concat<axis=0>(a, b)",
          sizes=({"n": 1, "m": 4}, {"n": 3, "m": 1})),
    exact("concat_of_same", "float[2,9] x", "a = Relu(x)  y = Concat<axis=1>(a, a, x)"),
    exact("concat_in_two", "float[2,9] x, float[2,3] z", "a = Relu(x)  y = Concat<axis=1>(a, z)  w = Concat<axis=1>(z, a)",
          "float[] y, float[] w"),
    exact("concat_nested", "float[2,3] a, float[2,4] b", "r = Relu(a)  c = Concat<axis=1>(r, b)  d = Concat<axis=1>(c, r)  y = Neg(d)"),
    exact("concat_with_constant", "float[2,3] x", "y = Concat<axis=0>(c, x)", constants={"c": weights("c", 1, 3)}),
    exact("concat_used_twice", "float[2,3] a, float[2,3] b",
          "r = Relu(a)  c = Concat<axis=0>(r, b)  y = Neg(c)  z = Abs(c)", "float[] y, float[] z"),
    exact("concat_is_output_too", "float[2,3] a, float[2,3] b", "r = Relu(a)  y = Concat<axis=0>(r, b)  z = Neg(y)", "float[] y, float[] z"),
    exact("concat_int64", "int64[3] a, int64[2] b", "y = Concat<axis=0>(a, b)", "int64[] y"),
]  # fmt: skip

EXPAND = [
    *(
        exact(f"expand_{label}", f"float[{shape}] x", "y = Expand(x, s)", constants={"s": ints(*to)})
        for label, shape, to in (
            ("rows", "1,5", (3, 5)),
            ("columns", "3,1", (3, 17)),
            ("new_axes", "3", (2, 4, 3)),
            ("smaller_target", "3,4", (1, 4)),
            ("ones", "2,3", (1,)),
            ("from_one", "1", (2, 17)),
            ("channels", "1,17,1,1", (2, 17, 3, 3)),
            ("to_nothing", "1,3", (0, 3)),
        )
    ),
    exact("expand_scalar", "float x", "y = Expand(x, s)", constants={"s": ints(2, 9)}),
    exact("expand_int64", "int64[1,3] x", "y = Expand(x, s)", "int64[] y", constants={"s": ints(4, 3)}),
    exact(
        "expand_to_shape_of", "float[1,3] x, float[n,3] z", "s = Shape(z)  y = Expand(x, s)", sizes=BATCHES
    ),
    *(
        exact(f"tile_{label}", f"float[{shape}] x", "y = Tile(x, r)", constants={"r": ints(*repeats)})
        for label, shape, repeats in (
            ("rows", "3,5", (2, 1)),
            ("columns", "3,5", (1, 3)),
            ("both", "3,17", (2, 2)),
            ("none", "3,5", (1, 1)),
            ("vector", "4", (5,)),
            ("zero", "3,5", (0, 2)),
        )
    ),
    exact("tile_batch", "float[n,3] x", "y = Tile(x, r)", constants={"r": ints(2, 3)}, sizes=BATCHES),
]


GATHER = [
    exact("gather_rows", "float[7,5] x", "y = Gather(x, i)", constants={"i": ints(3, 0, -1, 6, 3)}),
    exact("gather_columns", "float[7,17] x", "y = Gather<axis=1>(x, i)", constants={"i": ints(16, 0, 5)}),
    exact("gather_negative_axis", "float[2,7,5] x", "y = Gather<axis=-2>(x, i)", constants={"i": ints(1, 2)}),
    exact("gather_scalar", "float[7,5] x", "y = Gather(x, i)", constants={"i": np.int64(4)}),
    exact("gather_scalar_negative", "float[7,5] x", "y = Gather<axis=1>(x, i)", constants={"i": np.int64(-2)}),
    exact("gather_matrix_of_indices", "float[7,5] x", "y = Gather(x, i)", constants={"i": np.array([[0, 6], [2, 2]])}),
    exact("gather_embedding", "int64[2,9] i", "y = Gather(w, i)", constants={"w": weights("w", 11, 17)},
          feed={"i": np.arange(18).reshape(2, 9) % 11}),
    exact("gather_embedding_int32", "int32[n,4] i", "y = Gather(w, i)", constants={"w": weights("w", 10, 5)}, sizes=BATCHES),
    exact("gather_computed", "float[7,5] x, int64[3] i", "y = Gather(x, i)", feed={"i": ints(-7, 2, 6)}),
    exact("gather_computed_inner", "float[2,17] x, int64[3] i", "y = Gather<axis=1>(x, i)", feed={"i": ints(-1, 16, 3)}),
    exact("gather_empty", "float[7,5] x", "y = Gather(x, i)", constants={"i": np.zeros(0, np.int64)}),
    exact("gather_then_add", "int64[2,3] i, float[2,3,8] x", "e = Gather(w, i)  y = Add(e, x)", constants={"w": weights("w", 10, 8)}),
    exact("gather_int64_table", "int64[4] i", "y = Gather(w, i)", "int64[] y", constants={"w": np.arange(20)}),
    exact("gather_after_argmax", "float[3,9] x", "a = ArgMax<axis=1,keepdims=0>(x)  y = Gather(w, a)", constants={"w": weights("w", 9, 5)}),
    exact("gatherelements_rows", "float[4,5] x", "y = GatherElements(x, i)", constants={"i": np.array([[0, 1, 2, 3, -1], [3, 3, 0, 0, 1]])}),
    exact("gatherelements_columns", "float[2,5] x", "y = GatherElements<axis=1>(x, i)", constants={"i": np.array([[4, 0], [-5, 2]])}),
    exact("gatherelements_computed", "float[2,17] x, int64[2,3] i", "y = GatherElements<axis=-1>(x, i)",
          feed={"i": np.array([[4, 0, 16], [-5, 2, 1]])}, oracle="onnxruntime"),
    exact("gathernd_points", "float[3,4,5] x", "y = GatherND(x, i)", constants={"i": np.array([[0, 1, 2], [2, -1, 4]])}),
    exact("gathernd_rows", "float[3,4,5] x", "y = GatherND(x, i)", constants={"i": np.array([[0, 1], [2, -1], [1, 0]])}),
    exact("gathernd_batch", "float[2,4,5] x", "y = GatherND<batch_dims=1>(x, i)", constants={"i": np.array([[[1], [3]], [[0], [2]]])}),
    exact("gathernd_batch_points", "float[2,4,5] x", "y = GatherND<batch_dims=1>(x, i)", constants={"i": np.array([[1, 2], [3, 4]])}),
    exact("gathernd_computed", "float[3,4] x, int64[2,1] i", "y = GatherND(x, i)", feed={"i": np.array([[2], [-3]])}),
]  # fmt: skip

BLOCKS = [
    *(
        exact(f"depthtospace_{mode.lower()}_{b}_{c}", f"float[2,{c},3,5] x", f'y = DepthToSpace<blocksize={b},mode="{mode}">(x)')
        for mode in ("DCR", "CRD")
        for b, c in ((2, 8), (2, 68), (3, 9))
    ),
    exact("depthtospace_default", "float[1,8,2,3] x", "y = DepthToSpace<blocksize=2>(x)"),
    exact("spacetodepth_2", "float[2,3,4,6] x", "y = SpaceToDepth<blocksize=2>(x)", oracle="onnxruntime"),
    exact("spacetodepth_3", "float[1,17,3,6] x", "y = SpaceToDepth<blocksize=3>(x)", oracle="onnxruntime"),
    exact("spacetodepth_crd", "float[1,3,4,6] x", 'a = SpaceToDepth<blocksize=2,mode="CRD">(x)  y = DepthToSpace<blocksize=2,mode="CRD">(a)',
          opset=28),
    exact("spacetodepth_back", "float[1,4,4,4] x", "a = SpaceToDepth<blocksize=2>(x)  b = Relu(a)  y = DepthToSpace<blocksize=2>(b)",
          oracle="onnxruntime"),
]  # fmt: skip

TRIANGLE = [
    *(
        exact(f"trilu_{'upper' if upper else 'lower'}_{name}", f"float[{shape}] x", f"y = Trilu<upper={upper}>(x, k)",
              constants={"k": np.int64(k)})
        for upper in (0, 1)
        for name, shape, k in (("square", "5,5", 0), ("above", "5,5", 1), ("below", "5,5", -2), ("wide", "2,3,17", 3), ("tall", "9,2", -1),
                               ("far", "4,4", 9))
    ),
    exact("trilu_default", "float[5,5] x", "y = Trilu(x)"),
    exact("trilu_int64", "int64[5,5] x", "y = Trilu<upper=0>(x)", "int64[] y"),
    exact("trilu_bool", "bool[5,5] x", "y = Trilu(x)", "bool[] y"),
    exact("trilu_symbolic", "float[n,n] x", "y = Trilu<upper=0>(x)", sizes=BATCHES),
]  # fmt: skip

MADE = [
    exact("onehot_last", "int64[4] i", "y = OneHot(i, d, v)", constants={"d": np.int64(5), "v": np.array([0, 1], np.float32)},
          feed={"i": ints(0, 4, -1, 2)}),
    exact("onehot_axis", "int64[2,3] i", "y = OneHot<axis=1>(i, d, v)", constants={"d": ints(4), "v": np.array([-1, 2], np.float32)},
          feed={"i": np.array([[0, 1, 3], [2, -4, 9]])}, oracle="onnxruntime"),
    exact("onehot_int", "int32[5] i", "y = OneHot<axis=0>(i, d, v)", "int64[] y", constants={"d": np.int64(3), "v": ints(7, 8)},
          feed={"i": np.array([0, 1, 2, 3, -1], np.int32)}),
    exact("shape", "float[n,3,4] x", "y = Shape(x)", "int64[] y", sizes=BATCHES),
    exact("shape_part", "float[n,3,4] x", "y = Shape<start=1,end=-1>(x)", "int64[] y", sizes=BATCHES),
    exact("shape_scalar", "float x", "y = Shape(x)", "int64[] y"),
    exact("size", "float[n,3,4] x", "y = Size(x)", "int64[] y", sizes=BATCHES),
    exact("size_constant", "float[3,4] x", "y = Size(x)", "int64[] y"),
    exact("shape_arithmetic", "float[n,6] x",
          "s = Shape(x)  a = Gather(s, one)  b = Div(a, two)  c = Sub(b, one)  d = Unsqueeze(c, zero)  y = Slice(x, zero, d, one1)",
          constants={"one": np.int64(1), "two": np.int64(2), "zero": ints(0), "one1": ints(1)}, sizes=BATCHES),
    exact("shape_as_float", "float[n,6] x", "s = Shape(x)  f = Cast<to=1>(s)  y = Mul(f, h)", constants={"h": np.float32(0.5)}, sizes=BATCHES),
    exact("constantofshape_default", "float[3] x", "c = ConstantOfShape(s)  y = Add(c, x)", constants={"s": ints(2, 3)}),
    exact("constantofshape_value", "float[n,3] x",
          "s = Shape(x)  y = ConstantOfShape<value=int64[1] {7}>(s)", "int64[] y", sizes=BATCHES),
    exact("constantofshape_bool", "float[n,3] x",
          "s = Shape(x)  y = ConstantOfShape<value=bool[1] {1}>(s)", "bool[] y", sizes=BATCHES),
    exact("constantofshape_scalar", "float[3] x", "c = ConstantOfShape<value=float[1] {2.5}>(s)  y = Add(c, x)",
          constants={"s": np.zeros(0, np.int64)}),
    exact("range_constant", "float[5] x", "r = Range(a, b, d)  y = Add(x, r)",
          constants={"a": np.float32(1), "b": np.float32(2.2), "d": np.float32(0.25)}),
    exact("range_int_down", "int64[3] x", "r = Range(a, b, d)  y = Add(x, r)", "int64[] y",
          constants={"a": np.int64(10), "b": np.int64(1), "d": np.int64(-3)}),
    exact("range_of_length", "float[n,3] x", "s = Shape<end=1>(x)  z = Squeeze(s)  y = Range(a, z, d)", "int64[] y",
          constants={"a": np.int64(0), "d": np.int64(1)}, sizes=BATCHES),
    exact("range_positions", "float[n,3] x",
          "s = Shape<end=1>(x)  z = Squeeze(s)  r = Range(a, z, d)  u = Unsqueeze(r, one)  f = Cast<to=1>(u)  y = Add(x, f)",
          constants={"a": np.int64(0), "d": np.int64(1), "one": ints(1)}, sizes=BATCHES),
    exact("eyelike", "float[3,5] x", "y = EyeLike(x)"),
    exact("eyelike_shifted", "float[4,4] x", "y = EyeLike<k=-1,dtype=7>(x)", "int64[] y"),
    exact("eyelike_above", "int32[4,9] x", "y = EyeLike<k=2>(x)", "int32[] y"),
]  # fmt: skip


EDGES = [
    exact("tile_of_nothing", "float[1,4,0] x", "y = Tile(x, r)", constants={"r": np.array([2, 1, 3])}),
    exact("reshape_of_a_constant_without_elements", "bool[1] x", "r = Reshape(c, z)  y = And(r, x)", "bool[] y",
          constants={"c": np.zeros((4, 3, 0), bool), "z": np.zeros(3, np.int64)}),
]  # fmt: skip


CASES = [
    *EDGES, *FORWARD, *RESHAPE, *SQUEEZE, *TRANSPOSE, *CONCAT, *EXPAND, *GATHER, *BLOCKS, *TRIANGLE, *MADE,
]  # fmt: skip
