"""The graphs of a MindIR model: what each value is, which functions are called, and what becomes of control flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from ingot.errors import IngotError
from ingot.frontends.builder import MAX_MADE, OPSET, Array, Builder
from ingot.frontends.mindir.call import PRIMITIVES, Call, Values
from ingot.frontends.mindir.file import Network, Node, Other, State, read_file
from ingot.frontends.mindir.plan import Plan

MAX_NODES = 100_000
"""Most nodes that a model has where its functions are inlined."""
_MAX_DEPTH = 40
_TRACES = 4


@dataclass(frozen=True)
class Closure:
    """A function of the model with its first arguments."""

    graph: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Of two closures the first where a bool holds, otherwise the second."""

    condition: Any
    closures: tuple[Any, Any]


@dataclass(frozen=True)
class Jump:
    """The end of a turn of a loop: the arguments of the next one."""

    arguments: tuple[Any, ...]


def read(path: Path, weights: Path | None = None) -> ir.Model:
    """A MindIR file as ONNX. Raises IngotError: model-*, external-data-*, unsupported."""
    network = read_file(path)
    net = Net(network, path.stem)
    net.check_known(str(path))
    return net.convert()


class Net:
    """values: of constants and parameters, by name. loops: functions whose call ends a turn, outermost first."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.b = Builder(name, OPSET)
        self.plans = {name: Plan(graph, network.functions) for name, graph in network.functions.items()}
        self.values: Values = {}
        for graph in network.functions.values():
            self.values.update(graph.constants)
        self.loops: list[str] = []
        self.depth = self.visited = 0

    def check_known(self, where: str) -> None:
        """One error that names all primitives that cannot be converted."""
        used = self.reach(self.network.main.name) | {self.network.main.name}
        nodes = [node for name in used for node in self.network.functions[name].nodes]
        unknown = sorted({node.op for node in nodes if node.op} - PRIMITIVES.keys())
        if unknown:
            raise IngotError(
                "unsupported",
                f"no ONNX for these primitives: {', '.join(unknown)}",
                where=where,
                remedy="end the network before them, or write it with other operators",
            )

    def convert(self) -> ir.Model:
        main, arguments = self.network.main, []
        self.spend(self.inlined(main.name, {}))
        self.visited = 0
        for name, tensor in main.inputs:
            plain = name.rpartition(":")[2]
            if tensor is None or tensor.dtype is None or -2 in tensor.shape:
                raise IngotError(
                    "unsupported",
                    "it is a sequence, a number, or of unknown rank",
                    where=f"input {plain}",
                    remedy="export the network with tensors as inputs",
                )
            shape = [_symbol(plain, axis) if dim < 0 else dim for axis, dim in enumerate(tensor.shape)]
            arguments.append(self.b.input(plain, ir.DataType.from_numpy(tensor.dtype), shape))
        found = _leaves(self.follow(Closure(main.name), arguments))
        self.b.where = "model"
        if not found:
            raise self.b.invalid("the model has no outputs")
        names = ["output"] if len(found) == 1 else [f"output_{place}" for place in range(len(found))]
        tensors = [self.tensor(value) for value in found]
        return self.b.finish(list(zip(names, tensors, strict=True)), "MindSpore")

    # Values

    def tensor(self, value: Any) -> ir.Value:
        """A value as a tensor."""
        if isinstance(value, ir.Value):
            return value
        if isinstance(value, bool | int | float | np.ndarray):
            array = np.asarray(value)
            return self.b.constant(array.astype(np.float32) if isinstance(value, float) else array)
        if isinstance(value, tuple) and all(isinstance(item, bool | int | float) for item in value):
            return self.b.constant(np.asarray(value, None if value else np.int64))
        raise self.unsupported(f"it computes with {_named(value)}")

    def op(self, op_type: str, *inputs: ir.Value | None, **options: Any) -> ir.Value:
        return self.ops(op_type, *inputs, **options)[0]

    def ops(self, op_type: str, *inputs: ir.Value | None, **options: Any) -> Sequence[ir.Value]:
        """A node's outputs; constants, where all its inputs are constants."""
        found = self.b.ops(op_type, *inputs, **options)
        known = [None if value is None else value.const_value for value in inputs]
        sizes = [_elements(value) for value in found]
        if not inputs or any(v is not None and k is None for v, k in zip(inputs, known, strict=True)):
            return found
        if any(size is None or size > MAX_MADE for size in sizes):
            return found
        try:
            return [self.b.constant(array, op_type) for array in _computed(found[0].producer())]
        except (TypeError, ValueError, RuntimeError, NotImplementedError):
            return found  # not all that is valid is in ONNX's reference implementation

    def unsupported(self, cause: str, remedy: str = "end the network before it") -> IngotError:
        return IngotError("unsupported", cause, where=self.b.where, remedy=remedy)

    # Functions

    def reach(self, name: str) -> set[str]:
        """The functions that are called from one, until a loop is at its next turn."""
        found: set[str] = set()
        left = [name]
        while left:
            new = self.plans[left.pop()].functions - found
            found |= new
            left += new - set(self.loops)
        return found

    def follow(self, callee: Any, arguments: Sequence[Any]) -> Any:
        """What a call gives; a `Jump` where it ends in a call of the innermost loop."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.unsupported("its functions are nested too deeply, or call themselves")
        while True:
            if isinstance(callee, Choice):
                result = self.choose(callee, arguments)
                break
            if not isinstance(callee, Closure):
                raise self.b.invalid(f"it calls {_named(callee)}")
            name, given = callee.graph, (*callee.arguments, *arguments)
            if self.loops and name == self.loops[-1]:
                result = Jump(given)
                break
            if name in self.loops:
                raise self.unsupported("a loop ends a turn of the loop around it")
            if name in self.reach(name):
                callee, arguments = self.loop(name, given), ()
                continue
            plan, values = self.plans[name], self.run(name, given)
            if plan.tail is None:
                result = self.lookup(values, plan.result)
                break
            callee, arguments = self.called(plan.tail, values)
        self.depth -= 1
        return result

    def call(self, callee: Any, arguments: Sequence[Any]) -> Any:
        """What a call gives that is not the end of a function."""
        result = self.follow(callee, arguments)
        if isinstance(result, Jump):
            raise self.unsupported("a function calls itself before its end, which is no loop")
        return result

    def called(self, node: Node, values: Values) -> tuple[Any, list[Any]]:
        """The callee and the arguments of a node."""
        callee: Any = Closure(node.callee) if node.callee in self.plans else self.lookup(values, node.callee)
        return callee, [self.lookup(values, name) for name in node.inputs]

    def run(self, name: str, arguments: Sequence[Any]) -> Values:
        """The values of a function, save its tail's."""
        plan = self.plans[name]
        inputs = plan.graph.inputs
        if len(inputs) != len(arguments):
            raise self.b.invalid(f"{name} takes {len(inputs)} arguments and is given {len(arguments)}")
        values: Values = {place: value for (place, _), value in zip(inputs, arguments, strict=True)}
        for key, tensor in plan.graph.parameters.items():
            if key not in self.values:
                self.values[key] = self.b.constant(tensor.data, tensor.name)
        for node in plan.nodes:
            self.b.where = f"{node.op or 'call'} {node.scope}"
            self.spend(1)
            if node.op:
                result = PRIMITIVES[node.op](Call(self, node, values))
            else:
                result = self.call(*self.called(node, values))
            if len(node.outputs) != 1:
                raise self.b.invalid(f"it has {len(node.outputs)} outputs")
            values[node.outputs[0]] = result
        return values

    def spend(self, nodes: int) -> None:
        """Raise model-too-large where the functions, inlined, have more nodes than any network."""
        self.visited += nodes
        if self.visited > MAX_NODES:
            raise IngotError(
                "model-too-large",
                f"its functions call each other until they have more than {MAX_NODES:,} nodes",
                where=self.b.where,
                remedy="copy or export the file again",
            )

    def inlined(self, name: str, known: dict[str, int]) -> int:
        """How many nodes a function has with those that it calls, a loop's once."""
        if name not in known:
            known[name] = 0
            calls = [n for node in self.plans[name].graph.nodes for n in (node.callee, *node.inputs)]
            inside = sum(self.inlined(callee, known) for callee in calls if callee in self.plans)
            known[name] = len(self.plans[name].graph.nodes) + inside
        return known[name]

    def lookup(self, values: Values, name: str) -> Any:
        for known in (values, self.values):
            if name in known:
                return known[name]
        if name in self.plans:
            return Closure(name)
        raise self.b.invalid(f"it uses {name!r}, which nothing computes")

    # Control flow

    def inside(self, name: str, action: Callable[[], Any]) -> tuple[Builder, Any]:
        """What an action gives that adds its nodes to a subgraph."""
        outer, self.b = self.b, self.b.inner(name)
        try:
            return self.b, action()
        finally:
            self.b.where, self.b = outer.where, outer

    def choose(self, choice: Choice, arguments: Sequence[Any]) -> Any:
        """An If, or what becomes of one branch where the condition is known."""
        condition = choice.condition
        if isinstance(condition, ir.Value) and condition.const_value is not None:
            condition = bool(condition.const_value.numpy().all())
        if not isinstance(condition, ir.Value):
            return self.follow(choice.closures[0 if condition else 1], arguments)
        traced = [
            self.inside(name, partial(self.follow, closure, arguments))
            for name, closure in zip(("then", "else"), choice.closures, strict=True)
        ]
        results = [result for _, result in traced]
        jumps = [isinstance(result, Jump) for result in results]
        if jumps[0] != jumps[1]:
            raise self.unsupported("a loop ends at a branch inside it", "put that into the loop's condition")
        results = [result.arguments if jumps[0] else result for result in results]
        if _pattern(results[0]) != _pattern(results[1]):
            raise self.unsupported("the branches give results of different structure")
        leaves = [[self.tensor(leaf) for leaf in _leaves(result)] for result in results]
        types = []
        for one, other in zip(*leaves, strict=True):
            if one.dtype != other.dtype:
                raise self.unsupported("the branches give results of different types")
            types.append((one.dtype, _common(one.shape, other.shape)))
        merged: Sequence[ir.Value] = ()
        if types:
            bodies = {
                f"{name}_branch": builder.close(values)
                for name, (builder, _), values in zip(("then", "else"), traced, leaves, strict=True)
            }
            merged = self.b.control("If", [condition], bodies, types, "branch")
        rebuilt = _rebuilt(results[0], iter(merged))
        return Jump(rebuilt) if jumps[0] else rebuilt

    def loop(self, name: str, arguments: tuple[Any, ...]) -> Closure:
        """A function that ends in `condition ? turn : rest`, where the turn ends in a call of it: a Loop. The rest."""
        self.loops.append(name)
        try:
            state = [self.tensor(leaf) for leaf in _leaves(arguments)]
            carried = [False] * len(state)
            shapes: list[ir.Shape | None] = [value.shape for value in state]
            for _ in range(_TRACES):
                before = list(carried), list(shapes)
                builder, (condition, after) = self.inside(
                    "turn", lambda: self.turn(name, arguments, state, carried, shapes)
                )
                for place, value in enumerate(after):
                    if value is not state[place] and not carried[place]:
                        carried[place] = True
                    if carried[place]:
                        shapes[place] = _common(shapes[place], value.shape)
                if (carried, shapes) == before:
                    break
            else:
                raise self.unsupported("the ranks of a loop's values change from turn to turn")
            moving = [place for place, moves in enumerate(carried) if moves]
            if not moving:
                raise self.unsupported("a loop changes nothing")
            body = builder.close([condition, *(after[place] for place in moving)])
            first, _ = self.head(name, arguments)
            types = [(state[place].dtype, shapes[place]) for place in moving]
            made = self.b.control(
                "Loop", [None, first, *(state[place] for place in moving)], {"body": body}, types, "loop"
            )
            final = list(state)
            for place, value in zip(moving, made, strict=True):
                final[place] = value
            _, (_, rest) = self.head(name, _rebuilt(arguments, iter(final)))
        finally:
            self.loops.pop()
        assert isinstance(rest, Closure)
        return rest

    def turn(
        self,
        name: str,
        arguments: tuple[Any, ...],
        state: Sequence[ir.Value],
        carried: Sequence[bool],
        shapes: Sequence[ir.Shape | None],
    ) -> tuple[ir.Value, list[ir.Value]]:
        """A turn: whether another follows, and the values after it. What is not carried is the outer graph's."""
        self.b.parameter("trip", ir.DataType.INT64, [])
        self.b.parameter("goes", ir.DataType.BOOL, [])
        held = []
        for value, moves, shape in zip(state, carried, shapes, strict=True):
            assert value.dtype is not None
            held.append(self.b.parameter("state", value.dtype, shape) if moves else value)
        _, (turn, _) = self.head(name, _rebuilt(arguments, iter(held)))
        result = self.follow(turn, ())
        if not isinstance(result, Jump):
            raise self.unsupported("a function calls itself before its end, which is no loop")
        if _pattern(result.arguments) != _pattern(arguments):
            raise self.unsupported("the structure of a loop's values changes from turn to turn")
        after = [self.tensor(leaf) for leaf in _leaves(result.arguments)]
        if [value.dtype for value in after] != [value.dtype for value in state]:
            raise self.unsupported("the types of a loop's values change from turn to turn")
        goes, _ = self.head(name, _rebuilt(arguments, iter(after)))
        return goes, after

    def head(self, name: str, arguments: Sequence[Any]) -> tuple[ir.Value, tuple[Any, Any]]:
        """What a loop's function computes before a turn: whether there is one, the turn, and the rest."""
        plan, values = self.plans[name], self.run(name, arguments)
        callee = self.called(plan.tail, values)[0] if plan.tail is not None else None
        if not isinstance(callee, Choice) or not all(isinstance(c, Closure) for c in callee.closures):
            raise self.unsupported("a function calls itself and is no loop with one condition")
        turns = [name in {closure.graph} | self.reach(closure.graph) for closure in callee.closures]
        condition = self.tensor(callee.condition)
        if turns == [True, False]:
            return condition, callee.closures
        if turns == [False, True]:
            return self.op("Not", condition, name="goes"), (callee.closures[1], callee.closures[0])
        raise self.unsupported("a function calls itself and is no loop with one end")


def _symbol(name: str, axis: int) -> str:
    return "N" if axis == 0 else f"{name}_{axis}"


def _named(value: Any) -> str:
    if isinstance(value, Other):
        return f"a value of kind {value.number}"
    if isinstance(value, tuple):
        return "a sequence"
    kinds = {str: "a text", Closure: "a function", Choice: "a function", State: "a state"}
    return kinds.get(type(value), "a result that is not converted")


def _leaves(value: Any) -> list[Any]:
    """The numbers and tensors in a value."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, Closure):
        return _leaves(value.arguments)
    return [] if value is None or isinstance(value, State | str) else [value]


def _pattern(value: Any) -> Any:
    """What is around the numbers and tensors in a value."""
    if isinstance(value, tuple):
        return tuple(_pattern(item) for item in value)
    if isinstance(value, Closure):
        return value.graph, _pattern(value.arguments)
    return value if value is None or isinstance(value, State | str) else ...


def _rebuilt(value: Any, leaves: Iterator[ir.Value]) -> Any:
    """A value with other tensors in it."""
    if isinstance(value, tuple):
        return tuple(_rebuilt(item, leaves) for item in value)
    if isinstance(value, Closure):
        return Closure(value.graph, _rebuilt(value.arguments, leaves))
    return value if value is None or isinstance(value, State | str) else next(leaves)


def _common(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    """The dimensions in which two shapes agree; None where their ranks do not."""
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape(a if a == b and isinstance(a, int) else None for a, b in zip(one, other, strict=True))


def _elements(value: ir.Value) -> int | None:
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return int(np.prod([int(dim) for dim in value.shape if isinstance(dim, int)], dtype=object))


def _computed(node: ir.Node | None) -> list[Array]:
    """The outputs of a node on constants."""
    assert node is not None
    inputs = {str(v.name): v.const_value.numpy() for v in node.inputs if v is not None and v.const_value}
    infos = [onnx.helper.make_tensor_value_info(str(v.name), v.dtype or 0, None) for v in node.outputs]
    graph = onnx.helper.make_graph([ir.to_proto(node)], "constants", [], infos)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, ir.DataType.from_numpy(array.dtype), array.shape)
        for name, array in inputs.items()
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, inputs)]
