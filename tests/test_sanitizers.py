"""Generated kernels and the runtime under the address, undefined-behaviour and thread sanitizers of the machine's compiler.

All small models for all targets that this machine runs are built from their sources into one program for each sanitizer.
Inputs, outputs and contexts are heap blocks of exactly their size. Kernels fork however small they are.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from small import NATIVE, SMALL, assert_same, read_made, shell, write_feed

import ingot
import ingot.emit.model
from ingot.runtime.sources import native_text
from ingot.target import TARGETS, cpu_features
from ingot.testing import Array

RUNNABLE = [name for name, target in TARGETS.items() if target.cpu_flags <= cpu_features()]
SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    "thread": ("-fsanitize=thread",),
}
COMPILERS = ("gcc", "clang", "cc")


def compiler_with(flags: tuple[str, ...], folder: Path) -> str | None:
    """A compiler of this machine whose programs run under a sanitizer."""
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    for name in COMPILERS:
        if not shutil.which(name):
            continue
        try:
            shell([name, *flags, "probe.c", "-o", "probe", "-lpthread"], folder)
            shell(["./probe"], folder)
        except AssertionError:
            continue
        return name
    return None


@dataclass(frozen=True)
class Case:
    """A model for a target: its package, which runs without sanitizers, its name in the program, and the model's."""

    name: str
    package: ingot.Package
    model: str


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    """Every small model, for every target, whose kernels fork."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingot.emit.model, "GRAIN", 0.0)
        for target in RUNNABLE:
            for name, small in SMALL.items():
                label = f"{name}_{target}"
                found.append(Case(label, ingot.compile(small.make(), name=label, target=target), name))
    return found


@pytest.fixture(scope="session", params=SANITIZERS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `drive` with all cases linked in, built with a sanitizer."""
    sanitizer = SANITIZERS[request.param]
    folder = tmp_path_factory.mktemp(str(request.param))
    cc = compiler_with(sanitizer, folder)
    if cc is None:
        pytest.skip(f"none of {', '.join(COMPILERS)} builds a program that runs with {sanitizer[0]}")
    jobs = []
    common = ["-std=gnu11", "-O1", "-g", *sanitizer, "-ffp-contract=off", "-I."]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingot.emit.model, "GRAIN", 0.0)
        for target in RUNNABLE:
            for name, small in SMALL.items():
                label = f"{name}_{target}"
                package = ingot.compile(small.make(), name=label, target=target, emit="source")
                made = package.save(folder / label)
                shutil.copyfile(made / f"{label}.weights", folder / f"{label}.weights")
                for source in made.glob("*.c"):
                    if source.name not in ("example.c", "ingot_runtime.c"):
                        output = f"{label}_{source.stem}.o"
                        jobs.append([cc, *common, *TARGETS[target].flags, "-c", source, "-o", output])
    for header in ("ingot.h", "ingot_abi.h", "ingot_runtime.c"):
        (folder / header).write_text(native_text(header))
    jobs.append([cc, *common, "-c", "ingot_runtime.c", "-o", "ingot_runtime.o"])
    models = " ".join(f"X({name}_{target})" for target in RUNNABLE for name in SMALL)
    jobs.append([cc, *common, f"-DMODELS={models}", "-c", NATIVE / "drive.c", "-o", "drive.o"])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: shell(job, folder), jobs))
    shell(
        [
            cc,
            *sanitizer,
            *sorted(p.name for p in folder.glob("*.o")),
            "-o",
            "drive",
            "-lpthread",
            "-ldl",
            "-lm",
        ],
        folder,
    )
    return folder


def expected(case: Case, threads: int) -> list[list[Array]]:
    session = ingot.load(case.package, threads=threads)
    return [session.run(None, feed) for feed in SMALL[case.model].feeds(session.get_inputs())]


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_are_clean_and_give_the_same_bits(program: Path, cases: list[Case], threads: int) -> None:
    """At -O1 of another compiler, under a sanitizer, and on the one that ingot uses, at -O3."""
    words = []
    for case in cases:
        session = ingot.load(case.package)
        feeds = SMALL[case.model].feeds(session.get_inputs())
        write_feed(program / f"{case.name}.feed", session.get_inputs(), session.symbols, feeds)
        mode = "threads" if threads == 2 else "run"
        words += [
            mode,
            case.name,
            f"{case.name}.weights",
            str(threads),
            f"{case.name}.feed",
            f"{case.name}.made",
        ]
    env = os.environ | {
        "TSAN_OPTIONS": "halt_on_error=1 atexit_sleep_ms=0",
        "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    }
    text = shell(["./drive", *words], program, env=env)
    assert text.endswith("well\n")
    for case in cases:
        session = ingot.load(case.package)
        made = read_made(program / f"{case.name}.made", session.get_outputs(), len(SMALL[case.model].sizes))
        assert_same(made, expected(case, threads), case.name)
