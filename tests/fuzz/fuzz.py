"""Looks for bad results and crashes: `make fuzz`, `make fuzz OPTIONS="--minutes 30 --seed 7"`.

Two kinds of case in turn: a random small graph, compiled and compared with ONNX Runtime; and a real model with damaged
bytes or protobuf fields, which may be refused by an `IngotError` but must not do anything else, nor take much time or
memory. What fails is kept in build/fuzz, one folder a case, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message
from graphs import at_other_sizes, random_graph

import ingot
from ingot.errors import IngotError
from ingot.runtime import Session
from ingot.testing import CLOSE, Array, assert_close, data_root, lengths, reference

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "fuzz"
MEMORY = 2**31
"""Bytes that loading and compiling a damaged model may take beyond what the process has."""
SECONDS = 60
LARGEST = 400_000
"""Bytes of the models that are damaged."""


REFUSALS = ("unsupported", "structure-unknown")
"""Codes of errors that say what ingot cannot take."""
OTHER_SIZES = 3
"""Runs of a library with symbols, at most, beside the first."""


def graph_case(rng: np.random.Generator) -> tuple[str, onnx.ModelProto, dict[str, Array], str]:
    """What happened ("equal", "refused", "skipped", "wrong"), the model, its inputs and the story."""
    model, feed = random_graph(rng)
    try:
        wanted = _expected(model, feed)
    except Exception as error:
        return "skipped", model, feed, str(error)
    try:
        session = ingot.load(ingot.compile(model))
        problem = differs(model, feed, session.run(None, feed), wanted)
        for _ in range(OTHER_SIZES):
            if problem:
                break
            feed = at_other_sizes(model, feed, rng)
            problem = _differs_at(session, model, feed)
    except IngotError as error:
        return "refused" if error.code in REFUSALS else "wrong", model, feed, str(error)
    except Exception:
        return "wrong", model, feed, traceback.format_exc()
    return "wrong" if problem else "equal", model, feed, problem


def _expected(model: onnx.ModelProto, feed: dict[str, Array]) -> list[Array]:
    with np.errstate(all="ignore"):
        return reference(model, feed)


def _differs_at(session: Session, model: onnx.ModelProto, feed: dict[str, Array]) -> str:
    """As `differs` for sizes that the model may not take: "" where ONNX Runtime or the session refuses them."""
    try:
        wanted = _expected(model, feed)
        got = session.run(None, feed)
    except IngotError as error:
        return str(error) if error.code == "internal" else ""
    except Exception:
        return ""
    return differs(model, feed, got, wanted)


def differs(model: onnx.ModelProto, feed: dict[str, Array], got: list[Array], wanted: list[Array]) -> str:
    """How results differ by more than rounding and inputs a rounding away explain; "" where they do not."""
    problems = []
    for value, a, b in zip(model.graph.output, got, wanted, strict=True):
        try:
            assert_close(a, b, CLOSE, reduction=64 * lengths(model)["reduction"], scale=1.0)
        except AssertionError as error:
            problems.append((value.name, a, b, str(error)))
    for seed in range(4):
        if not problems:
            break
        near = {name: _nudged(array, seed) for name, array in feed.items()}
        others = dict(zip((v.name for v in model.graph.output), reference(model, near), strict=True))
        problems = [p for p in problems if not _explained(p[1], p[2], others[p[0]])]
    return "\n".join(f"{name}: {text}" for name, _, _, text in problems)


def _nudged(array: Array, seed: int) -> Array:
    """Floats a few roundings away."""
    if array.dtype.kind != "f":
        return array
    rng = np.random.default_rng(seed)
    return np.asarray(array * (1 + rng.choice([-4, 4], array.shape) * np.finfo(array.dtype).eps), array.dtype)


def _explained(got: Array, wanted: Array, near: Array) -> bool:
    """Whether each element differs by less than 30 times what small changes of the inputs do."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    with np.errstate(all="ignore"):
        a, b, c = (x.astype(np.float64) for x in (got, wanted, near))
        off = np.abs(a - b) > 30 * np.abs(c - b) + 1e-5 * np.maximum(np.abs(b), 1)
        return not bool((off | (np.isnan(a) != np.isnan(b))).any())


def models() -> list[bytes]:
    """Real models that are small enough to damage often."""
    folders = [ROOT / "examples", *([data_root()] if data_root() else [])]
    paths = sorted(p for folder in folders if folder for p in folder.rglob("*.onnx"))
    return [p.read_bytes() for p in paths if p.stat().st_size < LARGEST]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The model with some bytes or some fields changed."""
    if rng.random() < 0.35:
        return _other_bytes(data, rng)
    model = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 4))):
        fields = list(_fields(model))
        message, field = fields[int(rng.integers(len(fields)))]
        _change(message, field, rng)
    return model.SerializeToString()


def _other_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(4)
    at = int(rng.integers(len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        other = int(rng.integers(len(data)))
        return data[:at] + data[other : other + int(rng.integers(64))] + data[at:]
    changed = bytearray(data)
    places = rng.integers(0, min(len(data), 4096) if kind == 2 else len(data), int(rng.integers(1, 8)))
    for place in places:
        changed[int(place)] = int(rng.integers(256))
    return bytes(changed)


def _fields(message: Message) -> Iterator[tuple[Message, object]]:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _fields(inner)


def _change(message: Message, field: object, rng: np.random.Generator) -> None:
    """Another value for a field, or one of its elements less, twice, or in another place."""
    name = field.name  # type: ignore[attr-defined]
    repeated = field.is_repeated  # type: ignore[attr-defined]
    value = getattr(message, name)
    if rng.random() < 0.15:
        message.ClearField(name)
        return
    at = int(rng.integers(len(value))) if repeated and len(value) else 0
    if field.message_type is not None:  # type: ignore[attr-defined]
        if repeated:
            other = int(rng.integers(len(value)))
            if rng.random() < 0.4:
                del value[at]
            elif rng.random() < 0.5:
                value.append(value[at])
            else:
                value[at].CopyFrom(value[other])
        return
    old = value[at] if repeated else value
    choices: list[object]
    if isinstance(old, bool):
        choices = [not old]
    elif isinstance(old, int):
        choices = [
            0,
            1,
            -1,
            2,
            7,
            2**31 - 1,
            2**31,
            2**62,
            2**63 - 1,
            -(2**63),
            old + 1,
            old - 1,
            -old,
            old * 2,
        ]
    elif isinstance(old, float):
        choices = [0.0, -1.0, float("nan"), float("inf"), 1e38, -old]
    elif isinstance(old, str):
        choices = ["", old + "x", "Add", "Loop", "Conv", "x", "/etc/passwd", "a" * 5000]
    else:
        choices = [b"", old[: len(old) // 2], old + b"\0" * 8, b"\xff" * len(old)]
    new = choices[int(rng.integers(len(choices)))]
    try:
        if repeated:
            value[at] = new  # type: ignore[index]
        else:
            setattr(message, name, new)
    except (ValueError, TypeError):
        message.ClearField(name)


def loader_case(data: bytes, folder: Path) -> tuple[str, str]:
    """("compiled", "refused" or "wrong", the story) of a damaged model, in a process of its own."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    story = folder / "story"
    child = os.fork()
    if child == 0:
        os._exit(_load(path, story))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "wrong", "too slow" if number == signal.SIGALRM else f"died of signal {number}"
    return ("compiled", "refused", "wrong")[os.WEXITSTATUS(status)], story.read_text()


def _load(path: Path, story: Path) -> int:
    """The exit status of a process that compiles a model up to its C."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    try:
        ingot.compile(path, emit="source", target="generic")
        story.write_text("")
        return 0
    except IngotError as error:
        story.write_text(str(error))
        return 2 if error.code == "internal" else 1
    except BaseException:
        story.write_text(traceback.format_exc())
        return 2


def keep(kind: str, seed: int, number: int, model: bytes, story: str, feed: dict[str, Array]) -> Path:
    folder = KEPT / f"{kind}_{seed}_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    (folder / "story.txt").write_text(story + "\n")
    if feed:
        np.savez(folder / "inputs.npz", **feed)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["graphs", "loader"])
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    sources = models()
    counts: collections.Counter[str] = collections.Counter()
    number, end = options.first, time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < end:
            for kind in ("graphs", "loader"):
                if options.only not in (None, kind):
                    continue
                rng = np.random.default_rng([options.seed, number, kind == "loader"])
                feed: dict[str, Array] = {}
                if kind == "graphs":
                    verdict, model, feed, story = graph_case(rng)
                    data = model.SerializeToString()
                else:
                    data = damaged(sources[int(rng.integers(len(sources)))], rng)
                    verdict, story = loader_case(data, Path(name))
                counts[f"{kind} {verdict}"] += 1
                if verdict == "wrong":
                    folder = keep(kind, options.seed, number, data, story, feed)
                    print(f"{folder}: {story.strip().splitlines()[-1][:300]}", flush=True)
            number += 1
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return int(any(name.endswith("wrong") for name in counts))


if __name__ == "__main__":
    sys.exit(main())
