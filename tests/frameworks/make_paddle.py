"""Networks of Paddle in FOLDER, each with inputs and Paddle's outputs: `PYTHON make_paddle.py FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec


class Cnn(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, stride=2, padding=1, bias_attr=False)
        self.norm = nn.BatchNorm2D(8)
        self.depthwise = nn.Conv2D(8, 8, 3, padding=1, groups=8)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu6(self.norm(self.first(x)))
        x = nn.functional.max_pool2d(x + nn.functional.hardswish(self.depthwise(x)), 2)
        return nn.functional.softmax(self.last(x.mean([2, 3])))


class Lstm(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(4, 6, num_layers=2, direction="bidirect")
        self.last = nn.Linear(12, 3)

    def forward(self, x: Any) -> Any:
        y, _ = self.layers(x)
        return self.last(y[:, -1])


class Attention(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu")

    def forward(self, tokens: Any, gain: Any) -> Any:
        x = self.layer(self.table(tokens))
        return x, x.mean(1) * gain


class Control(nn.Layer):
    """A branch on a value of the input, and a loop whose length it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Any, n: Any) -> Any:
        if x.sum() > 0:
            y = self.linear(x)
        else:
            y = x - 1.0
        while n > 0:
            y = paddle.tanh(self.linear(y))
            n = n - 1
        return y


def keep(path: Path, inputs: dict[str, Any], outputs: list[Any]) -> None:
    arrays = {f"in:{name}": value for name, value in inputs.items()}
    np.savez(path, **arrays, **{f"out:{place}": np.asarray(value) for place, value in enumerate(outputs)})


def save(layer: Any, folder: Path, name: str, specs: list[Any], feeds: dict[str, dict[str, Any]]) -> None:
    layer.eval()
    for feed, inputs in feeds.items():
        outputs = layer(*map(paddle.to_tensor, inputs.values()))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        keep(folder / f"{feed}.npz", inputs, [value.numpy() for value in outputs])
    paddle.jit.save(layer, str(folder / name), specs)


def main(folder: Path) -> None:
    paddle.seed(0)
    rng = np.random.default_rng(0)
    image = {"image": rng.standard_normal((3, 3, 16, 16)).astype(np.float32)}
    save(Cnn(), folder, "cnn", [InputSpec([None, 3, 16, 16], "float32", "image")], {"cnn": image})
    if not paddle.get_flags("FLAGS_enable_pir_api")["FLAGS_enable_pir_api"]:
        return
    old = folder / "old"
    old.mkdir()
    subprocess.run(
        [sys.executable, __file__, old], env=os.environ | {"FLAGS_enable_pir_api": "0"}, check=True
    )
    steps = {"steps": rng.standard_normal((3, 7, 4)).astype(np.float32)}
    save(Lstm(), folder, "lstm", [InputSpec([3, 7, 4], "float32", "steps")], {"lstm": steps})
    words = {"tokens": rng.integers(0, 20, (3, 9)), "gain": rng.standard_normal((3, 1)).astype(np.float32)}
    specs = [InputSpec([None, 9], "int64", "tokens"), InputSpec([None, 1], "float32", "gain")]
    save(Attention(), folder, "attention", specs, {"attention": words})
    specs = [InputSpec([2, 4], "float32", "x"), InputSpec([1], "int64", "n")]
    x = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
    feeds = {
        "control_then": {"x": x, "n": np.array([3])},
        "control_else": {"x": -x, "n": np.array([0])},
    }
    save(Control(), folder, "control", specs, feeds)


main(Path(sys.argv[1]))
