"""Look at this machine: can it compile, can it run what it compiled, and what would make it faster."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ingot.errors import IngotError
from ingot.report.peers import PEERS
from ingot.target import TARGETS, cpu_features, cpu_name, native
from ingot.toolchain import cache_usage, compile_objects, find_compiler, link_shared

Level = Literal["ok", "warn", "fail"]
EXTRAS = {"torch": "torch", "onnxscript": "torch", "sklearn": "examples"}


@dataclass(frozen=True)
class Line:
    """One finding. level: "fail" where compiling or running would fail. remedy: empty when nothing needs doing."""

    level: Level
    topic: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """Everything that was looked at, in order."""

    lines: list[Line]

    @property
    def ok(self) -> bool:
        return all(line.level != "fail" for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "lines": [vars(line) for line in self.lines]}


def examine() -> DoctorReport:
    """Looks at everything; a look that itself goes wrong becomes a failing line."""
    looks: tuple[Callable[[], list[Line]], ...] = (
        _python,
        _cpu,
        _cores,
        _memory,
        _compiler,
        _cache,
        _packages,
    )
    lines: list[Line] = []
    for look in looks:
        try:
            lines += look()
        except (OSError, ValueError) as error:
            lines.append(Line("warn", look.__name__.strip("_"), f"cannot be looked at: {error}"))
    return DoctorReport(lines)


def _python() -> list[Line]:
    version = platform.python_version()
    lines = [Line("ok", "python", f"{platform.python_implementation()} {version}, {sys.executable}")]
    system = (
        f"{platform.system()} {platform.release()} on {platform.machine()}, {' '.join(platform.libc_ver())}"
    )
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        lines.append(Line("ok", "system", system.strip()))
    else:
        lines.append(
            Line("fail", "system", system.strip(), "libraries are made for Linux with glibc 2.17 or newer")
        )
    return lines


def _cpu() -> list[Line]:
    target = native()
    features = sorted(cpu_features() & frozenset().union(*(t.cpu_flags for t in TARGETS.values())))
    return [
        Line("ok", "cpu", f"{cpu_name()}: {' '.join(features) or 'no vector features known'}"),
        Line("ok", "target", f"{target.name}, {target.lanes} float32 lanes, {target.registers} registers"),
        Line("ok", "caches", ", ".join(_caches()) or "not told by the system"),
    ]


def _caches() -> list[str]:
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_read(folder / name).strip() for name in ("type", "level", "size"))
        if kind in ("Data", "Unified"):
            found.append(f"L{level} {size}")
    return found


def _cores() -> list[Line]:
    usable, total = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    text = f"{usable} of {total} usable"
    quota = cpu_quota()
    if quota is None:
        return [Line("ok", "cores", f"{text}, no quota")]
    level: Level = "warn" if quota < usable else "ok"
    remedy = "more threads than the quota slow each other down" if level == "warn" else ""
    return [Line(level, "cores", f"{text}, a quota of {quota:g}", remedy)]


def cpu_quota() -> float | None:
    """The number of cores that this process's control group may use, version 2 or 1; None where there is no limit."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, _, group = line.split(":", 2)
        for folder in (Path("/sys/fs/cgroup") / group.lstrip("/"), Path("/sys/fs/cgroup")):
            words = _read(folder / "cpu.max").split()
            if len(words) == 2 and words[0] != "max":
                return int(words[0]) / int(words[1])
    quota, period = (_read(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _memory() -> list[Line]:
    table = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    total = int(table.get("MemTotal", "0 kB").split()[0])
    lines = [Line("ok", "memory", f"{total / 2**20:.1f} GiB")]
    modes = _read("/sys/kernel/mm/transparent_hugepage/enabled")
    if "[never]" in modes or not modes:
        remedy = "set /sys/kernel/mm/transparent_hugepage/enabled to madvise: large models run faster"
        lines.append(Line("warn", "huge pages", "off", remedy))
    else:
        lines.append(Line("ok", "huge pages", modes[modes.find("[") + 1 : modes.find("]")]))
    return lines


def _compiler() -> list[Line]:
    try:
        compiler = find_compiler()
        lines = [Line("ok", "compiler", f"{compiler.version} ({compiler.kind}), {compiler.command[0]}")]
        target = native()
        flags = [*target.flags, "-O2"]
        source = '__attribute__((visibility("default"))) int answer(void) { return 42; }\n'
        objects = compile_objects(compiler, {"doctor.c": source}, flags)
        with tempfile.TemporaryDirectory(prefix="ingot-doctor-") as folder:
            library = Path(folder) / "libdoctor.so"
            link_shared(compiler, objects, library, flags)
            answer = ctypes.CDLL(str(library)).answer()
    except IngotError as error:
        return [Line("fail", "compiler", f"[{error.code}] {error.where} {error.cause}".strip(), error.remedy)]
    except OSError as error:
        return [
            Line("fail", "compiler", f"its library does not load: {error}", "use a compiler for this machine")
        ]
    if answer != 42:
        return [
            *lines,
            Line("fail", "build", f"a function that returns 42 returned {answer}", "use another compiler"),
        ]
    return [*lines, Line("ok", "build", f"compiled, linked and ran a library for {target.name}")]


def _cache() -> list[Line]:
    usage = cache_usage()
    text = f"{usage.folder}: {usage.files} files, {usage.bytes / 2**20:.1f} MiB"
    if usage.writable:
        return [Line("ok", "cache", text)]
    return [Line("fail", "cache", f"{text}, not writable", "set INGOT_CACHE to a folder that you can write")]


def _packages() -> list[Line]:
    lines = []
    for name, peer in PEERS.items():
        lines.append(_package(name, peer.version if peer.installed else None, peer.extra))
    for module, extra in EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        distribution = {"sklearn": "scikit-learn"}.get(module, module)
        lines.append(_package(module, importlib.metadata.version(distribution) if found else None, extra))
    return lines


def _package(name: str, version: str | None, extra: str) -> Line:
    if version is None:
        return Line("warn", name, "not installed", f"optional: pip install 'ingot[{extra}]'")
    return Line("ok", name, version)


def _read(path: str | Path) -> str:
    """The text of a file of the system, empty where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
