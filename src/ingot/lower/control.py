"""Control flow: the branches of an If become guarded operations of the same program."""

from __future__ import annotations

from ingot.ir.program import Map
from ingot.lower.context import Anything, Context, Node
from ingot.lower.registry import lowers
from ingot.lower.sequences import rebuilt, same_structure, structure_unknown, tensors_of


@lowers("If")
def if_(ctx: Context, node: Node) -> list[Anything]:
    """Only the chosen branch runs; both must give the same shapes, and sequences of the same length."""
    cond = node.input(0)
    branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
    if cond.known is not None and cond.known.reshape(-1)[0].is_const:
        return ctx.lower_graph(branches[0 if cond.known.reshape(-1)[0].value else 1], ())
    flag = ctx.place(cond)
    structure: list[Anything] = []
    outputs = []
    outer = ctx.guards
    for taken, graph in zip((True, False), branches, strict=True):
        ctx.guards = (*outer, (flag, taken))
        results = ctx.lower_graph(graph, ())
        tensors = [t for r in results for t in tensors_of(r)]
        if taken:
            structure, outputs = results, [ctx.tensor(t.dtype, t.shape) for t in tensors]
        if not all(map(same_structure, structure, results)):
            raise structure_unknown(
                node,
                "its branches give sequences of different lengths, or an optional with and without a value",
                "make its condition a constant",
            )
        for result, output in zip(tensors, outputs, strict=True):
            if result.shape != output.shape or result.dtype != output.dtype:
                raise node.unsupported(f"its branches give shapes {output.shape} and {result.shape}")
            axes = ctx.axes(output.shape)
            ctx.add(Map(output, axes, ctx.read(result, axes)))
    ctx.guards = outer
    made = iter([ctx.wrap(t) for t in outputs])
    return [rebuilt(value, made) for value in structure]
