"""AVX2 and FMA: eight floats a vector."""

from __future__ import annotations

from ingot.isa.instruction import Instruction, function

_ENTRIES = [
    function("fma", "f32", "abc", "return __builtin_fmaf(a, b, c);"),
    function("fma", "f32x8", "abc", "return (f32x8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);"),
    function("max", "f32x8", "ab", "return (f32x8)_mm256_max_ps((__m256)b, (__m256)a);"),
    function("min", "f32x8", "ab", "return (f32x8)_mm256_min_ps((__m256)b, (__m256)a);"),
    function("sqrt", "f32x8", "a", "return (f32x8)_mm256_sqrt_ps((__m256)a);"),
    function("floor", "f32x8", "a", "return (f32x8)_mm256_floor_ps((__m256)a);"),
    function("ceil", "f32x8", "a", "return (f32x8)_mm256_ceil_ps((__m256)a);"),
    function("round", "f32x8", "a", "return (f32x8)_mm256_round_ps((__m256)a, 8);"),
    function("fma", "f32x4", "abc", "return (f32x4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);"),
    function("max", "f32x4", "ab", "return (f32x4)_mm_max_ps((__m128)b, (__m128)a);"),
    function("min", "f32x4", "ab", "return (f32x4)_mm_min_ps((__m128)b, (__m128)a);"),
    function("round", "f32x4", "a", "return (f32x4)_mm_round_ps((__m128)a, 8);"),
    Instruction(
        "loadn_f32x8",
        "f32x8",
        ("const float *p", "int64_t n"),
        "__m256i k = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); "
        "return (f32x8)_mm256_maskload_ps(p, k);",
    ),
    Instruction(
        "storen_f32x8",
        "void",
        ("float *p", "f32x8 a", "int64_t n"),
        "__m256i k = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); "
        "_mm256_maskstore_ps(p, k, (__m256)a);",
    ),
]
TABLE: dict[str, Instruction] = {e.name: e for e in _ENTRIES}
