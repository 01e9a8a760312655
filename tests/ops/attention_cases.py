"""Cases of `ingot.lower.attention`: masks, windows, caches, grouped heads and changed scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE

QKV = "float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,6] v"
GROUPED = "float[2,4,5,8] q, float[2,2,7,8] k, float[2,2,7,6] v"
PLAIN = "y = Attention(q, k, v)"
MASK = np.where(weights("mask", 5, 7) > 0, 0, -np.inf).astype(np.float32)
"""Some rows of it see nothing from where a window or a cache ends."""
MASK[2] = -np.inf
HOLES = np.array([[True, False, True, True, False, True, True]] * 4 + [[False] * 7])


def attend(name: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any) -> Case:
    return case(
        f"sdpa_{name}", inputs, body, outputs, **{"opset": 25, "level": CLOSE, "reduction": 32, **how}
    )


def flex(name: str, graph: str, **how: Any) -> Case:
    """FlexAttention with a subgraph, against the same as operators."""
    made = case(
        f"flex_{name}",
        GROUPED,
        f"y = ai.onnx.preview.FlexAttention<{graph}>(q, k, v)",
        opset=26,
        reduction=32,
        **how,
    )
    made.model.opset_import.add(domain="ai.onnx.preview", version=1)
    return made


CASES = [
    attend("plain", QKV, PLAIN),
    attend("grouped", GROUPED, PLAIN),
    attend("one_of_a_batch", "float[1,2,5,8] q, float[1,2,7,8] k, float[1,2,7,6] v, float[5,7] m", "y = Attention(q, k, v, m)"),
    attend("symbols", "float[n,2,a,8] q, float[n,2,b,8] k, float[n,2,b,8] v", "y = Attention<is_causal=1>(q, k, v)",
           sizes=({"n": 1, "a": 3, "b": 3}, {"n": 2, "a": 1, "b": 19}, {"n": 1, "a": 20, "b": 18})),
    attend("causal", "float[1,2,35,8] q, float[1,2,35,8] k, float[1,2,35,8] v", "y = Attention<is_causal=1>(q, k, v)"),
    attend("causal_mask", f"{QKV}, float[2,1,5,7] m", "y = Attention<is_causal=1, scale=0.5>(q, k, v, m)"),
    attend("mask_of_bool", f"{QKV}, bool[5,7] m", "y = Attention(q, k, v, m)", feed={"m": HOLES}),
    attend("mask_constant", QKV, "y = Attention(q, k, v, m)", constants={"m": MASK}),
    attend("mask_constant_open", QKV, "y = Attention(q, k, v, m)", constants={"m": weights("open", 7)}),
    attend("mask_of_heads", f"{QKV}, float[4,1,7] m", "y = Attention(q, k, v, m)"),
    attend("mask_too_short", f"{QKV}, bool[5,4] m", "y = Attention(q, k, v, m)", feed={"m": HOLES[:, 1:5]}),
    attend("windows", QKV, "y = Attention<left_window_size=1, right_window_size=2>(q, k, v)"),
    attend("window_past_the_keys", "float[1,2,9,8] q, float[1,2,4,8] k, float[1,2,4,8] v",
           "y = Attention<left_window_size=2, is_causal=1>(q, k, v)"),
    attend("valid_keys", f"{QKV}, int64[2] n", "y = Attention<is_causal=1>(q, k, v, , , , n)", feed={"n": np.array([3, 7])}),
    attend("cache", "float[2,2,3,8] q, float[2,2,3,8] k, float[2,2,3,6] v, float[2,2,p,8] pk, float[2,2,p,6] pv",
           "y, nk, nv = Attention<is_causal=1>(q, k, v, , pk, pv)", "float[] y, float[] nk, float[] nv",
           sizes=({"p": 1}, {"p": 18})),
    attend("heads_inside", "float[2,5,16] q, float[2,7,8] k, float[2,7,6] v",
           "y = Attention<q_num_heads=4, kv_num_heads=2, softcap=2.0>(q, k, v)"),
    *(attend(f"scores_{mode}", QKV,
             f"y, , , s = Attention<qk_matmul_output_mode={mode}{cap}>(q, k, v, m)", "float[] y, float[] s",
             constants={"m": MASK})
      for mode, cap in ((0, ""), (1, ", softcap=2.0"), (2, ", softcap=2.0"), (3, ""))),
    attend("halves", "float16[1,2,5,8] q, float16[1,2,7,8] k, float16[1,2,7,6] v", PLAIN, "float16[] y"),
    attend("doubles", "double[1,2,5,8] q, double[1,2,7,8] k, double[1,2,7,6] v", PLAIN, "double[] y"),
    attend("softmax_of_doubles", QKV, "y = Attention<softmax_precision=11>(q, k, v)"),
    flex("plain", "scale=0.5"),
    flex("scores", "score_mod = s (float[B,H,L,S] a) => (float[B,H,L,S] b) { c = Constant<value_float=0.5>() d = Mul(a, c) b = Tanh(d) }"),
    flex("probabilities", "prob_mod = s (float[B,H,L,S] a) => (float[B,H,L,S] b) { b = Mul(a, a) }"),
]  # fmt: skip
