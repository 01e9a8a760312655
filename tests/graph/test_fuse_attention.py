from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_attention
from ingot.testing import CLOSE

CONSTANTS = """<float c = {0.5}, float d = {2.0}, int64[4] heads = {0, 0, 4, 3}, int64[4] pairs = {0, 0, 2, 3}, int64[3] flat = {0, 0, 12},
    int64[1] three = {3}, int64[5] twice = {1, 1, 1, 2, 1}>"""
SPLIT = (
    " ".join(f"{n}r = Reshape({n}, heads) {n}h = Transpose<perm = [0, 2, 1, 3]>({n}r)" for n in "qv")
    + " kr = Reshape(k, heads) kh = Transpose<perm = [0, 2, 3, 1]>(kr)"
)
JOIN = "j = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(j, flat)"


def flat(body: str, mask: str = "float[N, 4, 5, 5] mask") -> str:
    return f"g (float[N, 5, 12] q, float[N, 5, 12] k, float[N, 5, 12] v, {mask}) => (float[N, 5, 12] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "scale"),
    [
        (f"{SPLIT} s = MatMul(qh, kh) t = Mul(s, c) m = Add(t, mask) p = Softmax(m) o = MatMul(p, vh) {JOIN}", 0.5),
        (f"{SPLIT} s = MatMul(qh, kh) t = Div(s, d) m = Add(mask, t) p = Softmax<axis = 3>(m) o = MatMul(p, vh) {JOIN}", 0.5),
        (f"{SPLIT} qc = Mul(qh, c) kc = Mul(kh, d) s = MatMul(qc, kc) p = Softmax(s) o = MatMul(p, vh) {JOIN}", 1.0),
        (f"{SPLIT} s = MatMul(qh, kh) p = Softmax(s) o = MatMul(p, vh) {JOIN}", 1.0),
    ],
)  # fmt: skip
def test_heads_in_the_last_axis(body: str, scale: float) -> None:
    got = apply(fuse_attention, flat(body), level=CLOSE, symbols={"N": 2})
    assert got.fired == 1
    node = got.node("Attention")
    assert node.attributes.get_float("scale") == scale
    assert (node.attributes.get_int("q_num_heads"), node.attributes.get_int("kv_num_heads")) == (4, 4)
    assert [value.name for value in node.inputs[:3] if value is not None] == ["q", "k", "v"]
    assert not {"MatMul", "Softmax", "Add"} & set(got.ops)


@pytest.mark.parametrize("mask", ["float[N, 1, 1, 5] mask", "float[5, 5] mask", "float[1, 5] mask"])
def test_masks(mask: str) -> None:
    body = f"{SPLIT} s = MatMul(qh, kh) m = Add(s, mask) p = Softmax(m) o = MatMul(p, vh) {JOIN}"
    got = apply(fuse_attention, flat(body, mask), level=CLOSE, symbols={"N": 2})
    assert got.fired == 1
    assert ("Expand" in got.ops) == ("1, 5" in mask)


def test_groups_of_heads() -> None:
    body = " ".join(
        f"{n}r = Reshape({n}, pairs) {n}u = Unsqueeze({n}r, three) {n}e = Expand({n}u, twice) {n}x = Reshape({n}e, heads)"
        for n in "kv"
    )
    text = f"""g (float[N, 5, 12] q, float[N, 5, 6] k, float[N, 5, 6] v) => (float[N, 5, 12] y) {CONSTANTS} {{
        qr = Reshape(q, heads) qh = Transpose<perm = [0, 2, 1, 3]>(qr) {body}
        kh = Transpose<perm = [0, 2, 3, 1]>(kx) vh = Transpose<perm = [0, 2, 1, 3]>(vx)
        s = MatMul(qh, kh) p = Softmax(s) o = MatMul(p, vh) {JOIN} }}"""
    got = apply(fuse_attention, text, level=CLOSE, symbols={"N": 2})
    assert got.fired == 1
    assert got.node("Attention").attributes.get_int("kv_num_heads") == 2


def test_four_axes() -> None:
    text = """g (float[N, 4, 5, 3] q, float[N, 4, 6, 3] k, float[N, 4, 6, 3] v) => (float[N, 4, 5, 3] y) {
        t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t) p = Softmax(s) y = MatMul(p, v) }"""
    got = apply(fuse_attention, text, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["Attention"])
    got = apply(
        fuse_attention,
        text.replace("4, 6, 3] k", "6, 4, 3] k").replace("0, 1, 3, 2", "0, 2, 3, 1"),
        level=CLOSE,
    )
    assert (got.fired, got.ops) == (1, ["Transpose", "Attention"])


@pytest.mark.parametrize(
    ("body", "mask", "reason"),
    [
        ("m = Add(s, mask) p = Softmax(m)", "float[N, 4, 5, 1] mask", "its mask is not known to span the keys"),
        ("m = Add(s, mask) p = Softmax(m)", "float[M, 5] mask", "its mask is not known to span the queries"),
        ("m = Add(s, mask) p = Softmax(m)", "float[5] mask", "its mask is not known to have two to four axes"),
        ("p = Softmax<axis = 1>(s)", "float[5, 5] mask", "its softmax is not along the last axis"),
        ("r = Neg(s) t = Mul(r, c) u = Add(s, t) p = Softmax(s)", "float[5, 5] mask", ""),
    ],
)  # fmt: skip
def test_refuses(body: str, mask: str, reason: str) -> None:
    text = flat(f"{SPLIT} s = MatMul(qh, kh) {body} o = MatMul(p, vh) {JOIN}", mask)
    got = apply(fuse_attention, text, symbols={"N": 2, "M": 5})
    assert got.refused == [reason or "a part of it is used elsewhere"]


def test_refuses_doubles() -> None:
    text = """g (double[N, 4, 5, 3] q, double[N, 4, 6, 3] k, double[N, 4, 6, 3] v) => (double[N, 4, 5, 3] y) {
        t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t) p = Softmax(s) y = MatMul(p, v) }"""
    assert apply(fuse_attention, text).refused == ["it is, or may be, of doubles, which would be rounded"]
