"""AVX-512 (F, BW, DQ, VL): sixteen floats a vector."""

from __future__ import annotations

from ingot.isa.instruction import Instruction, function


def _spread(stride: int) -> str:
    """Lanes stored `stride` elements apart, by masked stores of whole vectors."""
    each = 16 // stride
    stores = (
        f"_mm512_mask_storeu_ps(p + {16 * part}, (__mmask16){sum(1 << at for at in range(0, 16, stride))}, "
        f"(__m512)__builtin_shufflevector(a, a, {', '.join(str(part * each + i // stride) for i in range(16))}));"
        for part in range(stride)
    )
    return f"if (s == {stride}) {{ {' '.join(stores)} return; }}"


_ENTRIES = [
    function("fma", "f32x16", "abc", "return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);"),
    function("max", "f32x16", "ab", "return (f32x16)_mm512_max_ps((__m512)b, (__m512)a);"),
    function("min", "f32x16", "ab", "return (f32x16)_mm512_min_ps((__m512)b, (__m512)a);"),
    function("sqrt", "f32x16", "a", "return (f32x16)_mm512_sqrt_ps((__m512)a);"),
    function("floor", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 9);"),
    function("ceil", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 10);"),
    function("round", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 8);"),
    function("foldadd", "f32x16", "a", "return _mm512_reduce_add_ps((__m512)a);", "float"),
    function("foldmax", "f32x16", "a", "return _mm512_reduce_max_ps((__m512)a);", "float"),
    function("foldmin", "f32x16", "a", "return _mm512_reduce_min_ps((__m512)a);", "float"),
    Instruction(
        "loadn_f32x16",
        "f32x16",
        ("const float *p", "int64_t n"),
        "return (f32x16)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);",
    ),
    Instruction(
        "storen_f32x16",
        "void",
        ("float *p", "f32x16 a", "int64_t n"),
        "_mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)a);",
    ),
    Instruction(
        "loadn_f32x8",
        "f32x8",
        ("const float *p", "int64_t n"),
        "return (f32x8)_mm256_maskz_loadu_ps((__mmask8)((1u << n) - 1), p);",
    ),
    Instruction(
        "storen_f32x8",
        "void",
        ("float *p", "f32x8 a", "int64_t n"),
        "_mm256_mask_storeu_ps(p, (__mmask8)((1u << n) - 1), (__m256)a);",
    ),
    Instruction(
        "stores_f32x16",
        "void",
        ("float *p", "f32x16 a", "int64_t s"),
        f"{_spread(2)} {_spread(4)} for (int i = 0; i < 16; i++) p[i * s] = a[i];",
    ),
    Instruction(
        "exponent_f32x16",
        "f32x16",
        ("f32x16 a", "f32x16 b"),
        "return (f32x16)_mm512_scalef_ps((__m512)a, (__m512)b);",
    ),
]
TABLE: dict[str, Instruction] = {e.name: e for e in _ENTRIES}
