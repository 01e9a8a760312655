"""Random cases of what networks are made of: resizing, sampling, attention, recurrent layers."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import Draw, arrays, finite, node

from ingot.testing import CLOSE, Array

REALS = finite("float32")


@st.composite
def reals(draw: Draw, *shape: int) -> Array:
    return draw(arrays("float32", shape, REALS))


@st.composite
def resize(draw: Draw) -> Case:
    """By scales or to sizes, in every mode that onnx.reference has as ONNX means it."""
    mode = draw(st.sampled_from(("nearest", "linear", "cubic")))
    size = [draw(st.integers(1, 5)) for _ in range(2)]
    x = draw(reals(draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size))
    transform = draw(st.sampled_from(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")))
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": transform}
    if mode == "nearest":
        attributes["nearest_mode"] = draw(
            st.sampled_from(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
        )
    if mode == "cubic":
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        scales = np.array(
            [1, 1, *(draw(st.sampled_from((0.5, 1.0, 2.0, 3.0) if d > 1 else (1.0, 2.0))) for d in size)],
            np.float32,
        )
        given = [x, None, scales]
    else:
        given = [x, None, None, np.array([*x.shape[:2], *(draw(st.integers(1, 9)) for _ in size)], np.int64)]
    return node(
        draw, "Resize", given, attributes=attributes, constants=(2, 3), fixed=(0,), level=CLOSE, reduction=64, scale=8.0,
    )  # fmt: skip


@st.composite
def grid_sample(draw: Draw) -> Case:
    """Places inside, on the border and outside."""
    # onnx.reference cannot reflect in a single row or column
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    high, wide = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    places = np.array([0, 0.5, -0.5, 1, -1, 0.25, 1.5, -1.75, 0.9], np.float32)
    grid = draw(arrays("float32", (batch, draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2), places))
    attributes = {
        "mode": draw(st.sampled_from(("linear", "nearest"))),
        "padding_mode": draw(st.sampled_from(("zeros", "border", "reflection"))),
        "align_corners": draw(st.integers(0, 1)),
    }
    x = draw(reals(batch, channels, high, wide))
    return node(
        draw,
        "GridSample",
        [x, grid],
        attributes=attributes,
        fixed=(0, 1),
        level=CLOSE,
        reduction=64,
        scale=8.0,
    )


@st.composite
def attention(draw: Draw) -> Case:
    """Heads that share keys, a mask of either kind, causal or not."""
    batch, keys, share = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rows, columns, width, deep = (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(st.sampled_from((1, 3, 8))),
        draw(st.sampled_from((1, 4))),
    )
    inputs = [
        draw(reals(batch, keys * share, rows, width)),
        draw(reals(batch, keys, columns, width)),
        draw(reals(batch, keys, columns, deep)),
    ]
    kind = draw(st.sampled_from(("none", "float", "bool")))
    causal = draw(st.integers(0, 1))
    if kind == "float":
        inputs.append(draw(reals(rows, columns)))
    if kind == "bool":
        mask = draw(arrays("bool", (rows, columns), np.array([True, True, False])))
        mask[:, 0] = True
        inputs.append(mask)
    attributes = {
        "is_causal": causal,
        "softcap": draw(st.sampled_from((None, 2.0))),
        "scale": draw(st.sampled_from((None, 0.5))),
    }
    return node(
        draw, "Attention", inputs, attributes=attributes, opset=23, level=CLOSE, reduction=64, scale=8.0, fixed=range(4),
    )  # fmt: skip


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def steps(
    kind: str,
    x: Array,
    w: Array,
    r: Array,
    b: Array,
    h: Array,
    c: Array,
    lengths: Array,
    reverse: bool,
    after: int,
) -> list[Array]:
    """One direction of a layer in float64, each sequence as long as it says: all outputs, and the last state (and cell)."""
    hidden = h.shape[-1]
    made = np.zeros((x.shape[0], x.shape[1], hidden))
    last, cells = h.copy(), c.copy()
    wb, rb = b[: len(b) // 2], b[len(b) // 2 :]
    for n in range(x.shape[1]):
        order = range(int(lengths[n]))
        for t in reversed(order) if reverse else order:
            a, s = w @ x[t, n] + wb, r @ last[n] + rb
            if kind == "RNN":
                last[n] = np.tanh(a + s)
            elif kind == "GRU":
                z, q = (
                    sigmoid(a[:hidden] + s[:hidden]),
                    sigmoid(a[hidden : 2 * hidden] + s[hidden : 2 * hidden]),
                )
                if after:
                    new = np.tanh(a[2 * hidden :] + q * s[2 * hidden :])
                else:
                    new = np.tanh(a[2 * hidden :] + r[2 * hidden :] @ (q * last[n]) + rb[2 * hidden :])
                last[n] = (1 - z) * new + z * last[n]
            else:
                i, o, f, g = np.split(a + s, 4)
                cells[n] = sigmoid(f) * cells[n] + sigmoid(i) * np.tanh(g)
                last[n] = sigmoid(o) * np.tanh(cells[n])
            made[t, n] = last[n]
    return [made, last, cells]


@st.composite
def recurrent(draw: Draw) -> Case:
    """Sequences of many lengths, in either direction or both, from given states."""
    kind = draw(st.sampled_from(("RNN", "GRU", "LSTM")))
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    length, batch, width, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    direction = draw(st.sampled_from(("forward", "reverse", "bidirectional")))
    count = 2 if direction == "bidirectional" else 1
    x, w = draw(reals(length, batch, width)), draw(reals(count, gates * hidden, width))
    r, b = draw(reals(count, gates * hidden, hidden)), draw(reals(count, 2 * gates * hidden))
    lengths = draw(st.none() | arrays("int32", (batch,), np.arange(1, length + 1)))
    given = draw(st.booleans())
    states = [draw(reals(count, batch, hidden)) for _ in range((2 if kind == "LSTM" else 1) * given)]
    after = draw(st.integers(0, 1)) if kind == "GRU" else 0
    wide = [np.asarray(v, np.float64) for v in (x, w, r, b, *states)]
    zero = np.zeros((count, batch, hidden))
    h, c = (wide[4] if given else zero), (wide[5] if len(states) == 2 else zero)
    full = np.full(batch, length) if lengths is None else lengths
    parts = [
        steps(
            kind,
            wide[0],
            wide[1][d],
            wide[2][d],
            wide[3][d],
            h[d],
            c[d],
            full,
            direction == "reverse" or d == 1,
            after,
        )
        for d in range(count)
    ]
    expected = [
        np.stack([p[0] for p in parts], 1),
        *(np.stack([p[i] for p in parts]) for i in ((1, 2) if kind == "LSTM" else (1,))),
    ]
    attributes = {"hidden_size": hidden, "direction": direction} | (
        {"linear_before_reset": after} if kind == "GRU" else {}
    )
    # onnx.reference knows neither lengths nor both directions at once
    return node(
        draw, kind, [x, w, r, b, lengths, *states], ["float32"] * len(expected), attributes=attributes, opset=14, level=CLOSE,
        reduction=64, scale=1.0, fixed=range(7), constants=(1, 2, 3), expected=([y.astype(np.float32) for y in expected],),
    )  # fmt: skip


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "resize": resize(),
    "grid_sample": grid_sample(),
    "attention": attention(),
    "recurrent": recurrent(),
}
