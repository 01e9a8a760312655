"""What the project wants of its own speed and size, and which of it a result misses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_F32: dict[str, float] = {
    "resnet50": 1.12, "mobilenetv2": 1.18, "bert_base": 1.05, "squeezenet": 1.2, "resnet20": 1.2, "ultraface": 1.35,
    "yolox_nano": 1.35, "yunet": 1.2, "resnet8": 1.2, "mnist": 2.0, "silero": 2.0, "stories260k_64": 2.0, "ad01": 2.0,
    "stories260k_1": 3.0, "efficientnet_b0": 1.1, "mobilenetv3_large": 1.1, "shufflenetv2": 1.1, "vit_tiny": 1.1,
    "unet": 1.1, "yolov8n": 1.1, "lstm": 1.1, "gru": 1.1,
}  # fmt: skip
RATIOS: dict[str, dict[str, float]] = {"f32": _F32, "bf16": {"resnet50": 1.08, "bert_base": 1.03}}
"""By precision, least speed as a multiple of the best peer's, on one thread at batch 1."""

BATCHED_RATIO = 1.05
AVX2_RATIO = 1.0
MEAN = 1.4
"""Of the ratios of all models, geometric."""

SPEED_UPS: dict[str, float] = {
    "resnet50": 1.9, "mobilenetv2": 1.9, "bert_base": 1.9, "unet": 1.9, "yolov8n": 1.9, "yunet": 1.6,
}  # fmt: skip
"""Of two threads; 1.0 for the others."""

STARTS: dict[str, float] = {"resnet50": 0.025, "squeezenet": 0.005}
"""Most seconds from loading to the first result."""

COMPILES: dict[str, float] = {"resnet50": 30.0, "mobilenetv2": 30.0, "squeezenet": 15.0}
"""Most seconds of a compilation with an empty cache on two cores."""

LIBRARY_BYTES = 1 << 20
ARENA = 1.15
"""Most bytes of the arena as a multiple of its lower bound."""


def missed(name: str, model: Mapping[str, Any], target: str, precision: str, cold: bool) -> list[str]:
    """The marks that a model does not reach, in words."""
    found = []
    one, two = (model["times"].get(threads) for threads in ("1", "2"))
    base, _, batch = name.partition("@")
    ratio = RATIOS[precision].get(base, 0.0)
    wanted = BATCHED_RATIO if batch else ratio if target != "avx2" else AVX2_RATIO
    if one and one["ratio"] is not None and one["ratio"] < wanted:
        found.append(f"{one['ratio']:.2f} x {one['best']}, wanted {wanted}")
    if one and two:
        speed_up, least = one["ingot"]["median"] / two["ingot"]["median"], SPEED_UPS.get(base, 1.0)
        if speed_up < least:
            found.append(f"{speed_up:.2f} x on two threads, wanted {least}")
    starting = model["start"].get("ingot", {}).get("start")
    if starting is not None and not batch and starting > STARTS.get(base, math.inf):
        found.append(f"starts in {starting * 1e3:.1f} ms, wanted {STARTS[base] * 1e3:.0f}")
    build = model["build"]
    if cold and build["compile_seconds"] > COMPILES.get(base, math.inf):
        found.append(f"compiles in {build['compile_seconds']:.1f} s, wanted {COMPILES[base]:.0f}")
    if build["library_bytes"] > LIBRARY_BYTES:
        found.append(f"a library of {build['library_bytes']} bytes, wanted {LIBRARY_BYTES}")
    if build["arena_bytes"] > ARENA * build["arena_lower_bound"]:
        found.append(
            f"arena {build['arena_bytes'] / build['arena_lower_bound']:.2f} x its bound, wanted {ARENA}"
        )
    return found
