"""AVX-512 with BF16 (Cooper Lake, Zen 4): products of pairs, which flush subnormal inputs and results to zero."""

from __future__ import annotations

from ingot.isa.instruction import Instruction, function

_ENTRIES = [
    *(
        Instruction(
            f"dot_f32x{lanes}",
            f"f32x{lanes}",
            (f"f32x{lanes} a", f"bf16x{2 * lanes} b", f"bf16x{2 * lanes} c"),
            f"return (f32x{lanes})_mm{bits}_dpbf16_ps((__m{width})a, (__m{width}bh)b, (__m{width}bh)c);",
        )
        for lanes, bits, width in ((16, "512", 512), (8, "256", 256), (4, "", 128))
    ),
    function("narrow", "f32x16", "a", "return (bf16x16)_mm512_cvtneps_pbh((__m512)a);", "bf16x16"),
    function("narrow", "f32x8", "a", "return (bf16x8)_mm256_cvtneps_pbh((__m256)a);", "bf16x8"),
    function(
        "narrow",
        "f32",
        "a",
        "return ((bf16x8)_mm_cvtneps_pbh(_mm_set_ss(a)))[0];",
        "uint16_t",
    ),
    *(
        entry
        for lanes, bits in ((16, 256), (32, 512))
        for entry in (
            Instruction(
                f"loadn_bf16x{lanes}",
                f"bf16x{lanes}",
                ("const uint16_t *p", "int64_t n"),
                f"return (bf16x{lanes})_mm{bits}_maskz_loadu_epi16((__mmask{lanes})((1ull << n) - 1), p);",
            ),
            Instruction(
                f"storen_bf16x{lanes}",
                "void",
                ("uint16_t *p", f"bf16x{lanes} a", "int64_t n"),
                f"_mm{bits}_mask_storeu_epi16(p, (__mmask{lanes})((1ull << n) - 1), (__m{bits}i)a);",
            ),
        )
    ),
]
TABLE: dict[str, Instruction] = {e.name: e for e in _ENTRIES}
