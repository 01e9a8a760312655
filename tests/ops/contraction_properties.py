"""Random cases of matrix products, summations and convolutions, of small whole numbers, so that no sum rounds."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import Draw, arrays, axis, broadcasting, node, shapes, tiny

from ingot.testing import Array, ulp

SIZES = st.sampled_from((1, 2, 3, 0, 5, 8, 17))
WHOLE = ulp(0)


@st.composite
def whole(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Array:
    return draw(arrays(dtype, shape, tiny(dtype)))


@st.composite
def matmul(draw: Draw) -> Case:
    """Batches that broadcast, vectors on either side, sums of nothing."""
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "int64", "uint32")))
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    a, b = draw(broadcasting(2, least=0, most=2, elements=6))
    left = (k,) if draw(st.integers(0, 5)) == 5 else (*a, m, k)
    right = (k,) if draw(st.integers(0, 5)) == 5 else (*b, k, n)
    either = draw(st.sampled_from([(), (1,)]))
    return node(
        draw, "MatMul", [draw(whole(dtype, left)), draw(whole(dtype, right))], constants=either, level=WHOLE
    )


@st.composite
def gemm(draw: Draw) -> Case:
    m, k, n = (draw(SIZES) for _ in range(3))
    a, b = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    inputs = [
        draw(whole("float32", (k, m) if a else (m, k))),
        draw(whole("float32", (n, k) if b else (k, n))),
    ]
    bias = draw(st.sampled_from((None, (), (n,), (1, n), (m, 1), (m, n))))
    if bias is not None:
        inputs.append(draw(whole("float32", bias)))
    alpha, beta = (draw(st.sampled_from((1.0, 2.0, -0.5))) for _ in range(2))
    expected = alpha * ((inputs[0].T if a else inputs[0]) @ (inputs[1].T if b else inputs[1]))
    if bias is not None:
        expected = expected + beta * inputs[2]
    return node(
        draw, "Gemm", inputs, attributes={"transA": a, "transB": b, "alpha": alpha, "beta": beta}, level=WHOLE,
        constants=draw(st.sampled_from([(), (1,), (1, 2)])), expected=([expected.astype(np.float32)],),
    )  # fmt: skip


@st.composite
def einsum(draw: Draw) -> Case:
    """Letters that are summed, kept and repeated, in any order, with an ellipsis or without."""
    sizes = {letter: draw(st.sampled_from((1, 2, 3, 5))) for letter in "abcd"}
    terms = [
        draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=draw(st.integers(0, 3)) > 0))
        for _ in range(draw(st.integers(1, 3)))
    ]
    known = sorted({letter for term in terms for letter in term})
    kept = draw(st.permutations(known))[: draw(st.integers(0, len(known)))]
    dots = draw(st.integers(0, 3)) == 3
    wide = (draw(st.sampled_from((2, 3))),) if dots else ()
    text = ",".join(("..." if dots else "") + "".join(term) for term in terms)
    if draw(st.integers(0, 4)) < 4:
        text += "->" + ("..." if dots else "") + "".join(kept)
    x = [draw(whole("float32", (*wide, *(sizes[letter] for letter in term)))) for term in terms]
    return node(
        draw,
        "Einsum",
        x,
        attributes={"equation": text},
        level=WHOLE,
        expected=([np.asarray(np.einsum(text, *x))],),
    )


@st.composite
def window(draw: Draw, dims: int) -> dict[str, list[int]]:
    """kernel_shape, strides, dilations and pads."""
    kernel = [draw(st.integers(1, 3)) for _ in range(dims)]
    return {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in kernel],
        "dilations": [draw(st.sampled_from((1, 1, 2))) for _ in kernel],
        "pads": [draw(st.integers(0, 2)) for _ in kernel * 2],
    }


@st.composite
def convolution(draw: Draw) -> Case:
    """Of one to three dimensions, grouped and depthwise, by constant weights and by computed ones."""
    dims = draw(st.sampled_from((2, 2, 1, 3)))
    group = draw(st.sampled_from((1, 1, 2, 3)))
    how = draw(window(dims))
    reach = [(k - 1) * d + 1 for k, d in zip(how["kernel_shape"], how["dilations"], strict=True)]
    attributes: dict[str, object] = {**how, "group": group}
    mode = draw(st.sampled_from(("NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")))
    pads = how["pads"]
    if mode != "NOTSET":
        del attributes["pads"]
        attributes["auto_pad"] = mode
        pads = [0] * 2 * dims
        # ONNX Runtime has no dilation here, and pads by less than nothing where the stride is longer than the kernel
        attributes["dilations"] = [1] * dims
        attributes["strides"] = [draw(st.integers(1, k)) for k in how["kernel_shape"]]
    size = [max(draw(st.integers(1, 6 - dims)), r - pads[i] - pads[dims + i]) for i, r in enumerate(reach)]
    features, channels = group * draw(st.sampled_from((1, 2, 5))), draw(st.sampled_from((1, 2, 4)))
    x = draw(whole("float32", (draw(st.sampled_from((1, 2))), group * channels, *size)))
    inputs = [x, draw(whole("float32", (features, channels, *how["kernel_shape"])))]
    if draw(st.booleans()):
        inputs.append(draw(whole("float32", (features,))))
    return node(
        draw, "Conv", inputs, attributes=attributes, level=WHOLE, oracle="onnxruntime",
        constants=draw(st.sampled_from([(1, 2), (1, 2), ()])), fixed=(0, 1, 2) if mode.startswith("SAME") else (1, 2),
    )  # fmt: skip


@st.composite
def transposed(draw: Draw) -> Case:
    """With pads, and an extra at the end."""
    dims = draw(st.sampled_from((2, 2, 1)))
    group = draw(st.sampled_from((1, 1, 2)))
    how = draw(window(dims))
    reach = [(k - 1) * d + 1 for k, d in zip(how["kernel_shape"], how["dilations"], strict=True)]
    how["pads"] = [min(p, (r - 1) // 2) for p, r in zip(how["pads"], reach * 2, strict=True)]
    extra = [draw(st.integers(0, s - 1)) for s in how["strides"]]
    size = [draw(st.integers(1, 4)) for _ in range(dims)]
    attributes: dict[str, object] = {**how, "group": group, "output_padding": extra}
    features, channels = draw(st.sampled_from((1, 2, 5))), group * draw(st.sampled_from((1, 2)))
    inputs = [draw(whole("float32", (draw(st.sampled_from((1, 2))), channels, *size)))]
    inputs.append(draw(whole("float32", (channels, features, *how["kernel_shape"]))))
    if draw(st.booleans()):
        inputs.append(draw(whole("float32", (group * features,))))
    return node(
        draw, "ConvTranspose", inputs, attributes=attributes, level=WHOLE, oracle="onnxruntime", fixed=(0, 1, 2),
        constants=draw(st.sampled_from([(1, 2), ()])),
    )  # fmt: skip


@st.composite
def integer_product(draw: Draw) -> Case:
    """Bytes less their zero points, summed in 32 bits."""
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    kinds = [draw(st.sampled_from(("uint8", "int8"))) for _ in range(2)]
    inputs = [draw(arrays(kinds[0], (m, k))), draw(arrays(kinds[1], (k, n)))]
    inputs += [draw(arrays(kind, ())) for kind in kinds[: draw(st.integers(0, 2))]]
    wide = [x.astype(np.int32) for x in inputs]
    a = wide[0] - (wide[2] if len(wide) > 2 else 0)
    b = wide[1] - (wide[3] if len(wide) > 3 else 0)
    return node(draw, "MatMulInteger", inputs, ["int32"], expected=([(a @ b).astype(np.int32)],))


@st.composite
def running(draw: Draw) -> Case:
    """Sums from either end, with the element itself or without."""
    dtype = draw(st.sampled_from(("int32", "int64", "float32", "float64")))
    x = draw(whole(dtype, draw(shapes(1))))
    along = draw(axis(x.ndim))
    exclusive, reverse = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    line = np.flip(x, along) if reverse else x
    total = np.cumsum(line, along, dtype=x.dtype)
    total = total - line if exclusive else total
    expected = np.flip(total, along) if reverse else total
    return node(
        draw, "CumSum", [x, np.array(along, draw(st.sampled_from(("int64", "int32"))))], constants=(1,), level=WHOLE,
        attributes={"exclusive": exclusive, "reverse": reverse}, expected=([np.ascontiguousarray(expected)],),
    )  # fmt: skip


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "matmul": matmul(),
    "gemm": gemm(),
    "einsum": einsum(),
    "convolution": convolution(),
    "transposed": transposed(),
    "integer_product": integer_product(),
    "running": running(),
}
