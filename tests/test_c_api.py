"""The C interface of compiled models: the example, many models and contexts at once, memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from small import NATIVE, SMALL, assert_same, read_made, shell, write_feed, zig_cc

import ingot
from ingot.testing import Array, Feed, data_root, shared_inputs

SYSTEM_CC = shutil.which("gcc") or shutil.which("cc")
MODELS = ("conv", "attention", "lstm", "gather")
BUILDS = ("linked", "loaded", "counted")


def host_cc() -> list[str]:
    """The machine's own compiler, or the one that comes with ingot."""
    return [SYSTEM_CC] if SYSTEM_CC else zig_cc()


@pytest.fixture(scope="session")
def packages() -> dict[str, ingot.Package]:
    return {name: ingot.compile(SMALL[name].make(), name=name) for name in MODELS}


@pytest.fixture(scope="session", params=BUILDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program `drive` and everything it needs.

    linked: the static libraries are in the program. loaded: the shared libraries lie beside it. counted: as linked, and
    every allocation while a model runs fails.
    """
    way = str(request.param)
    folder = tmp_path_factory.mktemp(way)
    form = "library" if way == "loaded" else "static"
    for name in MODELS:
        ingot.compile(SMALL[name].make(), name=name, emit=form).save(folder / f"{name}.ingot")
        for file in (folder / f"{name}.ingot").iterdir():
            shutil.copyfile(file, folder / file.name)
    command = [*host_cc(), "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I."]
    sources: list[str | Path] = [NATIVE / "drive.c"]
    if way != "loaded":
        command.append("-DMODELS=" + " ".join(f"X({name})" for name in MODELS))
        sources += [f"lib{name}.a" for name in MODELS]
    if way == "counted":
        command.append("-DCOUNT_ALLOCATIONS")
        sources.insert(1, NATIVE / "count_allocations.c")
    (folder / "ingot.h").write_text(f'#include "{MODELS[0]}.h"\n')
    shell([*command, *sources, "-o", "drive", "-lpthread", "-ldl", "-lm"], folder)
    return folder


def feeds_of(name: str, package: ingot.Package) -> list[Feed]:
    return SMALL[name].feeds(ingot.load(package).get_inputs())


def expected(name: str, package: ingot.Package) -> list[list[Array]]:
    session = ingot.load(package)
    return [session.run(None, feed) for feed in feeds_of(name, package)]


def drive(
    folder: Path, jobs: Iterable[tuple[str, str]], packages: dict[str, ingot.Package], threads: int = 1
) -> tuple[str, list[list[list[Array]]]]:
    """What `drive` printed, and the outputs of each job, a mode and a model."""
    words: list[str] = []
    made = []
    for i, (mode, name) in enumerate(jobs):
        session = ingot.load(packages[name])
        feeds = feeds_of(name, packages[name])
        feed = write_feed(folder / f"{i}.feed", session.get_inputs(), session.symbols, feeds)
        words += [mode, name, f"./{name}.weights", str(threads), feed.name, f"{i}.made"]
        made.append((folder / f"{i}.made", session.get_outputs(), len(feeds)))
    text = shell(["./drive", *words], folder)
    assert text.endswith("well\n")
    return text, [read_made(*one) for one in made]


def test_many_models_in_one_process(built: Path, packages: dict[str, ingot.Package]) -> None:
    for threads in (1, 2):
        _, made = drive(built, [("run", name) for name in MODELS], packages, threads)
        for name, outputs in zip(MODELS, made, strict=True):
            assert_same(outputs, expected(name, packages[name]), name)


@pytest.mark.parametrize("name", MODELS)
def test_contexts_on_four_threads(built: Path, packages: dict[str, ingot.Package], name: str) -> None:
    for threads in (1, 2):
        _, (outputs,) = drive(built, [("threads", name)], packages, threads)
        assert_same(outputs, expected(name, packages[name]))


@pytest.mark.parametrize("mode", ["memory", "allocator"])
@pytest.mark.parametrize("name", MODELS)
def test_memory_of_the_caller(built: Path, packages: dict[str, ingot.Package], name: str, mode: str) -> None:
    _, (outputs,) = drive(built, [(mode, name)], packages)
    assert_same(outputs, expected(name, packages[name]))


def test_weights_are_shared_between_processes(built: Path, packages: dict[str, ingot.Package]) -> None:
    """Every process maps the one file, read-only and shared, so its pages are in memory once."""
    text, _ = drive(built, [("maps", "conv"), ("maps", "conv")], packages)
    lines = text.splitlines()
    mappings = [line.split() for line in lines if line.endswith(f"{built}/conv.weights")]
    assert {(line[1], line[2], int(line[4])) for line in mappings} == {
        ("r--s", "00000000", (built / "conv.weights").stat().st_ino)
    }


def test_sessions_map_weights(tmp_path: Path, packages: dict[str, ingot.Package]) -> None:
    folder = packages["conv"].save(tmp_path / "conv.ingot")
    sessions = [ingot.load(folder), ingot.load(folder)]
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    found = [line[1] for line in mappings if line[-1] == str(folder / "conv.weights")]
    assert found == ["r--s"] * len(sessions)


def test_the_example_prints_what_python_computes(tmp_path: Path) -> None:
    package = ingot.compile(SMALL["conv"].make(), name="conv")
    folder = package.save(tmp_path / "conv.ingot")
    for feed in feeds_of("conv", package):
        assert_example(folder, package, feed)


def test_the_example_takes_several_inputs(tmp_path: Path) -> None:
    package = ingot.compile(SMALL["gather"].make(), name="gather")
    folder = package.save(tmp_path / "gather.ingot")
    for feed in feeds_of("gather", package):
        assert_example(folder, package, feed)


def test_the_example_of_a_real_model(tmp_path: Path) -> None:
    root = data_root()
    if root is None:
        pytest.skip("no real models: set INGOT_TEST_DATA to their folder")
    package = ingot.compile(root / "models" / "cifar10_resnet20" / "resnet20_cifar10.onnx")
    assert_example(package.save(tmp_path / "net.ingot"), package, shared_inputs("resnet20", 3))


@pytest.mark.parametrize("form", ["static", "source"])
def test_the_example_of_other_forms(tmp_path: Path, form: str) -> None:
    package = ingot.compile(SMALL["gemm"].make(), name="gemm", emit=form)
    folder = package.save(tmp_path / "gemm.ingot")
    sources = (
        ["libgemm.a"]
        if form == "static"
        else sorted(p.name for p in folder.glob("*.c") if p.name != "example.c")
    )
    flags = [] if form == "static" else package.manifest["target"]["flags"]
    command = [*host_cc(), "-O1", "-ffp-contract=off", *flags, "example.c", *sources, "-o", "example"]
    shell([*command, "-lpthread", "-ldl", "-lm"], folder)
    library = ingot.compile(SMALL["gemm"].make(), name="gemm")
    assert_output(folder, library, feeds_of("gemm", library)[-1])


def assert_example(folder: Path, package: ingot.Package, feed: Feed) -> None:
    """`cc example.c -L. -l<name>` makes a program that prints the outputs."""
    shell([*host_cc(), "example.c", "-L.", f"-l{package.name}", "-o", "example"], folder)
    assert_output(folder, package, feed)


def assert_output(folder: Path, package: ingot.Package, feed: Feed) -> None:
    session = ingot.load(package)
    files = []
    for i, port in enumerate(session.get_inputs()):
        np.save(folder / f"input{i}.npy", feed[port.name])
        files.append(f"input{i}.npy")
    wanted = "".join(
        listing(p.name, a) for p, a in zip(session.get_outputs(), session.run(None, feed), strict=True)
    )
    for threads in ("1", "2"):
        env = {"LD_LIBRARY_PATH": "."}
        assert shell(["./example", *files, "--threads", threads], folder, env=env) == wanted


def listing(name: str, array: Array) -> str:
    """An output as the example prints it."""
    count = array.size if array.size <= 64 else 8
    head = f"{name} [{', '.join(map(str, array.shape))}]\n"
    tail = "" if count == array.size else f"... {array.size} values\n"
    return head + "".join(f"{number(value)}\n" for value in array.ravel()[:count]) + tail


def number(value: np.generic) -> str:
    return f"{value:.9g}" if value.dtype.kind == "f" else str(int(value))
