"""What must hold of an onnx.ModelProto before anything of its declared size is allocated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
)

from ingot.errors import IngotError
from ingot.frontends.wire import SELF

MAX_ELEMENTS = 2**33
"""Most elements that one tensor, or all inputs and outputs together, may declare."""

MAX_NODES = 200_000
"""Of a model whose functions are put in place of their calls."""

_DATA_FIELDS = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT32: "uint64_data",
    ir.DataType.UINT64: "uint64_data",
}

_ATTRIBUTE_FIELDS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
}


def read_bytes(path: Path, remedy: str = "give the path of a model file") -> bytes:
    """A model file. Raises IngotError model-not-found."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        cause = "it is a folder" if path.is_dir() else getattr(error, "strerror", None) or str(error)
        raise IngotError("model-not-found", cause, where=str(path), remedy=remedy) from None


def check_model(model: ModelProto, *, roots: Sequence[Path], file_bytes: int = 0) -> bool:
    """Raise IngotError unless the model is whole and consistent. True when its nodes stand in topological order.

    roots: the folders that external data may lie in, none for a model without a file; its locations are relative
    to the first. file_bytes: the length of the model file that tensors at `SELF` refer to. Operators without a
    schema pass; cycles are found by the caller's sort.
    """
    opsets = _check_opsets(model)
    functions = {(f.domain, f.name, f.overload) for f in model.functions}
    if len(functions) != len(model.functions):
        raise _invalid("two functions have the same name", "model")
    for function in model.functions:
        _check_function(function, functions)
    _check_function_calls(model.functions, model.graph.node)
    ordered = _check_graph(model.graph, {}, opsets, functions)
    _check_interface(model.graph)
    for tensor, where in _tensors(model):
        check_tensor(tensor, where, roots=roots, file_bytes=file_bytes)
    return ordered


def place(node: NodeProto) -> str:
    """How errors name a node: its name, or what it produces."""
    return f"{node.op_type} {node.name or '-> ' + next(iter(node.output), '?')}"


def _invalid(
    cause: str, where: str, remedy: str = "export the model again; this file is damaged or not valid ONNX"
) -> IngotError:
    return IngotError("model-invalid", cause, where=where, remedy=remedy)


def _check_opsets(model: ModelProto) -> dict[str, int]:
    newest = onnx.defs.onnx_opset_version()
    if model.ir_version > onnx.IR_VERSION:
        raise IngotError(
            "model-opset",
            f"the model has ONNX IR version {model.ir_version}, the newest known one is {onnx.IR_VERSION}",
            where="ir_version",
            remedy="update the onnx package, or export the model for an older version",
        )
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise _invalid(
                f"the operator set {domain or 'ai.onnx'!r} is imported in two versions", "opset_import"
            )
    if "" not in opsets and (model.ir_version < 3 or any(not n.domain for n in model.graph.node)):
        if model.ir_version >= 3:
            raise IngotError(
                "model-truncated",
                "the model does not say which version of the ONNX operators it uses",
                where="opset_import",
                remedy="copy or download the file again; it is cut short",
            )
        opsets[""] = 1
    version = opsets.get("", newest)
    if version > newest:
        raise IngotError(
            "model-opset",
            f"the model uses operator set {version}, the newest known one is {newest}",
            where="opset_import",
            remedy="update the onnx package, or export the model with an older opset_version",
        )
    if version < 1:
        raise IngotError(
            "model-opset",
            f"the model uses operator set {version}, the first one is 1",
            where="opset_import",
            remedy="export the model again",
        )
    return opsets


def _check_function(function: FunctionProto, functions: Collection[tuple[str, str, str]]) -> None:
    where = f"function {function.name}"
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in function.opset_import}
    defined = _unique(function.input, "input", where)
    for node in function.node:
        _define_outputs(node, defined)
    _check_nodes(function.node, defined, set(defined), {}, opsets, functions, in_function=True)
    _check_outputs(function.output, defined, where)


def _check_function_calls(functions: Sequence[FunctionProto], nodes: Iterable[NodeProto]) -> None:
    """Functions must not call themselves, directly or through others, and their bodies in place of calls stay bounded."""
    bodies = {(f.domain, f.name, f.overload): _callees(f.node) for f in functions}
    calls = {key: body.keys() & bodies.keys() for key, body in bodies.items()}
    done: dict[tuple[str, str, str], int] = {}
    while True:
        ready = [key for key, callees in calls.items() if key not in done and callees <= done.keys()]
        if not ready:
            break
        done |= {key: _expanded(bodies[key], done) for key in ready}
    if len(done) == len(calls) and _expanded(_callees(nodes), done) > MAX_NODES:
        raise IngotError(
            "model-too-large",
            f"with its functions in place of their calls the model has more than {MAX_NODES:,} nodes",
            where="functions",
            remedy="export the model with fewer calls inside each other",
        )
    if len(done) < len(calls):
        names = ", ".join(sorted(name for _, name, _ in calls.keys() - done.keys()))
        raise IngotError(
            "model-cyclic",
            f"functions call themselves: {names}",
            where="functions",
            remedy="export the model without recursive functions",
        )


def _callees(nodes: Iterable[NodeProto]) -> Counter[tuple[str, str, str]]:
    """How often each operator is used, in subgraphs too."""
    return Counter((n.domain, n.op_type, n.overload) for n in _all_nodes(nodes))


def _expanded(body: Mapping[tuple[str, str, str], int], sizes: Mapping[tuple[str, str, str], int]) -> int:
    return sum(count * sizes.get(key, 1) for key, count in body.items())


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield from _all_nodes(graph.node)


def subgraphs(attribute: AttributeProto) -> list[GraphProto]:
    """The graphs that an attribute holds."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _unique(names: Iterable[str], kind: str, where: str) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if not name or not isinstance(name, str):
            raise _invalid(f"an {kind} has {'a name that is not UTF-8' if name else 'no name'}", where)
        if name in seen:
            raise _invalid(f"two {kind}s are named {name!r}", where)
        seen.add(name)
    return seen


def _define_outputs(node: NodeProto, defined: set[str]) -> None:
    for name in node.output:
        if name and name in defined:
            raise _invalid(f"the value {name!r} is defined twice", place(node))
        defined.add(name)


def _check_graph(
    graph: GraphProto,
    outer: Mapping[str, None],
    opsets: Mapping[str, int],
    functions: Collection[tuple[str, str, str]],
) -> bool:
    where = f"graph {graph.name or '(unnamed)'}"
    if graph.sparse_initializer:
        raise IngotError(
            "unsupported",
            f"{len(graph.sparse_initializer)} initializers are stored as sparse tensors",
            where=where,
            remedy="store them as dense tensors",
        )
    _check_no_maps(graph)
    inputs = _unique((i.name for i in graph.input), "input", where)
    defined = inputs | _unique((t.name for t in graph.initializer), "initializer", where)
    known = set(defined)
    for node in graph.node:
        _define_outputs(node, defined)
    defined.discard("")
    ordered = _check_nodes(graph.node, defined, known, outer, opsets, functions)
    _check_outputs((o.name for o in graph.output), defined, where)
    return ordered


def _check_no_maps(graph: GraphProto) -> None:
    """Raise IngotError unsupported at the first value of the graph that is a map, or a sequence of such."""
    for kind, infos, remedy in (
        ("input", graph.input, "leave out the node that reads it, and make that node's output an input"),
        (
            "output",
            graph.output,
            "leave out the node that makes it (skl2onnx: zipmap=False), and make that node's input an output",
        ),
        ("value", graph.value_info, "leave out the nodes that make it and read it"),
    ):
        for info in infos:
            if _holds_maps(info.type):
                cause = "it is a map or holds maps, and only tensors, sequences and optionals are supported"
                raise IngotError("unsupported", cause, where=f"{kind} {info.name}", remedy=remedy)


def _holds_maps(type_: TypeProto) -> bool:
    while type_.WhichOneof("value") in ("sequence_type", "optional_type"):
        type_ = getattr(type_, type_.WhichOneof("value")).elem_type
    return bool(type_.HasField("map_type"))


def _check_outputs(names: Iterable[str], defined: Collection[str], where: str) -> None:
    for name in _unique(names, "output", where):
        if name not in defined:
            raise _invalid(f"the output {name!r} is produced by no node", where)


def _check_nodes(
    nodes: Iterable[NodeProto],
    defined: Collection[str],
    known: set[str],
    outer: Mapping[str, None],
    opsets: Mapping[str, int],
    functions: Collection[tuple[str, str, str]],
    *,
    in_function: bool = False,
) -> bool:
    """defined: every name of this graph; known: those that exist before the first node. True when in order."""
    ordered = True
    visible = {**outer, **dict.fromkeys(defined)}
    for node in nodes:
        for name in node.input:
            if name and name not in visible:
                raise _invalid(
                    f"its input {name!r} is produced by no node and is no input of the model", place(node)
                )
            ordered = ordered and (not name or name in known or name not in defined)
        _check_schema(node, opsets, functions, in_function=in_function)
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                ordered = _check_graph(graph, visible, opsets, functions) and ordered
                ordered = ordered and not (_captured(graph) & set(defined)) - known
        known.update(node.output)
    return ordered


def _captured(graph: GraphProto) -> set[str]:
    """Names that a subgraph uses and does not define."""
    used = {name for node in _all_nodes(graph.node) for name in node.input}
    own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    return used - own - {name for node in graph.node for name in node.output}


def _check_schema(
    node: NodeProto,
    opsets: Mapping[str, int],
    functions: Collection[tuple[str, str, str]],
    *,
    in_function: bool,
) -> None:
    """The node's arity and attribute types against its operator's schema, where there is one."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    names = [a.name for a in node.attribute]
    if not all(
        isinstance(text, str) for text in (node.op_type, node.domain, node.name, *node.output, *names)
    ):
        raise _invalid("one of its names is not UTF-8", place(node))
    if len(set(names)) != len(names):
        raise _invalid("it has an attribute twice", place(node))
    for attribute in node.attribute:
        _check_attribute(attribute, node, in_function=in_function)
    if (node.domain, node.op_type, node.overload) in functions or domain not in opsets:
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        return
    for kind, found, low, high in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not low <= found <= high:
            expected = (
                f"{low}" if low == high else f"{low} to {high}" if high < 1 << 30 else f"at least {low}"
            )
            raise _invalid(f"it has {found} {kind} and must have {expected}", place(node))
    for attribute in node.attribute:
        if attribute.name not in schema.attributes:
            continue
        found_type = AttributeProto.AttributeType.Name(attribute.type)
        wanted_type = str(schema.attributes[attribute.name].type).removeprefix("AttrType.")
        if found_type != wanted_type:
            cause = (
                f"its attribute {attribute.name!r} is of type {found_type} and must be of type {wanted_type}"
            )
            raise _invalid(cause, place(node))
        if not _is_utf8(attribute.s):
            raise _invalid(f"its attribute {attribute.name!r} is not UTF-8", place(node))
    for name, wanted in schema.attributes.items():
        if wanted.required and name not in names:
            raise _invalid(f"its attribute {name!r} is missing", place(node))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_attribute(attribute: AttributeProto, node: NodeProto, *, in_function: bool) -> None:
    if (
        attribute.type not in AttributeProto.AttributeType.values()
        or attribute.type == AttributeProto.UNDEFINED
    ):
        raise _invalid(f"its attribute {attribute.name!r} has the unknown type {attribute.type}", place(node))
    if attribute.ref_attr_name:
        if not in_function:
            raise _invalid(f"its attribute {attribute.name!r} refers to a function's attribute", place(node))
        return
    field = _ATTRIBUTE_FIELDS.get(attribute.type)
    if field in ("t", "g") and not attribute.HasField(field):
        raise _invalid(f"its attribute {attribute.name!r} has no value", place(node))
    if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
        raise IngotError(
            "unsupported",
            f"its attribute {attribute.name!r} is a sparse tensor",
            where=place(node),
            remedy="store it as a dense tensor",
        )


def _check_interface(graph: GraphProto) -> None:
    """The declared shapes of the model's inputs and outputs."""
    constants = {t.name for t in graph.initializer}
    if not graph.output:
        raise _invalid("the model has no outputs", "model")
    total = 0
    for kind, infos in (("input", graph.input), ("output", graph.output)):
        for info in infos:
            if info.name not in constants:
                total += _declared_elements(info, f"{kind} {info.name}")
    if total > MAX_ELEMENTS:
        raise _too_large(f"its inputs and outputs hold {total:,} elements together", "model")


def _declared_elements(info: ValueInfoProto, where: str) -> int:
    if not info.type.HasField("tensor_type"):
        return 0
    tensor = info.type.tensor_type
    if where.startswith("input") and tensor.elem_type not in TensorProto.DataType.values()[1:]:
        raise _invalid(f"it has the unknown dtype {tensor.elem_type}", where)
    dims = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value") and dim.dim_value != -1]
    for dim in dims:
        if dim < 0:
            raise _invalid(f"it has the negative dimension {dim}", where)
    elements: int = math.prod(dims)
    if elements > MAX_ELEMENTS:
        raise _too_large(f"it declares {elements:,} elements", where)
    return elements


def _too_large(cause: str, where: str) -> IngotError:
    return IngotError(
        "model-too-large",
        f"{cause}, more than {MAX_ELEMENTS:,}",
        where=where,
        remedy="check the shapes in the file, or give smaller ones",
    )


def _tensors(model: ModelProto) -> Iterator[tuple[TensorProto, str]]:
    """Every tensor of the model with the place it is in."""

    def of_nodes(nodes: Iterable[NodeProto]) -> Iterator[tuple[TensorProto, str]]:
        for node in nodes:
            for attribute in node.attribute:
                tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
                yield from ((tensor, place(node)) for tensor in tensors)
                for graph in subgraphs(attribute):
                    yield from of_graph(graph)

    def of_graph(graph: GraphProto) -> Iterator[tuple[TensorProto, str]]:
        yield from ((tensor, f"initializer {tensor.name}") for tensor in graph.initializer)
        yield from of_nodes(graph.node)

    yield from of_graph(model.graph)
    for function in model.functions:
        yield from of_nodes(function.node)


def check_tensor(tensor: TensorProto, where: str, *, roots: Sequence[Path], file_bytes: int = 0) -> None:
    """Raise IngotError unless the tensor holds exactly what its dtype and dims declare.

    External data must exist inside one of `roots` and be long enough. Reads no data and allocates nothing.
    """
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise _invalid(f"it has the unknown dtype {tensor.data_type}", where)
    if tensor.HasField("segment"):
        raise _invalid("it is stored in segments", where)
    dims = list(tensor.dims)
    if any(dim < 0 for dim in dims):
        raise _invalid(f"it has a negative dimension: {dims}", where)
    elements = math.prod(dims)
    if elements > MAX_ELEMENTS or any(dim > MAX_ELEMENTS for dim in dims):
        raise _too_large(f"it declares {elements:,} elements {dims}", where)
    dtype = ir.DataType(tensor.data_type)
    nbytes = 0 if dtype == ir.DataType.STRING else (elements * dtype.bitwidth + 7) // 8
    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(tensor, nbytes, where, roots, file_bytes)
        return
    if dtype == ir.DataType.STRING:
        found, wanted = len(tensor.string_data), elements
    elif tensor.HasField("raw_data"):
        found, wanted = len(tensor.raw_data), nbytes
    else:
        found, wanted = _typed_count(tensor, dtype, elements)
    if found != wanted:
        unit = "bytes" if tensor.HasField("raw_data") else "numbers"
        raise _invalid(f"it declares {dtype.name} {dims}, {wanted:,} {unit}, and holds {found:,}", where)


def _typed_count(tensor: TensorProto, dtype: ir.DataType, elements: int) -> tuple[int, int]:
    """Numbers in the typed data field of the tensor: how many there are, how many there should be."""
    per_byte = {4: 2, 2: 4}.get(dtype.bitwidth, 1)
    per_element = 2 if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128) else 1
    found = len(getattr(tensor, _DATA_FIELDS.get(dtype, "int32_data")))
    return found, -(-elements * per_element // per_byte)


def external_info(tensor: TensorProto, where: str) -> tuple[str, int, int | None]:
    """location, offset, length (None: as much as the shape needs) of a tensor with external data."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise _invalid(
            f"its external data has offset or length that is no number: {entries}", where
        ) from None
    if offset < 0 or (length is not None and length < 0):
        raise _invalid(f"its external data has a negative offset or length: {entries}", where)
    return entries.get("location", ""), offset, length


def _check_external(
    tensor: TensorProto, nbytes: int, where: str, roots: Sequence[Path], file_bytes: int
) -> None:
    location, offset, length = external_info(tensor, where)
    if tensor.data_type == TensorProto.STRING:
        raise _invalid("its strings are stored as external data", where)
    if length is not None and length != nbytes:
        raise _invalid(f"it declares {list(tensor.dims)}, {nbytes:,} bytes, and holds {length:,}", where)
    if location == SELF and file_bytes:
        available = file_bytes
    elif not roots:
        raise IngotError(
            "external-data-missing",
            f"its data lies in {location!r}, and a model that is not a file has no folder to look in",
            where=where,
            remedy="give the path of the model, or load the data with onnx.load_external_data_for_model",
        )
    else:
        available = external_path(location, roots, where).stat().st_size
    if offset + nbytes > available:
        raise IngotError(
            "external-data-missing",
            f"its data ends at byte {offset + nbytes:,} of {location!r}, which has {available:,}",
            where=where,
            remedy="copy or download the data file again; it is cut short or belongs to another model",
        )


def external_path(location: str, roots: Sequence[Path], where: str) -> Path:
    """The file of external data: `location` beside the model, in roots[0].

    Raises IngotError external-data-outside for an absolute path, one that leaves the folder, or a link out of all
    of `roots`.
    """
    outside = IngotError(
        "external-data-outside",
        f"its data file {location!r} lies outside the model's folder",
        where=where,
        remedy="put the data file into the model's folder and refer to it by its name",
    )
    if not location:
        raise _invalid("its external data has no location", where)
    if "\0" in location or Path(location).is_absolute() or ".." in location.replace("\\", "/").split("/"):
        raise outside
    path = roots[0] / location
    if not path.exists():
        raise IngotError(
            "external-data-missing",
            f"its data file {location!r} does not exist in {roots[0]}",
            where=where,
            remedy="copy the data file beside the model",
        )
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root.resolve()) for root in roots):
        raise outside
    if not path.is_file():
        raise _invalid(f"its external data {location!r} is no file", where)
    return path
