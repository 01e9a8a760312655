"""Where one rule fires on a model, and where it declines and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from ingot.graph import trace
from ingot.graph.pipeline import COMPILE, check_names, optimize


def explain(model: ir.Model, rule: str, stages: Sequence[Collection[str]] = (COMPILE,)) -> list[trace.Event]:
    """What `rule` does while the rules of each stage in turn work on a copy of `model`: each node once, refusals only where it never fired.

    Raises IngotError rule-unknown.
    """
    check_names((rule,))
    with trace.recording() as events:
        copy = model.clone()
        for rules in stages:
            optimize(copy, rules=rules)
    mine = [event for event in events if event.rule == rule]
    fired = {event.node for event in mine if not event.reason}
    return list(dict.fromkeys(event for event in mine if not event.reason or event.node not in fired))
