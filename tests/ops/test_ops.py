"""Every case of the tables: interpreted for every target, with the graph rules and without, and compiled to C."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import onnx
import pytest
from case import Case, Group, groups, run_interpreted

from ingot.lower import lowering
from ingot.lower.registry import REGISTRY
from ingot.target import TARGETS, cpu_features, native

TABLES = {
    path.stem.removesuffix("_cases"): import_module(path.stem).CASES
    for path in sorted(Path(__file__).parent.glob("*_cases.py"))
}
CASES = [case for table in TABLES.values() for case in table]
GROUPS = [group for name, table in TABLES.items() for group in groups(name, table)]


def test_names_are_distinct() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_operator_is_in_the_table_of_its_family() -> None:
    assert lowering.FAMILIES
    for (domain, operator), function in REGISTRY.items():
        family = function.__module__.rpartition(".")[2]
        found = {op for case in TABLES[family] for op in operators(case.model.graph)}
        assert (domain, operator) in found, f"no case of {family} has {operator}"


def operators(graph: onnx.GraphProto) -> set[tuple[str, str]]:
    found = {(node.domain, node.op_type) for node in graph.node}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found


def every_target(quick: str) -> list[object]:
    """All targets as parameters; all but one are left to `make test-all`."""
    return [pytest.param(t, marks=[] if t == quick else [pytest.mark.slow]) for t in TARGETS]


@pytest.mark.parametrize("target", every_target("generic"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_interpreted(case: Case, target: str) -> None:
    case.check(run_interpreted(case, target))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_interpreted_without_graph_rules(case: Case) -> None:
    case.check(run_interpreted(case, "avx2", optimise=False))


@pytest.mark.parametrize("target", every_target(native().name))
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_compiled(group: Group, target: str) -> None:
    if not TARGETS[target].cpu_flags <= cpu_features():
        pytest.skip(f"this machine cannot run {target}")
    results = group.run(target)
    wrong = []
    for case in group.cases:
        try:
            case.check(results[case.name])
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n".join(wrong)
