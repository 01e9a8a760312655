"""Run one build tool."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


def run_tool(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a build tool in `cwd`, seeing none of the environment variables that change what compilers do."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"LC_ALL": "C"}
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What the tool printed, and how it ended when it printed nothing."""
    text = (done.stderr + done.stdout).strip()
    if done.returncode < 0:
        text += f"\nit was ended by signal {-done.returncode}"
    return text.strip() or f"nothing, and ended with status {done.returncode}"
