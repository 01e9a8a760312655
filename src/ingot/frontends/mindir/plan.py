"""What a MindIR function needs to compute for its result, and in which order."""

from __future__ import annotations

from functools import cached_property

from ingot.errors import IngotError
from ingot.frontends.mindir.file import Graph, Node

_PASSED = {"Depend": 1, "Load": 1, "UpdateState": 0}
"""How many inputs of those nodes that order effects are values that inference needs."""


class Plan:
    """Of a graph: the nodes that its result needs, in order, and its tail: the call that gives the result, if one does."""

    def __init__(self, graph: Graph, functions: dict[str, Graph]) -> None:
        self.graph = graph
        self.functions = {
            name
            for node in graph.nodes
            for name in ([node.callee] if not node.op else []) + node.inputs
            if name in functions
        }
        self.producers = {name: node for node in graph.nodes for name in node.outputs}

    @cached_property
    def result(self) -> str:
        """The name of the result, behind what orders effects."""
        if len(self.graph.outputs) != 1:
            raise _broken(self.graph, f"it has {len(self.graph.outputs)} results")
        name, seen = self.graph.outputs[0], set()
        while name in self.producers and self.producers[name].op == "Depend" and name not in seen:
            seen.add(name)
            name = _needs(self.producers[name])[0]
        return name

    @cached_property
    def tail(self) -> Node | None:
        node = self.producers.get(self.result)
        return node if node is not None and not node.op else None

    @cached_property
    def nodes(self) -> list[Node]:
        """Each after those that it needs. Raises IngotError model-cyclic."""
        ordered: list[Node] = []
        done: dict[int, bool] = {}
        roots = [self.result] if self.tail is None else _needs(self.tail)
        stack = [(name, False) for name in reversed(roots)]
        while stack:
            name, left = stack.pop()
            node = self.producers.get(name)
            if node is None or (done.get(id(node)) and not left):
                continue
            if left:
                ordered.append(node)
                done[id(node)] = True
            elif id(node) in done:
                raise IngotError(
                    "model-cyclic",
                    f"{node.op or 'a call'} needs its own result",
                    where=f"function {self.graph.name}",
                    remedy="copy or export the file again",
                )
            else:
                done[id(node)] = False
                stack.append((name, True))
                stack += [(needed, False) for needed in reversed(_needs(node))]
        return ordered


def _needs(node: Node) -> list[str]:
    """The names of the values that a node needs."""
    kept = node.inputs[: _PASSED[node.op]] if node.op in _PASSED else node.inputs
    if node.op in ("Depend", "Load") and not kept:
        raise IngotError(
            "model-invalid", f"{node.op} has no inputs", where=node.scope, remedy="export the file again"
        )
    return kept if node.op else [node.callee, *kept]


def _broken(graph: Graph, cause: str) -> IngotError:
    return IngotError(
        "model-invalid", cause, where=f"function {graph.name}", remedy="copy or export the file again"
    )
