from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_casts


def text(source: str, first: int, second: int) -> str:
    kind = {1: "float", 7: "int64", 11: "double", 9: "bool", 10: "float16"}[second]
    return f"g ({source}[3] x) => ({kind}[3] y) {{ a = Cast<to = {first}>(x) y = Cast<to = {second}>(a) }}"


@pytest.mark.parametrize(
    ("source", "first", "second"),
    [("float", 11, 1), ("float", 11, 7), ("int32", 7, 1), ("bool", 1, 7), ("float16", 1, 10)],
)
def test_merges(source: str, first: int, second: int) -> None:
    got = apply(merge_casts, text(source, first, second))
    assert got.fired == 1
    assert got.model.graph[-1].inputs[0] is got.model.graph.inputs[0]


@pytest.mark.parametrize(
    ("source", "first", "second"), [("float", 7, 1), ("float", 10, 1), ("int64", 1, 7), ("float", 9, 1)]
)
def test_refuses(source: str, first: int, second: int) -> None:
    got = apply(merge_casts, text(source, first, second))
    assert (got.fired, got.refused) == (0, ["the first Cast may lose something"])
