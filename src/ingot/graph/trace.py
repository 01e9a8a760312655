"""Where a rule fired, where it declined and why. Costs nothing unless someone listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import onnx_ir as ir


class Event(NamedTuple):
    """rule: its name. node: by name, or operator and output. reason: why the rule declined, "" where it fired."""

    rule: str
    node: str
    reason: str


_listener: ContextVar[list[Event] | None] = ContextVar("listener", default=None)
_rule: ContextVar[str] = ContextVar("rule", default="")


@contextmanager
def recording() -> Iterator[list[Event]]:
    """Collect what the rules applied inside the `with` do, in order."""
    events: list[Event] = []
    token = _listener.set(events)
    try:
        yield events
    finally:
        _listener.reset(token)


@contextmanager
def applying(rule: str) -> Iterator[None]:
    """Events inside the `with` belong to `rule`."""
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def fired(node: ir.Node) -> int:
    """Note that the rule rewrote `node`. Returns 1, to be added to the rule's count."""
    _note(node, "")
    return 1


def outcome(node: ir.Node, reason: str | None) -> int:
    """Note that the rule rewrote `node`, or why not. Returns what to add to the rule's count."""
    _note(node, reason or "")
    return int(reason is None)


def listening() -> bool:
    """Whether someone collects events."""
    return _listener.get() is not None


def refused(node: ir.Node, reason: str) -> None:
    """Note that the rule could have rewritten `node` but for `reason`."""
    _note(node, reason)


def _note(node: ir.Node, reason: str) -> None:
    events = _listener.get()
    if events is not None:
        events.append(Event(_rule.get(), place(node), reason))


def place(node: ir.Node) -> str:
    """A node's name, or its operator and first output."""
    return node.name or f"{node.op_type} -> {node.outputs[0].name if node.outputs else '?'}"
