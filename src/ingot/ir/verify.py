"""The rules that every program keeps, checked after fusion and, with INGOT_VERIFY=1, in tests after every stage."""

from __future__ import annotations

from ingot.errors import IngotError
from ingot.ir.index import Var
from ingot.ir.nodes import Acc, Read, Select, Value, value_variables, walk
from ingot.ir.program import Attention, Dense, Fill, Map, MatMul, Operation, Program, Reduce, Tensor


def verify(program: Program) -> None:
    """Raises IngotError internal at the first rule that does not hold."""
    written: set[Tensor] = set(program.inputs)
    symbols = set(program.symbols)
    for operation in program.operations:
        _check(operation, written, symbols)
        for tensor in operation.writes():
            written.update((tensor, tensor.root()[0]))
    for output in program.outputs:
        if output not in written:
            raise _broken(f"output {output} is never written", ())


def _broken(cause: str, nodes: tuple[str, ...]) -> IngotError:
    return IngotError("internal", cause, where=", ".join(nodes), remedy="report this model, please")


def _check(operation: Operation, written: set[Tensor], symbols: set[Var]) -> None:
    nodes = operation.nodes
    if len(operation.axes) != operation.output.rank:
        raise _broken(f"{len(operation.axes)} axes for a tensor of rank {operation.output.rank}", nodes)
    for axis, dim in zip(operation.axes, operation.output.shape, strict=True):
        if axis.extent != dim:
            raise _broken(f"axis {axis.name} runs to {axis.extent}, the tensor to {dim}", nodes)
    for tensor in operation.inputs():
        if tensor.kind != "const" and tensor not in written and tensor.root()[0] not in written:
            raise _broken(f"reads {tensor} before anything writes it", nodes)
    bound = set(operation.axes) | symbols
    inner: set[Var] = set()
    if isinstance(operation, Reduce):
        inner |= set(operation.over)
    elif isinstance(operation, MatMul):
        inner.add(operation.k)
    elif isinstance(operation, Attention):
        inner |= {operation.k, operation.n}
    for name, value in operation.values().items():
        allowed = bound if name == "finish" else bound | inner
        loose = {v for v in value_variables(value) if v not in allowed and v.extent is not None}
        if loose:
            raise _broken(f"{name} uses {', '.join(v.name for v in loose)}, which no loop defines", nodes)
        _check_value(value, operation)
    if isinstance(operation, Dense):
        free = (
            set().union(*(i.variables() for i in operation.x_index))
            - bound
            - set(operation.taps)
            - {operation.channel}
        )
        if any(v.extent is not None for v in free):
            raise _broken("x_index uses a variable that no loop defines", nodes)
        if operation.weight.shape[-1] != operation.axes[operation.feature].extent.value:  # type: ignore[union-attr]
            raise _broken("the weight's features are not the output's", nodes)


def _check_value(value: Value, operation: Operation) -> None:
    for node in walk(value):
        if isinstance(node, Read) and len(node.index) != node.tensor.rank:
            raise _broken(f"reads {node.tensor} with {len(node.index)} indices", operation.nodes)
        if isinstance(node, Acc) and type(operation) in (Map, Fill):
            raise _broken("an elementwise operation has no accumulator", operation.nodes)
        if isinstance(node, Select) and node.then.dtype != node.otherwise.dtype:
            raise _broken(f"chooses between {node.then.dtype} and {node.otherwise.dtype}", operation.nodes)
