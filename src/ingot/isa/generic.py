"""Instructions in plain C with vector extensions: what every instruction set falls back to.

Integers wrap around; an integer divided by zero gives zero. Halves compute in float and round once an operation.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingot.isa.instruction import C_TYPES, Instruction, function, parse, type_name

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LOGIC = {"and": "a && b", "or": "a || b", "xor": "!a != !b", "not": "!a"}
_VECTOR_LOGIC = {
    "and": "(a != 0) & (b != 0)",
    "or": "(a != 0) | (b != 0)",
    "xor": "(a != 0) ^ (b != 0)",
    "not": "a == 0",
}
_BITS = {"bitand": "a & b", "bitor": "a | b", "bitxor": "a ^ b", "bitnot": "~a"}
_ARITHMETIC = {"add": "{a} + {b}", "sub": "{a} - {b}", "mul": "{a} * {b}", "neg": "0 - {a}"}
_PICK = {
    "min": "return b < a ? b : a;",
    "max": "return b > a ? b : a;",
    "minimum": "return b < a || b != b ? b : a;",
    "maximum": "return b > a || b != b ? b : a;",
}
_LIBM = (
    "exp", "log", "tanh", "erf", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "sqrt", "floor",
    "ceil", "trunc", "fabs", "nearbyint",
)  # fmt: skip
_FLOAT = {
    **_PICK,
    **{name: f"return __builtin_{name}{{f}}(a);" for name in _LIBM},
    "add": "return a + b;",
    "sub": "return a - b;",
    "mul": "return a * b;",
    "div": "return a / b;",
    "neg": "return -a;",
    "fma": "return a * b + c;",
    "abs": "return __builtin_fabs{f}(a);",
    "sign": "return a != a ? a : (a > 0) - (a < 0);",
    "round": "return __builtin_nearbyint{f}(a);",
    "pow": "return __builtin_pow{f}(a, b);",
    "fmod": "return __builtin_fmod{f}(a, b);",
    "mod": (
        "{c} r = __builtin_fmod{f}(a, b); "
        "return r == 0 ? __builtin_copysign{f}(0, b) : (r < 0) != (b < 0) ? r + b : r;"
    ),
    "sigmoid": "return 1 / (1 + __builtin_exp{f}(-a));",
    "silu": "return a / (1 + __builtin_exp{f}(-a));",
    "gelu": (
        "{c} y = __builtin_fabs{f}(a); y = y > 40 ? 40 : y; "
        "return (a < 0 ? 0 : a) - y * __builtin_erfc{f}(y * ({c})0.70710678118654752) / 2;"
    ),
    "isnan": "return __builtin_isnan(a) != 0;",
    "isinf": "return __builtin_isinf(a) != 0;",
}
"""Bodies for floating-point scalars; {f} ends the name of a C library function of the type, {c} is the type."""
_INTEGER = {
    **_PICK,
    **{name: f"return {text};" for name, text in _BITS.items()},
    **{name: f"return ({{c}})({text});" for name, text in _ARITHMETIC.items()},
    "sign": "return (a > 0) - (a < 0);",
    "div": "return b == 0 ? 0 : a / b;",
    "fmod": "return b == 0 ? 0 : a % b;",
    "mod": "return b == 0 ? 0 : a % b;",
    "abs": "return a;",
    "shl": "return {b} >= {bits} ? 0 : ({c})({a} << b);",
    "shr": "return {b} >= {bits} ? 0 : a >> b;",
    "pow": (
        "if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0; {c} r = 1; "
        "for (; b; b >>= 1, a = mul_{kind}(a, a)) if (b & 1) r = mul_{kind}(r, a); return r;"
    ),
    "isnan": "return 0;",
    "isinf": "return 0;",
}
"""Bodies for integer scalars; {u} is the unsigned type to compute in, {a} and {b} the arguments in it."""
_SIGNED = {
    "shr": "return {b} >= {bits} ? ({c})-(a < 0) : a >> b;",
    "div": "return b == 0 ? 0 : b == -1 ? ({c})(0 - {a}) : a / b;",
    "fmod": "return b == 0 || b == -1 ? 0 : a % b;",
    "mod": "if (b == 0 || b == -1) return 0; {c} r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r;",
    "abs": "return a < 0 ? ({c})(0 - {a}) : a;",
}
"""The bodies that differ for signed integers."""
_ONE = {"neg", "abs", "sign", "round", "bitnot", "not", "sigmoid", "silu", "gelu", "isnan", "isinf", *_LIBM}
_FOLDS = {"add": "+", "mul": "*", "and": "&", "or": "|"}
_MEMORY = ("load", "loadn", "loads", "loadsn", "store", "storen", "stores", "storesn")
_BF16 = {
    "widen": ("return ({f})(__builtin_convertvector(a, {u}) << 16);", "{f}", "{b} a"),
    "narrow": (
        "{u} u = ({u})a, k = ({u})(a != a); u = (u + 0x7fff + (u >> 16 & 1)) >> 16; "
        "return __builtin_convertvector((u & ~k) | (k & 0x7fc0), {b});",
        "{b}",
        "{f} a",
    ),
    "dot": (
        "for (int i = 0; i < {n}; i++) {{ "
        "a[i] = a[i] + widen_bf16(b[2 * i + 1]) * widen_bf16(c[2 * i + 1]); "
        "a[i] = a[i] + widen_bf16(b[2 * i]) * widen_bf16(c[2 * i]); }} return a;",
        "{f}",
        "{f} a, {p} b, {p} c",
    ),
    "repeat": (
        "uint32_t u; __builtin_memcpy(&u, &a, 4); {h} r; for (int i = 0; i < {n} / 2; i++) r[i] = u; return ({b})r;",
        "{b}",
        "bf16x2 a",
    ),
}
"""Body, result and parameters for vectors of n lanes; {f}, {u}, {b}: n floats, integers, bf16; {p}: 2 n bf16; {h}: n / 2
integers. A bf16 is the upper half of a float; rounding to it is to nearest, ties to even."""
_BF16_SCALAR = {
    "widen": (
        "uint32_t u = (uint32_t)a << 16; float r; __builtin_memcpy(&r, &u, 4); return r;",
        "float",
        "uint16_t a",
    ),
    "narrow": (
        "uint32_t u; __builtin_memcpy(&u, &a, 4); "
        "return a != a ? 0x7fc0 : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);",
        "uint16_t",
        "float a",
    ),
}


def _encode(mantissa: int, bias: int, code: str) -> str:
    """A float as the nearest number of a format: numbers below the normal ones by an addition that rounds to their step."""
    drop, step = 23 - mantissa, bias - 1 + mantissa
    magic = f"0x1p{23 - step}f"
    sign = 3 if mantissa == 1 else 7
    return (
        f"uint32_t u, r, k; __builtin_memcpy(&u, &a, 4); r = u & 0x7fffffff; uint8_t s = u >> 31 << {sign}; "
        f"if (r < {(128 - bias) << 23}) {{ float t = (a < 0 ? -a : a) + {magic}, m = {magic}; "
        "__builtin_memcpy(&r, &t, 4); __builtin_memcpy(&k, &m, 4); r -= k; } "
        f"else r = (r - {(127 - bias) << 23} + {(1 << (drop - 1)) - 1} + (r >> {drop} & 1)) >> {drop}; "
        f"return {code};"
    )


def _decode(mantissa: int, bias: int, special: str) -> str:
    """A number of a format as a float: its digits, an integer, times a power of two."""
    sign, low = (8 if mantissa == 1 else 0x80), (1 << mantissa) - 1
    other = special.format(nan='__builtin_nanf("")')
    return (
        f"uint32_t r = a & {sign - 1}, e = r >> {mantissa}, d = (r & {low}) | (e ? {low + 1} : 0), "
        f"u = ((e ? e : 1) + {127 - bias - mantissa}) << 23; float f; __builtin_memcpy(&f, &u, 4); "
        f"f = {other}f * (float)(int)d; return a & {sign} ? -f : f;"
    )


_FORMATS = {
    "f8e4m3fn": (3, 7, "r == 0x7f ? {nan} : ", "a != a || r > 0x7e ? s | 0x7f : s | r"),
    "f8e4m3fnuz": (3, 8, "a == 0x80 ? {nan} : ", "a != a || r > 0x7f ? 0x80 : r ? s | r : 0"),
    "f8e5m2": (2, 15, "r > 0x7c ? {nan} : r == 0x7c ? __builtin_inff() : ", "a != a ? s | 0x7e : r > 0x7c ? s | 0x7c : s | r"),
    "f8e5m2fnuz": (2, 16, "a == 0x80 ? {nan} : ", "a != a || r > 0x7f ? 0x80 : r ? s | r : 0"),
    "f4e2m1": (1, 1, "", "a != a ? s ^ 8 : r > 7 ? s | 7 : s | r"),
}  # fmt: skip
"""Bits of the mantissa, bias of the exponent, what a code a is that is no number, and the code of a float a. There r is the
code without its sign, of a float as if the exponent had no end, and s the sign."""
_BYTES = {
    "tof8e8m0": (
        "uint32_t u; __builtin_memcpy(&u, &a, 4); "
        "return u - 1 >= 0x7f3fffff ? 0xff : u < 0x800000 ? u > 0x400000 : (u + 0x400000) >> 23;"
    ),
    "fromf8e8m0": (
        "uint32_t u = a == 0xff ? 0x7fc00000 : a ? (uint32_t)a << 23 : 0x400000; "
        "float r; __builtin_memcpy(&r, &u, 4); return r;"
    ),
    **{f"to{sign}{bits}": f"return (uint8_t)a & {(1 << bits) - 1};" for sign in "iu" for bits in (4, 2)},
    **{f"fromu{bits}": f"return a & {(1 << bits) - 1};" for bits in (4, 2)},
    **{f"fromi{bits}": f"return (int8_t)((int8_t)(a << {8 - bits}) >> {8 - bits});" for bits in (4, 2)},
    **{f"to{name}": _encode(bits, bias, code) for name, (bits, bias, _, code) in _FORMATS.items()},
    **{f"from{name}": _decode(*numbers[:3]) for name, numbers in _FORMATS.items()},
}
"""Conversions of scalars to and from the types of storage that are bytes."""
_STRINGS = {
    "length": ("return (int64_t)a.bytes;", "int64_t", ()),
    "byte": ("return (uint8_t)a.data[i];", "uint8_t", ("int64_t i",)),
    "part": ("return ingot_text(i ? a.data + i : a.data, n);", "ingot_string", ("int64_t i", "int64_t n")),
    **{name: (f"return ingot_compare(a, b) {sign} 0;", "uint8_t", ("ingot_string b",)) for name, sign in _COMPARE.items()},
}  # fmt: skip
"""Body, result and further parameters of what is done with a string a."""
_BITS_OF = {f"bits{dtype}": dtype for dtype in C_TYPES if dtype != "str"}
"""The operations that give another type the bits of a scalar, and that type."""
OPERATIONS = {
    *_FLOAT, *_INTEGER, *_COMPARE, *_LOGIC, *_MEMORY, *_BF16, *_BYTES, *_BITS_OF, *_STRINGS, "select", "splat", "iota", "exponent",
    *(f"fold{name}" for name in (*_FOLDS, *_PICK)),
}  # fmt: skip
"""Every operation that may appear in an instruction's name."""


def derive(operation: str, kind: str) -> Instruction:
    """An instruction from its name. Raises KeyError for an operation that the type has not."""
    dtype, lanes = parse(kind)
    if kind == "str":
        body, result, others = _STRINGS[operation]
        return Instruction(f"{operation}_str", result, ("ingot_string a", *others), body)
    if operation in _BF16:
        return _bf16(operation, kind, lanes)
    if operation in _BYTES:
        return _byte(operation, kind, dtype, lanes)
    if operation in _BITS_OF:
        to = C_TYPES[_BITS_OF[operation]]
        return function(operation, kind, "a", f"{to} r; __builtin_memcpy(&r, &a, sizeof r); return r;", to)
    return (_scalar if lanes == 1 else _vector)(operation, kind, dtype, lanes)


def _bf16(operation: str, kind: str, lanes: int) -> Instruction:
    """Conversions and products of bf16."""
    body, result, parameters = (_BF16_SCALAR if lanes == 1 else _BF16)[operation]
    names = {"f": lanes, "u": lanes, "b": lanes, "p": 2 * lanes, "h": lanes // 2}
    kinds = {"f": "f32", "u": "u32", "b": "bf16", "p": "bf16", "h": "u32"}
    types = {key: f"{kinds[key]}x{count}" for key, count in names.items()}
    texts = [text.format(n=lanes, **types) if lanes > 1 else text for text in (body, result, parameters)]
    return Instruction(f"{operation}_{kind}", texts[1], tuple(texts[2].split(", ")), texts[0])


def _byte(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    """Conversions of types of storage that are bytes; a vector goes lane by lane."""
    own = type_name(dtype, lanes)
    byte = type_name("u8", lanes)
    result, given = (byte, own) if operation.startswith("to") else (own, byte)
    body = _BYTES[operation]
    if lanes > 1:
        each = f"for (int i = 0; i < {lanes}; i++)"
        body = f"{result} r; {each} r[i] = {operation}_{dtype}(a[i]); return r;"
    return Instruction(f"{operation}_{kind}", result, (f"{given} a",), body)


def _letters(operation: str) -> str:
    return "a" if operation in _ONE else "abc" if operation == "fma" else "ab"


def _unsigned(dtype: str) -> str:
    """The C type in which integers wrap around as the dtype does, once they are cut to it."""
    return "uint64_t" if dtype[1:] == "64" else "uint32_t"


def _scalar(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    letters = _letters(operation)
    if operation in _COMPARE:
        return function(operation, kind, "ab", f"return a {_COMPARE[operation]} b;", "uint8_t")
    if operation in _LOGIC:
        return function(operation, kind, letters, f"return {_LOGIC[operation]};", "uint8_t")
    if operation == "splat":
        return function(operation, kind, "a", "return a;")
    if dtype[0] == "f":
        text = _FLOAT[operation].format(f="" if dtype == "f64" else "f", c=C_TYPES[dtype])
    else:
        u = _unsigned(dtype)
        body = _SIGNED[operation] if dtype[0] == "i" and operation in _SIGNED else _INTEGER[operation]
        text = body.format(c=C_TYPES[dtype], u=u, a=f"({u})a", b=f"({u})b", bits=dtype[1:], kind=kind)
    return function(operation, kind, letters, text, "uint8_t" if operation in ("isnan", "isinf") else None)


def _vector(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    own, mask, letters = type_name(dtype, lanes), f"u8x{lanes}", _letters(operation)
    each = f"for (int i = 0; i < {lanes}; i++)"
    if operation in (*_MEMORY, "splat", "iota"):
        return _memory(operation, kind, own, C_TYPES[dtype], lanes)
    if operation.startswith("fold"):
        return _fold(operation, kind, dtype, lanes)
    if operation == "select":
        return _select(kind, own, mask, dtype, lanes)
    if operation in _COMPARE:
        text = f"return __builtin_convertvector(-(a {_COMPARE[operation]} b), {mask});"
        return function(operation, kind, "ab", text, mask)
    if operation in _LOGIC:
        return function(operation, kind, letters, f"return ({mask})(-({_VECTOR_LOGIC[operation]}));", mask)
    if operation in _BITS:
        return function(operation, kind, letters, f"return {_BITS[operation]};")
    if operation in _ARITHMETIC and dtype[0] == "i":
        u = f"u{dtype[1:]}x{lanes}"
        text = _ARITHMETIC[operation].format(a=f"({u})a", b=f"({u})b")
        return function(operation, kind, letters, f"return ({own})({text});")
    if operation in ("add", "sub", "mul", "neg", "fma") or (operation == "div" and dtype[0] == "f"):
        return function(operation, kind, letters, _FLOAT[operation])
    if operation in _PICK:
        sign = "<" if operation.startswith("min") else ">"
        if operation.endswith("imum"):
            bits = f"i{dtype[1:]}x{lanes}"
            text = f"{bits} k = (b {sign} a) | (b != b); return ({own})((({bits})b & k) | (({bits})a & ~k));"
        else:
            text = f"{own} r; {each} r[i] = b[i] {sign} a[i] ? b[i] : a[i]; return r;"
        return function(operation, kind, "ab", text)
    if operation not in (_FLOAT if dtype[0] == "f" else _INTEGER):
        raise KeyError(f"{operation}_{kind}")
    result = mask if operation in ("isnan", "isinf") else own
    given = ", ".join(f"{x}[i]" for x in letters)
    text = f"{result} r; {each} r[i] = {operation}_{dtype}({given}); return r;"
    return function(operation, kind, letters, text, result)


def _select(kind: str, own: str, mask: str, dtype: str, lanes: int) -> Instruction:
    bits = f"i{dtype[1:]}x{lanes}"
    text = (
        f"{bits} k = __builtin_convertvector(m, {bits}) != 0; "
        f"return ({own})((({bits})a & k) | (({bits})b & ~k));"
    )
    return Instruction(f"select_{kind}", own, (f"{mask} m", f"{own} a", f"{own} b"), text)


def _memory(operation: str, kind: str, own: str, element: str, lanes: int) -> Instruction:
    """Loads, stores, splat and iota. p: address, s: stride, n: how many lanes count."""
    count, every = "for (int64_t i = 0; i < n; i++)", f"for (int i = 0; i < {lanes}; i++)"
    vector = f"({own}){{{{{{}}}}}}"
    listed = {
        "loads": vector.format(", ".join(f"p[{i} * s]" for i in range(lanes))),
        "splat": vector.format(", ".join("a" for _ in range(lanes))),
        "iota": vector.format(", ".join(f"a + {i} * s" for i in range(lanes))),
    }
    bodies = {
        "load": f"return *(const {own}u *)p;",
        "loadn": f"{own} r = {{0}}; {count} r[i] = p[i]; return r;",
        "loadsn": f"{own} r = {{0}}; {count} r[i] = p[i * s]; return r;",
        "store": f"*({own}u *)p = a;",
        "storen": f"{count} p[i] = a[i];",
        "stores": f"{every} p[i * s] = a[i];",
        "storesn": f"{count} p[i * s] = a[i];",
        **{name: f"return {text};" for name, text in listed.items()},
    }
    bodies["loads"] = f"{_every_other(own, lanes)} {_every_fourth(own, lanes)} {bodies['loads']}"
    stores = operation.startswith("store")
    if operation == "splat":
        parameters = [f"{element} a"]
    elif operation == "iota":
        parameters = [f"{element} a", f"{element} s"]
    else:
        parameters = [f"{element} *p", f"{own} a"] if stores else [f"const {element} *p"]
        suffix = operation.removeprefix("store").removeprefix("load")
        parameters += [f"int64_t {letter}" for letter in suffix]
    return Instruction(f"{operation}_{kind}", "void" if stores else own, tuple(parameters), bodies[operation])


def _every_other(own: str, lanes: int) -> str:
    """Strided loads of even elements: two whole vectors, the second one up to the last element wanted."""
    picks = [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)]
    loads = _loads(own, "ab", (0, lanes - 1))
    return f"if (s == 2) {{ {loads} return {_shuffle('a', 'b', picks)}; }}"


def _every_fourth(own: str, lanes: int) -> str:
    low = range(0, 2 * lanes, 4)
    high = [*range(0, lanes, 4), *range(lanes + 3, 2 * lanes, 4)]
    loads = _loads(own, "abcd", (0, lanes, 2 * lanes, 3 * lanes - 3))
    halves = _shuffle("a", "b", low), _shuffle("c", "d", high)
    return f"if (s == 4) {{ {loads} return {_shuffle(*halves, range(lanes))}; }}"


def _loads(own: str, names: str, places: Iterable[int]) -> str:
    return " ".join(f"{own} {x} = *(const {own}u *)(p + {at});" for x, at in zip(names, places, strict=True))


def _shuffle(a: str, b: str, picks: Iterable[int]) -> str:
    return f"__builtin_shufflevector({a}, {b}, {', '.join(map(str, picks))})"


def _fold(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    """The upper half of the lanes joins the lower one until a single lane is left."""
    name, element = operation[4:], C_TYPES[dtype]
    if name not in _FOLDS and name not in _PICK:
        raise KeyError(f"{operation}_{kind}")
    sign = _FOLDS.get(name)
    step = f"t[i] {sign} t[i + w]" if sign else f"{name}_{dtype}(t[i], t[i + w])"
    text = (
        f"{element} t[{lanes}]; for (int i = 0; i < {lanes}; i++) t[i] = a[i]; "
        f"for (int w = {lanes // 2}; w; w /= 2) for (int i = 0; i < w; i++) t[i] = {step}; return t[0];"
    )
    return function(operation, kind, "a", text, element)
