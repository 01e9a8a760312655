"""The form of an instruction and the C names of vector types."""

from __future__ import annotations

from dataclasses import dataclass

BYTES = ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1", "i4", "u4", "i2", "u2")
"""The types of storage whose elements are bytes; a type of less than eight bits leaves the upper ones zero."""
C_TYPES = {
    "f64": "double",
    "f32": "float",
    "f16": "_Float16",
    "bf16": "uint16_t",
    "i64": "int64_t",
    "i32": "int32_t",
    "i16": "int16_t",
    "i8": "int8_t",
    "u64": "uint64_t",
    "u32": "uint32_t",
    "u16": "uint16_t",
    "u8": "uint8_t",
    "bool": "uint8_t",
    **dict.fromkeys(BYTES, "uint8_t"),
    "str": "ingot_string",
}
SIZES = {
    "f64": 8,
    "f32": 4,
    "f16": 2,
    "bf16": 2,
    "i64": 8,
    "i32": 4,
    "i16": 2,
    "i8": 1,
    "u64": 8,
    "u32": 4,
    "u16": 2,
    "u8": 1,
}


@dataclass(frozen=True)
class Instruction:
    """result, parameters: C types. body: C statements; parameters are a, b, c (values), p (address), n (count)."""

    name: str
    result: str
    parameters: tuple[str, ...]
    body: str

    def text(self) -> str:
        return f"static inline {self.result} {self.name}({', '.join(self.parameters)}) {{ {self.body} }}"


def type_name(dtype: str, lanes: int) -> str:
    """The C type of a value: `float`, `f32x16`; a bool is a byte."""
    return C_TYPES[dtype] if lanes == 1 else suffix(dtype, lanes)


def suffix(dtype: str, lanes: int) -> str:
    """The type part of an instruction's name: `f32`, `f32x16`."""
    dtype = "u8" if dtype == "bool" or dtype in BYTES else dtype
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def parse(kind: str) -> tuple[str, int]:
    """(dtype, lanes) of the type part of an instruction's name."""
    dtype, _, lanes = kind.partition("x")
    return dtype, int(lanes or 1)


def function(name: str, kind: str, parameters: str, body: str, result: str | None = None) -> Instruction:
    """An instruction `name_kind` on values of that type; parameters: letters, a value each."""
    own = type_name(*parse(kind))
    return Instruction(f"{name}_{kind}", result or own, tuple(f"{own} {p}" for p in parameters), body)
