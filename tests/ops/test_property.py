"""Random shapes, attributes and values of every family: interpreted one by one, compiled many to a library.

A property is a strategy of cases (`strategies.py`); `PROPERTIES` of each `*_properties.py` has a family's.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import onnx.printer
import pytest
from case import Case, groups, run_interpreted
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ingot.errors import IngotError
from ingot.target import native

TABLES: dict[str, dict[str, st.SearchStrategy[Case]]] = {
    path.stem.removesuffix("_properties"): import_module(path.stem).PROPERTIES
    for path in sorted(Path(__file__).parent.glob("*_properties.py"))
}
QUICK, MANY = 25, 300
"""Examples of a property that are interpreted, in `make test` and in `make test-all`."""
COMPILED, MANY_COMPILED = 2, 20
"""Examples of a property that are compiled."""
SETTINGS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    phases=(Phase.generate, Phase.shrink),
)


def counts(quick: int, many: int) -> list[object]:
    return [pytest.param(quick, id="some"), pytest.param(many, id="many", marks=pytest.mark.slow)]


def told(case: Case, problem: object) -> str:
    """What went wrong, with all that shows it again."""
    feed = "\n".join(f"{name} = {array!r}" for name, array in case.feeds[0].items())
    return f"{problem}\n{onnx.printer.to_text(case.model)}\n{feed}\nexpected: {case.answers()[0]}"


@pytest.mark.parametrize("examples", counts(QUICK, MANY))
@pytest.mark.parametrize(("family", "name"), [(f, name) for f, table in TABLES.items() for name in table])
def test_interpreted(family: str, name: str, examples: int) -> None:
    @settings(SETTINGS, max_examples=examples)
    @given(TABLES[family][name], st.sampled_from(["generic", "avx2", "avx512"]), st.booleans())
    def agrees(case: Case, target: str, optimise: bool) -> None:
        try:
            case.check(run_interpreted(case, target, optimise=optimise))
        except (AssertionError, IngotError) as error:
            raise AssertionError(told(case, error)) from error

    agrees()


@pytest.mark.parametrize("examples", counts(COMPILED, MANY_COMPILED))
@pytest.mark.parametrize("family", TABLES)
def test_compiled(family: str, examples: int) -> None:
    cases: list[Case] = []
    for strategy in TABLES[family].values():

        @settings(SETTINGS, max_examples=examples, phases=[Phase.generate])
        @given(strategy)
        def collect(case: Case) -> None:
            cases.append(replace(case, name=f"{case.name}_{len(cases)}"))

        collect()
    wrong = []
    for group in groups(family, cases):
        results = group.run(native().name)
        for case in group.cases:
            try:
                case.check(results[case.name])
            except AssertionError as error:
                wrong.append(told(case, error))
    assert not wrong, "\n\n".join(wrong)
