"""Winograd's transforms: exact by construction, rounded within the table that the compiler promises by."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import ingot
from ingot.errors import IngotError
from ingot.kernels.use_winograd import DEFAULT_ERROR, ERRORS
from ingot.kernels.winograd import matrices, transform_weight
from ingot.testing import CLOSE, assert_close, ulp

CHANNELS, SIZE = 64, 30
DIRECT_ERROR = 2e-6

forms = pytest.mark.parametrize(("m", "r"), ERRORS)


def layer(r: int) -> tuple[ModelProto, np.ndarray]:
    """A convolution between two that only copy, so that its layouts are those inside of a network; and its weights."""
    rng = np.random.default_rng(r)
    weight = (rng.standard_normal((CHANNELS, CHANNELS, r, r)) / np.sqrt(CHANNELS * r * r)).astype(np.float32)
    copy = np.eye(CHANNELS, dtype=np.float32)[:, :, None, None]
    nodes = [
        helper.make_node("Conv", ["x", "copy"], ["a"]),
        helper.make_node("Conv", ["a", "weight"], ["b"], pads=[r // 2] * 4),
        helper.make_node("Conv", ["b", "copy"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, CHANNELS, SIZE, SIZE]) for n in ("x", "y")
    ]
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(copy, "copy")]
    graph = helper.make_graph(nodes, f"layer{r}", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), weight


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """In float64."""
    r = weight.shape[-1]
    padded = np.pad(x[0].astype(np.float64), [(0, 0), (r // 2, r // 2), (r // 2, r // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (r, r), (1, 2))
    return np.einsum("chwij,kcij->khw", windows, weight.astype(np.float64), optimize=True)[None]


@forms
def test_the_matrices_convolve(m: int, r: int) -> None:
    at, g, bt = (np.array(matrix) for matrix in matrices(m, r))
    data, taps = np.arange(m + r - 1.0) * 3 % 7 - 3, np.arange(r) * 5 % 4 - 1.5
    found = at @ ((g @ taps) * (bt @ data))
    assert_close(found, np.convolve(data, taps[::-1], "valid"), CLOSE, reduction=(m + r - 1) ** 2)


@forms
def test_weights_are_rounded_once(m: int, r: int) -> None:
    weight = np.random.default_rng(m).standard_normal((r, r, 2, 5)).astype(np.float32)
    g = np.array(matrices(m, r)[1])
    wanted = np.einsum("ai,bj,ijcf->abcf", g, g, weight.astype(np.float64)).reshape(-1, 2, 5)
    assert_close(transform_weight(weight, m), wanted.astype(np.float32), ulp(1))


@forms
def test_the_error_is_within_the_table(m: int, r: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest of 20 random inputs; the table is at most two and a half times that, so that it tells something."""
    monkeypatch.setattr("ingot.kernels.use_winograd.ERRORS", {(m, r): ERRORS[m, r]})
    model, weight = layer(r)
    package = ingot.compile(model, winograd_error=1.0)
    assert package.manifest["winograd_error"] == ERRORS[m, r]
    session = ingot.load(package)
    errors = []
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((1, CHANNELS, SIZE, SIZE)).astype(np.float32)
        wanted = convolved(x, weight)
        errors.append(np.abs(session.run(None, {"x": x})[0] - wanted).max() / np.abs(wanted).max())
    assert ERRORS[m, r] / 2.5 < max(errors) <= ERRORS[m, r]


@pytest.mark.parametrize("r", [3, 5])
@pytest.mark.parametrize("bound", [0.0, *sorted({*ERRORS.values()}), DEFAULT_ERROR, 1.0])
def test_a_bound_is_kept(r: int, bound: float) -> None:
    model, weight = layer(r)
    package = ingot.compile(model, winograd_error=bound)
    assert package.manifest["winograd_error"] == package.report["winograd_error"] <= bound
    assert (package.manifest["winograd_error"] > 0) == any(
        e <= bound for (_, taps), e in ERRORS.items() if taps == r
    )
    x = np.random.default_rng(7).standard_normal((1, CHANNELS, SIZE, SIZE)).astype(np.float32)
    wanted = convolved(x, weight)
    found = ingot.load(package).run(None, {"x": x})[0]
    assert np.abs(found - wanted).max() <= max(bound, DIRECT_ERROR) * np.abs(wanted).max()
    assert_close(found, wanted.astype(np.float32), CLOSE, reduction=64 * CHANNELS * r * r)


@pytest.mark.parametrize("bound", [-1e-6, float("nan")])
def test_a_bad_bound_is_refused(bound: float) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(layer(3)[0], winograd_error=bound)
    assert caught.value.code == "option-invalid"
