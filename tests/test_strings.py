"""Strings at the border of a library: what a session takes and gives, and what ends in an error."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.lower.strings import PER_STRING, ROOM
from ingot.oracle import interpret_model
from ingot.runtime import Session
from ingot.runtime.strings import ELEMENT, packed, unpacked

MODEL = """<ir_version: 10, opset_import: ["" : 20]>
join (string[n] x, string[n] y) => (string[n] z, string[n] same) { z = StringConcat(x, y) same = Identity(x) }"""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(MODEL)


@pytest.fixture(scope="module")
def session(model: onnx.ModelProto) -> Session:
    return ingot.load(ingot.compile(model))


def test_str_and_bytes_in_arrays_of_any_kind(session: Session) -> None:
    words = ["a", "", "日本", "two words"]
    for given in (
        words,
        np.array(words),
        np.array(words, object),
        np.array([w.encode() for w in words], object),
    ):
        joined, same = session.run(None, {"x": given, "y": np.array(words)[::-1]})
        assert joined.tolist() == ["atwo words", "日本", "日本", "two wordsa"]
        assert same.tolist() == words
        assert joined.dtype == same.dtype == object


def test_a_zero_byte_is_a_character_as_any_other(session: Session) -> None:
    joined, same = session.run(None, {"x": np.array(["a\0b"], object), "y": np.array(["\0"], object)})
    assert (joined.tolist(), same.tolist()) == (["a\0b\0"], ["a\0b"])


def test_results_outlive_the_inputs_and_the_next_run(session: Session) -> None:
    first = session.run(None, {"x": ["first"], "y": ["!"]})
    session.run(None, {"x": ["other"], "y": ["?"]})
    assert [a.tolist() for a in first] == [["first!"], ["first"]]


@pytest.mark.parametrize(
    "wrong", [np.zeros(1), np.array([None]), np.array([b"\xff"], object), np.array(["\ud800"], object)]
)
def test_what_is_no_text_is_an_error(session: Session, wrong: np.ndarray) -> None:
    with pytest.raises(IngotError) as caught:
        session.run(None, {"x": wrong, "y": ["a"]})
    assert caught.value.code == "input-dtype"


def test_more_bytes_than_the_bound_end_the_run(session: Session) -> None:
    limit = ROOM + PER_STRING
    assert len(session.run(None, {"x": ["x" * (limit - 1)], "y": ["y"]})[0][0]) == limit
    with pytest.raises(IngotError) as caught:
        session.run(None, {"x": ["x" * limit], "y": ["y"]})
    assert caught.value.code == "run-failed"
    assert session.run(None, {"x": ["x"], "y": ["y"]})[0].tolist() == ["xy"]


def test_strings_cannot_be_bound(session: Session) -> None:
    with pytest.raises(IngotError, match="strings cannot be bound"):
        session.bind({"x": ["x"], "y": ["y"]})


def test_elements_point_to_their_bytes() -> None:
    words = np.array([["ab", ""], ["é", "c"]], object)
    elements = packed(words)
    assert elements.shape == words.shape
    assert elements.dtype == ELEMENT
    assert ctypes.string_at(int(elements["data"][1, 0]), 2) == "é".encode()
    assert unpacked(elements).tolist() == words.tolist()


def test_the_commands_take_and_print_strings(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "join.onnx")
    np.save(tmp_path / "x.npy", np.array(["é", "b"]))
    command = [
        "run",
        str(tmp_path / "join.onnx"),
        "--input",
        f"x={tmp_path / 'x.npy'}",
        "--output-dir",
        str(tmp_path),
    ]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "same: object 2\n  'é' 'b'" in shown.output
    assert np.load(tmp_path / "same.npy").tolist() == ["é", "b"]
    told = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(told.stdout)["outputs"]["same"]["first"] == ["é", "b"]
    seen = CliRunner().invoke(app, ["inspect", str(tmp_path / "join.onnx"), "--json"])
    assert '"string"' in seen.stdout


NUMBERS = """<ir_version: 10, opset_import: ["" : 21]>
numbers (string[n] x) => (KIND[n] y) { y = Cast<to=NUMBER>(x) }"""


@pytest.mark.parametrize(
    ("kind", "number", "wrong"),
    [
        ("float", 1, ["", " ", "abc", "12abc", "1_000", "0x10", "1e", "--1", ".", "e5", "infi", "1 2", "1,5", "+", "nane1", "١"]),
        ("int32", 6, ["", "NaN", "INF", "2147483648", "-2147483649", "1e10", "x"]),
        ("uint8", 2, ["-1", "256", "1e400"]),
        ("bool", 9, ["True", "false", ""]),
    ],
)  # fmt: skip
def test_what_is_no_number_ends_the_run(kind: str, number: int, wrong: list[str]) -> None:
    model = onnx.parser.parse_model(NUMBERS.replace("KIND", kind).replace("NUMBER", str(number)))
    session = ingot.load(ingot.compile(model))
    runs = [lambda feed: session.run(None, feed), interpret_model(model)]
    for word in wrong:
        for run in runs:
            with pytest.raises(IngotError, match="a string is no") as caught:
                run({"x": np.array(["1", word], object)})
            assert caught.value.code == "index-range"
    for run in runs:
        assert run({"x": np.array(["1", "0"], object)})[0].tolist() == [1, 0]
