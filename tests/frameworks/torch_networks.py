"""Networks of PyTorch, each with inputs: what `make test-frameworks` has of the other frameworks too."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Linear(8, 5)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

    def forward(self, image: Tensor) -> Tensor:
        x = nn.functional.relu6(self.norm(self.first(image)))
        x = nn.functional.max_pool2d(x + nn.functional.hardswish(self.depthwise(x)), 2)
        return self.last(x.mean((2, 3))).softmax(-1)


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.last = nn.Linear(12, 3)

    def forward(self, steps: Tensor) -> Tensor:
        y, _ = self.layers(steps)
        return self.last(y[:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True)

    def forward(self, tokens: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layer(self.table(tokens))
        return x, x.mean(1) * gain


class Control(nn.Module):
    """A branch on a value of the input, and a loop whose length it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.eye(4) * 0.5 + 0.1)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        y = torch.cond(x.sum() > 0, lambda x: x @ self.weights, lambda x: x - 1.0, (x,))

        def turn(n: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return n - 1, torch.tanh(y @ self.weights)

        _, y = torch.while_loop(lambda n, y: n > 0, turn, (n, y))
        return y


def networks() -> dict[str, tuple[nn.Module, list[tuple[Tensor, ...]]]]:
    """A network by name, and inputs; what it is traced with is the first."""
    torch.manual_seed(0)
    steps = torch.arange(8.0).reshape(2, 4) / 8
    return {
        "cnn": (Cnn(), [(torch.randn(3, 3, 16, 16),)]),
        "lstm": (Lstm(), [(torch.randn(3, 7, 4),)]),
        "attention": (Attention(), [(torch.randint(0, 20, (3, 9)), torch.randn(3, 1))]),
        "control": (Control(), [(steps, torch.tensor(3)), (-steps, torch.tensor(0))]),
    }
