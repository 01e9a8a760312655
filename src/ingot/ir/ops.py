"""The elementwise operations of kernel IR and what each means, in NumPy."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from math import erf as _erf
from math import erfc as _erfc
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Meaning:
    """compute: on NumPy scalars or arrays; strings are `bytes`. cost: rough cycles a vector. boolean: the result is a bool.
    types: dtypes of the arguments and of the result, where these are not all of one dtype."""

    compute: Callable[..., Any]
    cost: int = 1
    boolean: bool = False
    types: tuple[str, ...] = ()


def _floor_mod(a: Any, b: Any) -> Any:
    return np.mod(a, b)


def _int_div(a: Any, b: Any) -> Any:
    if np.issubdtype(np.asarray(a).dtype, np.integer):
        return np.floor_divide(a, b) + ((np.mod(a, b) != 0) & ((a < 0) != (b < 0))).astype(
            np.asarray(a).dtype
        )
    return np.divide(a, b)


def _min(a: Any, b: Any) -> Any:
    """b where it is less, else a: a NaN in a stays, one in b does not count."""
    return np.where(b < a, b, a)


def _max(a: Any, b: Any) -> Any:
    """b where it is greater, else a: a NaN in a stays, one in b does not count."""
    return np.where(b > a, b, a)


def _minimum(a: Any, b: Any) -> Any:
    """The less of two, a where they are equal; NaN where one is."""
    return np.where((b < a) | (b != b), b, a)


def _maximum(a: Any, b: Any) -> Any:
    """The greater of two, a where they are equal; NaN where one is."""
    return np.where((b > a) | (b != b), b, a)


def _compare(short: str, name: str) -> Callable[[Any, Any], Any]:
    """A comparison; that of strings is by their bytes, and so by their code points."""
    numbers, strings = getattr(np, name), getattr(operator, short)
    return lambda a, b: strings(a, b) if isinstance(a, bytes) else numbers(a, b)


def _byte(text: bytes, at: Any) -> int:
    if not 0 <= at < len(text):
        raise IndexError(f"byte {at} of {len(text)}")
    return text[int(at)]


def _part(text: bytes, start: Any, length: Any) -> bytes:
    if not 0 <= start <= start + length <= len(text):
        raise IndexError(f"{length} bytes from {start} on of {len(text)}")
    return text[int(start) : int(start + length)]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _silu(x: Any) -> Any:
    return x / (1 + np.exp(-x))


def _dot(c: Any, a: Any, b: Any) -> Any:
    """c plus two products of bf16, the odd pair first; both sums round (VDPBF16PS, which flushes subnormals too)."""
    x, y = np.asarray(a).astype(np.float32), np.asarray(b).astype(np.float32)
    return (c + x[..., 1::2] * y[..., 1::2]) + x[..., ::2] * y[..., ::2]


_erf_v = np.vectorize(_erf, otypes=[np.float64])
_erfc_v = np.vectorize(_erfc, otypes=[np.float64])


def _gelu(x: Any) -> Any:
    """x times the normal distribution function of x; of minus infinity 0."""
    tail = np.minimum(np.abs(x), 40)
    lower = tail * _erfc_v(tail * math.sqrt(0.5)) / 2
    return np.where(np.isnan(x), x, np.maximum(x, 0) - lower).astype(np.asarray(x).dtype)


OPS: dict[str, Meaning] = {
    "add": Meaning(np.add),
    "sub": Meaning(np.subtract),
    "mul": Meaning(np.multiply),
    "div": Meaning(_int_div, 8),
    "fmod": Meaning(np.fmod, 20),
    "mod": Meaning(_floor_mod, 20),
    "pow": Meaning(np.power, 40),
    "fma": Meaning(lambda a, b, c: a * b + c),
    "dot": Meaning(_dot),
    "min": Meaning(_min),
    "max": Meaning(_max),
    "minimum": Meaning(_minimum, 3),
    "maximum": Meaning(_maximum, 3),
    "neg": Meaning(np.negative),
    "abs": Meaning(np.abs),
    "sign": Meaning(np.sign, 3),
    "sqrt": Meaning(np.sqrt, 12),
    "floor": Meaning(np.floor, 2),
    "ceil": Meaning(np.ceil, 2),
    "trunc": Meaning(np.trunc, 2),
    "round": Meaning(np.round, 2),
    "exp": Meaning(np.exp, 12),
    "log": Meaning(np.log, 20),
    "tanh": Meaning(np.tanh, 20),
    "sigmoid": Meaning(_sigmoid, 16),
    "silu": Meaning(_silu, 16),
    "erf": Meaning(lambda x: _erf_v(x).astype(np.asarray(x).dtype), 20),
    "gelu": Meaning(_gelu, 24),
    "sin": Meaning(np.sin, 40),
    "cos": Meaning(np.cos, 40),
    "tan": Meaning(np.tan, 60),
    "asin": Meaning(np.arcsin, 60),
    "acos": Meaning(np.arccos, 60),
    "atan": Meaning(np.arctan, 60),
    "sinh": Meaning(np.sinh, 60),
    "cosh": Meaning(np.cosh, 60),
    "asinh": Meaning(np.arcsinh, 60),
    "acosh": Meaning(np.arccosh, 60),
    "atanh": Meaning(np.arctanh, 60),
    "isnan": Meaning(np.isnan, 1, True),
    "isinf": Meaning(np.isinf, 2, True),
    "eq": Meaning(_compare("eq", "equal"), 1, True),
    "ne": Meaning(_compare("ne", "not_equal"), 1, True),
    "lt": Meaning(_compare("lt", "less"), 1, True),
    "le": Meaning(_compare("le", "less_equal"), 1, True),
    "gt": Meaning(_compare("gt", "greater"), 1, True),
    "ge": Meaning(_compare("ge", "greater_equal"), 1, True),
    "and": Meaning(np.logical_and, 1, True),
    "or": Meaning(np.logical_or, 1, True),
    "xor": Meaning(np.logical_xor, 1, True),
    "not": Meaning(np.logical_not, 1, True),
    "bitand": Meaning(np.bitwise_and),
    "bitor": Meaning(np.bitwise_or),
    "bitxor": Meaning(np.bitwise_xor),
    "bitnot": Meaning(np.bitwise_not),
    "shl": Meaning(np.left_shift),
    "shr": Meaning(np.right_shift),
    "length": Meaning(len, types=("str", "i64")),
    "byte": Meaning(_byte, types=("str", "i64", "u8")),
    "part": Meaning(_part, types=("str", "i64", "i64", "str")),
}


def neutral(name: str, dtype: str) -> float | int | bool:
    """The value that leaves a reduction unchanged. dtype: an IR dtype."""
    if name in ("add", "or"):
        return 0
    if name in ("mul", "and"):
        return 1
    if dtype in ("f16", "f32", "f64"):
        return -math.inf if name in ("max", "maximum") else math.inf
    if dtype == "bool":
        return name in ("min", "minimum")
    bits, signed = int(dtype[1:]), dtype[0] == "i"
    low = -(1 << (bits - 1)) if signed else 0
    return low if name in ("max", "maximum") else low + (1 << bits) - 1
