"""(MatMul(x, w) + b) * c + d  ->  MatMul(x, w * c) + (b * c + d), one constant a feature

Also Sub, Div, and BatchNormalization of matrices. Refuses weights that are not a constant matrix, constants that vary
over other axes than the last, a product that others use too, and chains that would not become shorter.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, trace


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "MatMul"):
        user = edit.only_user(node.outputs[0])
        if user is not None and user.op_type in affine.STEPS and not user.domain:
            fired += trace.outcome(node, _fuse(node, names))
    return fired


def _fuse(node: ir.Node, names: edit.Names) -> str | None:
    weights, dims = edit.constant(node.inputs[1]), edit.dims(node.inputs[0])
    if weights is None or weights.ndim != 2 or weights.dtype not in (np.float32, np.float64):
        return "its weights are not a constant matrix of floats"
    if dims is None or len(dims) < 2:
        return "the rank of its input is not known"
    features = weights.shape[1]
    scale, shift, chain, value = np.ones(features), np.zeros(features), list[ir.Node](), node.outputs[0]
    while (user := edit.only_user(value)) is not None and user.graph is node.graph:
        form = affine.step(user, value, len(dims), features, -1)
        if form is None:
            break
        with np.errstate(all="ignore"):
            scale, shift = scale * form[0], shift * form[0] + form[1]
        chain.append(user)
        value = user.outputs[0]
    added = bool(np.any(shift != 0))
    if len(chain) < 1 + added:
        return "nothing would be gained"
    with np.errstate(all="ignore"):
        scaled, bias = (a.astype(weights.dtype) for a in (weights * scale, shift))
    if not np.all(np.isfinite(scaled)) or not np.all(np.isfinite(bias)):
        return "a weight would leave the range of its dtype"
    if not added and not edit.can_replace(value, node.outputs[0]):
        return "it is an output of its graph"
    names.set_constant(node, 1, scaled, "scaled")
    _end(node, chain[-1], bias if added else None, names)
    edit.remove_unused(chain)
    return None


def _end(node: ir.Node, last: ir.Node, bias: edit.Array | None, names: edit.Names) -> None:
    """Let the product, or its sum with a bias, stand for what `last` gives."""
    out, graph = node.outputs[0], node.graph
    assert graph is not None
    if bias is not None:
        constant = names.add_constant(graph, f"{out.name}.bias", bias, node.inputs[1].dtype)  # type: ignore[union-attr]
        add = ir.Node("", "Add", [out, constant], num_outputs=1)
        add.outputs[0].name = names.fresh(f"{out.name}.biased")
        graph.insert_before(last, add)
        out = add.outputs[0]
    edit.replace(last.outputs[0], out)
