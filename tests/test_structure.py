"""Models whose inputs and outputs are sequences or optionals: as libraries, sessions and ONNX backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import ingot
from ingot import onnx_backend
from ingot.errors import IngotError
from ingot.testing import EXACT, assert_close


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


TWICE = model("twice (seq(float[n]) x, float[2] z) => (seq(float[n]) y, float[2] w) { y = SequenceMap<body = f (float[n] a) => (float[n] b) "
              "{ b = Add(a, a) }>(x)  w = Neg(z) }")  # fmt: skip
OPTIONAL = model("maybe (optional(float[3]) o, float[3] x) => (float[3] y, optional(float[3]) p) { h = OptionalHasElement(o)  "
                 "y = If(h) <then_branch = t () => (float[3] a) { a = OptionalGetElement(o) }, else_branch = e () => (float[3] b) { b = Neg(x) }>  "
                 "p = Identity(o) }")  # fmt: skip
CUT = model("cut (float[6] x, int64 n) => (seq(float[k]) y) { y = SplitToSequence(x, n) }")
Z = np.array([1, 2], np.float32)


def arrays(*sizes: int) -> list[np.ndarray[Any, Any]]:
    return [np.arange(n, dtype=np.float32) for n in sizes]


def check(found: Any, wanted: Any) -> None:
    if isinstance(wanted, list):
        assert isinstance(found, list)
        for a, b in zip(found, wanted, strict=True):
            check(a, b)
    elif wanted is None:
        assert found is None
    else:
        assert_close(found, wanted, EXACT)


def test_a_sequence_is_a_list_of_arrays() -> None:
    package = ingot.compile(TWICE, shapes={"x.0": (4,), "x.1": ("m",)})
    assert package.manifest["groups"]["inputs"] == [["x", "sequence", 2], ["z", "tensor", 1]]
    session = ingot.load(package)
    assert [port.name for port in session.get_inputs()] == ["x.0", "x.1", "z"]
    assert [port.name for port in session.get_outputs()] == ["y.0", "y.1", "w"]
    for sizes in ((4, 3), (4, 7)):
        check(session.run(None, {"x": arrays(*sizes), "z": Z}), [[2 * a for a in arrays(*sizes)], -Z])
    check(session.run(["w"], {"x": arrays(4, 1), "z": Z}), [-Z])
    check(session.run(["y"], {"x": arrays(4, 1), "z": Z}), [[2 * a for a in arrays(4, 1)]])


def test_a_binding_takes_sequences_too() -> None:
    binding = ingot.load(ingot.compile(TWICE, shapes={"x.0": (4,)})).bind({"x": arrays(4), "z": Z})
    check(binding.run(), [2 * arrays(4)[0], -Z])


def test_an_empty_sequence() -> None:
    session = ingot.load(ingot.compile(TWICE, shapes={"x": ()}))
    check(session.run(None, {"x": [], "z": Z}), [[], -Z])


@pytest.mark.parametrize(("shape", "value"), [({}, arrays(3)[0]), ({"o": None}, None)])
def test_an_optional_is_a_value_or_none(shape: Any, value: Any) -> None:
    session = ingot.load(ingot.compile(OPTIONAL, shapes=shape))
    (x,) = arrays(3)
    check(session.run(None, {"o": value, "x": -x}), [x, value])


@pytest.mark.parametrize(
    ("feeds", "code"),
    [
        ({"x": arrays(4), "z": Z}, "input-shape"),
        ({"x": arrays(4)[0], "z": Z}, "input-shape"),
        ({"z": Z}, "input-shape"),
        ({"x": arrays(4, 4)}, "input-name"),
        ({"x": arrays(4, 4), "z": Z, "y": Z}, "input-name"),
        ({"x": arrays(4, 5), "z": Z}, "input-shape"),
    ],
)
def test_feeds_of_another_structure_are_refused(feeds: Any, code: str) -> None:
    session = ingot.load(ingot.compile(TWICE, shapes={"x.0": (4,), "x.1": (4,)}))
    with pytest.raises(IngotError) as caught:
        session.run(None, feeds)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("shapes", "code"),
    [({}, "shape-unknown"), ({"x.1": (3,)}, "input-name"), ({"x": (), "z": None}, "input-shape"), ({"x": (3,)}, "shape-unknown")],
)  # fmt: skip
def test_structures_that_make_no_sense(shapes: Any, code: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(TWICE, shapes=shapes)
    assert caught.value.code == code


def test_a_value_for_an_absent_optional_is_refused() -> None:
    session = ingot.load(ingot.compile(OPTIONAL, shapes={"o": None}))
    with pytest.raises(IngotError) as caught:
        session.run(None, {"o": arrays(3)[0], "x": arrays(3)[0]})
    assert caught.value.code == "input-shape"


def test_a_backend_compiles_for_each_structure_it_meets() -> None:
    prepared = onnx_backend.prepare(TWICE)
    for sizes in ((4, 3), (), (5,), (4, 3)):
        check(list(prepared.run([arrays(*sizes), Z])), [[2 * a for a in arrays(*sizes)], -Z])
    maybe = onnx_backend.prepare(OPTIONAL)
    (x,) = arrays(3)
    check(list(maybe.run([None, x])), [-x, None])
    check(list(maybe.run({"o": x, "x": x})), [x, x])


def test_a_backend_looks_at_values_where_the_structure_depends_on_them() -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(CUT)
    assert caught.value.code == "structure-unknown"
    prepared = onnx_backend.prepare(CUT)
    (x,) = arrays(6)
    for n in (2, 4, 2):
        check(list(prepared.run([x, np.int64(n)])), [[x[i : i + n] for i in range(0, 6, n)]])


def test_a_rank_that_the_model_does_not_say() -> None:
    free = model("free (float x) => (float y) { y = Neg(x) }")
    for value in (free.graph.input[0], free.graph.output[0]):
        value.type.tensor_type.ClearField("shape")
    prepared = onnx_backend.prepare(free)
    for x in (Z, Z[None]):
        check(list(prepared.run([x])), [-x])
