"""Runs ONNX's backend test suites through `ingot.onnx_backend` and prints what passes.

    python tools/onnx_suite.py [--match TEXT] [--failures] [--against onnxruntime]

A case passes when every output has the dtype and shape of ONNX's own result and lies within the suite's tolerances
(rtol at least 1e-3, atol at least 1e-4). What fails is listed by its cause with --failures.
"""

from __future__ import annotations

import argparse
import collections
import glob
import os
import re
import sys
import warnings
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

warnings.filterwarnings("ignore")

Case = tuple[str, onnx.ModelProto, list[tuple[list[Any], list[Any]]], float, float]
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")


@cache
def cases() -> list[Case]:
    """Every case: its name, model, pairs of inputs and outputs, rtol and atol."""
    from onnx.backend.test.case.node import collect_testcases

    found = [
        (f"node/{c.name}", c.model, _arrays(c.data_sets), max(c.rtol, 1e-3), max(c.atol, 1e-4))
        for c in collect_testcases(None)
    ]
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for folder in FOLDERS:
        for path in sorted((root / folder).iterdir()):
            if (path / "model.onnx").exists():
                found.append((f"{folder}/{path.name}", *_stored(path), 1e-3, 1e-4))
    return found


def _arrays(sets: Any) -> list[tuple[list[Any], list[Any]]]:
    """The data sets of a case with an array for each tensor."""

    def array(value: Any) -> Any:
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value

    return [([array(x) for x in inputs], [array(y) for y in outputs]) for inputs, outputs in sets]


def _stored(path: Path) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    model = onnx.load(path / "model.onnx")
    sets = []
    for data in sorted(glob.glob(str(path / "test_data_set_*"))):
        kinds = []
        for kind, infos in (("input", model.graph.input), ("output", model.graph.output)):
            count = len(glob.glob(f"{data}/{kind}_*.pb"))
            kinds.append([_read(f"{data}/{kind}_{i}.pb", infos[i].type) for i in range(count)])
        sets.append((kinds[0], kinds[1]))
    return model, sets


def _read(path: str, kind: onnx.TypeProto) -> Any:
    data = Path(path).read_bytes()
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if which == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def differs(found: Any, wanted: Any, rtol: float, atol: float) -> str | None:
    """How a result differs from what it should be, or None."""
    if isinstance(wanted, list):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            return "another number of elements"
        return next((d for f, w in zip(found, wanted, strict=True) if (d := differs(f, w, rtol, atol))), None)
    if wanted is None or found is None:
        return None if wanted is None and found is None else "an optional that is not as it should be"
    found, wanted = np.asarray(found), np.asarray(wanted)
    if wanted.dtype.kind in "OSU":
        same = found.shape == wanted.shape and found.astype(str).tolist() == wanted.astype(str).tolist()
        return None if same else "other strings"
    if found.dtype != wanted.dtype:
        return f"dtype {found.dtype} instead of {wanted.dtype}"
    if found.shape != wanted.shape:
        return f"shape {found.shape} instead of {wanted.shape}"
    if wanted.dtype.kind != "c":
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    return None if np.allclose(found, wanted, rtol, atol, equal_nan=True) else "other numbers"


def run_case(index: int, backend: str = "ingot") -> str:
    """ "" where a case passes, else why it does not."""
    _, model, sets, rtol, atol = cases()[index]
    try:
        if backend == "ingot":
            from ingot.onnx_backend import prepare

            run = prepare(model).run
        else:
            import onnxruntime

            onnxruntime.set_default_logger_severity(4)
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            names = [i.name for i in session.get_inputs()]
            run = lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))  # noqa: E731
        for inputs, wanted in sets:
            for found, right in zip(run(inputs), wanted, strict=True):
                if cause := differs(found, right, rtol, atol):
                    return f"wrong: {cause}"
    except Exception as error:
        return f"{getattr(error, 'code', type(error).__name__)}: {getattr(error, 'cause', error)}".split(
            "\n"
        )[0]
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--match", default="", help="only cases whose name has this regular expression")
    parser.add_argument("--failures", action="store_true", help="name each case that fails")
    parser.add_argument("--against", choices=["onnxruntime"], help="count another runtime's passes instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    chosen = [i for i, case in enumerate(cases()) if re.search(options.match, case[0])]
    jobs = [(i, options.against or "ingot") for i in chosen]
    with Pool(options.processes, maxtasksperchild=500) as pool:
        results = pool.starmap(run_case, jobs, chunksize=10)
    passed: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    causes: dict[str, list[str]] = {}
    for i, cause in zip(chosen, results, strict=True):
        name = cases()[i][0]
        suite = name.split("/")[0]
        total[suite] += 1
        passed[suite] += not cause
        if cause:
            causes.setdefault(cause, []).append(name)
    if options.failures:
        for cause, names in sorted(causes.items(), key=lambda c: -len(c[1])):
            print(f"{len(names):4} {cause}\n     {' '.join(names)}")
    for suite in total:
        print(f"{suite}: {passed[suite]} of {total[suite]} pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
