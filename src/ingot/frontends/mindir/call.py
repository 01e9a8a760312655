"""A node of a MindIR graph being converted, and the table of what converts each primitive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends.mindir.file import Node

if TYPE_CHECKING:
    from ingot.frontends.mindir.net import Net

Handler = Callable[["Call"], Any]
PRIMITIVES: dict[str, Handler] = {}
"""Every primitive that can be converted; `layers.py` and `arrays.py` fill it. A function gives the node's result."""

Values = dict[str, Any]
"""What names stand for: an ir.Value, a number, text, None, a tuple of such, a `Closure`, a `Choice` or a `State`."""


def primitive(*names: str) -> Callable[[Handler], Handler]:
    """Registers a function for these primitives."""

    def register(function: Handler) -> Handler:
        PRIMITIVES.update(dict.fromkeys(names, function))
        return function

    return register


class Call:
    """A node being converted: its inputs as tensors or as numbers, and the attributes of its primitive.

    Newer primitives take as inputs what older ones have as attributes; `argument` looks in both places.
    """

    def __init__(self, net: Net, node: Node, values: Values) -> None:
        self.net, self.b, self.node, self.values = net, net.b, node, values
        self.name = node.scope

    def unsupported(self, cause: str, remedy: str = "end the network before it") -> IngotError:
        return self.net.unsupported(cause, remedy)

    def __len__(self) -> int:
        return len(self.node.inputs)

    def given(self, place: int) -> Any:
        """An input, whatever it is."""
        if place >= len(self.node.inputs):
            raise self.b.invalid(f"it has {len(self.node.inputs)} inputs")
        return self.net.lookup(self.values, self.node.inputs[place])

    def x(self, place: int = 0) -> ir.Value:
        """An input as a tensor."""
        return self.net.tensor(self.given(place))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """A number, text or tuple that is an input, or an attribute where there is no such input."""
        found = self.given(place) if place < len(self) else self.node.attributes.get(name, default)
        if isinstance(found, ir.Value) and found.const_value is not None:
            found = found.const_value.numpy()
        if isinstance(found, np.ndarray):
            found = found.item() if found.ndim == 0 else tuple(found.tolist())
        if isinstance(found, ir.Value):
            raise self.unsupported(f"its {name} is computed at run time; a constant is supported")
        return default if found is None else found

    def integer(self, place: int, name: str, default: int | None = None) -> int:
        found = self.argument(place, name, default)
        if isinstance(found, tuple) and len(found) == 1:
            (found,) = found
        if not isinstance(found, int):
            raise self.b.invalid(f"its {name} is {found!r}, not an integer")
        return int(found)

    def number(self, place: int, name: str, default: float | None = None) -> float:
        found = self.argument(place, name, default)
        if not isinstance(found, int | float):
            raise self.b.invalid(f"its {name} is {found!r}, not a number")
        return float(found)

    def integers(self, place: int, name: str, default: Any = None) -> tuple[int, ...]:
        """Integers; one alone is a tuple of one."""
        found = self.argument(place, name, default)
        found = (found,) if isinstance(found, int) else found
        if not isinstance(found, tuple) or not all(isinstance(item, int) for item in found):
            raise self.b.invalid(f"its {name} is {found!r}, not integers")
        return found

    def flag(self, place: int, name: str, default: bool = False) -> bool:
        return bool(self.argument(place, name, default))

    def op(self, op_type: str, *inputs: ir.Value | None, part: str = "", **attributes: Any) -> ir.Value:
        """A node of ONNX. part: what it is of this primitive, in its name."""
        return self.net.op(op_type, *inputs, name=f"{self.name}/{part}" if part else self.name, **attributes)

    def ops(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> Sequence[ir.Value]:
        return self.net.ops(op_type, *inputs, name=self.name, **attributes)

    def like(self, value: Any, x: ir.Value) -> ir.Value:
        """A number as a constant of a tensor's type."""
        assert x.dtype is not None
        return self.b.constant(np.asarray(value).astype(x.dtype.numpy()))

    def rank(self, x: ir.Value) -> int:
        if x.shape is None:
            raise self.unsupported("it needs to know the number of dimensions of its input")
        return len(x.shape)

    def axis(self, axis: int, rank: int) -> int:
        """An axis that may count from the end, from 0 on."""
        if not -rank <= axis < rank:
            raise self.b.invalid(f"axis {axis} does not exist in {rank} dimensions")
        return axis % rank

    def dims(self, x: ir.Value) -> list[int | None]:
        self.rank(x)
        return [dim if isinstance(dim, int) else None for dim in x.shape or ()]

    def shape(self, x: ir.Value) -> ir.Value:
        """The dimensions of a tensor, as a vector of int64."""
        dims = self.dims(x)
        known = [dim for dim in dims if dim is not None]
        return self.b.ints(*known) if len(known) == len(dims) else self.op("Shape", x, part="sizes")

    def sizes(self, x: ir.Value, axes: Sequence[int]) -> list[int]:
        """Dimensions that must be known."""
        found = self.dims(x)
        sizes = []
        for axis in axes:
            size = found[self.axis(axis, len(found))]
            if size is None:
                raise self.unsupported(
                    f"it needs to know dimension {axis} of its input", "export with fixed shapes"
                )
            sizes.append(size)
        return sizes
