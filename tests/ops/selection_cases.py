"""Cases of `ingot.lower.selection`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case

from ingot.testing import EXACT


def exact(name: str, inputs: str, body: str, outputs: str = "int64[] y", **how: Any) -> Case:
    return case(name, inputs, body, outputs, level=EXACT, **{"whole": True, **how})


NON_ZERO = [
    *(
        exact(f"non_zero_{label}", f"float[{','.join(map(str, x.shape))}] x", "y = NonZero(x)", feed={"x": x.astype(np.float32)})
        for label, x in (("matrix", np.array([[0, 1, 2], [3, 0, 0]])), ("vector", np.arange(7) % 3), ("nothing", np.zeros((2, 2))),
                         ("everything", np.ones((2, 3, 2))), ("empty", np.zeros((0, 3))))
    ),
    exact("non_zero_scalar", "float x", "y = NonZero(x)", feed={"x": np.float32(2)}, expected=([np.zeros((0, 1), np.int64)],)),
    exact("non_zero_bool", "bool[3,4] x", "y = NonZero(x)"),
    exact("non_zero_batch", "int64[n,4] x", "y = NonZero(x)", sizes=({"n": 1}, {"n": 6})),
    exact("non_zero_then_gather", "float[5,4] x", "i = NonZero(x)  t = Transpose<perm=[1,0]>(i)  y = GatherND(x, t)", "float[] y"),
    exact("non_zero_of_mask", "float[5,4] x", "z = Constant<value = float {1.0}>()  m = Less(z, x)  y = NonZero(m)"),
]  # fmt: skip

COMPRESS = [
    *(
        exact(f"compress_{label}", "float[3,2] x, bool[{0}] c".replace("{0}", str(len(c))), f"y = Compress{axis}(x, c)", "float[] y",
              feed={"c": np.array(c, bool)})
        for label, c, axis in (("rows", [0, 1, 1], "<axis=0>"), ("columns", [0, 1], "<axis=1>"), ("negative", [1, 0], "<axis=-1>"),
                               ("flat", [0, 1, 0, 0, 1], ""), ("short", [0, 1], "<axis=0>"), ("none", [0, 0, 0], "<axis=0>"),
                               ("all", [1, 1, 1], "<axis=0>"))
    ),
    exact("compress_rows_of_batch", "float[n,3] x, bool[n] c", "y = Compress<axis=0>(x, c)", "float[] y", sizes=({"n": 1}, {"n": 5})),
]  # fmt: skip

BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101],
                  [1, 1.1, 0, 0.1], [0, 0, 0, 0]], np.float32)  # fmt: skip
SCORES = np.array(
    [[0.9, 0.75, 0.6, 0.95, 0.5, 0.3, 0.9, 0.2], [0.1, 0.7, 0.8, 0.2, 0.9, 0.3, 0.1, 0.9]], np.float32
)
ROUND = np.abs(np.concatenate([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]], 1))


def suppression(name: str, attributes: str = "", **given: Any) -> Case:
    """given: max, iou, score; boxes as corners where they are not given."""
    values = {"max": np.int64(3), "iou": np.float32(0.5), "score": np.float32(0.25)} | {
        k: v for k, v in given.items() if k not in ("boxes", "batch")
    }
    constants = {k: np.asarray(v).reshape(1) for k, v in values.items() if v is not None}
    batch = given.get("batch", 1)
    boxes = np.stack([given.get("boxes", BOXES) * (1 + b / 2) for b in range(batch)])
    scores = np.stack([np.roll(SCORES, b, 1) for b in range(batch)])
    names = ", ".join(k if k in constants else "" for k in ("max", "iou", "score")).rstrip(", ")
    return exact(
        f"non_max_suppression_{name}", f"float[{batch},8,4] b, float[{batch},2,8] s", f"y = NonMaxSuppression{attributes}(b, s, {names})",
        constants=constants, feed={"b": boxes.astype(np.float32), "s": scores},
    )  # fmt: skip


SUPPRESSION = [
    suppression("of_corners"),
    suppression("of_centres", "<center_point_box=1>", boxes=ROUND),
    suppression("of_batches", batch=3),
    suppression("without_scores", score=None),
    suppression("unbounded", max=np.int64(100)),
    suppression("of_none", max=np.int64(0)),
    suppression("of_all", iou=np.float32(1.0), max=np.int64(8)),
    suppression("of_touching", iou=np.float32(0.0), max=np.int64(8)),
    suppression("of_high_scores", score=np.float32(0.99)),
    exact("non_max_suppression_by_input", "float[1,8,4] b, float[1,2,8] s, int64[1] m, float[1] t, float[1] l", "y = NonMaxSuppression(b, s, m, t, l)",
          feed={"b": BOXES[None], "s": SCORES[None], "m": np.array([2]), "t": np.array([0.4], np.float32), "l": np.array([0.2], np.float32)}),
]  # fmt: skip

CASES = [*NON_ZERO, *COMPRESS, *SUPPRESSION]
