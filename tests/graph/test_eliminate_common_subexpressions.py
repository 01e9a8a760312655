from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import eliminate_common_subexpressions


def test_equal_nodes_merge_in_one_pass() -> None:
    got = apply(
        eliminate_common_subexpressions,
        """g (float[2, 3] x) => (float[2, 3] y) {
          a = Softmax<axis = 1>(x) b = Softmax<axis = 1>(x) c = Neg(a) d = Neg(b) y = Add(c, d)
        }""",
    )
    assert got.fired == 2
    assert got.ops == ["Softmax", "Neg", "Add"]


def test_an_output_takes_the_place_of_its_twin() -> None:
    got = apply(
        eliminate_common_subexpressions,
        "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) y = Exp(a) z = Neg(x) }",
    )
    assert got.fired == 1
    assert got.node("Neg").outputs[0].name == "z"


def test_multiple_outputs() -> None:
    got = apply(
        eliminate_common_subexpressions,
        "g (float[4] x) => (float[2] y) { a, b = Split(x) c, d = Split(x) e = Add(a, d) y = Add(e, b) }",
    )
    assert got.ops == ["Split", "Add", "Add"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Softmax<axis = 0>(x) b = Softmax<axis = 1>(x)",
        "a = Sub(x, w) b = Sub(w, x)",
        "a = custom.Mystery(x) b = custom.Mystery(x)",
        "a = RandomNormalLike(x) b = RandomNormalLike(x)",
        "a = RandomUniform<shape = [2, 3]>() b = RandomUniform<shape = [2, 3]>()",
        "a = Clip(x, w) b = Clip(x, , w)",
    ],
)
def test_refuses_what_may_differ(body: str) -> None:
    text = f"g (float[2, 3] x, float w) => (float[2, 3] y) {{ {body} y = Add(a, b) }}"
    assert apply(eliminate_common_subexpressions, text, run=False).fired == 0


def test_refuses_two_outputs() -> None:
    got = apply(
        eliminate_common_subexpressions,
        "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Neg(x) }",
    )
    assert got.refused == ["it is an output of its graph, and so is its twin"]


def test_each_subgraph_is_its_own_world() -> None:
    got = apply(
        eliminate_common_subexpressions,
        """g (bool c, float[2] x) => (float[2] y) {
          y = If(c) <then_branch = t () => (float[2] a) { k = Exp(x) l = Exp(x) a = Add(k, l) },
                     else_branch = e () => (float[2] b) { m = Exp(x) b = Neg(m) }>
        }""",
    )
    assert got.fired == 1
    assert got.ops.count("Exp") == 2
