"""Loading: what a good model becomes, and that every bad one ends in an IngotError that says what to do."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ingot.errors import CODES, IngotError
from ingot.frontends import load_model
from ingot.frontends.wire import strip_weights
from ingot.testing import reference

HEADER = '<ir_version: 8, opset_import: ["" : 17, "custom" : 1]>\n'
TEXT = """g (float[N, 2] x) => (float[N, 3] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}> { a = MatMul(x, w) y = Relu(a) }"""


def proto(text: str = TEXT) -> onnx.ModelProto:
    return onnx.parser.parse_model(text if text.startswith("<") else HEADER + text)


def changed(change: Callable[[onnx.ModelProto], Any], text: str = TEXT) -> onnx.ModelProto:
    model = proto(text)
    change(model)
    return model


def fails(model: Any, code: str, *words: str, shapes: Any = None) -> IngotError:
    """Loading ends in an error of `code` with a cause, a remedy, and `words` in its text."""
    with pytest.raises(IngotError) as caught:
        load_model(model, shapes)
    error = caught.value
    assert error.code == code, str(error)
    assert code in CODES
    assert error.cause
    assert error.remedy
    for word in words:
        assert word in str(error), str(error)
    return error


def large() -> onnx.ModelProto:
    """A model with a 64 KiB weight."""
    model = proto("g (float[N, 128] x, float[128, 128] w) => (float[N, 128] y) { y = MatMul(x, w) }")
    weights = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model


# Files that are no model


@pytest.mark.parametrize("size", [0, 1, 2, 5, 20])
def test_empty_and_tiny_files(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto().SerializeToString()[:size])
    fails(path, "model-truncated" if size else "model-empty", str(path))


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    data = large().SerializeToString()
    path = tmp_path / "m.onnx"
    lengths = [*range(1, 600), *range(600, len(data), 997)]
    for length in lengths:
        path.write_bytes(data[:length])
        fails(path, "model-truncated")


def test_missing_file_folder_and_wrong_type(tmp_path: Path) -> None:
    fails(tmp_path / "none.onnx", "model-not-found", "none.onnx")
    fails(str(tmp_path), "model-not-found", "folder")
    fails("a\0b", "model-not-found")
    fails(42, "model-not-found", "int")
    fails(None, "model-not-found")


def _zip(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return data.getvalue()


OTHER_FORMATS: list[tuple[str, bytes, str]] = [
    ("page.onnx", b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    ("page.onnx", b"\n\n  <html lang='en'>", "HTML"),
    ("model.xml", b'<?xml version="1.0"?><net name="m">', "XML"),
    ("notes.onnx", "Das Modell liegt anderswo: ü\n".encode(), "text"),
    ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "Git LFS"),
    ("model.onnx", b'ir_version: 8\ngraph { name: "g" }', "text form"),
    ("model.json", b'{"nodes": []}', "JSON"),
    ("a.zip", _zip("model.onnx"), "zip archive"),
    ("a.pt", _zip("archive/data.pkl", "archive/version"), "PyTorch"),
    ("a.onnx", pickle.dumps({"weights": [1.0]}), "pickle"),
    ("a.pth", pickle.dumps({"weights": [1.0]}, protocol=2), "PyTorch"),
    ("a.pdiparams", bytes(40), "weights of a Paddle model"),
    ("a.gz", b"\x1f\x8b\x08" + bytes(40), "gzip"),
    ("a.npy", b"\x93NUMPY\x01\0" + bytes(40), "NumPy"),
    ("a.gguf", b"GGUF\x03\0\0\0", "GGUF"),
    ("a.safetensors", (20).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}', "safetensors"),
    ("a.so", b"\x7fELF\x02\x01\x01" + bytes(40), "ELF"),
    ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
    ("a.param", b"7767517\n75 83\nInput data 0 1 data\n", "ncnn"),
    ("a.onnx", bytes(range(200, 256)) * 4, "no ONNX"),
    ("a.onnx", bytes(64), "no ONNX"),
]


@pytest.mark.parametrize(
    ("name", "data", "word"), OTHER_FORMATS, ids=[f"{i}-{w}" for i, (_, _, w) in enumerate(OTHER_FORMATS)]
)
def test_other_formats_are_named(tmp_path: Path, name: str, data: bytes, word: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    fails(path, "model-not-onnx", word)


def test_damaged_bytes_never_crash(tmp_path: Path) -> None:
    rng = random.Random(0)
    data = proto().SerializeToString()
    path = tmp_path / "m.onnx"
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 2, 5])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(IngotError):
            load_model(path)


# Models that break ONNX's rules


def _set_dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    return change


def _add_node(
    op_type: str, inputs: list[str], outputs: list[str], **attributes: Any
) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.append(helper.make_node(op_type, inputs, outputs, **attributes))


BROKEN: list[tuple[str, Callable[[onnx.ModelProto], Any], str, tuple[str, ...]]] = [
    ("missing producer", _add_node("Relu", ["ghost"], ["b"], name="n7"), "model-invalid", ("ghost", "n7")),
    ("value defined twice", _add_node("Relu", ["x"], ["a"]), "model-invalid", ("'a'", "twice")),
    ("node redefines an input", _add_node("Relu", ["a"], ["x"]), "model-invalid", ("'x'",)),
    ("node redefines a weight", _add_node("Relu", ["a"], ["w"]), "model-invalid", ("'w'",)),
    ("two inputs of a name", lambda m: m.graph.input.append(m.graph.input[0]), "model-invalid", ("'x'",)),
    (
        "two weights of a name",
        lambda m: m.graph.initializer.append(m.graph.initializer[0]),
        "model-invalid",
        ("'w'",),
    ),
    (
        "output without producer",
        lambda m: m.graph.output.append(helper.make_tensor_value_info("q", 1, [1])),
        "model-invalid",
        ("'q'",),
    ),
    ("no outputs", lambda m: m.graph.ClearField("output"), "model-invalid", ("no outputs",)),
    ("too few inputs", lambda m: m.graph.node[0].input.pop(), "model-invalid", ("MatMul", "1 inputs")),
    ("too many outputs", lambda m: m.graph.node[0].output.append("z"), "model-invalid", ("2 outputs",)),
    ("required attribute missing", _add_node("Concat", ["x"], ["c"]), "model-invalid", ("axis", "missing")),
    (
        "attribute of wrong type",
        _add_node("Concat", ["x"], ["c"], axis=1.5),
        "model-invalid",
        ("FLOAT", "INT"),
    ),
    ("cycle", lambda m: m.graph.node[0].input.__setitem__(0, "y"), "model-cyclic", ("MatMul", "Relu", "->")),
    ("huge weight", _set_dims(2**31, 2**31), "model-too-large", ("initializer w",)),
    ("huge dimension of an empty weight", _set_dims(2**40, 0), "model-too-large", ()),
    ("negative dimension", _set_dims(-2, -3), "model-invalid", ("negative",)),
    ("weight with too few numbers", _set_dims(2, 4), "model-invalid", ("8", "6")),
    ("weight with too many numbers", _set_dims(2, 2), "model-invalid", ("4", "6")),
    (
        "unknown dtype",
        lambda m: setattr(m.graph.initializer[0], "data_type", 99),
        "model-invalid",
        ("dtype",),
    ),
    (
        "undefined dtype",
        lambda m: setattr(m.graph.initializer[0], "data_type", 0),
        "model-invalid",
        ("dtype",),
    ),
    (
        "raw data too short",
        lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"),
        "model-invalid",
        ("24", "4 "),
    ),
    ("huge input", lambda m: _dim(m, 0, 2**40), "model-too-large", ("input x",)),
    ("negative input", lambda m: _dim(m, 0, -7), "model-invalid", ("-7",)),
    (
        "input of unknown dtype",
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 77),
        "model-invalid",
        ("77",),
    ),
    ("operator set too new", lambda m: setattr(m.opset_import[0], "version", 999), "model-opset", ("999",)),
    ("operator set too old", lambda m: setattr(m.opset_import[0], "version", 0), "model-opset", ("0",)),
    ("no operator set", lambda m: m.ClearField("opset_import"), "model-truncated", ()),
    ("IR version too new", lambda m: setattr(m, "ir_version", 999), "model-opset", ("999",)),
    ("no graph", lambda m: m.ClearField("graph"), "model-invalid", ("no graph",)),
    ("map input", lambda m: _map_of(m.graph.input[0].type), "unsupported", ("input x", "it is a map")),
    (
        "map output",
        lambda m: _map_of(m.graph.output[0].type.sequence_type.elem_type),
        "unsupported",
        ("output y", "zipmap=False"),
    ),
    (
        "map inside",
        lambda m: _map_of(m.graph.value_info.add(name="v").type.optional_type.elem_type),
        "unsupported",
        ("value v",),
    ),
    ("sparse weight", lambda m: m.graph.sparse_initializer.add(), "unsupported", ("sparse",)),
    (
        "external data of a model in memory",
        lambda m: _external(m.graph.initializer[0], "w.bin"),
        "external-data-missing",
        ("w.bin",),
    ),
]


def _map_of(kind: onnx.TypeProto) -> None:
    kind.map_type.key_type = TensorProto.INT64
    kind.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT


def _dim(model: onnx.ModelProto, axis: int, size: int) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size


def _external(tensor: TensorProto, location: str, **entries: Any) -> None:
    for field in ("raw_data", "float_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))


@pytest.mark.parametrize(("change", "code", "words"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_broken_models(change: Callable[[onnx.ModelProto], Any], code: str, words: tuple[str, ...]) -> None:
    fails(changed(change), code, *words)


def test_broken_subgraphs_and_functions() -> None:
    branch = """g (bool c, float[2] x) => (float[2] y) {{
      y = If(c) <then_branch = t () => (float[2] a) {{ {body} }}, else_branch = e () => (float[2] b) {{ b = Neg(x) }}>
    }}"""
    load_model(proto(branch.format(body="a = Abs(x)")))
    fails(proto(branch.format(body="a = Abs(b)")), "model-invalid", "'b'")
    fails(proto(branch.format(body="k = Abs(x)")), "model-invalid", "'a'")
    fails(proto(branch.format(body="a = Abs(x) a = Neg(x)")), "model-invalid", "twice")
    fails(proto(branch.format(body="a = Abs(y)")), "model-cyclic")
    functions = """<ir_version: 8, opset_import: ["" : 17, "f" : 1]> g (float[2] x) => (float[2] y) {{ y = f.one(x) }}
    <domain: "f", opset_import: ["" : 17, "f" : 1]> one (a) => (b) {{ {one} }}
    <domain: "f", opset_import: ["" : 17, "f" : 1]> two (a) => (b) {{ {two} }}"""
    load_model(proto(functions.format(one="b = f.two(a)", two="b = Neg(a)")))
    fails(proto(functions.format(one="b = f.two(a)", two="b = f.one(a)")), "model-cyclic", "one", "two")
    fails(proto(functions.format(one="b = Neg(c)", two="b = Neg(a)")), "model-invalid", "'c'")
    fails(proto(functions.format(one="c = Neg(a)", two="b = Neg(a)")), "model-invalid", "'b'")


def test_attributes_without_a_type_or_value() -> None:
    def untyped(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.add(name="k", type=AttributeProto.UNDEFINED)

    def valueless(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Constant", [], ["k"]))
        model.graph.node[-1].attribute.add(name="value", type=AttributeProto.TENSOR)

    def reference_outside(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.add(name="k", type=AttributeProto.INT, ref_attr_name="p")

    def huge_constant(model: onnx.ModelProto) -> None:
        model.graph.node.append(
            helper.make_node("Constant", [], ["k"], value=TensorProto(dims=[2**50], data_type=1))
        )

    for change in (untyped, valueless, reference_outside):
        fails(changed(change), "model-invalid")
    fails(changed(huge_constant), "model-too-large")


def test_unknown_operators_are_no_error_here() -> None:
    model = load_model(proto("g (float[2] x) => (float[2] y) { a = Mystery<k = 3>(x) y = custom.Other(a) }"))
    assert [node.op_type for node in model.graph] == ["Mystery", "Other"]


# External data


def external(folder: Path, location: str, **entries: Any) -> Path:
    model = large()
    _external(model.graph.initializer[0], location, **entries)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_mapped(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).standard_normal((128, 128)).astype(np.float32)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\xff" * 4096 + weights.tobytes())
    model = load_model(external(tmp_path, "sub/w.bin", offset=4096, length=weights.nbytes))
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), weights)
    assert not tensor.numpy().flags.owndata
    x = np.eye(2, 128, dtype=np.float32)
    np.testing.assert_array_equal(reference(ir.to_proto(model), {"x": x})[0], weights[:2])


def test_external_data_missing_or_short(tmp_path: Path) -> None:
    fails(external(tmp_path, "w.bin"), "external-data-missing", "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(65535))
    fails(external(tmp_path, "w.bin"), "external-data-missing", "65,536")
    (tmp_path / "w.bin").write_bytes(bytes(65536))
    load_model(external(tmp_path, "w.bin"))
    fails(external(tmp_path, "w.bin", offset=1), "external-data-missing")
    fails(external(tmp_path, "w.bin", length=7), "model-invalid", "7")
    fails(external(tmp_path, "w.bin", offset=-4), "model-invalid")
    fails(external(tmp_path, "w.bin", offset="four"), "model-invalid")
    (tmp_path / "d").mkdir()
    fails(external(tmp_path, "d"), "model-invalid")
    fails(external(tmp_path, ""), "model-invalid")


def test_external_data_outside(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(65536))
    (inside / "link.bin").symlink_to(secret)
    (inside / "folder").symlink_to(tmp_path)
    for location in (
        str(secret),
        "../secret.bin",
        "x/../../secret.bin",
        "link.bin",
        "folder/secret.bin",
        "..\\secret.bin",
        "a\0b",
    ):
        fails(external(inside, location), "external-data-outside")


def test_a_linked_model_finds_its_data_where_it_really_lies(tmp_path: Path) -> None:
    store, view = tmp_path / "store", tmp_path / "view"
    store.mkdir()
    view.mkdir()
    (store / "w.bin").write_bytes(bytes(65536))
    model = external(store, "w.bin")
    (view / "m.onnx").symlink_to(model)
    (view / "w.bin").symlink_to(store / "w.bin")
    load_model(view / "m.onnx")


def test_external_attribute_tensors(tmp_path: Path) -> None:
    model = proto("g (float[2] x) => (float[2] y) { c = Constant<value = float[2] {1, 2}>() y = Add(x, c) }")
    _external(model.graph.node[0].attribute[0].t, "c.bin")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    fails(path, "external-data-missing", "Constant")
    (tmp_path / "c.bin").write_bytes(np.array([3, 4], np.float32).tobytes())
    value = load_model(path).graph[0].attributes["value"].as_tensor()
    np.testing.assert_array_equal(value.numpy(), [3, 4])


# Input shapes


SHAPES: list[tuple[Any, str]] = [
    ({"z": (1, 2)}, "input-name"),
    ({"w": (2, 3)}, "input-name"),
    ({"x": (1,)}, "input-shape"),
    ({"x": (1, 2, 3)}, "input-shape"),
    ({"x": (float("nan"), 2)}, "input-shape"),
    ({"x": (1.0, 2)}, "input-shape"),
    ({"x": (-1, 2)}, "input-shape"),
    ({"x": (True, 2)}, "input-shape"),
    ({"x": ("1", 2)}, "input-shape"),
    ({"x": ("a b", 2)}, "input-shape"),
    ({"x": (None, 2)}, "input-shape"),
    ({"x": "12"}, "input-shape"),
    ({"x": 3}, "input-shape"),
    ({"x": None}, "input-shape"),
    ({"x": (2**40, 2)}, "input-shape"),
]


@pytest.mark.parametrize(("shapes", "code"), SHAPES, ids=[str(s) for s, _ in SHAPES])
def test_bad_shapes(shapes: Any, code: str) -> None:
    fails(proto(), code, shapes=shapes)


def dims(value: ir.Value) -> list[Any] | None:
    return (
        None if value.shape is None else [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    )


TWO = """g (float[N, 4] x, float[N, T] u) => (float[N, 4] y, float[N, T] z) <float[N, 4] a, float[T] b>
{ a = Neg(x) y = Neg(a) z = Neg(u) }"""


def two() -> onnx.ModelProto:
    model = proto(TWO.replace(" <float[N, 4] a, float[T] b>", ""))
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 4]))
    return model


def test_a_symbol_is_bound_everywhere() -> None:
    model = load_model(two(), {"x": (np.int64(3), 4)})
    assert [dims(v) for v in model.graph.inputs] == [[3, 4], [3, "T"]]
    assert [dims(v) for v in model.graph.outputs] == [[3, 4], [3, "T"]]
    assert dims(model.graph[0].outputs[0]) == [3, 4]
    model = load_model(two(), {"x": ("T", 4), "u": ("T", "N")})
    assert [dims(v) for v in model.graph.inputs] == [["T", 4], ["T", "N"]]
    assert [dims(v) for v in model.graph.outputs] == [["T", 4], ["T", "N"]]
    fails(two(), "input-shape", "N", shapes={"x": (3, 4), "u": (5, 6)})


def test_a_changed_dimension_drops_recorded_shapes() -> None:
    model = load_model(two(), {"x": ("N", 8)})
    assert dims(model.graph.inputs[0]) == ["N", 8]
    assert dims(model.graph[0].outputs[0]) is None
    assert [dims(v) for v in model.graph.outputs] == [None, None]


def test_unnamed_and_odd_dimensions_get_names() -> None:
    model = two()
    shape = model.graph.input[1].type.tensor_type.shape
    shape.dim[0].dim_param = "batch size"
    shape.dim[1].dim_value = -1
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_param = "batch size"
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_param = "?"
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    loaded = load_model(model)
    assert [dims(v) for v in loaded.graph.inputs] == [["x_dim0", 4], ["batch_size", "u_dim1"]]
    assert dims(loaded.graph.outputs[1]) == ["batch_size", None]


# What a good model becomes


def test_large_weights_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = large()
    path.write_bytes(model.SerializeToString())
    loaded = load_model(path)
    tensor = loaded.graph.initializers["w"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), numpy_helper.to_array(model.graph.initializer[0]))
    assert not tensor.numpy().flags.owndata
    assert not tensor.numpy().flags.writeable
    assert len(strip_weights(path.read_bytes())) < 1000


@pytest.mark.parametrize(
    "dtype", [d for d in ir.DataType if d not in (ir.DataType.UNDEFINED, ir.DataType.STRING)]
)
@pytest.mark.parametrize("count", [3, 4000])
def test_every_dtype_survives(tmp_path: Path, dtype: ir.DataType, count: int) -> None:
    array = np.random.default_rng(0).integers(0, 2, count).astype(dtype.numpy())
    tensor = ir.to_proto(ir.Tensor(array, dtype=dtype, name="w"))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", dtype.value, [count])],
        [tensor],
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    for model in (load_model(path), load_model(onnx.load(str(path)))):
        got = model.graph.initializers["w"].const_value
        assert got is not None
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.numpy().astype(np.complex128), array.astype(np.complex128))


def test_typed_data_fields(tmp_path: Path) -> None:
    values = list(range(1000))
    for kind, dtype in (
        (TensorProto.FLOAT, np.float32),
        (TensorProto.INT64, np.int64),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.DOUBLE, np.float64),
    ):
        wanted = [v % 100 for v in values]
        tensor = helper.make_tensor("w", kind, [1000], wanted)
        graph = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["y"])],
            "g",
            [],
            [helper.make_tensor_value_info("y", kind, [1000])],
            [tensor],
        )
        path = tmp_path / "m.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        got = load_model(path).graph.initializers["w"].const_value
        assert got is not None
        np.testing.assert_array_equal(got.numpy(), np.array(wanted, dtype))


def test_weights_that_are_inputs_too_are_constants() -> None:
    model = changed(lambda m: m.graph.input.append(helper.make_tensor_value_info("w", 1, [2, 3])))
    model.ir_version = 3
    loaded = load_model(model)
    assert [v.name for v in loaded.graph.inputs] == ["x"]
    assert loaded.ir_version >= 4
    onnx.checker.check_model(ir.to_proto(loaded))
    fails(model, "input-name", shapes={"w": (2, 3)})


def test_nodes_are_sorted() -> None:
    model = proto()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert [node.op_type for node in load_model(model).graph] == ["MatMul", "Relu"]
    captured = proto(
        """g (bool c, float[2] x) => (float[2] y) {
          y = If(c) <then_branch = t () => (float[2] a) { a = Neg(k) }, else_branch = e () => (float[2] b) { b = Abs(k) }>
          k = Exp(x)
        }"""
    )
    assert [node.op_type for node in load_model(captured).graph] == ["Exp", "If"]


def test_names_are_distinct_over_all_graphs() -> None:
    model = load_model(
        proto(
            """g (bool c, float[2] x) => (float[2] y) {
              k = Exp(x)
              y = If(c) <then_branch = t () => (float[2] a) { m = Neg(k) a = Abs(m) },
                         else_branch = e () => (float[2] a) { m = Exp(k) a = Abs(m) }>
            }"""
        )
    )
    names = [out.name for node in model.graph.all_nodes() for out in node.outputs]
    assert len(set(names)) == len(names) == 6
    feed = {"c": np.array(False), "x": np.array([1, 2], np.float32)}
    np.testing.assert_allclose(reference(ir.to_proto(model), feed)[0], np.exp(np.exp([1, 2])), rtol=1e-6)


def test_models_in_memory_are_not_changed() -> None:
    model = two()
    before = model.SerializeToString()
    loaded = load_model(model, {"x": (2, 4)})
    assert model.SerializeToString() == before
    again = load_model(loaded, {"x": (2, 9)})
    assert dims(loaded.graph.inputs[0]) == [2, 4]
    assert dims(again.graph.inputs[0]) == [2, 9]


def test_ir_models_are_checked() -> None:
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    ghost = ir.Value(name="ghost")
    node = ir.Node("", "Add", [x, ghost], outputs=[ir.Value(name="y")])
    model = ir.Model(
        ir.Graph([x], node.outputs, nodes=[node], name="g", opset_imports={"": 17}), ir_version=8
    )
    fails(model, "model-invalid", "ghost")
    model.opset_imports[""] = 999
    fails(model, "model-opset")


def test_ir_models_are_sorted_and_cycles_found() -> None:
    def model(first_input: ir.Value | None) -> ir.Model:
        x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
        a, b = ir.Value(name="a"), ir.Value(name="b")
        nodes = [
            ir.Node("", "Neg", [a], outputs=[b]),
            ir.Node("", "Add", [x, b if first_input is None else x], outputs=[a]),
        ]
        return ir.Model(ir.Graph([x], [b], nodes=nodes, name="g", opset_imports={"": 17}), ir_version=8)

    fails(model(None), "model-cyclic")
    loaded = load_model(model(ir.Value(name="any")))
    assert [node.op_type for node in loaded.graph] == ["Add", "Neg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto().SerializeToString())
    path.chmod(0)
    fails(path, "model-not-found", "ermission")


def test_a_range_keeps_a_symbol_within_its_ends() -> None:
    model = load_model(two(), {"x": ("1..8", 4)})
    assert [dims(v) for v in model.graph.inputs] == [["N", 4], ["N", "T"]]
    assert model.meta["ranges"] == {"N": (1, 8)}
    fails(two(), "input-shape", "N", shapes={"x": ("8..1", 4)})
    fails(two(), "input-shape", "N", shapes={"x": ("1..8", 4), "u": ("1..9", "T")})


def test_a_shape_of_a_value_inside_contradicts_or_is_kept() -> None:
    model = proto("net (float[2,3] x) => (float[a,b] y) { r = Relu(x)  y = Neg(r) }")
    loaded = load_model(model, {"y": ("1..8", "b")})
    assert [dims(v) for v in loaded.graph.outputs] == [["a", "b"]]
    assert loaded.meta["ranges"] == {"a": (1, 8)}
    stated = proto("net (float[2,3] x) => (float[2,b] y) { r = Relu(x)  y = Neg(r) }")
    fails(stated, "input-shape", "contradicts the model's", shapes={"y": (3, 3)})
    fails(stated, "input-shape", "has 1 dimensions", shapes={"y": (3,)})
    fails(stated, "input-name", "no value inside of that name", shapes={"z": (3,)})
