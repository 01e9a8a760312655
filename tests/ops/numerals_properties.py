"""Random casts between strings and numbers."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import INTEGERS, Draw, arrays, awkward, node, shapes, tensor_type

SPACES = st.text(st.sampled_from(" \t\n\r\f"), max_size=2)
SPECIAL = st.sampled_from(["NaN", "nan", "INF", "inf", "Infinity"])


@st.composite
def spelled(draw: Draw) -> str:
    """A number in any of its spellings."""
    whole, behind = (draw(st.text(st.sampled_from("0123456789"), max_size=25)) for _ in range(2))
    text = whole or ("" if behind else "0")
    if behind or draw(st.booleans()):
        text += f".{behind}"
    if draw(st.booleans()):
        text += draw(st.sampled_from(["e", "E", "e+", "e-", "E-"])) + str(draw(st.integers(0, 340)))
    text = draw(st.one_of(st.just(text), SPECIAL))
    return f"{draw(SPACES)}{draw(st.sampled_from(['', '+', '-']))}{text}{draw(SPACES)}"


@st.composite
def read(draw: Draw) -> Case:
    """Floats as Python reads them."""
    words = draw(st.lists(spelled(), max_size=4))
    expected = np.array([float(word) for word in words], np.float64)
    x = np.array(words, object)
    return node(
        draw, "Cast", [x], ["float64"], attributes={"to": tensor_type("float64")}, expected=([expected],)
    )


@st.composite
def write(draw: Draw) -> Case:
    """Floats as C's %.8g writes them."""
    kind = draw(st.sampled_from(["float64", "float32", "float16"]))
    bits = draw(st.lists(st.integers(0, 2**64 - 1), max_size=4))
    x = (
        np.array(bits, np.uint64)
        .view(np.uint8)
        .reshape(-1, 8)[:, : np.dtype(kind).itemsize]
        .copy()
        .view(kind)[:, 0]
    )
    expected = np.array([_shown(float(value)) for value in x], object)
    return node(
        draw, "Cast", [x], ["object"], attributes={"to": tensor_type("object")}, expected=([expected],)
    )


def _shown(value: float) -> str:
    if value != value:
        return "NaN"
    return f"{value:.8g}".replace("inf", "INF")


@st.composite
def write_integers(draw: Draw) -> Case:
    kind = draw(st.sampled_from(INTEGERS))
    x = draw(arrays(kind, draw(shapes()), awkward(kind)))
    expected = np.array([str(value) for value in x.reshape(-1).tolist()], object).reshape(x.shape)
    return node(
        draw, "Cast", [x], ["object"], attributes={"to": tensor_type("object")}, expected=([expected],)
    )


PROPERTIES = {"read": read(), "write": write(), "write_integers": write_integers()}
