"""Instructions in plain C with vector extensions: what every instruction set falls back to."""

from __future__ import annotations

from ingot.isa.instruction import C_TYPES, Instruction, function, parse, type_name

_INFIX = {
    "add": "a + b", "sub": "a - b", "mul": "a * b", "div": "a / b", "bitand": "a & b", "bitor": "a | b", "bitxor": "a ^ b",
    "bitnot": "~a", "neg": "-a", "shl": "a << b", "shr": "a >> b", "fma": "a * b + c",
}  # fmt: skip
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LIBM = (
    "exp", "log", "pow", "tanh", "erf", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
    "sqrt", "floor", "ceil", "trunc",
)  # fmt: skip
_LOGIC = {"and": "a && b", "or": "a || b", "xor": "!a != !b", "not": "!a"}
_FOLDS = {"add": "+", "mul": "*", "and": "&", "or": "|"}
OPERATIONS = {
    *_INFIX, *_COMPARE, *_LIBM, *_LOGIC, "min", "max", "abs", "sign", "round", "mod", "fmod", "sigmoid", "isnan", "isinf",
    "select", "load", "loadn", "loads", "loadsn", "store", "storen", "stores", "storesn", "splat", "foldadd", "foldmul", "foldmax", "foldmin",
    "foldand", "foldor", "iota", "exponent",
}  # fmt: skip
"""Every operation that may appear in an instruction's name."""


def _bits(dtype: str) -> str:
    return {"f64": "i64", "f32": "i32", "f16": "i16"}.get(dtype, dtype)


def derive(operation: str, kind: str) -> Instruction:
    """An instruction from its name. Raises KeyError for an operation that no type has."""
    dtype, lanes = parse(kind)
    return (_scalar if lanes == 1 else _vector)(operation, kind, dtype, lanes)


def _scalar(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    floating = dtype in ("f64", "f32", "f16")
    end = "" if dtype == "f64" else "f"
    if operation in _INFIX:
        letters = "abc" if operation == "fma" else "a" if operation in ("neg", "bitnot") else "ab"
        if operation == "fma" and floating:
            return function(operation, kind, letters, f"return __builtin_fma{end}(a, b, c);")
        if not floating and operation in ("add", "sub", "mul", "neg") and dtype in ("i64", "i32"):
            unsigned = f"u{dtype[1:]}"
            text = {"add": "a + b", "sub": "a - b", "mul": "a * b", "neg": "0 - a"}[operation]
            for letter in "ab":
                text = text.replace(letter, f"({C_TYPES[unsigned]}){letter}")
            return function(operation, kind, letters, f"return ({C_TYPES[dtype]})({text});")
        if operation == "div" and not floating:
            zero = "if (b == 0) return 0; "
            if dtype[0] == "i":
                zero += (
                    "if (b == -1) return (" + C_TYPES[dtype] + ")(0 - (" + C_TYPES["u" + dtype[1:]] + ")a); "
                )
            return function(operation, kind, letters, zero + "return a / b;")
        if operation in ("shl", "shr"):
            bits = int(dtype[1:])
            return function(operation, kind, "ab", f"return b >= {bits} ? 0 : {_INFIX[operation]};")
        return function(operation, kind, letters, f"return {_INFIX[operation]};")
    if operation in _COMPARE:
        return function(operation, kind, "ab", f"return a {_COMPARE[operation]} b;", "uint8_t")
    if operation in _LOGIC:
        return function(
            operation, kind, "a" if operation == "not" else "ab", f"return {_LOGIC[operation]};", "uint8_t"
        )
    if operation in _LIBM:
        if not floating and operation == "pow":
            return function(
                operation, kind, "ab", "if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0; "
                f"{C_TYPES[dtype]} r = 1; for (; b; b >>= 1, a = mul_{kind}(a, a)) if (b & 1) r = mul_{kind}(r, a); return r;",
            )  # fmt: skip
        return function(
            operation,
            kind,
            "ab" if operation == "pow" else "a",
            f"return __builtin_{operation}{end}({'a, b' if operation == 'pow' else 'a'});",
        )
    plain = {
        "min": ("ab", "return b < a ? b : a;"),
        "max": ("ab", "return b > a ? b : a;"),
        "abs": (
            "a",
            f"return __builtin_fabs{end}(a);"
            if floating
            else "return a < 0 ? -a : a;"
            if dtype[0] == "i"
            else "return a;",
        ),
        "sign": ("a", "return a != a ? a : (a > 0) - (a < 0);"),
        "round": ("a", f"return __builtin_nearbyint{end}(a);" if floating else "return a;"),
        "fmod": (
            "ab",
            f"return __builtin_fmod{end}(a, b);" if floating else "return b == 0 || b + 1 == 0 ? 0 : a % b;",
        ),
        "sigmoid": ("a", f"return 1 / (1 + __builtin_exp{end}(-a));"),
        "splat": ("a", "return a;"),
    }
    if operation in plain:
        return function(operation, kind, *plain[operation])
    if operation == "mod":
        if floating:
            return function(
                operation,
                kind,
                "ab",
                f"{C_TYPES[dtype]} r = __builtin_fmod{end}(a, b); return r != 0 && (r < 0) != (b < 0) ? r + b : r;",
            )
        text = f"if (b == 0 || b + 1 == 0) return 0; {C_TYPES[dtype]} r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r;"
        return function(operation, kind, "ab", text)
    if operation in ("isnan", "isinf"):
        return function(
            operation,
            kind,
            "a",
            f"return __builtin_{operation}(a) != 0;" if floating else "return 0;",
            "uint8_t",
        )
    raise KeyError(f"{operation}_{kind}")


def _vector(operation: str, kind: str, dtype: str, lanes: int) -> Instruction:
    own, element = type_name(dtype, lanes), C_TYPES[dtype]
    each = f"for (int i = 0; i < {lanes}; i++)"
    unaligned = f"*(const {own}u *)p"
    floating = dtype in ("f64", "f32", "f16")
    if operation in ("add", "sub", "mul", "neg") and dtype in ("i64", "i32"):
        u = f"u{dtype[1:]}x{lanes}"
        text = {
            "add": f"({u})a + ({u})b",
            "sub": f"({u})a - ({u})b",
            "mul": f"({u})a * ({u})b",
            "neg": f"0 - ({u})a",
        }[operation]
        return function(operation, kind, "a" if operation == "neg" else "ab", f"return ({own})({text});")
    if operation in _INFIX and not (operation in ("div", "shl", "shr") and not floating):
        letters = "abc" if operation == "fma" else "a" if operation in ("neg", "bitnot") else "ab"
        return function(operation, kind, letters, f"return {_INFIX[operation]};")
    mask = f"u8x{lanes}"
    if operation in _COMPARE:
        text = f"return __builtin_convertvector(-(a {_COMPARE[operation]} b), {mask});"
        return function(operation, kind, "ab", text, mask)
    if operation in _LOGIC:
        text = {
            "and": "(a != 0) & (b != 0)",
            "or": "(a != 0) | (b != 0)",
            "xor": "(a != 0) ^ (b != 0)",
            "not": "a == 0",
        }[operation]
        return function(
            operation, kind, "a" if operation == "not" else "ab", f"return ({mask})(-({text}));", mask
        )
    if operation == "select":
        bits = type_name(_bits(dtype), lanes)
        signed = bits.replace("u", "i")
        text = f"{signed} k = __builtin_convertvector(m, {signed}) != 0; return ({own})((({signed})a & k) | (({signed})b & ~k));"
        return Instruction(f"select_{kind}", own, (f"{mask} m", f"{own} a", f"{own} b"), text)
    if operation in ("min", "max"):
        sign = "<" if operation == "min" else ">"
        return function(
            operation, kind, "ab", f"{own} r; {each} r[i] = b[i] {sign} a[i] ? b[i] : a[i]; return r;"
        )
    address = f"const {element} *p"
    memory = {
        "load": ((address,), f"return {unaligned};"),
        "loadn": (
            (address, "int64_t n"),
            f"{own} r = {{0}}; for (int64_t i = 0; i < n; i++) r[i] = p[i]; return r;",
        ),
        "loads": (
            (address, "int64_t s"),
            f"return ({own}){{{', '.join(f'p[{i} * s]' for i in range(lanes))}}};",
        ),
        "loadsn": (
            (address, "int64_t s", "int64_t n"),
            f"{own} r = {{0}}; for (int64_t i = 0; i < n; i++) r[i] = p[i * s]; return r;",
        ),
        "splat": ((f"{element} a",), f"return ({own}){{{', '.join('a' for _ in range(lanes))}}};"),
        "iota": (
            (f"{element} a", f"{element} s"),
            f"return ({own}){{{', '.join(f'a + {i} * s' for i in range(lanes))}}};",
        ),
    }
    if operation in memory:
        return Instruction(f"{operation}_{kind}", own, *memory[operation])
    target = f"{element} *p"
    stores = {
        "store": ((target, f"{own} a"), f"*({own}u *)p = a;"),
        "storen": ((target, f"{own} a", "int64_t n"), "for (int64_t i = 0; i < n; i++) p[i] = a[i];"),
        "stores": ((target, f"{own} a", "int64_t s"), f"{each} p[i * s] = a[i];"),
        "storesn": (
            (target, f"{own} a", "int64_t s", "int64_t n"),
            "for (int64_t i = 0; i < n; i++) p[i * s] = a[i];",
        ),
    }
    if operation in stores:
        return Instruction(f"{operation}_{kind}", "void", *stores[operation])
    if operation.startswith("fold"):
        name = operation[4:]
        step = (
            f"t[i] = t[i] {_FOLDS[name]} t[i + w];"
            if name in _FOLDS
            else f"t[i] = {name}_{dtype}(t[i], t[i + w]);"
        )
        text = f"{element} t[{lanes}]; {each} t[i] = a[i]; for (int w = {lanes // 2}; w; w /= 2) for (int i = 0; i < w; i++) {step} return t[0];"
        return function(operation, kind, "a", text, element)
    if operation in ("isnan", "isinf"):
        text = f"{mask} r; {each} r[i] = {operation}_{dtype}(a[i]); return r;"
        return function(operation, kind, "a", text, mask)
    if operation in OPERATIONS:
        two = operation in ("pow", "mod", "fmod", "div", "shl", "shr")
        text = f"{own} r; {each} r[i] = {operation}_{dtype}({'a[i], b[i]' if two else 'a[i]'}); return r;"
        return function(operation, kind, "ab" if two else "a", text)
    raise KeyError(f"{operation}_{kind}")
