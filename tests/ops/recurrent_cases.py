"""Cases of `ingot.lower.recurrent`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})


def layer(
    kind: str, name: str, *, steps: str | int = 3, batch: str | int = 1, width: int = 5, hidden: int = 7, directions: int = 1,
    bias: bool = True, states: str = "", attributes: str = "", outputs: tuple[str, ...] = ("y", "h", "c"),
    lengths: tuple[int, ...] | None = None, peepholes: bool = False, computed: bool = False, dtype: str = "float", **how: Any,
) -> Case:  # fmt: skip
    """states: "constant", "computed" or "" for none. computed: all operands are inputs."""
    gates, label = GATES[kind], f"{kind.lower()}_{name}"
    constants: dict[str, Any] = {
        "w": weights(f"w{label}", directions, gates * hidden, width) * np.float32(0.4),
        "r": weights(f"r{label}", directions, gates * hidden, hidden) * np.float32(0.4),
    }
    inputs, names = [f"{dtype}[{steps},{batch},{width}] x"], ["x", "w", "r"]
    if bias:
        constants["b"] = weights(f"b{label}", directions, 2 * gates * hidden) * np.float32(0.4)
    names += ["b" if bias else "", "" if lengths is None else "lengths"]
    if lengths is not None:
        constants["lengths"] = np.array(lengths, np.int32)
    for state in ("h0", "c0")[: 2 if kind == "LSTM" else 1] if states else ():
        names.append(state)
        if states == "constant":
            constants[state] = weights(f"{state}{label}", directions, int(batch), hidden) * np.float32(0.5)
        else:
            inputs.append(f"{dtype}[{directions},{batch},{hidden}] {state}")
    if peepholes:
        names += [*([] if states else ["", ""]), "p"]
        constants["p"] = weights(f"p{label}", directions, 3 * hidden)
    while not names[-1]:
        names.pop()
    kind_of = {"float": np.float32, "double": np.float64, "float16": np.float16}[dtype]
    constants = {k: v.astype(kind_of) if v.dtype.kind == "f" else v for k, v in constants.items()}
    if computed:
        inputs += [
            f"{'int32' if v.dtype.kind == 'i' else dtype}{list(v.shape)} {k}".replace("] ", "]|")
            .replace(" ", "")
            .replace("|", " ")
            for k, v in constants.items()
        ]
        how["feed"], constants = constants, {}
    made = [o for o in outputs if o != "c" or kind == "LSTM"]
    given = [f"hidden_size={hidden}", *([attributes] if attributes else [])]
    if directions == 2:
        given.append('direction="bidirectional"')
    text = f"{', '.join(made)} = {kind}<{','.join(given)}>({', '.join(names)})"
    return case(label, ", ".join(inputs), text, ", ".join(f"{dtype}[] {o}" for o in made if o),
                constants=constants, **{"oracle": "onnxruntime", "reduction": 4 * (width + hidden), "scale": 1.0, **how})  # fmt: skip


KINDS = ("LSTM", "GRU", "RNN")
CASES = [
    *(layer(kind, "plain") for kind in KINDS),
    *(layer(kind, "no_bias", bias=False) for kind in KINDS),
    *(layer(kind, "batch_3", batch=3) for kind in KINDS),
    *(layer(kind, "reverse", attributes='direction="reverse"') for kind in KINDS),
    *(layer(kind, "bidirectional", batch=2, directions=2) for kind in KINDS),
    *(layer(kind, "bidirectional_states", batch=3, directions=2, states="computed") for kind in KINDS),
    *(layer(kind, "initial_states", batch=2, states="constant") for kind in KINDS),
    *(layer(kind, "one_step", steps=1) for kind in KINDS),
    *(layer(kind, "symbolic", steps="m", batch="n", states="computed", sizes=({"m": 1, "n": 1}, {"m": 4, "n": 3})) for kind in KINDS),
    *(layer(kind, f"hidden_{hidden}", hidden=hidden, steps=2) for kind in KINDS for hidden in (1, 4, 8, 9, 16, 17, 32, 33)),
    *(layer("GRU", f"linear_{name}", attributes="linear_before_reset=1", **how)
      for name, how in (("plain", {}), ("batch", {"batch": 3}), ("no_bias", {"bias": False}), ("bidirectional", {"directions": 2, "batch": 2}),
                        ("hidden_17", {"hidden": 17}))),
    *(layer(kind, "computed", computed=True, batch=2, hidden=hidden, states="computed")
      for kind, hidden in (("LSTM", 7), ("GRU", 17), ("RNN", 16))),
    layer("GRU", "linear_computed", attributes="linear_before_reset=1", computed=True, directions=2),
    layer("LSTM", "computed_bidirectional", computed=True, directions=2, bias=False),
    *(layer(kind, "lengths", steps=4, batch=3, lengths=(4, 1, 2)) for kind in KINDS),
    *(layer(kind, "lengths_computed", steps=4, batch=3, lengths=(1, 4, 3), directions=2, states="computed", computed=True) for kind in KINDS),
    layer("GRU", "linear_lengths", steps=4, batch=2, lengths=(3, 2), attributes='linear_before_reset=1,direction="reverse"'),
    layer("RNN", "lengths_whole", steps="m", batch=1, lengths=(3,), sizes=({"m": 3}, {"m": 4})),
    layer("LSTM", "peepholes", peepholes=True, batch=2),
    layer("LSTM", "peepholes_computed", peepholes=True, batch=2, directions=2, states="computed", computed=True, hidden=9),
    layer("LSTM", "input_forget", attributes="input_forget=1"),
    layer("LSTM", "input_forget_peepholes", peepholes=True, attributes="input_forget=1"),
    *(layer(kind, "clip", attributes="clip=0.3") for kind in KINDS),
    *(layer(kind, "double", dtype="double", oracle="reference") for kind in ("LSTM", "GRU", "RNN")),
    layer("LSTM", "half", dtype="float16", oracle="reference"),
    layer("LSTM", "layout", attributes="layout=1", steps=2, batch=2, oracle="reference"),
    layer("LSTM", "affine", attributes='activations=["Affine","ScaledTanh","HardSigmoid"],activation_alpha=[0.4,0.9,0.3],activation_beta=[0.1,0.8,0.4]'),
    layer("LSTM", "elu", attributes='activations=["sigmoid","Elu","LeakyRelu"],activation_alpha=[0.7]'),
    layer("GRU", "softsign", attributes='activations=["HardSigmoid","Softsign"]'),
    layer("GRU", "softplus", attributes='activations=["Sigmoid","Softplus","Sigmoid","ThresholdedRelu"],activation_alpha=[0.5]', directions=2),
    layer("RNN", "relu", attributes='activations=["Relu"]'),
    layer("RNN", "relu_and_tanh", attributes='activations=["Relu","Tanh"]', directions=2),
    layer("LSTM", "only_y", outputs=("y",)),
    layer("LSTM", "only_last", outputs=("", "h"), batch=2),
    layer("LSTM", "only_cell", outputs=("", "", "c"), batch=2),
    layer("GRU", "only_last", outputs=("", "h"), batch=2, directions=2),
    layer("LSTM", "opset7", opset=7),
    layer("GRU", "opset7", opset=7),
    case("lstm_stacked", "float[3,2,5] x",
         "a, ah = LSTM<hidden_size=6>(x, w1, r1)  s = Squeeze(a, axes)  b, bh = LSTM<hidden_size=4>(s, w2, r2)  y = Squeeze(b, axes)",
         constants={"w1": weights("w1", 1, 24, 5), "r1": weights("r1", 1, 24, 6), "w2": weights("w2", 1, 16, 6),
                    "r2": weights("r2", 1, 16, 4), "axes": np.array([1])},
         oracle="onnxruntime", reduction=100, scale=1.0),
    case("gru_of_transposed", "float[2,3,5] x", "t = Transpose<perm=[1,0,2]>(x)  a, h = GRU<hidden_size=6>(t, w, r)  y = Transpose<perm=[2,0,1,3]>(a)",
         constants={"w": weights("w", 1, 18, 5), "r": weights("r", 1, 18, 6)}, oracle="onnxruntime", reduction=100, scale=1.0),
    case("lstm_stream", "float[1,1,4] x, float[2,1,6] state",
         "h, c = Split<axis=0>(state)  y, hn, cn = LSTM<hidden_size=6>(x, w, r, b, , h, c)  next = Concat<axis=0>(hn, cn)",
         "float[] y, float[] next",
         constants={"w": weights("w", 1, 24, 4), "r": weights("r", 1, 24, 6), "b": weights("b", 1, 48)},
         oracle="onnxruntime", reduction=100, scale=1.0),
]  # fmt: skip
