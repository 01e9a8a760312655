"""The C sources and the weights of a compiled program."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ingot.emit.c import INTEGERS, Printer, c_string, source, symbol_name
from ingot.emit.header import comment
from ingot.ir.index import Ix, Var, ix, nonnegative, show, var
from ingot.ir.nodes import Kernel, data_of, size_of
from ingot.ir.program import Guard, Loop, Measure, Operation, Program, Tensor, tests
from ingot.ir.work import picoseconds
from ingot.isa.instruction import C_TYPES
from ingot.kernels.builder import Built, Packed
from ingot.schedule.memory import Plan
from ingot.target import Target

ALIGN = 64
HEADER = 4096
MAGIC = b"INGOTW01"
ONNX_TYPES = {
    "f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "str": 8, "bool": 9, "f16": 10, "f64": 11, "u32": 12, "u64": 13,
    "bf16": 16, "f8e4m3fn": 17, "f8e4m3fnuz": 18, "f8e5m2": 19, "f8e5m2fnuz": 20, "u4": 21, "i4": 22, "f4e2m1": 23, "f8e8m0": 24, "u2": 25,
    "i2": 26,
}  # fmt: skip
GRAIN = 1000.0
"""Nanoseconds of work that are worth another thread."""


@dataclass
class Step:
    """One kernel call of the run."""

    operation: Operation
    built: Built


@dataclass
class KernelInfo:
    """A distinct kernel of the library: its C name, how often it runs and for which ONNX nodes."""

    name: str
    text: str
    used: dict[str, None]
    nodes: list[str] = field(default_factory=list)
    calls: int = 0


@dataclass
class Emitted:
    """kernel_files: file name -> C of the kernels. model: the C that calls them. weights: the whole weights file.
    kernels: in order of first use. order: the name of each step's kernel."""

    kernel_files: dict[str, str]
    model: str
    weights: bytes
    kernels: list[KernelInfo]
    order: list[str]


class Weights:
    """The data part of the weights file: each constant once, aligned."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0
        self._alike: dict[tuple[str, tuple[int, ...], bytes], list[tuple[np.ndarray, int]]] = {}
        self._by_id: dict[int, int] = {}

    def place(self, array: np.ndarray) -> int:
        """The offset of the array's bytes."""
        if id(array) not in self._by_id:
            self._by_id[id(array)] = self._offset(np.ascontiguousarray(array))
        return self._by_id[id(array)]

    def _offset(self, data: np.ndarray) -> int:
        raw = data.reshape(-1).view(np.uint8)
        sample = raw[:: max(raw.size // 64, 1)].tobytes()
        alike = self._alike.setdefault((data.dtype.str, data.shape, sample), [])
        for known, offset in alike:
            if np.array_equal(known, raw):
                return offset
        offset = self.size
        alike.append((raw, offset))
        self.parts.append(data)
        self.size += -(-data.nbytes // ALIGN) * ALIGN
        return offset

    def file(self) -> bytes:
        """Header and data; a vector past the end of the last constant is still inside."""
        pieces: list[bytes | memoryview] = []
        for part in self.parts:
            pieces += [part.reshape(-1).view(np.uint8).data, bytes(-part.nbytes % ALIGN)]
        pieces.append(bytes(ALIGN))
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        head = MAGIC + (self.size + ALIGN).to_bytes(8, "little") + digest.digest()
        return b"".join([head, bytes(HEADER - len(head)), *pieces])


def emit(
    program: Program,
    steps: Sequence[Step],
    plan: Plan,
    target: Target,
    version: str,
    profile: bool = False,
    known: Emitted | None = None,
) -> Emitted:
    """Print every kernel once, the run that calls them, and the description the runtime works from.

    profile: the library also exports `int64_t <name>_profile[]`, the nanoseconds that each step has taken so far. known:
    another program's C, whose files stand before those of the kernels that it lacks.
    """
    symbols = [v.name for v in program.symbols]
    weights = Weights()
    before = {} if known is None else {k.text: replace(k, nodes=[], calls=0) for k in known.kernels}
    kernels: dict[str, KernelInfo] = dict(before)
    calls: list[str] = []
    order: list[str] = []
    requires = _Requires(program)
    requires.known()
    plain = Printer(_nothing(), symbols)
    loops = _Loops(lambda tensor: _flag(tensor, weights, plan, program, plain), plain, program, requires)
    for step in steps:
        calls += loops.enter(step.operation)
        printer = Printer(step.built.kernel, symbols)
        if isinstance(step.operation, Measure):
            calls += _measure(step.operation, requires, weights, plan, program, printer)
            order.append("measure")
            continue
        text = printer.function("NAME")
        if text not in kernels:
            kernels[text] = KernelInfo(
                f"{program.name}_{step.built.kernel.name}_{target.isa}_{len(kernels)}", text, printer.used
            )
        info = kernels[text]
        info.calls += 1
        info.nodes += [n for n in step.operation.nodes if n not in info.nodes]
        calls += _call(step, info.name, weights, plan, program, printer)
        if profile:
            calls.append(f"  lap = ingot_lap(lap, &{program.name}_profile[{len(order)}]);")
        order.append(info.name)
    calls += loops.enter(None)
    blob = weights.file()
    files = {} if known is None else dict(known.kernel_files)
    files |= _kernel_files([k for k in kernels.values() if k.text not in before], target, len(files))
    model = _model_file(program, kernels.values(), calls, plan, target, version, blob)
    if profile:
        model = _with_clock(model, program.name, len(order))
    return Emitted(files, model, blob, list(kernels.values()), order)


def _with_clock(model: str, name: str, steps: int) -> str:
    """The model file with the counters that its steps add to."""
    clock = f"""#include <time.h>
INGOT_EXPORT int64_t {name}_profile[{max(steps, 1)}];
static int64_t ingot_lap(int64_t before, int64_t *sum) {{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t after = now.tv_sec * 1000000000ll + now.tv_nsec;
  *sum += after - before;
  return after;
}}

"""
    run = "static int32_t run(const ingot_frame *f) {\n"
    return model.replace(run, f"{clock}{run}  int64_t unused = 0, lap = ingot_lap(0, &unused);\n", 1)


def _call(
    step: Step, name: str, weights: Weights, plan: Plan, program: Program, printer: Printer
) -> list[str]:
    pointers = []
    for argument in step.built.arguments:
        if isinstance(argument, Packed):
            pointers.append(f"(void *)(w + {weights.place(argument.data)})")
        else:
            pointers.append(_pointer(argument.root, weights, plan, program, printer, argument.start))
    kernel = step.built.kernel
    grain = _grain(step, printer)
    call = f"ingot_parallel(f->threads, {name}, p, s, {printer.index(kernel.tasks)}, {grain})"
    if kernel.wave is not None:
        sizes = f"{printer.index(kernel.tasks)}, {printer.index(kernel.wave)}, {grain}"
        call = f"ingot_parallel_waves(f->threads, {name}, p, s, {sizes})"
    most = kernel.tasks if kernel.wave is None else kernel.wave
    if isinstance(grain, int) and most.is_const and most.value <= grain:
        call = f"{name}(p, s, 0, {kernel.tasks.value})"
    if step.operation.demand:
        made = _pointer(step.operation.output, weights, plan, program, printer)
        stop = f"ingot_stop(INGOT_E_INDEX, {c_string(step.operation.demand)})"
        call += f"; if (!*(const uint8_t *){made}) return {stop}"
    line = f"{{ void *const p[] = {{{', '.join(pointers)}}}; {call}; }}"
    line = _guarded(step.operation, line, weights, plan, program, printer)
    return [f"  /* {comment(', '.join(step.operation.nodes))} */", f"  {line}"]


def _guarded(
    operation: Operation, line: str, weights: Weights, plan: Plan, program: Program, printer: Printer
) -> str:
    """A statement that runs only where the operation does."""
    for tensor, wanted in operation.tests():
        line = f"if ({'' if wanted else '!'}{_flag(tensor, weights, plan, program, printer)}) {line}"
    return line


def _flag(tensor: Tensor, weights: Weights, plan: Plan, program: Program, printer: Printer) -> str:
    """The one element of a bool tensor."""
    return f"*(const uint8_t *){_pointer(tensor.root()[0], weights, plan, program, printer)}"


class _Loops:
    """Opens and closes the loops around the steps."""

    def __init__(
        self, flag: Callable[[Tensor], str], printer: Printer, program: Program, requires: _Requires
    ) -> None:
        self.flag, self.printer, self.program, self.requires = flag, printer, program, requires
        self.open: list[Guard] = []

    def enter(self, operation: Operation | None) -> list[str]:
        """The lines between the step before and that of an operation, None for the end of the run."""
        wanted = [] if operation is None else operation.loops()
        same = 0
        while same < min(len(wanted), len(self.open)) and wanted[same] == self.open[same]:
            same += 1
        lines = ["  }"] * (len(self.open) - same)
        for guard in wanted[same:]:
            loop = guard[-1]
            assert isinstance(loop, Loop)
            name = symbol_name(loop.counter.name)
            limits = [f"{name} < {self.printer.index(loop.trips)}"] if loop.trips is not None else []
            limits += [self.flag(loop.condition)] if loop.condition is not None else []
            turn = f"s[{self.program.symbols.index(loop.counter)}] = ++{name}"
            line = f"for (; {' && '.join(limits)}; {turn}) {{"
            for tensor, expected in tests(guard):
                line = f"if ({'' if expected else '!'}{self.flag(tensor)}) {line}"
            lines.append(f"  {line}")
            for a, b in self.requires.known(loop.counter):
                equal = f"{self.printer.index(a)} != {self.printer.index(b)}"
                lines.append(f"  if ({equal}) return {_stop_unequal(())};")
        self.open = wanted
        return lines


def _stop_unequal(nodes: Sequence[str]) -> str:
    cause = f"{', '.join(nodes) or 'a loop'}: sizes that have to be equal differ"
    return f"ingot_stop(INGOT_E_SHAPE, {c_string(cause)})"


class _Requires:
    """The sizes that have to be equal, each pair told when the symbols in it are known: wherever the last of them is
    measured, as each branch of an If may measure it."""

    def __init__(self, program: Program) -> None:
        self.left = list(program.requires)
        self.counters = {g.counter for o in program.operations for g in o.guard if isinstance(g, Loop)}
        self.unknown = set(program.bounds())
        self.told: dict[Var | None, list[tuple[Ix, Ix]]] = {}

    def known(self, symbol: Var | None = None) -> list[tuple[Ix, Ix]]:
        """The pairs that can be compared as soon as `symbol` is known too."""
        if symbol in self.told:
            return self.told[symbol]
        if symbol is not None:
            self.unknown.discard(symbol)
        ready = [p for p in self.left if self.unknown.isdisjoint(p[0].variables() | p[1].variables())]
        self.left = [p for p in self.left if p not in ready]
        self.told[symbol] = ready
        return ready


def _measure(
    operation: Measure,
    requires: _Requires,
    weights: Weights,
    plan: Plan,
    program: Program,
    printer: Printer,
) -> list[str]:
    symbol, source = operation.symbol, operation.source
    if isinstance(source, Tensor):
        c_type = C_TYPES[source.dtype]
        at = _pointer(source.root()[0], weights, plan, program, printer, operation.position)
        value = f"*(const {c_type} *){at}"
    else:
        value = printer.index(source)
    name = symbol_name(symbol.name)
    parts = [f"{name} = s[{program.symbols.index(symbol)}] = {value};"]
    if operation.most is not None:
        cause = f"{', '.join(operation.nodes)}: a size that is computed in the run is negative or beyond its bound"
        stop = f"ingot_stop(INGOT_E_VALUE, {c_string(cause)})"
        parts.append(f"if ({name} < 0 || {name} > {printer.index(operation.most)}) return {stop};")
    if symbol not in requires.counters:
        for a, b in requires.known(symbol):
            unequal = f"{printer.index(a)} != {printer.index(b)}"
            parts.append(f"if ({unequal}) return {_stop_unequal(operation.nodes)};")
    line = _guarded(operation, f"{{ {' '.join(parts)} }}", weights, plan, program, printer)
    return [f"  /* {comment(', '.join(operation.nodes))} */", f"  {line}"]


def _grain(step: Step, printer: Printer) -> int | str:
    """How many tasks are worth another thread, an expression where it depends on the symbols."""
    kernel = step.built.kernel
    work = picoseconds(step.operation)
    if (work.is_const and kernel.tasks.is_const) or data_of(work):
        return max(int(GRAIN / max(kernel.work, 1e-3)), 1)
    return f"ingot_grain({printer.index(kernel.tasks)}, {_real(work)})"


def _pointer(
    tensor: Tensor, weights: Weights, plan: Plan, program: Program, printer: Printer, start: int = 0
) -> str:
    """The address of an element of a tensor's storage."""
    offset = start * size_of(tensor.dtype)
    if tensor.kind in ("input", "output"):
        tensors = program.inputs if tensor.kind == "input" else program.outputs
        pointer = f"f->{tensor.kind}s[{tensors.index(tensor)}]"
        return f"(void *)((unsigned char *){pointer} + {offset})" if offset else pointer
    if tensor.kind == "const":
        assert tensor.data is not None
        return f"(void *)(w + {weights.place(tensor.data) + offset})"
    return f"(a + {printer.index(plan.offsets[tensor] + offset)})"


def _kernel_files(kernels: Sequence[KernelInfo], target: Target, number: int) -> dict[str, str]:
    """Kernels in files of similar length, so that they compile in parallel and rebuild alone, numbered from `number`."""
    files: dict[str, str] = {}
    group: list[KernelInfo] = []
    for i, kernel in enumerate(kernels):
        group.append(kernel)
        if sum(len(k.text) for k in group) > 24_000 or i == len(kernels) - 1:
            functions = [
                f"/* {comment(', '.join(k.nodes))} */\n{k.text.replace('void NAME(', f'void {k.name}(', 1)}"
                for k in group
            ]
            used = {name: None for k in group for name in k.used}
            text = source(target.isa, functions, used, lambda: "")
            files[f"kernels_{number + len(files)}.c"] = text
            group = []
    return files


def _model_file(
    program: Program,
    kernels: Iterable[KernelInfo],
    calls: list[str],
    plan: Plan,
    target: Target,
    version: str,
    blob: bytes,
) -> str:
    symbols = [v.name for v in program.symbols]
    index = {s: i for i, s in enumerate(symbols)}
    printer = Printer(_nothing(), symbols)
    bounds = program.bounds()
    names = [f"const int64_t {n} = s[{i}]; (void){n};" for i, n in enumerate(map(symbol_name, symbols))]
    own = [
        n.removeprefix("const ") if v in bounds else n for v, n in zip(program.symbols, names, strict=True)
    ]
    lines = [
        '#include "ingot_abi.h"',
        "#include <stddef.h>",
        INTEGERS,
        "static inline int64_t ingot_grain(int64_t tasks, double picoseconds) {",
        f"  const double grain = {GRAIN * 1000} * tasks / (picoseconds + 1.0);",
        "  return grain < 1e9 ? (int64_t)grain : 1000000000;",
        "}",
        "",
        *(f"void {k.name}(void *const *p, const int64_t *s, int64_t begin, int64_t end);" for k in kernels),
        "",
        "static int32_t run(const ingot_frame *f) {",
        "  unsigned char *const a = f->arena; (void)a;",
        "  const unsigned char *const w = f->weights; (void)w;",
        "  int64_t *const s = f->symbols; (void)s;",
        *(f"  {n}" for n in own),
        *(_range_check(v) for v in program.symbols if v not in bounds and v.limit is not None),
        *(
            f"  if ({printer.index(a)} != {printer.index(b)}) return INGOT_E_SHAPE;"
            for a, b in _Requires(program).known()
        ),
        *calls,
        "  return INGOT_OK;",
        "}",
        "",
        "static int64_t arena_bytes(const int64_t *s) {",
        *(f"  {n}" for n in names),
        "  (void)s;",
        *(f"  if ({printer.index(d)} < 0) return INGOT_ARENA_NEGATIVE;" for d in _possibly_negative(program)),
        f"  if ({_real(plan.size)} > 4e18) return -1;",
        f"  return {printer.index(plan.size)} + {ALIGN};",
        "}",
        "",
        "static void output_dims(const int64_t *s, int64_t *d) {",
        *(f"  {n}" for n in names),
        "  (void)s; (void)d;",
        *(
            f"  d[{i}] = {printer.index(d)};"
            for i, d in enumerate(d for t in program.outputs for d in t.shape)
        ),
        "}",
        "",
    ]
    if bounds:
        lines.append("static void bound_symbols(int64_t *s) {")
        lines += [f"  {n}" for v, n in zip(program.symbols, names, strict=True) if v not in bounds]
        for symbol, bound in bounds.items():
            text = printer.index(bound or ix(0))
            lines.append(f"  s[{program.symbols.index(symbol)}] = {text};")
        lines += ["}", ""]
    for kind, tensors in (("inputs", program.inputs), ("outputs", program.outputs)):
        for i, tensor in enumerate(tensors):
            dims = ", ".join(_dim(d, index) for d in tensor.shape) or "0"
            lines.append(f"static const int64_t {kind}_{i}[] = {{{dims}}};")
        ports = ", ".join(
            f"{{{c_string(t.name)}, {ONNX_TYPES[t.dtype]}, {t.rank}, {kind}_{i}}}"
            for i, t in enumerate(tensors)
        )
        lines.append(f"static const ingot_port {kind}[] = {{{ports}}};")
    digest = ", ".join(f"0x{b:02x}" for b in blob[16:48])
    lines.append(
        f"static const char *const symbols[] = {{{', '.join(c_string(s) for s in symbols) or 'NULL'}}};"
    )
    lines += [
        f'const ingot_desc {program.name}_desc __attribute__((visibility("default"))) = {{',
        f"  INGOT_ABI, {c_string(program.name)}, {c_string(version)}, {c_string(target.name)},",
        f"  {len(program.inputs)}, {len(program.outputs)}, {len(symbols)}, inputs, outputs, symbols,",
        f"  {len(blob) - HEADER}u, {{{digest}}}, NULL, arena_bytes, output_dims, run, {'bound_symbols' if bounds else 'NULL'}",
        "};",
        f'__attribute__((visibility("default"))) int32_t {program.name}_open(const char *weights_path, ingot_model **model) {{',
        f"  return ingot_open(&{program.name}_desc, weights_path, model);",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _nothing() -> Kernel:
    return Kernel("", (), (), var("task", 1), ix(1), ())


def _range_check(symbol: Var) -> str:
    """A statement that ends a run in which a symbol is outside the range that the kernels are made for."""
    name, cause = symbol_name(symbol.name), f"{symbol.name} has to be {symbol.least} to {symbol.limit}"
    stop = f"ingot_stop(INGOT_E_SHAPE, {c_string(cause)})"
    return f"  if ({name} < {symbol.least} || {name} > {symbol.limit}) return {stop};"


def _possibly_negative(program: Program) -> list[Ix]:
    """Sizes of tensors that some symbols make negative: a window larger than what it slides over."""
    bounds = program.bounds()
    dims = {d for o in program.operations for d in o.output.shape if not d.is_const}
    return sorted(
        (d for d in dims if not nonnegative(d) and bounds.keys().isdisjoint(d.variables())), key=show
    )


def _real(e: Ix) -> str:
    """An upper estimate of an integer expression in floating point, which cannot overflow."""
    parts = []
    for monomial, coefficient in e.terms:
        factors = [f"{max(coefficient, 0)}.0"]
        for factor in monomial:
            if isinstance(factor, Var):
                factors.append(f"(double){symbol_name(factor.name)}")
                continue
            a, b = factor.args
            assert isinstance(a, Ix)
            assert isinstance(b, Ix)
            if factor.kind == "div":
                factors.append(f"({_real(a)} / {b.value if b.is_const else 1}.0)")
            else:
                factors.append(_real(b) if factor.kind == "mod" else f"({_real(a)} + {_real(b)})")
        parts.append(" * ".join(factors))
    return f"({' + '.join(parts) or '0.0'})"


def _dim(d: Ix, index: dict[str, int]) -> str:
    if d.is_const:
        return str(d.value)
    monomial = d.terms[0][0]
    if len(d.terms) == 1 and d.terms[0][1] == 1 and len(monomial) == 1 and isinstance(monomial[0], Var):
        return str(-1 - index[monomial[0].name])
    return "INGOT_DIM_COMPUTED"
