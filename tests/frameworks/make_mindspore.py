"""Checkpoints of `mindspore_networks` in FOLDER, each with inputs and outputs: `PYTHON make_mindspore.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore
import mindspore_networks
import numpy as np

INPUTS = {"Cnn": ("image", (2, 3, 16, 16)), "Lstm": ("steps", (3, 7, 4)), "Attention": ("x", (3, 9, 16))}


def main(folder: Path) -> None:
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_seed(0)
    for name, (port, shape) in INPUTS.items():
        net = getattr(mindspore_networks, name)()
        net.set_train(False)
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.savez(folder / f"{name}.npz", **{f"in:{port}": x, "out:0": net(mindspore.Tensor(x)).asnumpy()})
        mindspore.save_checkpoint(net, str(folder / f"{name}.ckpt"))


main(Path(sys.argv[1]))
