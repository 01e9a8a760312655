"""Every kernel of the tables, for every target: C against the interpreter of kernel IR against a NumPy formula.

The tables go over shapes around the widths of vectors and tiles, over layouts and dtypes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import convolution_kernels
import elementwise_kernels
import product_kernels
import pytest
import recurrent_kernels
import reduction_kernels
import routine_kernels
from kernel import Kernel, Library, N, Run, built, compiled, interpreted

from ingot.ir.interpret import _Run, interpret
from ingot.ir.nodes import Prefetch, Stmt
from ingot.kernels.ahead import LINE, bytes_ahead
from ingot.kernels.builder import Packed
from ingot.kernels.select import GENERATORS
from ingot.schedule.memory import works_in_place
from ingot.target import TARGETS, cpu_features
from ingot.testing import EXACT, assert_close

TABLES = {
    "convolution": convolution_kernels.table,
    "product": product_kernels.table,
    "reduction": reduction_kernels.table,
    "elementwise": elementwise_kernels.table,
    "recurrent": recurrent_kernels.table,
    "routine": routine_kernels.table,
}
OF_BF16 = ("product",)
"""Tables of kernels that avx512_bf16 has and avx512 lacks; the others are left to `make test-all`."""
every_table = pytest.mark.parametrize(
    ("table", "target"),
    [
        pytest.param(
            table,
            target,
            marks=[pytest.mark.slow] if target == "avx512_bf16" and table not in OF_BF16 else [],
        )
        for table in TABLES
        for target in TARGETS
    ],
)
every_target = pytest.mark.parametrize("target", TARGETS)


@cache
def kernels(table: str, target: str) -> list[Kernel]:
    return TABLES[table](TARGETS[target])


def check_all(table: str, target: str, check: Callable[[Kernel, int], None]) -> None:
    """check(kernel, n) for every kernel and each of its sizes; all that fail are told together."""
    wrong = []
    for kernel in kernels(table, target):
        try:
            for n in sizes_of(kernel, target):
                check(kernel, n)
        except Exception as error:
            wrong.append(f"{kernel.name}: {type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} kernels are wrong:\n" + "\n".join(wrong)


def sizes_of(kernel: Kernel, target: str) -> tuple[int, ...]:
    made = built(kernel, TARGETS[target]).kernel
    return kernel.sizes if N.name in made.symbols else kernel.sizes[:1]


@every_table
def test_the_interpreter_computes_the_formula(table: str, target: str) -> None:
    check_all(table, target, lambda kernel, n: interpreted(kernel, TARGETS[target], n).check())


@cache
def library(table: str, target: str) -> Library:
    if not TARGETS[target].cpu_flags <= cpu_features():
        pytest.skip(f"this machine cannot run {target}")
    return compiled(table, kernels(table, target), TARGETS[target])


@every_table
def test_c_computes_what_the_interpreter_does(table: str, target: str) -> None:
    here = library(table, target)

    def check(kernel: Kernel, n: int) -> None:
        run = here.run(kernel, n)
        run.check()
        run.same(interpreted(kernel, TARGETS[target], n), kernel.level)
        run.same(here.run(kernel, n, halves=True), EXACT)

    check_all(table, target, check)


@every_table
def test_an_output_may_lie_where_the_memory_plan_puts_it(table: str, target: str) -> None:
    here = library(table, target)

    def check(kernel: Kernel, n: int) -> None:
        for given in kernel.operation.inputs():
            if kernel.operation.output.region is None and works_in_place(
                kernel.operation, given.root()[0], kernel.layouts
            ):
                apart = here.run(kernel, n).output()
                assert_close(here.run(kernel, n, over=given.root()[0]).output(), apart, EXACT)

    check_all(table, target, check)


@every_table
def test_bits_do_not_depend_on_the_batch(table: str, target: str) -> None:
    here = library(table, target)

    def check(kernel: Kernel, n: int) -> None:
        if kernel.rows and n > 1:
            whole, some = (here.run(kernel, rows, normal=True).output() for rows in (17, n))
            assert_close(some[:17], whole[:n], EXACT)

    check_all(table, target, check)


@every_target
@pytest.mark.parametrize("stem", ["gemm", "matmul", "attention"])
def test_bits_do_not_depend_on_the_tile(stem: str, target: str) -> None:
    here = library("product", target)
    first = []
    for kernel in kernels("product", target):
        if re.fullmatch(rf"{stem}_rows_\d+", kernel.name):
            output = here.run(kernel, 1, normal=True).output()
            first.append(output.reshape(-1, output.shape[-1])[0])
    assert len(first) > 8
    for other in first[1:]:
        assert_close(other, first[0], EXACT)


@every_target
def test_the_sums_before_a_heavy_epilogue_lie_in_an_array(target: str) -> None:
    for table in ("convolution", "product"):
        for kernel in kernels(table, target):
            made = built(kernel, TARGETS[target]).kernel
            assert not made.scratch or "heavy" in kernel.name
    arrays = [
        built(kernel, TARGETS[target]).kernel.scratch
        for kernel in kernels("convolution", target)
        if kernel.name.startswith("conv_heavy_2x6")
    ]
    assert arrays
    assert all(arrays)


@every_target
def test_weights_are_asked_for_once_around(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plain = _Run.statement

    def statement(self: _Run, s: Stmt) -> None:
        if isinstance(s, Prefetch):
            asked.append(self.index(s.index) * self.buffers[s.buffer].itemsize // LINE)
        plain(self, s)

    monkeypatch.setattr(_Run, "statement", statement)
    seen = 0
    for kernel in (k for table in ("convolution", "product") for k in kernels(table, target) if k.ahead):
        made = built(kernel, TARGETS[target])
        run = Run(kernel, {"n": 1}, kernel.values)
        asked.clear()
        interpret(made.kernel, run.arguments(made), run.sizes)
        if not asked:
            continue
        seen += 1
        size = next(a.data.nbytes for a in made.arguments if isinstance(a, Packed))
        first, last = min(asked), max(asked)
        assert first >= kernel.ahead // LINE, kernel.name
        # Shares begin at whole elements, so a line between two may be missed; a narrower last panel asks from nearer on.
        missing = set(range(first, last + 1)) - set(asked)
        assert 50 * len(missing) <= last + 1 - first, (kernel.name, sorted(missing))
        assert abs(last + 1 - first - size // LINE) <= 8, kernel.name
        assert all(b >= a for a, b in pairwise(asked)), kernel.name
    assert seen > 10


def test_weights_that_stay_in_the_cache_are_not_asked_for() -> None:
    target = TARGETS["avx512"]
    small, large = (product_kernels.gemm(f"{k}", [4], k, 512).operation for k in (256, 512))
    assert bytes_ahead([small], target) == 0
    assert bytes_ahead([small, large], target) == target.l2 // 2
    assert bytes_ahead([small, large], replace(target, l2=2 << 20)) == 0


def test_names_are_distinct() -> None:
    for target in TARGETS:
        names = [kernel.name for table in TABLES for kernel in kernels(table, target)]
        assert len(set(names)) == len(names)


def test_every_generator_is_in_the_tables() -> None:
    for target in TARGETS:
        assert {type(k.operation) for table in TABLES for k in kernels(table, target)} == set(GENERATORS)
