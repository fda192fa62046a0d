"""What the certificate registry answers: to whom who knows enough, and nothing to others.

Covers: projections/certificate_registry/view.py, projections/certificate_registry/tables.py,
projections/certificate_registry/queries.py, projections/certificate_registry/public_record.py,
projections/engine/row_seals.py
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from domain.events import CertificateIssued, CertificateKind, LedgerOpened, RevocationReason
from domain.steps import certificate as c
from domain.steps.authority_report import AnswerReportRow, RecordVisibility
from domain.store.errors import RecordOutdated, ViewWrong
from domain.store.keys.seals import Sealer, seal_key
from domain.store.privacy.blind_index import BlindIndexes
from domain.values.certificate_links import LinkKeys, link_of
from domain.values.identity_documents import DocumentType, same_person_key
from projections.certificate_registry import public_record
from projections.certificate_registry import queries as q
from projections.certificate_registry.standing_changes import RecordChecks, StandingChanges
from projections.engine.view import ERASED
from projections.engine.wrong_views import WrongViews
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import REGISTRAR
from tests.support.commands import PASSED, correct_person, destroyed, document_of, national_number
from tests.support.journeys import (
    issued_certificates,
    numbered_certificates,
    reported_certificates,
)
from tests.support.ledgers import SECRETS
from tests.support.world import World

NATIONAL, OMC = CertificateKind.NATIONAL, CertificateKind.OMC
NUMBER = "S000033000123264000001"
INDEXES = BlindIndexes(SECRETS.index_key, SECRETS.algorithm)
LINK_KEY = SECRETS.link_keys.active


def step(cls: type[Any], kind: CertificateKind = NATIONAL, **more: Any) -> Any:
    return cls(application_id="A1", kind=kind, reason="按规定办理", **more)


def revoke(reason: RevocationReason = RevocationReason.EXAM_FRAUD) -> Any:
    return step(c.RevokeCertificate, reason_class=reason)


def checks(sealer: Sealer = SECRETS.sealer) -> RecordChecks:
    return RecordChecks(sealer.row_keys(), StandingChanges(), WrongViews())


def indexes(world: World, n: int = 1, country: str | None = None) -> dict[str, tuple[str, ...]]:
    """Name and document of candidate n, as the asker's words would be indexed."""
    who = world.identity(f"P{n}")
    key = same_person_key(who.document_type, who.document_number, country)
    name, document = INDEXES.blind_index("name", who.name), INDEXES.blind_index("document", key)
    return {"names": (name,), "documents": (document,)}


def stored(ledger: ProjectedLedger, indexes: Iterable[str]) -> tuple[str, ...]:
    """Blind indexes as the tables have them."""
    return tuple(form for index in indexes for form in ledger.indexes.forms(index))


def found(ledger: ProjectedLedger, **asked: Any) -> list[dict[str, Any]]:
    """What a lookup finds. names, documents: blind indexes, searched as they are stored."""
    for each in asked.keys() & {"names", "documents"}:
        asked[each] = stored(ledger, asked[each])
    with ledger.cursor() as cursor:
        return list(map(public_record.for_page, q.lookup(cursor, checks(), **asked)))


def shown_by(ledger: ProjectedLedger, link: str) -> dict[str, Any]:
    """What everybody sees by a link, and whether it was replaced."""
    with ledger.cursor() as cursor:
        row = q.verify(cursor, link, checks())
    assert row is not None
    return public_record.for_page(row.answer) | {"replaced": row.replaced}


def current(ledger: ProjectedLedger, kind: CertificateKind = NATIONAL) -> dict[str, Any]:
    return ledger.row("certificates", kind=kind.value)


def token(version: int, kind: CertificateKind = NATIONAL, number: str = NUMBER) -> str:
    """The link of a version, computed by itself. Source: source-document 5.3."""
    named = json.dumps(["omc", kind.value, number, version], separators=(",", ":"))
    message = b"certledger link v1\0" + named.encode()
    digits = hmac.new(LINK_KEY, message, hashlib.sha256).hexdigest()[:32]
    name = hmac.new(LINK_KEY, b"certledger key id v1\0link", hashlib.sha256).hexdigest()[:2]
    return f"omc-{name}{digits}"


# --- finding -------------------------------------------------------------------------------------


def test_any_two_of_number_name_and_document_find_a_certificate(ledger: ProjectedLedger) -> None:
    """Source: source-document 5.3."""
    world = issued_certificates()
    ledger.record(world).fold()
    known = indexes(world)
    for asked in (
        {"number": NUMBER, "names": known["names"]},
        {"number": NUMBER, "documents": known["documents"]},
        {"number": NUMBER, **known},
    ):
        assert [r["number"] for r in found(ledger, **asked)] == [NUMBER], asked
    assert [r["kind"] for r in found(ledger, **known)] == ["national", "omc"], "one may have many"


def test_a_passport_is_found_with_its_country_and_without_one(ledger: ProjectedLedger) -> None:
    """Source: source-document 3.1(1), 5.3."""
    world = issued_certificates()
    named = {"document_type": DocumentType.PASSPORT, "document_number": "X1234567"}
    world.do(correct_person(**named, document_country="FRA"), by=REGISTRAR)
    ledger.record(world).fold()
    name = {"names": indexes(world)["names"]}
    anywhere = INDEXES.blind_index("document", "passport:X1234567")
    assert len(found(ledger, **indexes(world, country="FRA"))) == 2
    assert len(found(ledger, **name, documents=(anywhere,))) == 2
    assert len(found(ledger, number=NUMBER, documents=(anywhere,))) == 1
    of_another = INDEXES.blind_index("document", "passport:USA:X1234567")
    assert found(ledger, **name, documents=(of_another,)) == []
    world.append(destroyed())
    ledger.record(world).fold()
    assert found(ledger, **name, documents=(anywhere,)) == []


@pytest.mark.parametrize("given", ["number", "names", "documents"])
def test_one_criterion_alone_finds_nothing(ledger: ProjectedLedger, given: str) -> None:
    """Numbers have no check digit: a typo is another person's number."""
    world = issued_certificates()
    ledger.record(world).fold()
    assert found(ledger, **{given: ({"number": NUMBER} | indexes(world))[given]}) == []
    assert found(ledger) == []


def test_criteria_that_do_not_match_find_nothing(ledger: ProjectedLedger) -> None:
    world = issued_certificates(PASSED, PASSED)
    ledger.record(world).fold()
    other = indexes(world, 2)
    assert found(ledger, number=NUMBER, names=other["names"]) == []
    mixed = indexes(world) | {"names": other["names"]}
    assert found(ledger, number=NUMBER, **mixed) == []
    assert found(ledger, **mixed) == []


def test_a_public_record_shows_the_certificate_and_only_masked_personal_data(
    ledger: ProjectedLedger,
) -> None:
    """Source: source-document 5.2, 5.3."""
    world = issued_certificates()
    ledger.record(world).fold()
    (shown,) = found(ledger, number=NUMBER, names=indexes(world)["names"])
    assert shown["masked_name"] == "钱*"
    assert shown["masked_number"] == document_of(1)[:3] + "*" * 13 + document_of(1)[-2:]
    assert (shown["occupation"], shown["occupation_name"]) == ("4-01-02-07", "互联网营销师")
    assert (shown["level"], shown["edition"], shown["theory"], shown["practical"]) == (
        4, "2021", "72", "65.5"
    )  # fmt: skip
    assert (shown["issued_on"], shown["standing"]) == (date(2026, 10, 15), "valid")
    assert shown["organisation_name"] == "浙江今日头条科技有限公司"
    assert not {"person_id", "application_id", "name_index", "document_index"} & set(shown)
    assert document_of(1) not in str(shown)


def test_a_certificate_that_is_not_issued_is_not_public(ledger: ProjectedLedger) -> None:
    world = numbered_certificates()
    ledger.record(world).fold()
    assert found(ledger, number=NUMBER, **indexes(world)) == []
    assert found(ledger, **indexes(world)) == []
    with ledger.cursor() as cursor:
        staff = q.of_application(cursor, "omc", "A1", checks())
        assert [(r["kind"], r["progress"]) for r in staff] == [
            ("national", "numbered"), ("omc", "numbered")
        ]  # fmt: skip
        assert q.statistics(cursor, "omc") == []


def test_a_batch_of_keys_is_one_query(ledger: ProjectedLedger) -> None:
    world = issued_certificates(PASSED, PASSED, PASSED)
    ledger.record(world).fold()
    numbers = [national_number(world, n) for n in (1, 2, 3)]
    with ledger.cursor() as cursor:
        rows = q.by_numbers(cursor, [*numbers, "S000033000123264999999"], checks())
        rows.sort()
        assert [r.number for r in rows] == numbers
        documents = stored(
            ledger, (index for n in (1, 3) for index in indexes(world, n)["documents"])
        )
        found = q.by_documents(cursor, documents, checks())
    assert len(found) == 4
    names = (*stored(ledger, indexes(world, 2)["names"]), "hmac-sm3:0")
    assert q.matches(rows[1], number=numbers[1], names=names)
    assert q.matches(rows[1], number=numbers[1], names=names[::-1])
    assert not q.matches(rows[1], number=numbers[0], names=names)
    assert not q.matches(rows[1], number=numbers[1], names=names[1:])
    assert not q.matches(rows[1], number=numbers[1])


def test_lookups_span_all_ledgers(open_ledger: Callable[..., ProjectedLedger]) -> None:
    """Both organisations number their own kind alike; the national numbers differ by site."""
    worlds = {"omc": issued_certificates(), "zju": issued_certificates()}
    ledgers = [open_ledger(name).record(world).fold() for name, world in worlds.items()]
    with ledgers[0].cursor() as cursor:
        names = stored(ledgers[0], indexes(worlds["omc"])["names"])
        rows = q.lookup(cursor, checks(), number="OMC-2026-4-0000001-H", names=names)
        assert [public_record.decode(r)["ledger"] for r in rows] == ["omc", "zju"]
        listed = [q.listed(cursor, ledger, "omc", checks())[0] for ledger in ("omc", "zju")]
        tokens = [r["verify_token"] for r in listed]
        assert len(set(tokens)) == 2
        assert not any(link in str(rows) for link in tokens), "no part of what is looked up"
        assert shown_by(ledgers[0], tokens[1])["ledger"] == "zju"


# --- the link ------------------------------------------------------------------------------------


def test_the_printed_link_alone_finds_the_certificate(ledger: ProjectedLedger) -> None:
    ledger.record(issued_certificates()).fold()
    printed = current(ledger)["verify_token"]
    assert printed == token(1)
    shown = shown_by(ledger, printed)
    assert (shown["number"], shown["replaced"]) == (NUMBER, False)
    with ledger.cursor() as cursor:
        assert q.verify(cursor, "omc-aa" + "0" * 32, checks()) is None
    events = b"".join(event.envelope for event in ledger.journal.events())
    assert printed.encode() not in events, "the journal is published; the link is not in it"


def test_the_link_of_an_old_version_reports_the_replacement(ledger: ProjectedLedger) -> None:
    world = issued_certificates()
    world.do(step(c.ReissueCertificate), by=REGISTRAR)
    ledger.record(world).fold()
    old, new = shown_by(ledger, token(1)), shown_by(ledger, token(2))
    assert (old["replaced"], new["replaced"]) == (True, False)
    assert old["version"] == 2


def test_a_link_of_a_retired_key_still_opens_the_certificate(ledger: ProjectedLedger) -> None:
    """Or a new key would make every printed QR code a dead one."""
    retired = SECRETS.link_keys.active
    renewed = replace(SECRETS, link_keys=LinkKeys(b"n" * 32, (retired,)))
    world = issued_certificates()
    world.do(step(c.ReissueCertificate), by=REGISTRAR)
    ledger.record(world).fold(secrets=renewed)
    printed = current(ledger)["verify_token"]
    assert printed == link_of(b"n" * 32, "omc", "national", NUMBER, 2)
    for link, replaced in ((printed, False), (token(2), False), (token(1), True)):
        assert shown_by(ledger, link)["replaced"] is replaced


def test_a_public_record_shows_the_standing_and_since_when(ledger: ProjectedLedger) -> None:
    """Source: source-document 3.2(3)."""
    world = issued_certificates()
    for command, standing in (
        (step(c.SuspendCertificate), "suspended"),
        (step(c.ReinstateCertificate), "valid"),
        (revoke(), "revoked"),
    ):
        world.do(command, by=REGISTRAR)
        ledger.record(world).fold()
        assert current(ledger)["standing"] == standing
        assert current(ledger)["current_since"] == world.now
    assert current(ledger)["reason_class"] == "exam_fraud"
    assert current(ledger, OMC)["standing"] == "valid", "the other certificate is another one"


def test_a_revoked_certificate_is_still_found_as_revoked(ledger: ProjectedLedger) -> None:
    world = issued_certificates()
    world.do(revoke(), by=REGISTRAR)
    ledger.record(world).fold()
    (shown,) = found(ledger, number=NUMBER, names=indexes(world)["names"])
    assert (shown["standing"], shown["reason_class"]) == ("revoked", "exam_fraud")
    assert "reason" not in shown, "its words are not for everybody"


def test_progress_from_report_to_visibility_is_recorded(ledger: ProjectedLedger) -> None:
    """Source: source-document 5.3."""
    world = reported_certificates()
    assert current(ledger.record(world).fold())["progress"] == "reported"
    world.do(AnswerReportRow(report_id="R1", number=NUMBER, accepted=True), by=REGISTRAR)
    assert current(ledger.record(world).fold())["progress"] == "accepted"
    for scope in ("province", "nation"):
        world.do(RecordVisibility(application_id="A1", scope=scope), by=REGISTRAR)
    row = current(ledger.record(world).fold())
    assert (row["progress"], row["report_id"]) == ("visible", "R1")
    assert row["seen_province_on"] == row["seen_nation_on"] == date(2026, 10, 15)
    world.do(step(c.CorrectCertificate), by=REGISTRAR)
    row = current(ledger.record(world).fold())
    assert (row["progress"], row["version"], row["seen_nation_on"]) == ("issued", 2, None)


def test_history_answers_for_a_moment_and_as_of_a_moment(ledger: ProjectedLedger) -> None:
    world = issued_certificates()
    issued_at = world.now
    before = ledger.record(world).fold().journal.head()
    world.do(revoke(), by=REGISTRAR, at=issued_at + timedelta(days=2))
    ledger.record(world).fold()
    with ledger.cursor() as cursor:

        def standing(moment: Any, **as_of: Any) -> str | None:
            row = q.standing_on(cursor, "omc", NUMBER, moment, checks(), **as_of)
            return row and row["standing"]

        assert standing(issued_at - timedelta(days=1)) is None
        assert standing(issued_at) == "valid"
        assert standing(issued_at + timedelta(days=1)) == "valid"
        assert standing(issued_at + timedelta(days=2)) == "revoked"
        assert standing(issued_at + timedelta(days=2), as_of=before.position) == "valid"
        assert standing(issued_at + timedelta(days=2), as_of=before.recorded_at) == "valid"
        events = [r["event"] for r in q.history(cursor, "omc", NUMBER, checks())]
        assert events == ["numbered", "issued", "revoked"]
        then = q.history(cursor, "omc", NUMBER, checks(), as_of=before.position)
        assert [r["event"] for r in then] == ["numbered", "issued"]


# --- persons -------------------------------------------------------------------------------------


def test_a_corrected_name_matches_and_the_old_one_does_not(ledger: ProjectedLedger) -> None:
    world = issued_certificates()
    old = indexes(world)
    world.do(correct_person(name="钱壹"), by=REGISTRAR)
    ledger.record(world).fold()
    new = indexes(world)
    assert new["names"] == (INDEXES.blind_index("name", "钱壹"),) != old["names"]
    assert found(ledger, number=NUMBER, names=old["names"]) == []
    assert len(found(ledger, number=NUMBER, names=new["names"])) == 1


def test_an_erased_person_s_certificate_is_found_by_its_link_only(ledger: ProjectedLedger) -> None:
    world = issued_certificates()
    known = indexes(world)
    world.append(destroyed())
    ledger.record(world).fold()
    assert found(ledger, number=NUMBER, **known) == []
    assert found(ledger, number=NUMBER, names=known["names"]) == []
    assert found(ledger, **known) == []
    shown = shown_by(ledger, token(1))
    assert (shown["masked_name"], shown["masked_number"]) == (ERASED, ERASED)
    assert shown["standing"] == "valid"
    assert all(each["name_index"] is None for each in ledger.rows("certificates"))


def test_the_row_contains_the_current_public_record_after_every_event(
    ledger: ProjectedLedger,
) -> None:
    """The answer is made when a row is written, so each kind of change has to write it."""
    world = issued_certificates(PASSED, PASSED)
    happened: list[Callable[[], Any]] = [
        lambda: None,
        lambda: world.do(step(c.SuspendCertificate), by=REGISTRAR),
        lambda: world.do(correct_person(name="钱壹壹"), by=REGISTRAR),
        lambda: world.do(step(c.ReinstateCertificate), by=REGISTRAR),
        lambda: world.do(step(c.CorrectCertificate), by=REGISTRAR),
        lambda: world.do(step(c.ReissueCertificate), by=REGISTRAR),
        lambda: world.do(revoke(), by=REGISTRAR),
        lambda: world.append(destroyed()),
    ]
    answers = set()
    for happens in happened:
        happens()
        ledger.record(world).fold()
        for row in ledger.rows("certificates"):
            shown = public_record.for_page(row["answer"])
            assert shown == {name: row[name] for name in public_record.PUBLIC_COLUMNS}
        answers.add(ledger.row("certificates", number=NUMBER)["answer"])
    assert len(answers) == len(happened), "each event is checked"


def test_a_certificate_that_is_not_issued_has_no_public_record(ledger: ProjectedLedger) -> None:
    ledger.record(numbered_certificates()).fold()
    assert {row["answer"] for row in ledger.rows("certificates")} == {None}


# --- counting ------------------------------------------------------------------------------------


def test_a_zero_character_in_a_name_does_not_stop_the_registry(ledger: ProjectedLedger) -> None:
    """A column cannot hold it: the row that is read again is not the row that was written."""
    world = issued_certificates()
    opened = next(entry for entry in world.entries if isinstance(entry.fact, LedgerOpened))
    fact = opened.fact.model_copy(update={"organisation_name": "评价\0机构"})
    world.entries[world.entries.index(opened)] = replace(opened, fact=fact)
    facts = [type(entry.fact) for entry in world.entries]
    ledger.record(world).fold(batch=facts.index(CertificateIssued))
    assert (
        found(ledger, number=NUMBER, **indexes(world))[0]["organisation_name"] == "评价\ufffd机构"
    )


def test_statistics_count_valid_certificates_by_level_occupation_and_month(
    ledger: ProjectedLedger,
) -> None:
    """Source: source-document 5.4."""
    world = issued_certificates(PASSED, PASSED, PASSED)
    world.do(revoke(), by=REGISTRAR)
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        assert q.statistics(cursor, "omc") == [
            {"level": 4, "occupation": "4-01-02-07", "occupation_name": "互联网营销师",
             "month": "2026-10", "certificates": 2}
        ]  # fmt: skip
        assert q.statistics(cursor, "omc", issued=(date(2026, 11, 1), None)) == []
        assert q.statistics(cursor, "omc", kind="omc")[0]["certificates"] == 3
        counted = {
            (r["kind"], r["standing"]): r["certificates"] for r in q.standings(cursor, "omc")
        }
    assert counted == {("national", "valid"): 2, ("national", "revoked"): 1, ("omc", "valid"): 3}


def test_staff_lists_are_paged(ledger: ProjectedLedger) -> None:
    ledger.record(issued_certificates(PASSED, PASSED, PASSED)).fold()
    numbers: list[str] = []
    with ledger.cursor() as cursor:
        while page := q.listed(
            cursor, "omc", "national", checks(), after=numbers[-1] if numbers else None, limit=2
        ):
            numbers += [r["number"] for r in page]
        assert q.listed(cursor, "omc", "national", checks(), standing="revoked") == []
        assert len(q.listed(cursor, "omc", "omc", checks(), progress=("issued",))) == 3
    assert numbers == [f"S000033000123264{n:06d}" for n in (1, 2, 3)]


# --- the seal of a row ----------------------------------------------------------------------------

FORGERIES = {
    "standing and answer": "standing = 'valid', reason_class = NULL, "
    """answer = replace(replace(answer, '"revoked"', '"valid"'), '"exam_fraud"', 'null')""",
    "answer": """answer = replace(answer, '"revoked"', '"valid"')""",
    "another holder's name": "name_index = repeat('0', 64)",
    "another holder's document": "document_index = repeat('0', 64)",
    "another holder's passport": "passport_index = repeat('0', 64)",
    "another link": "verify_token = repeat('0', 32)",
    "another position": "position = position + 1",
    "another holder": "person_id = 'P2'",
    "holder's data of another event": "holder_position = holder_position + 1",
    "another history": "history_sha256 = repeat('0', 64)",
    "no seal": "seal = NULL",
    "another seal": "seal = repeat('0', 64)",
    "no hexadecimal seal": "seal = 'x'",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_row_that_its_events_did_not_make_is_not_shown(
    ledger: ProjectedLedger, forgery: str
) -> None:
    world = issued_certificates()
    world.do(revoke(), by=REGISTRAR)
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        assert len(q.of_application(cursor, "omc", "A1", checks())) == 2
        assert q.by_numbers(cursor, [NUMBER], checks())
    ledger.execute(f"UPDATE views.certificates SET {forgery} WHERE kind = 'national'")
    with ledger.cursor() as cursor:
        for ask in (
            lambda: q.by_numbers(cursor, [NUMBER], checks()),
            lambda: q.of_application(cursor, "omc", "A1", checks()),
            lambda: q.listed(cursor, "omc", "national", checks()),
        ):
            with pytest.raises(ViewWrong):
                ask()
        assert q.by_numbers(cursor, ["OMC-2026-4-0000001-H"], checks()), "only what differs"


def test_a_row_sealed_under_a_retired_key_is_shown(ledger: ProjectedLedger) -> None:
    ledger.record(issued_certificates()).fold()
    newer = Sealer(seal_key(b"n" * 32), [SECRETS.sealer.active])
    other = Sealer(seal_key(b"n" * 32))
    with ledger.cursor() as cursor:
        assert q.by_numbers(cursor, [NUMBER], checks(newer))
        with pytest.raises(ViewWrong):
            q.by_numbers(cursor, [NUMBER], checks(other))


def test_a_changed_column_that_staff_reads_is_noticed(ledger: ProjectedLedger) -> None:
    ledger.record(numbered_certificates()).fold()
    ledger.execute("UPDATE views.certificates SET standing = 'revoked' WHERE kind = 'national'")
    with ledger.cursor() as cursor, pytest.raises(ViewWrong):
        q.of_application(cursor, "omc", "A1", checks())


LAUNDERED = {
    "standing": (
        [revoke()],
        "standing = 'valid', reason_class = NULL, "
        """answer = replace(replace(answer, '"revoked"', '"valid"'), '"exam_fraud"', 'null')""",
    ),
    "a column without the public record": ([revoke()], "standing = 'valid', reason_class = NULL"),
    "marks before the issue": ([], "theory = '100'"),
}


@pytest.mark.parametrize(("done", "forgery"), LAUNDERED.values(), ids=LAUNDERED)
def test_no_later_event_gives_a_forged_row_a_right_seal(
    ledger: ProjectedLedger, done: list[Any], forgery: str
) -> None:
    """The view pauses instead of building on it."""
    world = issued_certificates() if done else numbered_certificates()
    for command in done:
        world.do(command, by=REGISTRAR)
    ledger.record(world).fold()
    ledger.execute(f"UPDATE views.certificates SET {forgery} WHERE kind = 'national'")
    last = correct_person() if done else c.IssueCertificates(application_id="A1")
    world.do(last, by=REGISTRAR)
    ledger.record(world).fold()
    [(reason,)] = ledger.execute("SELECT reason FROM views.pauses")
    assert reason.startswith("view_wrong")
    with ledger.cursor() as cursor, pytest.raises((ViewWrong, RecordOutdated)):
        q.of_application(cursor, "omc", "A1", checks())
