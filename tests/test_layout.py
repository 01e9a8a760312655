"""Which layouts are chosen, that nothing cheaper was missed, and that kernels are right in each of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import normal, parse

import ingot
from ingot import compiler
from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.ir.index import ix, var
from ingot.ir.program import Dense, Fill, Operation, Program, Tensor
from ingot.kernels.access import Accesses, Sample, Walk
from ingot.kernels.layout_cost import LayoutCost
from ingot.lower import lowering
from ingot.oracle import interpret_model
from ingot.report.page import page_data
from ingot.schedule import assignment
from ingot.schedule.assignment import Assignment, Cost, choose
from ingot.schedule.fuse import fuse
from ingot.schedule.layout import FAMILIES, Layout, alternatives, assign, row_major
from ingot.schedule.memory import typical_values
from ingot.schedule.minimise import Factor, minimise, total
from ingot.target import resolve
from ingot.testing import CLOSE, assert_close, reference

TARGET = resolve("avx512")


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], list[Factor]]:
    """Choices and costs of up to three of them."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    factors = []
    for _ in range(draw(st.integers(0, 8))):
        choices = sorted(draw(st.sets(st.integers(0, len(sizes) - 1), max_size=3)))
        shape = [sizes[c] for c in choices]
        entries = draw(
            st.lists(st.integers(0, 9), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
        )
        factors.append(Factor(tuple(choices), np.array(entries, np.int64).reshape(shape)))
    return sizes, factors


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_search_finds_what_enumeration_finds(problem: tuple[list[int], list[Factor]]) -> None:
    sizes, factors = problem
    found = minimise(sizes, factors)
    costs = {picks: total(factors, picks) for picks in itertools.product(*map(range, sizes))}
    assert found.exact
    assert found.cost == costs[tuple(found.picks)] == min(costs.values())
    zeros = (0,) * len(sizes)
    assert tuple(found.picks) == zeros or costs[zeros] > found.cost


@settings(max_examples=100, deadline=None)
@given(problems())
def test_where_tables_get_too_large_it_improves_step_by_step(problem: tuple[list[int], list[Factor]]) -> None:
    sizes, factors = problem
    found = minimise(sizes, factors, largest=2)
    least = min(total(factors, picks) for picks in itertools.product(*map(range, sizes)))
    assert found.cost == total(factors, found.picks) >= least
    assert found.cost <= total(factors, [0] * len(sizes))
    assert found.cost == least or not found.exact


def program_of(model: onnx.ModelProto) -> Program:
    graph = load_model(model)
    optimize(graph)
    return fuse(lowering.lower(graph, "net"))


def chosen(model: onnx.ModelProto) -> Assignment:
    program = program_of(model)
    return choose(program, TARGET.lanes, LayoutCost(TARGET, typical_values(program)))


def channels_first() -> onnx.ModelProto:
    """A padded convolution, one that reads every second pixel channel by channel, a pooling, a concatenation, a sum."""
    text = """net (float[1, 20, 6, 6] x) => (float[1, 44, 3, 3] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        r = Relu(a)
        d = Conv <group = 20, pads = [1, 1, 1, 1], strides = [2, 2]> (r, v)
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
        s = Add(d, p)
        e = Conv (s, u)
        f = Sigmoid(e)
        y = Concat <axis = 1> (f, s)
    }"""
    return parse(text, {"w": normal(20, 20, 3, 3), "v": normal(20, 1, 3, 3), "u": normal(24, 20, 1, 1)})


def head() -> onnx.ModelProto:
    """Convolutions, and then a softmax of groups of channels for each pixel, pixels first."""
    text = """net (float[1, 3, 4, 4] x) => (float[1, 16, 4, 16] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Relu(a)
        c = Conv (b, v)
        t = Transpose <perm = [0, 2, 3, 1]> (c)
        g = Reshape(t, shape)
        y = Softmax <axis = 3> (g)
    }"""
    shape = np.array([1, 16, 4, 16], np.int64)
    return parse(text, {"w": normal(16, 3, 3, 3), "v": normal(64, 16, 1, 1), "shape": shape})


def means() -> onnx.ModelProto:
    """A convolution channel by channel, and a mean over pixels whose channels fill no vectors."""
    text = """net (float[1, 24, 5, 5] x) => (float[1, 40, 1, 1] y) {
        d = Conv <group = 24, pads = [1, 1, 1, 1]> (x, v)
        r = Relu(d)
        a = Conv (r, w)
        b = Relu(a)
        y = GlobalAveragePool(b)
    }"""
    return parse(text, {"v": normal(24, 1, 3, 3), "w": normal(40, 24, 1, 1)})


def channels_last() -> onnx.ModelProto:
    """What comes from TensorFlow: transposes around each convolution, the model's inputs and outputs channels last."""
    text = """net (float[1, 5, 5, 4] x) => (float[1, 5, 5, 32] y) {
        i = Transpose <perm = [0, 3, 1, 2]> (x)
        a = Conv (i, w)
        b = Transpose <perm = [0, 2, 3, 1]> (a)
        r = Relu(b)
        j = Transpose <perm = [0, 3, 1, 2]> (r)
        c = Conv <pads = [1, 1, 1, 1]> (j, v)
        y = Transpose <perm = [0, 2, 3, 1]> (c)
    }"""
    return parse(text, {"w": normal(16, 4, 1, 1), "v": normal(32, 16, 3, 3)})


def rows() -> onnx.ModelProto:
    """A normalisation over the last axis, products, a softmax and a product of two results, of any number of rows."""
    text = """net (float[N, 5, 24] x) => (float[N, 5, 5] y) {
        n = LayerNormalization (x, scale)
        a = MatMul(n, w)
        g = Gelu(a)
        b = MatMul(g, v)
        c = MatMul(n, u)
        t = Transpose <perm = [0, 2, 1]> (c)
        m = MatMul(b, t)
        y = Softmax(m)
    }"""
    arrays = {"w": normal(24, 40), "v": normal(40, 16), "u": normal(24, 16), "scale": normal(24)}
    return parse(text, arrays, opset=20)


MODELS = {"first": channels_first, "head": head, "means": means, "last": channels_last, "rows": rows}


def checked(model: onnx.ModelProto) -> None:
    """The interpreted kernels compute what ONNX Runtime does."""
    inputs = model.graph.input
    shapes = [[d.dim_value or 2 for d in i.type.tensor_type.shape.dim] for i in inputs]
    feed = {i.name: normal(*shape) for i, shape in zip(inputs, shapes, strict=True)}
    for got, wanted in zip(interpret_model(model, target="avx2")(feed), reference(model, feed), strict=True):
        assert_close(got, wanted, CLOSE, reduction=1000)


class Forced:
    """A cost that is least where one tensor lies in one layout and all others as the rules say."""

    def __init__(self, tensor: str, layout: Layout, rules: Mapping[str, Layout]) -> None:
        self._wanted = {**rules, tensor: layout}

    def __call__(self, operation: Operation, layouts: Mapping[Tensor, Layout]) -> int:
        roots = {t.root()[0] for t in (*operation.writes(), *operation.inputs())}
        return sum(1000 for t in roots if t.name in self._wanted and layouts[t] != self._wanted[t.name])


def forced_layouts(model: onnx.ModelProto, lanes: int) -> list[Forced]:
    program = program_of(model)
    rules = assign(program, lanes)
    names = {t.name: layout for t, layout in rules.items() if t.kind == "temp"}
    return [
        Forced(tensor.name, layout, names)
        for tensor, by_kind in alternatives(program, rules, lanes).items()
        if tensor.kind == "temp"
        for layout in dict.fromkeys(by_kind.values())
        if layout != rules[tensor]
    ]


@pytest.mark.parametrize("name", MODELS)
def test_kernels_are_right_in_every_layout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[name]()
    taken: list[Assignment] = []

    def watched(program: Program, lanes: int, cost: Cost) -> Assignment:
        taken.append(choose(program, lanes, cost))
        return taken[-1]

    monkeypatch.setattr(compiler, "choose", watched)
    for forced in forced_layouts(model, resolve("avx2").lanes):
        monkeypatch.setattr(compiler, "LayoutCost", lambda target, sizes, forced=forced: forced)
        checked(model)
        assert taken[-1].total == 0


class Mixed:
    """Costs that depend on the layouts in no sensible way: they lead to any layouts, and to copies."""

    def __init__(self, seed: int) -> None:
        self._seed, self._known = seed, dict[Any, int]()

    def __call__(self, operation: Operation, layouts: Mapping[Tensor, Layout]) -> int:
        roots = dict.fromkeys(t.root()[0] for t in (*operation.writes(), *operation.inputs()))
        key = (operation.output.name, *((t.name, layouts[t]) for t in roots))
        digits = sum(i * b for i, b in enumerate(repr(key).encode(), self._seed))
        return self._known.setdefault(key, digits % 997)


@pytest.mark.parametrize("name", MODELS)
def test_kernels_are_right_in_any_mixture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[name]()
    for seed in range(2):
        monkeypatch.setattr(compiler, "LayoutCost", lambda target, sizes, seed=seed: Mixed(seed))
        checked(model)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_cheaper_was_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all assignments without copies."""
    monkeypatch.setattr(assignment, "CAUTION", 1 << 60)
    model = MODELS[name]()
    found = chosen(model)
    program = program_of(model)
    cost = LayoutCost(TARGET, typical_values(program))
    rules = assign(program, TARGET.lanes)
    options = {
        t: list(dict.fromkeys((rules[t], *by_kind.values())))
        for t, by_kind in alternatives(program, rules, TARGET.lanes).items()
        if t.kind == "temp"
    }

    def cycles(layouts: Sequence[Layout]) -> int:
        at = {**rules, **dict(zip(options, layouts, strict=True))}
        return sum(cost(o, at) for o in program.operations)

    least = min(map(cycles, itertools.product(*options.values())))
    copies = sum(c.inserted for c in found.conversions)
    assert found.exact
    assert found.rules == cycles([rules[t] for t in options])
    assert found.total == least if not copies else found.total < least


def test_a_mixture_beats_every_single_layout() -> None:
    """Blocks for what is computed channel by channel, the channels last for the mean: it reads vectors of sixteen of them, of
    blocks of eight, which 200 channels lie in by the rules, single elements."""
    found = chosen(means())
    assert sorted(found.kinds.values()) == ["blocked", "blocked", "channels last"]
    assert found.total < 0.9 * min(found.single.values())
    assert found.total < 0.9 * found.rules


def test_transposes_become_the_layout() -> None:
    """A model from TensorFlow: products that read and write where the tensors lie, and nothing that only moves elements."""
    program = program_of(channels_last())
    found = choose(program, TARGET.lanes, LayoutCost(TARGET, {}))
    assert [type(o) for o in program.operations] == [Fill, Dense, Dense]
    assert set(found.kinds.values()) == {"channels last"}
    assert sum(c.cycles for c in found.conversions) < 0.01 * found.total


def test_ties_keep_the_rules() -> None:
    for make in MODELS.values():
        program = program_of(make())
        rules = assign(program, TARGET.lanes)
        found = choose(program, TARGET.lanes, lambda operation, layouts: 7)
        assert found.layouts == rules
        assert not found.conversions


def test_small_gains_keep_the_rules() -> None:
    """Estimates are not exact to some per cent."""
    program = program_of(means())
    rules = assign(program, TARGET.lanes)

    def nearly(operation: Operation, layouts: Mapping[Tensor, Layout]) -> int:
        root = operation.output.root()[0]
        return 1000 if layouts[root] == rules.get(root) else 980

    found = choose(program, TARGET.lanes, nearly)
    assert found.layouts == rules


@pytest.mark.parametrize("name", MODELS)
def test_the_figures_add_up(name: str) -> None:
    package = ingot.compile(MODELS[name](), target="avx512", emit="source")
    layout = package.manifest["layout"]
    data = page_data(MODELS[name](), target="avx512")
    steps = data["operations"]
    assert layout["cycles"] == sum(step["cycles"] or 0 for step in steps) > 0
    assert layout["conversion_cycles"] == sum(c["cycles"] for c in layout["conversions"])
    assert layout["conversion_cycles"] == sum(step["conversion"] for step in steps) < layout["cycles"]
    assert layout["copies"] == sum(c["inserted"] for c in layout["conversions"])
    assert sum(layout["tensors"].values()) == len(layout["layouts"])
    assert set(layout["single"]) == set(FAMILIES)
    best = layout["single"][layout["best_single"]]
    assert best == min(layout["single"].values())
    assert layout["saved"] == pytest.approx(1 - layout["cycles"] / best)
    summary = {k: v for k, v in layout.items() if k not in ("layouts", "conversions")}
    assert package.report["layout"] == data["layout"] == summary


@pytest.mark.parametrize(
    ("offsets", "walk"),
    [
        ([0, 1, 2, 3], Walk.NEXT),
        ([5, 5, 5, 5], Walk.SAME),
        ([0, 8, 16, 24], Walk.APART),
        ([0, 1, 0, 1], Walk.NEAR),
        ([0, 1, 16, 17], Walk.ANYHOW),
    ],
)
def test_how_the_elements_of_a_vector_lie(offsets: list[int], walk: Walk) -> None:
    lane, tensor = var("lane", 4), Tensor("t", "f32", (ix(64),))
    sample = Sample({lane: np.array(offsets)})
    assert Accesses({}).walk(tensor, (ix(lane),), {tensor: row_major(1)}, sample) is walk
