"""Step 5: the numbers of certificates, allocated here or imported from the province (证书编号).

A number is given once, to a result that is final and passed, and never again.
Source: source-document 0.2, 5.2, 5.3.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.claims import number_claim
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    notice_streams,
)
from domain.decision import (
    Claim,
    Command,
    Context,
    Decision,
    RecordedMatters,
    States,
    stream_of,
)
from domain.errors import LedgerError
from domain.events import CertificateKind
from domain.states.application import Candidacy
from domain.states.folds import LedgerState, Series
from domain.values.certificate_numbers import NationalNumber, format_national, format_omc
from domain.values.primitives import Level


class ResultNotFinal(LedgerError):
    """The result of this application is not final: its notice is not closed, or holds the row."""

    code = "result_not_final"


class NotPassed(LedgerError):
    """A certificate needs 60 or more in both subjects."""

    code = "not_passed"


class NumberedAlready(LedgerError):
    """The {kind} certificate has a number already."""

    code = "numbered_already"


class ForeignNumber(LedgerError):
    """Number {number} is not one of this ledger's site and of level {level}."""

    code = "foreign_number"


class YearImpossible(LedgerError):
    """Numbers of this result bear a year from {earliest} to {latest}, not {year}."""

    code = "year_impossible"


class SeriesIsHandedOut(LedgerError):
    """Numbers of series {series_id} are {source}; the two ways can't be mixed in one series."""

    code = "series_is_handed_out"


class NumberCertificates(Command):
    """Give the next national and OMC numbers to a candidate who passed for good."""

    application_id: e.Id
    year: int | None = Field(default=None, ge=2000, le=2099, description="default: this year")


class ImportNumber(Command):
    """Take over a national number that the province handed out; the OMC one is allocated."""

    application_id: e.Id
    number: e.ShortText


def series_id(kind: CertificateKind, year: int, level: int) -> str:
    """A number series: one kind, year and level of a ledger."""
    return f"{kind.value}-{year}-{int(level)}"


def final_from(world: RecordedMatters, state: Candidacy) -> date:
    """The first day on which the result was final: published, period over, row not withheld.

    Raises: ResultNotFinal. Source: 5.1.
    """
    if state.notice_id is None or state.published is None:
        raise ResultNotFinal()
    notice = world.notice(state.notice_id)
    if not notice.closed or state.id in notice.withheld:
        raise ResultNotFinal()
    return notice.ends_on + timedelta(days=1)


def _ensure_final_pass(world: States, state: Candidacy) -> date:
    """As `final_from`, and passed. Raises: ResultNotFinal, NotPassed. 5.1, 5.2."""
    first_day = final_from(world, state)
    if not state.has_passed():
        raise NotPassed()
    return first_day


def _ensure_year(context: Context, year: int, first_day: date) -> None:
    """A number of any other year could never be issued. Raises: YearImpossible."""
    if not first_day.year <= year <= context.today.year:
        raise YearImpossible(year=year, earliest=first_day.year, latest=context.today.year)


def is_unnumbered(state: Candidacy, kind: CertificateKind) -> bool:
    """Whether a certificate of the kind is due: none yet, or the last one was issued in error.

    One revoked for any other reason is never replaced on the same application.
    """
    last = state.certificates.get(kind)
    return last is None or last.revoked_for is e.RevocationReason.ISSUED_IN_ERROR


_Source = Literal["allocated", "imported"]
_Taken = tuple[tuple[tuple[str, e.Fact], ...], str]
"""The facts of one number that was taken, and the number."""


def _take(
    state: Candidacy,
    kind: CertificateKind,
    series: str,
    number: str,
    serial: int,
    source: _Source,
) -> tuple[tuple[str, e.Fact], ...]:
    """The serial leaves its series and the certificate gets its number, together."""
    taken = e.SerialTaken(
        series_id=series,
        kind=kind,
        number=number,
        serial=serial,
        application_id=state.id,
        person_id=state.person_id,
        source=source,
    )
    numbered = e.CertificateNumbered(
        application_id=state.id,
        person_id=state.person_id,
        kind=kind,
        number=number,
        source=source,
    )
    return (
        (stream_of("series", series), taken),
        (stream_of("application", state.id), numbered),
    )


def number_of(
    kind: CertificateKind, ledger: LedgerState, year: int, level: Level, serial: int
) -> str:
    """A serial as it is printed. Raises: SerialExhausted."""
    if kind is CertificateKind.NATIONAL:
        return str(format_national(ledger.organisation.site_code, year, level, serial))
    return str(format_omc(year, level, serial))


def _allocate(world: States, state: Candidacy, kind: CertificateKind, year: int) -> _Taken:
    """The next number of a series. Raises: SeriesIsHandedOut, SerialExhausted."""
    series = world.series(series_id(kind, year, state.level))
    if series.source == "imported":
        raise SeriesIsHandedOut(series_id=series.id, source="handed out by the province")
    serial = series.last_serial + 1
    number = number_of(kind, world.ledger(), year, state.level, serial)
    return _take(state, kind, series.id, number, serial, "allocated"), number


def _numbered(taken: dict[CertificateKind, _Taken]) -> Decision:
    """Facts and outcome of the numbers that were taken, by kind."""
    return Decision(
        facts=tuple(fact for facts, _ in taken.values() for fact in facts),
        outcome={kind.value: number for kind, (_, number) in taken.items()},
    )


def decide_number_certificates(
    world: States, command: NumberCertificates, context: Context
) -> Decision:
    """Serials follow one another without gaps, per ledger, year and level.

    Both kinds are numbered together; one that was revoked as issued in error gets the next
    number, while the other still counts. The ledger's lock covers the series, so that two
    processes never allocate the same number.
    Raises: NotFound, ResultNotFinal, NotPassed, NumberedAlready, YearImpossible,
        SeriesIsHandedOut, SerialExhausted.
    Source: source-document 0.2, 5.2, 5.3.
    """
    state = world.candidacy(command.application_id)
    first_day = _ensure_final_pass(world, state)
    due = [kind for kind in CertificateKind if is_unnumbered(state, kind)]
    if not due:
        raise NumberedAlready(kind=CertificateKind.NATIONAL.value)
    year = command.year or context.today.year
    _ensure_year(context, year, first_day)
    taken = [_allocate(world, state, kind, year) for kind in due]
    return _numbered(dict(zip(due, taken, strict=True)))


def decide_import_number(world: States, command: ImportNumber, context: Context) -> Decision:
    """A number from the province must be of our site, of the level, and given to nobody else.

    The claim refuses a number that another candidate holds.
    Raises: NotFound, ResultNotFinal, NotPassed, NumberedAlready, InvalidCertificateNumber,
        ForeignNumber, YearImpossible, SeriesIsHandedOut.
    Source: source-document 5.3.
    """
    state = world.candidacy(command.application_id)
    first_day = _ensure_final_pass(world, state)
    if not is_unnumbered(state, CertificateKind.NATIONAL):
        raise NumberedAlready(kind=CertificateKind.NATIONAL.value)
    number = NationalNumber.parse(command.number)
    own = world.ledger().organisation.site_code
    if number.site_code != own or number.grade != state.level:
        raise ForeignNumber(number=str(number), level=int(state.level))
    _ensure_year(context, number.year, first_day)
    series = world.series(series_id(CertificateKind.NATIONAL, number.year, state.level))
    if series.source == "allocated":
        raise SeriesIsHandedOut(series_id=series.id, source="allocated here")
    facts = _take(
        state, CertificateKind.NATIONAL, series.id, str(number), number.serial, "imported"
    )
    taken: dict[CertificateKind, _Taken] = {CertificateKind.NATIONAL: (facts, str(number))}
    if is_unnumbered(state, CertificateKind.OMC):
        omc = _allocate(world, state, CertificateKind.OMC, number.year)
        taken[CertificateKind.OMC] = omc
    return _numbered(taken)


def _reads_of_numbering(
    cached: StateHint, command: NumberCertificates, context: Context
) -> ReadSet:
    year = command.year or context.today.year
    return _reads_of_next(cached, command.application_id, dict.fromkeys(CertificateKind, year))


def _reads_of_import(cached: StateHint, command: ImportNumber, context: Context) -> ReadSet:
    number = NationalNumber.parse(command.number)
    allocated = _reads_of_next(cached, command.application_id, {CertificateKind.OMC: number.year})
    streams = allocated.streams
    if number.grade is not None:
        series = series_id(CertificateKind.NATIONAL, number.year, number.grade)
        streams += (stream_of("series", series),)
    return ReadSet(streams, (), (*allocated.claims, number_claim(str(number))))


def _reads_of_next(
    cached: StateHint, application_id: str, due: dict[CertificateKind, int]
) -> ReadSet:
    """The read set of the next number of each kind, of the given year, for an application."""
    streams = [stream_of("application", application_id), "ledger"]
    claims: list[Claim] = []
    ledger = cached("ledger")
    for state in cached_applications(cached, (application_id,)):
        streams += notice_streams((state,))[-1:]
        for kind, year in due.items():
            of = series_id(kind, year, state.level)
            streams.append(stream_of("series", of))
            if ledger is not None:
                series = cached("series", of) or Series(of)
                number = number_of(kind, ledger, year, state.level, series.last_serial + 1)
                claims.append(number_claim(number))
    return ReadSet(tuple(streams), (), tuple(claims))


NUMBER_CERTIFICATES = CommandSpec(
    NumberCertificates,
    decide_number_certificates,
    _reads_of_numbering,
    roles=frozenset({Role.REGISTRAR}),
)
IMPORT_NUMBER = CommandSpec(
    ImportNumber, decide_import_number, _reads_of_import, roles=frozenset({Role.REGISTRAR})
)

SPECS = (NUMBER_CERTIFICATES, IMPORT_NUMBER)
