"""Cases of `ingot.lower.einsum`: every kind of label, and operands that are constants."""

from __future__ import annotations

from typing import Any

from case import Case, case, weights

from ingot.testing import EXACT


def sums(name: str, equation: str, *shapes: str, dtype: str = "float", **how: Any) -> Case:
    """Of whole numbers, so that no sum rounds."""
    names = "abcd"[: len(shapes)]
    inputs = ", ".join(
        f"{dtype}[{s}] {n}" if s else f"{dtype} {n}" for n, s in zip(names, shapes, strict=True)
    )
    body = f'y = Einsum<equation="{equation}">({", ".join([*names, *how.get("constants", ())])})'
    return case(f"einsum_{name}", inputs, body, f"{dtype}[] y", **{"whole": True, "level": EXACT, **how})


CASES = [
    sums("transpose", "ij->ji", "3,4"),
    sums("sum", "ij->i", "3,4"),
    sums("sum_of_all", "ij->", "3,4"),
    sums("scalar", "->", ""),
    sums("spaces", " i j , j k -> i k ", "3,4", "4,5"),
    sums("implicit", "ij,jk", "3,4", "4,5"),
    sums("implicit_order", "ba", "3,4"),
    sums("diagonal", "ii->i", "4,4"),
    sums("trace", "ii", "4,4"),
    sums("batch_diagonal", "...ii->...i", "3,5,5"),
    sums("inner", "i,i", "5", "5"),
    sums("outer", "i,j->ij", "3", "4"),
    sums("elementwise", "ij,ij->ij", "3,4", "3,4"),
    sums("rows_by_vector", "ij,j->i", "3,4", "4"),
    sums("batch_inner", "bi,bi->b", "3,4", "3,4"),
    sums("batch_product", "bij,bjk->bik", "2,3,4", "2,4,5"),
    sums("batch_turned", "bij,bkj->kbi", "2,3,4", "2,5,4"),
    sums("two_summed", "bhwc,chwk->bk", "2,3,4,5", "5,3,4,6"),
    sums("heads", "bqhd,bkhd->bhqk", "2,3,2,4", "2,5,2,4"),
    sums("ellipsis", "...ij,...jk->...ik", "2,1,3,4", "5,4,6"),
    sums("ellipsis_inside", "i...j,j->i...", "2,3,4,5", "5"),
    sums("ellipsis_implicit", "...j,jk", "2,3,4", "4,5"),
    sums("ellipsis_summed", "...i->i", "2,3,4"),
    sums("three", "ij,jk,kl->il", "2,3", "3,4", "4,5"),
    sums("three_shared", "ij,ij,jk->ik", "2,3", "2,3", "3,4"),
    sums("summed_alone", "ij,kl->il", "2,3", "4,5"),
    sums("constant", "bij,jk->bik", "2,3,4", constants={"w": weights("w", 4, 5, whole=True)}),
    sums("constant_of_heads", "bse,hed->bhsd", "2,3,4", constants={"w": weights("h", 2, 4, 5, whole=True)}),
    sums("symbols", "nij,njk->nik", "n,m,4", "n,4,m", sizes=({"n": 1, "m": 3}, {"n": 2, "m": 17})),
    sums("integers", "ij,jk->ik", "3,4", "4,5", dtype="int32"),
    sums("halves", "ij,jk->ik", "3,4", "4,5", dtype="float16"),
    sums("doubles", "ij,jk->ki", "3,4", "4,5", dtype="double"),
    sums("empty", "ij,jk->ik", "3,0", "0,5"),
]
