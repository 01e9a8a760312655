"""Einstein's summation as matrix products, sums of products and views."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingot.ir.index import Ix, Var, ix, product, var
from ingot.ir.nodes import Acc, Value
from ingot.lower.context import Context
from ingot.lower.contraction import product_of
from ingot.lower.elementwise import op
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import reduce, summed
from ingot.lower.registry import lowers

Label = str | int
"""A letter, or the position of an axis of the ellipsis, counted from its end: -1 is the last."""


@dataclass
class _Term:
    """An operand and a label for each of its axes, all different."""

    operand: Operand
    labels: list[Label]

    def size(self, label: Label) -> Ix:
        return self.operand.shape[self.labels.index(label)] if label in self.labels else ix(1)


@lowers("Einsum")
def einsum(ctx: Context, node: Node) -> Operand:
    """Operands are multiplied from left to right; what no later one and no output needs is summed at once."""
    operands = [node.input(i) for i in range(len(node.inputs))]
    equation = node.attributes["equation"]
    inputs, output = _parsed(equation, [x.rank for x in operands])
    terms = [_diagonal(ctx, x, labels) for x, labels in zip(operands, inputs, strict=True)]
    missing = set(output) - {label for term in terms for label in term.labels}
    if missing or len(set(output)) < len(output):
        raise ValueError(f"the output of {equation!r} has a label twice, or one that no input has")
    total = terms[0]
    for i, term in enumerate(terms[1:], 1):
        needed = {*output, *(label for later in terms[i + 1 :] for label in later.labels)}
        total = _multiplied(ctx, total, term, needed)
    total = _summed_out(ctx, total, set(output))
    return _arranged(ctx, total, [[label] for label in output])


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[list[Label]], list[Label]]:
    """The labels of each input, and those of the output. Raises ValueError."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks) or not all(
        re.fullmatch(r"[A-Za-z]*(\.\.\.[A-Za-z]*)?", t) for t in [*texts, right]
    ):
        raise ValueError(f"the equation {equation!r} for {len(ranks)} inputs")
    widest = 0
    inputs: list[list[Label]] = []
    for text, rank in zip(texts, ranks, strict=True):
        hidden = rank - len(text.replace("...", ""))
        if hidden < 0 or (hidden and "..." not in text):
            raise ValueError(f"{text!r} for an input of rank {rank}")
        widest = max(widest, hidden)
        inputs.append(_labels(text, hidden))
    if arrow:
        return inputs, _labels(right, widest)
    letters = left.replace(",", "").replace("...", "")
    once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
    return inputs, [*range(-widest, 0), *once]


def _labels(text: str, hidden: int) -> list[Label]:
    before, dots, after = text.partition("...")
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _diagonal(ctx: Context, x: Operand, labels: list[Label]) -> _Term:
    """An operand whose repeated labels become one axis."""
    kept = list(dict.fromkeys(labels))
    if len(kept) == len(labels):
        return _Term(x, labels)
    shape = [x.shape[labels.index(label)] for label in kept]
    for label, d in zip(labels, x.shape, strict=True):
        ctx.require(d, shape[kept.index(label)])
    return _Term(ctx.view(x, shape, lambda *axes: [axes[kept.index(label)] for label in labels]), kept)


def _summed_out(ctx: Context, term: _Term, needed: set[Label]) -> _Term:
    """The sum over the axes whose label is not needed."""
    axes = [i for i, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    kept = [label for label in term.labels if label in needed]
    return _Term(reduce(ctx, term.operand, axes, False, "add"), kept)


def _multiplied(ctx: Context, a: _Term, b: _Term, needed: set[Label]) -> _Term:
    """The product of two terms, summed over the labels that are not needed."""
    a = _summed_out(ctx, a, needed | set(b.labels))
    b = _summed_out(ctx, b, needed | set(a.labels))
    shared = [label for label in a.labels if label in b.labels]
    for label in shared:
        if isinstance(label, str):
            ctx.require(a.size(label), b.size(label))
    over = [label for label in shared if label not in needed]
    batch = [label for label in shared if label in needed]
    rows = [label for label in a.labels if label not in shared]
    columns = [label for label in b.labels if label not in shared]
    sizes = {label: ctx.broadcast((a.size(label),), (b.size(label),))[0] for label in [*a.labels, *b.labels]}
    stretched = any(term.size(label) != sizes[label] for term in (a, b) for label in over)
    if over and rows and columns and not stretched:
        left = _arranged(ctx, a, [*([x] for x in batch), *([rows] if batch else ([x] for x in rows)), over])
        right = _arranged(ctx, b, [*([x] for x in batch), over, columns])
        outer = [sizes[label] for label in batch]
        inner = [product(sizes[label] for label in rows)] if batch else [sizes[label] for label in rows]
        shape = (*outer, *inner, product(sizes[label] for label in columns))
        flat = product_of(ctx, left, right, shape, lambda axes: Acc(left.dtype))
        labels = [*batch, *rows, *columns]
        return _Term(ctx.reshape(flat, [sizes[label] for label in labels]), labels)
    labels = [*batch, *rows, *columns]
    dims = [sizes[label] for label in labels]
    inner_axes = tuple(var(ctx.unique("r"), sizes[label]) for label in over)

    def factors(axes: Sequence[Var]) -> tuple[Value, Value]:
        at = dict(zip([*labels, *over], [*axes, *inner_axes], strict=True))
        left, right = (ctx.read_broadcast(t.operand, [at[label] for label in t.labels]) for t in (a, b))
        return left, right

    if not over:
        return _Term(ctx.map(dims, a.operand.dtype, lambda axes: op("mul", *factors(axes))), labels)
    out = ctx.axes(dims)
    output = ctx.tensor(a.operand.dtype, dims)
    return _Term(summed(ctx, output, out, Acc(output.dtype), inner_axes, *factors(out)), labels)


def _arranged(ctx: Context, term: _Term, groups: Sequence[Sequence[Label]]) -> Operand:
    """The operand with an axis for each group of labels, in this order."""
    order = [term.labels.index(label) for group in groups for label in group]
    x = term.operand
    shape = [x.shape[i] for i in order]
    if x.data is not None:
        turned = ctx.constant(np.transpose(x.data, order), ctx.unique(x.name))
    elif order == list(range(x.rank)):
        turned = x
    else:
        turned = ctx.view(x, shape, lambda *axes: [axes[order.index(i)] for i in range(x.rank)])
    return ctx.reshape(turned, [product(term.size(label) for label in group) for group in groups])
