"""Networks of MindSpore, each made by a function without arguments."""

from __future__ import annotations

from typing import Any

from mindspore import nn, ops


class Cnn(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, pad_mode="pad", padding=1)
        self.norm = nn.BatchNorm2d(8, moving_mean_init="normal")
        self.depthwise = nn.Conv2d(8, 8, 3, group=8, pad_mode="same")
        self.pool = nn.MaxPool2d(2, 2)
        self.last = nn.Dense(8, 5)

    def construct(self, image: Any) -> Any:
        x = ops.relu(self.norm(self.first(image)))
        x = ops.ReduceMean()(self.pool(x + self.depthwise(x)), (2, 3))
        return ops.Softmax()(self.last(x))


class Lstm(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 6, batch_first=True)

    def construct(self, steps: Any) -> Any:
        y, _ = self.layer(steps)
        return y


class Attention(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Dense(16, 16) for _ in range(4))
        self.norm, self.softmax = nn.LayerNorm((16,)), nn.Softmax()

    def construct(self, x: Any) -> Any:
        q, k, v = [
            ops.transpose(ops.reshape(y, (3, 9, 4, 4)), (0, 2, 1, 3))
            for y in (self.q(x), self.k(x), self.v(x))
        ]
        scores = self.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.5)
        y = ops.reshape(ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3)), (3, 9, 16))
        return self.norm(x + self.out(y))
