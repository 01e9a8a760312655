"""The pipeline: a model -> a package, top to bottom."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import onnx
import onnx_ir

from ingot import debug, toolchain
from ingot.dump import Trace
from ingot.emit.example import render_example
from ingot.emit.header import render_header
from ingot.emit.model import HEADER, Emitted, Step
from ingot.emit.model import emit as write_c
from ingot.emit.package import Package
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.pipeline import PassReport, optimize
from ingot.ir.index import Var, show
from ingot.ir.program import Program, Tensor
from ingot.ir.show import show_program
from ingot.ir.verify import verify
from ingot.ir.work import macs
from ingot.kernels.ahead import bytes_ahead
from ingot.kernels.choice import LAYOUTS, Candidate, Choices
from ingot.kernels.layout_cost import LayoutCost
from ingot.kernels.operands import rearrange
from ingot.kernels.select import build
from ingot.kernels.use_winograd import DEFAULT_ERROR, use_winograd
from ingot.lower import lowering
from ingot.lower.registry import REGISTRY
from ingot.runtime.ports import Port
from ingot.runtime.sources import native_text
from ingot.schedule.assignment import Assignment, choose
from ingot.schedule.batch import split_batch
from ingot.schedule.fuse import fuse
from ingot.schedule.layout import Layout
from ingot.schedule.memory import Plan, plan, typical_values
from ingot.schedule.peel import peel_borders
from ingot.schedule.precision import use_bf16
from ingot.schedule.recognise import recognise
from ingot.target import Target, resolve
from ingot.tune.results import kernel_key, load_results, machine_key, program_key, save_results
from ingot.tune.search import Make, Search, Variant, check_tunable
from ingot.version import __version__

Model = "str | Path | onnx.ModelProto | onnx_ir.Model"
Progress = Callable[[str, int, int], None]
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fno-strict-aliasing")
"""How generated code is compiled, before the target's own flags."""
WORST = 1.25
"""How many times the least estimate all layouts together may cost to be timed."""
NUMPY_NAMES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8",
    "u64": "uint64", "u32": "uint32", "u16": "uint16", "u8": "uint8", "bool": "bool", "str": "string",
    "bf16": "bfloat16", "f8e4m3fn": "float8e4m3fn", "f8e4m3fnuz": "float8e4m3fnuz", "f8e5m2": "float8e5m2", "f8e5m2fnuz": "float8e5m2fnuz",
    "f8e8m0": "float8e8m0", "f4e2m1": "float4e2m1", "i4": "int4", "u4": "uint4", "i2": "int2", "u2": "uint2",
}  # fmt: skip


class Observer(Protocol):
    """What is told of a compilation while it runs, and changes nothing of what it sees."""

    def loaded(self, graph: onnx_ir.Model) -> None:
        """The model as it was read; later stages rewrite it in place."""

    def applied(self, report: PassReport) -> None:
        """What one application of a graph rule did to it."""

    def planned(self, program: Program, steps: Sequence[Step], memory: Plan, assigned: Assignment) -> None:
        """What runs, and where and in which layouts its tensors lie."""


def compile(
    model: str | Path | onnx.ModelProto | onnx_ir.Model,
    *,
    shapes: Mapping[str, Sequence[int | str] | None] | None = None,
    target: str = "native",
    precision: str = "f32",
    emit: str = "library",
    cc: str | None = None,
    name: str | None = None,
    winograd_error: float = DEFAULT_ERROR,
    profile: bool = False,
    tune: float | None = None,
    tuning: str | Path | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Package:
    """Cast a model into a package.

    model: a path or a loaded model. shapes: input name -> dimensions, integers or symbol names, in place of the model's;
    of a sequence x, "x.0", "x.1" … for its elements, or x: () where it has none; None for an optional without a value.
    target: "native" or a name of `ingot targets`. emit: "library", "static" or "source". cc: a C compiler other than
    the default. name: of the library, by default the model's. winograd_error: the most that Winograd's transforms may add
    to a convolution, relative to its largest output; 0 leaves them out. profile: the library counts the time of each
    step, which `ingot bench --profile` reads, and the report lists the "steps". tune: seconds to spend on timing kernels of this
    model in other tiles and methods on this machine; the result is kept where the whole model is faster with it. tuning:
    a file of earlier results, used with or without tune, which adds to it; without a file it adds to
    $INGOT_TUNING. progress: called with (stage, done, total). observer: shown the graph and the plan as they are made.
    Raises IngotError; nothing is written but the build cache and the file of results.
    """
    if precision not in ("f32", "bf16"):
        raise IngotError(
            "option-invalid",
            f"there is no precision {precision!r}",
            where="precision",
            remedy="use f32 or bf16",
        )
    if emit not in ("library", "static", "source"):
        raise IngotError(
            "option-invalid",
            f"there is no output form {emit!r}",
            where="emit",
            remedy="use library, static or source",
        )
    if not winograd_error >= 0:
        raise IngotError(
            "option-invalid",
            f"an error of {winograd_error} cannot be allowed",
            where="winograd_error",
            remedy="give a number from 0 on, such as 1e-5",
        )
    stages = _Stages(progress, Trace())
    chosen = resolve(target, precision)
    file = None if tuning is None and tune is None else Path(tuning or debug.tuning_file())
    if tune is not None:
        check_tunable(chosen, tune)
    machine = machine_key(chosen)
    results = {} if file is None else load_results(file, missing=tune is not None).get(machine, {})
    compiler = None if emit == "source" else toolchain.find_compiler(cc)
    with stages("load"):
        graph = load_model(model, shapes)
        label = label_of(model, graph, name)
        before = sum(1 for _ in graph.graph.all_nodes())
    if observer is not None:
        observer.loaded(graph)
    with stages("optimise graph"):
        optimize(graph, on_pass=None if observer is None else observer.applied, keep=REGISTRY)
        after = sum(1 for _ in graph.graph.all_nodes())
        stages.trace.model("optimised", graph)
    tuned: dict[str, float] = {}
    if tune is not None:
        assert file is not None
        with stages("tune"):
            search = Search(maker(graph, label, chosen, cc, precision, winograd_error), results)
            search.run(tune, lambda share: stages.tell(round(100 * share), 100))
            untuned, faster = search.verdict()
            tuned = {"untuned_seconds": untuned, "tuned_seconds": faster}
            save_results(
                file,
                machine,
                {key: search.results[key] for key in search.sites.keys() & search.results.keys()},
            )
        results = search.results
    choices = Choices({key: result.pick for key, result in results.items()} if file else None)
    program, assigned, steps = schedule(graph, label, chosen, stages, choices, precision, winograd_error)
    with stages("memory"):
        memory = plan(program, assigned.layouts)
    if observer is not None:
        observer.planned(program, steps, memory, assigned)
    with stages("emit"):
        emitted = write_c(program, steps, memory, chosen, __version__, profile)
    with stages("build"):
        files = _build(program, emitted, compiler, chosen, emit, stages)
    package = _package(program, graph, emitted, memory, assigned, chosen, files, choices, precision)
    package.report |= {"nodes_before": before, "nodes_after": after, "seconds": dict(stages.seconds), **tuned}
    if profile:
        package.report["steps"] = list(zip(emitted.order, program.operations, strict=True))
    return package


def schedule(
    graph: onnx_ir.Model,
    name: str,
    target: Target,
    stages: _Stages | None = None,
    choices: Choices | None = None,
    precision: str = "f32",
    winograd_error: float = DEFAULT_ERROR,
) -> tuple[Program, Assignment, list[Step]]:
    """The middle of the pipeline: an optimised model becomes kernels in chosen layouts, in the order they run."""
    stages = stages or _Stages(None, Trace())
    choices = choices or Choices()
    trace = stages.trace
    with stages("lower"):
        program = lowering.lower(graph, name)
        _after("lower", program, trace)
    with stages("fuse"):
        fuse(program)
        program.macs = macs(program)
        peel_borders(program)
        recognise(program)
        split_batch(program, target.l2)
        verify(program)
        _after("fuse", program, trace)
    with stages("winograd"):
        program.winograd_error = use_winograd(program, target, choices, precision, winograd_error)
    with stages("precision"):
        if precision == "bf16":
            use_bf16(program)
            _after("precision", program, trace)
    with stages("layout"):
        assigned = _assign(program, target, choices)
        _after("layout", program, trace, assigned.layouts)
    with stages("kernels"):
        steps = _kernels(program, assigned.layouts, target, stages, choices)
    for step in steps:
        kernel = step.built.kernel
        trace.say(2, f"{kernel.name}: {show(kernel.tasks)} tasks for {', '.join(step.operation.nodes)}")
    return program, assigned, steps


def maker(
    graph: onnx_ir.Model,
    name: str,
    target: Target,
    cc: str | None = None,
    precision: str = "f32",
    winograd_error: float = DEFAULT_ERROR,
) -> Make:
    """What builds an optimised model with other picks, for the search."""
    compiler = toolchain.find_compiler(cc)

    def make(picks: Mapping[str, str], *, clocks: bool, known: Variant | None = None) -> Variant:
        stages, choices = _Stages(None, Trace(silent=True)), Choices(picks)
        program, assigned, steps = schedule(graph, name, target, stages, choices, precision, winograd_error)
        memory = plan(program, assigned.layouts)
        emitted = write_c(
            program, steps, memory, target, __version__, clocks, known.emitted if known else None
        )
        files = _build(program, emitted, compiler, target, "library", stages)
        package = _package(program, graph, emitted, memory, assigned, target, files, choices, precision)
        return Variant(
            package, name, choices.sites, program.operations, program.inputs, memory.typical, emitted, clocks
        )

    return make


def check(
    model: str | Path | onnx.ModelProto | onnx_ir.Model, target: str = "native"
) -> lowering.CheckReport:
    """Everything in a model that cannot be compiled, at once. Raises IngotError only where it cannot be read."""
    resolve(target)
    with _bounded("check"):
        graph = load_model(model)
        optimize(graph, keep=REGISTRY)
        return lowering.check(graph)


@contextmanager
def _bounded(stage: str) -> Iterator[None]:
    """What a model asks for beyond this machine ends in an IngotError."""
    try:
        yield
    except MemoryError as error:
        raise IngotError(
            "memory-exhausted",
            f"there is not enough memory for the stage: {error or 'no more is given'}",
            where=stage,
            remedy="use smaller shapes, or free memory",
        ) from error
    except RecursionError as error:
        raise IngotError(
            "model-too-large",
            "it is nested too deeply",
            where=stage,
            remedy="export the model again, in fewer steps inside each other",
        ) from error


@dataclass
class _Stages:
    """Times the stages and tells of progress."""

    progress: Progress | None
    trace: Trace
    seconds: dict[str, float] = field(default_factory=dict)
    current: str = ""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.current = stage
        self.tell(0, 1)
        start = time.perf_counter()
        with _bounded(stage):
            yield
        self.seconds[stage] = time.perf_counter() - start
        self.tell(1, 1)
        self.trace.say(1, f"{stage}: {self.seconds[stage]:.3f} s")

    def tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.current, done, total)


_TAKEN = re.compile(r"\d.*|ingot.*|kernels_\d+|example|main|m_.*")
_C_WORDS = frozenset((
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "asm",
    "typeof", "alignas", "alignof", "bool", "constexpr", "false", "nullptr", "static_assert", "thread_local",
    "true", "class", "delete", "new", "this", "throw", "try", "catch", "namespace", "operator", "private",
    "protected", "public", "template", "virtual", "using", "friend", "explicit", "mutable", "export",
))  # fmt: skip


def identifier(text: str) -> str:
    """A C identifier from a file or graph name, which no other file or name of a package equals."""
    clean = re.sub(r"\W", "_", text, flags=re.ASCII).strip("_") or "model"
    return f"m_{clean}" if _TAKEN.fullmatch(clean) or clean in _C_WORDS else clean


def label_of(
    model: str | Path | onnx.ModelProto | onnx_ir.Model, graph: onnx_ir.Model, name: str | None = None
) -> str:
    """What a library is called: a name that was given, or that of the model's file or graph."""
    stem = Path(model).stem if isinstance(model, str | Path) else graph.graph.name or "model"
    return identifier(name or stem)


def _assign(program: Program, target: Target, choices: Choices) -> Assignment:
    """Layouts for all tensors, those that were found to be fastest where results are asked for."""
    cost = LayoutCost(target, typical_values(program))
    if choices.wanted:
        key = f"layouts of {program_key(program)}"

        def pick(cycles: Mapping[str, int]) -> str:
            close = {name: n for name, n in cycles.items() if n <= WORST * min(cycles.values())}
            return choices.pick(
                key, [Candidate(name, float(n), name) for name, n in close.items()], None, stage=LAYOUTS
            ).value

        assigned = choose(program, target.lanes, cost, pick)
    else:
        assigned = choose(program, target.lanes, cost)
    rearrange(program, assigned.layouts, target)
    if choices.wanted:
        choices.decided(key, program.operations)
    return assigned


def _kernels(
    program: Program,
    layouts: Mapping[Tensor, Layout],
    target: Target,
    stages: _Stages,
    choices: Choices,
) -> list[Step]:
    steps = []
    symbols = [v.name for v in program.symbols]
    ahead = bytes_ahead(program.operations, target)
    for i, operation in enumerate(program.operations):
        try:
            built = build(operation, layouts, target, ahead=ahead)
            if choices.wanted and len(built.candidates) > 1:
                key = kernel_key(operation, built, symbols)
                pick = choices.pick(key, built.candidates, operation)
                choices.decided(key, [operation])
                if pick is not built.candidates[0]:
                    built = build(operation, layouts, target, pick.name, ahead)
            steps.append(Step(operation, built))
        except (AssertionError, KeyError, ValueError) as error:
            raise IngotError(
                "internal",
                f"no kernel for this {type(operation).__name__}: {error!r}",
                where=", ".join(operation.nodes),
                remedy="report this model, please",
            ) from error
        stages.tell(i + 1, len(program.operations))
    return steps


def _after(
    stage: str, program: Program, trace: Trace, layouts: Mapping[Tensor, Layout] | None = None
) -> None:
    if debug.verify():
        verify(program)
    if trace.folder is not None or trace.level >= 5:
        words = {tensor: chosen.describe() for tensor, chosen in (layouts or {}).items()}
        trace.text(stage, show_program(program, words))
    for tensor, chosen in (layouts or {}).items():
        if tensor.kind == "temp":
            trace.say(3, f"layout of {tensor.name} {[show(d) for d in tensor.shape]}: {chosen.describe()}")


def _build(
    program: Program,
    emitted: Emitted,
    compiler: toolchain.Compiler | None,
    target: Target,
    form: str,
    stages: _Stages,
) -> dict[str, bytes | Path]:
    """The files of the package that the toolchain makes, and those that stand beside them.

    Only kernels are compiled for the target's instruction set: the rest must run far enough to refuse another processor.
    """
    name = program.name
    headers = {h: native_text(h) for h in ("ingot.h", "ingot_abi.h")}
    plain = {f"{name}.c": emitted.model, "ingot_runtime.c": native_text("ingot_runtime.c")}
    flags = [*FLAGS, *target.flags]
    files: dict[str, bytes | Path] = {f"{name}.weights": emitted.weights}
    if compiler is None:
        files |= {f: text.encode() for f, text in (emitted.kernel_files | plain | headers).items()}
        files["CMakeLists.txt"] = _cmake(name, list(plain), list(emitted.kernel_files), target).encode()
        stages.trace.sources(emitted.kernel_files | plain, headers, [])
        command = "cmake -B build && cmake --build build"
    else:
        command = "\n".join(
            (
                f"kernels: {compiler.command_line('SOURCE.c', flags)}",
                f"others:  {compiler.command_line('SOURCE.c', FLAGS)}",
            )
        )
        units = [(f, flags) for f in emitted.kernel_files] + [(f, FLAGS) for f in plain]
        commands = [compiler.compile_command(f, f"{Path(f).stem}.o", own) for f, own in units]
        stages.trace.sources(emitted.kernel_files | plain, headers, commands)
        total = len(units)
        done = toolchain.compile_objects(
            compiler, plain, FLAGS, progress=lambda n, _: stages.tell(n, total), include=headers
        )
        done += toolchain.compile_objects(
            compiler, emitted.kernel_files, flags, progress=lambda n, _: stages.tell(n + len(plain), total)
        )
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / (f"lib{name}.so" if form == "library" else f"lib{name}.a")
            if form == "library":
                toolchain.link_shared(compiler, done, output, flags)
            else:
                toolchain.archive(compiler, done, output)
            files[output.name] = output.read_bytes()
    ports = ports_of(program.inputs), ports_of(program.outputs)
    symbols = [v.name for v in program.symbols]
    files[f"{name}.h"] = render_header(name, *ports, symbols, command).encode()
    files["example.c"] = render_example(name, *ports, symbols).encode()
    return files


def ports_of(tensors: Sequence[Tensor]) -> list[Port]:
    """How a library's interface describes tensors."""
    return [
        Port(t.name, NUMPY_NAMES[t.dtype], tuple(d.value if d.is_const else show(d) for d in t.shape))
        for t in tensors
    ]


def _groups(program: Program) -> dict[str, Any]:
    """What the manifest says of a model whose inputs and outputs are not all tensors."""
    groups = {"inputs": program.input_groups, "outputs": program.output_groups}
    if all(g.kind == "tensor" for of in groups.values() for g in of):
        return {}
    return {"groups": {key: [[g.name, g.kind, g.count] for g in of] for key, of in groups.items()}}


def _cmake(name: str, plain: Sequence[str], kernels: Sequence[str], target: Target) -> str:
    return (
        f"cmake_minimum_required(VERSION 3.16)\nproject({name} C)\n"
        f"add_library({name} SHARED {' '.join([*plain, *kernels])})\n"
        f"target_compile_options({name} PRIVATE -std=gnu11 {' '.join(FLAGS)} -fPIC -fvisibility=hidden)\n"
        f'set_source_files_properties({" ".join(kernels)} PROPERTIES COMPILE_FLAGS "{" ".join(target.flags)}")\n'
        f"find_package(Threads REQUIRED)\ntarget_link_libraries({name} PRIVATE Threads::Threads m dl)\n"
    )


def _package(
    program: Program,
    graph: onnx_ir.Model,
    emitted: Emitted,
    memory: Plan,
    assigned: Assignment,
    target: Target,
    files: dict[str, bytes | Path],
    choices: Choices,
    precision: str,
) -> Package:
    library = next(
        (len(c) for f, c in files.items() if f.endswith((".so", ".a")) and isinstance(c, bytes)), 0
    )
    sizes = {
        "arena_bytes": memory.typical_size,
        "arena_lower_bound": memory.lower_bound,
        "weights_bytes": len(emitted.weights) - HEADER,
        "library_bytes": library,
    }
    kernels: list[dict[str, Any]] = [
        {"name": k.name, "calls": k.calls, "nodes": k.nodes} for k in emitted.kernels
    ]
    manifest = {
        "version": __version__,
        "target": {
            "name": target.name,
            "isa": target.isa,
            "lanes": target.lanes,
            "flags": list(target.flags),
        },
        "precision": precision,
        "inputs": [
            {"name": p.name, "dtype": p.dtype, "shape": list(p.shape)} for p in ports_of(program.inputs)
        ],
        "outputs": [
            {"name": p.name, "dtype": p.dtype, "shape": list(p.shape)} for p in ports_of(program.outputs)
        ],
        **_groups(program),
        "symbols": {v.name: _sizes_of(v, memory) for v in program.symbols},
        "memory": sizes,
        "kernels": kernels,
        "tuned": choices.changed,
        "winograd_error": program.winograd_error,
        "layout": assigned.to_dict(),
        "macs": program.macs,
        "model": {
            "producer": graph.producer_name or "",
            "opset": dict(graph.opset_imports),
            "graph": graph.graph.name or "",
            "domain": graph.domain or "",
            "description": graph.doc_string or "",
            "graph_description": graph.graph.doc_string or "",
            "version": graph.model_version or 0,
            "metadata": dict(graph.metadata_props),
        },
    }
    report = {
        "kernels": len(kernels),
        **sizes,
        "precision": precision,
        "winograd_error": program.winograd_error,
        "layout": assigned.summary(),
        "tuned": len(choices.changed),
        "symbols": {v.name: _sizes_of(v, memory) for v in program.symbols if v not in program.bounds()},
    }
    return Package(program.name, manifest, files, report)


def _sizes_of(symbol: Var, memory: Plan) -> dict[str, int | None]:
    """What the manifest tells of a symbol."""
    ends = {} if symbol.limit is None else {"least": symbol.least, "most": symbol.limit}
    return {"typical": memory.typical[symbol.name], **ends}
