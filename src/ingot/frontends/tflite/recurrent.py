"""TFLite's recurrent layers."""

from __future__ import annotations

import numpy as np

from ingot.frontends.builder import Array
from ingot.frontends.tflite.net import Op, operator


@operator("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(c: Op) -> None:
    """Float weights, tanh, no peepholes, projection, clipping or layer norm; the state starts as its tensor holds.

    Inputs: 0 x; 1 to 4 weights and 5 to 8 recurrent weights of the input, forget, cell and output gates; 12 to 15
    biases; 18, 19 the state. ONNX orders the gates input, output, forget, cell.
    """
    extra = [place for place in (*range(9, 12), 16, 17, *range(20, 24)) if c.has(place)]
    if extra or not c.has(1) or c.option("ProjClip") or c.option("CellClip"):
        raise c.unsupported("peepholes, projection, clipping, layer norm or coupled gates")
    if c.option("FusedActivationFunction") != 4 or c.tensor(0).quantisation is not None:
        raise c.unsupported("an activation other than tanh, or quantised inputs")

    def gates(start: int) -> Array:
        return np.concatenate([c.data(start + gate) for gate in (0, 3, 1, 2)])[None].astype(np.float32)

    b, hidden = c.b, c.data(5).shape[1]
    time_major = bool(c.option("TimeMajor"))
    x = c.plain()
    if not time_major:
        x = b.op("Transpose", x, name=f"{c.name}/time_major", perm=[1, 0, 2])
    biases = gates(12)
    weights = [
        b.constant(a) for a in (gates(1), gates(5), np.concatenate([biases, np.zeros_like(biases)], 1))
    ]
    y = b.op("LSTM", x, *weights, name=f"{c.name}/lstm", hidden_size=hidden)
    y = b.op("Squeeze", y, b.ints(1), name=f"{c.name}/direction")
    if not time_major:
        y = b.op("Transpose", y, name=f"{c.name}/batch_major", perm=[1, 0, 2])
    c.options["FusedActivationFunction"] = 0
    c.put(y)
