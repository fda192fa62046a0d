"""`scripts/bench NAME… [--quick] [--json FILE]`: prints one JSON line a comparison."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import TextIO

from scripts.benchmarks.measure import Plan, Unavailable, conditions
from scripts.benchmarks.server import server

NAMES = ("append", "command", "lookup", "rebuild", "verify", "lag", "growth", "memory")
QUICK_SCALE = 50


def main() -> int:
    """Run the named benchmarks one after the other, each on a server of its own."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES) + "; all if none")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the size")
    parser.add_argument("--json", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    plan = Plan(QUICK_SCALE if arguments.quick else 1)
    status = 0
    for name in arguments.names or NAMES:
        status |= _run(name, plan, arguments.json)
    return status


def _run(name: str, plan: Plan, file: Path | None) -> int:
    bench = importlib.import_module(f"scripts.benchmarks.{name}")
    before = conditions(quick=plan.quick)
    try:
        with server() as running:
            known = before | running.conditions()
            lines = [found.line(known | found.also) for found in bench.run(running, plan)]
    except Unavailable as reason:
        print(f"bench: {name} is skipped: {reason}", file=sys.stderr)
        return 0
    _print(lines, sys.stdout)
    if file is not None:
        with open(file, "a", encoding="utf-8") as out:
            _print(lines, out)
    return 0


def _print(lines: list[dict[str, object]], out: TextIO) -> None:
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), file=out, flush=True)


if __name__ == "__main__":
    sys.exit(main())
