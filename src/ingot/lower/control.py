"""Control flow: the branches of an If become guarded operations of the same program."""

from __future__ import annotations

from ingot.ir.program import Map, Tensor
from ingot.lower.context import Context, Node, Operand
from ingot.lower.registry import lowers


@lowers("If")
def if_(ctx: Context, node: Node) -> list[Operand]:
    """Only the chosen branch runs; both must give the same shapes."""
    cond = node.input(0)
    branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
    if cond.known is not None and cond.known.reshape(-1)[0].is_const:
        return ctx.lower_graph(branches[0 if cond.known.reshape(-1)[0].value else 1])
    flag = ctx.place(cond)
    outputs: list[Tensor] = []
    outer = ctx.guards
    for taken, graph in zip((True, False), branches, strict=True):
        ctx.guards = (*outer, (flag, taken))
        results = ctx.lower_graph(graph)
        ctx.node = node
        if taken:
            outputs = [ctx.tensor(r.dtype, r.shape) for r in results]
        for result, output in zip(results, outputs, strict=True):
            if result.shape != output.shape or result.dtype != output.dtype:
                raise node.unsupported(f"its branches give shapes {output.shape} and {result.shape}")
            axes = ctx.axes(output.shape)
            ctx.add(Map(output, axes, ctx.read(result, axes)))
    ctx.guards = outer
    return [ctx.wrap(t) for t in outputs]
