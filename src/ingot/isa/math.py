"""Vector exp, log, tanh, sigmoid, erf and GELU for float32, of the multiply-adds that every instruction set has.

exp: 2^n times the Taylor series of e^r to r^7 on |r| <= ln2/2 (error below 6e-9, relative). log: the series of
2 artanh(f / (2 + f)). tanh below 0.625: the polynomial of Cephes (S. Moshier, tanhf.c); above, from exp. erf and GELU:
the fits that `tools/fit_math.py` prints.

All lie within 2 ulp of the right result (exp within 1, silu within 3) for every float; a sigmoid too small to be a normal number
may be 0. GELU is max(x, 0) less a tail, whose error is at most 2 ulp of x, and which stays what it is at 6.6, 1.4e-10.
"""

from __future__ import annotations

from ingot.isa.instruction import Instruction, function, parse

ERF_SMALL = (
    1.1283791065216064, -0.3761262595653534, 0.11283597350120544, -0.02685432881116867, 0.005189312156289816,
    -0.0008018855005502701, 7.882497448008507e-05,
)  # fmt: skip
ERF_LARGE = (
    0.00021116554853506386, -1.1296968460083008, -0.6329593658447266, -0.10874038189649582, 0.025452157482504845,
    -0.004320641979575157, 0.0004751997475977987, -2.722088720474858e-05, 3.8777062627559644e-07,
)  # fmt: skip

GELU_TAIL = (
    -0.6931471228599548, -0.7978885769844055, -0.31826838850975037, -0.03649215027689934, 0.005064612254500389,
    -0.0002360380021855235, -6.650729483226314e-05, 1.349382091575535e-05, -7.822965244486113e-07,
)  # fmt: skip
GELU_END = 6.6


def derive(isa: str, operation: str, kind: str) -> Instruction | None:
    """The instruction, where this module has one for the type."""
    dtype, lanes = parse(kind)
    if dtype != "f32" or lanes == 1:
        return None
    body = _BODIES.get(operation)
    if body is None:
        return None
    text = body.format(V=f"f32x{lanes}", I=f"i32x{lanes}", U=f"u32x{lanes}", K=f"x{lanes}")
    if operation == "exponent":
        return function(operation, kind, "ab", text)
    return function(operation, kind, "a", text)


def _c(value: float) -> str:
    return f"{value!r}f"


def _horner(variable: str, coefficients: tuple[float, ...]) -> str:
    """Nested multiply-adds, constant term first in `coefficients`."""
    text = f"splat_f32{{K}}({_c(coefficients[-1])})"
    for value in coefficients[-2::-1]:
        text = f"fma_f32{{K}}({text}, {variable}, splat_f32{{K}}({_c(value)}))"
    return text


_EXP = (
    "{V} n = round_f32{K}(x * splat_f32{K}(1.44269504f)); "
    "{V} r = fma_f32{K}(n, splat_f32{K}(-0.693359375f), x); r = fma_f32{K}(n, splat_f32{K}(2.12194440e-4f), r); "
    "{V} s = " + _horner("r", (1.0, 1.0, 0.5, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040))
)
"""s and n so that e^x is s 2^n."""

GELU = (
    "{V} y = min_f32{K}(abs_f32{K}(a), splat_f32{K}(" + _c(GELU_END) + ")); "
    "{V} x = " + _horner("y", GELU_TAIL) + "; "
)
"""y and x so that the tail of GELU is y e^x."""

_BODIES = {
    "exponent": (
        "{I} n = __builtin_convertvector(b, {I}), h = n >> 1; "
        "return a * ({V})((h + 127) << 23) * ({V})((n - h + 127) << 23);"
    ),
    "exp": (
        "{V} x = min_f32{K}(a, splat_f32{K}(89.5f)); x = max_f32{K}(x, splat_f32{K}(-105.0f)); "
        + _EXP + "; return exponent_f32{K}(s, n);"
    ),
    "log": (
        "{V} small = a * splat_f32{K}(8388608.0f); u8{K} tiny = lt_f32{K}(a, splat_f32{K}(1.17549435e-38f)); "
        "{V} x = select_f32{K}(tiny, small, a); "
        "{U} bits = ({U})x; {I} e = ({I})(bits - 0x3f3504f3) >> 23; {V} m = ({V})(bits - (({U})e << 23)); "
        "{V} n = __builtin_convertvector(e, {V}) - select_f32{K}(tiny, splat_f32{K}(23.0f), splat_f32{K}(0.0f)); "
        "{V} f = m - splat_f32{K}(1.0f), s = f / (f + splat_f32{K}(2.0f)), q = s * s; "
        "{V} t = " + _horner("q", (2.0, 2 / 3, 2 / 5, 2 / 7, 2 / 9)) + " * s; "
        "{V} r = fma_f32{K}(n, splat_f32{K}(0.693359375f), fma_f32{K}(n, splat_f32{K}(-2.12194440e-4f), t)); "
        "r = select_f32{K}(eq_f32{K}(a, splat_f32{K}(0.0f)), splat_f32{K}(-__builtin_inff()), r); "
        "r = select_f32{K}(eq_f32{K}(a, splat_f32{K}(__builtin_inff())), a, r); "
        "return select_f32{K}(ge_f32{K}(a, splat_f32{K}(0.0f)), r, splat_f32{K}(__builtin_nanf(\"\")));"
    ),
    "sigmoid": "return splat_f32{K}(1.0f) / (splat_f32{K}(1.0f) + exp_f32{K}(-a));",
    "silu": "return a / (splat_f32{K}(1.0f) + exp_f32{K}(-a));",
    "abs": "return ({V})(({I})a & 0x7fffffff);",
    "tanh": (
        "{V} y = abs_f32{K}(a), q = a * a; "
        "{V} s = " + _horner(
            "q", (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3)
        ) + "; s = fma_f32{K}(s * q, a, a); "
        "{V} t = splat_f32{K}(1.0f) - splat_f32{K}(2.0f) / (exp_f32{K}(y + y) + splat_f32{K}(1.0f)); "
        "t = ({V})(({I})t | (({I})a & (int32_t)0x80000000)); "
        "return select_f32{K}(lt_f32{K}(y, splat_f32{K}(0.625f)), s, t);"
    ),
    "erf": (
        "{V} y = min_f32{K}(abs_f32{K}(a), splat_f32{K}(4.0f)), q = y * y; "
        "{V} s = y * " + _horner("q", ERF_SMALL) + "; "
        "{V} t = splat_f32{K}(1.0f) - exp_f32{K}(" + _horner("y", ERF_LARGE) + "); "
        "t = select_f32{K}(lt_f32{K}(y, splat_f32{K}(1.0f)), s, t); "
        "t = ({V})(({I})t | (({I})a & (int32_t)0x80000000)); "
        "return select_f32{K}(eq_f32{K}(a, a), t, a);"
    ),
    "gelu": (
        GELU + _EXP + "; "
        "return fma_f32{K}(-y, exponent_f32{K}(s, n), max_f32{K}(a, splat_f32{K}(0.0f)));"
    ),
}  # fmt: skip
