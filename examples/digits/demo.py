"""Casts digits.onnx into a native library, recognises the pictures with it, and puts it beside ONNX Runtime.

    python examples/digits/demo.py [PACKAGE]     the package is left in PACKAGE (default: build/digits.ingot)

Exits with 1 where ingot and ONNX Runtime disagree.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from rich.console import Console
from rich.table import Table

import ingot
from ingot.testing import CLOSE, assert_close, lengths, reference

HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits.onnx"
GREY_PER_INK = 15
ROUNDS, RUNS = 31, 200

Recognise = Callable[[np.ndarray], np.ndarray]


def read_picture(path: Path) -> np.ndarray:
    """The ink of a picture that train.py wrote, exactly: float32 [1,1,8,8], 0..16."""
    with Image.open(path) as opened:
        cells = opened.convert("L").resize((8, 8), Image.Resampling.NEAREST)
    return (np.asarray(cells, np.float32) / GREY_PER_INK)[None, None]


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def time_interleaved(engines: dict[str, Recognise], picture: np.ndarray) -> dict[str, float]:
    """Median seconds of one run by engine. The engines take turns: a change of clock hits them alike."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, recognise in engines.items():
            start = time.perf_counter()
            for _ in range(RUNS):
                recognise(picture)
            taken[name].append((time.perf_counter() - start) / RUNS)
    return {name: statistics.median(times) for name, times in taken.items()}


def show_pictures(console: Console, recognise: Recognise, labels: list[str]) -> None:
    table = Table("picture", "true", "recognised", "probability", title="Recognised by the library")
    for path in sorted((HERE / "pictures").glob("*.png")):
        probabilities = softmax(recognise(read_picture(path)))[0]
        best = int(probabilities.argmax())
        true = path.stem.split("_")[0]
        colour = "green" if labels[best] == true else "red"
        table.add_row(path.name, true, f"[{colour}]{labels[best]}[/]", f"{probabilities[best]:.1%}")
    console.print(table)


def main() -> int:
    console = Console()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "build" / "digits.ingot"
    folder.parent.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    package = ingot.compile(MODEL)
    package.save(folder)
    console.print(f"Compiled {MODEL.name} into {folder} in {time.perf_counter() - start:.1f} s")

    session = ingot.load(folder, threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    peer = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    engines: dict[str, Recognise] = {
        "ingot": lambda image: session.run(None, {"image": image})[0],
        "ONNX Runtime": lambda image: peer.run(None, {"image": image})[0],
    }
    show_pictures(console, engines["ingot"], (HERE / "labels.txt").read_text().split())

    held_out = np.load(HERE / "held_out.npz")
    images, truth = held_out["pictures"][:, None].astype(np.float32), held_out["labels"]
    logits = {name: recognise(images) for name, recognise in engines.items()}
    right = {name: int((y.argmax(1) == truth).sum()) for name, y in logits.items()}
    seconds = time_interleaved(engines, images[:1])
    memory: dict[str, Any] = package.manifest["memory"]

    table = Table("", *engines, title=f"{len(truth)} held-out pictures, one thread")
    table.add_row("accuracy", *(f"{right[name] / len(truth):.2%}" for name in engines))
    table.add_row("median time of a picture", *(f"{seconds[name] * 1e6:.1f} µs" for name in engines))
    table.add_row("library", f"{memory['library_bytes']:,} bytes", "")
    table.add_row("weights", f"{memory['weights_bytes']:,} bytes", "")
    table.add_row("arena", f"{memory['arena_bytes']:,} bytes", "")
    table.add_row("arena's lower bound", f"{memory['arena_lower_bound']:,} bytes", "")
    console.print(table)

    (exact,) = reference(MODEL, {"image": images})
    largest = float(np.abs(logits["ingot"] - exact).max())
    same = all(
        bool((logits["ingot"].argmax(1) == y.argmax(1)).all()) for y in (exact, logits["ONNX Runtime"])
    )
    console.print(f"Largest difference of a logit from ONNX Runtime without optimisations: {largest:.2g}")
    console.print(f"Same class for every picture: {'yes' if same else 'NO'}")
    try:
        assert_close(logits["ingot"], exact, CLOSE, **lengths(MODEL))
    except AssertionError as error:
        console.print(f"The logits differ by more than rounding. {error}", markup=False, style="red")
        return 1
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
