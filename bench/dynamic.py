"""One library for many sizes, beside a library compiled for each size: python bench/dynamic.py [NAMES] [--json FILE]

For a detector of open height and width, a BERT of open batch and length, and a decoder whose cache grows, prints the
time of both, their ratio, and the largest difference of their outputs. Runs alternate in one process, on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from models import path
from onnx import TensorProto, helper, numpy_helper

import ingot
from ingot.testing import Array, Feed, data_root

Shapes = dict[str, Sequence[int | str]]
ROUNDS = 15


class Model:
    """A model, the shapes that leave it open, and feeds of several sizes."""

    def __init__(self, model: Any, open_shapes: Shapes, feeds: dict[str, Feed]) -> None:
        self.model, self.open_shapes, self.feeds = model, open_shapes, feeds


def detector() -> Model:
    rng = np.random.default_rng(1)
    sizes = ((416, 416), (320, 480), (640, 640))
    feeds = {f"{h}x{w}": {"images": rng.uniform(0, 255, (1, 3, h, w)).astype(np.float32)} for h, w in sizes}
    root = data_root()
    if root is None:
        raise SystemExit("the detector is one of the shared models: name their folder in INGOT_TEST_DATA")
    return Model(root / "models" / "yolox_nano" / "yolox_nano.onnx", {"images": (1, 3, "h", "w")}, feeds)


def bert() -> Model:
    rng = np.random.default_rng(2)
    feeds = {}
    for batch, length in ((1, 16), (1, 128), (4, 64), (1, 512)):
        shape = batch, length
        ids = rng.integers(0, 30000, shape)
        feeds[f"{batch}x{length}"] = {"input_ids": ids, "attention_mask": np.ones(shape, ids.dtype)}
    return Model(path("bert_dynamic"), {}, feeds)


LAYERS, HEADS, WIDTH, HIDDEN, WORDS = 4, 8, 512, 1408, 4096


def decoder() -> Model:
    """One step of a language model: a token and the keys and values of those before it."""
    rng = np.random.default_rng(3)
    depth = WIDTH // HEADS
    constants: dict[str, Array] = {"heads": np.array([1, 1, HEADS, depth]), "flat": np.array([1, 1, WIDTH])}
    nodes = [helper.make_node("Gather", ["words", "ids"], ["x0"])]
    constants["words"] = rng.normal(0, 0.02, (WORDS, WIDTH))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 1])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, WORDS])]

    def node(operator: str, args: list[str], result: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, args, [result], **attributes))
        return result

    def weight(name: str, *shape: int) -> str:
        constants[name] = rng.normal(0, shape[0] ** -0.5, shape)
        return name

    def norm(x: str, name: str) -> str:
        constants[f"{name}_gain"] = np.ones(WIDTH)
        return node("RMSNormalization", [x, f"{name}_gain"], name)

    constants["scale"] = np.array(depth**-0.5)
    x = "x0"
    for i in range(LAYERS):
        a = norm(x, f"a{i}")
        parts = {}
        for kind in "qkv":
            product = node("MatMul", [a, weight(f"w{kind}{i}", WIDTH, WIDTH)], f"{kind}flat{i}")
            split = node("Reshape", [product, "heads"], f"{kind}split{i}")
            parts[kind] = node("Transpose", [split], f"{kind}{i}", perm=[0, 2, 1, 3])
        for kind in "kv":
            shape = [1, HEADS, "past", depth]
            inputs.append(helper.make_tensor_value_info(f"past_{kind}{i}", TensorProto.FLOAT, shape))
            shape = [1, HEADS, "length", depth]
            outputs.append(helper.make_tensor_value_info(f"present_{kind}{i}", TensorProto.FLOAT, shape))
            node("Concat", [f"past_{kind}{i}", parts[kind]], f"present_{kind}{i}", axis=2)
        turned = node("Transpose", [f"present_k{i}"], f"kt{i}", perm=[0, 1, 3, 2])
        scores = node("Mul", [node("MatMul", [parts["q"], turned], f"s{i}"), "scale"], f"scaled{i}")
        mixed = node("MatMul", [node("Softmax", [scores], f"p{i}", axis=-1), f"present_v{i}"], f"mixed{i}")
        flat = node("Reshape", [node("Transpose", [mixed], f"m{i}", perm=[0, 2, 1, 3]), "flat"], f"o{i}")
        x = node("Add", [x, node("MatMul", [flat, weight(f"wo{i}", WIDTH, WIDTH)], f"out{i}")], f"y{i}")
        b = norm(x, f"b{i}")
        gate = node("MatMul", [b, weight(f"wg{i}", WIDTH, HIDDEN)], f"g{i}")
        up = node("MatMul", [b, weight(f"wu{i}", WIDTH, HIDDEN)], f"u{i}")
        silu = node("Mul", [gate, node("Sigmoid", [gate], f"sg{i}")], f"silu{i}")
        inner = node("Mul", [silu, up], f"inner{i}")
        x = node(
            "Add", [x, node("MatMul", [inner, weight(f"wd{i}", HIDDEN, WIDTH)], f"down{i}")], f"x{i + 1}"
        )
    node("MatMul", [norm(x, "last"), weight("head", WIDTH, WORDS)], "logits")
    initializers = [
        numpy_helper.from_array(v if v.dtype.kind == "i" else v.astype(np.float32), k)
        for k, v in constants.items()
    ]
    graph = helper.make_graph(nodes, "decoder", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    onnx.checker.check_model(model)
    feeds = {}
    for past in (1, 63, 255, 1023):
        feed: Feed = {"ids": np.array([[7]])}
        for i in range(LAYERS):
            for kind in "kv":
                feed[f"past_{kind}{i}"] = rng.normal(size=(1, HEADS, past, depth)).astype(np.float32)
        feeds[str(past)] = feed
    return Model(model, {}, feeds)


MODELS: dict[str, Callable[[], Model]] = {"detector": detector, "bert": bert, "decoder": decoder}


def compare(name: str) -> list[dict[str, Any]]:
    """A row for each size: seconds of both libraries, medians of runs in turns."""
    made = MODELS[name]()
    start = time.perf_counter()
    package = ingot.compile(made.model, shapes=made.open_shapes or None)
    print(f"{name}: one library for all sizes, compiled in {time.perf_counter() - start:.1f} s", flush=True)
    session = ingot.load(package)
    rows = []
    for size, feed in made.feeds.items():
        fixed = ingot.load(ingot.compile(made.model, shapes={k: v.shape for k, v in feed.items()}))
        bound = [s.bind(feed) for s in (session, fixed)]
        difference = max(
            float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-30))
            for a, b in zip(bound[0].run(), bound[1].run(), strict=True)
        )
        times: list[list[float]] = [[], []]
        for turn in range(ROUNDS):
            for k in (0, 1) if turn % 2 else (1, 0):
                begin = time.perf_counter()
                bound[k].run()
                times[k].append(time.perf_counter() - begin)
        open_s, fixed_s = map(statistics.median, times)
        rows.append({"model": name, "size": size, "open": open_s, "fixed": fixed_s, "difference": difference})
        print(
            f"  {size:>8}: {open_s * 1e3:8.3f} ms open, {fixed_s * 1e3:8.3f} ms fixed, "
            f"{fixed_s / open_s:.2f} x as fast, outputs differ by {difference:.1e}",
            flush=True,
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for name in options.names for row in compare(name)]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
