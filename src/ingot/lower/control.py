"""Control flow: the branches of an If become guarded operations of the same program."""

from __future__ import annotations

from ingot.ir.bounds import most
from ingot.ir.index import Ix, maximum
from ingot.ir.nodes import Acc
from ingot.ir.program import Guard, Map, Measure, Tensor
from ingot.lower.context import Context
from ingot.lower.operand import Anything, Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.sequences import rebuilt, same_structure, structure_unknown, tensors_of


@lowers("If")
def if_(ctx: Context, node: Node) -> list[Anything]:
    """Only the chosen branch runs. Sizes that differ between the branches are known from then on; sequences must be of
    the same length."""
    cond = node.input(0)
    branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
    if cond.known is not None and cond.known.reshape(-1)[0].is_const:
        return ctx.lower_graph(branches[0 if cond.known.reshape(-1)[0].value else 1], ())
    flag, outer = ctx.place(cond), ctx.guards
    guards = [(*outer, (flag, taken)) for taken in (True, False)]
    results: list[list[Anything]] = []
    for guard, graph in zip(guards, branches, strict=True):
        ctx.guards = guard
        results.append(ctx.lower_graph(graph, ()))
    ctx.guards = outer
    if not all(map(same_structure, *results)):
        raise structure_unknown(
            node,
            "its branches give sequences of different lengths, or an optional with and without a value",
            "make its condition a constant",
        )
    pairs = zip(*([t for value in values for t in tensors_of(value)] for values in results), strict=True)
    made = iter([ctx.wrap(_either(ctx, node, guards, pair)) for pair in pairs])
    return [rebuilt(value, made) for value in results[0]]


def _either(ctx: Context, node: Node, guards: list[Guard], results: tuple[Operand, ...]) -> Tensor:
    """A tensor that the branch which runs copies its result to."""
    then, otherwise = results
    if then.stored != otherwise.stored or then.rank != otherwise.rank:
        kinds = " and ".join(f"{r.stored} of rank {r.rank}" for r in results)
        raise node.unsupported(f"its branches give {kinds}")
    outer = ctx.guards
    shape = [
        a if a == b else _size(ctx, node, guards, a, b)
        for a, b in zip(then.shape, otherwise.shape, strict=True)
    ]
    output = ctx.tensor(then.stored, shape)
    for guard, result in zip(guards, results, strict=True):
        ctx.guards = guard
        axes = ctx.axes(output.shape)
        ctx.add(Map(output, axes, ctx.read(result, axes)))
    ctx.guards = outer
    return output


def _size(ctx: Context, node: Node, guards: list[Guard], then: Ix, otherwise: Ix) -> Ix:
    """A dimension that each branch gives its own size."""
    tops = [most(d, ctx.bounds) for d in (then, otherwise)]
    if tops[0] is None or tops[1] is None:
        raise node.unsupported("a branch gives a size that has no bound", "declare the shapes in the model")
    outer = ctx.guards
    ctx.guards = guards[0]
    size = ctx.measure(then, most=maximum(tops[0], tops[1]))
    (symbol,) = size.variables()
    ctx.guards = guards[1]
    output = Tensor(ctx.unique("k"), "i64", ())
    ctx.add(Measure(output, (), Acc("i64"), symbol, otherwise, 0, maximum(tops[0], tops[1])))
    ctx.guards = outer
    return size
