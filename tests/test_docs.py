"""README, CONTRIBUTING and docs/ hold: every example runs and prints what its page says, every link leads somewhere.

What runs is a fenced block of `python`, `console`, `sh` or `c`. A page's blocks run in order, in one folder that
holds examples/digits. A comment before a block can change that:

    <!-- not run: REASON -->    it does not run
    <!-- part of PATH -->       an excerpt, which must stand in that file; a line of ... leaves lines out

In `console` lines that start with "$ " are commands (a last "\\" continues one); the others are their output. A command
must end with 0 unless `echo $?` comes next. The output of a `python` block is the next `text` block. In all output
"..." stands for any text, a line of "..." for any lines; the number of spaces and of temporaries such as t12 do not
matter.
A `c` block starts with its file name in a comment, is written to that file, and a later command compiles it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import ingot
from ingot import debug

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
TOP = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES = TOP + sorted((ROOT / "docs").rglob("*.md"))
RUN_PAGES = [page for page in PAGES if page.parent != REFERENCE]
MOST_NOT_RUN = 12
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
MARK = "--end-of-command--"


@dataclass(frozen=True)
class Block:
    """A fenced block. note: the HTML comment right before it, without its brackets."""

    language: str
    text: str
    line: int
    note: str

    @property
    def runs(self) -> bool:
        return not self.note.startswith(("not run:", "part of "))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=name_of)
run_pages = pytest.mark.parametrize("page", RUN_PAGES, ids=name_of)


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        note = re.search(r"<!-- ([^\n]*) -->\s*$", before)
        inside = textwrap.dedent(match[3])
        found.append(Block(match[2], inside, before.count("\n") + 1, note[1] if note else ""))
    return tuple(found)


@cache
def prose(page: Path) -> str:
    """The text outside of fenced blocks."""
    return FENCE.sub("", page.read_text())


@cache
def reference() -> ModuleType:
    """tools/make_reference.py"""
    path = ROOT / "tools" / "make_reference.py"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("make_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- examples ---


@run_pages
def test_examples_run(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "digits", tmp_path / "examples" / "digits")
    environment = environment_in(tmp_path)
    written: dict[str, int] = {}
    found = blocks(page)
    for i, block in enumerate(found):
        if not block.runs:
            continue
        place = f"{name_of(page)}:{block.line}"
        following = found[i + 1] if i + 1 < len(found) else None
        if block.language == "python":
            (tmp_path / "block.py").write_text(block.text)
            said = run([sys.executable, "block.py"], tmp_path, environment, place)
            if following is not None and following.language == "text":
                assert_prints(following.text, said, place)
        elif block.language == "sh":
            run(["bash", "-euo", "pipefail", "-c", block.text], tmp_path, environment, place)
        elif block.language == "c":
            name = re.match(r"/\* (\w+\.c)\b", block.text)
            assert name is not None, f"{place}: a C block starts with /* NAME.c */"
            (tmp_path / name[1]).write_text(block.text)
            written[name[1]] = block.line
        elif block.language == "console":
            run_console(block.text, tmp_path, environment, place)
    commands = "".join(block.text for block in found if block.language in ("console", "sh"))
    assert all(name in commands for name in written), "a C file is not compiled"


def environment_in(folder: Path) -> dict[str, str]:
    """As in a checkout with its .venv active, with a `cc` where the machine has none."""
    (folder / ".venv").symlink_to(sys.prefix)
    kept = {"INGOT_CACHE", "INGOT_TEST_DATA", "INGOT_BENCH_MODELS"}
    dropped = {v.name for v in debug.VARIABLES} - kept | {"COLUMNS", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    spare = folder / ".spare"
    spare.mkdir()
    (spare / "cc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc "$@"\n')
    (spare / "cc").chmod(0o755)
    search = [str(Path(sys.executable).parent), environment.get("PATH", ""), str(spare)]
    return environment | {"PATH": os.pathsep.join(search), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def run(command: list[str], folder: Path, environment: dict[str, str], place: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{place} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def run_console(text: str, folder: Path, environment: dict[str, str], place: str) -> None:
    session = list(commands_of(text))
    script = [
        f"{command}\ningot_status=$?; printf '\\n{MARK} %d\\n' $ingot_status; (exit $ingot_status)"
        for command, _ in session
    ]
    said = run(["bash", "-c", "\n".join([*script, "true"])], folder, environment, place)
    parts = re.split(rf"\n{MARK} (\d+)\n", said)
    assert len(parts) == 2 * len(session) + 1, f"{place}: a command left the shell:\n{said}"
    for i, (command, expected) in enumerate(session):
        output, status = parts[2 * i], int(parts[2 * i + 1])
        asked = i + 1 < len(session) and session[i + 1][0] == "echo $?"
        assert status == 0 or asked, f"{place}: {command} ended with {status}:\n{output}"
        assert_prints(expected, output, f"{place}: {command}")


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is promised."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command += "\n" + more
        yield command, output


def assert_prints(expected: str, actual: str, place: str) -> None:
    """Where something is expected: all of it, in order, and nothing else."""
    if not expected.strip():
        return
    lines = [line.rstrip() for line in actual.strip().splitlines()]
    pattern = "".join(map(pattern_of, expected.strip().splitlines()))
    text = "".join(f"{line}\n" for line in lines if line)
    assert re.fullmatch(pattern, text), f"{place} promises\n{expected}\nand prints\n{text}"


def pattern_of(line: str) -> str:
    if line.strip() == "...":
        return r"(?:[^\n]*\n)*?"
    if not line.strip():
        return ""
    pieces = [" +".join(map(re.escape, re.split(" +", piece))) for piece in line.rstrip().split("...")]
    return re.sub(r"\bt\d+\b", r"t\\d+", r"[^\n]*".join(pieces)) + "\n"


@run_pages
def test_what_does_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.note.startswith("not run:"):
            assert len(block.note) > len("not run: ") + 10, f"line {block.line}: say why"


def test_little_is_not_run() -> None:
    notes = [b.note for page in RUN_PAGES for b in blocks(page)]
    assert sum(note.startswith("not run:") for note in notes) <= MOST_NOT_RUN


@run_pages
def test_excerpts_stand_in_their_files(page: Path) -> None:
    for block in blocks(page):
        if block.note.startswith("part of "):
            source = dense((ROOT / block.note.removeprefix("part of ")).read_text())
            at = 0
            for piece in re.split(r"^\s*\.\.\.$", block.text, flags=re.MULTILINE):
                at = source.find(dense(piece), at)
                assert at >= 0, (
                    f"line {block.line}: {block.note.removeprefix('part of ')} does not hold\n{piece}"
                )


def dense(text: str) -> str:
    """Text without what a formatter may change."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", text))


# --- links and names ---


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(prose(page)):
        link = match[1] or match[2]
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside the project"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        while slug in found:
            slug += "-1"
        found.add(slug)
    return found


@run_pages
def test_named_files_exist(page: Path) -> None:
    """A path in code style with a slash and an ending is a file of the project, unless it has a <placeholder>."""
    for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|c|h|md|toml|svg|json|png))`", prose(page)):
        places = (ROOT, ROOT / "src" / "ingot", ROOT / "docs")
        assert any((place / name).exists() for place in places), f"{name}: no such file"


@run_pages
def test_named_variables_exist(page: Path) -> None:
    known = {variable.name for variable in debug.VARIABLES}
    for name in re.findall(r"`(INGOT_[A-Z_]+)(?:=[^`]*)?`", prose(page)):
        header = (ROOT / "src/ingot/runtime/native/ingot.h").read_text()
        assert name in known or name in header, f"{name}: no such variable"


@pages
def test_pages_are_tidy(page: Path) -> None:
    text = page.read_text()
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE), "trailing spaces"
    assert "```" not in prose(page), "an open fence"


def test_every_page_can_be_reached() -> None:
    seen, queue = {ROOT / "README.md"}, [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        for match in LINK.finditer(prose(page)):
            target = (page.parent / (match[1] or match[2]).partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                seen.add(target)
                queue.append(target)
    assert set(PAGES) <= seen


# --- what pages repeat ---


def test_reference_is_up_to_date() -> None:
    made = reference()
    pages = {name: render() for name, render in made.PAGES.items()}
    assert made.stale(pages) == [], "run python tools/make_reference.py"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def test_architecture_names_the_stages_in_order() -> None:
    stages = list(ingot.compile(ROOT / "examples/digits/digits.onnx").report["seconds"])
    text = (ROOT / "docs/architecture.md").read_text()
    assert re.findall(r"^\| \d+ \| \*\*([^*]+)\*\* \|", text, re.MULTILINE) == stages
    drawn = re.sub(r"<[^>]+>", "\n", (ROOT / "docs/pipeline.svg").read_text()).split("\n")
    assert [line for line in drawn if line in stages] == stages


def test_architecture_names_the_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "docs/architecture.md").read_text().partition("## Dependencies")[2].partition("\n## ")[0]
    extras = project["optional-dependencies"].values()
    for requirement in (*project["dependencies"], *(name for extra in extras for name in extra)):
        name = re.split(r"[<>=!\[ ]", requirement)[0]
        assert f"`{name}`" in text, f"{name} has no line in the table of dependencies"


def test_the_change_log_knows_this_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(ingot.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.svg")), ids=name_of)
def test_drawings_need_nothing_else(path: Path) -> None:
    ElementTree.parse(path)
    text = path.read_text()
    assert not re.search(r"(?:href|src)=|url\((?!#)|@import|<script", text)
