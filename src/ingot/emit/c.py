"""The C printer: one readable function for each kernel, after the instructions that it uses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

from ingot.ir.index import Atom, Ix, Var, ix, nonnegative
from ingot.ir.nodes import (
    Assign,
    Cast,
    Const,
    Define,
    Fold,
    For,
    If,
    Index,
    Iota,
    Kernel,
    Let,
    Load,
    Local,
    Op,
    Pack,
    Pick,
    Prefetch,
    Select,
    Shuffle,
    Splat,
    Stmt,
    Store,
    Text,
    Value,
)  # fmt: skip
from ingot.isa import closure
from ingot.isa.instruction import BYTES, C_TYPES, SIZES, suffix, type_name

_INFIX = {"add": "+", "sub": "-", "mul": "*", "bitand": "&", "bitor": "|", "bitxor": "^"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&&", "or": "||"}
_VECTOR = re.compile(r"\b(bf16|[fiu](?:8|16|32|64))x(\d+)u?\b")


class Printer:
    """Prints one kernel and remembers the instructions it called."""

    def __init__(self, kernel: Kernel, symbols: Sequence[str]) -> None:
        self.kernel, self.symbols = kernel, list(symbols)
        self.used: dict[str, None] = {}
        self.dtypes = {b.name: b.dtype for b in kernel.buffers} | {s.name: s.dtype for s in kernel.scratch}

    def function(self, name: str) -> str:
        """The definition of the kernel under a name."""
        kernel = self.kernel
        lines = [f"void {name}(void *const *p, const int64_t *s, int64_t begin, int64_t end) {{"]
        for i, b in enumerate(kernel.buffers):
            const = "" if b.written else "const "
            lines.append(f"  {const}{C_TYPES[b.dtype]} *const {b.name} = p[{i}]; // {b.note}")
        for scratch in kernel.scratch:
            lines.append(f"  _Alignas(64) {C_TYPES[scratch.dtype]} {scratch.name}[{scratch.size}];")
        for symbol in kernel.symbols:
            lines.append(f"  const int64_t {symbol_name(symbol)} = s[{self.symbols.index(symbol)}];")
        if not kernel.symbols:
            lines.append("  (void)s;")
        task = kernel.task.name
        if kernel.tasks == ix(1):
            # No loop: LLVM's loop vectoriser takes time exponential in a chain of comparisons that a loop repeats.
            lines.append(f"  const int64_t {task} = begin;\n  if ({task} < end) {{")
        else:
            lines.append(f"  for (int64_t {task} = begin; {task} < end; {task}++) {{")
        self.block(kernel.body, 2, lines)
        return "\n".join([*lines, "  }", "}"]) + "\n"

    def block(self, body: Iterable[Stmt], depth: int, lines: list[str]) -> None:
        for statement in body:
            self.statement(statement, depth, lines)

    def statement(self, statement: Stmt, depth: int, lines: list[str]) -> None:
        pad = "  " * depth
        if isinstance(statement, Let):
            local = statement.local
            lines.append(
                f"{pad}{type_name(local.dtype, local.lanes)} {local.name} = {self.value(statement.value)};"
            )
        elif isinstance(statement, Assign):
            lines.append(f"{pad}{statement.local.name} = {self.value(statement.value)};")
        elif isinstance(statement, Define):
            lines.append(f"{pad}const int64_t {statement.var.name} = {self.index(statement.index)};")
        elif isinstance(statement, Store):
            lines.append(f"{pad}{self.store(statement)};")
        elif isinstance(statement, Prefetch):
            place = f"(uintptr_t)({self.index(statement.index)}) * sizeof *{statement.buffer}"
            lines.append(
                f"{pad}__builtin_prefetch((const void *)((uintptr_t){statement.buffer} + {place}), 0, 2);"
            )
        elif isinstance(statement, For):
            v = statement.var.name
            step = f"{v}++" if statement.step == 1 else f"{v} += {statement.step}"
            if statement.unroll:
                lines.append(f"{pad}INGOT_UNROLL({statement.unroll})")
            lines.append(
                f"{pad}for (int64_t {v} = {self.index(statement.start)}; {v} < {self.index(statement.stop)}; {step}) {{"
            )
            self.block(statement.body, depth + 1, lines)
            lines.append(f"{pad}}}")
        else:
            assert isinstance(statement, If)
            lines.append(f"{pad}if ({self.value(statement.cond)}) {{")
            self.block(statement.body, depth + 1, lines)
            if statement.otherwise:
                lines.append(f"{pad}}} else {{")
                self.block(statement.otherwise, depth + 1, lines)
            lines.append(f"{pad}}}")

    def call(self, operation: str, dtype: str, lanes: int, *arguments: str) -> str:
        name = f"{operation}_{suffix(dtype, lanes)}"
        self.used[name] = None
        return f"{name}({', '.join(arguments)})"

    def store(self, s: Store) -> str:
        value, lanes, dtype = self.value(s.value), s.value.lanes, self.dtypes[s.buffer]
        if lanes == 1:
            return f"{s.buffer}[{self.index(s.index)}] = {value}"
        address = self.address(s.buffer, s.index)
        if s.count is not None and s.stride != 1:
            return self.call("storesn", dtype, lanes, address, value, str(s.stride), self.index(s.count))
        if s.count is not None:
            return self.call("storen", dtype, lanes, address, value, self.index(s.count))
        if s.stride != 1:
            return self.call("stores", dtype, lanes, address, value, str(s.stride))
        return self.call("store", dtype, lanes, address, value)

    def address(self, buffer: str, index: Ix) -> str:
        return buffer if not index.terms else f"{buffer} + {self.index(index)}"

    def value(self, v: Value) -> str:
        """The C expression of a value."""
        if isinstance(v, Local):
            return v.name
        if isinstance(v, Const):
            return literal(v)
        if isinstance(v, Index):
            return f"({self.index(v.index)})"
        if isinstance(v, Load):
            return self.load(v)
        if isinstance(v, Splat):
            return self.call(
                "splat" if v.value.lanes == 1 else "repeat", v.dtype, v.lanes, self.value(v.value)
            )
        if isinstance(v, Op):
            return self.operation(v)
        if isinstance(v, Cast):
            return self.cast(v)
        if isinstance(v, Select):
            if v.cond.lanes > 1:
                return self.call(
                    "select", v.dtype, v.lanes, *(self.value(x) for x in (v.cond, v.then, v.otherwise))
                )
            return f"({self.value(v.cond)} ? {self.value(v.then)} : {self.value(v.otherwise)})"
        if isinstance(v, Text):
            assert isinstance(v.at, Load)
            return f"ingot_text({self.address(v.at.buffer, v.at.index)}, {self.value(v.length)})"
        if isinstance(v, Pack):
            return f"({type_name(v.dtype, v.lanes)}){{{', '.join(self.value(i) for i in v.items)}}}"
        if isinstance(v, Iota):
            return self.call("iota", "i64", v.lanes, self.index(v.base), str(v.stride))
        if isinstance(v, Fold):
            return self.call(f"fold{v.name}", v.value.dtype, v.value.lanes, self.value(v.value))
        if isinstance(v, Shuffle):
            both = f"{self.value(v.first)}, {self.value(v.second)}"
            return f"__builtin_shufflevector({both}, {', '.join(map(str, v.picks))})"
        assert isinstance(v, Pick), v
        return f"{self.value(v.value)}[{v.lane}]"

    def cast(self, v: Cast) -> str:
        to, inner = type_name(v.dtype, v.lanes), self.value(v.value)
        if v.bits:
            return f"({to}){inner}" if v.lanes > 1 else self.call(f"bits{v.dtype}", v.value.dtype, 1, inner)
        if "bf16" in (v.dtype, v.value.dtype):
            return self.call("narrow" if v.dtype == "bf16" else "widen", v.value.dtype, v.lanes, inner)
        if v.dtype in BYTES:
            return self.call(f"to{v.dtype}", v.value.dtype, v.lanes, inner)
        if v.value.dtype in BYTES:
            return self.call(f"from{v.value.dtype}", v.dtype, v.lanes, inner)
        return f"({to})({inner})" if v.lanes == 1 else f"__builtin_convertvector({inner}, {to})"

    def load(self, v: Load) -> str:
        if v.lanes == 1:
            return f"{v.buffer}[{self.index(v.index)}]"
        address = self.address(v.buffer, v.index)
        if v.count is not None and v.stride != 1:
            return self.call("loadsn", v.dtype, v.lanes, address, str(v.stride), self.index(v.count))
        if v.count is not None:
            return self.call("loadn", v.dtype, v.lanes, address, self.index(v.count))
        if v.stride != 1:
            return self.call("loads", v.dtype, v.lanes, address, str(v.stride))
        return self.call("load", v.dtype, v.lanes, address)

    def operation(self, v: Op) -> str:
        arguments = [self.value(a) for a in v.args]
        dtype = v.args[0].dtype
        floating = dtype in ("f32", "f64")
        if v.name in _INFIX and (floating or v.name.startswith("bit")) and dtype != "bool":
            return f"({arguments[0]} {_INFIX[v.name]} {arguments[1]})"
        if v.name == "div" and floating:
            return f"({arguments[0]} / {arguments[1]})"
        if v.lanes == 1 and v.name in _COMPARE and dtype != "str":
            return f"({arguments[0]} {_COMPARE[v.name]} {arguments[1]})"
        return self.call(v.name, dtype, v.lanes, *arguments)

    def index(self, e: Ix) -> str:
        """The C expression of an integer."""
        if not e.terms:
            return "0"
        parts: list[str] = []
        for monomial, coefficient in sorted(e.terms, key=lambda t: not t[0]):
            factors = [self.factor(f) for f in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.append(str(abs(coefficient)))
            sign = ("-" if coefficient < 0 else "") if not parts else (" - " if coefficient < 0 else " + ")
            parts.append(sign + " * ".join(factors))
        text = "".join(parts)
        return (
            text if len(e.terms) == 1 and len(e.terms[0][0]) <= 1 and abs(e.terms[0][1]) == 1 else f"({text})"
        )

    def factor(self, factor: Var | Atom) -> str:
        if isinstance(factor, Var):
            return symbol_name(factor.name) if factor.is_symbol else factor.name
        if factor.kind == "data":
            return f"(int64_t)({self.value(factor.args[0])})"  # type: ignore[arg-type]
        a, b = factor.args
        assert isinstance(a, Ix)
        assert isinstance(b, Ix)
        left, right = self.index(a), self.index(b)
        if factor.kind in ("div", "mod"):
            sign = "/" if factor.kind == "div" else "%"
            if nonnegative(a) and b.is_const:
                return f"({left} {sign} {right})"
            return f"ingot_floor_{factor.kind}({left}, {right})"
        return f"ingot_{factor.kind}({left}, {right})"


def c_string(text: str | bytes) -> str:
    """A C string literal."""
    out = []
    for byte in text.encode() if isinstance(text, str) else text:
        out.append(chr(byte) if 32 <= byte < 127 and byte not in (34, 92, 63) else f"\\{byte:03o}")
    return f'"{"".join(out)}"'


def symbol_name(name: str) -> str:
    """The C variable of a symbol, which no other name of generated code equals."""
    return f"n_{name}"


def literal(c: Const) -> str:
    """A constant as C writes it."""
    if isinstance(c.value, bytes):
        return f"ingot_text({c_string(c.value)}, {len(c.value)})"
    if c.dtype in ("f32", "f64", "f16"):
        value = float(c.value)
        end = "" if c.dtype == "f64" else "f"
        if math.isnan(value):
            return f'__builtin_nan{end}("")'
        if math.isinf(value):
            return f"({'-' if value < 0 else ''}__builtin_inf{end}())"
        text = repr(value)
        return f"{text if '.' in text or 'e' in text else text + '.0'}{end}"
    if c.dtype == "bool":
        return "1" if c.value else "0"
    if int(c.value) == -(2**63):
        return "INT64_MIN"
    return f"{int(c.value)}{'u' if c.dtype[0] == 'u' else ''}{'ll' if c.dtype in ('i64', 'u64') else ''}"


INTEGERS = """\
static inline int64_t ingot_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ingot_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ingot_floor_div(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return b ? (int64_t)(0 - (uint64_t)a) : 0;
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
static inline int64_t ingot_floor_mod(int64_t a, int64_t b) { return a - ingot_floor_div(a, b) * b; }
"""
"""Integer functions that generated code may call; a division by 0 gives 0, as an empty tensor asks for no element."""

STRINGS = """\
typedef struct ingot_string { const char *data; uint64_t bytes; } ingot_string;
static inline ingot_string ingot_text(const void *data, int64_t bytes) {
  return (ingot_string){(const char *)data, (uint64_t)bytes};
}
static inline int ingot_compare(ingot_string a, ingot_string b) {
  const uint64_t both = a.bytes < b.bytes ? a.bytes : b.bytes;
  for (uint64_t i = 0; i < both; i++)
    if (a.data[i] != b.data[i]) return (unsigned char)a.data[i] < (unsigned char)b.data[i] ? -1 : 1;
  return (a.bytes > b.bytes) - (a.bytes < b.bytes);
}
"""

_PRELUDE = """#include <stdint.h>
#ifdef __clang__
#define INGOT_PRAGMA(text) _Pragma(#text)
#define INGOT_UNROLL(n) INGOT_PRAGMA(clang loop unroll_count(n))
#else
#define INGOT_PRAGMA(text) _Pragma(#text)
#define INGOT_UNROLL(n) INGOT_PRAGMA(GCC unroll n)
#endif
"""


def source(
    isa: str, functions: Sequence[str], used: Iterable[str], comment: Callable[[], str] = lambda: ""
) -> str:
    """A C file of kernel functions with the vector types and instructions they use."""
    instructions = closure(isa, dict.fromkeys(used))
    bodies = [i.text() for i in instructions]
    text = "\n".join([*bodies, *functions])
    types = sorted({(m[1], int(m[2])) for m in _VECTOR.finditer(text)})
    declared = set(types)
    for base, lanes in types:
        if base.startswith("f"):
            declared.add((f"i{base[1:]}", lanes))
    lines = [comment()]
    if "_mm" in text or "__m" in text:
        lines.append("#include <immintrin.h>")
    lines.append(_PRELUDE + INTEGERS + (STRINGS if "ingot_text" in text or "ingot_string" in text else ""))
    for base, lanes in sorted(declared):
        size = SIZES[base] * lanes
        c = C_TYPES[base]
        lines.append(f"typedef {c} {base}x{lanes} __attribute__((vector_size({size})));")
        lines.append(
            f"typedef {c} {base}x{lanes}u __attribute__((vector_size({size}), aligned({SIZES[base]}), may_alias));"
        )
    return "\n".join([*lines, *bodies, "", *functions])
