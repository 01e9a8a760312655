"""Protobuf's text format (prototxt) without a schema: a message is a dict from field names to lists of values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar, Union

from ingot.errors import IngotError

T = TypeVar("T")
Value = Union[str, bytes, "Message"]
"""What a field holds: a number or word as it was written, the bytes of a string, or a message."""

MAX_DEPTH = 32
"""Deepest nesting; Caffe's own schema has six levels."""

_TOKEN = re.compile(
    r"""(?P<skip>[\s]+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>-?\s*[A-Za-z_][\w.]*)
      | (?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?))
      | (?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class Message(dict[str, list[Value]]):
    """Fields by name, each with all its values in order. line, where: the line of the file at which it starts.

    A reader of a single value takes the last one, as protobuf does. Raises IngotError model-invalid for a value of
    another kind.
    """

    def __init__(self, line: int, where: str) -> None:
        super().__init__()
        self.line, self.where = line, where

    def ints(self, name: str) -> list[int]:
        return [self._parse(name, v, lambda text: int(text, 0), "an integer") for v in self.get(name, ())]

    def floats(self, name: str) -> list[float]:
        return [self._parse(name, v, _float, "a number") for v in self.get(name, ())]

    def int(self, name: str, default: int = 0) -> int:
        return (self.ints(name) or [default])[-1]

    def float(self, name: str, default: float = 0.0) -> float:
        return (self.floats(name) or [default])[-1]

    def bool(self, name: str, default: bool = False) -> bool:
        words = {
            "true": True,
            "True": True,
            "t": True,
            "1": True,
            "false": False,
            "False": False,
            "f": False,
            "0": False,
        }
        values = [self._parse(name, v, lambda text: words[text], "true or false") for v in self.get(name, ())]
        return values[-1] if values else default

    def word(self, name: str, default: str = "", numbers: Mapping[str, str] | None = None) -> str:
        """An enum's value. numbers: the names of those that may be written as a number."""
        values = [self._parse(name, v, str, "a word") for v in self.get(name, ())]
        value = values[-1] if values else default
        return (numbers or {}).get(value, value)

    def strings(self, name: str) -> list[str]:
        found = []
        for value in self.get(name, ()):
            try:
                found.append(value.decode() if isinstance(value, bytes) else None)
            except UnicodeDecodeError:
                found.append(None)
            if found[-1] is None:
                raise _invalid(self.where, self.line, f"{name} is no string")
        return [text for text in found if text is not None]

    def string(self, name: str) -> str:
        return (self.strings(name) or [""])[-1]

    def messages(self, name: str) -> list[Message]:
        found = [value for value in self.get(name, ()) if isinstance(value, Message)]
        if len(found) < len(self.get(name, ())):
            raise _invalid(self.where, self.line, f"{name} is no message")
        return found

    def message(self, name: str) -> Message:
        """A field's message, an empty one where it is absent; the fields of several come together."""
        found = self.messages(name)
        if len(found) == 1:
            return found[0]
        merged = Message(self.line, self.where)
        for one in found:
            for key, values in one.items():
                merged.setdefault(key, []).extend(values)
        return merged

    def _parse(self, name: str, value: Value, parse: Callable[[str], T], kind: str) -> T:
        try:
            if isinstance(value, str):
                return parse(value)
        except (ValueError, KeyError):
            pass
        raise _invalid(self.where, self.line, f"{name} is not {kind}")


def _float(text: str) -> float:
    return float(text.lower().removesuffix("f") if "inf" not in text.lower() else text)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def parse_text(text: str, where: str) -> Message:
    """The message that `text` spells. Raises IngotError model-invalid with its line, model-truncated at its end."""
    stack, closers = [Message(1, where)], [""]
    tokens = _tokens(text, where)
    token = next(tokens)
    while True:
        if token.kind == "end":
            if len(stack) > 1:
                raise _truncated(where, f"the message of line {stack[-1].line} is not closed")
            return stack[0]
        if token.text == closers[-1]:
            stack.pop()
            closers.pop()
            token = next(tokens)
            continue
        if token.text in (",", ";"):
            token = next(tokens)
            continue
        if token.kind != "word":
            raise _broken(where, token, "a field's name")
        values = stack[-1].setdefault(token.text, [])
        token = next(tokens)
        if token.text == ":":
            token = next(tokens)
        elif token.text not in ("{", "<"):
            raise _broken(where, token, "':' or '{'")
        if token.text in ("{", "<"):
            if len(stack) == MAX_DEPTH:
                raise _invalid(where, token.line, f"messages are nested deeper than {MAX_DEPTH} levels")
            stack.append(Message(token.line, where))
            closers.append("}" if token.text == "{" else ">")
            values.append(stack[-1])
            token = next(tokens)
        else:
            token = _scalars(token, tokens, values, where)


def _scalars(token: _Token, tokens: Iterator[_Token], values: list[Value], where: str) -> _Token:
    """Reads a scalar or a list of them into `values`; the token after it."""
    if token.text != "[":
        return _scalar(token, tokens, values, where)
    token = next(tokens)
    while token.text != "]":
        token = _scalar(token, tokens, values, where)
        if token.text == ",":
            token = next(tokens)
        elif token.text != "]":
            raise _broken(where, token, "',' or ']'")
    return next(tokens)


def _scalar(token: _Token, tokens: Iterator[_Token], values: list[Value], where: str) -> _Token:
    if token.kind == "string":
        parts = []
        while token.kind == "string":
            parts.append(_unescape(token.text[1:-1].encode()))
            token = next(tokens)
        values.append(b"".join(parts))
        return token
    if token.kind not in ("word", "number"):
        raise _broken(where, token, "a value")
    values.append(re.sub(r"\s", "", token.text))
    return next(tokens)


def _unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, letter = match.groups()
        if octal or hexadecimal:
            return bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)])
        return _LETTERS.get(letter, letter)

    return _ESCAPE.sub(replace, text)


def _tokens(text: str, where: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _invalid(where, line, f"{text[at : at + 20]!r} is no prototxt")
        if match.lastgroup != "skip":
            yield _Token(str(match.lastgroup), match[0], line)
        line += match[0].count("\n")
        at = match.end()
    while True:
        yield _Token("end", "", line)


def _broken(where: str, token: _Token, wanted: str) -> IngotError:
    if token.kind == "end":
        return _truncated(where, f"it ends where {wanted} should stand")
    return _invalid(where, token.line, f"{token.text[:40]!r} stands where {wanted} should")


def _truncated(where: str, cause: str) -> IngotError:
    return IngotError(
        "model-truncated",
        f"the file is cut short: {cause}",
        where=where,
        remedy="copy or download the file again",
    )


def _invalid(where: str, line: int, cause: str) -> IngotError:
    return IngotError("model-invalid", f"line {line}: {cause}", where=where, remedy="correct the prototxt")
