"""Softmax(q @ k^T * c + mask) @ v  ->  Attention(q, k, v, mask)

Without the mask and the factor too. Heads that Transposes and Reshapes split off and join again are taken from and left
in the last axis, [batch, length, heads * size]. Keys and values that Expand repeats for groups of heads are not
repeated. Raises the operator set to 23. Refuses anything but tensors of four axes with known heads and sizes, a mask
not known to span queries and keys, doubles, parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Either, Pattern, Var, either, op

_JOIN = (0, 2, 1, 3)
"""[batch, length, heads, size] <-> [batch, heads, length, size]."""


def _scaled(x: Pattern, label: str) -> Either:
    """x, or x times a constant, or divided by one."""
    return either(op("Mul", x, Const(name=f"times_{label}")), op("Div", x, Const(name=f"over_{label}")), x)


_SCORES = _scaled(
    op(
        "MatMul", _scaled(Var("q"), "q"), _scaled(op("Transpose", Var("k"), name="turn"), "k"), name="product"
    ),
    "s",
)
_PATTERN = op(
    "MatMul", op("Softmax", either(op("Add", _SCORES, Var("mask")), _SCORES), name="softmax"), Var("v")
)


@dataclass(frozen=True)
class _Heads:
    """source: [batch, length, heads, size], or its producer's input [batch, length, heads * size] where flat."""

    source: ir.Value
    heads: int
    size: int
    flat: bool


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _rewrite(model, found, names)) for found in match.each(model, _PATTERN)
    )


def _rewrite(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    """Why it cannot be, None when it is done."""
    reason = _unfit(found) or match.double(found.values["v"]) or found.leak() or opset.raise_to(model, 23)
    if reason is None and not _fuse(found, names):
        reason = "its heads and their sizes are not known"
    return reason


def _unfit(found: match.Match) -> str | None:
    q, k, v = (edit.dims(found.values[name]) for name in "qkv")
    mask, turn = found.values.get("mask"), found.named["turn"]
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) == 4:
        return "its tensors are not known to have four axes"
    if found.named["softmax"].attributes.get_int("axis", -1) not in (-1, 3):
        return "its softmax is not along the last axis"
    perm = tuple(turn.attributes.get_ints("perm") or ())
    if len(perm) != 4:
        return "the keys are not transposed"
    if mask is None:
        return None
    lengths = [q[2], edit.dims(turn.outputs[0])[3]]  # type: ignore[index]
    sizes = edit.dims(mask)
    if sizes is None or not 2 <= len(sizes) <= 4:
        return "its mask is not known to have two to four axes"
    if not edit.same_dim(sizes[-1], lengths[1]):
        return "its mask is not known to span the keys"
    if not edit.same_dim(sizes[-2], lengths[0]) and not (sizes[-2] == 1 and isinstance(lengths[0], int)):
        return "its mask is not known to span the queries"
    return None


def _spanning(found: match.Match, names: edit.Names) -> ir.Value | None:
    """The mask, repeated for each query where it has one row for all: ONNX Runtime does not broadcast it."""
    mask, q = found.values.get("mask"), edit.dims(found.values["q"])
    sizes = edit.dims(mask)
    if mask is None or sizes is None or q is None or edit.same_dim(sizes[-2], q[2]):
        return mask
    assert isinstance(q[2], int)
    producer, graph = mask.producer(), found.root.graph
    assert graph is not None
    spanning = next((u.node.outputs[0] for u in mask.uses() if _spans(u.node, q[2], len(sizes))), None)
    if spanning is not None:
        return spanning
    target = [1] * len(sizes)
    target[-2] = q[2]
    shape = names.add_constant(graph, f"{mask.name}.span", np.array(target, np.int64))
    new = ir.Node("", "Expand", [mask, shape], num_outputs=1)
    new.outputs[0].name = names.fresh(f"{mask.name}.rows")
    new.outputs[0].type = mask.type
    new.outputs[0].shape = ir.Shape([*sizes[:-2], q[2], sizes[-1]])
    if producer is not None and producer.graph is graph:
        graph.insert_after(producer, new)
    else:
        graph.insert_before(found.root, new)
    return new.outputs[0]


def _spans(node: ir.Node, rows: int, rank: int) -> bool:
    """Whether a node is the Expand that `_spanning` made for an earlier layer."""
    target = [1] * rank
    target[-2] = rows
    return node.op_type == "Expand" and not node.domain and edit.integers(edit.input_at(node, 1)) == target


def _fuse(found: match.Match, names: edit.Names) -> bool:
    root, turn = found.root, found.named["turn"]
    perm = tuple(turn.attributes.get_ints("perm") or ())
    q, v = _heads(found.values["q"]), _heads(found.values["v"])
    k = _split_heads(found.values["k"]) if perm == (0, 2, 3, 1) else _heads(found.values["k"])
    k = k if perm in ((0, 2, 3, 1), (0, 1, 3, 2)) else None
    inputs: list[ir.Value | None]
    attributes = [ir.AttrFloat32("scale", _scale(found))]
    users = {use.node for use in root.outputs[0].uses()}
    joined = q is not None and k is not None and v is not None and not root.outputs[0].is_graph_output()
    joined = joined and len(users) == 1 and all(_joins(user) for user in users)
    mask = _spanning(found, names)
    if joined:
        assert q is not None
        assert k is not None
        assert v is not None
        if k.heads != v.heads or q.heads % k.heads or q.size != k.size:
            return False
        inputs = [_flat(one, root, names) for one in (q, k, v)]
        attributes += [ir.AttrInt64("q_num_heads", q.heads), ir.AttrInt64("kv_num_heads", k.heads)]
        (join,) = users
        _attend(
            root, join, [*inputs, *([mask] if mask is not None else [])], attributes, q.heads, v.size, names
        )
        edit.remove_unused(found.nodes)
        return True
    heads = [edit.dims(found.values["q"]), edit.dims(found.values["v"])]
    if any(dims is None or not isinstance(dims[1], int) for dims in heads):
        return False
    key = found.values["k"]
    swapped = tuple(perm[axis] for axis in (0, 1, 3, 2))
    if swapped != (0, 1, 2, 3):
        key = _insert(root, "Transpose", [key], [ir.AttrInt64s("perm", swapped)], f"{key.name}.keys", names)
        key.type, dims = found.values["k"].type, edit.dims(found.values["k"])
        key.shape = ir.Shape([dims[axis] for axis in swapped]) if dims is not None else None
    inputs = [found.values["q"], key, found.values["v"], *([mask] if mask is not None else [])]
    return match.fuse(found, "Attention", inputs, attributes, names) is None


def _scale(found: match.Match) -> float:
    scale = 1.0
    for label in "qks":
        if f"times_{label}" in found.values:
            scale *= found.number(f"times_{label}")
        if f"over_{label}" in found.values:
            scale /= found.number(f"over_{label}")
    return scale


def _joins(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm")
    return node.op_type == "Transpose" and not node.domain and tuple(perm or ()) == _JOIN


def _heads(value: ir.Value) -> _Heads | None:
    """What a tensor [batch, heads, length, size] was before its heads came first."""
    node = value.producer()
    if node is None or not _joins(node) or node.inputs[0] is None:
        return None
    return _split_heads(node.inputs[0])


def _split_heads(value: ir.Value) -> _Heads | None:
    """[batch, length, heads, size], each head repeated by Expand or not."""
    dims = edit.dims(value)
    if dims is None or len(dims) != 4 or not isinstance(dims[2], int) or not isinstance(dims[3], int):
        return None
    grouped = _ungrouped(value, dims)
    if grouped is not None:
        return grouped
    node = value.producer()
    source = (
        edit.input_at(node, 0) if node is not None and node.op_type == "Reshape" and not node.domain else None
    )
    before = edit.dims(source)
    wanted = edit.integers(edit.input_at(node, 1)) if node is not None and source is not None else None
    flat = (
        before is not None
        and wanted is not None
        and len(before) == 3
        and before[2] == dims[2] * dims[3]
        and (wanted[1] == 0 or wanted[1] == before[1])
    )
    if flat and source is not None:
        return _Heads(source, dims[2], dims[3], True)
    return _Heads(value, dims[2], dims[3], False)


_REPEAT = op("Reshape", op("Expand", op("Unsqueeze", Var("x"), name="unsqueeze"), name="expand"))


def _ungrouped(value: ir.Value, dims: list[edit.Dim]) -> _Heads | None:
    """What a tensor [batch, length, heads * repeats, size] was before each head was repeated, None where none was."""
    node = value.producer()
    found = match.find(_REPEAT, node) if node is not None and node.op_type == "Reshape" else None
    if found is None:
        return None
    x = edit.dims(found.values["x"])
    axes = edit.integers(edit.input_at(found.named["unsqueeze"], 1))
    target = edit.integers(edit.input_at(found.named["expand"], 1))
    if (
        x is None
        or len(x) != 4
        or axes != [3]
        or target is None
        or len(target) != 5
        or not isinstance(x[2], int)
    ):
        return None
    kept = all(target[axis] == 1 or target[axis] == size for axis, size in zip((0, 1, 2, 4), x, strict=True))
    return (
        _split_heads(found.values["x"]) if kept and dims[2] == x[2] * target[3] and dims[3] == x[3] else None
    )


def _flat(one: _Heads, before: ir.Node, names: edit.Names) -> ir.Value:
    """[batch, length, heads * size]."""
    if one.flat:
        return one.source
    return _reshaped(one.source, [0, 0, one.heads * one.size], before, names)


def _reshaped(x: ir.Value, target: list[int], before: ir.Node, names: edit.Names) -> ir.Value:
    assert before.graph is not None
    shape = names.add_constant(before.graph, f"{x.name}.shape", np.array(target, np.int64))
    out = _insert(before, "Reshape", [x, shape], [], f"{x.name}.joined", names)
    dims = edit.dims(x)
    out.type = x.type
    if dims is not None:
        out.shape = ir.Shape([*dims[:2], *target[2:]])
    return out


def _insert(
    before: ir.Node,
    op_type: str,
    inputs: list[ir.Value],
    attributes: list[ir.Attr],
    name: str,
    names: edit.Names,
) -> ir.Value:
    new = ir.Node("", op_type, inputs, attributes, num_outputs=1)
    new.outputs[0].name = names.fresh(name)
    assert before.graph is not None
    before.graph.insert_before(before, new)
    return new.outputs[0]


def _attend(
    root: ir.Node,
    join: ir.Node,
    inputs: list[ir.Value | None],
    attributes: list[ir.Attr],
    heads: int,
    size: int,
    names: edit.Names,
) -> None:
    """Attention of three axes in place of root and of the Transpose after it."""
    out, dims = join.outputs[0], edit.dims(join.outputs[0])
    new = ir.Node("", "Attention", inputs, attributes, name=root.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{root.outputs[0].name}.attention")
    new.outputs[0].type = out.type
    if dims is not None:
        new.outputs[0].shape = ir.Shape([*dims[:2], heads * size])
    assert join.graph is not None
    join.graph.insert_before(join, new)
    split = _reshaped(new.outputs[0], [0, 0, heads, size], join, names)
    replaced = edit.bypass(join, split)
    assert replaced
