"""Classical models of the domain ai.onnx.ml: linear models, trees, and what prepares their inputs.

Where the specification leaves scores of two classes open, they are those of ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingot.ir.index import Var, ix, var
from ingot.ir.nodes import DTYPES, Acc, Const, Index, Op, Select, Value, as_index
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.contraction import product_of
from ingot.lower.elementwise import FLOATS, const, op
from ingot.lower.operand import Node, Operand, elements_of, object_array
from ingot.lower.reduction import arg_of, reduce, row
from ingot.lower.registry import lowers
from ingot.lower.values import cast, wrap_index
from ingot.lower.writer import Writer

DOMAIN = "ai.onnx.ml"
_PREDICATES = {
    "BRANCH_LEQ": "le", "BRANCH_LT": "lt", "BRANCH_GTE": "ge", "BRANCH_GT": "gt", "BRANCH_EQ": "eq", "BRANCH_NEQ": "ne",
}  # fmt: skip
_MODES = (*_PREDICATES, "BRANCH_MEMBER")
"""In the order of TreeEnsemble's numbers."""
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def attribute_array(node: Node, name: str, dtype: Any = np.float32) -> np.ndarray | None:
    """An attribute that is a list of numbers or strings, or, with "_as_tensor" behind its name, a tensor."""
    tensor = node.get(f"{name}_as_tensor")
    found = tensor if tensor is not None else node.get(name)
    if found is None:
        return None
    if hasattr(found, "numpy"):
        return elements_of(found)
    return object_array([w.encode() for w in found]) if dtype is object else np.asarray(found, dtype)


def labels_of(node: Node, *names: str) -> np.ndarray:
    """What stands for classes: integers, or strings where the attribute's name says so."""
    for name in names:
        found = attribute_array(node, name, object if "strings" in name else np.int64)
        if found is not None and found.size:
            return found
    raise node.unsupported(f"no {' or '.join(names)}", "give such labels")


def _floats(ctx: Context, x: Operand) -> Operand:
    """x as floats."""
    return x if x.dtype in ("f32", "f64") else ctx.map(x.shape, "f32", lambda i: cast(ctx.read(x, i), "f32"))


def single(ctx: Context, x: Operand) -> Operand:
    return x if x.dtype == "f32" else ctx.map(x.shape, "f32", lambda i: cast(ctx.read(x, i), "f32"))


def rows(ctx: Context, x: Operand) -> Operand:
    """x as [N, F]."""
    return ctx.reshape(x, [1, *x.shape]) if x.rank == 1 else x


@lowers("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(ctx: Context, node: Node) -> Operand:
    x, at = node.input(0), node.input(1)
    flat = ctx.reshape(
        at, [math.prod(d.value for d in at.shape)] if at.dims() is not None else [at.shape[-1]]
    )
    x = rows(ctx, x)
    ctx.check_indices(flat, x.shape[-1:], low=0)
    shape = [*x.shape[:-1], flat.shape[0]]
    return ctx.map(
        shape, x.dtype, lambda i: ctx.read(x, [*i[:-1], wrap_index(ctx.read(flat, i[-1:]), x.shape[-1])])
    )


@lowers("Binarizer", domain=DOMAIN)
def binarizer(ctx: Context, node: Node) -> Operand:
    x, threshold = node.input(0), node.get("threshold", 0.0)

    def value(axes: tuple[Var, ...]) -> Value:
        v = ctx.read(x, axes)
        wide = v if v.dtype in FLOATS else cast(v, "f32")
        return cast(op("gt", wide, const(threshold, wide)), x.dtype)

    return ctx.map(x.shape, x.dtype, value)


@lowers("Scaler", domain=DOMAIN)
def scaler(ctx: Context, node: Node) -> Operand:
    x = single(ctx, node.input(0))
    offset, scale = (
        ctx.constant(np.asarray(node.get(name, [default]), np.float32))
        for name, default in (("offset", 0.0), ("scale", 1.0))
    )

    def value(axes: tuple[Var, ...]) -> Value:
        a, b = (ctx.read_broadcast(o, axes) for o in (offset, scale))
        return op("mul", op("sub", ctx.read(x, axes), a), b)

    return ctx.map(x.shape, "f32", value)


@lowers("Normalizer", domain=DOMAIN)
def normalizer(ctx: Context, node: Node) -> Operand:
    """Rows divided by the largest element, the sum of magnitudes or the Euclidean norm; rows of norm 0 stay."""
    x, norm = single(ctx, node.input(0)), node.get("norm", "MAX")
    if norm not in ("MAX", "L1", "L2"):
        raise node.unsupported(f"norm {norm}", "use MAX, L1 or L2")
    before: Callable[[Value], Value] = {
        "MAX": lambda v: v, "L1": lambda v: op("abs", v), "L2": lambda v: op("mul", v, v),
    }[norm]  # fmt: skip
    size = reduce(
        ctx, x, [x.rank - 1], True, "max" if norm == "MAX" else "add", before,
        lambda v: op("sqrt", v) if norm == "L2" else v,
    )  # fmt: skip

    def value(axes: tuple[Var, ...]) -> Value:
        v, total = ctx.read(x, axes), ctx.read_broadcast(size, axes)
        return Select(op("eq", total, const(0, total)), v, op("div", v, total))

    return ctx.map(x.shape, "f32", value)


@lowers("Imputer", domain=DOMAIN)
def imputer(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    kind = ("floats", "float") if x.dtype in FLOATS else ("int64s", "int64")
    given = node.get(f"imputed_value_{kind[0]}")
    if given is None:
        raise node.unsupported(f"no imputed_value_{kind[0]}", "give it values of the input's type")
    values = ctx.constant(np.asarray(given, DTYPES[x.dtype]))
    old = node.get(f"replaced_value_{kind[1]}", 0)

    def value(axes: tuple[Var, ...]) -> Value:
        v = ctx.read(x, axes)
        missing = op("isnan", v) if old != old else op("eq", v, const(old, v))
        return Select(missing, ctx.read_broadcast(values, axes), v)

    return ctx.map(x.shape, x.dtype, value)


@lowers("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(ctx: Context, node: Node) -> Operand:
    return ctx.concat([single(ctx, rows(ctx, x)) for x in node.operands()], 1)


def transformed(ctx: Context, node: Node, scores: Operand, kind: str) -> Operand:
    """The attribute post_transform of scores [N, E]."""
    if kind not in _TRANSFORMS:
        raise node.unsupported(f"post_transform {kind}", f"use one of {', '.join(_TRANSFORMS)}")
    if kind == "SOFTMAX":
        return row(ctx, scores, [1], "softmax")
    if kind == "LOGISTIC":
        return ctx.map(scores.shape, "f32", lambda i: op("sigmoid", ctx.read(scores, i)))
    if kind == "PROBIT":
        return ctx.map(scores.shape, "f32", lambda i: _probit(ctx.read(scores, i)))
    if kind == "NONE":
        return scores

    def small(v: Value) -> Value:
        return op("lt", op("abs", v), const(1e-7, v))

    top = reduce(ctx, scores, [1], True, "max")

    def power(axes: tuple[Var, ...]) -> Value:
        v = ctx.read(scores, axes)
        return Select(small(v), const(0, v), op("exp", op("sub", v, ctx.read_broadcast(top, axes))))

    powers = ctx.map(scores.shape, "f32", power)
    total = reduce(ctx, powers, [1], True, "add")

    def value(axes: tuple[Var, ...]) -> Value:
        v, whole = ctx.read(powers, axes), ctx.read_broadcast(total, axes)
        return Select(op("gt", whole, const(0, whole)), op("div", v, whole), v)

    return ctx.map(scores.shape, "f32", value)


def _probit(x: Value) -> Value:
    """The quantile function of the normal distribution, by the inverse of erf of Winitzki (2008), a = 0.147."""
    y = op("sub", op("mul", x, const(2, x)), const(1, x))
    log = op("log", op("mul", op("sub", const(1, y), y), op("add", const(1, y), y)))
    v = op("add", op("mul", log, const(0.5, log)), const(2 / (math.pi * 0.147), log))
    root = op("sqrt", op("sub", op("mul", v, v), op("mul", log, const(1 / 0.147, log))))
    size = op("sqrt", op("sub", root, v))
    return op("mul", op("mul", op("sign", y), size), const(math.sqrt(2), size))


def _classified(
    ctx: Context, node: Node, scores: Operand, labels: np.ndarray, threshold: float, complement: bool
) -> list[Operand]:
    """(label, scores) of each row.

    One score of two classes is that of the second one, chosen above `threshold`. The first one's is 1 minus it with
    `complement`, else its negative, or with LOGISTIC its logistic function of that.
    """
    table, kind = ctx.constant(labels), node.get("post_transform", "NONE")
    n, count = scores.shape[0], scores.shape[1].value

    if count > 1 or len(labels) != 2:
        best = arg_of(ctx, scores, 1, False, "argmax")
        chosen = ctx.map(
            [n], table.dtype, lambda i: ctx.read(table, [wrap_index(ctx.read(best, i), ix(len(labels)))])
        )
        return [chosen, transformed(ctx, node, scores, kind)]

    chosen = above(ctx, scores, 0, labels, threshold)
    return [chosen, scores_of_two(ctx, scores, kind, complement)]


def scores_of_two(ctx: Context, scores: Operand, kind: str, complement: bool) -> Operand:
    """[N, 2] of the scores [N, 1] of the second class; complement: whether the first one's is 1 minus it."""

    def score(axes: tuple[Var, ...]) -> Value:
        v, second = ctx.read(scores, [axes[0], 0]), op("eq", Index(ix(axes[1])), Const(1, "i64"))
        if complement:
            return Select(second, v, op("sub", const(1, v), v))
        both = Select(second, v, op("neg", v))
        return op("sigmoid", both) if kind == "LOGISTIC" else both

    return ctx.map([scores.shape[0], 2], "f32", score)


def above(ctx: Context, scores: Operand, column: int, labels: np.ndarray, threshold: float) -> Operand:
    """The second label where a score is above a threshold, else the first."""
    table = ctx.constant(labels)

    def label(axes: tuple[Var, ...]) -> Value:
        v = ctx.read(scores, [axes[0], column])
        return Select(op("gt", v, const(threshold, v)), ctx.read(table, [1]), ctx.read(table, [0]))

    return ctx.map([scores.shape[0]], table.dtype, label)


def affine(ctx: Context, x: Operand, weights: np.ndarray, bias: np.ndarray | None) -> Operand:
    """x [N, F] times weights [E, F] transposed, and a bias."""
    ctx.require(x.shape[1], ix(weights.shape[1]))
    table = ctx.constant(np.ascontiguousarray(weights.T))
    added = None if bias is None or not bias.size else ctx.constant(bias)

    def finish(axes: tuple[Var, ...]) -> Value:
        return Acc("f32") if added is None else op("add", Acc("f32"), ctx.read(added, axes[1:]))

    return product_of(ctx, x, table, (x.shape[0], ix(len(weights))), finish)


@lowers("LinearRegressor", domain=DOMAIN)
def linear_regressor(ctx: Context, node: Node) -> Operand:
    x = single(ctx, rows(ctx, node.input(0)))
    weights = np.asarray(node.attributes["coefficients"], np.float32).reshape(node.get("targets", 1), -1)
    scores = affine(ctx, x, weights, attribute_array(node, "intercepts"))
    return transformed(ctx, node, scores, node.get("post_transform", "NONE"))


@lowers("LinearClassifier", domain=DOMAIN)
def linear_classifier(ctx: Context, node: Node) -> list[Operand]:
    x = single(ctx, rows(ctx, node.input(0)))
    labels = labels_of(node, "classlabels_ints", "classlabels_strings")
    width = x.shape[1]
    if not width.is_const:
        raise node.unsupported("a number of features known only at run time", "give the input a shape")
    weights = np.asarray(node.attributes["coefficients"], np.float32).reshape(-1, width.value)
    scores = affine(ctx, x, weights, attribute_array(node, "intercepts"))
    return _classified(ctx, node, scores, labels, 0.0, True)


@dataclass
class _Forest:
    """Trees in one table of nodes; a leaf's branches lead to itself. modes: names by node, "LEAF" for a leaf.

    weights: [node, target], what a leaf adds. members: of each node the values of its set.
    """

    features: np.ndarray
    modes: list[str]
    values: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing: np.ndarray
    roots: np.ndarray
    weights: np.ndarray
    voted: np.ndarray
    members: list[np.ndarray]

    def depth(self) -> int:
        """The longest way from a root to a leaf. Raises ValueError for a cycle or a branch to nowhere."""
        if any(((a < 0) | (a >= len(self.modes))).any() for a in (self.true, self.false, self.roots)):
            raise ValueError("a branch leads to no node")
        level, deepest = np.unique(self.roots), 0
        leaf = np.array([m == "LEAF" for m in self.modes])
        while not leaf[level].all():
            inner = level[~leaf[level]]
            level, deepest = np.unique(np.concatenate([self.true[inner], self.false[inner]])), deepest + 1
            if deepest > len(self.modes):
                raise ValueError("a tree has a cycle")
        return deepest


def _votes(
    node: Node, prefix: str, count: int, place: Mapping[tuple[int, int], int], combine: np.ufunc
) -> tuple[np.ndarray, np.ndarray]:
    """weights and voted of a forest whose leaves vote in lists; several votes of a leaf for a target are combined."""
    given = attribute_array(node, f"{prefix}_weights")
    assert given is not None
    weights, voted = np.zeros((len(place), count), given.dtype), np.zeros((len(place), count), bool)
    lists = (node.attributes[f"{prefix}_{name}"] for name in ("treeids", "nodeids", "ids"))
    for tree, leaf, target, weight in zip(*lists, given, strict=True):
        at = place[int(tree), int(leaf)], int(target)
        weights[at] = combine(weights[at], weight) if voted[at] else weight
        voted[at] = True
    return weights, voted


def _old_forest(node: Node, prefix: str, count: int, combine: np.ufunc) -> _Forest:
    """Of TreeEnsembleClassifier and TreeEnsembleRegressor, where a node is named by its tree and its number in it."""
    trees, numbers = (np.asarray(node.attributes[f"nodes_{n}"], np.int64) for n in ("treeids", "nodeids"))
    place = {(int(t), int(n)): i for i, (t, n) in enumerate(zip(trees, numbers, strict=True))}
    modes = [str(m) for m in node.attributes["nodes_modes"]]
    own = np.arange(len(modes))

    def branch(name: str) -> np.ndarray:
        found = node.attributes[f"nodes_{name}nodeids"]
        return np.array([i if modes[i] == "LEAF" else place[int(trees[i]), int(found[i])] for i in own])

    values = attribute_array(node, "nodes_values")
    assert values is not None
    roots = np.array([i for i in own if i == 0 or trees[i] not in trees[:i]])
    missing = np.asarray(node.get("nodes_missing_value_tracks_true") or np.zeros(len(own)), bool)
    weights, voted = _votes(node, prefix, count, place, combine)
    return _Forest(
        np.asarray(node.attributes["nodes_featureids"], np.int64), modes, values, branch("true"), branch("false"), missing,
        roots, weights, voted, [values[:0]] * len(own),
    )  # fmt: skip


def _new_forest(node: Node, count: int) -> _Forest:
    """Of TreeEnsemble, where inner nodes and leaves have tables of their own; leaves come after the inner nodes here."""
    numbers = {
        n: np.asarray(node.attributes[n], np.int64)
        for n in ("leaf_targetids", "nodes_featureids", "tree_roots")
    }
    splits, leaf_weights, given = (
        attribute_array(node, n) for n in ("nodes_splits", "leaf_weights", "nodes_modes")
    )
    assert splits is not None
    assert leaf_weights is not None
    assert given is not None
    inner, leaves = len(splits), len(leaf_weights)
    own = np.arange(inner, inner + leaves)

    def branch(side: str) -> np.ndarray:
        ids, leaf = (np.asarray(node.attributes[f"nodes_{side}{n}"], np.int64) for n in ("nodeids", "leafs"))
        return np.concatenate([np.where(leaf != 0, ids + inner, ids), own])

    def widened(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros(leaves, values.dtype)])

    modes = [*(_MODES[int(m)] for m in given), *["LEAF"] * leaves]
    sets = iter(_sets(attribute_array(node, "membership_values")))
    members = [next(sets) if m == "BRANCH_MEMBER" else splits[:0] for m in modes]
    weights, voted = (
        np.zeros((inner + leaves, count), leaf_weights.dtype),
        np.zeros((inner + leaves, count), bool),
    )
    weights[own, numbers["leaf_targetids"]] = leaf_weights
    voted[own, numbers["leaf_targetids"]] = True
    missing = np.asarray(node.get("nodes_missing_value_tracks_true") or np.zeros(inner), bool)
    return _Forest(
        widened(numbers["nodes_featureids"]), modes, widened(splits), branch("true"), branch("false"), widened(missing),
        numbers["tree_roots"], weights, voted, members,
    )  # fmt: skip


def _sets(values: np.ndarray | None) -> list[np.ndarray]:
    """The sets of a list in which a NaN ends each."""
    if values is None:
        return []
    ends = np.flatnonzero(np.isnan(values))
    return [part[~np.isnan(part)] for part in np.split(values, ends + 1)]


def _leaves(ctx: Context, node: Node, x: Operand, forest: _Forest) -> Operand:
    """The leaf that each row ends in in each tree: [N, trees]."""
    dtype = "f64" if "f64" in (x.dtype, ctx.constant(forest.values).dtype) else "f32"
    sizes = [len(m) for m in forest.members]
    first = np.concatenate([[0], np.cumsum(sizes)])
    sets = np.concatenate([*forest.members, np.zeros(1)])
    tables = {
        "feature": forest.features, "value": forest.values, "true": forest.true, "false": forest.false,
        "missing": forest.missing, "roots": forest.roots, "set": sets, "first": first[:-1], "last": first[1:],
        "mode": np.array([_MODES.index(m) if m in _MODES else -1 for m in forest.modes], np.int8),
    }  # fmt: skip
    read = {name: ctx.constant(np.ascontiguousarray(a)) for name, a in tables.items()}
    used = sorted(set(forest.modes) - {"LEAF"}, key=lambda m: (m == "BRANCH_MEMBER", m))
    for mode in used:
        if mode not in _MODES:
            raise node.unsupported(f"nodes_modes {mode}", f"use {', '.join(_MODES)} or LEAF")
    count, depth = len(forest.modes), forest.depth()
    output = ctx.tensor("i64", [x.shape[0], len(forest.roots)])

    def body(r: Writer) -> None:
        sample, tree = r.tasks
        at = r.let(cast(ctx.read(read["roots"], [tree]), "i64"), "node")
        with r.loop(depth):
            here = r.define(as_index(at), count)
            feature = r.define(wrap_index(ctx.read(read["feature"], [here]), x.shape[1]), x.shape[1])
            v = r.let(cast(ctx.read(x, [sample, feature]), dtype), "x")
            split = cast(ctx.read(read["value"], [here]), dtype)
            mode = ctx.read(read["mode"], [here])
            test: Value = Const(True, "bool")
            for number, name in enumerate(used):
                if name == "BRANCH_MEMBER":
                    inside = r.let(Const(False, "bool"), "inside")
                    low, high = (as_index(cast(ctx.read(read[n], [here]), "i64")) for n in ("first", "last"))
                    with r.loop(len(sets), start=low, stop=high) as i:
                        equal = op("eq", v, cast(ctx.read(read["set"], [i]), dtype))
                        r.assign(inside, Op("or", (inside, equal), "bool"))
                    one: Value = inside
                else:
                    one = op(_PREDICATES[name], v, split)
                here_too = op("eq", mode, Const(_MODES.index(name), "i8"))
                test = Select(here_too, one, test) if number else one
            if forest.missing.any():
                tracked = Op("and", (op("isnan", v), ctx.read(read["missing"], [here])), "bool")
                test = Op("or", (test, tracked), "bool")
            branches = [cast(ctx.read(read[side], [here]), "i64") for side in ("true", "false")]
            r.assign(at, Select(test, *branches))
        r.write(output, [sample, tree], at)

    work = 8 * max(depth, 1)
    return ctx.routine("trees", [output], body, tasks=[x.shape[0], len(forest.roots)], work=work)[0]


def _voted(
    ctx: Context,
    x: Operand,
    leaves: Operand,
    forest: _Forest,
    targets: Sequence[int],
    aggregate: str,
    base: np.ndarray | None,
) -> Operand:
    """What the trees say of some targets: [N, targets]; a target without a vote has 0."""
    weights, voted = forest.weights[:, list(targets)], forest.voted[:, list(targets)]
    extreme = aggregate in ("MIN", "MAX")
    if extreme:
        weights = np.where(voted, weights, np.inf if aggregate == "MIN" else -np.inf).astype(weights.dtype)
    table = ctx.constant(np.ascontiguousarray(weights))
    shape = (x.shape[0], ix(len(targets)))
    out, trees = ctx.axes(shape), len(forest.roots)
    over = var(ctx.unique("r"), trees)
    leaf = wrap_index(ctx.read(leaves, [out[0], over]), ix(len(weights)))
    total: Value = Acc(table.dtype)
    if aggregate == "AVERAGE":
        total = op("div", total, const(trees, total))
    if extreme:
        total = Select(op("isinf", total), const(0, total), total)
    if base is not None and base.size:
        total = op("add", total, cast(ctx.read(ctx.constant(base), [out[1]]), total.dtype))
    name = {"MIN": "min", "MAX": "max"}.get(aggregate, "add")
    output = ctx.tensor(table.dtype, shape)
    return ctx.add(Reduce(output, out, total, name, (over,), ctx.read(table, [leaf, out[1]])))


@lowers("TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble_regressor(ctx: Context, node: Node) -> Operand:
    x, count = _floats(ctx, node.input(0)), int(node.get("n_targets", 1))
    aggregate = node.get("aggregate_function", "SUM")
    if aggregate not in _AGGREGATES:
        raise node.unsupported(f"aggregate_function {aggregate}", f"use one of {', '.join(_AGGREGATES)}")
    forest = _old_forest(node, "target", count, {"MIN": np.minimum, "MAX": np.maximum}.get(aggregate, np.add))
    scores = _voted(
        ctx,
        x,
        _leaves(ctx, node, x, forest),
        forest,
        range(count),
        aggregate,
        attribute_array(node, "base_values"),
    )
    return transformed(ctx, node, single(ctx, scores), node.get("post_transform", "NONE"))


@lowers("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(ctx: Context, node: Node) -> list[Operand]:
    """Where all weights are of one class of two, the label is the second one where their sum is above 0.5, or above 0
    where some weight is negative; if that class is the first one, its score stands for the second."""
    x, labels = _floats(ctx, node.input(0)), labels_of(node, "classlabels_int64s", "classlabels_strings")
    forest = _old_forest(node, "class", len(labels), np.add)
    leaves, base = _leaves(ctx, node, x, forest), attribute_array(node, "base_values")
    named = sorted({int(i) for i in node.attributes["class_ids"]})
    binary = len(labels) == 2 and len(named) == 1
    positive = bool((forest.weights >= 0).all())
    threshold = 0.5 if positive else 0.0
    if binary and named == [0]:
        base = base[-1:] if base is not None else None
        scores = single(ctx, _voted(ctx, x, leaves, forest, named, "SUM", base))
        return _classified(ctx, node, scores, labels, threshold, positive)
    scores = single(ctx, _voted(ctx, x, leaves, forest, range(len(labels)), "SUM", base))
    if binary:
        chosen = above(ctx, scores, 1, labels, threshold)
        return [chosen, transformed(ctx, node, scores, node.get("post_transform", "NONE"))]
    return _classified(ctx, node, scores, labels, threshold, positive)


@lowers("TreeEnsemble", domain=DOMAIN)
def tree_ensemble(ctx: Context, node: Node) -> Operand:
    x, count = node.input(0), int(node.get("n_targets", 1))
    forest = _new_forest(node, count)
    aggregate = _AGGREGATES[int(node.get("aggregate_function", 1))]
    scores = _voted(ctx, x, _leaves(ctx, node, x, forest), forest, range(count), aggregate, None)
    kind = _TRANSFORMS[int(node.get("post_transform", 0))]
    return scores if kind == "NONE" else transformed(ctx, node, scores, kind)
