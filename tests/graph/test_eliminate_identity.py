from __future__ import annotations

from graphcase import apply

from ingot.graph.rules import eliminate_identity


def test_between_nodes_and_at_the_output() -> None:
    got = apply(
        eliminate_identity, "g (float[N] x) => (float[N] y) { a = Identity(x) b = Neg(a) y = Identity(b) }"
    )
    assert got.fired == 2
    assert got.ops == ["Neg"]
    assert got.node("Neg").outputs[0].name == "y"


def test_of_an_outer_value_in_a_subgraph() -> None:
    got = apply(
        eliminate_identity,
        """g (bool c, float[2] x) => (float[2] y) {
          y = If(c) <then_branch = t () => (float[2] a) { k = Identity(x) a = Neg(k) },
                     else_branch = e () => (float[2] b) { b = Identity(x) }>
        }""",
    )
    assert got.fired == 1
    assert got.refused == ["it names an output of its graph"]


def test_refuses_to_rename_inputs_constants_and_outputs() -> None:
    got = apply(
        eliminate_identity,
        """g (float[2] x) => (float[2] y, float[2] z, float[2] u, float[2] v) <float[2] w = {1, 2}>
        { y = Identity(x) z = Identity(w) u = Neg(x) v = Identity(u) }""",
    )
    assert got.fired == 0
    assert len(got.refused) == 3


def test_two_outputs_from_one_value() -> None:
    got = apply(
        eliminate_identity,
        "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) y = Identity(a) z = Identity(a) }",
    )
    assert got.fired == 1
    assert sorted(got.ops) == ["Identity", "Neg"]
