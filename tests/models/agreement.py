"""Whole models: a compiled one against ONNX Runtime, at several batches and thread counts."""

from __future__ import annotations

from pathlib import Path

import onnx

import ingot
from ingot.runtime import Port, Session
from ingot.testing import CLOSE, Array, Feed, assert_close, lengths, reference

THREADS = (1, 2)
LIBRARY_LIMIT = 1 << 20
ARENA_LIMIT = 1.15


def assert_agrees(
    package: ingot.Package, model: str | Path | onnx.ModelProto, feed: Feed, scale: float = 0.0
) -> list[Array]:
    """The outputs of a package: CLOSE to those of ONNX Runtime, and the same bits for every thread count and again."""
    expected = reference(model, feed)
    bounds = lengths(model)
    outputs: list[list[Array]] = []
    for threads in THREADS:
        session = ingot.load(package, threads=threads)
        outputs += [session.run(None, feed), session.run(None, feed)]
    for port, got, wanted in zip(session.get_outputs(), outputs[0], expected, strict=True):
        try:
            assert_close(got, wanted, CLOSE, scale=scale, **bounds)
        except AssertionError as error:
            raise AssertionError(f"output {port.name!r}: {error}") from None
    for i, again in enumerate(outputs[1:], 1):
        for port, a, b in zip(session.get_outputs(), outputs[0], again, strict=True):
            assert same_bits(a, b), f"output {port.name!r}: run {i} gives other bits than run 0"
    return outputs[0]


def assert_first_is_alone(session: Session, feed: Feed, outputs: list[Array]) -> None:
    """The first row of a batch has the bits that it has without the others."""
    symbol = session.get_inputs()[0].shape[0]
    assert isinstance(symbol, str), "the batch is no symbol of this package"
    alone = {port.name: first(port, feed[port.name], symbol) for port in session.get_inputs()}
    for port, one, many in zip(session.get_outputs(), session.run(None, alone), outputs, strict=True):
        assert one.size < many.size
        assert same_bits(one, first(port, many, symbol)), f"output {port.name!r} depends on the batch"


def first(port: Port, array: Array, symbol: str) -> Array:
    """What is left of `array` where the size `symbol` becomes 1."""
    return array[tuple(slice(0, 1) if size == symbol else slice(None) for size in port.shape)]


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_small(package: ingot.Package) -> None:
    """The library and the arena are within the marks; an arena whose sizes mix two symbols is not compared, because
    no one plan is the best for all their values."""
    report = package.report
    assert report["library_bytes"] <= LIBRARY_LIMIT
    if len(package.manifest["symbols"]) > 1:
        return
    assert report["arena_bytes"] <= ARENA_LIMIT * report["arena_lower_bound"]
