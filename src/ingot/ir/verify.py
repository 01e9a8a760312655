"""The rules that every program keeps, checked after fusion and, with INGOT_VERIFY=1, in tests after every stage; and
those of kernels, checked in tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingot.errors import IngotError
from ingot.ir.index import Ix, Var
from ingot.ir.nodes import (
    Acc,
    Buffer,
    Define,
    For,
    If,
    Index,
    Kernel,
    Let,
    Load,
    Local,
    Op,
    Pack,
    Pick,
    Prefetch,
    Read,
    Select,
    Shuffle,
    Splat,
    Stmt,
    Store,
    Text,
    Value,
    Write,
    computed,
    data_of,
    operands,
    value_variables,
    walk,
)
from ingot.ir.ops import OPS
from ingot.ir.program import Attention, Dense, Fill, Map, MatMul, Operation, Program, Reduce, Routine, Tensor


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
    if isinstance(operation, Routine):
        _check_body(operation, operation.body, symbols | set(operation.tasks), {})
    for name, value in operation.values().items():
        allowed = bound if name == "finish" else bound | inner
        loose = {v for v in value_variables(value) if v not in allowed and not v.is_symbol}
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
        if not all(v.is_symbol for v in free):
            raise _broken("x_index uses a variable that no loop defines", nodes)
        if operation.weight.shape[-1] != operation.axes[operation.feature].extent.value:  # type: ignore[union-attr]
            raise _broken("the weight's features are not the output's", nodes)


def _check_body(routine: Routine, body: Sequence[Stmt], variables: set[Var], local: dict[str, Local]) -> None:
    """variables and local: what is defined where the block starts; what it defines ends with it."""
    variables, local = set(variables), dict(local)
    for s in body:
        values, indices = operands(s)
        values = [*values, *(v for i in indices for v in data_of(i))]
        used = set().union(*(i.variables() for i in indices), *map(value_variables, values))
        loose = {v.name for v in used - variables if v.extent is not None}
        nodes = [n for value in values for n in walk(value)]
        loose |= {n.name for n in nodes if isinstance(n, Local) and local.get(n.name) != n}
        if loose:
            raise _broken(f"uses {', '.join(sorted(loose))}, which nothing defines there", routine.nodes)
        for value in values:
            _check_value(value, routine)
        if isinstance(s, Let):
            local[s.local.name] = s.local
        elif isinstance(s, Define):
            variables.add(s.var)
        elif isinstance(s, For):
            _check_body(routine, s.body, variables | {s.var}, local)
        elif isinstance(s, If):
            _check_body(routine, s.body, variables, local)
            _check_body(routine, s.otherwise, variables, local)
        elif isinstance(s, Write):
            if s.tensor not in routine.results or len(s.index) != s.tensor.rank:
                raise _broken(f"writes {s.tensor} with {len(s.index)} indices", routine.nodes)
            if s.value.dtype != computed(s.tensor.dtype):
                raise _broken(f"writes a {s.value.dtype} to {s.tensor}", routine.nodes)


def _check_value(value: Value, operation: Operation) -> None:
    for node in walk(value):
        if isinstance(node, Read) and len(node.index) != node.tensor.rank:
            raise _broken(f"reads {node.tensor} with {len(node.index)} indices", operation.nodes)
        if isinstance(node, Acc) and type(operation) in (Map, Fill):
            raise _broken("an elementwise operation has no accumulator", operation.nodes)
        if isinstance(node, Op) and not OPS[node.name].types and len({a.dtype for a in node.args}) > 1:
            raise _broken(f"{node.name} of {', '.join(a.dtype for a in node.args)}", operation.nodes)
        if isinstance(node, Select) and node.then.dtype != node.otherwise.dtype:
            raise _broken(f"chooses between {node.then.dtype} and {node.otherwise.dtype}", operation.nodes)


def verify_kernel(kernel: Kernel) -> None:
    """Raises IngotError internal where a kernel's types, lanes, names or buffers do not fit together."""
    _Kernel(kernel).block(kernel.body, {kernel.task}, {})


class _Kernel:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.buffers = {b.name: b for b in kernel.buffers}
        self.buffers |= {s.name: Buffer(s.name, s.dtype, written=True) for s in kernel.scratch}
        self.checked: set[int] = set()

    def need(self, holds: bool, cause: str) -> None:
        if not holds:
            raise _broken(f"{self.kernel.name}: {cause}", ())

    def block(self, body: Sequence[Stmt], variables: set[Var], local: dict[str, Local]) -> None:
        """variables and local: what is defined where the block starts; what it defines ends with it."""
        variables, local = set(variables), dict(local)
        for s in body:
            if isinstance(s, Define):
                self.index(s.index, variables, local)
                variables.add(s.var)
            elif isinstance(s, For):
                self.index(s.start, variables, local)
                self.index(s.stop, variables, local)
                self.block(s.body, variables | {s.var}, local)
            elif isinstance(s, If):
                self.value(s.cond, variables, local)
                self.need((s.cond.dtype, s.cond.lanes) == ("bool", 1), "a condition is no scalar bool")
                self.block(s.body, variables, local)
                self.block(s.otherwise, variables, local)
            elif isinstance(s, Prefetch):
                self.index(s.index, variables, local)
                self.need(s.buffer in self.buffers, f"{s.buffer} is not there to be read ahead")
            elif isinstance(s, Store):
                self.store(s, variables, local)
            elif isinstance(s, Write):
                self.need(False, f"a write of {s.tensor} is left")
            else:
                self.value(s.value, variables, local)
                if isinstance(s, Let):
                    local[s.local.name] = s.local
                self.need(local.get(s.local.name) == s.local, f"{s.local.name} is assigned before it is made")
                same = (s.local.dtype, s.local.lanes) == (s.value.dtype, s.value.lanes)
                self.need(same, f"{s.local.name} holds another type than it is given")

    def store(self, s: Store, variables: set[Var], local: dict[str, Local]) -> None:
        self.value(s.value, variables, local)
        for index in (s.index, *([s.count] if s.count is not None else [])):
            self.index(index, variables, local)
        buffer = self.buffers.get(s.buffer)
        self.need(buffer is not None and buffer.written, f"{s.buffer} is not there to be written")
        assert buffer is not None
        self.need(buffer.dtype == s.value.dtype, f"{s.buffer} is of {buffer.dtype}, not {s.value.dtype}")

    def index(self, e: Ix, variables: set[Var], local: dict[str, Local]) -> None:
        loose = {v for v in e.variables() - variables if not v.is_symbol}
        self.need(not loose, f"an index uses {', '.join(v.name for v in loose)}, which is not defined here")
        for value in data_of(e):
            self.value(value, variables, local)

    def value(self, value: Value, variables: set[Var], local: dict[str, Local]) -> None:
        for v in walk(value):
            if isinstance(v, Local):
                self.need(local.get(v.name) == v, f"{v.name} is not defined here, or as another type")
            elif isinstance(v, Index):
                self.index(v.index, variables, local)
            elif isinstance(v, Load):
                for index in (v.index, *([v.count] if v.count is not None else [])):
                    self.index(index, variables, local)
                buffer = self.buffers.get(v.buffer)
                self.need(
                    buffer is not None and buffer.dtype == v.dtype, f"no buffer {v.buffer} of {v.dtype}"
                )
            else:
                self.types(v)

    def types(self, v: Value) -> None:
        if isinstance(v, Op) and v.name == "dot":
            pairs = [("f32", v.lanes), ("bf16", 2 * v.lanes), ("bf16", 2 * v.lanes)]
            self.need(
                [(a.dtype, a.lanes) for a in v.args] == pairs, "a dot of something else than pairs of bf16"
            )
            self.need(v.dtype == "f32", f"dot does not give {v.dtype}")
        elif isinstance(v, Op) and OPS[v.name].types:
            given = (*((a.dtype, a.lanes) for a in v.args), (v.dtype, 1))
            self.need(given == tuple((t, 1) for t in OPS[v.name].types), f"{v.name} of {given}")
        elif isinstance(v, Text):
            self.need(
                isinstance(v.at, Load) and (v.at.dtype, v.at.lanes) == ("u8", 1), "a string of no bytes"
            )
            self.need((v.length.dtype, v.length.lanes) == ("i64", 1), "a string of no length")
        elif isinstance(v, Op):
            types = {(a.dtype, a.lanes) for a in v.args}
            self.need(len(types) == 1, f"{v.name} of {', '.join(f'{d}x{n}' for d, n in sorted(types))}")
            made = "bool" if OPS[v.name].boolean else v.args[0].dtype
            self.need(v.dtype == made, f"{v.name} of {v.args[0].dtype} does not give {v.dtype}")
        elif isinstance(v, Select):
            sides = (v.then.dtype, v.then.lanes), (v.otherwise.dtype, v.otherwise.lanes)
            self.need(sides[0] == sides[1], f"a choice between {sides[0]} and {sides[1]}")
            self.need(v.cond.dtype == "bool" and v.cond.lanes in (1, v.lanes), "a choice by no such bool")
        elif isinstance(v, Pack):
            self.need(len({i.dtype for i in v.items}) == 1, "a vector of several types")
            self.need(all(i.lanes == 1 for i in v.items), "a vector of vectors")
        elif isinstance(v, Splat):
            one = v.value.lanes == 1 or (v.value.lanes == 2 and v.dtype == "bf16")
            self.need(one, "a vector in every lane")
        elif isinstance(v, Pick):
            self.need(0 <= v.lane < v.value.lanes, "a lane that the vector lacks")
        elif isinstance(v, Shuffle):
            same = (v.first.dtype, v.first.lanes) == (v.second.dtype, v.second.lanes)
            self.need(same, "lanes of two types")
            self.need(all(0 <= i < 2 * v.first.lanes for i in v.picks), "a lane that the vectors lack")
        else:
            self.need(not isinstance(v, Read | Acc), f"a {type(v).__name__} is left")
