"""How loops are cut into tiles."""

from __future__ import annotations

import pytest
from kernel import N

from ingot.ir.index import evaluate, ix
from ingot.kernels.tiles import cut, most_rows, rank
from ingot.target import TARGETS


@pytest.mark.parametrize("extent", [0, 1, 2, 5, 6, 7, 13, 14, 15, 27, 28, 29, 100])
@pytest.mark.parametrize("most", [1, 3, 6, 14])
def test_tiles_cover_an_extent_once(extent: int, most: int) -> None:
    for runs in (cut(ix(extent), most), cut(ix(N), most)):
        covered: list[int] = []
        for run in runs:
            start, count = (evaluate(e, {"n": extent}) for e in (run.start, run.count))
            assert run.size <= most
            covered += range(start, start + count * run.size)
        assert covered == list(range(extent))


@pytest.mark.parametrize("extent", [1, 13, 14, 15, 28, 29, 100, 128])
def test_a_constant_extent_is_cut_evenly(extent: int) -> None:
    sizes = {run.size for run in cut(ix(extent), 14)}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("from_memory", [False, True])
def test_tiles_fit_the_registers(target: str, from_memory: bool) -> None:
    chosen = TARGETS[target]
    for vectors in range(1, 9):
        for rows, columns in ((1, 1), (7, 7), (56, 56), (1, 200), (14, 1)):
            ranked = rank(chosen, 64, ix(rows), ix(columns), vectors, False, from_memory=from_memory)
            assert ranked
            for cost, tile in ranked:
                assert cost >= ranked[0][0] * 0.999
                assert 1 <= tile.vectors <= vectors
                assert tile.rows * tile.columns <= most_rows(chosen, tile.vectors)


def test_one_position_takes_weights_from_memory_in_wide_panels() -> None:
    for target in TARGETS.values():
        ranked = rank(target, 1280, ix(1), ix(1), 63, False, from_memory=True)
        assert ranked[0][1].vectors == 8
