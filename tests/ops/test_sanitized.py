"""The operator cases and many of ONNX's node tests under the address and undefined-behaviour sanitizers of gcc.

Each group of cases becomes one library, built from its sources with the sanitizers and kernels that fork however small
they are; it runs from Python, whose arrays are heap blocks of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from case import Case, Group, groups
from test_ops import GROUPS

import ingot
import ingot.emit.model
from ingot.errors import IngotError
from ingot.target import native
from ingot.testing import REDUCED

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
QUICK = ("movement", "scatter")
"""Families whose first group runs in `make test`; indices are data there."""
RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
    }
)
STEP = 3
"""Of ONNX's node tests, every one of so many."""
PROGRAM = """
import pickle, sys
from pathlib import Path
from ingot.runtime import load
folder = Path(sys.argv[1])
session = load(folder, threads=2)
results = [session.run(None, feed) for feed in pickle.loads((folder / "feeds").read_bytes())]
(folder / "results").write_bytes(pickle.dumps(results))
"""


@cache
def libraries() -> str:
    """The run-time libraries of the sanitizers, "" where this machine has none."""
    if not shutil.which("gcc"):
        return ""
    paths = [
        subprocess.run(
            ["gcc", f"-print-file-name=lib{n}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for n in ("asan", "ubsan")
    ]
    return ":".join(paths) if all(Path(path).is_absolute() for path in paths) else ""


def build(group: Group, folder: Path) -> Path:
    """The package of a group, its library built with the sanitizers."""
    target = native()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingot.emit.model, "GRAIN", 0.0)
        package = ingot.compile(group.model(), name=group.name, emit="source")
    made = package.save(folder / f"{group.name}.ingot")
    sources = [p.name for p in made.glob("*.c") if p.name != "example.c"]
    library = f"lib{group.name}.so"
    flags = [
        "-std=gnu11",
        "-O1",
        "-g1",
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-fno-strict-aliasing",
    ]
    command = ["gcc", *flags, *FLAGS, *target.flags, *sources, "-o", library, "-lpthread", "-lm", "-ldl"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["files"][library] = hashlib.sha256((made / library).read_bytes()).hexdigest()
    (made / "manifest.json").write_text(json.dumps(manifest))
    return made


def check(group: Group, folder: Path) -> None:
    """Run the group; a sanitizer's complaint ends the process."""
    if not libraries():
        pytest.skip("gcc has no sanitizers here")
    made = build(group, folder)
    (made / "feeds").write_bytes(pickle.dumps(group.runs()))
    options = {
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "LD_PRELOAD": libraries(),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(made)], env=os.environ | options, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{group.name}: {done.stderr[-6000:]}"
    results = group.split(pickle.loads((made / "results").read_bytes()))
    for case in group.cases:
        case.check(results[case.name])


def marked(group: Group) -> object:
    quick = any(group is next(g for g in GROUPS if g.name.startswith(f"{family}_")) for family in QUICK)
    return pytest.param(group, marks=[] if quick else [pytest.mark.slow], id=group.name)


@pytest.mark.parametrize("group", [marked(group) for group in GROUPS])
def test_operator_cases(group: Group, tmp_path: Path) -> None:
    check(group, tmp_path)


@cache
def node_groups() -> list[Group]:
    """ONNX's node tests that can be compiled, in groups."""
    from onnx.backend.test.case.node import collect_testcases

    found = []
    for one in list(collect_testcases(None))[::STEP]:
        model = one.model
        sets = [(list(a), list(b)) for a, b in one.data_sets]
        arrays = [x for pair in sets for side in pair for x in side]
        plain = all(
            isinstance(x, np.ndarray | np.generic) and np.asarray(x).dtype.kind in "fiub" for x in arrays
        )
        if (
            model.functions
            or RANDOM & {node.op_type for node in model.graph.node}
            or [o.domain for o in model.opset_import] != [""]
            or not plain
            or not _compiles(model)
        ):
            continue
        feeds = tuple(
            dict(zip((v.name for v in model.graph.input), map(np.asarray, a), strict=False)) for a, _ in sets
        )
        expected = tuple([np.asarray(y) for y in b] for _, b in sets)
        case = Case(one.name, model, feeds, level=REDUCED, reduction=1000, scale=1.0, expected=expected)
        found.append(case)
    return groups("node", found)


def _compiles(model: onnx.ModelProto) -> bool:
    try:
        return ingot.check(model).ok
    except IngotError:
        return False


@pytest.mark.slow
def test_node_cases(tmp_path: Path) -> None:
    wrong = []
    for group in node_groups():
        try:
            check(group, tmp_path)
        except (AssertionError, IngotError) as error:
            wrong.append(f"{group.name}: {error}")
    assert not wrong, "\n\n".join(wrong)
