"""`certledger verify` compares all that a ledger stores with its events, and those with its heads.

Exit codes: 0 good, 1 altered, 2 wrong usage, or nothing could be checked, 3 no signed head was
there to compare with. Reading order: verify, `_audit`, `_print`.
"""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from pydantic import SecretStr

from api.auth.secrets import new_token_key
from api.cli.environment import CliEnvironment, data_option, open_environment
from api.settings import KEY_BYTES, AuditSettings, Settings, load_settings
from api.transparency.erasure_register import check_register
from api.transparency.kept_heads import kept_heads, logs_of, lost_own_heads, vkey_of
from domain.audit.full import AuditSubject, FullReport, audit_ledger, subject_of
from domain.audit.results import CheckResult
from domain.errors import LedgerError
from domain.service.ledger import Ledgers
from domain.store.embedded.server import EmbeddedPostgresError
from domain.store.processes.pool import WorkerError
from domain.store.tlog.audit import KeptHead
from domain.store.tlog.findings import Finding
from domain.store.tlog.signed_note import Verifier
from projections.engine.view import ViewError

GOOD, ALTERED, NOT_CHECKED, NO_HEADS = 0, 1, 2, 3

_LABEL = 14  # columns of the name of a check


class CannotVerify(click.ClickException):
    """Nothing could be checked; says nothing about the data."""

    exit_code = NOT_CHECKED


@click.command()
@click.option("--ledger", help="Only this ledger; all of them otherwise.")
@click.option(
    "--key", "keys", metavar="VKEY", multiple=True,
    help="The log's public key, from a trusted source; several after a recovery.",
)  # fmt: skip
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A signed checkpoint that you have stored; may be given several times.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Events, seals, heads and the register of erasures only: a tenth of the time.",
)
@click.option("--views", is_flag=True, help="Compare the views with a rebuild, too.")
@data_option
def verify(
    ledger: str | None,
    keys: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    quick: bool,
    views: bool,
    data: Path | None,
) -> None:
    """Compare all that is stored with the events, and the events with every signed head.

    Prints what each check compared, then what is not as it was written. Exit codes: 0 good;
    1 altered; 2 wrong usage, or nothing could be checked; 3 there was no signed head to compare
    with.
    """
    if (keys or checkpoints) and ledger is None:
        raise click.UsageError("--key and --checkpoint are about one log: give --ledger too.")
    given = [KeptHead(str(path), path.read_text(encoding="utf-8")) for path in checkpoints]
    settings, missing = without_missing_keys(load_settings(AuditSettings, data_dir=data))
    with (
        _refusals(),
        open_environment(settings) as environment,
        # Opened without the checks of a service: a ledger that was altered has to be audited too.
        closing(Ledgers(environment.dsn, environment.secrets)) as ledgers,
    ):
        chosen = [ledger] if ledger else ledgers.names()
        if not chosen:
            raise CannotVerify("there is no ledger yet, so there is nothing to check")
        if missing & {"master_key", "index_key"}:
            click.echo("only events and heads are checked: the keys of the service are not here")
            quick = True
        subjects = [subject_of(ledgers.get(x), seals="journal_key" not in missing) for x in chosen]
        codes = [_verify_ledger(environment, each, keys, given, quick) for each in subjects]
        if views:
            codes.append(NOT_CHECKED if missing - _UNUSED else _verify_views(environment))
    code = ALTERED if ALTERED in codes else max(codes)
    if code != GOOD:
        sys.exit(code)


_KEY_FILES = {
    "master_key": "master_key",
    "index_key": "index_key",
    "journal_key": "journal",
    "command_key": "command",
    "idempotency_key": "idempotency",
    "link_key": "link",
}
_UNUSED = {"command_key", "idempotency_key"}
"""Keys that an audit does not need: it repeats no request."""


def without_missing_keys(settings: Settings) -> tuple[Settings, set[str]]:
    """Settings that make no new key, and the keys that are not here.

    A database, or a copy of a data directory, can be audited without the service's keys too; a key
    that was made for the occasion would fit nothing, and would be taken for the right one later.
    """
    folder = settings.data_dir.expanduser().absolute() / "keys"
    missing = {
        name
        for name, file in _KEY_FILES.items()
        if getattr(settings, name) is None and not (settings.embedded and (folder / file).exists())
    }
    stand_in = SecretStr(base64.b64encode(bytes(KEY_BYTES)).decode())
    stand_ins = dict.fromkeys(missing, stand_in)
    if settings.login_key is None:
        stand_ins["login_key"] = stand_in  # an audit looks no login up
    if settings.token_key is None:
        stand_ins["token_key"] = SecretStr(new_token_key())  # an audit checks no tokens
    return settings.model_copy(update=stand_ins), missing


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell what prevents a check from what a check found. Raises: CannotVerify."""
    try:
        yield
    except (LedgerError, EmbeddedPostgresError, ViewError, WorkerError) as error:
        raise CannotVerify(str(error)) from error
    except Exception as error:
        if not hasattr(error, "pgcode"):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CannotVerify(f"the database can't be used: {lines[0]}") from error


# --- one ledger -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trust:
    """What the heads are compared with. vkeys: each with where it is from, in words.

    silent: places that did not answer. lost: names a machine that has lost its own heads.
    """

    vkeys: dict[str, str]
    heads: Sequence[KeptHead]
    ends: dict[str, int]
    silent: Sequence[str]
    lost: Sequence[Finding]


def trust_of(
    settings: Settings, ledger: AuditSubject, keys: Sequence[str], given: Sequence[KeptHead]
) -> Trust:
    """Every head that can be found, with the keys to compare it with. keys: None but these."""
    logs = logs_of(ledger.journal)
    found = [vkey_of(settings, ledger.name, log) for log in logs]
    vkeys = dict.fromkeys(keys, "given") if keys else dict(each for each in found if each)
    origins = {Verifier.from_vkey(vkey).name for vkey in vkeys}
    known = [log for log in logs if not origins or log.origin in origins]
    heads, silent = kept_heads(settings, ledger.name, known)
    ends = {log.origin: log.end for log in logs if log.end is not None}
    lost = lost_own_heads(settings, ledger.name, ledger.journal)
    return Trust(vkeys, [*heads, *given], ends, silent, lost)


def _verify_ledger(
    environment: CliEnvironment,
    ledger: AuditSubject,
    keys: Sequence[str],
    given: Sequence[KeptHead],
    quick: bool,
) -> int:
    """Audit one ledger and print the report. Returns: the exit code."""
    trust = trust_of(environment.settings, ledger, keys, given)
    report = audit_ledger(
        ledger,
        environment.blobs,
        vkeys=tuple(trust.vkeys),
        heads=trust.heads,
        ends=trust.ends,
        lost=trust.lost,
        hashes_only=quick,
        secrets=environment.secrets,
    )
    erasures = check_register(environment.settings, ledger.name, ledger.journal)
    report = replace(report, checks=[*report.checks, erasures])
    _print(report, trust)
    return _conclude(report)


def _print(report: FullReport, trust: Trust) -> None:
    log = report.log
    click.echo(f"{log.ledger}: {log.size} events, root {log.root.hex()}")
    seals = "each with its seal" if log.seals else "seals: not checked, the journal key is not here"
    _line("events", f"{log.size} hashed, {seals}")
    places = ", ".join(f"{number} of {place}" for place, number in log.heads.items())
    signed = "; ".join(
        f"{Verifier.from_vkey(vkey).name}, {source}" for vkey, source in trust.vkeys.items()
    )
    _line("heads", f"{log.checkpoints} compared{f': {places}' if places else ''}")
    _line("", f"signed by {signed}" if signed else "signatures not checked: no key is known")
    if log.lost:
        _line("", f"{log.lost} not compared: of events whose loss was accepted")
    for place in trust.silent:
        _line("", f"not compared: {place} did not answer")
    for check in report.checks:
        _line(check.check, str(check))


def _line(label: str, text: str) -> None:
    click.echo(f"  {label:{_LABEL}}{text}")


def _conclude(report: FullReport) -> int:
    """Print the findings and the conclusion. Returns: the exit code."""
    name = report.log.ledger
    kept = Counter(finding.check for finding in report.findings)
    for finding in report.findings:
        click.echo(f"{name}: {finding.check}: {finding}", err=True)
    for check in report.checks:
        if check.found > kept[check.check]:
            more = check.found - kept[check.check]
            click.echo(f"{name}: {check.check}: and {more} more", err=True)
    if not report.is_good:
        position = report.first_bad_position
        where = "no single position" if position is None else f"first bad position {position}"
        click.echo(f"{name}: ALTERED, {where}")
        return ALTERED
    if report.log.size and not report.log.checkpoints:
        click.echo(f"{name}: nothing found, but there was no signed head to compare with")
        return NO_HEADS
    click.echo(f"{name}: good")
    return GOOD


# --- views ----------------------------------------------------------------------------------------


def _verify_views(environment: CliEnvironment) -> int:
    """Compare every view with a rebuild. Returns: the exit code."""
    from projections.catalogue import VIEWS
    from projections.rebuild import rebuild as work

    environment.ensure_views()
    result = CheckResult("views")
    result.count("views compared with a rebuild", len(VIEWS))
    work.check(
        environment.dsn,
        environment.secrets,
        VIEWS,
        on_difference=lambda found: result.find(str(found)),
        wait=True,
    )
    for view, table in work.altered_definitions(environment.dsn, VIEWS):
        result.find(f"{view}: {table} does not show the rows of its table, as they are")
    for name in work.altered_functions(environment.dsn):
        result.find(f"{name} is not as the program made it")
    _line("views", str(result))
    for finding in result.findings:
        click.echo(f"views: {finding}", err=True)
    click.echo("views: good" if result.is_good else "views: ALTERED")
    return GOOD if result.is_good else ALTERED
