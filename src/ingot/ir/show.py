"""Programs and kernels as text, for dumps and debugging."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.ir.index import show as show_index
from ingot.ir.program import Dense, MatMul, Operation, Program, Recurrent, Reduce, Routine, Row, Tensor


def show_program(program: Program, layouts: Mapping[Tensor, str] | None = None) -> str:
    """One line an operation: what it writes, how, and the ONNX nodes it came from. layouts: in words."""
    lines = [f"program {program.name}({', '.join(map(_tensor, program.inputs))})"]
    for operation in program.operations:
        root = operation.output.root()[0]
        layout = f" @ {layouts[root]}" if layouts and root in layouts else ""
        inside = f" in {root.name}" if root is not operation.output else ""
        reads = ", ".join(t.name for t in operation.inputs())
        lines.append(
            f"  {_tensor(operation.output)}{layout}{inside} = {_kind(operation)}({reads})  # {', '.join(operation.nodes)}"
        )
    lines.append(f"  return {', '.join(t.name for t in program.outputs)}")
    return "\n".join(lines) + "\n"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.dtype}[{', '.join(show_index(d) for d in tensor.shape)}]"


def _kind(operation: Operation) -> str:
    name = type(operation).__name__.lower()
    if isinstance(operation, Reduce | Row | Recurrent):
        return f"{name}.{operation.op}"
    if isinstance(operation, Routine):
        return f"{name}.{operation.name}"
    if isinstance(operation, Dense):
        return f"{name}[{'x'.join(map(str, operation.weight.shape))}]"
    if isinstance(operation, MatMul) and operation.k.extent is not None:
        return f"{name}[k={show_index(operation.k.extent)}]"
    return name
