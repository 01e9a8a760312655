"""AVX-512 (F, BW, DQ, VL): sixteen floats a vector.

sigmoid and silu lie within 4 ulp of the right result, within 7 where x < -20; where it is too small to be a normal number,
sigmoid is 0, and below -88 silu is that of -88, -5.3e-37.
"""

from __future__ import annotations

import numpy as np

from ingot.isa.instruction import Instruction, function
from ingot.isa.math import GELU


def _spread(stride: int) -> str:
    """Lanes stored `stride` elements apart, by masked stores of whole vectors."""
    each = 16 // stride
    stores = (
        f"_mm512_mask_storeu_ps(p + {16 * part}, (__mmask16){sum(1 << at for at in range(0, 16, stride))}, "
        f"(__m512)__builtin_shufflevector(a, a, {', '.join(str(part * each + i // stride) for i in range(16))}));"
        for part in range(stride)
    )
    return f"if (s == {stride}) {{ {' '.join(stores)} return; }}"


_TABLE = np.exp2(np.arange(32) / 32).astype(np.float32).view(np.int32) - (np.arange(32, dtype=np.int32) << 18)

_EXPONENTIAL = (
    f"static const int32_t table[32] __attribute__((aligned(64))) = {{{', '.join(map(str, _TABLE))}}}; "
    "f32x16 t = fma_f32x16(x, splat_f32x16(46.1662413f), splat_f32x16(12582912.0f)), i = t - splat_f32x16(12582912.0f); "
    "f32x16 r = fma_f32x16(i, splat_f32x16(-0.693147182f / 32), x); "
    "f32x16 q = fma_f32x16(r, fma_f32x16(r, splat_f32x16(0.5f), splat_f32x16(1.0000147f)), splat_f32x16(1.0f)); "
    "f32x16 e = (f32x16)_mm512_add_epi32(_mm512_slli_epi32((__m512i)t, 18), "
    "_mm512_permutex2var_epi32(_mm512_load_si512(table), (__m512i)t, _mm512_load_si512(table + 16))); "
)
"""e and q so that e^x is e q, where it and 1 + e^x are normal numbers.

e is 2^(i / 32), of which a table has the mantissa (less what the shift by 18 adds of i's low bits); q differs from e^r by
5.3e-8 of it at most on |r| <= ln2/64. That ln2 is rounded matters by 2.8e-9 |x|.
"""

_ONE_PLUS = (
    "f32x16 y = max_f32x16(a, splat_f32x16(-88.0f)), x = -min_f32x16(y, splat_f32x16(87.0f)); "
    f"{_EXPONENTIAL} f32x16 d = fma_f32x16(e, q, splat_f32x16(1.0f)); "
)
"""y, which is a and no less than -88, and d, which is 1 + e^-y."""


_ENTRIES = [
    function("fma", "f32x16", "abc", "return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);"),
    function("max", "f32x16", "ab", "return (f32x16)_mm512_max_ps((__m512)b, (__m512)a);"),
    function("min", "f32x16", "ab", "return (f32x16)_mm512_min_ps((__m512)b, (__m512)a);"),
    function("sqrt", "f32x16", "a", "return (f32x16)_mm512_sqrt_ps((__m512)a);"),
    function("floor", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 9);"),
    function("ceil", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 10);"),
    function("round", "f32x16", "a", "return (f32x16)_mm512_roundscale_ps((__m512)a, 8);"),
    function(
        "sigmoid",
        "f32x16",
        "a",
        _ONE_PLUS + "return (f32x16)_mm512_maskz_div_ps("
        "_mm512_cmp_ps_mask((__m512)a, _mm512_set1_ps(-87.336548f), _CMP_NLT_UQ), _mm512_set1_ps(1.0f), (__m512)d);",
    ),
    function("silu", "f32x16", "a", _ONE_PLUS + "return y / d;"),
    function(
        "gelu",
        "f32x16",
        "a",
        GELU.format(V="f32x16", K="x16")
        + _EXPONENTIAL
        + "return fma_f32x16(-(y * e), q, max_f32x16(a, splat_f32x16(0.0f)));",
    ),
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
