"""Caffe: every layer computes what Caffe's definition says, in NumPy or PyTorch; phases, forms and outputs of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_file import converted, normal, run, write
from torch.nn import functional as f

from ingot.errors import IngotError
from ingot.frontends.caffe.net import LAYERS
from ingot.testing import CLOSE, EXACT, Array, assert_close


def network(layers: str, *shapes: Sequence[int]) -> str:
    """Inputs x0, x1 ... and layers."""
    inputs = "".join(
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {d}" for d in shape)} }}\n'
        for i, shape in enumerate(shapes)
    )
    return f'name: "net"\n{inputs}{layers}'


def torched(function: Callable[..., torch.Tensor]) -> Callable[..., Array]:
    """A function of tensors as one of arrays."""
    return lambda *arrays: function(*(torch.from_numpy(a) for a in arrays)).numpy()


def pool(x: Array, kernel: int, stride: int, pad: int, kind: str) -> Array:
    """Caffe's pooling, window by window."""
    height, width = x.shape[2:]
    sizes = []
    for n in (height, width):
        size = ceil((n + 2 * pad - kernel) / stride) + 1
        sizes.append(size - 1 if pad and (size - 1) * stride >= n + pad else size)
    y = np.zeros((*x.shape[:2], *sizes), np.float32)
    for i, j in product(*map(range, sizes)):
        top, left = i * stride - pad, j * stride - pad
        bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
        area = (bottom - top) * (right - left)
        window = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        y[:, :, i, j] = window.max((2, 3)) if kind == "MAX" else window.sum((2, 3)) / area
    return y


def lrn(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    square = np.pad(x**2, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    total = sum(square[:, i : i + x.shape[1]] for i in range(size))
    return x / (k + alpha / size * total) ** np.float32(beta)


def within(x: Array, size: int, alpha: float, beta: float) -> Array:
    mean = f.avg_pool2d(torch.from_numpy(x**2), size, 1, size // 2).numpy()
    return x * (1 + alpha * mean) ** np.float32(-beta)


def interp(x: Array, height: int, width: int) -> Array:
    return f.interpolate(torch.from_numpy(x), (height, width), mode="bilinear", align_corners=True).numpy()


def mvn(x: Array, axes: tuple[int, ...], eps: float, scaled: bool = True) -> Array:
    y = x - x.mean(axes, keepdims=True)
    return y / (np.sqrt((y**2).mean(axes, keepdims=True)) + np.float32(eps)) if scaled else y


def shuffle(x: Array, group: int) -> Array:
    n, c, h, w = x.shape
    return x.reshape(n, group, c // group, h, w).swapaxes(1, 2).reshape(x.shape)


@dataclass
class Case:
    """One layer. text: its type and parameters. expected: from its inputs and weights to its tops."""

    kind: str
    params: str
    shapes: Sequence[Sequence[int]]
    expected: Callable[..., Array | Sequence[Array]]
    weights: Sequence[Array] = ()
    tops: int = 1
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind}{self.note}"

    def text(self) -> str:
        bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(self.shapes)))
        tops = " ".join(f'top: "y{i}"' for i in range(self.tops))
        return network(
            f'layer {{ name: "l" type: "{self.kind}" {bottoms} {tops} {self.params} }}', *self.shapes
        )


X = (2, 6, 7, 5)
W, B = normal(8, 3, 3, 2), normal(8)
CASES: list[Case] = [
    Case("Convolution", "convolution_param { num_output: 8 kernel_h: 3 kernel_w: 2 group: 2 pad_h: 2 pad_w: 1 stride: 2 dilation: 2 }", [X],
         torched(lambda x, w, b: f.conv2d(x, w, b, (2, 2), (2, 1), 2, 2)), [W, B]),
    Case("Convolution", "convolution_param { num_output: 4 kernel_size: 1 bias_term: false }", [X],
         torched(lambda x, w: f.conv2d(x, w)), [normal(4, 6, 1, 1)], note="-no-bias"),
    Case("Convolution", "convolution_param { num_output: 4 kernel_size: 3 kernel_size: 1 pad: 1 pad: 0 }", [X],
         torched(lambda x, w, b: f.conv2d(x, w, b, padding=(1, 0))), [normal(4, 6, 3, 1), normal(4)], note="-repeated"),
    Case("DepthwiseConvolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 }", [X],
         torched(lambda x, w, b: f.conv2d(x, w, b, padding=1, groups=6)), [normal(6, 1, 3, 3), normal(6)]),
    Case("Deconvolution", "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2 }", [X],
         torched(lambda x, w, b: f.conv_transpose2d(x, w, b, 2, 1, groups=2)), [normal(6, 2, 4, 4), normal(4)]),
    *(Case("Pooling", f"pooling_param {{ pool: {kind} kernel_size: {k} stride: {s} pad: {p} }}", [X],
           lambda x, k=k, s=s, p=p, kind=kind: pool(x, k, s, p, kind), note=f"-{kind}-{k}-{s}-{p}")
      for kind in ("MAX", "AVE") for k, s, p in ((2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 2, 1), (3, 3, 1), (3, 1, 1), (5, 4, 2))),
    Case("Pooling", "pooling_param { pool: AVE global_pooling: true }", [X], lambda x: x.mean((2, 3), keepdims=True), note="-global"),
    Case("Pooling", "pooling_param { pool: 1 kernel_size: 3 stride: 2 round_mode: FLOOR }", [(1, 2, 8, 8)],
         torched(lambda x: f.avg_pool2d(x, 3, 2)), note="-floor"),
    Case("InnerProduct", "inner_product_param { num_output: 5 }", [X], lambda x, w, b: x.reshape(2, -1) @ w.T + b, [normal(5, 210), normal(5)]),
    Case("InnerProduct", "inner_product_param { num_output: 5 axis: -1 transpose: true bias_term: false }", [X],
         lambda x, w: x @ w, [normal(5, 5)], note="-axis"),
    Case("ReLU", "relu_param { negative_slope: 0.1 }", [X], lambda x: np.where(x > 0, x, x * np.float32(0.1))),
    Case("ReLU", "", [X], lambda x: np.maximum(x, 0), note="-0"),
    Case("ReLU6", "", [X], lambda x: np.clip(x, 0, 6)),
    Case("Clip", "clip_param { min: -0.5 max: 0.5 }", [X], lambda x: np.clip(x, -0.5, 0.5)),
    Case("PReLU", "", [X], lambda x, a: np.where(x > 0, x, x * a[:, None, None]), [normal(6)]),
    Case("PReLU", "prelu_param { channel_shared: true }", [(3, 4)], lambda x, a: np.where(x > 0, x, x * a), [normal(1)], note="-shared"),
    Case("ELU", "elu_param { alpha: 0.7 }", [X], torched(lambda x: f.elu(x, 0.7))),
    Case("Sigmoid", "", [X], torched(torch.sigmoid)),
    Case("TanH", "", [X], np.tanh),
    Case("AbsVal", "", [X], np.abs),
    Case("BNLL", "", [X], torched(f.softplus)),
    Case("Swish", "swish_param { beta: 1.5 }", [X], torched(lambda x: x * torch.sigmoid(1.5 * x))),
    Case("Power", "power_param { power: 2 scale: 0.5 shift: 3 }", [X], lambda x: (3 + np.float32(0.5) * x) ** 2),
    Case("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", [X], lambda x: np.float32(2) ** (1 + np.float32(0.5) * x)),
    Case("Exp", "", [X], np.exp, note="-e"),
    Case("Log", "log_param { base: 10 scale: 0.1 shift: 9 }", [X], lambda x: np.log10(9 + np.float32(0.1) * x)),
    Case("Threshold", "threshold_param { threshold: 0.3 }", [X], lambda x: (x > np.float32(0.3)).astype(np.float32)),
    Case("BatchNorm", "batch_norm_param { eps: 0.01 }", [X],
         lambda x, m, v, s: (x - (m / s)[:, None, None]) / np.sqrt(v / s + np.float32(0.01))[:, None, None],
         [normal(6), np.abs(normal(6)) + 1, np.float32([4])]),
    Case("Scale", "scale_param { bias_term: true }", [X], lambda x, s, b: x * s[:, None, None] + b[:, None, None], [normal(6), normal(6, seed=1)]),
    Case("Scale", "scale_param { axis: 0 num_axes: 2 }", [(2, 3, 4)], lambda x, s: x * s[..., None], [normal(2, 3)], note="-axes"),
    Case("Scale", "scale_param { axis: 0 }", [X, (2, 6)], lambda x, s: x * s[..., None, None], note="-bottom"),
    Case("Bias", "", [X], lambda x, b: x + b[:, None, None], [normal(6)]),
    Case("Eltwise", "eltwise_param { operation: PROD }", [X, X, X], lambda a, b, c: a * b * c, note="-prod"),
    Case("Eltwise", "eltwise_param { operation: MAX }", [X, X], np.maximum, note="-max"),
    Case("Eltwise", "eltwise_param { coeff: 0.5 coeff: -1 }", [X, X], lambda a, b: np.float32(0.5) * a - b, note="-coeff"),
    Case("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", [X, X], lambda a, b: a - b, note="-sub"),
    Case("Axpy", "", [(2, 6, 1, 1), X, X], lambda a, x, y: a * x + y),
    Case("Concat", "concat_param { axis: 2 }", [X, (2, 6, 1, 5)], lambda a, b: np.concatenate([a, b], 2)),
    Case("Concat", "concat_param { concat_dim: 1 }", [X, X], lambda a, b: np.concatenate([a, b], 1), note="-dim"),
    Case("Slice", "slice_param { axis: 1 slice_point: 1 slice_point: 4 }", [X], lambda x: [x[:, :1], x[:, 1:4], x[:, 4:]], tops=3),
    Case("Slice", "slice_param { slice_dim: 1 }", [X], lambda x: [x[:, :3], x[:, 3:]], tops=2, note="-even"),
    Case("Split", "", [X], lambda x: [x, x], tops=2),
    Case("Crop", "crop_param { axis: 2 offset: 1 offset: 2 }", [X, (2, 6, 3, 2)], lambda x, y: x[:, :, 1:4, 2:4]),
    Case("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", [X], lambda x: x.reshape(2, -1, 5)),
    Case("Reshape", "reshape_param { axis: 1 num_axes: 1 shape { dim: 2 dim: 3 } }", [X], lambda x: x.reshape(2, 2, 3, 7, 5), note="-axis"),
    Case("Reshape", "reshape_param { axis: -1 shape { dim: 1 dim: 1 } }", [(2, 6)], lambda x: x[..., None, None], note="-append"),
    Case("Flatten", "", [X], lambda x: x.reshape(2, -1)),
    Case("Flatten", "flatten_param { axis: 1 end_axis: 2 }", [X], lambda x: x.reshape(2, 42, 5), note="-some"),
    Case("Permute", "permute_param { order: 0 order: 2 order: 3 }", [X], lambda x: x.transpose(0, 2, 3, 1)),
    Case("ShuffleChannel", "shuffle_channel_param { group: 3 }", [X], lambda x: shuffle(x, 3)),
    Case("Tile", "tile_param { axis: 2 tiles: 3 }", [X], lambda x: np.tile(x, (1, 1, 3, 1))),
    Case("Dropout", "dropout_param { dropout_ratio: 0.9 }", [X], lambda x: x),
    Case("LRN", "lrn_param { local_size: 3 alpha: 0.2 beta: 0.75 k: 2 }", [X], lambda x: lrn(x, 3, 0.2, 0.75, 2)),
    Case("LRN", "lrn_param { local_size: 3 alpha: 0.2 beta: 0.75 norm_region: WITHIN_CHANNEL }", [X], lambda x: within(x, 3, 0.2, 0.75), note="-within"),
    Case("MVN", "", [X], lambda x: mvn(x, (2, 3), 1e-9)),
    Case("MVN", "mvn_param { across_channels: true eps: 0.1 }", [X], lambda x: mvn(x, (1, 2, 3), 0.1), note="-across"),
    Case("MVN", "mvn_param { normalize_variance: false }", [X], lambda x: mvn(x, (2, 3), 0, False), note="-mean"),
    Case("Normalize", "norm_param { across_spatial: false channel_shared: false }", [X],
         lambda x, s: x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-10) * s[:, None, None], [normal(6)]),
    Case("Normalize", "", [X], lambda x, s: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-10) * s, [normal(1)], note="-all"),
    Case("Softmax", "", [X], torched(lambda x: x.softmax(1))),
    Case("Softmax", "softmax_param { axis: -1 }", [X], torched(lambda x: x.softmax(-1)), note="-last"),
    Case("Interp", "interp_param { height: 9 width: 4 }", [X], lambda x: interp(x, 9, 4)),
    Case("Interp", "interp_param { zoom_factor: 3 }", [X], lambda x: interp(x, 19, 13), note="-zoom"),
    Case("Interp", "interp_param { shrink_factor: 2 pad_end: -1 }", [X], lambda x: interp(x[:, :, :-1, :-1], 3, 2), note="-shrink"),
    Case("Interp", "", [X, (1, 1, 3, 8)], lambda x, y: interp(x, 3, 8), note="-like"),
    Case("Upsample", "upsample_param { scale: 2 }", [X], lambda x: x.repeat(2, 2).repeat(2, 3)),
    Case("ArgMax", "argmax_param { axis: 1 }", [X], lambda x: x.argmax(1)[:, None].astype(np.float32)),
    Case("ArgMax", "argmax_param { top_k: 2 out_max_val: true }", [(3, 9)],
         lambda x: np.stack([(-x).argsort(1)[:, :2], -np.sort(-x)[:, :2]], 1).astype(np.float32), note="-values"),
    Case("Reduction", "reduction_param { operation: MEAN axis: 1 coeff: 3 }", [X], lambda x: x.mean((1, 2, 3)) * 3),
    *(Case("Reduction", f"reduction_param {{ operation: {kind} axis: -1 }}", [X], function, note=f"-{kind}") for kind, function in
      (("SUM", lambda x: x.sum(-1)), ("ASUM", lambda x: np.abs(x).sum(-1)), ("SUMSQ", lambda x: (x**2).sum(-1)))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, tmp_path: Path) -> None:
    feeds = [normal(*shape, seed=i) for i, shape in enumerate(case.shapes)]
    found = run(write(tmp_path, case.text(), {"l": case.weights}), *feeds)
    wanted = case.expected(*feeds, *case.weights)
    expected = [wanted] if isinstance(wanted, np.ndarray) else wanted
    assert list(found) == [f"y{i}" for i in range(case.tops)]
    for got, array in zip(found.values(), expected, strict=True):
        assert_close(got, np.ascontiguousarray(array, np.float32), CLOSE, reduction=220, scale=1)


def test_every_layer_has_a_case() -> None:
    elsewhere = {"ConvolutionDepthwise", "DetectionOutput", "DummyData", "Input", "PriorBox", "Silence"}
    assert {case.kind for case in CASES} | elsewhere == LAYERS.keys()


def test_a_mask_undoes_a_pooling(tmp_path: Path) -> None:
    layers = """
        layer { name: "p" type: "Pooling" bottom: "x0" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" upsample_param { scale: 2 } }"""
    x = normal(1, 2, 4, 6)
    y, places = f.max_pool2d(torch.from_numpy(x), 2, return_indices=True)
    found = run(write(tmp_path, network(layers, x.shape)), x)
    assert_close(found["u"], f.max_unpool2d(y, places, 2).numpy(), EXACT)


# Networks


def test_the_old_form_is_the_new_one(tmp_path: Path) -> None:
    new = network("""
        layer { name: "c" type: "Convolution" bottom: "x0" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
        layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
        layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param { num_output: 5 } }""", (1, 3, 6, 6))  # fmt: skip
    old = new.replace("layer {", "layers {")
    for name, word in (("Convolution", "CONVOLUTION"), ("ReLU", "RELU"), ("InnerProduct", "INNER_PRODUCT")):
        old = old.replace(f'"{name}"', word)
    old = old.replace(
        "input_shape { dim: 1 dim: 3 dim: 6 dim: 6 }", "input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 6"
    )
    weights = {"c": [normal(4, 3, 3, 3), normal(4)], "f": [normal(5, 64), normal(5)]}
    x = normal(1, 3, 6, 6)
    one, other = (
        run(write(tmp_path, text, weights, v1=v1), x)["f"] for text, v1 in ((new, False), (old, True))
    )
    assert_close(one, other, EXACT)
    conv = f.relu(f.conv2d(torch.from_numpy(x), *map(torch.from_numpy, weights["c"]))).flatten(1).numpy()
    assert_close(one, conv @ weights["f"][0].T + weights["f"][1], CLOSE, reduction=64)


def test_layers_of_the_training_phase_go(tmp_path: Path) -> None:
    text = """
        layer { name: "d" type: "Data" top: "x" top: "label" include { phase: TRAIN } }
        layer { name: "i" type: "Input" top: "x" top: "label" input_param { shape { dim: 2 dim: 3 } shape: { dim: 2 } } include: { phase: TEST } }
        layer { name: "drop" type: "Dropout" bottom: "x" top: "x" exclude { phase: TEST } }
        layer { name: "r" type: "ReLU" bottom: "x" top: "r" }
        layer { name: "stage" type: "Python" bottom: "r" top: "r" include { phase: TEST stage: "deploy" } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "r" bottom: "label" top: "loss" }
        layer { name: "acc" type: "Accuracy" bottom: "r" bottom: "label" top: "acc" }
        layer { name: "hush" type: "Silence" bottom: "label" }"""
    proto = converted(write(tmp_path, text))
    assert [port.name for port in proto.graph.output] == ["r"]
    assert [node.op_type for node in proto.graph.node] == ["Relu"]


def test_in_place_layers_and_the_names_of_outputs(tmp_path: Path) -> None:
    text = network("""
        layer { name: "a" type: "TanH" bottom: "x0" top: "y" }
        layer { name: "b" type: "AbsVal" bottom: "y" top: "y" }
        layer { name: "c" type: "Power" bottom: "y" top: "y" power_param { scale: 2 } }
        layer { name: "y" type: "Sigmoid" bottom: "x0" top: "other" }""", (2, 3))  # fmt: skip
    x = normal(2, 3)
    found = run(write(tmp_path, text), x)
    assert set(found) == {"y", "other"}
    assert_close(found["y"], np.abs(np.tanh(x)) * 2, CLOSE)


def test_text_of_every_kind(tmp_path: Path) -> None:
    text = r"""
        # comment with { braces }
        name : 'a' "b"
        input: "x", input_shape < dim: [1, 0x2]; dim: 3 >
        layer: { name: "p\x31\"" type: 'Power' bottom: "x" top: "y" power_param: { power: 1.0f scale: -.5e0, shift: - 1 } }"""
    found = run(write(tmp_path, text), normal(1, 2, 3))
    assert_close(found["y"], normal(1, 2, 3) * np.float32(-0.5) - 1, CLOSE)


def test_all_unknown_layers_are_named(tmp_path: Path) -> None:
    text = network(
        'layer { name: "a" type: "Mine" bottom: "x0" top: "a" } layer { name: "b" type: "Python" bottom: "a" top: "b" }',
        (1, 2),
    )
    with pytest.raises(IngotError) as caught:
        converted(write(tmp_path, text))
    assert caught.value.code == "unsupported"
    assert "Mine: a; Python: b" in caught.value.cause


# SSD


def prior_box(height: int, width: int, image: int, low: float, high: float, ratios: Sequence[float]) -> Array:
    """[height, width, boxes, 4], box by box as in caffe/src/caffe/layers/prior_box_layer.cpp."""
    boxes = []
    for i, j in product(range(height), range(width)):
        x, y = (j + 0.5) * image / width, (i + 0.5) * image / height
        sizes = [(low, low), (np.sqrt(low * high),) * 2]
        for ratio in ratios:
            sizes += [(low * np.sqrt(r), low / np.sqrt(r)) for r in (ratio, 1 / ratio)]
        boxes += [
            [(x - w / 2) / image, (y - h / 2) / image, (x + w / 2) / image, (y + h / 2) / image]
            for w, h in sizes
        ]
    return np.array(boxes)


PRIOR = """layer { name: "p" type: "PriorBox" bottom: "x0" bottom: "x1" top: "p" prior_box_param {
    min_size: 10 max_size: 20 aspect_ratio: 2 aspect_ratio: 3 flip: true clip: %s
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }"""


def test_prior_boxes(tmp_path: Path) -> None:
    found = run(
        write(tmp_path, network(PRIOR % "true", (1, 4, 3, 5), (1, 3, 60, 60))),
        normal(1, 4, 3, 5),
        normal(1, 3, 60, 60),
    )["p"]
    boxes = prior_box(3, 5, 60, 10, 20, (2, 3)).clip(0, 1).astype(np.float32)
    variance = np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), len(boxes))
    assert_close(found, np.stack([boxes.ravel(), variance])[None], CLOSE)


def overlap(a: Array, b: Array) -> float:
    side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(side.clip(0)))
    return both / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def detections(boxes: Array, scores: Array, *, threshold: float, top_k: int, keep: int, iou: float) -> Array:
    """Class by class: the best, those that overlap little with better ones, then the best of all. Class 0 is none."""
    rows = []
    for label in range(1, scores.shape[1]):
        order = [i for i in (-scores[:, label]).argsort() if scores[i, label] > threshold][:top_k]
        chosen: list[int] = []
        for i in order:
            if all(overlap(boxes[i], boxes[j]) <= iou for j in chosen):
                chosen.append(i)
        rows += [[0, label, scores[i, label], *boxes[i]] for i in chosen]
    best = sorted(range(len(rows)), key=lambda i: -rows[i][2])[:keep]
    return np.array([rows[i] for i in sorted(best)], np.float32)


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize("keep", [4, 100])
def test_detection_output(code: str, keep: int, tmp_path: Path) -> None:
    count, classes = 3 * 5 * 6, 4
    detect = f"""layer {{ name: "d" type: "DetectionOutput" bottom: "x2" bottom: "x3" bottom: "p" top: "d" detection_output_param {{
        num_classes: {classes} share_location: true background_label_id: 0 code_type: {code} keep_top_k: {keep}
        confidence_threshold: 0.4 nms_param {{ nms_threshold: 0.3 top_k: 12 }} }} }}"""
    shapes = [(1, 4, 3, 5), (1, 3, 60, 60), (1, count * 4), (1, count * classes)]
    feeds = [normal(*shape) for shape in shapes]
    scores = torch.from_numpy(feeds[3].reshape(count, classes) * 2).softmax(1).numpy()
    feeds[3] = scores.reshape(1, -1)
    found = run(write(tmp_path, network(PRIOR % "false" + detect, *shapes)), *feeds)["d"]
    prior = prior_box(3, 5, 60, 10, 20, (2, 3))
    move = feeds[2].reshape(count, 4) * [0.1, 0.1, 0.2, 0.2]
    size = prior[:, 2:] - prior[:, :2]
    if code == "CORNER":
        boxes = prior + move
    elif code == "CORNER_SIZE":
        boxes = prior + move * np.tile(size, 2)
    else:
        centre = (prior[:, :2] + prior[:, 2:]) / 2 + move[:, :2] * size
        half = np.exp(move[:, 2:]) * size / 2
        boxes = np.concatenate([centre - half, centre + half], 1)
    wanted = detections(boxes, scores, threshold=0.4, top_k=12, keep=keep, iou=0.3)
    assert len(wanted) > 3
    assert len(set(wanted[:, 1])) > 1
    assert_close(found[0, 0], wanted, CLOSE, reduction=16)
