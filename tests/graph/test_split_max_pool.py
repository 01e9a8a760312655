from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import split_max_pool


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape = [5, 5], pads = [2, 2, 2, 2]",
        "kernel_shape = [13, 13], pads = [6, 6, 6, 6]",
        "kernel_shape = [5, 7], pads = [0, 1, 2, 3]",
        "kernel_shape = [6, 5], strides = [2, 1]",
        "kernel_shape = [5, 9], strides = [3, 2], pads = [2, 4, 1, 0]",
        "kernel_shape = [4, 4], dilations = [2, 1]",
    ],
)
def test_rows_then_columns(attributes: str) -> None:
    got = apply(
        split_max_pool,
        f"g (float[2, 3, 15, 14] x) => (float[A, B, C, D] y) {{ y = MaxPool<{attributes}>(x) }}",
    )
    assert got.fired == 1
    assert got.ops == ["MaxPool", "MaxPool"]
    assert got.model.graph.outputs[0].name == "y"


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape = [3, 3], pads = [1, 1, 1, 1]",
        "kernel_shape = [5, 5], strides = [5, 5]",
        "kernel_shape = [1, 13]",
        "kernel_shape = [7]",
    ],
)
def test_keeps_small_windows(attributes: str) -> None:
    shape = "2, 3, 15" if "[7]" in attributes else "2, 3, 15, 15"
    dims = "A, B, C" if "[7]" in attributes else "A, B, C, D"
    text = f"g (float[{shape}] x) => (float[{dims}] y) {{ y = MaxPool<{attributes}>(x) }}"
    assert apply(split_max_pool, text).fired == 0


def test_refuses_indices_and_rounded_sizes() -> None:
    head = "g (float[1, 1, 12, 12] x) => (float[A, B, C, D] y"
    indices = apply(
        split_max_pool, f"{head}, int64[A, B, C, D] i) {{ y, i = MaxPool<kernel_shape = [5, 5]>(x) }}"
    )
    rounded = apply(
        split_max_pool,
        f"{head}) {{ y = MaxPool<kernel_shape = [9, 9], strides = [2, 2], ceil_mode = 1>(x) }}",
    )
    assert indices.refused == rounded.refused == ["its indices are used or its size is rounded up"]
    automatic = apply(
        split_max_pool, f'{head}) {{ y = MaxPool<kernel_shape = [5, 5], auto_pad = "SAME_UPPER">(x) }}'
    )
    assert automatic.refused == ["its padding follows from its sizes"]
