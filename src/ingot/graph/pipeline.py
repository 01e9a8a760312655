"""THE ordered lists of graph rules, and the loop that applies them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_ir as ir

from ingot.errors import IngotError
from ingot.graph.rules import (
    deduplicate_initializers,
    eliminate_common_subexpressions,
    eliminate_dead_code,
    eliminate_dropout,
    eliminate_expand,
    eliminate_identity,
    eliminate_no_op,
    expand_contrib,
    expand_gradient,
    expand_operators,
    fold_constants,
    fold_if,
    fold_reshape_targets,
    fold_shapes,
    fold_where,
    fuse_attention,
    fuse_bias_gelu,
    fuse_block_conv,
    fuse_conv_activation,
    fuse_conv_batch_norm,
    fuse_conv_scale,
    fuse_depth_to_space,
    fuse_gelu,
    fuse_group_norm,
    fuse_gru_cell,
    fuse_hard_swish,
    fuse_image_conv,
    fuse_interleaved_rotary,
    fuse_layer_norm,
    fuse_lstm_cell,
    fuse_matmul_add,
    fuse_matmul_scale,
    fuse_mish,
    fuse_pad_conv,
    fuse_rms_norm,
    fuse_rotary_embedding,
    fuse_scale_conv,
    fuse_skip_layer_norm,
    fuse_softmax,
    fuse_space_to_depth,
    fuse_swish,
    hoist_above_split,
    hoist_scales,
    hoist_slices,
    infer_shapes,
    inline_functions,
    lift_constants,
    merge_casts,
    merge_clips,
    merge_concats,
    merge_convs,
    merge_gather_unsqueeze,
    merge_matmuls,
    merge_pads,
    merge_reduce_reshape,
    merge_reshapes,
    merge_scales,
    merge_slices,
    merge_slices_into_split,
    merge_small_convs,
    merge_transpose_reshape,
    merge_transposes,
    move_quantization,
    reassociate_constants,
    replace_attention,
    replace_batch_norm,
    replace_division,
    replace_extremes,
    replace_inverses,
    replace_power,
    replace_reduce_mean,
    replace_swish,
    sink_reshapes,
    sink_transposes,
    split_heads,
    split_max_pool,
    split_separable,
    swap_activation_pool,
    unroll_loop,
)
from ingot.graph.trace import applying

Rule = Callable[[ir.Model], int]

COMPILE: dict[str, Rule] = {
    "expand_gradient": expand_gradient.apply,
    "inline_functions": inline_functions.apply,
    "lift_constants": lift_constants.apply,
    "eliminate_identity": eliminate_identity.apply,
    "eliminate_dropout": eliminate_dropout.apply,
    "eliminate_dead_code": eliminate_dead_code.apply,
    "infer_shapes": infer_shapes.apply,
    "expand_contrib": expand_contrib.apply,
    "expand_operators": expand_operators.apply,
    "fold_shapes": fold_shapes.apply,
    "fold_reshape_targets": fold_reshape_targets.apply,
    "hoist_scales": hoist_scales.apply,
    "fold_constants": fold_constants.apply,
    "fold_if": fold_if.apply,
    "eliminate_no_op": eliminate_no_op.apply,
    "merge_transposes": merge_transposes.apply,
    "merge_reshapes": merge_reshapes.apply,
    "merge_slices": merge_slices.apply,
    "fuse_space_to_depth": fuse_space_to_depth.apply,
    "fuse_image_conv": fuse_image_conv.apply,
    "fuse_pad_conv": fuse_pad_conv.apply,
    "fuse_conv_batch_norm": fuse_conv_batch_norm.apply,
    "fuse_conv_scale": fuse_conv_scale.apply,
    "merge_small_convs": merge_small_convs.apply,
    "split_max_pool": split_max_pool.apply,
    "deduplicate_initializers": deduplicate_initializers.apply,
    "eliminate_common_subexpressions": eliminate_common_subexpressions.apply,
}
"""What `ingot compile` applies: rules that the lowering and its own fusions gain from, in order."""

_KERNELS = frozenset({"expand_gradient", "expand_operators", "hoist_scales", "split_max_pool"})
"""Rules that kernels gain from and that make the graph larger."""

OPTIMIZE: dict[str, Rule] = {name: rule for name, rule in COMPILE.items() if name not in _KERNELS} | {
    "fuse_swish": fuse_swish.apply,
    "fuse_gelu": fuse_gelu.apply,
    "fuse_softmax": fuse_softmax.apply,
    "fuse_rms_norm": fuse_rms_norm.apply,
    "fuse_layer_norm": fuse_layer_norm.apply,
    "fuse_group_norm": fuse_group_norm.apply,
    "fuse_scale_conv": fuse_scale_conv.apply,
    "fuse_matmul_scale": fuse_matmul_scale.apply,
    "replace_inverses": replace_inverses.apply,
    "replace_extremes": replace_extremes.apply,
    "merge_slices_into_split": merge_slices_into_split.apply,
    "fuse_block_conv": fuse_block_conv.apply,
    "fuse_rotary_embedding": fuse_rotary_embedding.apply,
    "fuse_interleaved_rotary": fuse_interleaved_rotary.apply,
    "hoist_above_split": hoist_above_split.apply,
    "merge_convs": merge_convs.apply,
    "merge_matmuls": merge_matmuls.apply,
    "split_heads": split_heads.apply,
    "merge_transpose_reshape": merge_transpose_reshape.apply,
    "fuse_attention": fuse_attention.apply,
    "fuse_matmul_add": fuse_matmul_add.apply,
    "fuse_hard_swish": fuse_hard_swish.apply,
    "fuse_mish": fuse_mish.apply,
    "merge_casts": merge_casts.apply,
    "merge_concats": merge_concats.apply,
    "merge_clips": merge_clips.apply,
    "merge_pads": merge_pads.apply,
    "reassociate_constants": reassociate_constants.apply,
    "merge_scales": merge_scales.apply,
    "replace_batch_norm": replace_batch_norm.apply,
    "replace_division": replace_division.apply,
    "replace_power": replace_power.apply,
    "merge_reduce_reshape": merge_reduce_reshape.apply,
    "replace_reduce_mean": replace_reduce_mean.apply,
    "swap_activation_pool": swap_activation_pool.apply,
    "fuse_depth_to_space": fuse_depth_to_space.apply,
    "fold_where": fold_where.apply,
    "eliminate_expand": eliminate_expand.apply,
    "move_quantization": move_quantization.apply,
    "split_separable": split_separable.apply,
    "hoist_slices": hoist_slices.apply,
    "sink_reshapes": sink_reshapes.apply,
    "sink_transposes": sink_transposes.apply,
    "fuse_lstm_cell": fuse_lstm_cell.apply,
    "fuse_gru_cell": fuse_gru_cell.apply,
    "merge_gather_unsqueeze": merge_gather_unsqueeze.apply,
    "unroll_loop": unroll_loop.apply,
}
"""What `ingot optimize` applies, in order: fewer and larger operators of standard ONNX."""

RUNTIMES: dict[str, dict[str, Rule]] = {
    "onnxruntime": {
        "fuse_conv_activation": fuse_conv_activation.apply,
        "fuse_skip_layer_norm": fuse_skip_layer_norm.apply,
        "fuse_bias_gelu": fuse_bias_gelu.apply,
        "replace_swish": replace_swish.apply,
        "replace_attention": replace_attention.apply,
    },
}
"""What `ingot optimize --for` applies after that: operators that one runtime alone has kernels for."""

RULES: dict[str, Rule] = (
    COMPILE | OPTIMIZE | {name: rule for own in RUNTIMES.values() for name, rule in own.items()}
)

MAX_ROUNDS = 8
"""The list is applied again while a rule fires, at most this often."""


@dataclass
class PassReport:
    """fired: how often the rule rewrote something; for infer_shapes, how many shapes it learned. seconds: in total."""

    name: str
    fired: int = 0
    seconds: float = 0.0


def optimize(
    model: ir.Model,
    disable: Collection[str] = (),
    on_pass: Callable[[PassReport], None] | None = None,
    keep: expand_operators.Operators | None = None,
    rules: Collection[str] = COMPILE,
) -> list[PassReport]:
    """Apply rules to `model` in place, in order, again and again until none fires.

    model: as `load_model` gives it: names distinct over all graphs, nodes in topological order. Its inputs, outputs
    and meaning stay as they are. disable: names of rules to leave out. on_pass: called after each application with
    what that application did; an exception from it ends the work between two rules. keep: operators that are not replaced
    by the bodies that ONNX gives for them; None keeps all. rules: names of those to apply, `COMPILE`, `OPTIMIZE` or
    one of `RUNTIMES`.
    Returns one report a rule, in the order of the list, over all rounds.
    Raises IngotError rule-unknown, and internal when a rule fails, which leaves the model half rewritten.
    """
    check_names(disable)
    totals = {name: PassReport(name) for name in rules if name not in disable}
    changed: set[str] = set()
    for round_number in range(MAX_ROUNDS):
        expanded, changed = "expand_operators" in changed, set()
        for name, total in totals.items():
            if name == "infer_shapes" and not (expanded or _worth_inferring(model, round_number)):
                continue
            start = time.perf_counter()
            fired = _apply(name, model, keep)
            report = PassReport(name, fired, time.perf_counter() - start)
            total.fired += fired
            total.seconds += report.seconds
            if fired and name != "infer_shapes":
                changed.add(name)
            if on_pass is not None:
                on_pass(report)
        if not changed:
            break
    return list(totals.values())


def _apply(name: str, model: ir.Model, keep: expand_operators.Operators | None) -> int:
    try:
        with applying(name):
            if name == "expand_operators":
                return expand_operators.apply(model, keep)
            return RULES[name](model)
    except IngotError:
        raise
    except Exception as error:
        raise IngotError(
            "internal",
            f"the graph rule {name} failed: {type(error).__name__}: {error}",
            remedy=f"leave the rule out (disable {name}) and report the model",
        ) from error


def check_names(names: Collection[str]) -> None:
    """Raise IngotError rule-unknown when one of `names` is no rule."""
    for name in names:
        if name not in RULES:
            raise IngotError(
                "rule-unknown", f"{name!r} is no graph rule", remedy=f"the rules are {', '.join(RULES)}"
            )


def _worth_inferring(model: ir.Model, round_number: int) -> bool:
    """Inference costs a pass over the whole graph: once, and once more when folding may have made ranks known."""
    if round_number == 0:
        return True
    unknown = any(
        out.name and out.shape is None and not node.domain for node in model.graph for out in node.outputs
    )
    return round_number == 1 and unknown
