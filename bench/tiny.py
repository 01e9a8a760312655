"""TFLite models of dense layers, convolutions and pooling as ONNX, so that every runtime can take them.

The ONNX model computes what the file does, in float32, from inputs of the same shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper


def convert(source: Path, target: Path) -> None:
    """Writes the ONNX model. Activations are known by the names of outputs, strides by shapes; padding is "same"."""
    interpreter = Interpreter(str(source), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    (entry,), (leave,) = interpreter.get_input_details(), interpreter.get_output_details()
    nodes, constants = [], []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], f"{kind}_{output}", **attributes))
        return output

    names = {entry["index"]: "x"}
    if len(entry["shape"]) == 4:
        names[entry["index"]] = node("Transpose", ["x"], "x_nchw", perm=[0, 3, 1, 2])
    for op in interpreter._get_ops_details():
        x, *others = op["inputs"]
        (y,) = op["outputs"]
        before, after = tensors[x]["shape"], tensors[y]["shape"]
        last = f"t{y}"
        if op["op_name"] == "FULLY_CONNECTED":
            weight, bias = (interpreter.get_tensor(i) for i in others)
            inputs = [names[x], constant(f"w{y}", weight), constant(f"b{y}", bias)]
            node("Gemm", inputs, last, transB=1)
        elif op["op_name"] == "CONV_2D":
            weight, bias = (interpreter.get_tensor(i) for i in others)
            inputs = [names[x], constant(f"w{y}", weight.transpose(0, 3, 1, 2)), constant(f"b{y}", bias)]
            strides = [int(-(-before[i] // after[i])) for i in (1, 2)]
            node("Conv", inputs, last, strides=strides, auto_pad="SAME_UPPER")
        elif op["op_name"] == "ADD":
            node("Add", [names[x], names[others[0]]], last)
        elif op["op_name"] == "AVERAGE_POOL_2D":
            assert tuple(after[1:3]) == (1, 1)
            node("GlobalAveragePool", [names[x]], last)
        elif op["op_name"] == "RESHAPE":
            assert before[1] == before[2] == 1
            node("Flatten", [names[x]], last)
        else:
            assert op["op_name"] == "SOFTMAX", op["op_name"]
            node("Softmax", [names[x]], last, axis=-1)
        if "Relu" in tensors[y]["name"]:
            last = node("Relu", [last], f"{last}_relu")
        names[y] = last
    nodes[-1].output[0] = "y"
    shapes = [[int(d) for d in t["shape"]] for t in (entry, leave)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", shapes, strict=True)]
    graph = helper.make_graph(nodes, source.stem, ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
