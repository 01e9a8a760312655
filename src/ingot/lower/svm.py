"""Support vector machines of the domain ai.onnx.ml.

Where the specification leaves labels and scores of two classes open, they are those of ONNX Runtime.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ingot.ir.index import Ix, Var, ix, var
from ingot.ir.nodes import Acc, Const, Index, Local, Select, Value
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.elementwise import clip, const, op
from ingot.lower.ml import (
    DOMAIN,
    affine,
    attribute_array,
    labels_of,
    rows,
    scores_of_two,
    single,
    transformed,
)
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import arg_of, reduce
from ingot.lower.registry import lowers
from ingot.lower.values import wrap_index
from ingot.lower.writer import Writer

MOST_TURNS = 100
"""Of the iteration for probabilities; more where there are more classes."""
LEAST_PROBABILITY = 1e-7


@lowers("SVMRegressor", domain=DOMAIN)
def svm_regressor(ctx: Context, node: Node) -> Operand:
    """rho + sum over support vectors of coefficient * kernel(x, vector); of a one-class machine 1 or -1 by its sign."""
    x = single(ctx, rows(ctx, node.input(0)))
    coefficients = np.asarray(node.attributes["coefficients"], np.float32)
    rho = np.asarray(node.attributes["rho"], np.float32)[:1]
    count = int(node.get("n_supports", 0))
    if count:
        vectors = np.asarray(node.attributes["support_vectors"], np.float32).reshape(count, -1)
        scores = affine(ctx, _kernel(ctx, node, x, vectors), coefficients[None], rho)
    else:
        scores = affine(ctx, x, coefficients[None], rho)
    if node.get("one_class", 0):
        return ctx.map(
            scores.shape,
            "f32",
            lambda i: Select(
                op("gt", ctx.read(scores, i), Const(0.0, "f32")), Const(1.0, "f32"), Const(-1.0, "f32")
            ),
        )
    return transformed(ctx, node, scores, node.get("post_transform", "NONE"))


def _kernel(ctx: Context, node: Node, x: Operand, vectors: np.ndarray) -> Operand:
    """The kernel function of each row of x and each support vector."""
    kind = node.get("kernel_type", "LINEAR")
    gamma, shift, degree = (*node.get("kernel_params", ()), 0.0, 0.0, 0.0)[:3]
    if kind == "RBF":
        ctx.require(x.shape[1], ix(vectors.shape[1]))
        table = ctx.constant(vectors)
        shape = (x.shape[0], ix(len(vectors)))
        out, over = ctx.axes(shape), var(ctx.unique("r"), x.shape[1])
        gap = op("sub", ctx.read(x, [out[0], over]), ctx.read(table, [out[1], over]))
        finish = op("exp", op("mul", Acc("f32"), Const(-gamma, "f32")))
        return ctx.add(Reduce(ctx.tensor("f32", shape), out, finish, "add", (over,), op("mul", gap, gap)))
    products = affine(ctx, x, vectors, None)
    if kind == "LINEAR":
        return products
    if kind not in ("POLY", "SIGMOID"):
        raise node.unsupported(f"kernel_type {kind}", "use LINEAR, POLY, RBF or SIGMOID")

    def value(axes: tuple[Var, ...]) -> Value:
        v = ctx.read(products, axes)
        v = op("add", op("mul", v, const(gamma, v)), const(shift, v))
        return op("pow", v, const(degree, v)) if kind == "POLY" else op("tanh", v)

    return ctx.map(products.shape, "f32", value)


@lowers("SVMClassifier", domain=DOMAIN)
def svm_classifier(ctx: Context, node: Node) -> list[Operand]:
    """(label, scores) of each row: of support vectors the class with the most votes, and the scores of all pairs of classes, or
    with `prob_a` and `prob_b` a probability of each class; without support vectors a linear score of each class."""
    x = single(ctx, rows(ctx, node.input(0)))
    labels = labels_of(node, "classlabels_ints", "classlabels_strings")
    coefficients, rho = (np.asarray(node.attributes[n], np.float32) for n in ("coefficients", "rho"))
    classes, kind = len(labels), node.get("post_transform", "NONE")
    if classes < 2:
        raise node.unsupported("a classifier of one class", "give it two classes, or use a constant")
    of_class = [int(n) for n in node.get("vectors_per_class") or ()]
    if not sum(of_class):
        scores = affine(ctx, x, coefficients.reshape(classes, -1), np.repeat(rho[:1], classes))
        return [
            _linear_label(ctx, scores, labels, bool((coefficients >= 0).all())),
            transformed(ctx, node, scores, kind),
        ]
    if len(of_class) != classes:
        raise node.unsupported(
            f"vectors of {len(of_class)} classes and labels of {classes}", "repair the model"
        )
    vectors = np.asarray(node.attributes["support_vectors"], np.float32).reshape(sum(of_class), -1)
    pairs = list(combinations(range(classes), 2))
    table = _pair_coefficients(
        coefficients[: (classes - 1) * len(vectors)].reshape(classes - 1, -1), of_class, pairs
    )
    scores = affine(ctx, _kernel(ctx, node, x, vectors), table, rho[: len(pairs)])
    label = _voted_label(ctx, scores, labels, pairs)
    a, b = (attribute_array(node, f"prob_{n}") for n in "ab")
    if a is not None and b is not None and a.size:
        return [label, transformed(ctx, node, _probabilities(ctx, scores, a, b, pairs, classes), kind)]
    if classes > 2:
        return [label, transformed(ctx, node, scores, kind)]
    if kind == "PROBIT":
        raise node.unsupported(
            "post_transform PROBIT of one score of two classes", "use another post_transform"
        )
    return [label, scores_of_two(ctx, scores, kind, kind in ("SOFTMAX", "SOFTMAX_ZERO"))]


def _pair_coefficients(
    coefficients: np.ndarray, of_class: list[int], pairs: list[tuple[int, int]]
) -> np.ndarray:
    """[pairs, vectors] of [classes - 1, vectors], where a vector has a row for each class but its own."""
    owner = np.repeat(np.arange(len(of_class)), of_class)
    table = np.zeros((len(pairs), len(owner)), np.float32)
    for row, (i, j) in zip(table, pairs, strict=True):
        row[owner == i] = coefficients[j - 1, owner == i]
        row[owner == j] = coefficients[i, owner == j]
    return table


def _voted_label(ctx: Context, scores: Operand, labels: np.ndarray, pairs: list[tuple[int, int]]) -> Operand:
    """The label that most pairs vote for, the first such; a pair votes for its first class where its score is above 0."""
    n = scores.shape[0]
    first, second = (ctx.constant(np.array(side)) for side in zip(*pairs, strict=True))
    shape = (n, ix(len(labels)))
    out, over = ctx.axes(shape), var(ctx.unique("r"), len(pairs))
    score = ctx.read(scores, [out[0], over])
    vote = Select(op("gt", score, const(0, score)), ctx.read(first, [over]), ctx.read(second, [over]))
    given = Select(op("eq", vote, Index(ix(out[1]))), Const(1, "i64"), Const(0, "i64"))
    votes = ctx.add(Reduce(ctx.tensor("i64", shape), out, Acc("i64"), "add", (over,), given))
    return _labelled(ctx, arg_of(ctx, votes, 1, False, "argmax"), labels)


def _labelled(ctx: Context, chosen: Operand, labels: np.ndarray) -> Operand:
    table, count = ctx.constant(labels), ix(len(labels))
    return ctx.map(
        chosen.shape, table.dtype, lambda i: ctx.read(table, [wrap_index(ctx.read(chosen, i), count)])
    )


def _linear_label(ctx: Context, scores: Operand, labels: np.ndarray, positive: bool) -> Operand:
    """The label of the largest score; of two, the second one where that is above 0, or with positive coefficients at least 0.5."""
    best = arg_of(ctx, scores, 1, False, "argmax")
    if len(labels) > 2:
        return _labelled(ctx, best, labels)
    top = reduce(ctx, scores, [1], False, "max")

    def second(axes: tuple[Var, ...]) -> Value:
        size = ctx.read(top, axes)
        passes = op("ge", size, const(0.5, size)) if positive else op("gt", size, const(0, size))
        return Select(passes, Const(1, "i64"), ctx.read(best, axes))

    return _labelled(ctx, ctx.map(best.shape, "i64", second), labels)


def _probabilities(
    ctx: Context, scores: Operand, a: np.ndarray, b: np.ndarray, pairs: list[tuple[int, int]], classes: int
) -> Operand:
    """Of each class, from those of the pairs, 1 / (1 + exp(a score + b)): the second method of Wu, Lin and Weng, "Probability
    estimates for multi-class classification by pairwise coupling" (2004)."""
    n, k = scores.shape[0], ix(classes)
    which = np.zeros((classes, classes), np.int64)
    for number, (i, j) in enumerate(pairs):
        which[i, j] = which[j, i] = number
    pair, slope, shift = ctx.constant(which), ctx.constant(a), ctx.constant(b)

    def pairwise(axes: tuple[Var, ...]) -> Value:
        row, i, j = axes
        at = wrap_index(ctx.read(pair, [i, j]), ix(len(pairs)))
        score = op(
            "add", op("mul", ctx.read(scores, [row, at]), ctx.read(slope, [at])), ctx.read(shift, [at])
        )
        first = op("sub", const(1, score), op("sigmoid", score))
        first = clip(first, const(LEAST_PROBABILITY, score), const(1 - LEAST_PROBABILITY, score))
        other = Select(op("lt", Index(ix(i)), Index(ix(j))), first, op("sub", const(1, first), first))
        return Select(op("eq", Index(ix(i)), Index(ix(j))), const(0, first), other)

    r_of = ctx.map([n, k, k], "f32", pairwise)

    def element(axes: tuple[Var, ...]) -> Value:
        row, i, j = axes
        product = op("mul", ctx.read(r_of, [row, j, i]), ctx.read(r_of, [row, i, j]))
        return Select(op("eq", Index(ix(i)), Index(ix(j))), ctx.read(sums, [row, i]), op("neg", product))

    sums = reduce(ctx, r_of, [1], False, "add", lambda v: op("mul", v, v))
    matrix = ctx.map([n, k, k], "f32", element)
    return _coupled(ctx, matrix, n, classes)


def _coupled(ctx: Context, matrix: Operand, n: Ix, classes: int) -> Operand:
    """p of sum 1 with the least p' Q p for each Q of a matrix [N, K, K], found one element after the other."""
    k, one = ix(classes), Const(1.0, "f32")
    result, products = ctx.tensor("f32", [n, k]), ctx.tensor("f32", [n, k])

    def body(r: Writer) -> None:
        (row,) = r.tasks
        done, form = r.let(Const(False, "bool"), "done"), r.let(Const(0.0, "f32"), "form")
        with r.loop(k) as t:
            r.write(result, [row, t], Const(1 / classes, "f32"))
        with r.loop(max(MOST_TURNS, classes)), r.when(op("not", done)):
            r.assign(form, Const(0.0, "f32"))
            with r.loop(k) as t:
                total = r.let(Const(0.0, "f32"), "total")
                with r.loop(k) as j:
                    term = op("mul", ctx.read(matrix, [row, t, j]), r.read(result, [row, j]))
                    r.assign(total, op("add", total, term))
                r.write(products, [row, t], total)
                r.assign(form, op("add", form, op("mul", r.read(result, [row, t]), total)))
            error = r.let(Const(0.0, "f32"), "error")
            with r.loop(k) as t:
                gap = op("abs", op("sub", r.read(products, [row, t]), form))
                r.assign(error, op("max", error, gap))
            r.assign(done, op("lt", error, Const(0.005 / classes, "f32")))
            with r.when(op("not", done)), r.loop(k) as t:
                step(r, row, t, form)

    def step(r: Writer, row: Ix, t: Ix, form: Local) -> None:
        own = r.let(ctx.read(matrix, [row, t, t]), "own")
        mine = r.let(r.read(products, [row, t]), "mine")
        change = r.let(op("div", op("sub", form, mine), own), "change")
        whole = r.let(op("add", one, change), "whole")
        r.write(result, [row, t], op("add", r.read(result, [row, t]), change))
        grown = op(
            "add",
            form,
            op("mul", change, op("add", op("mul", change, own), op("mul", Const(2.0, "f32"), mine))),
        )
        r.assign(form, op("div", op("div", grown, whole), whole))
        with r.loop(k) as j:
            moved = op("add", r.read(products, [row, j]), op("mul", change, ctx.read(matrix, [row, t, j])))
            r.write(products, [row, j], op("div", moved, whole))
            r.write(result, [row, j], op("div", r.read(result, [row, j]), whole))

    made = ctx.routine("couple", [result, products], body, tasks=[n], work=8 * MOST_TURNS * classes * classes)
    return made[0]
