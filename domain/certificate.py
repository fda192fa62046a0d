"""Step 5: two certificates, their numbers and what becomes of them (获取证书).

Source: source-document 0.2, 5.2, 5.3.
"""

from __future__ import annotations

from datetime import date

from pydantic import Field

from domain import events as e
from domain.candidacy import Candidacy, Certificate
from domain.decision import Command, Context, Decision, NotFound, World, stream_of
from domain.errors import LedgerError
from domain.events import CertificateKind
from domain.numbers import NationalNumber, format_national, format_omc


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
    """Number {number} is not one of this ledger's site, of year {year} and level {level}."""

    code = "foreign_number"


class SeriesIsHandedOut(LedgerError):
    """Numbers of series {series_id} are {source}; the two ways can't be mixed in one series."""

    code = "series_is_handed_out"


class CertificateOutOfOrder(LedgerError):
    """The {kind} certificate is {progress}, {standing}; this step can't follow."""

    code = "certificate_out_of_order"


class YearDiffers(LedgerError):
    """The number was given for {year}; the certificate must bear a day of that year."""

    code = "year_differs"


class NumberCertificates(Command):
    """Give the next national and OMC numbers to a candidate who passed for good."""

    application_id: e.Id
    year: int | None = Field(default=None, ge=2000, le=2099, description="default: this year")

    def streams(self) -> tuple[str, ...]:
        return (stream_of("application", self.application_id), "ledger")


class ImportNumber(Command):
    """Take over a national number that the province handed out; the OMC one is allocated."""

    application_id: e.Id
    number: e.ShortText

    def streams(self) -> tuple[str, ...]:
        return (stream_of("application", self.application_id), "ledger")


class IssueCertificates(Command):
    """Make and hand out every numbered certificate of an application."""

    application_id: e.Id
    issued_on: date | None = None

    def streams(self) -> tuple[str, ...]:
        return (stream_of("application", self.application_id),)


class _CertificateCommand(Command):
    application_id: e.Id
    kind: CertificateKind

    def streams(self) -> tuple[str, ...]:
        return (stream_of("application", self.application_id),)


class CorrectCertificate(_CertificateCommand):
    """Put the text of a certificate right: same number, next version."""

    reason: e.LongText


class ReissueCertificate(_CertificateCommand):
    """Make a lost or damaged certificate again: same number, next version."""

    reissued_on: date | None = None
    reason: e.LongText


class SuspendCertificate(_CertificateCommand):
    """Stop a certificate from counting for the time being."""

    reason: e.LongText


class ReinstateCertificate(_CertificateCommand):
    """Let a suspended certificate count again."""

    reason: e.LongText


class RevokeCertificate(_CertificateCommand):
    """Make a certificate void for good."""

    reason_class: e.RevocationReason
    reason: e.LongText


def series_id(kind: CertificateKind, year: int, level: int) -> str:
    """A number series: one kind, year and level of a ledger."""
    return f"{kind.value}-{year}-{int(level)}"


def _ensure_final_pass(world: World, state: Candidacy) -> None:
    """Passed, published, period over, row not held. Raises: NotPassed, ResultNotFinal. 5.1, 5.2."""
    if state.notice_id is None or not state.verified:
        raise ResultNotFinal()
    if not state.has_passed():
        raise NotPassed()
    notice = world.notice(state.notice_id)
    current = (
        state.theory.marks if state.theory else None,
        state.practical.marks if state.practical else None,
    )
    if not notice.closed or state.id in notice.withheld or state.published != current:
        raise ResultNotFinal()


def _ensure_unnumbered(state: Candidacy, kind: CertificateKind) -> None:
    if kind in state.certificates:
        raise NumberedAlready(kind=kind.value)


def _take(
    state: Candidacy, kind: CertificateKind, series: str, number: str, serial: int, source: str
) -> tuple[tuple[str, e.Fact], ...]:
    """The serial leaves its series and the certificate gets its number, together."""
    taken = e.SerialTaken(
        series_id=series,
        kind=kind,
        number=number,
        serial=serial,
        application_id=state.id,
        source=source,
    )
    numbered = e.CertificateNumbered(
        application_id=state.id,
        kind=kind,
        number=number,
        person_id=state.person_id,
        source=source,
    )
    return (
        (stream_of("series", series), taken),
        (stream_of("application", state.id), numbered),
    )


def _allocate_omc(
    world: World, state: Candidacy, year: int
) -> tuple[tuple[tuple[str, e.Fact], ...], str]:
    series = world.series(series_id(CertificateKind.OMC, year, state.level))
    serial = series.last_serial + 1
    number = str(format_omc(year, state.level, serial))
    return _take(state, CertificateKind.OMC, series.id, number, serial, "allocated"), number


def decide_number_certificates(
    world: World, command: NumberCertificates, context: Context
) -> Decision:
    """Serials follow one another without gaps, per ledger, year and level.

    The series stands under the ledger's lock, so that two processes never give the same number.
    Raises: NotFound, NotPassed, ResultNotFinal, NumberedAlready, SeriesIsHandedOut,
        SerialExhausted, InvalidCertificateNumber.
    Source: source-document 0.2, 5.2, 5.3.
    """
    state = world.candidacy(command.application_id)
    _ensure_final_pass(world, state)
    _ensure_unnumbered(state, CertificateKind.NATIONAL)
    year = command.year or context.today.year
    series = world.series(series_id(CertificateKind.NATIONAL, year, state.level))
    if series.source == "imported":
        raise SeriesIsHandedOut(series_id=series.id, source="handed out by the province")
    serial = series.last_serial + 1
    number = str(format_national(world.book().opened.site_code, year, state.level, serial))
    facts = _take(state, CertificateKind.NATIONAL, series.id, number, serial, "allocated")
    omc_facts, omc_number = _allocate_omc(world, state, year)
    return Decision(
        facts=facts + omc_facts,
        claims=(("certificate_number", number), ("certificate_number", omc_number)),
        outcome={"national": number, "omc": omc_number},
    )


def decide_import_number(world: World, command: ImportNumber, context: Context) -> Decision:
    """A number from the province must be of our site, of the level, and given to nobody else.

    Raises: NotFound, NotPassed, ResultNotFinal, NumberedAlready, InvalidCertificateNumber,
        ForeignNumber, SeriesIsHandedOut.
    Source: source-document 5.3.
    """
    state = world.candidacy(command.application_id)
    _ensure_final_pass(world, state)
    _ensure_unnumbered(state, CertificateKind.NATIONAL)
    number = NationalNumber.parse(command.number)
    own = world.book().opened.site_code
    if number.site_code != own or number.grade != state.level:
        raise ForeignNumber(number=str(number), year=number.year, level=int(state.level))
    series = world.series(series_id(CertificateKind.NATIONAL, number.year, state.level))
    if series.source == "allocated":
        raise SeriesIsHandedOut(series_id=series.id, source="allocated here")
    facts = _take(
        state, CertificateKind.NATIONAL, series.id, str(number), number.serial, "imported"
    )
    omc_facts, omc_number = _allocate_omc(world, state, number.year)
    return Decision(
        facts=facts + omc_facts,
        claims=(("certificate_number", str(number)), ("certificate_number", omc_number)),
        outcome={"national": str(number), "omc": omc_number},
    )


def number_year(certificate: Certificate) -> int:
    """The year that a certificate's number bears."""
    if certificate.kind is CertificateKind.NATIONAL:
        return NationalNumber.parse(certificate.number).year
    return int(certificate.number.split("-")[1])


def decide_issue_certificates(
    world: World, command: IssueCertificates, context: Context
) -> Decision:
    """Both certificates are issued together, on a day of the year their numbers bear.

    Raises: NotFound, CertificateOutOfOrder, YearDiffers.
    Source: source-document 5.2, 5.3.
    """
    state = world.candidacy(command.application_id)
    waiting = [c for c in state.certificates.values() if c.progress == "numbered"]
    if not waiting:
        raise CertificateOutOfOrder(kind="national", progress="not numbered", standing="or issued")
    issued_on = command.issued_on or context.today
    for certificate in waiting:
        if number_year(certificate) != issued_on.year:
            raise YearDiffers(year=number_year(certificate))
    stream = stream_of("application", state.id)
    return Decision(
        facts=tuple(
            (
                stream,
                e.CertificateIssued(
                    application_id=state.id,
                    kind=c.kind,
                    number=c.number,
                    issued_on=issued_on,
                    version=1,
                ),
            )
            for c in waiting
        ),
        outcome={c.kind.value: c.number for c in waiting},
    )


def find(state: Candidacy, kind: CertificateKind) -> Certificate:
    """The certificate of a kind. Raises: NotFound."""
    certificate = state.certificates.get(kind)
    if certificate is None:
        raise NotFound(what="certificate of kind", id=kind.value)
    return certificate


def _standing(
    world: World, command: _CertificateCommand, allowed: tuple[str, ...]
) -> tuple[Candidacy, Certificate, dict[str, object]]:
    """An issued certificate in one of the allowed standings, and the fields of its next fact."""
    state = world.candidacy(command.application_id)
    certificate = find(state, command.kind)
    if certificate.version == 0 or certificate.standing not in allowed:
        raise CertificateOutOfOrder(
            kind=certificate.kind.value,
            progress=certificate.progress,
            standing=certificate.standing,
        )
    base = {
        "application_id": state.id,
        "kind": certificate.kind,
        "number": certificate.number,
    }
    return state, certificate, base


def decide_correct(world: World, command: CorrectCertificate, context: Context) -> Decision:
    """The number stays; the new version has to be reported again as a correction.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3), 5.3.
    """
    state, certificate, base = _standing(world, command, ("valid", "suspended"))
    fact = e.CertificateCorrected(**base, version=certificate.version + 1, reason=command.reason)
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_reissue(world: World, command: ReissueCertificate, context: Context) -> Decision:
    """A lost certificate keeps its number and gets the next version.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 5.3.
    """
    state, certificate, base = _standing(world, command, ("valid",))
    fact = e.CertificateReissued(
        **base,
        version=certificate.version + 1,
        reissued_on=command.reissued_on or context.today,
        reason=command.reason,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_suspend(world: World, command: SuspendCertificate, context: Context) -> Decision:
    """Only a valid certificate is suspended; the public sees it at once.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3).
    """
    state, _, base = _standing(world, command, ("valid",))
    fact = e.CertificateSuspended(**base, reason=command.reason)
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_reinstate(world: World, command: ReinstateCertificate, context: Context) -> Decision:
    """Only a suspended certificate is reinstated; a revoked one never is.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3).
    """
    state, _, base = _standing(world, command, ("suspended",))
    fact = e.CertificateReinstated(**base, reason=command.reason)
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_revoke(world: World, command: RevokeCertificate, context: Context) -> Decision:
    """Revoked for good, with a reason the public sees; the number is never given again.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3), 5.3.
    """
    state, _, base = _standing(world, command, ("valid", "suspended"))
    fact = e.CertificateRevoked(**base, reason_class=command.reason_class, reason=command.reason)
    return Decision(facts=((stream_of("application", state.id), fact),))
