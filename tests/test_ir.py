"""Kernel IR: index expressions keep their value through every simplification, the verifiers refuse what is broken, and
the interpreter computes what the grammar says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import IngotError
from ingot.ir.index import (
    Ix,
    Var,
    evaluate,
    ix,
    less,
    maximum,
    minimum,
    nonnegative,
    product,
    show,
    substitute,
    symbol,
    var,
    weighted_sum,
)
from ingot.ir.interpret import interpret
from ingot.ir.nodes import (
    DTYPES,
    Acc,
    Assign,
    Buffer,
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
    Read,
    Select,
    Splat,
    Stmt,
    Store,
    Value,
    as_index,
    reindex,
    value_variables,
    walk,
)
from ingot.ir.ops import OPS
from ingot.ir.program import Dense, Fill, Map, Program, Reduce, Tensor, identity
from ingot.ir.verify import verify, verify_kernel

N, M = symbol("n"), symbol("m")
LOOPS = {
    "i": var("i", 5),
    "j": var("j", 16),
    "k": var("k", 1),
    "l": var("l", 7),
    "p": var("p", N),
    "q": var("q", ix(N) * 4),
    "r": var("r", ix(M) + 2),
}
SYMBOLS = {"n": N, "m": M}


@dataclass(frozen=True)
class Written:
    """An expression as it was written, to be computed with Python's integers, beside the `Ix` that it became."""

    compute: Callable[[dict[str, int]], int]
    index: Ix
    text: str

    def __repr__(self) -> str:
        return self.text


def leaf(name: str) -> Written:
    return Written(lambda v: v[name], ix((LOOPS | SYMBOLS)[name]), name)


def number(value: int) -> Written:
    return Written(lambda v: value, ix(value), str(value))


def joined(operator: str, a: Written, b: Written) -> Written:
    compute: dict[str, Callable[[int, int], Any]] = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "//": lambda x, y: x // y,
        "%": lambda x, y: x % y,
        "min": min,
        "max": max,
    }
    build: dict[str, Callable[[Ix, Ix], Ix]] = compute | {"min": minimum, "max": maximum}
    return Written(
        lambda v: compute[operator](a.compute(v), b.compute(v)),
        build[operator](a.index, b.index),
        f"({a} {operator} {b})",
    )


leaves = st.sampled_from([*LOOPS, *SYMBOLS]).map(leaf) | st.integers(-40, 40).map(number)
divisors = (
    st.sampled_from([1, 2, 3, 4, 5, 7, 8, 12, 16, 32]).map(number)
    | st.sampled_from(
        [leaf("n"), leaf("m"), joined("*", number(4), leaf("n")), joined("*", leaf("n"), leaf("m"))]
    )
    | st.just(joined("+", leaf("m"), number(2)))
)


def grow(inner: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    return (
        st.builds(joined, st.sampled_from(["+", "-", "min", "max"]), inner, inner)
        | st.builds(joined, st.just("*"), inner, leaves)
        | st.builds(joined, st.sampled_from(["//", "%"]), inner, divisors)
    )


expressions = st.recursive(leaves, grow, max_leaves=12)


@st.composite
def points(draw: st.DrawFn) -> dict[str, int]:
    """Values of all symbols and, below their extents, of all loop variables."""
    values = {name: draw(st.integers(1, 9)) for name in SYMBOLS}
    for name, variable in LOOPS.items():
        assert variable.extent is not None
        values[name] = draw(st.integers(0, evaluate(variable.extent, values) - 1))
    return values


many = settings(max_examples=600, deadline=None)


@many
@given(expressions, points())
def test_simplified_expressions_keep_their_value(e: Written, at: dict[str, int]) -> None:
    assert evaluate(e.index, at) == e.compute(at)


@many
@given(expressions, points())
def test_bounds_hold(e: Written, at: dict[str, int]) -> None:
    value = e.compute(at)
    low, high = e.index.lower(), e.index.upper()
    assert low is None or low <= value
    assert high is None or value <= high
    assert not nonnegative(e.index) or value >= 0


@many
@given(expressions, expressions, points())
def test_what_is_proven_less_is_less(a: Written, b: Written, at: dict[str, int]) -> None:
    assert not less(a.index, b.index) or a.compute(at) < b.compute(at)


@many
@given(expressions, points())
def test_a_quotient_and_a_remainder_make_the_whole(e: Written, at: dict[str, int]) -> None:
    for d in (3, 8, 16, N, ix(N) * 4, ix(M) + 2):
        quotient, remainder = e.index // d, e.index % d
        assert evaluate(quotient * d + remainder, at) == e.compute(at)
        assert 0 <= evaluate(remainder, at) < evaluate(ix(d), at)
        assert evaluate(e.index.ceildiv(d), at) == -(-e.compute(at) // evaluate(ix(d), at))


@many
@given(expressions, expressions, st.sampled_from([*LOOPS]), points())
def test_substitution_is_evaluation_at_the_new_value(
    e: Written, by: Written, name: str, at: dict[str, int]
) -> None:
    inside = by.index % ix(LOOPS[name].extent or 1)
    moved = substitute(e.index, {LOOPS[name]: inside})
    assert evaluate(moved, at) == e.compute(at | {name: evaluate(inside, at)})


@many
@given(expressions, st.sampled_from([*LOOPS]), points())
def test_linear_parts_make_the_whole(e: Written, name: str, at: dict[str, int]) -> None:
    parts = e.index.linear(LOOPS[name])
    if parts is not None:
        stride, rest = parts
        assert LOOPS[name] not in stride.variables() | rest.variables()
        assert evaluate(stride, at) * at[name] + evaluate(rest, at) == e.compute(at)
        split = e.index.split(LOOPS[name])
        assert (split is None) == (not stride.is_const)
        assert split is None or split == (stride.value, rest)


@many
@given(expressions, expressions, expressions)
def test_equal_polynomials_are_equal_objects(a: Written, b: Written, c: Written) -> None:
    x, y, z = a.index, b.index, c.index
    assert x + y == y + x
    assert (x + y) + z == x + (y + z)
    assert x * y == y * x
    assert x - x == ix(0)
    assert hash(x + y) == hash(y + x)


@given(expressions)
def test_variables_are_those_the_value_depends_on(e: Written) -> None:
    allowed = set(LOOPS.values()) | set(SYMBOLS.values())
    assert e.index.variables() <= allowed


I, J, L = LOOPS["i"], LOOPS["j"], LOOPS["l"]  # noqa: E741


@pytest.mark.parametrize(
    ("made", "simple"),
    [
        ((ix(I) * 16 + ix(J)) // 16, ix(I)),
        ((ix(I) * 16 + ix(J)) % 16, ix(J)),
        (((ix(I) * 16 + ix(J)) // 16) * 16 + (ix(I) * 16 + ix(J)) % 16, ix(I) * 16 + ix(J)),
        ((ix(I) * 64 + ix(J) * 4 + 3) // 64, ix(I)),
        ((ix(I) * N + LOOPS["p"]) // N, ix(I)),
        ((ix(I) * N + LOOPS["p"]) % N, ix(LOOPS["p"])),
        (ix(J) // 16, ix(0)),
        (ix(J) % 16, ix(J)),
        ((ix(J) + 32) // 16, ix(2)),
        ((ix(N) * 12) // 4, ix(N) * 3),
        ((ix(N) * 12) // N, ix(12)),
        ((ix(N) * M * 6) // (ix(N) * M), ix(6)),
        (minimum(J, 20), ix(J)),
        (maximum(J, -3), ix(J)),
        (minimum(ix(J) + 4, ix(J) + 2), ix(J) + 2),
        (product([2, N, 3]), ix(N) * 6),
        (ix(7).ceildiv(4), ix(2)),
        (((ix(I) * 16 + ix(J)) // 8) // 2, ix(I)),
        (
            weighted_sum([((ix(I) + 5) // 52, ix(832)), ((ix(I) + 5) % 52, ix(16)), (ix(J), ix(3))]),
            ix(I) * 16 + ix(J) * 3 + 80,
        ),
    ],
)
def test_what_layouts_rely_on_is_simplified(made: Ix, simple: Ix) -> None:
    assert made == simple, show(made)


def test_a_constant_division_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        ix(I) // 0
    with pytest.raises(ZeroDivisionError):
        ix(I) % 0


def test_only_a_constant_has_a_value() -> None:
    assert (ix(I) - ix(I) + 3).value == 3
    with pytest.raises(ValueError, match="not a constant"):
        _ = ix(I).value


def test_run_time_integers_stand_in_indices() -> None:
    flag = Tensor("flag", "i64", (ix(5),))
    at = as_index(Read(flag, (ix(I),))) * 2 + 1
    assert at.variables() == {I}
    assert at.linear(I) is None
    assert evaluate(at, {"i": 3}, lambda v: 10) == 21
    moved = reindex(Index(at), {I: ix(J) % 5})
    assert value_variables(moved) == {J}
    assert as_index(Const(4, "i64")) == ix(4)
    assert as_index(Index(ix(J))) == ix(J)


def tensor(name: str, *dims: int | Ix | Var, dtype: str = "f32", kind: str = "temp") -> Tensor:
    return Tensor(name, dtype, tuple(ix(d) for d in dims), kind)


def copy_program() -> Program:
    """y = x, over [n, 5]."""
    x, y = tensor("x", N, 5, kind="input"), tensor("y", N, 5, kind="output")
    axes = (var("a", N), var("b", 5))
    return Program("copy", [x], [y], [N], [Map(y, axes, identity(x, axes), nodes=("node",))])


def test_a_sound_program_passes() -> None:
    verify(copy_program())


def broken(change: Callable[[Program], None], cause: str) -> Any:
    return pytest.param(change, cause, id=cause.replace(" ", "_"))


def _set(**fields: Any) -> Callable[[Program], None]:
    def change(program: Program) -> None:
        program.operations[0] = replace(program.operations[0], **fields)

    return change


def _drop(program: Program) -> None:
    program.operations.clear()


def _read(value: Callable[[Program], Value]) -> Callable[[Program], None]:
    def change(program: Program) -> None:
        program.operations[0].finish = value(program)

    return change


def _stranger(program: Program) -> Value:
    return identity(tensor("z", N, 5), program.operations[0].axes)


def _reduce(program: Program) -> None:
    over = var("o", 3)
    axes = program.operations[0].axes
    program.operations[0] = Reduce(
        program.outputs[0], axes, Index(ix(over)), "add", (over,), Const(1.0, "f32")
    )


def _dense(
    features: int, index: Callable[[tuple[Var, ...], Var], tuple[Ix, ...]]
) -> Callable[[Program], None]:
    def change(program: Program) -> None:
        axes, channel = program.operations[0].axes, var("c", 5)
        program.operations[0] = Dense(
            program.outputs[0], axes, Acc("f32"), 1, (), channel, program.inputs[0], index(axes, channel),
            np.ones((5, features), np.float32),
        )  # fmt: skip

    return change


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        broken(_drop, "output y is never written"),
        broken(_set(axes=(var("a", N),)), "1 axes for a tensor of rank 2"),
        broken(_set(axes=(var("a", N), var("b", 6))), "axis b runs to 6, the tensor to 5"),
        broken(_read(_stranger), "reads z before anything writes it"),
        broken(
            _read(lambda p: Read(p.inputs[0], (ix(0), ix(var("loose", 5))))),
            "finish uses loose, which no loop defines",
        ),
        broken(_read(lambda p: Read(p.inputs[0], (ix(0),))), "reads x with 1 indices"),
        broken(_read(lambda p: Acc("f32")), "an elementwise operation has no accumulator"),
        broken(
            _read(lambda p: Select(Const(True, "bool"), Const(1.0, "f32"), Const(1, "i64"))),
            "chooses between f32 and i64",
        ),
        broken(_read(lambda p: Op("add", (Const(1.0, "f32"), Const(1, "i64")), "f32")), "add of f32, i64"),
        broken(_reduce, "finish uses o, which no loop defines"),
        broken(_dense(4, lambda a, c: (ix(a[0]), ix(c))), "the weight's features are not the output's"),
        broken(
            _dense(5, lambda a, c: (ix(a[0]), ix(var("w", 5)))),
            "x_index uses a variable that no loop defines",
        ),
    ],
)
def test_a_broken_program_is_refused(change: Callable[[Program], None], cause: str) -> None:
    program = copy_program()
    change(program)
    with pytest.raises(IngotError) as caught:
        verify(program)
    assert caught.value.code == "internal"
    assert caught.value.cause == cause


def test_a_guard_is_a_read() -> None:
    program = copy_program()
    program.operations[0].guard = ((tensor("flag", dtype="bool"), True),)
    with pytest.raises(IngotError, match="reads flag before anything writes it"):
        verify(program)


def test_a_region_is_written_with_its_whole() -> None:
    whole, x = tensor("whole", 4, 5), tensor("x", 2, 5, kind="input")
    part = Tensor("part", "f32", (ix(2), ix(5)), region=(whole, (ix(1), ix(0))))
    y = tensor("y", 4, 5, kind="output")
    axes, all_axes, out = (var("a", 2), var("b", 5)), (var("c", 4), var("d", 5)), (var("e", 4), var("f", 5))
    inner = Tensor("inner", "f32", (ix(1), ix(5)), region=(part, (ix(1), ix(0))))
    assert inner.root() == (whole, (ix(2), ix(0)))
    program = Program(
        "regions", [x], [y], [],
        [
            Fill(whole, all_axes, Const(0.0, "f32"), part),
            Map(part, axes, identity(x, axes)),
            Map(y, out, identity(whole, out)),
        ],
    )  # fmt: skip
    verify(program)


X, Y, B = Buffer("x", "f32", False), Buffer("y", "f32", True), Buffer("b", "i64", True)
TASK = var("task", 2)


def kernel(*body: Stmt, buffers: tuple[Buffer, ...] = (X, Y), tasks: int | Ix = 1) -> Kernel:
    return Kernel("test", buffers, ("n",), TASK, ix(tasks), tuple(body))


def load(index: int | Ix | Var, lanes: int = 1, **more: Any) -> Load:
    return Load("x", ix(index), "f32", lanes, **more)


def store(index: int | Ix | Var, value: Value, **more: Any) -> Store:
    return Store("y", ix(index), value, **more)


ONE = Const(1.0, "f32")
A, V4 = Local("a", "f32"), Local("v", "f32", 4)


def run(made: Kernel, x: Any, size: int = 8, n: int = 3) -> np.ndarray:
    """What a kernel leaves in y, which starts as -1s."""
    verify_kernel(made)
    y = np.full(size, -1, np.float32)
    interpret(made, [np.asarray(x, np.float32), y], {"n": n})
    return y


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ([store(0, load(2))], [12]),
        ([store(1, load(1, 4))], [-1, 11, 12, 13, 14]),
        ([store(0, load(0, 4, stride=2))], [10, 12, 14, 16]),
        ([store(0, load(0, 4, count=ix(2)))], [10, 11, 0, 0]),
        ([store(0, load(0, 4, stride=2, count=ix(3)))], [10, 12, 14, 0]),
        ([store(0, load(0, 4), count=ix(3))], [10, 11, 12, -1]),
        ([store(0, load(0, 4), count=ix(0))], [-1]),
        ([store(0, load(0, 4), count=ix(9))], [10, 11, 12, 13]),
        ([store(0, load(0, 4), stride=2)], [10, -1, 11, -1, 12, -1, 13]),
        ([store(0, load(0, 4), stride=2, count=ix(2))], [10, -1, 11, -1]),
        ([store(0, Splat(ONE, 4))], [1, 1, 1, 1]),
        ([store(0, Pack((load(3), ONE)))], [13, 1]),
        ([store(0, Pick(load(0, 4), 3))], [13]),
        ([store(0, Fold("add", load(0, 4)))], [46]),
        ([store(0, Fold("max", load(0, 4)))], [13]),
        ([store(0, Fold("min", load(0, 4)))], [10]),
        ([store(0, Cast(Iota(ix(5), 3, 4), "f32"))], [5, 8, 11, 14]),
        ([store(0, Cast(Const(2.9, "f32"), "f32"))], [2.9]),
        ([store(0, Cast(Cast(Const(-2.9, "f32"), "i64"), "f32"))], [-2]),
        ([store(0, Cast(Index(ix(N) + 2), "f32"))], [5]),
        ([store(0, Op("fma", (load(0), load(1), ONE), "f32"))], [111]),
        ([store(0, Select(Op("lt", (load(0), load(1)), "bool"), ONE, load(1)))], [1]),
        (
            [store(0, Select(Op("lt", (load(0, 2), Splat(load(1), 2)), "bool"), load(0, 2), load(4, 2)))],
            [10, 15],
        ),
        ([store(0, Select(Const(False, "bool"), load(99), ONE))], [1]),
        ([Let(A, load(0)), Assign(A, Op("add", (A, A), "f32")), store(0, A)], [20]),
        ([Define(I, ix(N) * 2), store(I, ONE)], [-1] * 6 + [1]),
        ([For(I, ix(3), (store(I, load(I)),))], [10, 11, 12, -1]),
        ([For(I, ix(5), (store(I, load(I)),), ix(1), 2)], [-1, 11, -1, 13, -1]),
        ([For(I, ix(0), (store(I, load(I)),))], [-1]),
        ([If(Op("gt", (load(1), load(0)), "bool"), (store(0, ONE),), (store(1, ONE),))], [1, -1]),
        ([If(Op("lt", (load(1), load(0)), "bool"), (store(0, ONE),), (store(1, ONE),))], [-1, 1]),
    ],
)
def test_statements_do_what_the_grammar_says(body: list[Stmt], wanted: list[float]) -> None:
    y = run(kernel(*body), np.arange(10, 18))
    assert y[: len(wanted)].tolist() == np.array(wanted, np.float32).tolist()
    assert (y[len(wanted) :] == -1).all()


def test_tasks_run_in_any_part() -> None:
    made = kernel(store(TASK, load(TASK)), tasks=ix(N))
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    interpret(made, [x, y], {"n": 8}, 2, 4)
    assert y.tolist() == [0, 0, 2, 3, 0, 0, 0, 0]
    interpret(made, [x, y], {"n": 8})
    assert y.tolist() == x.tolist()


def test_a_symbol_may_be_named_as_a_loop_variable() -> None:
    other = symbol("i")
    made = Kernel("test", (X, Y), ("i",), TASK, ix(1), (For(I, ix(2), (store(ix(I) + ix(other), ONE),)),))
    y = np.zeros(8, np.float32)
    interpret(made, [y.copy(), y], {"i": 4})
    assert y.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    "body",
    [
        [store(0, load(8))],
        [store(0, load(-1))],
        [store(0, load(5, 4))],
        [store(0, load(0, 4, stride=3))],
        [store(8, ONE)],
        [store(-1, ONE)],
        [store(6, Splat(ONE, 4))],
        [store(5, Splat(ONE, 4), count=ix(4))],
        [store(0, load(6, 4, count=ix(3)))],
    ],
)
def test_an_index_outside_a_buffer_is_an_error(body: list[Stmt]) -> None:
    with pytest.raises(IndexError, match="of 8"):
        run(kernel(*body), np.zeros(8))


def test_lanes_that_do_not_count_may_be_outside() -> None:
    assert run(kernel(store(0, load(6, 4, count=ix(2)))), np.arange(8))[:4].tolist() == [6, 7, 0, 0]
    assert run(kernel(store(6, Splat(ONE, 4), count=ix(2))), np.zeros(8)).tolist() == [-1] * 6 + [1, 1]


def test_a_buffer_that_is_not_written_is_read_only() -> None:
    made = kernel(Store("x", ix(0), ONE))
    with pytest.raises(AssertionError, match="x is read-only"):
        interpret(made, [np.zeros(8, np.float32)] * 2, {"n": 1})


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ([store(0, Const(1, "i64"))], "y is of f32, not i64"),
        ([Store("x", ix(0), ONE)], "x is not there to be written"),
        ([Store("w", ix(0), ONE)], "w is not there to be written"),
        ([store(0, Load("w", ix(0), "f32"))], "no buffer w of f32"),
        ([store(0, Load("x", ix(0), "f64"))], "no buffer x of f64"),
        ([store(I, ONE)], "an index uses i, which is not defined here"),
        ([store(0, load(I))], "an index uses i, which is not defined here"),
        ([For(I, ix(2), ()), store(I, ONE)], "an index uses i, which is not defined here"),
        ([store(0, A)], "a is not defined here, or as another type"),
        ([Let(A, ONE), store(0, Local("a", "f32", 4))], "a is not defined here, or as another type"),
        ([If(Const(True, "bool"), (Let(A, ONE),)), store(0, A)], "a is not defined here, or as another type"),
        ([Assign(A, ONE)], "a is assigned before it is made"),
        ([Let(A, Const(1, "i64"))], "a holds another type than it is given"),
        ([Let(A, load(0, 4))], "a holds another type than it is given"),
        ([store(0, Op("add", (ONE, Const(1, "i64")), "f32"))], "add of f32x1, i64x1"),
        ([store(0, Op("add", (ONE, load(0, 4)), "f32"))], "add of f32x1, f32x4"),
        ([store(0, Op("lt", (ONE, ONE), "f32"))], "lt of f32 does not give f32"),
        ([store(0, Select(ONE, ONE, ONE))], "a choice by no such bool"),
        ([store(0, Select(Const(True, "bool", 4), ONE, ONE))], "a choice by no such bool"),
        (
            [store(0, Select(Const(True, "bool"), ONE, load(0, 4)))],
            "a choice between ('f32', 1) and ('f32', 4)",
        ),
        ([store(0, Pack((ONE, Const(1, "i64"))))], "a vector of several types"),
        ([store(0, Pack((ONE, load(0, 4))))], "a vector of vectors"),
        ([store(0, Splat(load(0, 4), 4))], "a vector in every lane"),
        ([store(0, Pick(load(0, 4), 4))], "a lane that the vector lacks"),
        ([store(0, Acc("f32"))], "a Acc is left"),
        ([If(ONE, ())], "a condition is no scalar bool"),
    ],
)
def test_a_broken_kernel_is_refused(body: list[Stmt], cause: str) -> None:
    with pytest.raises(IngotError) as caught:
        verify_kernel(kernel(*body))
    assert caught.value.cause == f"test: {cause}"


def test_every_operation_gives_its_dtype() -> None:
    for name, meaning in OPS.items():
        if name == "dot":
            continue
        arguments = {"fma": 3}.get(name, 2 if _takes_two(name) else 1)
        for dtype in ("f32", "i64", "u8", "bool"):
            if not _means_something(name, dtype):
                continue
            wanted = "bool" if meaning.boolean else dtype
            with np.errstate(all="ignore"):
                made = np.asarray(meaning.compute(*[np.array([1, 1], DTYPES[dtype])] * arguments))
            assert made.shape == (2,)
            assert made.dtype == DTYPES[wanted] or name in _LIKE_NUMPY, (name, dtype, made.dtype)


_LIKE_NUMPY = {"sigmoid", "erf", "gelu", "silu", "pow", "sqrt", "sign"}
"""Operations whose NumPy forms widen integers; the interpreter casts their results back."""
_INTEGERS = {"bitand", "bitor", "bitxor", "bitnot", "shl", "shr"}
_ANY = {"add", "sub", "mul", "div", "fmod", "mod", "fma", "min", "max", "minimum", "maximum", "neg", "abs"}


def _takes_two(name: str) -> bool:
    return name in {
        "add", "sub", "mul", "div", "fmod", "mod", "pow", "min", "max", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge",
        "and", "or", "xor", "bitand", "bitor", "bitxor", "shl", "shr",
    }  # fmt: skip


def _means_something(name: str, dtype: str) -> bool:
    if OPS[name].boolean:
        return True
    if OPS[name].types:
        return False
    if dtype == "bool":
        return name in {"min", "max", "minimum", "maximum"}
    if name in _INTEGERS:
        return dtype != "f32"
    return dtype == "f32" or name in _ANY


def test_a_dot_adds_two_products_and_rounds_after_each() -> None:
    c, a, b = np.array([1.0], np.float32), *(np.array(x, DTYPES["bf16"]) for x in ([2**-24, 2**-24], [1, 1]))
    assert OPS["dot"].compute(c, a, b).tolist() == [1]
    assert OPS["dot"].compute(c * 0, a, b).tolist() == [2**-23]
    assert OPS["dot"].compute(c, a, -a).dtype == np.float32


def test_integer_division_truncates_and_modulo_follows_the_divisor() -> None:
    a, b = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    assert OPS["div"].compute(a, b).tolist() == [3, -3, -3, 3]
    assert OPS["mod"].compute(a, b).tolist() == [1, 1, -1, -1]
    assert OPS["fmod"].compute(a, b).tolist() == [1, -1, 1, -1]
    lowest = np.array([-(2**63)])
    assert OPS["div"].compute(lowest, np.array([2])).tolist() == [-(2**62)]


def test_min_and_max_keep_a_nan_of_their_first_argument_only() -> None:
    nan, one = np.float32("nan"), np.float32(1)
    for name in ("min", "max"):
        assert np.isnan(OPS[name].compute(nan, one))
        assert OPS[name].compute(one, nan) == 1
        assert np.isnan(OPS[f"{name}imum"].compute(nan, one))
        assert np.isnan(OPS[f"{name}imum"].compute(one, nan))


def test_walk_visits_each_value_once_and_those_inside_indices() -> None:
    table = Tensor("table", "i64", (ix(5),))
    picked = Read(table, (ix(I),))
    value = Op("add", (Read(tensor("x", 9), (as_index(picked),)), Cast(picked, "f32")), "f32")
    seen = list(walk(value))
    assert picked in seen
    assert len(seen) == len({id(v) for v in seen}) == 4
