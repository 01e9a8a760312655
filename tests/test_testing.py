"""The tolerance levels take rounding and refuse all else; the shared models run as their table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ingot import testing
from ingot.testing import CLOSE, EXACT, QUANTIZED, REDUCED, Level, assert_close, lengths, ulp

LEVELS = (EXACT, CLOSE, REDUCED, QUANTIZED, ulp(3))
FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)


def sample(dtype: Any = np.float32) -> np.ndarray:
    return np.linspace(-2, 3, 24).reshape(4, 6).astype(dtype)


def off_by(x: np.ndarray, index: tuple[int, ...], difference: float) -> np.ndarray:
    y = x.copy()
    y[index] = y[index] + x.dtype.type(difference)
    return y


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("dtype", [*FLOATS, np.int8, np.uint64, np.int64, np.bool_, np.str_, np.complex64])
def test_equal_tensors_pass(level: Level, dtype: Any) -> None:
    for x in (
        sample().astype(dtype),
        np.zeros((0, 3), dtype),
        np.array(1).astype(dtype),
        np.zeros((2, 0), dtype),
    ):
        assert_close(x.copy(), x, level)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_wrong_element_is_named(level: Level, dtype: Any) -> None:
    x = sample(dtype)
    with pytest.raises(
        AssertionError, match=rf"{level.name[:3]}.*1 of 24 elements.*\[2, 3\]: actual .*, expected"
    ):
        assert_close(off_by(x, (2, 3), 0.5), x, level)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_a_wrong_shape_is_refused(level: Level) -> None:
    for shape in ((6, 4), (24,), (1, 4, 6)):
        with pytest.raises(AssertionError, match=r"shape .* expected \(4, 6\)"):
            assert_close(sample().reshape(shape), sample(), level)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_a_wrong_dtype_is_refused(level: Level) -> None:
    with pytest.raises(AssertionError, match="dtype float64, expected float32"):
        assert_close(sample(np.float64), sample(), level)
    with pytest.raises(AssertionError, match="not an array"):
        assert_close(1.0, sample(), level)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_must_stand_in_the_same_places(level: Level, dtype: Any) -> None:
    x = sample(dtype)
    x[0, 0], x[1, 1], x[3, 2] = np.nan, np.inf, -np.inf
    assert_close(x.copy(), x, level)
    for index, value in (((0, 1), np.nan), ((0, 0), 1), ((1, 1), 1), ((1, 1), -np.inf), ((2, 2), np.inf)):
        y = x.copy()
        y[index] = value
        with pytest.raises(AssertionError, match=r"NaN|infinite"):
            assert_close(y, x, level)
    with pytest.raises(AssertionError, match=r"\[2, 3\]"):
        assert_close(off_by(x, (2, 3), 0.5), x, level)


def test_the_zeros_of_exact_have_signs() -> None:
    plus, minus = np.zeros(3, np.float32), -np.zeros(3, np.float32)
    for level in (CLOSE, REDUCED, QUANTIZED, ulp(0)):
        assert_close(plus, minus, level)
    with pytest.raises(AssertionError, match="3 of 3"):
        assert_close(plus, minus, EXACT)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
def test_ulp_counts_representable_numbers(dtype: Any, value: float) -> None:
    bits = f"i{np.dtype(dtype).itemsize}"
    x = np.array([value], dtype)
    y = (x.view(bits) + np.array(3, bits)).view(dtype)
    assert_close(y, x, ulp(3))
    assert_close(-y, -x, ulp(3))
    with pytest.raises(AssertionError, match=r"error 3 = 1.5 bounds; bound 2"):
        assert_close(y, x, ulp(2))


def test_ulp_counts_across_zero_and_over_the_whole_range() -> None:
    tiny = np.array([5e-324])
    assert_close(-tiny, tiny, ulp(2))
    with pytest.raises(AssertionError, match=r"error 2 "):
        assert_close(-tiny, tiny, ulp(1))
    largest = np.array([np.finfo(np.float64).max])
    with pytest.raises(AssertionError, match=r"error 1\.84"):
        assert_close(-largest, largest, ulp(1000))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, ml_dtypes.int4])
def test_integers(dtype: Any) -> None:
    x = np.array([[0, 1, 7]], dtype)
    y = np.array([[1, 1, 6]], dtype)
    assert_close(y, x, QUANTIZED)
    assert_close(y, x, ulp(1))
    for level in (EXACT, CLOSE, REDUCED, ulp(0)):
        with pytest.raises(AssertionError, match="2 of 3"):
            assert_close(y, x, level)
    with pytest.raises(AssertionError, match=r"1 of 3.*\[0, 2\]"):
        assert_close(np.array([[0, 1, 5]], dtype), x, QUANTIZED)


def test_distant_integers_do_not_overflow() -> None:
    low, high = np.array([-(2**63)]), np.array([2**63 - 1])
    with pytest.raises(AssertionError, match=r"error 1\.84"):
        assert_close(low, high, QUANTIZED)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 64, 4096])
def test_close_scales_with_epsilon_reduction_and_magnitude(dtype: Any, k: int) -> None:
    eps = float(ml_dtypes.finfo(dtype).eps)
    x = sample(dtype)
    bound = 2 * eps * k**0.5 * 3
    zero = (1, int(np.abs(x[1]).argmin()))
    assert_close(off_by(x, zero, 0.9 * bound), x, CLOSE, reduction=k)
    with pytest.raises(AssertionError, match=r"= 1\.[12]\d* bounds"):
        assert_close(off_by(x, zero, 1.2 * bound), x, CLOSE, reduction=k)


@pytest.mark.parametrize("k", [1, 7, 64, 1000, 4096])
def test_close_takes_another_order_of_summation(k: int) -> None:
    rng = np.random.default_rng(k)
    a, b = rng.standard_normal((2, 32, k), np.float32)
    expected = (a[:, None, :].astype(np.float64) @ b[:, :, None].astype(np.float64))[:, 0].astype(np.float32)
    backwards = np.zeros((32, 1), np.float32)
    for i in reversed(range(k)):
        backwards += a[:, i : i + 1] * b[:, i : i + 1]
    assert_close(backwards, expected, CLOSE, reduction=k)
    if k >= 64:
        lost = backwards - a[:, k // 2 : k // 2 + 1] * b[:, k // 2 : k // 2 + 1]
        with pytest.raises(AssertionError, match=r"3[12] of 32"):
            assert_close(lost, expected, CLOSE, reduction=k)


def test_reduced_takes_operands_in_bfloat16_and_close_does_not() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((48, 300), np.float32), rng.standard_normal((300, 40), np.float32)
    rounded = a.astype(ml_dtypes.bfloat16).astype(np.float32) @ b.astype(ml_dtypes.bfloat16).astype(
        np.float32
    )
    assert_close(rounded, a @ b, REDUCED, reduction=300)
    with pytest.raises(AssertionError, match="CLOSE"):
        assert_close(rounded, a @ b, CLOSE, reduction=300)


def test_depth_widens_reduced_and_not_close() -> None:
    x = sample()
    y = off_by(x, (0, 0), 0.05)
    assert_close(y, x, REDUCED, depth=30)
    with pytest.raises(AssertionError, match="REDUCED"):
        assert_close(y, x, REDUCED)
    with pytest.raises(AssertionError, match="CLOSE"):
        assert_close(y, x, CLOSE, depth=30)


def test_axis_measures_each_channel_by_itself() -> None:
    x = np.array([[1000.0, 0.5], [-900.0, 0.25]], np.float32)
    y = off_by(x, (1, 1), 1e-5)
    assert_close(y, x, CLOSE)
    for axis in (1, -1):
        with pytest.raises(AssertionError, match=r"\[1, 1\]"):
            assert_close(y, x, CLOSE, axis=axis)


def test_scale_stands_in_where_everything_cancels() -> None:
    x = np.full(3, 1e-6, np.float32)
    y = x + np.float32(1e-7)
    assert_close(y, x, CLOSE, scale=1.0)
    with pytest.raises(AssertionError, match="3 of 3"):
        assert_close(y, x, CLOSE)


def test_subnormals_may_be_flushed_but_not_by_exact() -> None:
    x = np.array([1e-40, 0], np.float32)
    assert_close(np.zeros(2, np.float32), x, CLOSE)
    with pytest.raises(AssertionError, match="1 of 2"):
        assert_close(np.zeros(2, np.float32), x, EXACT)


def linear_model(batch: int | str = 1) -> onnx.ModelProto:
    """x [batch,3] -> MatMul with a [3,5] -> y."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 5], np.arange(15.0))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [weights],
        value_info=[helper.make_tensor_value_info("h", TensorProto.FLOAT, [batch, 5])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_with_batch_changes_only_a_copy() -> None:
    model = linear_model()
    before = model.SerializeToString()
    wide = testing.with_batch(model, 4)
    onnx.checker.check_model(wide)
    assert model.SerializeToString() == before
    x = np.ones((4, 3), np.float32)
    (y,) = testing.reference(wide, {"x": x})
    assert_close(y, np.broadcast_to(np.arange(15, dtype=np.float32).reshape(3, 5).sum(0), (4, 5)), EXACT)


def test_with_batch_leaves_symbols_alone() -> None:
    assert (
        testing.with_batch(linear_model("N"), 4).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    )


def test_lengths_sum_the_dot_products() -> None:
    assert lengths(linear_model()) == {"reduction": 3, "depth": 1}


def test_reference_reads_a_path(tmp_path: Path) -> None:
    onnx.save(linear_model(), tmp_path / "m.onnx")
    (y,) = testing.reference(tmp_path / "m.onnx", {"x": np.zeros((1, 3), np.float32)})
    assert_close(y, np.zeros((1, 5), np.float32), EXACT)


def test_data_root_refuses_a_mistyped_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGOT_TEST_DATA", str(tmp_path))
    assert testing.data_root() == tmp_path
    monkeypatch.setenv("INGOT_TEST_DATA", str(tmp_path / "absent"))
    with pytest.raises(NotADirectoryError, match="INGOT_TEST_DATA"):
        testing.data_root()


@pytest.mark.parametrize("name", testing.SHARED_MODELS)
def test_shared_models_run_as_the_table_says(name: str) -> None:
    root = testing.data_root()
    if root is None:
        pytest.skip("the shared models are absent: set INGOT_TEST_DATA or put them in ../shared/data")
    shared = testing.SHARED_MODELS[name]
    model = testing.with_batch(root / shared.file, 3) if shared.fixed else onnx.load(root / shared.file)
    feed = testing.shared_inputs(name, 3)
    assert all(np.array_equal(a, testing.shared_inputs(name, 3)[k]) for k, a in feed.items())
    try:
        wide = testing.reference(model, feed)
    except Exception:
        if shared.batchable:
            raise
        wide = []
    singles = [testing.reference(root / shared.file, _row(feed, i)) for i in range(3)]
    joined = [
        np.concatenate(parts, 1 if name == "silero" and i else 0)
        for i, parts in enumerate(zip(*singles, strict=True))
    ]
    assert all(np.isfinite(y).all() for y in joined)
    assert all(y.std() > 0 for y in joined)
    assert shared.batchable == (
        bool(wide) and all(a.shape == b.shape for a, b in zip(wide, joined, strict=True))
    )
    if shared.batchable:
        for a, b in zip(wide, joined, strict=True):
            assert_close(a, b, CLOSE, **lengths(model), scale=shared.scale)


def _row(feed: testing.Feed, i: int) -> testing.Feed:
    """Row i of every batched input; the batch of `state` is its second axis, and `sr` has none."""
    return {
        k: a if a.ndim == 0 else a[:, i : i + 1] if k == "state" else a[i : i + 1] for k, a in feed.items()
    }
