"""Packages: saved whole or not at all, and the same bytes every time."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ingot.emit import package as module
from ingot.emit.package import Package, is_package
from ingot.errors import IngotError


def example(weights: bytes = b"weights", **manifest: Any) -> Package:
    return Package("net", {"version": "1", **manifest}, {"net.h": b"header", "net.weights": weights})


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_saved_can_be_opened(tmp_path: Path) -> None:
    folder = example(target={"name": "avx2"}).save(tmp_path / "net.ingot")
    opened = Package.open(folder)
    assert opened.name == "net"
    assert opened.manifest["target"] == {"name": "avx2"}
    assert sorted(opened.manifest["files"]) == ["net.h", "net.weights"]
    assert opened.folder() == folder
    assert opened.damaged() == []
    assert is_package(folder)


def test_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    first = example(b="1", a="2").save(tmp_path / "first")
    second = example(a="2", b="1").save(tmp_path / "second")
    assert tree(first) == tree(second)


def test_files_on_disk_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "libnet.so"
    source.write_bytes(b"library")
    folder = Package("net", {}, {"libnet.so": source}).save(tmp_path / "net.ingot")
    source.write_bytes(b"changed")
    assert (folder / "libnet.so").read_bytes() == b"library"


def test_files_may_lie_in_folders(tmp_path: Path) -> None:
    folder = Package("net", {}, {"src/kernel.c": b"int x;\n"}).save(tmp_path / "net.ingot")
    assert (folder / "src" / "kernel.c").read_bytes() == b"int x;\n"
    assert Package.open(folder).damaged() == []


def test_saving_replaces_a_package(tmp_path: Path) -> None:
    example(b"old").save(tmp_path / "net.ingot")
    Package("net", {}, {"net.h": b"new"}).save(tmp_path / "net.ingot")
    assert sorted(tree(tmp_path)) == ["net.ingot/manifest.json", "net.ingot/net.h"]


def test_a_package_can_be_saved_over_itself(tmp_path: Path) -> None:
    folder = example().save(tmp_path / "net.ingot")
    before = tree(tmp_path)
    Package.open(folder).save(folder)
    assert tree(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "net.ingot").mkdir()
    example().save(tmp_path / "net.ingot")
    assert is_package(tmp_path / "net.ingot")


def test_a_link_to_a_package_stays_a_link(tmp_path: Path) -> None:
    example(b"old").save(tmp_path / "v1")
    (tmp_path / "current").symlink_to(tmp_path / "v1")
    example(b"new").save(tmp_path / "current")
    assert (tmp_path / "current").is_symlink()
    assert (tmp_path / "v1" / "net.weights").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_not_a_package_is_not_replaced(kind: str, tmp_path: Path) -> None:
    if kind == "folder":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
    else:
        (tmp_path / "out").write_text("years of work")
    before = tree(tmp_path)
    with pytest.raises(IngotError) as caught:
        example().save(tmp_path / "out")
    assert caught.value.code == "output-exists"
    assert tree(tmp_path) == before


def test_a_parent_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(IngotError) as caught:
        example().save(tmp_path / "no" / "such" / "net.ingot")
    assert caught.value.code == "output-unwritable"
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IngotError) as caught:
        example().save(tmp_path / "file" / "net.ingot")
    assert caught.value.code == "output-unwritable"


def test_a_folder_of_the_system_that_takes_no_files() -> None:
    with pytest.raises(IngotError) as caught:
        example().save("/proc/net.ingot")
    assert caught.value.code == "output-unwritable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(IngotError) as caught:
            example().save(tmp_path / "net.ingot")
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.code == "output-unwritable"


def test_a_read_only_folder_for_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module.tempfile, "mkdtemp", refuse)
    with pytest.raises(IngotError, match="Permission denied") as caught:
        example().save(tmp_path / "net.ingot")
    assert caught.value.code == "output-unwritable"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()]
)
@pytest.mark.parametrize("step", ["write_bytes", "write_text", "rename", "chmod"])
def test_a_failure_at_any_step_leaves_things_as_they_were(
    step: str, error: BaseException, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        example(b"old").save(tmp_path / "net.ingot")
    before = tree(tmp_path)
    original = getattr(Path, step)
    calls = 0

    def fail(self: Path, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (2 if step == "rename" and existing else 1):
            raise error
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(IngotError if isinstance(error, OSError) else type(error)):
        example(b"new").save(tmp_path / "net.ingot")
    assert calls
    assert tree(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == (["net.ingot"] if existing else [])


def test_a_package_in_memory_has_a_folder_while_it_lives(tmp_path: Path) -> None:
    package = example()
    folder = package.folder()
    assert package.folder() == folder
    assert (folder / "net.weights").read_bytes() == b"weights"
    del package
    assert not folder.exists()


def test_a_saved_package_that_was_deleted_has_a_folder_again(tmp_path: Path) -> None:
    package = example()
    shutil.rmtree(package.save(tmp_path / "net.ingot"))
    assert (package.folder() / "net.h").read_bytes() == b"header"


def test_damage_is_found(tmp_path: Path) -> None:
    folder = example().save(tmp_path / "net.ingot")
    (folder / "net.weights").write_bytes(b"weightz")
    (folder / "net.h").unlink()
    assert Package.open(folder).damaged() == ["net.h", "net.weights"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "package-not-found"),
        ("{", "package-damaged"),
        ("[]", "package-format"),
        ("{}", "package-format"),
        (json.dumps({"format": 99, "name": "net", "files": {}}), "package-format"),
        (json.dumps({"format": 1, "files": {}}), "package-damaged"),
        (json.dumps({"format": 1, "name": "net"}), "package-damaged"),
        (json.dumps({"format": 1, "name": "net", "files": {"../../etc/passwd": ""}}), "package-damaged"),
        (json.dumps({"format": 1, "name": "net", "files": {"/etc/passwd": ""}}), "package-damaged"),
    ],
)
def test_folders_that_are_no_packages(text: str | None, code: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IngotError) as caught:
        Package.open(tmp_path)
    assert caught.value.code == code
    assert caught.value.remedy
