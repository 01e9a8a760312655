"""Optimizer steps of the domain ai.onnx.preview.training, elementwise over each tensor that is optimized, and Gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.ir.index import Var
from ingot.ir.nodes import Const, Select, Value
from ingot.lower.context import Context
from ingot.lower.elementwise import const, op
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast

DOMAIN = "ai.onnx.preview.training"
Step = Callable[[Node, Value, Value, Sequence[Value]], Sequence[Value]]
"""What follows from the node, R, T (converted to the tensors' dtype) and an element of each tensor of a group."""


def _regularized(node: Node, x: Value, gradient: Value) -> Value:
    norm = node.get("norm_coefficient", 0.0)
    return gradient if norm == 0 else op("add", op("mul", x, const(norm, x)), gradient)


def _weighted(a: Value, factor: float, b: Value, other: float) -> Value:
    return op("add", op("mul", a, const(factor, a)), op("mul", b, const(other, b)))


def _adagrad(node: Node, r: Value, t: Value, tensors: Sequence[Value]) -> Sequence[Value]:
    x, gradient, squares = tensors
    g = _regularized(node, x, gradient)
    rate = op("div", r, op("add", op("mul", t, const(node.get("decay_factor", 0.0), t)), const(1, t)))
    new = op("add", squares, op("mul", g, g))
    scale = op("add", op("sqrt", new), const(node.get("epsilon", 1e-6), new))
    return op("sub", x, op("div", op("mul", rate, g), scale)), new


def _adam(node: Node, r: Value, t: Value, tensors: Sequence[Value]) -> Sequence[Value]:
    x, gradient, v, h = tensors
    alpha, beta = node.get("alpha", 0.9), node.get("beta", 0.999)
    g = _regularized(node, x, gradient)
    mean = _weighted(v, alpha, g, 1 - alpha)
    square = _weighted(h, beta, op("mul", g, g), 1 - beta)

    def unbiased(base: float) -> Value:
        return op("sub", const(1, t), op("pow", Const(base, t.dtype), t))

    adjusted = op("div", op("mul", r, op("sqrt", unbiased(beta))), unbiased(alpha))
    rate = Select(op("gt", t, const(0, t)), adjusted, r)
    scale = op("add", op("sqrt", square), const(node.get("epsilon", 1e-6), square))
    new = op("sub", x, op("div", op("mul", rate, mean), scale))
    post = node.get("norm_coefficient_post", 0.0)
    return new if post == 0 else op("mul", new, const(1 - post, new)), mean, square


def _momentum(node: Node, r: Value, t: Value, tensors: Sequence[Value]) -> Sequence[Value]:
    x, gradient, v = tensors
    mode = node.attributes["mode"]
    if mode not in ("standard", "nesterov"):
        raise node.unsupported(f"mode {mode}", "use standard or nesterov")
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    g = _regularized(node, x, gradient)
    weight = Select(op("gt", t, const(0, t)), Const(beta, t.dtype), Const(1.0, t.dtype))
    new = op("add", op("mul", v, const(alpha, v)), op("mul", weight, g))
    direction = new if mode == "standard" else op("add", g, op("mul", new, const(alpha, new)))
    return op("sub", x, op("mul", r, direction)), new


_STEPS: dict[str, tuple[Step, int]] = {
    "Adagrad": (_adagrad, 3),
    "Adam": (_adam, 4),
    "Momentum": (_momentum, 3),
}


@lowers("Gradient", domain=DOMAIN)
def gradient(ctx: Context, node: Node) -> Operand:
    """A graph rule replaces every one that it can; this one is left."""
    raise node.unsupported(
        "a way from its xs to its y through an operator without a derivative, or tensors of unknown shape",
        "use Add, Sub, Mul, Div, Pow, Exp, Log, Sqrt, Tanh, Sigmoid, Relu, MatMul and the like, and give inputs shapes",
    )


@lowers(*_STEPS, domain=DOMAIN)
def optimizer(ctx: Context, node: Node) -> list[Operand]:
    """R, T, then the tensors, their gradients and what is accumulated; the outputs are the new tensors, then the rest."""
    step, each = _STEPS[node.operator]
    count = (len(node.inputs) - 2) // each
    rate, time = node.input(0), node.input(1)
    results: list[list[Operand]] = []
    for n in range(count):
        group = [node.input(2 + n + count * i) for i in range(each)]
        for other in group[1:]:
            for a, b in zip(other.shape, group[0].shape, strict=True):
                ctx.require(a, b)
        dtype = group[0].dtype

        def values(
            axes: tuple[Var, ...], group: list[Operand] = group, dtype: str = dtype
        ) -> Sequence[Value]:
            r, t = (cast(ctx.read(o, [0] * o.rank), dtype) for o in (rate, time))
            return step(node, r, t, [ctx.read(o, axes) for o in group])

        results.append(
            [
                ctx.map(group[0].shape, dtype, lambda axes, i=i, values=values: values(axes)[i])  # type: ignore[misc]
                for i in range(each - 1)
            ]
        )
    return [outputs[i] for i in range(each - 1) for outputs in results]
