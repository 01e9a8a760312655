"""Converts a model with its own framework: `PYTHON worker.py REQUEST`, run by an interpreter that has the framework.

It imports nothing of ingot. REQUEST is a JSON object: "framework", a key of `FRAMEWORKS`; "model", a path, or the name
"module:factory" of a MindSpore network; "weights", a path or null; "inputs", of a network: name -> [shape, dtype];
"output", the ONNX file to write; "opset". The last line of the standard output is the answer, a JSON object:
empty, or an error's "code", "cause" and "remedy".
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple


class Failure(Exception):  # noqa: N818
    """An error of ingot: its code, cause and remedy."""


class Framework(NamedTuple):
    """packages: what has to be importable. convert: from a request to the bytes of an ONNX model."""

    packages: tuple[str, ...]
    convert: Callable[[dict[str, Any]], bytes]


def from_tensorflow(request: dict[str, Any]) -> bytes:
    """A SavedModel (its saved_model.pb), a Keras model (.keras, .h5) or a frozen graph (.pb)."""
    model, opset = request["model"], request["opset"]
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if os.path.basename(model) == "saved_model.pb":
        names, function, signature = _saved_model(tf, os.path.dirname(model) or ".")
    elif model.endswith(".pb"):
        return _serialized(_frozen_graph(tf, model, opset))
    else:
        names, function, signature = _keras_model(tf, model)
    from tf2onnx.convert import from_function

    proto, _ = _converted(
        lambda: from_function(tf.function(function), signature, opset=opset, custom_op_handlers=_OWN)
    )
    order = {name: place for place, name in enumerate(names)}
    outputs = sorted(proto.graph.output, key=lambda value: order.get(value.name, len(order)))
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    return _serialized(proto)


def _saved_model(tf: Any, folder: str) -> tuple[list[str], Any, list[Any]]:
    """The names of the outputs, the function of its signature, and its inputs."""
    loaded = _read(lambda: tf.saved_model.load(folder))
    signatures = dict(loaded.signatures)
    found = signatures.get("serving_default") or (
        next(iter(signatures.values())) if len(signatures) == 1 else None
    )
    if found is None:
        raise Failure(
            "unsupported",
            f"it has {len(signatures)} signatures and none is named serving_default",
            "save it with signatures={'serving_default': function}",
        )
    specs = found.structured_input_signature[1]
    inputs = {name: specs[name] for name in sorted(specs, key=_natural)}

    def function(*values: Any) -> Any:
        held = loaded  # a signature does not keep its variables alive
        assert held is not None
        return found(**dict(zip(inputs, values, strict=True)))

    signature = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in inputs.items()]
    return sorted(found.structured_outputs, key=_natural), function, signature


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts output_2 before output_10: a SavedModel does not keep the order of its outputs."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _keras_model(tf: Any, path: str) -> tuple[list[str], Any, list[Any]]:
    model = _read(lambda: tf.keras.models.load_model(path, compile=False, safe_mode=True))
    if not getattr(model, "inputs", None):
        raise Failure(
            "unsupported",
            "the shapes of its inputs are not in the file",
            "save it as a SavedModel with model.export(folder)",
        )
    names: list[str] = []
    for name in getattr(model, "output_names", None) or ["output"]:
        names.append(name if name not in names else f"{name}_{len(names)}")

    def function(*values: Any) -> Any:
        results = tf.nest.flatten(model(values[0] if len(values) == 1 else list(values), training=False))
        return dict(zip(names, results, strict=True))

    signature = [tf.TensorSpec(value.shape, value.dtype, value.name) for value in model.inputs]
    return names, function, signature


def _frozen_graph(tf: Any, path: str, opset: int) -> Any:
    """Its inputs are the placeholders, its outputs what no node uses."""
    from tf2onnx.convert import from_graph_def

    def read() -> Any:
        graph_def = tf.compat.v1.GraphDef()
        with open(path, "rb") as file:
            graph_def.ParseFromString(file.read())
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
        return graph_def, graph

    graph_def, graph = _read(read)
    operations = graph.get_operations()
    inputs = [
        out for op in operations if op.type in ("Placeholder", "PlaceholderWithDefault") for out in op.outputs
    ]
    outputs = [
        out
        for op in operations
        if op.outputs
        and op.type not in ("Const", "Placeholder")
        and not any(o.consumers() for o in op.outputs)
        for out in op.outputs
    ]
    if not inputs or not outputs:
        raise Failure(
            "model-invalid", "it has no placeholder, or no result", "freeze a graph that computes something"
        )
    renamed = {value.name: value.name.removesuffix(":0") for value in inputs + outputs}
    proto, _ = _converted(
        lambda: from_graph_def(
            graph_def,
            name="graph",
            input_names=[value.name for value in inputs],
            output_names=[value.name for value in outputs],
            opset=opset,
            tensors_to_rename=renamed,
            custom_op_handlers=_OWN,
        )
    )
    return proto


def from_paddle(request: dict[str, Any]) -> bytes:
    """An inference model: a program (.json, .pdmodel), and its weights, the .pdiparams of the same name by default."""
    model, weights, opset = request["model"], request["weights"], request["opset"]
    import onnx
    from paddle2onnx import convert

    stem, extension = os.path.splitext(model)
    found = weights or f"{stem}.pdiparams"
    if not os.path.isfile(found):
        raise Failure("weights-missing", f"there is no {found}", "name the .pdiparams file with --weights")
    _read(lambda: _check_program(model))
    _read(lambda: _check_parameters(found))
    said: list[str] = []
    convert.logging.error = lambda text: said.append(str(text))
    with tempfile.TemporaryDirectory() as folder:
        if weights is not None:
            stem = os.path.join(folder, "model")
            shutil.copyfile(model, stem + extension)
            shutil.copyfile(weights, f"{stem}.pdiparams")
        try:
            data = convert.export(
                stem + extension,
                f"{stem}.pdiparams",
                opset_version=opset,
                optimize_tool="",
                enable_onnx_checker=False,
            )
        except Exception as error:
            raise Failure(
                "unsupported",
                f"paddle2onnx cannot convert it: {_joined(said[0]) if said else _line(error)}",
                "paddle2onnx, called by hand, shows the whole reason",
            ) from error
    return _serialized(onnx.ModelProto.FromString(data))


def from_mindspore(request: dict[str, Any]) -> bytes:
    """The Cell that `module:factory` makes, with a checkpoint's weights, as it computes inputs of fixed shapes.

    The factory, and the module that holds it, are programs that run; the checkpoint holds weights alone.
    """
    import mindspore
    import numpy as np

    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    sys.path.insert(0, os.getcwd())
    name, _, attribute = request["model"].partition(":")
    try:
        factory: Any = importlib.import_module(name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise Failure(
            "model-not-found",
            f"there is no such factory: {error}",
            "give MODULE:FACTORY as Python imports it",
        ) from error
    net = factory if isinstance(factory, mindspore.nn.Cell) else factory()
    if not isinstance(net, mindspore.nn.Cell):
        raise Failure(
            "option-invalid",
            f"it made a {type(net).__name__}",
            "name a function that returns a mindspore.nn.Cell",
        )
    state = _read(lambda: mindspore.load_checkpoint(request["weights"]))
    try:
        missing, unknown = mindspore.load_param_into_net(net, state, strict_load=True)
    except RuntimeError as error:
        missing, unknown = [_line(error)], []
    if missing or unknown:
        raise Failure(
            "weights-differ",
            f"the checkpoint does not fit the network: {', '.join([*missing, *unknown][:5])}",
            "give the checkpoint that belongs to the network",
        )
    net.set_train(False)
    wanted = list(inspect.signature(net.construct).parameters)
    inputs = request["inputs"]
    if set(inputs) != set(wanted):
        raise Failure(
            "option-invalid",
            f"construct takes {', '.join(wanted)}, and shapes are given of {', '.join(inputs) or 'nothing'}",
            "give the shape of each as NAME:1x3x224x224 with --shape",
        )
    examples = [mindspore.Tensor(np.zeros(inputs[key][0], inputs[key][1])) for key in wanted]
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.onnx")
        _converted(lambda: mindspore.export(net, *examples, file_name=file, file_format="ONNX"))
        with open(file, "rb") as made:
            return made.read()


def _joined(message: str) -> str:
    return " ".join(message.removeprefix("Failed to convert PaddlePaddle model: ").split())[:300]


def _check_program(path: str) -> None:
    """Raise an exception where the JSON or the protobuf of a program is damaged."""
    from paddle.base.proto import framework_pb2

    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".json"):
        json.loads(data)
    else:
        framework_pb2.ProgramDesc.FromString(data)


_BYTES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8", "FP8_E4M3FN", "FP8_E5M2"), 1),
    **dict.fromkeys(("INT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("INT32", "FP32"), 4),
    **dict.fromkeys(("INT64", "FP64", "COMPLEX64"), 8),
    "COMPLEX128": 16,
}


def _check_parameters(path: str) -> None:
    """Raise ValueError unless a .pdiparams file holds whole tensors: paddle2onnx reads past the end of one cut short.

    A tensor is u32 version, u64 levels and each level's u64 length and bytes, u32 version, i32 length and bytes of a
    TensorDesc, and the elements.
    """
    from paddle.base.proto import framework_pb2

    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size

        def take(count: int) -> bytes:
            nonlocal left
            if not 0 <= count <= left:
                raise ValueError(f"{path} is cut short or damaged")
            left -= count
            return file.read(count)

        while left:
            take(4)
            for _ in range(int.from_bytes(take(8), "little")):
                take(int.from_bytes(take(8), "little"))
            take(4)
            desc = framework_pb2.VarType.TensorDesc.FromString(
                take(int.from_bytes(take(4), "little", signed=True))
            )
            size = _BYTES[framework_pb2.VarType.Type.Name(desc.data_type)] * math.prod(desc.dims)
            if not 0 <= size <= left:
                raise ValueError(f"{path} is cut short or damaged")
            left -= size
            file.seek(size, os.SEEK_CUR)


def _erfc(graph: Any, node: Any, name: str, _: list[Any]) -> None:
    """erfc(x) = 1 - erf(x), which tf2onnx lacks; Keras has it in GELU."""
    import numpy as np
    from tf2onnx.utils import make_name, map_onnx_to_numpy_type

    (out,) = node.output
    shape, dtype = graph.get_shape(out), graph.get_dtype(out)
    erf = graph.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    one = graph.make_const(make_name("one"), np.array(1, map_onnx_to_numpy_type(dtype)))
    graph.remove_node(node.name)
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=[out], shapes=[shape], dtypes=[dtype]
    )


_OWN: dict[str, Any] = {"Erfc": (_erfc, [])}

FRAMEWORKS: dict[str, Framework] = {
    "mindspore": Framework(("mindspore",), from_mindspore),
    "paddle": Framework(("paddle", "paddle2onnx"), from_paddle),
    "tensorflow": Framework(("tensorflow", "tf2onnx"), from_tensorflow),
}


def _read(action: Callable[[], Any]) -> Any:
    """What the framework reads from a file."""
    try:
        return action()
    except Exception as error:
        raise Failure(
            "model-invalid",
            f"the framework cannot read it: {_line(error)}",
            "copy or save the model again; one that would run code of its own is not read",
        ) from error


def _converted(action: Callable[[], Any]) -> Any:
    """What the framework's exporter makes of a model."""
    try:
        return action()
    except Exception as error:
        raise Failure(
            "unsupported",
            f"the framework cannot convert it: {_line(error)}",
            "the framework's own exporter, called by hand, shows the whole reason",
        ) from error


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _serialized(proto: Any) -> bytes:
    """An onnx.ModelProto's bytes. Raises Failure for operators that the exporter left as they were in the framework."""
    import onnx

    known = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}
    known |= {(function.domain, function.name) for function in proto.functions}
    left: set[str] = set()
    graphs = [proto.graph]
    while graphs:
        for node in graphs.pop().node:
            if ("" if node.domain == "ai.onnx" else node.domain, node.op_type) not in known:
                left.add(node.op_type)
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
    if left:
        raise Failure(
            "unsupported",
            f"the exporter has no ONNX for these operators: {', '.join(sorted(left))}",
            "end the network before them",
        )
    data: bytes = proto.SerializeToString()
    return data


def main(request: dict[str, Any]) -> dict[str, str]:
    """Write the ONNX file. The answer."""
    framework = FRAMEWORKS[request["framework"]]
    try:
        for package in framework.packages:
            importlib.import_module(package)
    except ImportError as error:
        return {"code": "framework-missing", "cause": str(error), "remedy": ""}
    try:
        data = framework.convert(request)
    except Failure as failure:
        code, cause, remedy = failure.args
        return {"code": code, "cause": cause, "remedy": remedy}
    with open(request["output"], "wb") as file:
        file.write(data)
    return {}


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    answers = os.dup(1)
    os.dup2(2, 1)
    answer = main(json.loads(sys.argv[1]))
    os.write(answers, (json.dumps(answer) + "\n").encode())
