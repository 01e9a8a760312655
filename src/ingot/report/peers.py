"""Other runtimes that a model is timed against, each with the settings that it is fastest with at one precision.

A peer gets the model with its inputs fixed to the shapes of the feed and with constants that are no inputs. The file that
it loads, where that is another one, is converted once and kept in the cache. Its inputs and outputs are bound when it is
opened, so that a run does little else than compute.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ingot.debug import cache_folder
from ingot.errors import IngotError
from ingot.report.inputs import Array

Run = Callable[[], list[Array]]
T = TypeVar("T")
CONVERT_SECONDS = 600


@dataclass(frozen=True)
class Job:
    """What a peer is to run. model: an ONNX file, or one of the peer's own format. feed: input name -> array.

    outputs: output name -> shape. Both are in the model's order, and so is what a run gives. precision: "f32" or "bf16".
    """

    model: Path
    feed: Mapping[str, Array]
    outputs: Mapping[str, tuple[int, ...]]
    threads: int = 1
    precision: str = "f32"


@dataclass(frozen=True)
class Peer:
    """Another runtime. modules: what has to be importable, the runtime first. extra: the extra of ingot that installs it.

    settings: how it runs, with "{threads}" and "{precision}". precisions: those that it computes in. ready: makes the file that `open` loads, or finds it made.
    """

    modules: tuple[str, ...]
    settings: str
    ready: Callable[[Job], Path]
    open: Callable[[Job], Run]
    extra: str = "bench"
    precisions: tuple[str, ...] = ("f32",)

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    @property
    def version(self) -> str:
        """Of the runtime; empty where it is not installed."""
        names = _distributions(self.modules[0])
        return importlib.metadata.version(names[0]) if names else ""

    @property
    def library_bytes(self) -> int:
        """Of the shared libraries that its distribution installs."""
        files = [
            Path(str(file.locate()))
            for name in _distributions(self.modules[0])
            for file in importlib.metadata.files(name) or []
            if re.search(r"\.so(\.|$)", file.name)
        ]
        return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def require_peer(name: str) -> Peer:
    """The peer called `name`, installed. Raises IngotError peer-missing."""
    if name not in PEERS:
        raise IngotError(
            "peer-missing",
            f"ingot cannot run {name!r}",
            where="--against",
            remedy=f"use one of: {', '.join(PEERS)}",
        )
    peer = PEERS[name]
    if not peer.installed:
        raise IngotError(
            "peer-missing",
            f"{name} is not installed",
            where="--against",
            remedy=f"run `pip install 'ingot[{peer.extra}]'`, or leave it out of --against",
        )
    return peer


def ready_peer(name: str, job: Job) -> Job:
    """`job` with the file that the peer loads. Raises IngotError peer-missing, also where it refuses the model."""
    peer = require_peer(name)
    if job.precision not in peer.precisions:
        raise IngotError(
            "peer-missing",
            f"{name} does not compute in {job.precision} here",
            where="--against",
            remedy="leave it out of --against",
        )
    return replace(job, model=_quietly(name, lambda: peer.ready(job)))


def open_peer(name: str, job: Job) -> Run:
    """The model of a job from `ready_peer`, loaded. Raises IngotError peer-missing, also where it refuses the model."""
    peer = require_peer(name)
    return _quietly(name, lambda: peer.open(job))


def first_run(name: str, run: Run) -> list[Array]:
    """The outputs of an opened peer. Raises IngotError peer-missing where it fails."""
    return _quietly(name, run)


def model_file(model: Any, peer: str = "onnxruntime") -> Path:
    """A path as it is, where the peer may take it; a model of another format or in memory as an ONNX file of the cache."""
    if isinstance(model, (str, Path)):
        from ingot.frontends.convert import convert
        from ingot.frontends.importers import importable

        path = Path(model)
        own = peer == "litert" and path.suffix == ".tflite"
        if own or not importable(path):
            return path
        model = convert(path).model
    if not hasattr(model, "SerializeToString"):
        model = importlib.import_module("onnx_ir").to_proto(model)
    data: bytes = model.SerializeToString()
    return _made([data], "model.onnx", lambda folder: (folder / "model.onnx").write_bytes(data))


def _quietly(name: str, step: Callable[[], T]) -> T:
    """What `step` gives. What it prints, in C too, goes nowhere but into the reason why it failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.NamedTemporaryFile(prefix="ingot-peer-") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            return step()
        except Exception as error:
            sys.stdout.flush()
            lines = [str(error), *Path(said.name).read_text(errors="replace").strip().splitlines()[-1:]]
            reason = "; ".join(line.strip()[:160] for line in lines if line.strip()) or type(error).__name__
            raise IngotError(
                "peer-missing",
                f"{name} refuses the model: {' '.join(reason.split())}",
                where="--against",
                remedy="leave it out of --against",
            ) from error
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, target in zip(kept, (1, 2), strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)


def _made(parts: Sequence[bytes], name: str, make: Callable[[Path], object]) -> Path:
    """The file `name` of the cache's folder for these parts; `make` writes it, and what it needs, into a new folder."""
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    folder = cache_folder() / "peers" / key
    if not (folder / name).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            made = Path(aside) / "made"
            made.mkdir()
            make(made)
            if not (made / name).is_file():
                raise ValueError("it cannot be converted")
            if not folder.exists():
                made.rename(folder)
    return folder / name


def _converted(command: Sequence[str], folder: Path) -> None:
    """Runs a converter in a process of its own, as one that crashes must not take this one along."""
    done = subprocess.run(
        [sys.executable, "-c", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=CONVERT_SECONDS,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ValueError(f"its converter ended with {done.returncode}: {' '.join(last)}")


def _distributions(module: str) -> list[str]:
    return list(dict.fromkeys(importlib.metadata.packages_distributions().get(module, [])))


def _dense(array: Array) -> Array:
    return np.require(array, requirements=["C", "A"])


def _shapes(job: Job) -> bytes:
    return repr([(name, array.shape, array.dtype.str) for name, array in job.feed.items()]).encode()


def _fixed_onnx(job: Job) -> Path:
    """The ONNX model with inputs of the feed's shapes, and none that have a constant as their value."""
    onnx = importlib.import_module("onnx")
    if job.model.suffix != ".onnx":
        raise ValueError(f"it is timed on ONNX models, and this is {job.model.suffix or 'something else'}")

    def fix(folder: Path) -> None:
        proto = onnx.load(str(job.model))
        constants = {initializer.name for initializer in proto.graph.initializer}
        kept = [value for value in proto.graph.input if value.name not in constants]
        for value in kept:
            shape = value.type.tensor_type.shape
            shape.Clear()
            for size in job.feed[value.name].shape:
                shape.dim.add().dim_value = size
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        del proto.graph.value_info[:]
        for value in proto.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
        onnx.save(proto, str(folder / "model.onnx"))

    return _made([b"fixed", job.model.read_bytes(), _shapes(job)], "model.onnx", fix)


def _onnxruntime(job: Job) -> Run:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(job.model), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    feed = {name: _dense(array) for name, array in job.feed.items()}
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    results = [np.empty_like(array) for array in session.run(list(job.outputs), feed)]
    for name, array in zip(job.outputs, results, strict=True):
        binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run() -> list[Array]:
        session.run_with_iobinding(binding)
        return results

    return run


def _openvino(job: Job) -> Run:
    ov = importlib.import_module("openvino")
    settings = {
        "INFERENCE_PRECISION_HINT": job.precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.Core().compile_model(str(job.model), "CPU", settings).create_infer_request()
    for name, array in job.feed.items():
        request.set_tensor(name, ov.Tensor(_dense(array), shared_memory=True))
    results = [request.get_tensor(name) for name in job.outputs]

    def run() -> list[Array]:
        request.infer()
        return [result.data for result in results]

    return run


def _ncnn_ready(job: Job) -> Path:
    """pnnx writes the network and, as a script, how to feed it."""
    fixed = _fixed_onnx(job)
    kinds = {"float32": "f32", "int64": "i64", "int32": "i32", "bool": "u8", "uint8": "u8", "int8": "i8"}

    def convert(folder: Path) -> None:
        (folder / "model.onnx").symlink_to(fixed)
        shapes = ",".join(
            f"[{','.join(map(str, a.shape))}]{kinds.get(a.dtype.name, 'f32')}" for a in job.feed.values()
        )
        program = (
            "import pathlib, runpy, subprocess, sys, importlib.util as u;"
            "folder = pathlib.Path(u.find_spec('pnnx').origin).parent;"
            "sys.exit(subprocess.call([folder / 'pnnx', *sys.argv[1:]]))"
        )
        _converted([program, "model.onnx", f"inputshape={shapes}", "fp16=0"], folder)
        for made in folder.iterdir():
            if not made.name.startswith(("model.ncnn.", "model_ncnn.")):
                made.unlink()

    return _made([b"ncnn", fixed.read_bytes(), PEERS["ncnn"].version.encode()], "model.ncnn.param", convert)


def _ncnn(job: Job) -> Run:
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = job.threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        setattr(net.opt, f"use_{option}", option.startswith(job.precision))
    script = job.model.with_name("model_ncnn.py").read_text()
    if net.load_param(str(job.model)) or net.load_model(str(job.model.with_suffix(".bin"))):
        raise ValueError("the network cannot be loaded")
    fed = re.findall(
        r'ex\.input\("(\w+)", ncnn\.Mat\(in(\d+)\.\w*\(?\)?[^,()]*(?:, batch_index=(\d+))?\)', script
    )
    taken = re.findall(r"out\d+\.numpy\((?:batch_index=(\d+))?\)", script)
    arrays = list(job.feed.values())
    if len(fed) != len(arrays) or len(taken) != len(job.outputs):
        raise ValueError(f"pnnx kept {len(fed)} inputs and {len(taken)} outputs")
    held = [_dense(a.astype(np.int32) if a.dtype == np.int64 else a) for a in arrays]
    mats = [(name, ncnn.Mat(held[int(i)], int(batch or 233))) for name, i, batch in fed]
    wanted = [
        (f"out{i}", int(batch or 233), shape)
        for i, (batch, shape) in enumerate(zip(taken, job.outputs.values(), strict=True))
    ]

    def run() -> list[Array]:
        extractor = net.create_extractor()
        for name, mat in mats:
            extractor.input(name, mat)
        results = []
        for name, batch, shape in wanted:
            status, mat = extractor.extract(name)
            if status:
                raise ValueError(f"it cannot compute {name}: {status}")
            results.append(np.array(mat.numpy(batch_index=batch)).reshape(shape))
        return results

    assert held
    return run


def _mnn_ready(job: Job) -> Path:
    """The converter's library alone: the command that comes with it installs a logging service and calls it."""
    fixed = _fixed_onnx(job)

    def convert(folder: Path) -> None:
        program = "import _tools, sys; _tools.mnnconvert(sys.argv)"
        arguments = ["-f", "ONNX", "--modelFile", str(fixed), "--MNNModel", "model.mnn", "--bizCode", "ingot"]
        _converted([program, *arguments], folder)

    return _made([b"MNN", fixed.read_bytes(), PEERS["MNN"].version.encode()], "model.mnn", convert)


def _mnn(job: Job) -> Run:
    mnn = importlib.import_module("MNN")
    net = mnn.Interpreter(str(job.model))
    session = net.createSession({"backend": "CPU", "numThread": job.threads, "precision": "high"})
    inputs = net.getSessionInputAll(session)
    for name, array in job.feed.items():
        net.resizeTensor(inputs[name], array.shape)
    net.resizeSession(session)
    outputs = net.getSessionOutputAll(session)
    if any(tuple(outputs[name].getShape()) != shape for name, shape in job.outputs.items()):
        return _mnn_module(job)
    inputs = net.getSessionInputAll(session)
    copies = []
    for name, array in job.feed.items():
        integers = array.dtype.kind in "iub"
        held = _dense(array.astype(np.int32 if integers else np.float32))
        kind = mnn.Halide_Type_Int if integers else mnn.Halide_Type_Float
        copies.append((inputs[name], mnn.Tensor(held.shape, kind, held, mnn.Tensor_DimensionType_Caffe)))
    results = [
        (outputs[name], mnn.Tensor(shape, mnn.Halide_Type_Float, np.zeros(shape, np.float32), mnn.Tensor_DimensionType_Caffe))
        for name, shape in job.outputs.items()
    ]  # fmt: skip

    def run() -> list[Array]:
        for target, held in copies:
            target.copyFrom(held)
        net.runSession(session)
        for source, held in results:
            source.copyToHostTensor(held)
        return [held.getNumpyData() for _, held in results]

    return run


def _mnn_module(job: Job) -> Run:
    """For models with subgraphs, which a session does not take."""
    expr, nn = importlib.import_module("MNN.expr"), importlib.import_module("MNN.nn")
    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": job.threads, "precision": "high"},))
    module = nn.load_module_from_file(
        str(job.model), list(job.feed), list(job.outputs), runtime_manager=manager, shape_mutable=False
    )
    fed = []
    for array in job.feed.values():
        integers = array.dtype.kind in "iub"
        held = _dense(array.astype(np.int32 if integers else np.float32))
        fed.append((expr.placeholder(held.shape, expr.NCHW, expr.int if integers else expr.float), held))

    def run() -> list[Array]:
        for variable, held in fed:
            variable.write(held)
        return [result.read() for result in module.forward([variable for variable, _ in fed])]

    return run


def _litert_ready(job: Job) -> Path:
    if job.model.suffix != ".tflite":
        raise ValueError(f"it takes .tflite files, and this is {job.model.suffix or 'something else'}")
    return job.model


def _litert(job: Job) -> Run:
    litert = importlib.import_module("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(job.model), num_threads=job.threads)
    inputs = interpreter.get_input_details()
    for detail, array in zip(inputs, job.feed.values(), strict=True):
        interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    fed = [(detail["index"], array) for detail, array in zip(inputs, job.feed.values(), strict=True)]
    taken = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> list[Array]:
        for index, array in fed:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in taken]

    return run


PEERS: dict[str, Peer] = {
    "onnxruntime": Peer(
        ("onnxruntime",),
        "all graph optimisations, sequential, intra-op threads {threads}, bound inputs and outputs",
        _fixed_onnx,
        _onnxruntime,
    ),
    "openvino": Peer(
        ("openvino",),
        "inference precision {precision}, latency hint, one stream, threads {threads}, not pinned, shared inputs and outputs",
        _fixed_onnx,
        _openvino,
        precisions=("f32", "bf16"),
    ),
    "ncnn": Peer(
        ("ncnn", "pnnx"),
        "converted by pnnx with fp16=0, no fp16, storage in {precision}, threads {threads}",
        _ncnn_ready,
        _ncnn,
        precisions=("f32", "bf16"),
    ),
    "MNN": Peer(
        ("MNN",), "converted by its converter, CPU, precision high, threads {threads}", _mnn_ready, _mnn
    ),
    "litert": Peer(
        ("ai_edge_litert",), "XNNPACK, threads {threads}, on the .tflite file", _litert_ready, _litert
    ),
}
