"""`ingot targets`: list what can be compiled for."""

from __future__ import annotations

from ingot.cli.options import Json
from ingot.cli.output import print_json, print_table


def command(json_output: Json = False) -> None:
    """List the targets, and which of them this machine can run."""
    from ingot.target import TARGETS, cpu_features, native

    rows = [
        {
            "name": target.name,
            "isa": target.isa,
            "lanes": target.lanes,
            "registers": target.registers,
            "flags": list(target.flags),
            "runs_here": target.cpu_flags <= cpu_features(),
            "native": target.name == native().name,
        }
        for target in TARGETS.values()
    ]
    if json_output:
        print_json(rows)
        return
    print_table(
        "",
        ["target", "float32 lanes", "registers", "compiler flags", "runs here"],
        [
            [
                str(row["name"]),
                str(row["lanes"]),
                str(row["registers"]),
                " ".join(map(str, row["flags"])) or "none",  # type: ignore[call-overload]
                "native" if row["native"] else "yes" if row["runs_here"] else "no",
            ]
            for row in rows
        ],
    )
