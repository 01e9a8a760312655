"""One step of the bench in a process of its own: it prints one line of JSON.

    worker.py build NAME FOLDER TARGET PRECISION PEERS [--cold]     compile the model and make the peers' files, in FOLDER
    worker.py start FOLDER CONTENDER                      load and run once, as the first thing that a process does
    worker.py time FOLDER THREADS SECONDS PEERS           run ingot and the peers in turns

PEERS are names with commas between them. FOLDER holds the package, the inputs and `job.json`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def build(
    name: str, folder: Path, target: str, precision: str, peers: list[str], cold: bool
) -> dict[str, Any]:
    """What compiling told, with "compile_seconds", and the "refused" peers with their reasons; "absent" without a file."""
    import catalogue

    import ingot
    from ingot.errors import IngotError
    from ingot.report.peers import Job, ready_peer

    found = catalogue.source(name)
    if found is None:
        return {"absent": True}
    with _build_cache(cold):
        start = time.perf_counter()
        shapes = {key: array.shape for key, array in found.feed.items()}
        package = ingot.compile(found.model, shapes=shapes, target=target, precision=precision)
        seconds = time.perf_counter() - start
    package.save(folder / "model.ingot")
    session = ingot.load(package)
    feed = {port.name: found.feed[port.name] for port in session.get_inputs()}
    results = session.run(None, feed)
    outputs = {port.name: y.shape for port, y in zip(session.get_outputs(), results, strict=True)}
    files, refused = {}, {}
    for peer in peers:
        job = Job(found.files.get(peer, found.model), feed, outputs, precision=precision)
        try:
            files[peer] = str(ready_peer(peer, job).model)
        except IngotError as error:
            refused[peer] = error.cause
    own = {peer: str(path) for peer, path in found.files.items()}
    job_file = {
        "model": str(found.model),
        "own": own,
        "files": files,
        "outputs": outputs,
        "inputs": list(feed),
        "precision": precision,
    }
    (folder / "job.json").write_text(json.dumps(job_file))
    np.savez(folder / "feed.npz", *feed.values())
    return {"compile_seconds": seconds, "refused": refused, **package.report}


@contextlib.contextmanager
def _build_cache(cold: bool) -> Iterator[None]:
    """The usual build cache, or an empty one that goes away."""
    if not cold:
        yield
        return
    usual = os.environ.get("INGOT_CACHE")
    with tempfile.TemporaryDirectory(prefix="ingot-bench-") as folder:
        os.environ["INGOT_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["INGOT_CACHE"]
            if usual is not None:
                os.environ["INGOT_CACHE"] = usual


def _job(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    job = json.loads((folder / "job.json").read_text())
    with np.load(folder / "feed.npz") as arrays:
        feed = dict(zip(job["inputs"], (arrays[f"arr_{i}"] for i in range(len(job["inputs"]))), strict=True))
    return job, feed


def start(folder: Path, contender: str) -> dict[str, Any]:
    """Seconds to import, to load, of the first run and of both; bytes of the process at most, and before the import.

    Only "refused", with the reason, where a peer does not take the model.
    """
    job, feed = _job(folder)
    if contender == "ingot":
        before, begin = _status("VmRSS"), time.perf_counter()
        from ingot.runtime import load

        imported = time.perf_counter()
        session = load(folder / "model.ingot")
        loaded = time.perf_counter()
        session.run(None, feed)
    else:
        from ingot.errors import IngotError
        from ingot.report.peers import PEERS, Job, first_run, open_peer

        before, begin = _status("VmRSS"), time.perf_counter()
        importlib.import_module(PEERS[contender].modules[0])
        imported = time.perf_counter()
        outputs = {name: tuple(shape) for name, shape in job["outputs"].items()}
        try:
            ready = Job(Path(job["files"][contender]), feed, outputs, precision=job["precision"])
            run = open_peer(contender, ready)
            loaded = time.perf_counter()
            first_run(contender, run)
        except IngotError as error:
            return {"refused": error.cause}
    end = time.perf_counter()
    return {
        "import": imported - begin,
        "load": loaded - imported,
        "first": end - loaded,
        "start": end - imported,
        "peak_bytes": _status("VmHWM"),
        "base_bytes": before,
    }


def _status(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{key}:")[2].split()[0]) * 1024


def measure(folder: Path, threads: int, seconds: float, peers: list[str]) -> dict[str, Any]:
    """The report of `ingot.report.bench`."""
    from ingot.report.bench import bench

    job, feed = _job(folder)
    files = {peer: Path(path) for peer, path in job["own"].items()}
    report = bench(
        folder / "model.ingot",
        peers,
        model=job["model"],
        files=files,
        inputs=feed,
        threads=threads,
        seconds=seconds * (1 + len(peers)),
    )
    return report.to_dict()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["build", name, folder, target, precision, peers, *cold]:
            told = build(name, Path(folder), target, precision, _names(peers), bool(cold))
        case ["start", folder, contender]:
            told = start(Path(folder), contender)
        case ["time", folder, threads, seconds, peers]:
            told = measure(Path(folder), int(threads), float(seconds), _names(peers))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print(json.dumps(told))
    return 0


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
