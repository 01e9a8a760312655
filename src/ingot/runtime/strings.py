"""Strings as a library takes them: elements of 16 bytes, each an address and a number of bytes (`ingot_string` of ingot.h)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

ELEMENT = np.dtype([("data", np.uint64), ("bytes", np.uint64)], align=True)


def packed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements of an array of `str` or of UTF-8 in `bytes`; the memory behind them holds what they point to.

    Raises TypeError for another element, UnicodeError for one that is no Unicode text.
    """
    words = [_encoded(word) for word in array.reshape(-1).tolist()]
    text = b"".join(words)
    whole = np.empty(len(words) + -(-len(text) // ELEMENT.itemsize), ELEMENT)
    elements, letters = whole[: len(words)], whole[len(words) :].view(np.uint8)
    letters[: len(text)] = np.frombuffer(text, np.uint8)
    sizes = np.array([len(word) for word in words], np.uint64)
    elements["bytes"] = sizes
    elements["data"] = letters.__array_interface__["data"][0] + np.cumsum(sizes) - sizes
    return elements.reshape(array.shape)


def unpacked(elements: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of `str`, of what elements point to now; bytes that are no UTF-8 become U+FFFD."""
    found = np.empty(elements.shape, object)
    flat = found.reshape(-1)
    for i, (data, size) in enumerate(elements.reshape(-1).tolist()):
        flat[i] = ctypes.string_at(data, size).decode(errors="replace") if size else ""
    return found


def _encoded(word: object) -> bytes:
    if isinstance(word, bytes):
        word.decode()
        return word
    if isinstance(word, str):
        return word.encode()
    raise TypeError(f"{word!r} is a {type(word).__name__}")
