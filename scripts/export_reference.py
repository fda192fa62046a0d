#!/usr/bin/env python3
"""Writes docs/reference.md: every command, setting, route and error code, from the program."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from api import settings  # noqa: E402
from api.app import create_app  # noqa: E402
from api.cli.main import cli  # noqa: E402
from api.errors.problem_details import STATUS, texts  # noqa: E402


def helped(name: str, command: click.Command) -> str:
    """The help of one command, as `certledger NAME --help` prints it."""
    above = click.Context(cli, info_name="certledger", **cli.context_settings)
    context = click.Context(command, above, name, terminal_width=100)
    return f"### certledger {name}\n\n```text\n{command.get_help(context)}\n```\n"


def row(route: str, operation: dict[str, Any]) -> str:
    """One route: what it does, and which roles may call it."""
    roles = ", ".join(operation.get("x-roles", ("everybody",)))
    return f"| `{route}` | `{operation['operationId']}` | {operation['summary']} | {roles} |"


def routes() -> str:
    """Every route of the HTTP interface, by tag."""
    document = create_app(settings.Settings.model_construct()).openapi()
    lines = ["## Routes\n\nThe same, with bodies and examples, at `/openapi.json` and `/docs`.\n"]
    for tag in document["tags"]:
        lines += [f"### {tag['name']}\n", "| route | operation | what | who |", "|---|---|---|---|"]
        for path, item in document["paths"].items():
            chosen = {m: op for m, op in item.items() if tag["name"] in op["tags"]}
            lines += [row(f"{method.upper()} {path}", op) for method, op in chosen.items()]
        lines.append("")
    return "\n".join(lines)


def refusals() -> str:
    """Every error by its stable code."""
    head = "## Refusals\n\n| code | status | 中文 | English |\n|---|---|---|---|\n"
    problems = sorted(texts()["problems"].items())
    rows = (
        f"| `{code}` | {STATUS[code]} | {t['zh'][0]} | {t['en'][0]} |\n" for code, t in problems
    )
    return head + "".join(rows)


def render() -> str:
    """The whole page."""
    commands = [helped(*item) for item in sorted(cli.commands.items())]
    head = (ROOT / "scripts/documents/reference_head.md").read_text("utf-8")
    table = f"## Settings\n\n{settings.settings_table()}"
    return head + "\n".join(("## Commands\n", *commands, table, routes(), refusals()))


if __name__ == "__main__":
    (ROOT / "docs" / "reference.md").write_text(render(), encoding="utf-8")
