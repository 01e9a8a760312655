"""Input shapes: names for unknown dimensions, and shapes that the user gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends.check import MAX_ELEMENTS


def name_symbols(model: ir.Model) -> None:
    """Give every input dimension an integer or a symbol that is an identifier.

    A name that is none, such as "batch size", becomes one everywhere in the model; a dimension without a letter in
    its name, and -1, become `<input>_dim<axis>`, and in outputs unknown. Where another symbol has the new name already,
    a number is added.
    """
    for value in model.graph.outputs:
        if value.shape is not None and not value.is_graph_input():
            value.shape = ir.Shape(None if _nameless(dim) else dim for dim in value.shape)
    renamed: dict[str, str] = {}
    taken = {
        dim.value
        for value in model.graph.inputs
        for dim in value.shape or ()
        if isinstance(dim, ir.SymbolicDim) and dim.value and _is_symbol(dim.value)
    }
    for value in model.graph.inputs:
        if value.shape is None:
            continue
        dims = list(value.shape)
        for axis, dim in enumerate(dims):
            if _nameless(dim):
                dims[axis] = ir.SymbolicDim(_identifier(f"{value.name}_dim{axis}", taken))
            elif isinstance(dim, ir.SymbolicDim) and dim.value and not _is_symbol(dim.value):
                renamed[dim.value] = renamed.get(dim.value) or _identifier(dim.value, taken)
        value.shape = ir.Shape(dims)
    if renamed:
        _substitute(model, {old: ir.SymbolicDim(new) for old, new in renamed.items()})


def _nameless(dim: int | ir.SymbolicDim) -> bool:
    if isinstance(dim, int):
        return dim < 0
    return not re.search(r"[A-Za-z]", dim.value or "")


def _is_symbol(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _identifier(name: str, taken: set[str]) -> str:
    """An identifier like `name` that is not in `taken`, to which it is added."""
    clean = re.sub(r"\W", "_", name, flags=re.ASCII)
    base = clean if clean[:1].isalpha() or clean[:1] == "_" else f"d_{clean}"
    free = next(n for n in (base, *(f"{base}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    taken.add(free)
    return free


def apply_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int | str]]) -> None:
    """Set the shapes of inputs and of values inside the model, of integers >= 0, symbol names, and ranges such as "1..8".

    A range leaves the dimension a symbol, of those sizes only: `model.meta["ranges"]` has them by symbol. A symbol that
    gets an integer or another name gets it everywhere. When an integer dimension changes, the recorded shapes of
    intermediate values and outputs are dropped. What is given for a value inside bounds sizes that only a run tells, and
    `value.meta["given"]` marks it.
    Raises IngotError input-name for an unknown name, input-shape for a wrong rank, dimension or contradiction.
    """
    inputs = {value.name: value for value in model.graph.inputs}
    inner = {v.name: v for graph in model.graphs() for node in graph for v in node.outputs if v.name}
    bound: dict[str, int | ir.SymbolicDim] = {}
    given: list[tuple[ir.Value, ir.Shape]] = []
    ranges: dict[str, tuple[int, int]] = model.meta.setdefault("ranges", {})
    stale = False
    for name, dims in shapes.items():
        value = inputs.get(name) or inner.get(name)
        if value is None:
            raise IngotError(
                "input-name",
                f"the model has no input {name!r}, and no value inside of that name",
                where=f"input {name}",
                remedy=f"its inputs are {', '.join(str(known) for known in inputs) or 'none'}",
            )
        asked = _sequence(dims, name)
        old = list(value.shape) if value.shape is not None else None
        named = [_range(dim, value, old, axis, ranges) for axis, dim in enumerate(asked)]
        new = [_dimension(dim, name, dims) for dim in named]
        if old is not None and len(old) != len(new):
            raise IngotError(
                "input-shape",
                f"the shape {_text(new)} has {len(new)} dimensions, the model's {_text(old)} has {len(old)}",
                where=f"input {name}",
                remedy=f"give {len(old)} dimensions",
            )
        if math.prod(dim for dim in new if isinstance(dim, int)) > MAX_ELEMENTS:
            raise IngotError(
                "input-shape",
                f"the shape {_text(new)} is too large",
                where=f"input {name}",
                remedy="give a smaller one",
            )
        given.append((value, ir.Shape(new)))
        if name not in inputs:
            _check_stated(name, old or [], new)
            continue
        stale = stale or old is None
        for before, after in zip(old or [], new, strict=False):
            if isinstance(before, int):
                stale = stale or before != after
            elif before.value is not None and bound.setdefault(before.value, after) != after:
                raise IngotError(
                    "input-shape",
                    f"the symbol {before.value} is given two values, {bound[before.value]} and {after}",
                    where=f"input {name}",
                    remedy="give inputs that share a symbol the same dimension",
                )
    _substitute(model, bound)
    if stale:
        _forget(model)
    for value, shape in given:
        value.shape = shape
        value.meta["given"] = True


def _check_stated(
    name: str, old: Sequence[int | ir.SymbolicDim], new: Sequence[int | ir.SymbolicDim]
) -> None:
    """Raise IngotError input-shape where a shape for a value inside contradicts the model's."""
    if any(isinstance(a, int) and a != b for a, b in zip(old, new, strict=False)):
        raise IngotError(
            "input-shape",
            f"the shape {_text(new)} contradicts the model's, {_text(old)}",
            where=f"value {name}",
            remedy="give shapes of inputs; those of values inside follow from them",
        )


def _sequence(dims: Sequence[int | str], name: str) -> list[int | str]:
    try:
        if isinstance(dims, str | bytes):
            raise TypeError
        return list(dims)
    except TypeError:
        raise IngotError(
            "input-shape",
            f"a shape is a sequence of integers and symbol names, not {dims!r}",
            where=f"input {name}",
            remedy="give something like (1, 3, 224, 224) or ('N', 3, 224, 224)",
        ) from None


def _range(
    dim: int | str,
    value: ir.Value,
    old: list[int | ir.SymbolicDim] | None,
    axis: int,
    ranges: dict[str, tuple[int, int]],
) -> int | str:
    """The symbol of a dimension that is given as a range, whose ends `ranges` then has."""
    found = re.fullmatch(r"(\d+)\.\.(\d+)", dim) if isinstance(dim, str) else None
    if found is None:
        return dim
    before = old[axis] if old is not None and axis < len(old) else None
    name = re.sub(r"\W", "_", f"{value.name}_dim{axis}", flags=re.ASCII)
    symbol = (
        before.value
        if isinstance(before, ir.SymbolicDim) and before.value
        else f"d{name}"
        if name[0].isdigit()
        else name
    )
    ends = int(found[1]), int(found[2])
    if not 1 <= ends[0] <= ends[1] <= MAX_ELEMENTS or ranges.setdefault(symbol, ends) != ends:
        raise IngotError(
            "input-shape",
            f"the sizes {dim} of {symbol} make no sense, or another dimension of that name has other ones",
            where=f"input {value.name}",
            remedy="give a range such as 1..8, the same wherever the model has the symbol",
        )
    return symbol


def _dimension(dim: object, name: str, dims: Sequence[int | str]) -> int | ir.SymbolicDim:
    if isinstance(dim, int | np.integer) and not isinstance(dim, bool) and dim >= 0:
        return int(dim)
    if isinstance(dim, str) and _is_symbol(dim):
        return ir.SymbolicDim(dim)
    raise IngotError(
        "input-shape",
        f"{dim!r} in the shape {tuple(dims)} is no dimension",
        where=f"input {name}",
        remedy="give integers that are not negative, names such as N, or ranges such as 1..8",
    )


def _text(dims: Sequence[int | ir.SymbolicDim]) -> str:
    return "[" + ", ".join(str(dim) for dim in dims) + "]"


def _values(model: ir.Model) -> list[ir.Value]:
    values: list[ir.Value] = []
    for graph in model.graphs():
        values += [*graph.inputs, *(out for node in graph for out in node.outputs), *graph.outputs]
    return list(dict.fromkeys(values))


def _substitute(model: ir.Model, bound: Mapping[str, int | ir.SymbolicDim]) -> None:
    """Replace symbols in all shapes; an expression that mentions one becomes unknown."""
    changed = {
        old: new for old, new in bound.items() if not (isinstance(new, ir.SymbolicDim) and new.value == old)
    }
    if not changed:
        return
    mentions = re.compile(r"(?<![\w.])(" + "|".join(re.escape(name) for name in changed) + r")(?![\w.])")
    for value in _values(model):
        if value.shape is None:
            continue
        dims = list(value.shape)
        for axis, dim in enumerate(dims):
            name = dim.value if isinstance(dim, ir.SymbolicDim) else None
            if name in changed:
                dims[axis] = changed[name]
            elif name and mentions.search(name):
                dims[axis] = ir.SymbolicDim(None)
        value.shape = ir.Shape(dims)


def _forget(model: ir.Model) -> None:
    for graph in model.graphs():
        inner = [] if graph is model.graph else graph.inputs
        for value in [*inner, *(out for node in graph for out in node.outputs), *graph.outputs]:
            if value not in model.graph.inputs and not value.is_initializer():
                value.shape = None
