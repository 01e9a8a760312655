"""The tuned model beside the untuned one: python bench/tuning.py NAMES [--tune S] [--seconds S]

Compiles each model twice, the second time with tuning results of its own, runs both in turns in one process on one thread,
and prints the medians.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import catalogue

import ingot
from ingot.report.bench import interleave


def measure(name: str, tune: float, seconds: float, folder: str) -> None:
    found = catalogue.source(name)
    if found is None:
        print(f"{name}: left out, its file is not here")
        return
    shapes = {key: array.shape for key, array in found.feed.items()}
    runs = {}
    for key, options in ("untuned", {}), ("tuned", {"tune": tune, "tuning": Path(folder, f"{name}.json")}):
        session = ingot.load(ingot.compile(found.model, shapes=shapes, **options), threads=1)
        runs[key] = session.bind({port.name: found.feed[port.name] for port in session.get_inputs()}).run
    times = interleave(runs, seconds=seconds)
    untuned, tuned = times["untuned"].median, times["tuned"].median
    print(
        f"{name}: {untuned * 1e3:.4g} ms, tuned for {tune:g} s {tuned * 1e3:.4g} ms, {untuned / tuned:.3f} x",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="NAME", help="models (default: all)")
    parser.add_argument("--tune", type=float, default=60.0, metavar="S", help="as `ingot compile --tune`")
    parser.add_argument("--seconds", type=float, default=10.0, help="of runs of each model's two packages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or catalogue.NAMES:
            if not catalogue.known(name):
                parser.error(f"no model {name}; there are {', '.join(catalogue.KNOWN)}")
            measure(name, options.tune, options.seconds, folder)


if __name__ == "__main__":
    main()
