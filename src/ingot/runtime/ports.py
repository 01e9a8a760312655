"""The inputs and outputs of a package, and the element types they may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DType:
    """An element type.

    number: its number in ONNX and in the C API. bits: of one element. numpy: the NumPy dtype that holds it; a type that
    NumPy lacks is held as raw unsigned integers, one of four bits as one byte an element until it is packed. c: the C
    type of one element. type_string: as ONNX Runtime names a tensor of it.
    """

    name: str
    number: int
    bits: int
    numpy: str
    c: str
    type_string: str


def _table() -> dict[str, DType]:
    rows = (
        ("float32", 1, 32, "float32", "float", "float"),
        ("uint8", 2, 8, "uint8", "uint8_t", "uint8"),
        ("int8", 3, 8, "int8", "int8_t", "int8"),
        ("uint16", 4, 16, "uint16", "uint16_t", "uint16"),
        ("int16", 5, 16, "int16", "int16_t", "int16"),
        ("int32", 6, 32, "int32", "int32_t", "int32"),
        ("int64", 7, 64, "int64", "int64_t", "int64"),
        ("bool", 9, 8, "bool", "uint8_t", "bool"),
        ("float16", 10, 16, "float16", "uint16_t", "float16"),
        ("float64", 11, 64, "float64", "double", "double"),
        ("uint32", 12, 32, "uint32", "uint32_t", "uint32"),
        ("uint64", 13, 64, "uint64", "uint64_t", "uint64"),
        ("complex64", 14, 64, "complex64", "float", "complex64"),
        ("complex128", 15, 128, "complex128", "double", "complex128"),
        ("bfloat16", 16, 16, "uint16", "uint16_t", "bfloat16"),
        ("float8e4m3fn", 17, 8, "uint8", "uint8_t", "float8e4m3fn"),
        ("float8e4m3fnuz", 18, 8, "uint8", "uint8_t", "float8e4m3fnuz"),
        ("float8e5m2", 19, 8, "uint8", "uint8_t", "float8e5m2"),
        ("float8e5m2fnuz", 20, 8, "uint8", "uint8_t", "float8e5m2fnuz"),
        ("uint4", 21, 4, "uint8", "uint8_t", "uint4"),
        ("int4", 22, 4, "uint8", "uint8_t", "int4"),
        ("float4e2m1", 23, 4, "uint8", "uint8_t", "float4e2m1"),
        ("float8e8m0", 24, 8, "uint8", "uint8_t", "float8e8m0"),
    )
    return {name: DType(name, n, bits, numpy, c, f"tensor({kind})") for name, n, bits, numpy, c, kind in rows}


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
