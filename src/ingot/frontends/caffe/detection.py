"""The layers of SSD (Liu et al., 2016): default boxes, and what is detected in them."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ingot.frontends.builder import Builder
from ingot.frontends.caffe.layers import Values, axis_of, dims, picture, scalar
from ingot.frontends.caffe.net import Layer, layer
from ingot.frontends.caffe.text import Message


@layer("PriorBox", bottoms=2)
def prior_box(b: Builder, it: Layer, x: Values) -> Values:
    """[1, 2, H * W * priors * 4]: corners over the picture's size, and variances. Bottoms: features, picture."""
    params = it.message.message("prior_box_param")
    (height, width), whole = picture(b, x[0])[2:], picture(b, x[1])[2:]
    size = params.int("img_size")
    image_h, image_w = params.int("img_h", size) or whole[0], params.int("img_w", size) or whole[1]
    step = params.float("step")
    step_h, step_w = (
        params.float("step_h", step) or image_h / height,
        params.float("step_w", step) or image_w / width,
    )
    sides = _sides(b, params)
    b.check_made(height * width * len(sides) * 8)
    offset = params.float("offset", 0.5)
    y, x_ = np.meshgrid(
        (np.arange(height) + offset) * step_h, (np.arange(width) + offset) * step_w, indexing="ij"
    )
    centre = np.stack([x_, y], -1)[:, :, None]
    half = np.array(sides) / 2
    boxes = np.concatenate([centre - half, centre + half], -1) / [image_w, image_h, image_w, image_h]
    if params.bool("clip"):
        boxes = boxes.clip(0, 1)
    variance = params.floats("variance") or [0.1]
    if len(variance) not in (1, 4):
        raise b.invalid(f"it has {len(variance)} variances, not 1 or 4")
    spread = np.broadcast_to(np.resize(variance, 4), boxes.shape)
    return [b.constant(np.stack([boxes.ravel(), spread.ravel()])[None].astype(np.float32), it.name)]


def _sides(b: Builder, params: Message) -> list[tuple[float, float]]:
    """(width, height) of the default boxes at each place, in Caffe's order."""
    smallest, largest = params.floats("min_size"), params.floats("max_size")
    if not smallest or min(smallest) <= 0 or (largest and len(largest) != len(smallest)):
        raise b.invalid(f"it has {len(smallest)} min_size and {len(largest)} max_size")
    ratios = [1.0]
    for ratio in params.floats("aspect_ratio"):
        if ratio <= 0:
            raise b.invalid(f"it has the aspect ratio {ratio}")
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if params.bool("flip", True) else [ratio]
    sides = []
    for i, size in enumerate(smallest):
        sides.append((size, size))
        if largest:
            sides.append((math.sqrt(size * largest[i]),) * 2)
        sides += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios[1:]]
    return sides


@layer("DetectionOutput", bottoms=3)
def detection_output(b: Builder, it: Layer, x: Values) -> Values:
    """[1, 1, detections, 7]: picture, class, score, corners. Bottoms: offsets, scores, default boxes.

    Classes in order, the best of each first. Where Caffe finds nothing it writes one row of -1; this has no rows.
    """
    params = it.message.message("detection_output_param")
    nms = params.message("nms_param")
    classes, background = params.int("num_classes"), params.int("background_label_id")
    n = dims(b, x[0])[axis_of(b, x[0], 0)]
    count = dims(b, x[2])[axis_of(b, x[2], 2)] // 4
    if not params.bool("share_location", True):
        raise it.unsupported("it has boxes of their own for each class")
    if nms.float("eta", 1.0) != 1:
        raise it.unsupported("its NMS threshold adapts (eta)")
    keep = params.int("keep_top_k", -1)
    if keep >= 0 and n != 1:
        raise it.unsupported(
            f"it keeps the best {keep} of each of {n} pictures", "set the input's batch to 1"
        )
    boxes = _decode(b, it, params, x, n, count)
    scores = b.op("Reshape", x[1], b.ints(n, count, classes), name=f"{it.name}/scores")
    labels = np.array([c for c in range(classes) if c != background], np.int64)
    scores = b.op("Transpose", scores, name=f"{it.name}/by_class", perm=[0, 2, 1])
    scores = b.op("Gather", scores, b.constant(labels), name=f"{it.name}/foreground", axis=1)
    limit = nms.int("top_k", -1)
    candidates = _best(b, it, scores, limit) if 0 < limit < count else scores
    chosen = b.op(
        "NonMaxSuppression", boxes, candidates, b.ints(count),
        b.constant(np.array([nms.float("nms_threshold", 0.3)], np.float32)),
        b.constant(np.array([params.float("confidence_threshold", -1e30)], np.float32)),
        name=f"{it.name}/nms",
    )  # fmt: skip
    if keep >= 0:
        chosen = _keep(b, it, scores, chosen, keep)
    image, label, box = (b.op("Gather", chosen, b.ints(i), name=f"{it.name}/{w}", axis=1)
                           for i, w in enumerate(("picture", "class", "box")))  # fmt: skip
    score = b.op("GatherND", scores, chosen, name=f"{it.name}/score")
    place = b.op("Concat", image, box, name=f"{it.name}/place", axis=1)
    corners = b.op("GatherND", boxes, place, name=f"{it.name}/corners")
    label = b.op("Gather", b.constant(labels), label, name=f"{it.name}/label")
    columns = [b.op("Cast", v, name=f"{it.name}/float", to=int(ir.DataType.FLOAT)) for v in (image, label)]
    columns += [b.op("Unsqueeze", score, b.ints(1), name=f"{it.name}/column"), corners]
    table = b.op("Concat", *columns, name=f"{it.name}/rows", axis=1)
    return [b.op("Unsqueeze", table, b.ints(0, 1), name=it.name)]


def _best(b: Builder, it: Layer, scores: ir.Value, limit: int) -> ir.Value:
    """scores where they are among the `limit` best of their class, far below every threshold elsewhere."""
    best = b.ops("TopK", scores, b.ints(limit), name=f"{it.name}/best", outputs=2)[0]
    last = b.op("Slice", best, b.ints(limit - 1), b.ints(limit), b.ints(2), name=f"{it.name}/last")
    among = b.op("GreaterOrEqual", scores, last, name=f"{it.name}/among")
    return b.op("Where", among, scores, scalar(b, -3e38), name=f"{it.name}/candidates")


def _keep(b: Builder, it: Layer, scores: ir.Value, chosen: ir.Value, keep: int) -> ir.Value:
    """The `keep` best of all classes' detections, in the order that they have."""
    score = b.op("GatherND", scores, chosen, name=f"{it.name}/chosen_scores")
    found = b.op("Shape", score, name=f"{it.name}/found")
    k = b.op("Min", found, b.ints(keep), name=f"{it.name}/kept")
    places = b.ops("TopK", score, k, name=f"{it.name}/top", outputs=2)[1]
    places = b.ops("TopK", places, k, name=f"{it.name}/in_order", outputs=2, largest=0)[0]
    return b.op("Gather", chosen, places, name=f"{it.name}/kept_rows")


def _decode(b: Builder, it: Layer, params: Message, x: Values, n: int, count: int) -> ir.Value:
    """Corners [n, count, 4] from offsets to the default boxes."""
    offsets = b.op("Reshape", x[0], b.ints(n, count, 4), name=f"{it.name}/offsets")
    prior = x[2].const_value
    if prior is None:
        return _decode_with(b, it, params, offsets, *_split_prior(b, it, x[2], count))
    boxes, variance = prior.numpy().reshape(2, count, 4).astype(np.float32)
    return _decode_with(b, it, params, offsets, b.constant(boxes), b.constant(variance))


def _split_prior(b: Builder, it: Layer, prior: ir.Value, count: int) -> tuple[ir.Value, ir.Value]:
    table = b.op("Reshape", prior, b.ints(2, count, 4), name=f"{it.name}/priors")
    boxes, variance = (
        b.op("Gather", table, b.constant(np.int64(i)), name=f"{it.name}/prior", axis=0) for i in (0, 1)
    )
    return boxes, variance


def _decode_with(
    b: Builder, it: Layer, params: Message, offsets: ir.Value, boxes: ir.Value, variance: ir.Value
) -> ir.Value:
    if not params.bool("variance_encoded_in_target"):
        offsets = b.op("Mul", offsets, variance, name=f"{it.name}/scaled")
    code = params.word("code_type", "CORNER", {"1": "CORNER", "2": "CENTER_SIZE", "3": "CORNER_SIZE"})
    low, high = _halves(b, it, boxes)
    if code == "CORNER":
        return b.op("Add", boxes, offsets, name=f"{it.name}/boxes")
    size = b.op("Sub", high, low, name=f"{it.name}/prior_size")
    first, second = _halves(b, it, offsets)
    if code == "CORNER_SIZE":
        whole = b.op("Concat", size, size, name=f"{it.name}/prior_sizes", axis=-1)
        return b.op(
            "Add", boxes, b.op("Mul", offsets, whole, name=f"{it.name}/moves"), name=f"{it.name}/boxes"
        )
    if code != "CENTER_SIZE":
        raise it.unsupported(f"boxes coded as {code}")
    centre = b.op(
        "Mul", b.op("Add", low, high, name=f"{it.name}/sum"), scalar(b, 0.5), name=f"{it.name}/prior_centre"
    )
    centre = b.op("Add", b.op("Mul", first, size, name=f"{it.name}/move"), centre, name=f"{it.name}/centre")
    half = b.op("Mul", b.op("Exp", second, name=f"{it.name}/growth"), size, name=f"{it.name}/size")
    half = b.op("Mul", half, scalar(b, 0.5), name=f"{it.name}/half")
    corners = [b.op(o, centre, half, name=f"{it.name}/corner") for o in ("Sub", "Add")]
    return b.op("Concat", *corners, name=f"{it.name}/boxes", axis=-1)


def _halves(b: Builder, it: Layer, table: ir.Value) -> tuple[ir.Value, ir.Value]:
    first, second = b.ops("Split", table, b.ints(2, 2), name=f"{it.name}/halves", outputs=2, axis=-1)
    return first, second
