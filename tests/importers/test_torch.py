"""PyTorch: programs, modules and factories with checkpoints compute what PyTorch computes."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from networks import Small, small
from torch import nn

import ingot
from ingot.errors import IngotError
from ingot.frontends import importers
from ingot.testing import CLOSE, Array, assert_close, reference

SHAPES = {"x": ("N", 3, 8, 8)}


def picture(batch: int) -> Array:
    return np.random.default_rng(batch).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def assert_is(conversion: ingot.Conversion, module: nn.Module, batch: int = 3) -> None:
    """ONNX Runtime gives of a conversion what PyTorch gives of the module."""
    proto = ir.to_proto(conversion.model)
    onnx.checker.check_model(proto, full_check=True)
    (found,) = reference(proto, {proto.graph.input[0].name: picture(batch)})
    assert_close(
        found, module(torch.from_numpy(picture(batch))).detach().numpy(), CLOSE, reduction=27, scale=1
    )


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> str:
    """Names what makes a `Small` with weights of zero."""
    module = types.ModuleType("made_for_this_test")

    def make() -> nn.Module:
        net = Small()
        for parameter in net.parameters():
            nn.init.zeros_(parameter)
        return net

    module.make = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:make"


def test_a_program(tmp_path: Path) -> None:
    path = tmp_path / "small.pt2"
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(small(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: batch},)), path
    )
    assert_is(ingot.convert(path), small())
    (found,) = ingot.load(ingot.compile(path, shapes=SHAPES)).run(None, {"x": picture(5)})
    assert_close(found, small()(torch.from_numpy(picture(5))).detach().numpy(), CLOSE, reduction=27, scale=1)


def test_a_module_stays_as_it_is() -> None:
    module = small().train()
    conversion = ingot.convert(module, shapes=SHAPES)
    assert_is(conversion, module)
    assert module.training
    assert conversion.to_dict()["inputs"] == [{"name": "x", "dtype": "float", "shape": ["N", 3, 8, 8]}]


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize(("prefix", "nested"), [("", False), ("module.", True)])
def test_a_factory_and_a_checkpoint(
    legacy: bool, prefix: str, nested: bool, factory: str, tmp_path: Path
) -> None:
    state: Any = {prefix + key: value for key, value in small().state_dict().items()}
    path = tmp_path / "small.pth"
    torch.save(
        {"epoch": 3, "state_dict": state} if nested else state,
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    assert_is(ingot.convert(factory, weights=path, shapes={"x": (3, 3, 8, 8)}), small())


def test_inputs_of_other_types() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(
            self, ids: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor | None = None
        ) -> torch.Tensor:
            y = self.table(ids) * gain
            return y if shift is None else y + shift

    module = Two()
    ids, gain = np.array([[1, 2, 8]]), np.float32([[[2]]])
    proto = ir.to_proto(ingot.convert(module, inputs={"ids": ids}, shapes={"gain": (1, 1, 1)}).model)
    (found,) = reference(proto, {"ids": ids, "gain": gain})
    assert_close(found, module(torch.from_numpy(ids), torch.from_numpy(gain)).detach().numpy(), CLOSE)


class Branch(nn.Module):
    """What it does depends on a value, which torch.export does not trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if float(x.sum()) > 0 else x - 1


@pytest.mark.parametrize(
    ("model", "arguments", "code"),
    [
        (Small(), {}, "option-invalid"),
        (Small(), {"shapes": {"y": (1, 3, 8, 8)}}, "input-name"),
        (Small(), {"shapes": {"x": (1, -3, 8, 8)}}, "input-shape"),
        (Small(), {"shapes": {"x": (1, 5, 8, 8)}}, "unsupported"),
        (Branch(), {"shapes": {"x": (1,)}}, "unsupported"),
        ("no.such.module:make", {"shapes": SHAPES}, "model-not-found"),
        ("networks:NoSuchNetwork", {"shapes": SHAPES}, "model-not-found"),
        ("networks:torch.initial_seed", {"shapes": SHAPES}, "option-invalid"),
    ],
)  # fmt: skip
def test_refusals(model: Any, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.convert(model, **arguments)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.remedy


def test_a_missing_framework_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = importers.Importer("ingot.frontends.torch", "no_such_framework", "torch")
    monkeypatch.setitem(importers.IMPORTERS, "torch", missing)
    path = tmp_path / "m.pt2"
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(IngotError) as caught:
        ingot.convert(path)
    assert caught.value.code == "framework-missing"
    assert "ingot[torch]" in caught.value.remedy
