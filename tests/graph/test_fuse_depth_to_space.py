from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_depth_to_space


def text(split: str, perm: str, out: str) -> str:
    return (
        f"g (float[N, 12, 2, 5] x) => (float[A, B, C, D] y) <int64[6] s = {{{split}}}, int64[4] o = {{{out}}}> "
        f"{{ a = Reshape(x, s) b = Transpose<perm = [{perm}]>(a) y = Reshape(b, o) }}"
    )


@pytest.mark.parametrize(
    ("split", "perm", "mode"),
    [("-1, 2, 2, 3, 2, 5", "0, 3, 4, 1, 5, 2", "DCR"), ("-1, 3, 2, 2, 2, 5", "0, 1, 4, 2, 5, 3", "CRD")],
)
def test_fuses(split: str, perm: str, mode: str) -> None:
    got = apply(fuse_depth_to_space, text(split, perm, "-1, 3, 4, 10"))
    assert (got.fired, got.ops) == (1, ["DepthToSpace"])
    assert got.node("DepthToSpace").attributes.get_string("mode") == mode


@pytest.mark.parametrize(
    ("split", "perm", "out", "fired"),
    [
        ("-1, 2, 3, 2, 2, 5", "0, 3, 4, 1, 5, 2", "-1, 2, 4, 15", 0),
        ("-1, 2, 2, 3, 2, 5", "0, 3, 4, 1, 5, 2", "-1, 3, 10, 4", 0),
        ("-1, 2, 2, 3, 5, 2", "0, 3, 4, 1, 5, 2", "-1, 3, 10, 4", 0),
    ],
)
def test_refuses(split: str, perm: str, out: str, fired: int) -> None:
    got = apply(fuse_depth_to_space, text(split, perm, out))
    assert (got.fired, got.refused) == (fired, ["its sizes are not known to be those of blocks"])


def test_ignores_other_orders() -> None:
    assert (
        apply(fuse_depth_to_space, text("-1, 2, 2, 3, 2, 5", "0, 3, 4, 2, 5, 1", "-1, 3, 4, 10")).fired == 0
    )
