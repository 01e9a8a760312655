from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_transpose_reshape


def text(x: str, inner: str, perm: str, outer: str) -> str:
    return (
        f"g (float[{x}] x) => (float[A, B, C, D] y) <int64[3] i = {{{inner}}}, int64[4] o = {{{outer}}}> "
        f"{{ a = Reshape(x, i) b = Transpose<perm = [{perm}]>(a) y = Reshape(b, o) }}"
    )


@pytest.mark.parametrize(
    ("x", "inner", "outer"),
    [("N, 3, 4, 5", "-1, 4, 5", "-1, 3, 5, 4"), ("2, 3, 4, 5", "6, 4, 5", "2, 3, 5, 4")],
)
def test_merges(x: str, inner: str, outer: str) -> None:
    got = apply(merge_transpose_reshape, text(x, inner, "0, 2, 1", outer))
    assert (got.fired, got.ops) == (1, ["Transpose"])
    assert tuple(got.node("Transpose").attributes.get_ints("perm") or ()) == (0, 1, 3, 2)


@pytest.mark.parametrize(
    ("x", "inner", "perm", "outer", "reason"),
    [
        ("2, 3, 4, 5", "6, 5, 4", "0, 2, 1", "2, 3, 4, 5", "its sizes are not known to fit"),
        ("2, 3, 4, 5", "6, 4, 5", "0, 2, 1", "3, 2, 5, 4", "its sizes are not known to fit"),
        ("2, 3, 4, 5", "6, 4, 5", "1, 0, 2", "4, 2, 3, 5", "it does not swap the last two axes"),
        ("6, 20", "6, 4, 5", "0, 2, 1", "2, 3, 5, 4", "it does not merge two axes of four and split them again"),
    ],
)  # fmt: skip
def test_refuses(x: str, inner: str, perm: str, outer: str, reason: str) -> None:
    got = apply(merge_transpose_reshape, text(x, inner, perm, outer))
    assert (got.fired, got.refused) == (0, [reason])
