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


class Deep(nn.Cell):
    """Two layers of LSTM in both directions, with states that are given, and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, bidirectional=True)
        self.gru = nn.GRU(12, 3)

    def construct(self, steps: Any, h: Any, c: Any) -> Any:
        y, (hidden, cell) = self.lstm(steps, (h, c))
        z, _ = self.gru(y)
        return z, hidden, cell


class Encoder(nn.Cell):
    """An embedding and a layer of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True)

    def construct(self, tokens: Any) -> Any:
        return self.layer(self.table(tokens))


class Pictures(nn.Cell):
    """Upwards and downwards, with the activations that are layers."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.SequentialCell(
            nn.Conv2d(3, 4, 4, stride=2, has_bias=True),
            nn.GELU(),
            nn.Conv2d(4, 4, 3, dilation=2),
            nn.HSwish(),
        )
        self.up = nn.Conv2dTranspose(4, 6, 3, stride=2, has_bias=True)
        self.more = nn.Conv2dTranspose(6, 2, 4, stride=2, pad_mode="pad", padding=1)
        self.valid = nn.Conv2dTranspose(2, 2, 3, stride=2, pad_mode="valid", group=2)
        self.gelu = nn.GELU(approximate=False)
        self.prelu, self.norm = nn.PReLU(6), nn.GroupNorm(2, 6)

    def construct(self, image: Any) -> Any:
        x = self.prelu(self.norm(self.up(self.down(image))))
        return self.valid(nn.Hardtanh()(self.more(self.gelu(x))))


class Control(nn.Cell):
    """A branch on a value of the input, and a loop whose length it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Dense(4, 4)

    def construct(self, x: Any, n: Any) -> Any:
        y = self.linear(x) if x.sum() > 0 else x - 1.0
        while n > 0:
            y = ops.tanh(self.linear(y))
            n = n - 1
        return y


class Nested(nn.Cell):
    """A loop in a loop, with a branch in it."""

    def construct(self, x: Any, n: Any) -> Any:
        i = n - n
        total = x * 0.0
        while i < n:
            j = n - n
            while j < i:
                total = total + x
                j = j + 1
            if total.sum() > 3:
                total = total * 0.5
                x = x + 1.0
            else:
                x = x - 0.25
            i = i + 1
        if x.max() > 1:
            total = total - x
        return total, x, i
