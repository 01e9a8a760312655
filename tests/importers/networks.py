"""The networks that the shared checkpoints were trained with, and a small one, as torch modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Two convolutions; a shortcut without weights halves the size and adds channels of zeros on both sides."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride, self.more = stride, outer - inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            half = self.more // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return torch.relu(x + y)


class ResNet20(nn.Module):
    """For CIFAR-10 (He et al., 2016), with shortcuts of type A."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Residual(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(*[Residual(32 if i else 16, 32, 1 if i else 2) for i in range(3)])
        self.layer3 = nn.Sequential(*[Residual(64 if i else 32, 64, 1 if i else 2) for i in range(3)])
        self.linear = nn.Linear(64, 10)

    def forward(self, input: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(input)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def _separable(inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, outer, 1, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(),
    )


class Unit(nn.Module):
    """Convolution and normalisation, with a ReLU if asked for."""

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int = 1, relu: bool = False) -> None:
        super().__init__()
        pad = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inner, outer, kernel, padding=pad, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(outer)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return torch.relu(y) if self.relu else y


class ReceptiveField(nn.Module):
    """Three branches of growing dilation, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(Unit(64, 8, 1), Unit(8, 16, 3, relu=True), Unit(16, 16, 3, 2))
        self.branch1 = nn.Sequential(Unit(64, 8, 1), Unit(8, 16, 3, relu=True), Unit(16, 16, 3, 3))
        middle = Unit(8, 12, 3, relu=True), Unit(12, 16, 3, relu=True)
        self.branch2 = nn.Sequential(Unit(64, 8, 1), *middle, Unit(16, 16, 3, 5))
        self.ConvLinear = Unit(48, 64, 1)
        self.shortcut = Unit(64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([self.branch0(x), self.branch1(x), self.branch2(x)], 1)
        return torch.relu(self.ConvLinear(branches) + self.shortcut(x))


def _head(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, inner, 3, 1, 1, groups=inner), nn.ReLU(), nn.Conv2d(inner, outer, 1)
    )


class UltraFace(nn.Module):
    """RFB-320 of Ultra-Light-Fast-Generic-Face-Detector-1MB: scores after a softmax, and boxes as offsets."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        sizes = [(16, 32, 1), (32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)]
        more = [(64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
        base = [first, *(_separable(*s) for s in sizes), ReceptiveField(), *(_separable(*s) for s in more)]
        self.base_net = nn.ModuleList(base)
        narrow = nn.Sequential(nn.Conv2d(64, 64, 3, 2, 1, groups=64), nn.ReLU(), nn.Conv2d(64, 256, 1))
        self.extras = nn.ModuleList([nn.Sequential(nn.Conv2d(256, 64, 1), nn.ReLU(), narrow, nn.ReLU())])
        self.classification_headers = self._heads(2)
        self.regression_headers = self._heads(4)

    @staticmethod
    def _heads(values: int) -> nn.ModuleList:
        last = nn.Conv2d(256, 3 * values, 3, 1, 1)
        return nn.ModuleList([_head(64, 3 * values), _head(128, 2 * values), _head(256, 2 * values), last])

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        x, maps = input, []
        for place, block in enumerate(self.base_net):
            x = block(x)
            if place in (7, 10, 12):
                maps.append(x)
        maps.append(self.extras[0](x))
        scores, boxes = (
            torch.cat(
                [
                    h(m).permute(0, 2, 3, 1).reshape(m.shape[0], -1, n)
                    for h, m in zip(heads, maps, strict=True)
                ],
                1,
            )
            for heads, n in ((self.classification_headers, 2), (self.regression_headers, 4))
        )
        return scores.softmax(2), boxes


class Small(nn.Module):
    """A convolution, a pool and a linear layer."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.linear = nn.Linear(channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.conv(x)).mean((2, 3)))


def small(**options: Any) -> Small:
    torch.manual_seed(0)
    return Small(**options).eval()
