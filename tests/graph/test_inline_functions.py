from __future__ import annotations

from graphcase import apply, parse

from ingot.graph.rules import inline_functions

TEXT = """<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
agraph (float[N] x) => (float[N] y) {{ a = mine.twice<k = 3.0>(x) y = mine.twice<k = 2.0>(a) }}
<domain: "mine", opset_import: ["" : {version}]>
twice <k> (v) => (w) {{ c = Constant<value_float: float = @k>() t = mine_inner(v) w = Mul(t, c) }}
<domain: "mine", opset_import: ["" : 17]>
unused (v) => (w) {{ w = Neg(v) }}
"""


def test_calls_become_nodes_with_distinct_names() -> None:
    got = apply(inline_functions, TEXT.format(version=17).replace("mine_inner", "Abs"), infer=False)
    assert got.fired == 2
    assert got.ops == ["Constant", "Abs", "Mul"] * 2
    assert not got.model.functions
    names = [out.name for node in got.model.graph for out in node.outputs]
    assert len(set(names)) == len(names)


def test_refuses_another_operator_set() -> None:
    got = apply(
        inline_functions, TEXT.format(version=13).replace("mine_inner", "Abs"), infer=False, run=False
    )
    assert got.fired == 0
    assert set(got.refused) == {"its operator set version differs from the model's"}
    assert len(got.model.functions) == 2


def test_without_functions() -> None:
    assert inline_functions.apply(parse("g (float[1] x) => (float[1] y) { y = Neg(x) }")) == 0
