"""One thread beside two, and how far apart the two cores lie meanwhile: python bench/threads.py NAMES [--seconds S]

A virtual machine may move its processors between caches while it runs. So runs alternate in blocks in one process, a
line of memory is sent back and forth between the cores before and after each block, and the times are told apart by how
long that takes: less than `NEAR` nanoseconds, or more than `FAR`. Medians; blocks between the two count for neither.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import time

import catalogue

import ingot
from ingot.report.bench import BLOCK_SECONDS
from ingot.toolchain import load_source

NEAR, FAR = 160, 220

SOURCE = """
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
enum { TURNS = 3000 };
static _Alignas(64) _Atomic int turn;
static void stay(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}
static void *answer(void *cpu) {
  stay(*(int *)cpu);
  for (int i = 0; i < TURNS; i++) {
    while (atomic_load(&turn) != 2 * i + 1);
    atomic_store(&turn, 2 * i + 2);
  }
  return 0;
}
static void *ask(void *cpus) {
  pthread_t other;
  struct timespec start, end;
  stay(((int *)cpus)[0]);
  atomic_store(&turn, 0);
  if (pthread_create(&other, 0, answer, (int *)cpus + 1)) return 0;
  for (int i = 0; i < TURNS; i++) {
    atomic_store(&turn, 2 * i + 1);
    while (atomic_load(&turn) != 2 * i + 2);
    if (i == 0) clock_gettime(CLOCK_MONOTONIC, &start);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  pthread_join(other, 0);
  ((int *)cpus)[2] = (int)(((end.tv_sec - start.tv_sec) * 1e9 + end.tv_nsec - start.tv_nsec) / (TURNS - 1));
  return 0;
}
__attribute__((visibility("default"))) int round_trip(int first, int second) {
  int cpus[] = {first, second, -1};
  pthread_t thread;
  if (pthread_create(&thread, 0, ask, cpus)) return -1;
  pthread_join(thread, 0);
  return cpus[2];
}
"""


def measure(name: str, seconds: float, library: ctypes.CDLL, cpus: tuple[int, int]) -> None:
    found = catalogue.source(name)
    if found is None:
        print(f"{name}: left out, its file is not here")
        return
    package = ingot.compile(found.model, shapes={key: array.shape for key, array in found.feed.items()})
    runs = []
    for threads in (1, 2):
        session = ingot.load(package, threads=threads)
        runs.append(session.bind({port.name: found.feed[port.name] for port in session.get_inputs()}).run)
    times: dict[str, tuple[list[float], list[float]]] = {"near": ([], []), "far": ([], [])}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for threads, run in enumerate(runs):
            before = library.round_trip(*cpus)
            block: list[float] = []
            run()
            start, stop = time.perf_counter(), time.perf_counter() + BLOCK_SECONDS
            while start < stop:
                run()
                done = time.perf_counter()
                block.append(done - start)
                start = done
            after = library.round_trip(*cpus)
            if min(before, after) < 0:
                raise SystemExit("no thread could be started")
            if max(before, after) < NEAR:
                times["near"][threads].extend(block)
            elif min(before, after) > FAR:
                times["far"][threads].extend(block)
    for place, (one, two) in times.items():
        if one and two:
            a, b = statistics.median(one), statistics.median(two)
            print(
                f"{name}, cores {place}: {a * 1e3:.4g} ms, on two {b * 1e3:.4g} ms, {a / b:.2f} x", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="NAME", help="models (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each model")
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        parser.error("there is one processor only")
    library = load_source(SOURCE, ["-O2"])
    for name in options.models or catalogue.NAMES:
        if not catalogue.known(name):
            parser.error(f"no model {name}; there are {', '.join(catalogue.KNOWN)}")
        measure(name, options.seconds, library, (cpus[0], cpus[1]))


if __name__ == "__main__":
    main()
