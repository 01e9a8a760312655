"""dx = Gradient(x, z; xs, zs, y)  ->  the nodes that compute it, by reverse-mode differentiation of the graph from xs to y

Every element of y counts 1. Where other values are fed than those that xs and zs name, the nodes between them and y are
repeated for these. Refuses an operator on the way that has no derivative here, and tensors that may be stretched unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules import infer_shapes

DOMAIN = "ai.onnx.preview.training"
_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def apply(model: ir.Model) -> int:
    found = [n for n in model.graph if n.op_type == "Gradient" and n.domain == DOMAIN]
    if not found:
        return 0
    infer_shapes.apply(model)
    names, fired = edit.Names(model), 0
    values = {v.name: v for v in (*model.graph.inputs, *model.graph.initializers.values())}
    values |= {out.name: out for node in model.graph for out in node.outputs}
    for node in found:
        made = _Expansion(model, node, names, values).run()
        if isinstance(made, str):
            trace.refused(node, made)
            continue
        for old, new in zip(node.outputs, made, strict=False):
            name = old.name
            if new is not None and edit.replace(old, new):
                values[name] = new
        edit.remove(node)
        fired += trace.fired(node)
    return fired


class _Expansion:
    """values: of the graph by their names."""

    def __init__(
        self, model: ir.Model, node: ir.Node, names: edit.Names, values: dict[str | None, ir.Value]
    ) -> None:
        self.model, self.node, self.names, self.values = model, node, names, values
        self.dtype = ir.DataType.FLOAT

    def run(self) -> list[ir.Value | None] | str:
        """The gradients by output, None for one left out; or why there are none."""
        node = self.node
        xs = [str(x) for x in node.attributes["xs"].as_strings()]
        zs = [str(z) for z in node.attributes["zs"].as_strings()] if "zs" in node.attributes else []
        target = self.values.get(node.attributes["y"].as_string())
        sources = [self.values.get(name) for name in (*xs, *zs)]
        if target is None or None in sources or len(sources) != len(node.inputs):
            return "it names values that the graph has not"
        if target.dtype not in _TYPES:
            return "its y is of no known float type"
        self.dtype = target.dtype
        fed = {s: v for s, v in zip(sources, node.inputs, strict=True) if s is not None and v is not None}
        path = self.path(target, set(fed))
        active = {s for s in sources[: len(xs)] if s is not None}
        for step in path:
            if any(v in active for v in step.inputs):
                active.update(step.outputs)
        for step in path:
            if step.outputs[0] in active and (step.domain or step.op_type not in _DERIVATIVES):
                return f"{step.op_type} on the way to its y has no derivative here"
            if step.op_type == "MatMul" and any(len(edit.dims(v) or ()) != 2 for v in step.inputs):
                return "MatMul on the way to its y is of no two matrices"
        now = self.repeated(path, fed)
        gradients = {target: self.filled(now.get(target, target), 1)} if target in active else {}
        for step in reversed(path):
            out = step.outputs[0]
            if out not in gradients or out not in active:
                continue
            inputs = [now.get(v, v) if v is not None else None for v in step.inputs]
            for i, value in enumerate(step.inputs):
                if value is None or value not in active:
                    continue
                part = _DERIVATIVES[step.op_type](self, inputs, now.get(out, out), gradients[out], i)  # type: ignore[arg-type]
                fitted = part if step.op_type == "MatMul" else self.fitted(part, value, out)
                if fitted is None:
                    return f"the shapes around {step.op_type} are not known"
                gradients[value] = self.op("Add", gradients[value], fitted) if value in gradients else fitted
        results: list[ir.Value | None] = []
        for source, out in zip(sources, node.outputs, strict=False):
            assert source is not None
            wanted = bool(out.name) and (bool(out.uses()) or out.is_graph_output())
            given = gradients.get(source)
            results.append((given or self.filled(fed[source], 0)) if wanted else None)
        return [self.op("Identity", r) if r is not None else None for r in results]

    def path(self, target: ir.Value, sources: set[ir.Value]) -> list[ir.Node]:
        """The nodes between the sources and the target, in the graph's order."""
        found: set[ir.Node] = set()
        left = [target]
        while left:
            value = left.pop()
            producer = None if value in sources else value.producer()
            if producer is not None and producer not in found:
                found.add(producer)
                left += [v for v in producer.inputs if v is not None]
        return [n for n in self.model.graph if n in found]

    def repeated(self, path: Sequence[ir.Node], fed: dict[ir.Value, ir.Value]) -> dict[ir.Value, ir.Value]:
        """What stands for each value of the path where other values are fed than the sources themselves."""
        now = {s: v for s, v in fed.items() if s is not v}
        for step in path:
            if not any(v in now for v in step.inputs):
                continue
            inputs = [now.get(v, v) if v is not None else None for v in step.inputs]
            copy = ir.Node(
                step.domain,
                step.op_type,
                inputs,
                list(step.attributes.values()),
                num_outputs=len(step.outputs),
            )
            self.insert(copy)
            now.update(zip(step.outputs, copy.outputs, strict=True))
        return now

    def insert(self, made: ir.Node) -> None:
        made.name = self.names.fresh(f"{self.node.name or 'gradient'}.{made.op_type}")
        for out in made.outputs:
            out.name = self.names.fresh(f"{made.name}.out")
        self.model.graph.insert_before(self.node, made)

    def op(self, name: str, *inputs: ir.Value, **attributes: int | list[int]) -> ir.Value:
        made = ir.Node("", name, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        self.insert(made)
        return made.outputs[0]

    def number(self, value: float) -> ir.Value:
        return self.names.add_constant(
            self.model.graph, "gradient.number", np.array(value, self.dtype.numpy())
        )

    def filled(self, like: ir.Value, value: float) -> ir.Value:
        """A tensor of one number in the shape of another."""
        return self.op("Expand", self.number(value), self.op("Shape", like))

    def fitted(self, gradient: ir.Value, value: ir.Value, out: ir.Value) -> ir.Value | None:
        """The sum over what `value` was stretched by where `out` was computed; None where that is not known."""
        small, large = edit.dims(value), edit.dims(out)
        if small is None or large is None:
            return None
        lead = len(large) - len(small)
        ones = [i for i, (a, b) in enumerate(zip(small, large[lead:], strict=True)) if a == 1 and b != 1]
        total = self.summed(gradient, list(range(lead)), 0) if lead else gradient
        return self.summed(total, ones, 1) if ones else total

    def summed(self, value: ir.Value, axes: list[int], keep: int) -> ir.Value:
        if edit.opset(self.model) < 13:
            return self.op("ReduceSum", value, axes=axes, keepdims=keep)
        given = self.names.add_constant(self.model.graph, "gradient.axes", np.array(axes, np.int64))
        return self.op("ReduceSum", value, given, keepdims=keep)


Derivative = Callable[[_Expansion, Sequence[ir.Value], ir.Value, ir.Value, int], ir.Value]
"""The gradient of an input from the inputs, the output, the output's gradient and the input's number."""


def _div(e: _Expansion, x: Sequence[ir.Value], y: ir.Value, g: ir.Value, i: int) -> ir.Value:
    part = e.op("Div", g, x[1])
    return e.op("Neg", e.op("Mul", part, y)) if i else part


def _pow(e: _Expansion, x: Sequence[ir.Value], y: ir.Value, g: ir.Value, i: int) -> ir.Value:
    if i:
        return e.op("Mul", g, e.op("Mul", y, e.op("Log", x[0])))
    slope = e.op("Mul", x[1], e.op("Pow", x[0], e.op("Sub", x[1], e.number(1))))
    return e.op("Mul", g, slope)


def _matmul(e: _Expansion, x: Sequence[ir.Value], y: ir.Value, g: ir.Value, i: int) -> ir.Value:
    other = e.op("Transpose", x[1 - i], perm=[1, 0])
    return e.op("MatMul", other, g) if i else e.op("MatMul", g, other)


def _rest(e: _Expansion, y: ir.Value) -> ir.Value:
    return e.op("Sub", e.number(1), y)


_DERIVATIVES: dict[str, Derivative] = {
    "Identity": lambda e, x, y, g, i: g,
    "Add": lambda e, x, y, g, i: g,
    "Sum": lambda e, x, y, g, i: g,
    "Sub": lambda e, x, y, g, i: e.op("Neg", g) if i else g,
    "Mul": lambda e, x, y, g, i: e.op("Mul", g, x[1 - i]),
    "Div": _div,
    "Pow": _pow,
    "Neg": lambda e, x, y, g, i: e.op("Neg", g),
    "Abs": lambda e, x, y, g, i: e.op("Mul", g, e.op("Sign", x[0])),
    "Reciprocal": lambda e, x, y, g, i: e.op("Neg", e.op("Mul", g, e.op("Mul", y, y))),
    "Exp": lambda e, x, y, g, i: e.op("Mul", g, y),
    "Log": lambda e, x, y, g, i: e.op("Div", g, x[0]),
    "Sqrt": lambda e, x, y, g, i: e.op("Div", g, e.op("Add", y, y)),
    "Sin": lambda e, x, y, g, i: e.op("Mul", g, e.op("Cos", x[0])),
    "Cos": lambda e, x, y, g, i: e.op("Neg", e.op("Mul", g, e.op("Sin", x[0]))),
    "Tanh": lambda e, x, y, g, i: e.op("Mul", g, _rest(e, e.op("Mul", y, y))),
    "Sigmoid": lambda e, x, y, g, i: e.op("Mul", g, e.op("Mul", y, _rest(e, y))),
    "Softplus": lambda e, x, y, g, i: e.op("Mul", g, e.op("Sigmoid", x[0])),
    "Relu": lambda e, x, y, g, i: e.op("Where", e.op("Greater", x[0], e.number(0)), g, e.number(0)),
    "MatMul": _matmul,
}
OPERATORS = tuple(_DERIVATIVES)
"""The operators that have a derivative; MatMul of matrices only."""
