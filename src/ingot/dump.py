"""What INGOT_DEBUG prints and INGOT_DUMP writes while a model is compiled."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir

from ingot import debug


class Trace:
    """One compilation's stages, numbered in order. silent: nothing is printed or written."""

    def __init__(self, silent: bool = False) -> None:
        self.folder = None if silent else debug.dump_folder()
        self.level = 0 if silent else debug.level()
        self.number = 0
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def say(self, level: int, text: str) -> None:
        """Print to the error stream where INGOT_DEBUG is at least `level`."""
        if self.level >= level:
            print(f"ingot: {text}", file=sys.stderr)

    def _file(self, name: str) -> Path | None:
        self.number += 1
        return None if self.folder is None else self.folder / f"{self.number:02d}_{name}"

    def model(self, stage: str, model: onnx_ir.Model) -> None:
        """The ONNX model after a stage."""
        file = self._file(f"{stage}.onnx")
        if file is not None:
            onnx_ir.save(model, file, external_data=f"{file.name}.data")

    def text(self, stage: str, text: str) -> None:
        """The program after a stage."""
        file = self._file(f"{stage}.txt")
        if file is not None:
            file.write_text(text)
        self.say(5, f"after {stage}:\n{text}")

    def sources(
        self, sources: Mapping[str, str], headers: Mapping[str, str], commands: Sequence[Sequence[str]]
    ) -> None:
        """The generated C and `rebuild.sh`, which compiles it again."""
        if self.folder is None:
            return
        for name, text in {**sources, **headers}.items():
            (self.folder / name).write_text(text)
        script = self.folder / "rebuild.sh"
        lines = ["#!/bin/sh", "# Compiles the C of this folder again.", "set -e", 'cd "$(dirname "$0")"']
        script.write_text("\n".join([*lines, *map(shlex.join, commands)]) + "\n")
        script.chmod(0o755)
        self.say(4, f"the generated C is in {self.folder}")
