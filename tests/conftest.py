"""What every test has: a build cache of the checkout's own, which later runs find warm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def build_cache() -> Iterator[None]:
    """Points INGOT_CACHE into build/, so that tests neither use nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGOT_CACHE", str(ROOT / "build" / "test-cache"))
        yield
