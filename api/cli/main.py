"""The program `certledger`: the service, its projections, and the operator's tools.

Every command works on the database of CERTLEDGER_DATABASE_URL, or on the embedded one (`--data
DIR`), and may run while the service runs. An error is one line on stderr: exit code 2 for wrong
usage, 1 for every other error. Reading order: main, then one module for each group of commands.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from api.cli.adopt import adopt
from api.cli.backup import backup
from api.cli.erasures import erasures
from api.cli.export import export
from api.cli.import_ import import_
from api.cli.keys import keys, token
from api.cli.maintenance import migrate, rebuild
from api.cli.operators import operators
from api.cli.recover import heads, recover
from api.cli.serve import project, serve, work
from api.cli.verify import verify
from domain.errors import LedgerError
from domain.store.embedded.server import EmbeddedPostgresError
from projections.engine.view import ViewError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(package_name="certledger")
def cli() -> None:
    """Event-sourced ledger for vocational-skill certification."""


for command in (
    *(serve, project, rebuild, verify, export, import_, token, keys, migrate, backup),
    *(recover, heads, erasures, adopt, operators, work),
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; expected errors print no traceback."""
    try:
        code = cli.main(args=arguments, prog_name="certledger", standalone_mode=False)
    except click.UsageError as wrong:
        where = wrong.ctx.command_path if wrong.ctx else "certledger"
        _exit(2, f"{where}: {wrong.format_message()} See {where} --help.")
    except click.ClickException as refused:
        _exit(refused.exit_code, f"certledger: {refused.format_message()}")
    except (click.Abort, KeyboardInterrupt):
        _exit(130, "certledger: interrupted")
    except LedgerError as refusal:
        _exit(1, f"certledger: {refusal}")
    except (EmbeddedPostgresError, ViewError) as error:
        _exit(1, f"certledger: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _exit(1, f"certledger: {place}{error.strerror or error}")
    except Exception as error:
        # An error of the database driver has a pgcode; only the store imports the driver.
        if not hasattr(error, "pgcode"):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hint = getattr(getattr(error, "diag", None), "message_hint", None)
        _exit(1, f"certledger: the database can't be used: {lines[0]}{f'. {hint}' if hint else ''}")
    sys.exit(code if isinstance(code, int) else 0)


def _exit(code: int, line: str) -> None:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)
