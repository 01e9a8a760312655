"""Cases of `ingot.lower.slicing`: the results have the same bits as the elements that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Case
from movement_cases import BATCHES, exact, ints

SPLIT = [
    exact("split_even", "float[6,4] x", "a, b = Split(x)", "float[] a, float[] b"),
    exact("split_sizes", "float[6,4] x", "a, b, c = Split(x, s)", "float[] a, float[] b, float[] c", constants={"s": ints(1, 3, 2)}),
    exact("split_axis", "float[2,33] x", "a, b = Split<axis=1>(x, s)", "float[] a, float[] b", constants={"s": ints(16, 17)}),
    exact("split_negative", "float[2,9] x", "a, b, c = Split<axis=-1>(x)", "float[] a, float[] b, float[] c"),
    exact("split_zero_size", "float[2,5] x", "a, b = Split<axis=1>(x, s)", "float[] a, float[] b", constants={"s": ints(0, 5)}),
    exact("split_opset11", "float[6,4] x", "a, b = Split<split=[2,4]>(x)", "float[] a, float[] b", opset=11),
    exact("split_uneven_opset18", "float[7,4] x", "a, b, c = Split<num_outputs=3>(x)", "float[] a, float[] b, float[] c", opset=18),
    exact("split_batch", "float[n,6] x", "a, b = Split<axis=1>(x)", "float[] a, float[] b", sizes=BATCHES),
    exact("split_then_join", "float[2,18] x", "a, b, c = Split<axis=1>(x)  r = Relu(b)  y = Concat<axis=1>(c, r, a)"),
    exact("split_one_unused", "float[2,6] x", "a, b = Split<axis=1>(x)  y = Neg(b)"),
]  # fmt: skip


def cut(name: str, shape: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None,
        steps: Sequence[int] | None = None, **how: Any) -> Case:  # fmt: skip
    constants = {"b": ints(*starts), "e": ints(*ends)}
    names = "b, e"
    if axes is not None or steps is not None:
        names += ", a" if axes is not None else ", "
    if axes is not None:
        constants["a"] = ints(*axes)
    if steps is not None:
        constants["s"] = ints(*steps)
        names += ", s"
    return exact(f"slice_{name}", f"float[{shape}] x", f"y = Slice(x, {names})", constants=constants, **how)


FAR = 2**63 - 1
SLICE = [
    cut("rows", "9,4", (2,), (7,)),
    cut("both", "9,5", (2, 1), (7, 4)),
    cut("axis", "9,5", (1,), (4,), (1,)),
    cut("negative_axis", "9,5", (1,), (4,), (-1,)),
    cut("negative_ends", "9,5", (-4,), (-1,), (0,)),
    cut("past_the_end", "9,5", (3,), (FAR,), (0,)),
    cut("int_max", "9,5", (3,), (2**31 - 1,), (0,)),
    cut("before_the_start", "9,5", (-100,), (3,), (0,)),
    cut("empty", "9,5", (5,), (5,), (0,)),
    cut("crossed", "9,5", (6,), (2,), (0,)),
    cut("step", "9,17", (1,), (16,), (1,), (3,)),
    cut("step_two", "9,17", (0, 1), (9, 17), (0, 1), (2, 2)),
    cut("reversed", "9,5", (-1,), (-FAR - 1,), (0,), (-1,)),
    cut("reversed_step", "9,17", (15,), (2,), (1,), (-4,)),
    cut("reversed_past_end", "9,5", (100,), (1,), (0,), (-2,)),
    cut("reversed_none", "9,5", (0,), (5,), (0,), (-1,)),
    cut("no_axes_steps", "9,5", (8, 0), (0, 4), None, (-2, 1)),
    *(cut(f"step_{s}_of_{n}", f"3,{n}", (s - 1,), (FAR,), (1,), (s,)) for s, n in ((2, 31), (2, 32), (2, 33), (4, 63), (4, 64), (4, 67), (3, 52))),
    *(cut(f"columns_of_{n}_rows", f"{n},4", (2,), (4,), (1,)) for n in (1, 3, 4, 15, 16, 17, 33)),
    *(cut(f"column_of_{n}_rows", f"{n},5", (3,), (4,), (1,)) for n in (4, 16, 17)),
    cut("columns_of_any_rows", "n,4", (1,), (4,), (1,), sizes=({"n": 1}, {"n": 16}, {"n": 37})),
    cut("channels", "2,18,3,3", (1,), (18,), (1,)),
    cut("focus", "1,3,8,8", (1, 0), (FAR, FAR), (2, 3), (2, 2)),
    cut("batch_kept", "n,9", (2,), (7,), (1,), sizes=BATCHES),
    cut("batch_first", "n,9", (0,), (1,), (0,), sizes=BATCHES),
    cut("batch_last", "n,9", (-1,), (FAR,), (0,), sizes=BATCHES),
    cut("batch_all_but_last", "n,9", (0,), (-1,), (0,), sizes=BATCHES),
    cut("batch_two", "n,9", (0,), (2,), (0,), sizes=BATCHES),
    cut("batch_from_two", "n,9", (2,), (FAR,), (0,), sizes=BATCHES),
    cut("batch_reversed", "n,9", (-1,), (-FAR - 1,), (0,), (-1,), sizes=BATCHES),
    cut("batch_step", "n,9", (0,), (FAR,), (0,), (2,), sizes=BATCHES),
    exact("slice_opset9", "float[9,5] x", "y = Slice<starts=[1,0],ends=[8,3],axes=[0,1]>(x)", opset=9),
    exact("slice_opset9_no_axes", "float[9,5] x", "y = Slice<starts=[1],ends=[100]>(x)", opset=9),
    exact("slice_to_shape", "float[n,9] x, float[m] z", "s = Shape(z)  y = Slice(x, b, s, a)", constants={"b": ints(0), "a": ints(1)},
          sizes=({"n": 1, "m": 4}, {"n": 3, "m": 9}, {"n": 2, "m": 12})),
    exact("slice_of_concat", "float[2,9] x, float[2,9] z", "c = Concat<axis=1>(x, z)  y = Slice(c, b, e, a)",
          constants={"b": ints(5), "e": ints(14), "a": ints(1)}),
]  # fmt: skip


def pad(
    name: str, shape: str, pads: Sequence[int], mode: str = "constant", value: float | None = None, **how: Any
) -> Case:
    constants = {"p": ints(*pads)} | ({} if value is None else {"v": np.float32(value)})
    return exact(f"pad_{name}", f"float[{shape}] x", f'y = Pad<mode="{mode}">(x, p{"" if value is None else ", v"})',
                 constants=constants, **how)  # fmt: skip


PAD = [
    pad("zero", "3,4", (0, 1, 0, 2)),
    pad("value", "3,4", (1, 1, 2, 2), value=3.5),
    pad("infinite", "3,4", (1, 1, 0, 0), value=float("-inf")),
    pad("nothing", "3,4", (0, 0, 0, 0)),
    pad("image", "2,3,5,5", (0, 0, 1, 2, 0, 0, 3, 0)),
    pad("image_17", "2,17,5,5", (0, 0, 1, 1, 0, 0, 1, 1)),
    pad("channels", "2,15,3,3", (0, 1, 0, 0, 0, 2, 0, 0)),
    pad("batch", "n,3,4", (0, 1, 0, 0, 0, 2), sizes=BATCHES),
    pad("on_batch", "n,3", (1, 0, 2, 0), sizes=BATCHES),
    pad("negative", "5,6", (-1, 2, 1, -2), oracle="onnxruntime"),
    pad("crop", "5,6", (-1, -2, -1, -1), oracle="onnxruntime"),
    pad("vector", "7", (2, 3)),
    pad("empty", "0,3", (1, 0, 1, 0)),
    pad("reflect", "5,6", (2, 3, 1, 4), "reflect"),
    pad("reflect_image", "1,3,5,5", (0, 0, 2, 2, 0, 0, 2, 2), "reflect"),
    pad("edge", "5,6", (2, 3, 1, 4), "edge"),
    pad("edge_batch", "n,6", (0, 3, 0, 4), "edge", sizes=BATCHES),
    pad("wrap", "5,6", (2, 3, 1, 4), "wrap", opset=19),
    pad("reflect_batch", "n,6", (0, 3, 0, 4), "reflect", sizes=BATCHES),
    exact("pad_axes_opset18", "float[2,3,5] x", "y = Pad(x, p, , a)", opset=18, constants={"p": ints(1, 2), "a": ints(-1)}),
    exact("pad_attribute_opset10", "float[3,4] x", "y = Pad<pads=[0,1,1,0],value=2.0>(x)", opset=10, oracle="onnxruntime"),
    exact("pad_computed", "float[3,4] x", "a = Relu(x)  y = Pad(a, p)", constants={"p": ints(1, 1, 1, 1)}),
    exact("pad_twice", "float[3,4] x", "a = Relu(x)  b = Pad(a, p)  y = Pad(b, p, v)",
          constants={"p": ints(1, 1, 1, 1), "v": np.float32(1)}),
    exact("pad_shared", "float[3,4] x", "a = Relu(x)  b = Pad(a, p)  c = Pad(a, p)  y = Sub(b, c)  z = Neg(b)", "float[] y, float[] z",
          constants={"p": ints(1, 1, 1, 1)}),
    exact("pad_int64", "int64[3,4] x", "y = Pad(x, p)", "int64[] y", constants={"p": ints(1, 0, 0, 1)}),
    exact("pad_bool", "bool[3,4] x", "y = Pad(x, p)", "bool[] y", constants={"p": ints(1, 0, 0, 1)}),
]  # fmt: skip

CROP = [
    exact("center_crop_pad", "float[5,6,4] x", "y = CenterCropPad(x, s)", opset=18, constants={"s": ints(8, 3, 4)}),
    exact("center_crop_pad_axes", "float[5,6,4] x", "y = CenterCropPad<axes=[-1,0]>(x, s)", opset=18, constants={"s": ints(7, 2)}),
]  # fmt: skip

EDGES = [
    exact("slice_backward_of_nothing", "float[n,0,3] x", "y = Slice(x, a, b, d, s)",
          constants={"a": ints(-9, -7), "b": ints(-5, -8), "d": ints(1, 0), "s": ints(-2, -1)}, sizes=({"n": 4}, {"n": 1}), oracle="onnxruntime"),
    *(
        exact(f"slice_by_{name}_steps", "int64[1] x", "c = Slice(k, a, b, d, s)  y = Add(c, x)", "int64[1] y",
              constants={"k": ints(1, 2, 3, 4, 5), "a": ints(1), "b": ints(end), "d": ints(0), "s": ints(step)})
        for name, end, step in (("long", 5, 2**31 - 1), ("longest", 5, 2**63 - 1), ("long_backward", -9, -(2**31)))
    ),
    exact("slice_backward_of_bools_from_before", "bool[1,3] x",
          "c = Slice(k, a, b, d, s)  y = And(c, x)", "bool[] y",
          constants={"k": np.array([[True] * 3] * 5), "a": ints(-8), "b": ints(-10), "d": ints(0), "s": ints(-1)}, oracle="onnxruntime"),
]  # fmt: skip

CASES = [*SPLIT, *SLICE, *PAD, *CROP, *EDGES]
