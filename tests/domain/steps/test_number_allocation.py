"""The numbers of certificates: one after the other, or taken over from the province (证书编号)."""

import pytest

from domain import events as e
from domain.decision import NotFound
from domain.events import CertificateKind, RevocationReason, Subject
from domain.steps.certificate import RevokeCertificate
from domain.steps.number_allocation import (
    ForeignNumber,
    ImportNumber,
    NotPassed,
    NumberCertificates,
    NumberedAlready,
    ResultNotFinal,
    SeriesIsHandedOut,
    YearImpossible,
)
from domain.store.errors import ClaimTaken
from domain.values.certificate_numbers import (
    InvalidCertificateNumber,
    NationalNumber,
    ObsoleteDraftNumber,
    OldQualificationNumber,
    OmcNumber,
    SerialExhausted,
)
from tests.support.actors import REGISTRAR, VERIFIER
from tests.support.commands import (
    CLOSED_AT,
    ISSUED_AT,
    PASSED,
    close,
    correct,
    publish,
    verify,
    when,
)
from tests.support.journeys import (
    an_enrolled_application,
    final_results,
    issued_certificates,
    numbered_certificates,
    published_results,
    verified_scores,
)
from tests.support.world import World, given

NATIONAL, OMC = CertificateKind.NATIONAL, CertificateKind.OMC
SITE = "S000033000123"
FAILED = ("59.5", "100")


def number(n: int = 1, **changed: object) -> NumberCertificates:
    return NumberCertificates(application_id=f"A{n}", **changed)


def take_over(text: str = f"{SITE}264000017", n: int = 1) -> ImportNumber:
    return ImportNumber(application_id=f"A{n}", number=text)


def revoke(kind: CertificateKind, because: RevocationReason, n: int = 1) -> RevokeCertificate:
    return RevokeCertificate(
        application_id=f"A{n}", kind=kind, reason_class=because, reason="编号录入错误"
    )


def taken(series: str, text: str, serial: int, source: str, n: int = 1) -> tuple[e.Fact, e.Fact]:
    kind = CertificateKind(series.split("-")[0])
    return (
        e.SerialTaken(
            series_id=series,
            kind=kind,
            number=text,
            serial=serial,
            application_id=f"A{n}",
            person_id=f"P{n}",
            source=source,
        ),
        e.CertificateNumbered(
            application_id=f"A{n}", kind=kind, number=text, person_id=f"P{n}", source=source
        ),
    )


# --- allocation -----------------------------------------------------------------------------------


def test_who_passed_for_good_gets_a_national_and_an_omc_number():
    """Source: source-document 0.2, 5.2, 5.3."""
    given(final_results()).when(number(), by=REGISTRAR, at=ISSUED_AT).returns(
        national=f"{SITE}264000001", omc="OMC-2026-4-0000001-H"
    ).then(
        *taken("national-2026-4", f"{SITE}264000001", 1, "allocated"),
        *taken("omc-2026-4", "OMC-2026-4-0000001-H", 1, "allocated"),
    )


def test_both_numbers_say_what_they_are():
    """Source: source-document 0.3, 5.2, 5.3."""
    certificates = numbered_certificates().candidacy("A1").certificates
    national = NationalNumber.parse(certificates[NATIONAL].number)
    assert (national.site_code, national.year, national.level) == (SITE, 2026, "4")
    omc = OmcNumber.parse(certificates[OMC].number)
    assert (omc.year, int(omc.level), omc.serial) == (2026, 4, 1)


def test_serials_follow_one_another_without_gaps():
    """Source: source-document 5.3."""
    world = numbered_certificates(PASSED, PASSED, PASSED)
    for kind in CertificateKind:
        serials = [f.serial for f in world.facts(e.SerialTaken) if f.kind is kind]
        assert serials == [1, 2, 3]


def test_a_year_begins_its_own_series():
    """Source: source-document 5.3."""
    world = final_results(PASSED, PASSED)
    world.do(number(1), at=ISSUED_AT)
    given(world).when(number(2), at=when("2027-01-04 09:00")).returns(
        national=f"{SITE}274000001", omc=str(OmcNumber(year=2027, level=4, serial=1))
    )


def test_a_number_may_bear_the_year_in_which_the_result_became_final():
    """Source: source-document 5.3."""
    world = final_results()
    given(world).when(number(year=2026), at=when("2027-01-04 09:00")).returns(
        national=f"{SITE}264000001"
    )


@pytest.mark.parametrize("year", [2000, 2025, 2027, 2099])
def test_no_number_bears_a_year_in_which_it_could_not_be_issued(year):
    given(final_results()).when(number(year=year), at=ISSUED_AT).fails(
        YearImpossible, year=year, earliest=2026, latest=2026
    )


def full(series: str, serial: int) -> e.SerialTaken:
    return taken(series, "the last one", serial, "allocated", 9)[0]


def test_the_last_serial_is_given_and_the_next_refused():
    """Source: source-document 5.3."""
    world = final_results(PASSED)
    given(world, full("national-2026-4", 999_998)).when(number(), at=ISSUED_AT).returns(
        national=f"{SITE}264999999"
    )
    given(world, full("national-2026-4", 999_999)).when(number(), at=ISSUED_AT).fails(
        SerialExhausted, serial_max=999_999
    )
    given(world, full("omc-2026-4", 9_999_999)).when(number(), at=ISSUED_AT).fails(
        SerialExhausted, serial_max=9_999_999
    )


# --- who gets none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair", [FAILED, ("100", "59.5"), (None, "100"), ("100", None), ("0", "0")]
)
def test_who_did_not_pass_gets_no_number(pair):
    """Source: source-document 4.3(3), 5.2."""
    given(final_results(pair)).when(number()).fails(NotPassed)
    given(final_results(pair)).when(take_over()).fails(NotPassed)


def test_no_number_is_given_before_the_notice_is_closed():
    """Source: source-document 5.1, 5.2."""
    for world in (an_enrolled_application(), verified_scores(PASSED), published_results()):
        given(world).when(number()).fails(ResultNotFinal)
        given(world).when(take_over()).fails(ResultNotFinal)
    given(published_results()).when(number(), at=CLOSED_AT).fails(ResultNotFinal)


def test_a_result_that_is_not_final_is_refused_before_one_that_fails():
    given(published_results(FAILED)).when(number()).fails(ResultNotFinal)


def test_a_correction_after_the_notice_takes_finality_away():
    """Source: source-document 5.1, 5.2."""
    world = final_results()
    world.do(correct(Subject.THEORY, "90"))
    given(world).when(number()).fails(ResultNotFinal)
    world.do(verify("90", "65.5"), by=VERIFIER)
    given(world).when(number()).fails(ResultNotFinal)
    world.do(publish("N2"), at=ISSUED_AT)
    world.do(close("N2"), at=when("2026-10-23 00:00"))
    given(world).when(number()).then_kinds(*[e.SerialTaken, e.CertificateNumbered] * 2)


def test_a_certificate_is_numbered_once():
    given(numbered_certificates()).when(number()).fails(NumberedAlready)
    given(numbered_certificates()).when(take_over()).fails(NumberedAlready)


def test_an_unknown_application_gets_no_number():
    given().when(number()).fails(NotFound)
    given().when(take_over()).fails(NotFound)


# --- numbers from the province --------------------------------------------------------------------


def test_a_number_that_the_province_handed_out_is_taken_over():
    """Source: source-document 5.3."""
    given(final_results()).when(take_over(f" {SITE}-26-4-000017 "), at=ISSUED_AT).returns(
        national=f"{SITE}264000017", omc="OMC-2026-4-0000001-H"
    ).then(
        *taken("national-2026-4", f"{SITE}264000017", 17, "imported"),
        *taken("omc-2026-4", "OMC-2026-4-0000001-H", 1, "allocated"),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("S000033000124264000017", id="another site"),
        pytest.param("S001336000123264000017", id="another province"),
        pytest.param("Y000033000123264000017", id="another category"),
        pytest.param(f"{SITE}263000017", id="another level"),
        pytest.param(f"{SITE}26T000017", id="no level at all"),
    ],
)
def test_a_number_of_another_site_or_level_is_foreign(text):
    """Source: source-document 5.3."""
    given(final_results()).when(take_over(text), at=ISSUED_AT).fails(ForeignNumber, level=4)


@pytest.mark.parametrize("year", ["25", "27", "99"])
def test_a_number_of_another_year_is_not_taken_over(year):
    """Source: source-document 5.3."""
    given(final_results()).when(take_over(f"{SITE}{year}4000017"), at=ISSUED_AT).fails(
        YearImpossible
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"{SITE}264000000", InvalidCertificateNumber),
        ("nonsense", InvalidCertificateNumber),
        ("OMC-2026-4-0000001-H", InvalidCertificateNumber),
        ("RGN33010012326400001", ObsoleteDraftNumber),
        ("2311003001400001", OldQualificationNumber),
    ],
)
def test_what_is_no_national_number_is_not_taken_over(text, error):
    """Source: source-document 5.3."""
    given(final_results()).when(take_over(text), at=ISSUED_AT).fails(error)


def test_a_number_that_somebody_holds_is_not_taken_over():
    """Source: source-document 5.3."""
    world = final_results(PASSED, PASSED)
    world.do(take_over(), at=ISSUED_AT)
    given(world).when(take_over(n=2)).fails(ClaimTaken, kind="certificate_number")


def test_the_province_hands_numbers_out_in_any_order():
    """Source: source-document 5.3."""
    world = final_results(PASSED, PASSED)
    world.do(take_over(), at=ISSUED_AT)
    world.do(take_over(f"{SITE}264000003", 2))
    assert world.series("national-2026-4").last_serial == 17


def test_numbers_of_a_series_are_either_allocated_or_taken_over():
    """Source: source-document 5.3."""
    world = final_results(PASSED, PASSED)
    here, there = world.copy(), world.copy()
    here.do(number(), at=ISSUED_AT)
    given(here).when(take_over(n=2)).fails(SeriesIsHandedOut, series_id="national-2026-4")
    there.do(take_over(), at=ISSUED_AT)
    given(there).when(number(2)).fails(SeriesIsHandedOut, series_id="national-2026-4")


def test_refusals_of_a_number_come_in_their_order():
    given(published_results(FAILED)).when(take_over("nonsense")).fails(ResultNotFinal)
    given(final_results(FAILED)).when(take_over("nonsense")).fails(NotPassed)
    given(numbered_certificates()).when(take_over("nonsense")).fails(NumberedAlready)
    world = given(final_results(), full("national-2026-4", 4))
    world.when(take_over("nonsense"), at=ISSUED_AT).fails(InvalidCertificateNumber)
    world.when(take_over("S000033000124994000017"), at=ISSUED_AT).fails(ForeignNumber)
    world.when(take_over(f"{SITE}994000017"), at=ISSUED_AT).fails(YearImpossible)
    world.when(take_over(), at=ISSUED_AT).fails(SeriesIsHandedOut)
    given(numbered_certificates()).when(number(year=2099)).fails(NumberedAlready)


# --- numbers after a revocation -------------------------------------------------------------------


def test_a_certificate_issued_in_error_gets_the_next_number_and_never_its_own_again():
    """Source: source-document 3.2(3), 5.3."""
    world = issued_certificates()
    for kind in CertificateKind:
        world.do(revoke(kind, RevocationReason.ISSUED_IN_ERROR))
    given(world).when(number()).returns(
        national=f"{SITE}264000002", omc=str(OmcNumber(year=2026, level=4, serial=2))
    )
    assert world.claimed("certificate_number", f"{SITE}264000001")


@pytest.mark.parametrize("wrong", list(CertificateKind))
def test_the_other_certificate_keeps_its_number(wrong):
    """Source: source-document 5.2."""
    world = issued_certificates()
    right = NATIONAL if wrong is OMC else OMC
    kept = world.candidacy("A1").certificates[right]
    world.do(revoke(wrong, RevocationReason.ISSUED_IN_ERROR))
    after = given(world).when(number()).then_kinds(e.SerialTaken, e.CertificateNumbered)
    assert after.candidacy("A1").certificates[right] == kept
    assert after.candidacy("A1").certificates[wrong].standing == "valid"


@pytest.mark.parametrize(
    "because", [r for r in RevocationReason if r is not RevocationReason.ISSUED_IN_ERROR]
)
def test_a_certificate_revoked_for_any_other_reason_is_never_replaced(because):
    """Source: source-document 3.2(3)."""
    world = issued_certificates()
    for kind in CertificateKind:
        world.do(revoke(kind, because))
    given(world).when(number()).fails(NumberedAlready)
    given(world).when(take_over()).fails(NumberedAlready)


def test_a_mistyped_number_is_revoked_before_issue_and_imported_again():
    """Source: source-document 5.3."""
    world = final_results()
    world.do(take_over(f"{SITE}264000071"), at=ISSUED_AT)
    world.do(revoke(NATIONAL, RevocationReason.ISSUED_IN_ERROR))
    after = (
        given(world)
        .when(take_over(f"{SITE}264000017"))
        .then_kinds(e.SerialTaken, e.CertificateNumbered)
    )
    assert after.candidacy("A1").certificates[NATIONAL].number == f"{SITE}264000017"


def test_a_score_under_certificates_issued_in_error_is_corrected_and_numbered_again():
    """Source: source-document 5.1, 5.2."""
    world: World = issued_certificates()
    for kind in CertificateKind:
        world.do(revoke(kind, RevocationReason.ISSUED_IN_ERROR))
    world.do(correct(Subject.THEORY, "90"))
    world.do(verify("90", "65.5"), by=VERIFIER)
    world.do(publish("N2"))
    given(world).when(number()).fails(ResultNotFinal)
    world.do(close("N2"), at=when("2026-11-02 09:00"))
    given(world).when(number()).returns(national=f"{SITE}264000002")
