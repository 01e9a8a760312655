"""What ingot's tests compare with: named tolerances, results of ONNX Runtime, and the shared real models.

`with_batch` and `lengths` import onnx, `reference` imports onnxruntime.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, np.dtype[Any]]
Feed = dict[str, Array]


@dataclass(frozen=True)
class Level:
    """How far a result may lie from what is expected; `assert_close` gives the meaning of each number."""

    name: str
    sums: float = 0.0
    operands: float = 0.0
    steps: int = 0
    ulps: int | None = None
    bits: bool = False


EXACT = Level("EXACT", bits=True)
CLOSE = Level("CLOSE", sums=2.0)
REDUCED = Level("REDUCED", sums=2.0, operands=2.0**-8)
QUANTIZED = Level("QUANTIZED", sums=2.0, operands=2.0**-7, steps=1)


def ulp(n: int) -> Level:
    """Each element within n representable numbers of the expected one; `ulp(0)` is `==`, so -0 equals +0."""
    return Level(f"ulp({n})", ulps=n)


def assert_close(
    actual: Array,
    expected: Array,
    level: Level,
    *,
    reduction: int = 1,
    depth: int = 1,
    scale: float = 0.0,
    axis: int | None = None,
) -> None:
    """Raise AssertionError unless `actual` has `expected`'s dtype, shape and, within `level`, values.

    A float element may differ by

        bound = (sums * eps * sqrt(reduction) + operands * sqrt(depth)) * M + tiny

    where M = max(max|expected|, scale) over the finite elements of the tensor (over each slice of `axis`
    where one is given: use it when the channels have different units), eps and tiny are the spacing at 1 and
    the smallest normal number of the dtype.

    - eps * sqrt(reduction): each of the k additions of a dot product rounds a partial sum. The roundings are
      independent, so they grow like sqrt(k) against the result: 0.2 eps sqrt(k) of a typical result in
      sequence, less in blocks. M is used and not |expected|, because the roundings do not shrink where the
      terms cancel; a small tensor in which everything cancels needs `scale`, the size of what was added; so
      does one of small probabilities (scale 1), as ONNX Runtime's sigmoid is accurate to eps and not to eps
      times its value. Layers add up the same way, so for a model `reduction` is the sum over its layers
      (`lengths` gives it): ONNX Runtime with and without its optimisations differs by up to
      0.08 eps sqrt(reduction) M on the models of `bench/models.py` and 0.53 on the shared ones (YOLOX-nano).
    - operands: the rounding of one operand against the tensor's range: 2^-8 for bfloat16 (REDUCED), a step of
      127 either side of zero for int8 (QUANTIZED). It does not grow with the length of a dot product, as
      the errors of the terms add up like the terms, but it does with the number of layers.
    - tiny lets subnormal results be flushed to zero.

    CLOSE has sums 2 and no operands. Integers, booleans and strings must be equal; integers may differ by one
    under QUANTIZED, by n under `ulp(n)`. NaNs and infinities must stand in the same places, with the same
    signs of infinity. EXACT wants the same bits, the sign of zero included, and takes any NaN for any other.
    """
    if not isinstance(actual, np.ndarray):
        raise AssertionError(f"{level.name}: actual is a {type(actual).__name__}, not an array")
    if actual.dtype != expected.dtype:
        raise AssertionError(f"{level.name}: dtype {actual.dtype}, expected {expected.dtype}")
    if actual.shape != expected.shape:
        raise AssertionError(f"{level.name}: shape {actual.shape}, expected {expected.shape}")
    if expected.size == 0:
        return
    if expected.dtype.kind == "c":
        for part in ("real", "imag"):
            assert_close(
                getattr(actual, part),
                getattr(expected, part),
                level,
                reduction=reduction,
                depth=depth,
                scale=scale,
                axis=axis,
            )
        return
    if not _is_float(expected.dtype):
        error, bound, formula = _integer_error(actual, expected, level)
    else:
        _check_special(actual, expected, level)
        if level.bits or level.ulps is not None:
            error, bound, formula = _ulp_error(actual, expected, level)
        else:
            error, bound, formula = _scaled_error(actual, expected, level, reduction, depth, scale, axis)
    wrong = np.asarray(error > bound)
    if not wrong.any():
        return
    excess = np.where(wrong, error / np.where(bound > 0, bound, 1), 0)
    index = np.unravel_index(int(np.argmax(excess)), expected.shape)
    place = "[" + ", ".join(str(int(i)) for i in index) + "]"
    limit = float(bound[index])
    times = f" = {float(excess[index]):.4g} bounds" if limit > 0 else ""
    raise AssertionError(
        f"{level.name}: {int(wrong.sum())} of {expected.size} elements differ too much. Worst at {place}: "
        f"actual {actual[index]!s}, expected {expected[index]!s}, "
        f"error {float(error[index]):.4g}{times}; bound {limit:.4g} = {formula}"
    )


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def _finfo(dtype: np.dtype[Any]) -> tuple[float, float]:
    """(eps, smallest normal number) of a float dtype, those of ml_dtypes included."""
    if dtype.kind == "f":
        info = np.finfo(dtype)
    else:
        import ml_dtypes

        info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(info.eps), float(info.smallest_normal)


def _integer_error(actual: Array, expected: Array, level: Level) -> tuple[Array, Array, str]:
    """Distances of integers; 0 (equal) or 1 for booleans and strings."""
    if expected.dtype.kind == "V" and "int" in expected.dtype.name:
        actual, expected = actual.astype(np.int64), expected.astype(np.int64)
    if expected.dtype.kind in "iu":
        low, high = np.minimum(actual, expected), np.maximum(actual, expected)
        error = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
        limit = level.ulps if level.ulps is not None else level.steps
    else:
        error, limit = np.asarray(actual != expected, np.float64), 0
    return error, np.full(expected.shape, float(limit)), f"{limit} steps"


def _check_special(actual: Array, expected: Array, level: Level) -> None:
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    for kind, wrong in (
        ("NaN", np.isnan(a) != np.isnan(e)),
        ("infinite", (np.isinf(a) | np.isinf(e)) & (a != e) & ~np.isnan(a) & ~np.isnan(e)),
    ):
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{level.name}: {int(wrong.sum())} of {expected.size} elements differ in being {kind}. "
                f"First at {list(index)}: actual {actual[index]!s}, expected {expected[index]!s}"
            )


def _ordinals(x: Array) -> Array:
    """The rank of each float among its dtype's numbers: neighbours differ by one; -0 and +0 are 0."""
    bits = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}").astype(np.int64).reshape(x.shape)
    magnitude = bits & ((1 << (8 * x.dtype.itemsize - 1)) - 1)
    return np.where(bits < 0, -magnitude, magnitude)


def _ulp_error(actual: Array, expected: Array, level: Level) -> tuple[Array, Array, str]:
    a, e = _ordinals(actual), _ordinals(expected)
    low, high = np.minimum(a, e), np.maximum(a, e)
    error = (high.view(np.uint64) - low.view(np.uint64)).astype(np.float64)
    if level.bits:
        error = np.maximum(error, np.signbit(actual) != np.signbit(expected))
    error = np.where(np.isnan(expected.astype(np.float64)), 0, error)
    limit = level.ulps or 0
    return error, np.full(expected.shape, float(limit)), f"{limit} ulp"


def _scaled_error(
    actual: Array, expected: Array, level: Level, reduction: int, depth: int, scale: float, axis: int | None
) -> tuple[Array, Array, str]:
    eps, tiny = _finfo(expected.dtype)
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(e)
    size = np.where(finite, np.abs(e), 0)
    others = None if axis is None else tuple(i for i in range(e.ndim) if i != axis % e.ndim)
    magnitude = np.maximum(size.max(axis=others, keepdims=True), scale)
    factor = level.sums * eps * math.sqrt(reduction) + level.operands * math.sqrt(depth)
    error = np.where(finite, np.abs(np.where(finite, a, 0) - np.where(finite, e, 0)), 0)
    operands = f" + {level.operands:g} * sqrt({depth})" if level.operands else ""
    formula = f"({level.sums:g} * eps {eps:.3g} * sqrt({reduction}){operands}) * {float(magnitude.max()):.4g}"
    return error, np.broadcast_to(factor * magnitude + tiny, e.shape), formula


def reference(model: str | Path | onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """All outputs of ONNX Runtime with its graph optimisations off, on one thread. Raises what it raises."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, dict(inputs))]


def lengths(model: str | Path | onnx.ModelProto) -> dict[str, int]:
    """{"reduction", "depth"} of a whole model for `assert_close`.

    depth counts the nodes with constant weights (Conv, ConvTranspose, Gemm, MatMul, RNN, GRU, LSTM) and
    reduction sums the lengths of their dot products; both branches of an If count. At least 1 each.
    """
    import onnx

    proto = onnx.load(str(model)) if isinstance(model, str | Path) else model
    found = list(_reductions(proto.graph, {}))
    return {"reduction": max(1, sum(found)), "depth": max(1, len(found))}


def _reductions(graph: onnx.GraphProto, outer: Mapping[str, list[int]]) -> list[int]:
    dims = dict(outer) | {i.name: list(i.dims) for i in graph.initializer}
    found = []
    for node in graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            dims[node.output[0]] = list(attributes["value"].t.dims)
        for attribute in node.attribute:
            for sub in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                found += _reductions(sub, dims)
        weights = dims.get(node.input[1], []) if len(node.input) > 1 else []
        if len(weights) < 2:
            continue
        if node.op_type == "Conv":
            found.append(math.prod(weights[1:]))
        elif node.op_type == "ConvTranspose":
            group = attributes["group"].i if "group" in attributes else 1
            found.append(weights[0] // group * math.prod(weights[2:]))
        elif node.op_type == "MatMul":
            found.append(weights[-2])
        elif node.op_type == "Gemm":
            found.append(weights[1 if "transB" in attributes and attributes["transB"].i else 0])
        elif node.op_type in ("RNN", "GRU", "LSTM"):
            found.append(weights[2] + dims.get(node.input[2], [0, 0, 0])[2])
    return found


def with_batch(model: str | Path | onnx.ModelProto, n: int) -> onnx.ModelProto:
    """A copy of a model of fixed batch 1 that takes batch n.

    Every input whose first dimension is the literal 1 gets n there; inner shapes are dropped and the
    dimensions of the outputs become unknown (their ranks stay). Whether the graph itself can take n is not
    looked at: see `SharedModel.batchable`.
    """
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(onnx.load(str(model)) if isinstance(model, str | Path) else model)
    constants = {i.name for i in proto.graph.initializer}
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and dims and dims[0].dim_value == 1:
            dims[0].dim_value = n
    for value in proto.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    del proto.graph.value_info[:]
    return proto


def data_root() -> Path | None:
    """Folder of real models and pictures: `$INGOT_TEST_DATA`, else `../shared/data` by the checkout, or None.

    Raises NotADirectoryError where `$INGOT_TEST_DATA` names no folder, so that a mistyped name does not skip
    tests.
    """
    named = os.environ.get("INGOT_TEST_DATA")
    if named:
        if not Path(named).is_dir():
            raise NotADirectoryError(f"INGOT_TEST_DATA names no folder: {named}")
        return Path(named)
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return beside if beside.is_dir() else None


@dataclass(frozen=True)
class SharedModel:
    """A real model. `file` lies under `data_root()`; `feed(batch, rng)` makes inputs in its own range.

    batchable: whether it runs in ONNX Runtime at batch 3, through `with_batch` where `fixed`. The others bake
    the batch into Reshape: mnist fails, yolox_nano and yunet silently merge the pictures into one.
    scale: for `assert_close`; 1 where an output can consist of small probabilities only.
    """

    file: str
    feed: Callable[[int, np.random.Generator], Feed]
    fixed: bool = False
    batchable: bool = True
    scale: float = 0.0


def _picture(rng: np.random.Generator, batch: int, channels: int, height: int, width: int) -> Array:
    """Blocks of colour under noise, float64 0..255 [batch, channels, height, width]."""
    cells = rng.uniform(0, 255, (batch, channels, -(-height // 16), -(-width // 16)))
    coarse = cells.repeat(16, 2).repeat(16, 3)[:, :, :height, :width]
    return np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255)


def _pictures(
    name: str,
    channels: int,
    height: int,
    width: int,
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
) -> Callable[[int, np.random.Generator], Feed]:
    """One float32 input `name`: (picture - mean) / std, by channel."""

    def feed(batch: int, rng: np.random.Generator) -> Feed:
        centre, spread = (np.reshape(v, (1, -1, 1, 1)) for v in (mean, std))
        return {name: ((_picture(rng, batch, channels, height, width) - centre) / spread).astype(np.float32)}

    return feed


def _speech(batch: int, rng: np.random.Generator) -> Feed:
    """576 samples at 16 kHz of a voiced sound in noise, and the state of a stream that has run a while."""
    time = np.arange(576) / 16000
    pitch, level = rng.uniform(90, 250, (batch, 1)), rng.uniform(0.02, 0.3, (batch, 1))
    sound = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
    samples = level * (sound + 0.1 * rng.standard_normal((batch, 576)))
    return {
        "input": np.clip(samples, -1, 1).astype(np.float32),
        "state": np.tanh(rng.standard_normal((2, batch, 128))).astype(np.float32),
        "sr": np.array(16000, np.int64),
    }


def _story(batch: int, rng: np.random.Generator) -> Feed:
    """40 tokens, the first one the beginning of a text."""
    ids = rng.integers(3, 512, (batch, 40))
    ids[:, 0] = 1
    return {"ids": ids}


_CIFAR_MEAN = tuple(255 * v for v in (0.485, 0.456, 0.406))
_CIFAR_STD = tuple(255 * v for v in (0.229, 0.224, 0.225))
_FACES = _pictures("input", 3, 240, 320, mean=(127.0,), std=(128.0,))

SHARED_MODELS: dict[str, SharedModel] = {
    "squeezenet": SharedModel(
        "models/squeezenet/squeezenet_v1.0_dc.onnx",
        _pictures("data", 3, 227, 227, mean=(104.0, 117.0, 123.0)),
    ),
    "resnet20": SharedModel(
        "models/cifar10_resnet20/resnet20_cifar10.onnx",
        _pictures("input", 3, 32, 32, mean=_CIFAR_MEAN, std=_CIFAR_STD),
    ),
    "ultraface": SharedModel("models/ultraface/RFB-320.onnx", _FACES, fixed=True),
    "ultraface_raw": SharedModel("models/ultraface/RFB-320_raw.onnx", _FACES, fixed=True),
    "yolox_nano": SharedModel(
        "models/yolox_nano/yolox_nano.onnx", _pictures("images", 3, 416, 416), fixed=True, batchable=False
    ),
    "mnist": SharedModel(
        "models/mnist/mnist_cntk.onnx", _pictures("Input3", 1, 28, 28), fixed=True, batchable=False
    ),
    "yunet": SharedModel(
        "models/yunet/yunet_n_320_320.onnx",
        _pictures("input", 3, 320, 320),
        fixed=True,
        batchable=False,
        scale=1.0,
    ),
    "silero": SharedModel("models/silero_vad/silero_vad_op18_ifless.onnx", _speech, scale=1.0),
    "stories260k": SharedModel("models/stories260K/stories260K.onnx", _story),
}


def shared_inputs(name: str, batch: int = 1, seed: int = 0) -> Feed:
    """Inputs for a shared model, in the range it was trained on: the same arrays for the same arguments."""
    return SHARED_MODELS[name].feed(batch, np.random.default_rng([seed, batch]))
