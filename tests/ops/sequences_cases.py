"""Cases of `ingot.lower.sequences`: sequences and optionals inside a model of tensors."""

from __future__ import annotations

import numpy as np
from case import Case, case

from ingot.testing import EXACT

SHAPES = "float[2,3] a, float[1,3] b, float[4,3] c"
ALIKE = "float[2,3] a, float[2,3] b, float[2,3] c"


def positions(
    name: str,
    body: str,
    outputs: str,
    values: tuple[int, ...],
    dtype: str = "int64",
    oracle: str = "reference",
) -> list[Case]:
    """The case with the position `i` constant and given at run time."""
    where = [np.array(v, dtype) for v in values]
    return [
        *(
            case(
                f"{name}_{v}".replace("-", "minus"),
                SHAPES,
                body,
                outputs,
                constants={"i": i},
                level=EXACT,
                oracle=oracle,
            )
            for v, i in zip(values, where, strict=True)
        ),
        *(
            case(
                f"{name}_run_time_{v}".replace("-", "minus"),
                f"{ALIKE}, {dtype} i",
                body,
                outputs,
                feed={"i": i},
                level=EXACT,
                oracle=oracle,
            )
            for v, i in zip(values, where, strict=True)
        ),
    ]


CASES = [
    case("seq_construct", SHAPES, "s = SequenceConstruct(a, b, c)  y = SequenceAt(s, i)  n = SequenceLength(s)", "float[] y, int64[] n",
         constants={"i": np.int64(1)}, level=EXACT),
    case("seq_empty", SHAPES, "e = SequenceEmpty()  n = SequenceLength(e)  s = SequenceInsert(e, a)  t = SequenceInsert(s, b)  y = ConcatFromSequence<axis=0>(t)",
         "float[] y, int64[] n", level=EXACT),
    case("seq_empty_of_integers", "int32[3] a", "e = SequenceEmpty<dtype=6>()  s = SequenceInsert(e, a)  y = SequenceAt(s, i)", "int32[] y",
         constants={"i": np.int32(0)}, level=EXACT),
    *positions("seq_at", "s = SequenceConstruct(a, b, c)  y = SequenceAt(s, i)", "float[] y", (0, 2, -1, -3)),
    *positions("seq_at_int32", "s = SequenceConstruct(a, b, c)  y = SequenceAt(s, i)", "float[] y", (1, -2), "int32"),
    *positions("seq_insert", "s = SequenceConstruct(a, b)  t = SequenceInsert(s, c, i)  y = ConcatFromSequence<axis=0>(t)", "float[] y", (0, 1, 2, -1), oracle="onnxruntime"),
    *positions("seq_erase", "s = SequenceConstruct(a, b, c)  t = SequenceErase(s, i)  y = ConcatFromSequence<axis=0>(t)", "float[] y", (0, 1, 2, -2)),
    case("seq_erase_last", SHAPES, "s = SequenceConstruct(a, b, c)  t = SequenceErase(s)  y = ConcatFromSequence<axis=0>(t)", level=EXACT),
    case("seq_concat_new_axis", ALIKE, "s = SequenceConstruct(a, b, c)  y = ConcatFromSequence<axis=-2,new_axis=1>(s)", level=EXACT),
    case("seq_concat_of_one", "float[2,3] a", "s = SequenceConstruct(a)  y = ConcatFromSequence<axis=1>(s)", level=EXACT),
    case("seq_split", "float[3,5] x", "s = SplitToSequence<axis=-1>(x)  y = SequenceAt(s, i)  n = SequenceLength(s)", "float[] y, int64[] n",
         constants={"i": np.int64(-2)}, level=EXACT),
    case("seq_split_without_axis", "float[3,5] x", "s = SplitToSequence<keepdims=0>(x)  y = SequenceAt(s, i)", constants={"i": np.int64(2)}, level=EXACT),
    case("seq_split_by_two", "float[3,5] x", "s = SplitToSequence<axis=1>(x, k)  y = SequenceAt(s, i)  n = SequenceLength(s)", "float[] y, int64[] n",
         constants={"i": np.int64(2), "k": np.int64(2)}, level=EXACT),
    case("seq_split_sizes", "float[n,5] x", "s = SplitToSequence<axis=1,keepdims=0>(x, k)  y = SequenceAt(s, i)",
         constants={"i": np.int64(1), "k": np.array([1, 4])}, sizes=({"n": 1}, {"n": 3}), level=EXACT),
    case("seq_split_run_time_sizes", "float[n,5] x, int64[2] k", "s = SplitToSequence<axis=0>(x, k)  y = SequenceAt(s, i)",
         constants={"i": np.int64(1)}, feed={"k": np.array([1, 3])}, sizes=({"n": 4},), level=EXACT),
    case("seq_of_symbols", "float[n,3] a, float[m,3] b", "s = SequenceConstruct(a, b)  y = ConcatFromSequence<axis=0>(s)",
         sizes=({"n": 1, "m": 2}, {"n": 4, "m": 3}), level=EXACT),
    case("seq_identity", SHAPES, "s = SequenceConstruct(a, b, c)  t = Identity(s)  y = SequenceAt(t, i)", constants={"i": np.int64(2)}, level=EXACT),
    case("seq_map", SHAPES,
         "s = SequenceConstruct(a, b, c)  t = SequenceMap<body = f (float[N,M] e) => (float[N,M] g) { h = Add(e, e)  g = Neg(h) }>(s)  y = ConcatFromSequence<axis=0>(t)",
         level=EXACT, oracle="onnxruntime"),
    case("seq_map_two", SHAPES,
         "s = SequenceConstruct(a, b, c)  t = SequenceConstruct(b, c, a)  "
         "u, v = SequenceMap<body = f (float[N,M] e, float[K,M] g, float[L,M] x) => (float[] h, int64[] z) "
         "{ h = Concat<axis=0>(e, g, x)  z = Shape(h) }>(s, t, a)  y = ConcatFromSequence<axis=0>(u)  n = ConcatFromSequence<axis=0>(v)",
         "float[] y, int64[] n", level=EXACT, oracle="onnxruntime"),
    *(
        case(f"seq_if_{value}", f"bool f, {ALIKE}",
             "s = If(f) <then_branch = t () => (seq(float[2,3]) p) { p = SequenceConstruct(a, b) }, "
             "else_branch = e () => (seq(float[2,3]) q) { q = SequenceConstruct(c, a) }>  y = ConcatFromSequence<axis=0>(s)",
             feed={"f": np.array(value)}, level=EXACT)
        for value in (True, False)
    ),
    *(
        case(f"optional_{name}", "float[2,3] a",
             f"{made}  h = OptionalHasElement(o)  "
             "y = If(h) <then_branch = t () => (float[] p) { p = OptionalGetElement(o) }, else_branch = e () => (float[] q) { q = Neg(a) }>",
             "float[] y, bool[] h", opset=18, level=EXACT, oracle="onnxruntime")
        for name, made in (("with", "o = Optional(a)"), ("of_tensor", "o = Identity(a)"))
    ),
    case("optional_of_sequence", SHAPES, "s = SequenceConstruct(a, b)  o = Optional(s)  g = OptionalGetElement(o)  y = ConcatFromSequence<axis=0>(g)",
         opset=18, level=EXACT, oracle="onnxruntime"),
]  # fmt: skip
