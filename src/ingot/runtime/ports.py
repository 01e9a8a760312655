"""The inputs and outputs of a package, and the element types they may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DType:
    """An element type.

    number: its number in ONNX and in the C API. bits: that one element takes; one of a type of four or two bits takes a
    byte and is its low bits. numpy: the NumPy dtype that holds it; a type that NumPy lacks is held as raw unsigned
    integers; strings are objects. c: the C type of one element. type_string: as ONNX Runtime names a tensor of it. extension: the dtype's name
    in the package ml_dtypes, empty for a type that NumPy has.
    """

    name: str
    number: int
    bits: int
    numpy: str
    c: str
    type_string: str
    extension: str = ""


def _table() -> dict[str, DType]:
    rows = (
        ("float32", 1, 32, "float32", "float", "float"),
        ("uint8", 2, 8, "uint8", "uint8_t", "uint8"),
        ("int8", 3, 8, "int8", "int8_t", "int8"),
        ("uint16", 4, 16, "uint16", "uint16_t", "uint16"),
        ("int16", 5, 16, "int16", "int16_t", "int16"),
        ("int32", 6, 32, "int32", "int32_t", "int32"),
        ("int64", 7, 64, "int64", "int64_t", "int64"),
        ("string", 8, 128, "object", "ingot_string", "string"),
        ("bool", 9, 8, "bool", "uint8_t", "bool"),
        ("float16", 10, 16, "float16", "uint16_t", "float16"),
        ("float64", 11, 64, "float64", "double", "double"),
        ("uint32", 12, 32, "uint32", "uint32_t", "uint32"),
        ("uint64", 13, 64, "uint64", "uint64_t", "uint64"),
        ("complex64", 14, 64, "complex64", "float", "complex64"),
        ("complex128", 15, 128, "complex128", "double", "complex128"),
    )
    extensions = (
        ("bfloat16", 16, "bfloat16"),
        ("float8e4m3fn", 17, "float8_e4m3fn"),
        ("float8e4m3fnuz", 18, "float8_e4m3fnuz"),
        ("float8e5m2", 19, "float8_e5m2"),
        ("float8e5m2fnuz", 20, "float8_e5m2fnuz"),
        ("uint4", 21, "uint4"),
        ("int4", 22, "int4"),
        ("float4e2m1", 23, "float4_e2m1fn"),
        ("float8e8m0", 24, "float8_e8m0fnu"),
        ("uint2", 25, "uint2"),
        ("int2", 26, "int2"),
    )
    table = {
        name: DType(name, n, bits, numpy, c, f"tensor({kind})") for name, n, bits, numpy, c, kind in rows
    }
    for name, n, extension in extensions:
        bits = 16 if name == "bfloat16" else 8
        table[name] = DType(name, n, bits, f"uint{bits}", f"uint{bits}_t", f"tensor({name})", extension)
    return table


DTYPES: dict[str, DType] = _table()


@dataclass(frozen=True)
class Port:
    """An input or output.

    dtype: a key of `DTYPES`. shape: a size, the name of a symbol, or, of outputs, an expression of symbols such as "2*n".
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def type(self) -> str:
        """As ONNX Runtime writes it: "tensor(float)"."""
        return DTYPES[self.dtype].type_string

    @property
    def literal_elements(self) -> int | None:
        """The number of elements where every size is known."""
        count = 1
        for size in self.shape:
            if isinstance(size, str):
                return None
            count *= size
        return count
