"""Instruction tables: what each instruction is in C, one file an instruction set.

An instruction is named `<operation>_<type>` such as `fma_f32x16` and is the body of a C function; its meaning is that
of its operation in `ingot.ir.ops` (or of a load, store or fold), from which its test is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from types import ModuleType

from ingot.isa import avx2, avx512, avx512_bf16, generic, math
from ingot.isa.instruction import Instruction, type_name

__all__ = ["Instruction", "closure", "instruction", "type_name"]

_SETS: dict[str, tuple[ModuleType, ...]] = {
    **{"generic": (), "avx2": (avx2,), "avx512": (avx512, avx2)},
    "avx512_bf16": (avx512_bf16, avx512, avx2),
}


@cache
def instruction(isa: str, name: str) -> Instruction:
    """The instruction called `name`: the set's own, else one of the sets it falls back to, else generic C."""
    for module in _SETS[isa]:
        found: Instruction | None = module.TABLE.get(name)
        if found is not None:
            return found
    operation, _, kind = name.rpartition("_")
    return math.derive(isa, operation, kind) or generic.derive(operation, kind)


def closure(isa: str, names: Iterable[str]) -> list[Instruction]:
    """The instructions and everything their bodies call, callees first."""
    order: dict[str, Instruction] = {}

    def visit(name: str) -> None:
        if name in order:
            return
        found = instruction(isa, name)
        for used in sorted(set(re.findall(r"\b[a-z][a-z0-9]*_(?:b?[fiu]\d+x?\d*)\b", found.body)) - {name}):
            if used.split("_")[0] in generic.OPERATIONS:
                visit(used)
        order[name] = found

    for name in names:
        visit(name)
    return list(order.values())
