"""The benchmark models: PyTorch modules with seeded random weights, exported to ONNX on first use.

`path(name)` gives the ONNX file, `inputs(name, batch)` a feed for it. Files lie in `$INGOT_BENCH_MODELS` or
`~/.cache/ingot/bench-models`, their names carry a hash of this script, so an edit rebuilds them.

    python bench/models.py [NAME...]     export, check against ONNX Runtime, print a table
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

SEED = 20240607

Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Spec:
    """One model. `feed(batch, rng)` makes its inputs; `symbols[input][axis]` names its dynamic dimensions.

    `legacy` exports through TorchScript, which keeps recurrent layers as one ONNX operator.
    """

    build: Callable[[], nn.Module]
    feed: Callable[[int, np.random.Generator], Feed]
    symbols: dict[str, dict[int, str]]
    output: str
    opset: int = 18
    legacy: bool = False


class ConvNorm(nn.Sequential):
    """Convolution with same padding, BatchNorm, activation (None: linear). NCHW."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(c_out), *([act()] if act else []))


class Head(nn.Sequential):
    """Global average pooling and a linear classifier. [N,C,H,W] -> [N,classes]."""

    def __init__(self, channels: int, classes: int = 1000) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class Bottleneck(nn.Module):
    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        c_out = width * 4
        self.body = nn.Sequential(
            ConvNorm(c_in, width),
            ConvNorm(width, width, 3, stride),
            ConvNorm(width, c_out, act=None),
        )
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else ConvNorm(c_in, c_out, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """ResNet-50 v1.5 (He et al. 2015, stride in the 3x3 convolution)."""
    layers: list[nn.Module] = [ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c_in = 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            layers.append(Bottleneck(c_in, width, stride if i == 0 else 1))
            c_in = width * 4
    return nn.Sequential(*layers, Head(c_in))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            act(),
            nn.Conv2d(squeezed, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x)


class InvertedResidual(nn.Module):
    """Expand, depthwise, optional squeeze-and-excite, project; a shortcut where the shapes agree."""

    def __init__(
        self,
        c_in: int,
        wide: int,
        c_out: int,
        kernel: int,
        stride: int,
        act: type[nn.Module],
        excite: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [] if wide == c_in else [ConvNorm(c_in, wide, act=act)]
        layers.append(ConvNorm(wide, wide, kernel, stride, wide, act))
        if excite is not None:
            layers.append(excite)
        layers.append(ConvNorm(wide, c_out, act=None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.residual else y


def mobilenetv2() -> nn.Module:
    """MobileNetV2 1.0 (Sandler et al. 2018, table 2)."""
    layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2, act=nn.ReLU6)]
    c_in = 32
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expand, c_out, depth, stride in rows:
        for i in range(depth):
            layers.append(InvertedResidual(c_in, c_in * expand, c_out, 3, stride if i == 0 else 1, nn.ReLU6))
            c_in = c_out
    return nn.Sequential(*layers, ConvNorm(c_in, 1280, act=nn.ReLU6), Head(1280))


def _multiple_of_8(x: float) -> int:
    rounded = max(8, int(x + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * x else rounded


def mobilenetv3_large() -> nn.Module:
    """MobileNetV3-Large 1.0 (Howard et al. 2019, table 1)."""
    relu, hard = nn.ReLU, nn.Hardswish
    rows = (
        (3, 16, 16, False, relu, 1),
        (3, 64, 24, False, relu, 2),
        (3, 72, 24, False, relu, 1),
        (5, 72, 40, True, relu, 2),
        (5, 120, 40, True, relu, 1),
        (5, 120, 40, True, relu, 1),
        (3, 240, 80, False, hard, 2),
        (3, 200, 80, False, hard, 1),
        (3, 184, 80, False, hard, 1),
        (3, 184, 80, False, hard, 1),
        (3, 480, 112, True, hard, 1),
        (3, 672, 112, True, hard, 1),
        (5, 672, 160, True, hard, 2),
        (5, 960, 160, True, hard, 1),
        (5, 960, 160, True, hard, 1),
    )
    layers: list[nn.Module] = [ConvNorm(3, 16, 3, 2, act=hard)]
    c_in = 16
    for kernel, wide, c_out, excite, act, stride in rows:
        gate = SqueezeExcite(wide, _multiple_of_8(wide / 4), nn.ReLU, nn.Hardsigmoid) if excite else None
        layers.append(InvertedResidual(c_in, wide, c_out, kernel, stride, act, gate))
        c_in = c_out
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(960, 1280), hard(), nn.Linear(1280, 1000))
    return nn.Sequential(*layers, ConvNorm(c_in, 960, act=hard), *head)


def efficientnet_b0() -> nn.Module:
    """EfficientNet-B0 (Tan and Le 2019, table 1)."""
    rows = (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )
    layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2, act=nn.SiLU)]
    c_in = 32
    for expand, kernel, stride, c_out, depth in rows:
        for i in range(depth):
            wide = c_in * expand
            gate = SqueezeExcite(wide, max(1, c_in // 4), nn.SiLU, nn.Sigmoid)
            layers.append(InvertedResidual(c_in, wide, c_out, kernel, stride if i == 0 else 1, nn.SiLU, gate))
            c_in = c_out
    return nn.Sequential(*layers, ConvNorm(c_in, 1280, act=nn.SiLU), Head(1280))


class ShuffleUnit(nn.Module):
    """Half of the channels pass (stride 1), or all go both ways (stride 2); then they are shuffled."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        half = c_out // 2
        self.split = stride == 1
        self.left = (
            nn.Identity()
            if self.split
            else nn.Sequential(ConvNorm(c_in, c_in, 3, stride, c_in, act=None), ConvNorm(c_in, half))
        )
        self.right = nn.Sequential(
            ConvNorm(half if self.split else c_in, half),
            ConvNorm(half, half, 3, stride, half, act=None),
            ConvNorm(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1) if self.split else (x, x)
        y = torch.cat((self.left(a), self.right(b)), 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenetv2() -> nn.Module:
    """ShuffleNetV2 1.0x (Ma et al. 2018, table 5)."""
    layers: list[nn.Module] = [ConvNorm(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    c_in = 24
    for c_out, depth in ((116, 4), (232, 8), (464, 4)):
        for i in range(depth):
            layers.append(ShuffleUnit(c_in, c_out, 2 if i == 0 else 1))
            c_in = c_out
    return nn.Sequential(*layers, ConvNorm(c_in, 1024), Head(1024))


class C2f(nn.Module):
    """Split in two, run `depth` two-convolution blocks on the last part, concatenate every stage, mix."""

    def __init__(self, c_in: int, c_out: int, depth: int, shortcut: bool) -> None:
        super().__init__()
        half = c_out // 2
        self.shortcut = shortcut
        self.enter = ConvNorm(c_in, c_out, act=nn.SiLU)
        self.leave = ConvNorm((2 + depth) * half, c_out, act=nn.SiLU)
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNorm(half, half, 3, act=nn.SiLU), ConvNorm(half, half, 3, act=nn.SiLU))
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            y = block(parts[-1])
            parts.append(parts[-1] + y if self.shortcut else y)
        return self.leave(torch.cat(parts, 1))


class SpatialPyramid(nn.Module):
    """SPPF: three chained 5x5 max-poolings, concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = ConvNorm(channels, channels // 2, act=nn.SiLU)
        self.leave = ConvNorm(channels * 2, channels, act=nn.SiLU)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Yolov8n(nn.Module):
    """A detector shaped like YOLOv8-nano.

    [N,3,S,S] in 0..1 -> [N,4+80,S*S*21/1024]: cx, cy, w, h in pixels, then the classes' scores.
    """

    BINS = 16
    CLASSES = 80
    STRIDES = (8, 16, 32)

    def __init__(self, size: int = 640) -> None:
        super().__init__()

        def down(c_in: int, c_out: int) -> nn.Module:
            return ConvNorm(c_in, c_out, 3, 2, act=nn.SiLU)

        self.to_p3 = nn.Sequential(
            down(3, 16), down(16, 32), C2f(32, 32, 1, True), down(32, 64), C2f(64, 64, 2, True)
        )
        self.to_p4 = nn.Sequential(down(64, 128), C2f(128, 128, 2, True))
        self.to_p5 = nn.Sequential(down(128, 256), C2f(256, 256, 1, True), SpatialPyramid(256))
        self.up4 = C2f(256 + 128, 128, 1, False)
        self.up3 = C2f(128 + 64, 64, 1, False)
        self.down4 = down(64, 64)
        self.out4 = C2f(64 + 128, 128, 1, False)
        self.down5 = down(128, 128)
        self.out5 = C2f(128 + 256, 256, 1, False)
        self.box = nn.ModuleList(self._branch(c, 64, 4 * self.BINS) for c in (64, 128, 256))
        self.cls = nn.ModuleList(self._branch(c, 80, self.CLASSES) for c in (64, 128, 256))
        centres, strides = [], []
        for stride in self.STRIDES:
            cells = torch.arange(size // stride) + 0.5
            y, x = torch.meshgrid(cells, cells, indexing="ij")
            centres.append(torch.stack((x.flatten(), y.flatten())))
            strides.append(torch.full((1, x.numel()), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1)[None])
        self.register_buffer("bins", torch.arange(self.BINS, dtype=torch.float32).view(1, self.BINS, 1, 1))

    @staticmethod
    def _branch(c_in: int, width: int, c_out: int) -> nn.Module:
        return nn.Sequential(
            ConvNorm(c_in, width, 3, act=nn.SiLU),
            ConvNorm(width, width, 3, act=nn.SiLU),
            nn.Conv2d(width, c_out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        p3 = self.to_p3(x)
        p4 = self.to_p4(p3)
        p5 = self.to_p5(p4)
        u4 = self.up4(torch.cat((F.interpolate(p5, scale_factor=2.0, mode="nearest"), p4), 1))
        u3 = self.up3(torch.cat((F.interpolate(u4, scale_factor=2.0, mode="nearest"), p3), 1))
        d4 = self.out4(torch.cat((self.down4(u3), u4), 1))
        d5 = self.out5(torch.cat((self.down5(d4), p5), 1))
        levels = (u3, d4, d5)
        boxes = torch.cat([branch(y).flatten(2) for branch, y in zip(self.box, levels, strict=True)], 2)
        scores = torch.cat([branch(y).flatten(2) for branch, y in zip(self.cls, levels, strict=True)], 2)
        n, _, cells = boxes.shape
        weights = boxes.view(n, 4, self.BINS, cells).transpose(1, 2).softmax(1)
        near, far = F.conv2d(weights, self.bins.view(1, self.BINS, 1, 1)).view(n, 4, cells).chunk(2, 1)
        low, high = self.centres - near, self.centres + far
        decoded = torch.cat(((low + high) / 2, high - low), 1) * self.strides
        return torch.cat((decoded, scores.sigmoid()), 1)


class Attention(nn.Module):
    """Multi-head self-attention with one linear for queries, keys and values. [N,T,D] -> [N,T,D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, t, d))


class EncoderBlock(nn.Module):
    """Transformer block, normalised before each part (ViT)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VitTiny(nn.Module):
    """ViT-Ti/16 (Dosovitskiy et al. 2020, sizes of DeiT-Ti). [N,3,224,224] -> [N,1000]."""

    def __init__(self, dim: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, 197, dim) * 0.2)
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.classify = nn.Linear(dim, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.position
        return self.classify(self.norm(self.blocks(x))[:, 0])


class BertLayer(nn.Module):
    """Transformer block, normalised after each part, with separate query, key and value linears (BERT)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-12), nn.LayerNorm(dim, 1e-12)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            f(x).view(n, t, self.heads, d // self.heads).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = self.norm1(x + self.out(y.transpose(1, 2).reshape(n, t, d)))
        return self.norm2(x + self.mlp(x))


class Bert(nn.Module):
    """BERT encoder (Devlin et al. 2018). int64 [N,S], int64 [N,S] -> last hidden state [N,S,dim]."""

    def __init__(self, depth: int = 12, dim: int = 768, heads: int = 12, vocabulary: int = 30522) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(512, dim)
        self.types = nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim, 1e-12)
        self.layers = nn.ModuleList(BertLayer(dim, heads) for _ in range(depth))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        steps = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.positions(steps) + self.types.weight[0]
        x = self.norm(x)
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        return x


class Unet(nn.Module):
    """U-Net (Ronneberger et al. 2015), same padding, BatchNorm. [N,3,H,W] -> logits [N,classes,H,W]."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256, 512), classes: int = 2) -> None:
        super().__init__()
        self.downs = nn.ModuleList(
            nn.Sequential(ConvNorm(a, b, 3), ConvNorm(b, b, 3))
            for a, b in zip((3, *widths), widths, strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.mixes = nn.ModuleList(nn.Sequential(ConvNorm(2 * b, b, 3), ConvNorm(b, b, 3)) for _, b in pairs)
        self.classify = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, down in enumerate(self.downs):
            x = down(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for up, mix, skip in zip(self.ups, self.mixes, skips[-2::-1], strict=True):
            x = mix(torch.cat((skip, up(x)), 1))
        return self.classify(x)


class Recurrent(nn.Module):
    """Two recurrent layers of 256 and a linear head. [N,64,64] (batch, time, features) -> [N,64,32]."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layers = layer(64, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)[0])


def _images(size: int, unit: bool = False) -> Callable[[int, np.random.Generator], Feed]:
    """[N,3,size,size] float32: coarse blocks under fine noise, of variance near 1, or squeezed into 0..1."""

    def feed(batch: int, rng: np.random.Generator) -> Feed:
        coarse = rng.standard_normal((batch, 3, size // 32, size // 32)).repeat(32, 2).repeat(32, 3)
        x = 0.9 * coarse + 0.4 * rng.standard_normal((batch, 3, size, size))
        return {"x": (np.clip(0.5 + 0.25 * x, 0, 1) if unit else x).astype(np.float32)}

    return feed


def _tokens(length: int) -> Callable[[int, np.random.Generator], Feed]:
    """input_ids and attention_mask int64 [N,length]; each row but the first is padded to a random length."""

    def feed(batch: int, rng: np.random.Generator) -> Feed:
        ids = rng.integers(1000, 30522, (batch, length))
        lengths = rng.integers(length // 2, length + 1, batch)
        lengths[0] = length
        mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
        return {"input_ids": ids * mask, "attention_mask": mask}

    return feed


def _sequences(batch: int, rng: np.random.Generator) -> Feed:
    return {"x": rng.standard_normal((batch, 64, 64)).astype(np.float32)}


_X = {"x": {0: "N"}}
_IDS = {"input_ids": {0: "N"}, "attention_mask": {0: "N"}}
_IDS_DYNAMIC = {"input_ids": {0: "N", 1: "S"}, "attention_mask": {0: "N", 1: "S"}}

MODELS: dict[str, Spec] = {
    "resnet50": Spec(resnet50, _images(224), _X, "logits"),
    "mobilenetv2": Spec(mobilenetv2, _images(224), _X, "logits"),
    "mobilenetv3_large": Spec(mobilenetv3_large, _images(224), _X, "logits"),
    "efficientnet_b0": Spec(efficientnet_b0, _images(224), _X, "logits"),
    "shufflenetv2": Spec(shufflenetv2, _images(224), _X, "logits"),
    "yolov8n": Spec(Yolov8n, _images(640, unit=True), _X, "detections"),
    "vit_tiny": Spec(VitTiny, _images(224), _X, "logits", opset=20),
    "bert_base": Spec(Bert, _tokens(128), _IDS, "last_hidden_state"),
    "bert_dynamic": Spec(lambda: Bert(depth=2), _tokens(48), _IDS_DYNAMIC, "last_hidden_state"),
    "unet": Spec(Unet, _images(256), _X, "logits"),
    "lstm": Spec(lambda: Recurrent(nn.LSTM), _sequences, _X, "y", legacy=True),
    "gru": Spec(lambda: Recurrent(nn.GRU), _sequences, _X, "y", legacy=True),
}


def inputs(name: str, batch: int = 1, seed: int = 0) -> Feed:
    """A feed for the model: the same arrays for the same arguments."""
    return MODELS[name].feed(batch, np.random.default_rng([seed, batch]))


def path(name: str) -> Path:
    """The model's ONNX file, exported now if this version of the script has not yet done so."""
    folder = Path(os.environ.get("INGOT_BENCH_MODELS") or Path.home() / ".cache/ingot/bench-models")
    target = folder / f"{name}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}.onnx"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            export(name, Path(aside) / target.name)
            (Path(aside) / target.name).rename(target)
        for stale in folder.glob(f"{name}-????????????.onnx"):
            if stale != target:
                stale.unlink(missing_ok=True)
    return target


def module(name: str) -> nn.Module:
    """The model, in eval mode: weights of variance 1/fan-in, BatchNorm statistics from its own activations.

    BatchNorm biases have mean 0.5, as random networks without bias are chaotic, unlike trained ones: rounding
    the operands to bfloat16 then moves the convolutional models' outputs 4 to 14 times further.
    """
    spec = MODELS[name]
    torch.manual_seed(SEED)
    model = spec.build()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.normal_(m.weight, std=m.weight[0].numel() ** -0.5)
            if m.bias is not None:
                nn.init.normal_(m.bias, std=0.1)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.0)
            nn.init.normal_(m.bias, 0.5, 0.5)
        elif isinstance(m, nn.LayerNorm):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.2)
    for m in norms:
        m.momentum = 1.0
    if norms:
        model.train()
        with torch.no_grad():
            model(*_tensors(inputs(name, batch=4, seed=1)))
    return model.eval()


def _tensors(feed: Feed) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(a) for a in feed.values())


def export(name: str, target: Path) -> None:
    """Write the model to `target` as one self-contained ONNX file, having checked that its outputs vary."""
    spec = MODELS[name]
    model = module(name)
    feed = inputs(name, batch=2)
    with torch.no_grad():
        y = model(*_tensors(feed))
    spread = (y[0] - y[1]).abs().max() / y.abs().max()
    assert torch.isfinite(y).all(), name
    assert spread > 0.02, (name, spread)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    common = {"input_names": list(feed), "output_names": [spec.output], "opset_version": spec.opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if spec.legacy:
            axes = {**spec.symbols, spec.output: {0: "N"}}
            torch.onnx.export(model, _tensors(feed), target, dynamo=False, dynamic_axes=axes, **common)
            return
        dims = {s: torch.export.Dim(s) for axes in spec.symbols.values() for s in axes.values()}
        dynamic = tuple({axis: dims[s] for axis, s in spec.symbols[i].items()} for i in feed)
        torch.onnx.export(
            model,
            _tensors(feed),
            target,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
            **common,
        )


def macs(name: str, model: nn.Module) -> int:
    """Multiply-accumulates at batch 1 of convolutions, matrix products, attention and recurrent cells."""
    from torch.utils.flop_counter import FlopCounterMode

    feed = inputs(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*_tensors(feed))
    recurrent = [m for m in model.modules() if isinstance(m, nn.RNNBase)]
    steps = feed["x"].shape[1] if recurrent else 0
    cells = sum(p.numel() for m in recurrent for k, p in m.named_parameters() if k.startswith("weight"))
    heads = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    return steps * (cells + heads) if recurrent else counter.get_total_flops() // 2


def check(name: str) -> tuple[int, float]:
    """Compare PyTorch with ONNX Runtime at batch 1, 3, and a shorter sequence where its length is dynamic.

    Returns the ONNX node count and the largest difference. Raises AssertionError where the two disagree.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path(name)), options, providers=["CPUExecutionProvider"])
    model = module(name)
    worst = 0.0
    feeds = [inputs(name, 1), inputs(name, 3)]
    if any("S" in axes.values() for axes in MODELS[name].symbols.values()):
        feeds.append({k: v[:, :37] for k, v in inputs(name, 2).items()})
    for feed in feeds:
        with torch.no_grad():
            expected = model(*_tensors(feed)).numpy()
        (actual,) = session.run(None, feed)
        assert actual.shape == expected.shape, (name, actual.shape, expected.shape)
        worst = max(worst, float(np.abs(actual - expected).max()))
        assert worst <= 3e-5 * float(np.abs(expected).max()), (name, worst)
    return len(onnx.load(path(name), load_external_data=False).graph.node), worst


def main(names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    torch.set_num_threads(1)
    table = Table("model", "nodes", "parameters", "MACs", "bytes", "|torch-ORT|")
    for name in names or MODELS:
        nodes, worst = check(name)
        model = module(name)
        parameters = sum(p.numel() for p in model.parameters())
        size = path(name).stat().st_size
        table.add_row(
            name, f"{nodes}", f"{parameters:,}", f"{macs(name, model):,}", f"{size:,}", f"{worst:.1e}"
        )
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
