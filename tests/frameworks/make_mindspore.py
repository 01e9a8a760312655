"""Networks of MindSpore in FOLDER, as MindIR and as checkpoints, with inputs and outputs: `PYTHON make_mindspore.py FOLDER`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore
import mindspore_cases
import mindspore_networks
import numpy as np

normal = mindspore_cases.normal
STEPS = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
NETWORKS: dict[str, list[Any]] = {
    "Attention": [normal(3, 9, 16)],
    "Cnn": [normal(2, 3, 16, 16)],
    "Control": [STEPS, np.int32(3)],
    "Deep": [normal(7, 3, 4), normal(4, 3, 6), normal(4, 3, 6)],
    "Encoder": [np.arange(18, dtype=np.int32).reshape(2, 9)],
    "Lstm": [normal(3, 7, 4)],
    "Nested": [STEPS, np.int32(4)],
    "Pictures": [normal(2, 3, 16, 12)],
}
MORE = {"Control": {"else": [-STEPS, np.int32(0)]}, "Nested": {"short": [-STEPS, np.int32(1)]}}
"""Other inputs of networks with control flow."""


def keep(path: Path, net: Any, inputs: Sequence[Any]) -> list[Any]:
    tensors = [mindspore.Tensor(value) for value in inputs]
    found = net(*tensors)
    outputs = [value.asnumpy() for value in (found if isinstance(found, tuple) else (found,))]
    names = list(inspect.signature(net.construct).parameters)
    names = names if len(names) == len(inputs) else [f"values{place}" for place in range(len(inputs))]
    arrays = {f"in:{name}": value for name, value in zip(names, inputs, strict=True)}
    np.savez(path, **arrays, **{f"out:{place}": value for place, value in enumerate(outputs)})
    return tensors


def save(folder: Path, name: str, net: Any, inputs: Sequence[Any]) -> None:
    net.set_train(False)
    tensors = keep(folder / f"{name}.npz", net, inputs)
    for which, others in MORE.get(name, {}).items():
        keep(folder / f"{name}_{which}.npz", net, others)
    mindspore.export(net, *tensors, file_name=str(folder / name), file_format="MINDIR")


def main(folder: Path) -> None:
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_seed(0)
    for name, inputs in NETWORKS.items():
        net = getattr(mindspore_networks, name)()
        save(folder, name, net, inputs)
        mindspore.save_checkpoint(net, str(folder / f"{name}.ckpt"))
    for name, (function, inputs) in mindspore_cases.functions().items():
        save(folder, name, mindspore_cases.Of(function), inputs)
    open_ = mindspore.Tensor(shape=[None, 3, 16, None], dtype=mindspore.float32)
    net = mindspore_networks.Cnn()
    net.set_inputs(open_)
    net.set_train(False)
    mindspore.export(net, open_, file_name=str(folder / "open"), file_format="MINDIR")
    keep(folder / "open.npz", net, [normal(5, 3, 16, 20)])


main(Path(sys.argv[1]))
