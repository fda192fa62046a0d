"""An actor is known by a pseudonym; their login is stored nowhere.

Covers: domain/service/logins.py, domain/service/named_actors.py,
    domain/service/command_execution.py, domain/service/ledger.py
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import psycopg2.errors
import pytest

from domain.actors import Actor, Role
from domain.audit.events import Event
from domain.audit.logins_check import LoginsCheck
from domain.decision import NotYourOwn, OwnApplication
from domain.events import ActorNamed, Stage, Subject
from domain.service.ledger import Ledger, Ledgers
from domain.service.logins import LoginsOfCommand
from domain.service.receipt import Receipt
from domain.service.tail_check import TailCheck
from domain.steps.enrolment import PersonErased, RegisterPerson
from domain.steps.review import ReviewedBefore
from domain.store.errors import ClaimTaken, SealBroken
from domain.store.journal.statements import ReadRequest
from domain.store.keys.login_keys import LoginKeys
from domain.store.writer.commands import BatchView
from tests.support import journeys, tampering
from tests.support.actors import AGENCY, ASSISTANT, OPERATOR, REGISTRAR, REGULATOR, candidate, staff
from tests.support.commands import (
    confirm_erasure,
    correct_person,
    fees,
    give,
    open_ledger,
    propose_erasure,
    register,
    score,
)
from tests.support.keys import LOGIN_KEY
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger, request_of, submit
from tests.support.postgres import Database

PHONE = "13800005678"
ASSISTANT_2 = staff("assistant-2", Role.AGENCY, "agency-a")


def by_phone(role: Role = Role.CANDIDATE, phone: str = PHONE) -> Actor:
    return Actor(subject=phone, role=role, organisation="public")


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A ledger that is open and has fees."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(fees())
        yield world


@pytest.fixture
def second(world: PostgresWorld) -> Iterator[Ledger]:
    """The same ledger in another service."""
    ledgers = Ledgers(world.ledger.journal.dsn, SECRETS)
    yield ledgers.get("omc")
    ledgers.close()


def person(n: int) -> RegisterPerson:
    """A registration that names no login."""
    return register(n, subject=None)


def subjects(ledger: Ledger) -> list[str]:
    """Who recorded each event, in order."""
    return [event.parsed["actor"]["subject"] for event in ledger.journal.events()]


def rows(database: Database, table: str = "logins") -> list[str]:
    return [text for (text,) in database.execute(f"SELECT t::text FROM certledger.{table} t")]


def test_an_actor_is_recorded_under_a_random_pseudonym(
    world: PostgresWorld, database: Database
) -> None:
    world.do(register(1), by=by_phone())
    *_, subject = subjects(world.ledger)
    assert len(bytes.fromhex(subject)) == 16
    person = world.ledger.state("person", "P1")
    assert person.subject == person.registered_by == subject == world.ledger.logins.find(PHONE)
    principals = database.execute("SELECT principal FROM certledger.commands")
    assert (subject,) in principals
    assert [("person_login", subject)] == database.execute(
        "SELECT kind, key FROM certledger.claims WHERE kind = 'person_login'"
    )


def test_every_actor_has_exactly_five_fields(world: PostgresWorld) -> None:
    world.do(register(1), by=by_phone())
    for event in world.ledger.journal.events():
        assert event.parsed["actor"].keys() == {
            *("subject", "role", "organisation", "on_behalf_of", "authority")
        }


def test_a_login_has_one_pseudonym_in_every_spelling_and_another_in_another_ledger(
    world: PostgresWorld, database: Database
) -> None:
    world.do(register(1), by=staff("Li Lei", Role.AGENCY, "a"))
    world.do(register(2), by=staff("lilei ", Role.AGENCY, "a"))
    *_, one, other = subjects(world.ledger)
    assert one == other
    ledgers = Ledgers(database.dsn, SECRETS)
    another = ledgers.create("other", "S000033000999")
    submit(another, open_ledger(site_code="S000033000999"), OPERATOR, key="open")
    submit(another, register(1), staff("lilei", Role.AGENCY, "a"), key="person")
    assert subjects(another)[-1] != one
    ledgers.close()


def test_the_same_request_gets_its_receipt_again_from_another_service(
    world: PostgresWorld, second: Ledger
) -> None:
    once = submit(world.ledger, register(1), by_phone(), key="k")
    again = submit(second, register(1), by_phone(), key="k")
    assert (again.replayed, again.first_position) == (True, once.first_position)


def test_commands_of_a_new_login_in_one_batch_have_one_pseudonym(world: PostgresWorld) -> None:
    newcomer = staff("new-1", Role.AGENCY, "agency")
    commands = [register(n) for n in range(1, 9)]
    answers: list[Future[Receipt]] = [
        world.ledger.submit(each, newcomer, key=f"k{n}", request=request_of(each))
        for n, each in enumerate(commands)
    ]
    for answer in answers:
        answer.result(timeout=20)
    assert len(set(subjects(world.ledger)[-8:])) == 1


def test_two_services_at_once_agree_on_one_pseudonym(
    world: PostgresWorld, second: Ledger, database: Database
) -> None:
    """Both send first commands of the same twenty logins at the same time."""
    answers: list[Future[Receipt]] = []
    for n in range(1, 21):
        by = staff(f"new-{n}", Role.AGENCY, "agency")
        for ledger, command in ((world.ledger, person(n)), (second, person(100 + n))):
            key, request = f"k{command.person_id}", request_of(command)
            answers.append(ledger.submit(command, by, key=key, request=request))
    for answer in answers:
        answer.result(timeout=30)
    made: dict[str, str] = {}
    for event in world.ledger.journal.events():
        if event.topic == "person_registered.v1":
            made[event.data["person_id"]] = event.parsed["actor"]["subject"]
    for n in range(1, 21):
        known = world.ledger.logins.find(f"new-{n}")
        assert made[f"P{n}"] == made[f"P{100 + n}"] == known == second.logins.find(f"new-{n}")
    assert len(set(rows(database))) == 21, "and the operator"


def test_a_refused_command_leaves_no_login(world: PostgresWorld, database: Database) -> None:
    world.do(register(1), by=ASSISTANT)
    before = rows(database)
    with pytest.raises(ClaimTaken):
        submit(world.ledger, register(9, subject="candidate-1"), ASSISTANT_2, key="refused")
    assert rows(database) == before


def test_a_read_of_an_unknown_login_writes_nothing(
    world: PostgresWorld, database: Database
) -> None:
    before = rows(database)
    assert world.ledger.logins.find("nobody-1") is None
    assert rows(database) == before


def test_a_name_of_the_service_is_its_own_pseudonym(
    world: PostgresWorld, database: Database
) -> None:
    world.do(person(1), by=staff("certledger/import", Role.AGENCY, "agency"))
    assert subjects(world.ledger)[-1] == "certledger/import"
    assert len(rows(database)) == 1, "the operator's alone"


# --- own matters ----------------------------------------------------------------------------------


def test_a_candidate_whom_staff_registered_under_their_login_acts_for_themselves(
    world: PostgresWorld, second: Ledger
) -> None:
    world.do(register(1, subject=PHONE), by=ASSISTANT)
    submit(second, correct_person(1), by_phone(phone=f" {PHONE}"), key="own")
    with pytest.raises(NotYourOwn):
        submit(second, correct_person(1), candidate(2), key="not own")


@pytest.fixture
def journey(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresWorld]:
    """A ledger on which `tests.support.journeys` runs."""
    with a_real_ledger(database) as world:
        monkeypatch.setattr(journeys, "World", lambda: world)
        yield world


def test_nobody_records_their_own_marks_under_any_spelling_of_their_login(
    journey: PostgresWorld,
) -> None:
    journeys.a_held_session(1)
    for login in ("candidate-1", "Candidate-1 ", "\uff43andidate-1"):
        with pytest.raises(OwnApplication):
            journey.do(score(Subject.THEORY, "80"), by=staff(login, Role.EXAMINER, "office"))


def test_one_person_does_not_review_twice_under_two_spellings(journey: PostgresWorld) -> None:
    journeys.an_application_in_review(1, passed=1)
    again = staff(f" {AGENCY.subject.upper()}", Role.CERTIFIER, "another")
    with pytest.raises(ReviewedBefore):
        journey.do(give(Stage.SECOND, "pass"), by=again)


# --- keys -----------------------------------------------------------------------------------------


def test_a_login_found_under_a_retired_key_is_written_again_under_the_active_one(
    world: PostgresWorld, database: Database
) -> None:
    world.do(register(1), by=by_phone())
    known = world.ledger.logins.find(PHONE)
    new = bytes(reversed(LOGIN_KEY))
    secrets = replace(SECRETS, login_keys=LoginKeys(new, [LOGIN_KEY]))
    ledgers = Ledgers(world.ledger.journal.dsn, secrets)
    assert ledgers.get("omc").logins.find(PHONE) == known
    submit(ledgers.get("omc"), correct_person(1), by_phone(), key="later")
    ledgers.close()
    assert subjects(world.ledger)[-1] == known
    counted = database.execute(
        "SELECT count(*), count(DISTINCT key_id) FROM certledger.logins WHERE pseudonym = %s", known
    )
    assert counted == [(2, 2)]
    alone = Ledgers(world.ledger.journal.dsn, replace(SECRETS, login_keys=LoginKeys(new)))
    assert alone.get("omc").logins.find(PHONE) == known
    alone.close()


# --- erasure --------------------------------------------------------------------------------------


def erased(ledger: Ledger) -> None:
    """Two persons erase candidate 1's data."""
    submit(ledger, propose_erasure(), REGISTRAR, key="proposed")
    submit(ledger, confirm_erasure(), REGULATOR, key="confirmed")


def test_the_login_of_a_candidate_goes_with_their_erasure(
    world: PostgresWorld, second: Ledger, database: Database
) -> None:
    world.do(register(1), by=by_phone())
    old = second.logins.find(PHONE)
    erased(world.ledger)
    assert not [row for row in rows(database) if str(old) in row]
    # The other service still has the old pseudonym in memory, and draws another one.
    submit(second, register(2), by_phone(), key="again")
    assert second.state("person", "P2").subject not in (None, old)
    third = Ledgers(database.dsn, SECRETS)
    assert second.state("person", "P2").subject == third.get("omc").logins.find(PHONE)
    third.close()


def test_an_erased_login_is_nobodys_in_every_process(world: PostgresWorld, second: Ledger) -> None:
    """Also where its pseudonym was in memory when another process erased it."""
    request = request_of(register(1))
    submit(second, register(1), by_phone(), key="mine")
    submit(world.ledger, correct_person(1), by_phone(), key="another")
    for ledger in (world.ledger, second):
        assert ledger.logins.find(PHONE) == ledger.state("person", "P1").subject
        assert ledger.recorded_command(PHONE, "mine", request)
    erased(world.ledger)
    for ledger in (world.ledger, second):
        assert ledger.logins.find(PHONE) is None
        assert ledger.recorded_command(PHONE, "mine", request) is None
        with pytest.raises(NotYourOwn):
            submit(ledger, correct_person(1), by_phone(), key="corrected")


def test_the_login_of_staff_stays_when_their_data_as_a_candidate_are_erased(
    world: PostgresWorld, second: Ledger
) -> None:
    """Else they could confirm as somebody else what they ordered before, or in another process."""
    cashier = by_phone(Role.AGENCY)
    submit(world.ledger, register(1), by_phone(), key="mine")
    submit(second, person(2), cashier, key="as staff")
    old = world.ledger.logins.find(PHONE)
    erased(world.ledger)
    for n, ledger in ((3, world.ledger), (4, second)):
        submit(ledger, person(n), cashier, key=f"later {n}")
    assert subjects(world.ledger)[-2:] == [old, old]
    with pytest.raises(PersonErased):
        submit(second, correct_person(1), by_phone(), key="corrected")


def test_a_registrar_whose_first_command_is_about_their_own_data_stays(
    world: PostgresWorld,
) -> None:
    submit(world.ledger, register(1), by_phone(), key="mine")
    old = world.ledger.logins.find(PHONE)
    submit(world.ledger, propose_erasure(), by_phone(Role.REGISTRAR), key="erase")
    submit(world.ledger, confirm_erasure(), REGULATOR, key="confirmed")
    confirmed_and_named = 2
    assert subjects(world.ledger)[-confirmed_and_named - 1] == old
    assert world.ledger.logins.find(PHONE) == old


def test_who_only_repeated_a_request_as_staff_is_another_one_after_their_erasure(
    world: PostgresWorld,
) -> None:
    """It records nothing of theirs as staff, for which the row would stay."""
    submit(world.ledger, register(1), by_phone(), key="mine")
    old = world.ledger.logins.find(PHONE)
    cashier = by_phone(Role.AGENCY)
    assert submit(world.ledger, register(1), cashier, key="mine").replayed
    erased(world.ledger)
    submit(world.ledger, person(2), cashier, key="as staff")
    assert subjects(world.ledger)[-1] == world.ledger.logins.find(PHONE) != old
    TailCheck(world.ledger.journal).compare(world.ledger.journal.head().position)


def test_who_acted_as_staff_in_an_imported_row_stays_after_their_erasure(
    world: PostgresWorld,
) -> None:
    """The import records it under their pseudonym, and names them."""
    submit(world.ledger, register(1), by_phone(), key="mine")
    old = world.ledger.logins.find(PHONE)
    cashier = by_phone(Role.AGENCY)
    world.ledger.submit(
        person(3), cashier, key="row", request=request_of(person(3)), principal="certledger/import"
    ).result(timeout=20)
    assert named(world.ledger)[-1].login == PHONE
    erased(world.ledger)
    submit(world.ledger, person(2), cashier, key="as staff")
    assert subjects(world.ledger)[-1] == world.ledger.logins.find(PHONE) == old
    TailCheck(world.ledger.journal).compare(world.ledger.journal.head().position)
    assert findings(world.ledger) == []


def test_who_acts_as_staff_in_the_batch_of_the_erasure_stays(world: PostgresWorld) -> None:
    submit(world.ledger, register(1), by_phone(), key="mine")
    old = world.ledger.logins.find(PHONE)
    submit(world.ledger, propose_erasure(), REGISTRAR, key="proposed")
    answers: list[Future[Receipt]] = [
        world.ledger.submit(each, by, key=f"k{n}", request=request_of(each))
        for n, (each, by) in enumerate(
            (
                (person(2), by_phone(Role.AGENCY)),
                (confirm_erasure(), REGULATOR),
                (person(3), by_phone(Role.AGENCY)),
            )
        )
    ]
    for answer in answers:
        answer.result(timeout=20)
    assert subjects(world.ledger)[-1] == old == world.ledger.logins.find(PHONE)


def test_an_erased_pseudonym_is_not_drawn_again_although_the_cache_forgot_it(
    world: PostgresWorld, database: Database
) -> None:
    """The cache is full, or cleared, between the submission and the execution of a command."""
    world.do(register(1), by=by_phone())
    old = world.ledger.logins.find(PHONE)
    named = LoginsOfCommand(world.ledger.logins)
    assert named.guess_actor(by_phone()) == old
    erased(world.ledger)
    world.ledger.logins.clear()
    with world.ledger.journal.transaction() as transaction:
        view = BatchView(transaction, lambda stream: 0)
        assert named.find_actor(by_phone(), view) != old


# --- tampering ------------------------------------------------------------------------------------


@pytest.fixture
def exchanged(world: PostgresWorld, database: Database) -> PostgresWorld:
    """Two candidates whose rows somebody with the database has exchanged."""
    for n in (1, 2):
        world.do(register(n), by=candidate(n))
    one, other = (world.ledger.logins.find(f"candidate-{n}") for n in (1, 2))
    with tampering.superuser(database) as cursor:
        for old, new in ((one, "f" * 32), (other, one), ("f" * 32, other)):
            cursor.execute(
                "UPDATE certledger.logins SET pseudonym = %s WHERE pseudonym = %s", (new, old)
            )
    return world


def test_an_exchanged_login_is_refused_at_use(exchanged: PostgresWorld, second: Ledger) -> None:
    with pytest.raises(SealBroken, match="login"):
        second.logins.find("candidate-1")
    with pytest.raises(SealBroken, match="login"):
        submit(second, correct_person(2), candidate(1), key="as another")
    assert submit(second, register(3), candidate(3), key="others").last_position


def test_a_running_service_uses_no_exchanged_login(exchanged: PostgresWorld) -> None:
    with pytest.raises(SealBroken, match="login"):
        submit(exchanged.ledger, correct_person(2), candidate(1), key="as another")


# --- cost -----------------------------------------------------------------------------------------


def test_after_the_first_command_nothing_is_read_for_staff(world: PostgresWorld) -> None:
    world.do(register(1), by=AGENCY)
    named = LoginsOfCommand(world.ledger.logins)
    assert named.guess_actor(AGENCY) == world.ledger.logins.find(AGENCY.subject)
    assert named.names == ()


def test_the_login_of_a_candidate_is_read_with_everything_else(world: PostgresWorld) -> None:
    """Their guess is right unless they were erased, so nothing is read by itself."""
    world.do(register(1), by=candidate(1))
    named = LoginsOfCommand(world.ledger.logins)
    assert named.guess_actor(candidate(1)) == world.ledger.state("person", "P1").subject
    assert named.names == world.ledger.logins.names("candidate-1")


# --- who takes a row away -------------------------------------------------------------------------


def test_the_application_role_does_not_forget_a_login_of_staff(
    world: PostgresWorld, database: Database
) -> None:
    world.do(person(1), by=AGENCY)
    known = world.ledger.logins.find(AGENCY.subject)
    with (
        tampering.application_role(database) as cursor,
        pytest.raises(psycopg2.errors.RestrictViolation, match="acted as staff"),
    ):
        cursor.execute("SELECT certledger.forget_logins('omc', %s)", ([known],))


def test_the_audit_names_staff_whose_row_was_deleted(
    world: PostgresWorld, database: Database
) -> None:
    world.do(person(1), by=AGENCY)
    known = world.ledger.logins.find(AGENCY.subject)
    assert findings(world.ledger) == []
    with tampering.superuser(database) as cursor:
        cursor.execute("DELETE FROM certledger.logins WHERE pseudonym = %s", (known,))
    [found] = findings(world.ledger)
    assert "acted as staff, and the row of their login is missing" in found
    assert str(known) in found


def test_the_audit_expects_the_row_of_staff_who_were_erased(world: PostgresWorld) -> None:
    submit(world.ledger, register(1), by_phone(), key="mine")
    submit(world.ledger, person(2), by_phone(Role.AGENCY), key="as staff")
    erased(world.ledger)
    assert findings(world.ledger) == []


def findings(ledger: Ledger) -> list[str]:
    """What the audit says about the logins of a ledger."""
    check = LoginsCheck(ledger.journal, ledger.vault, ledger.logins.keys, ledger.indexes)
    check.page([Event(event.position, event.parsed) for event in ledger.journal.events()])
    check.finish(ledger.journal.head().position, lambda upto: None)
    return [str(finding) for finding in check.result.findings]


# --- who staff are --------------------------------------------------------------------------------


def named(ledger: Ledger) -> list[ActorNamed]:
    """The facts that name staff, in order."""
    recorded = ledger.journal.read(0, 1000, (ActorNamed.TOPIC,))
    return [entry.fact for entry in ledger.mapper.entries(recorded)]


def test_the_first_command_of_staff_names_them_and_no_other(
    world: PostgresWorld, second: Ledger
) -> None:
    command = person(1)
    world.ledger.submit(
        command, AGENCY, key="first", request=request_of(command), actor_name="王五"
    ).result(timeout=20)
    submit(world.ledger, person(2), AGENCY, key="again")
    submit(second, person(3), AGENCY, key="from another service")
    submit(world.ledger, register(4), candidate(4), key="a candidate's")
    operator, agency = named(world.ledger)
    subject = world.ledger.logins.find(AGENCY.subject)
    assert agency == ActorNamed(subject=subject, name="王五", login=AGENCY.subject)
    assert (operator.login, operator.name) == (OPERATOR.subject, None)
    assert world.ledger.actors.members([str(subject)])[str(subject)].shown == "王五"


def test_the_name_and_login_of_staff_are_sealed_under_a_key_of_their_stream(
    world: PostgresWorld, database: Database
) -> None:
    command = person(1)
    by = staff("wang.wu@example.cn", Role.AGENCY, "agency")
    world.ledger.submit(
        command, by, key="first", request=request_of(command), actor_name="王五"
    ).result(timeout=20)
    subject = world.ledger.logins.find(by.subject)
    [recorded] = world.ledger.journal.stream(f"actor-{subject}")
    keys = {recorded.data[field]["key"] for field in ("name", "login")}
    assert keys == {f"matter/actor-{subject}/1"}
    dump = "".join("".join(rows(database, table)) for table in ("journal", "commands", "logins"))
    for text in ("王五", "wang.wu"):
        assert text.encode().hex() not in dump


def test_a_candidate_who_acts_as_staff_is_named_then(world: PostgresWorld) -> None:
    submit(world.ledger, register(1), by_phone(), key="mine")
    submit(world.ledger, person(2), by_phone(Role.AGENCY), key="as staff")
    assert [fact.login for fact in named(world.ledger)] == [OPERATOR.subject, PHONE]


def test_a_repeated_request_in_another_role_names_nobody_and_the_next_command_does(
    world: PostgresWorld,
) -> None:
    """Its receipt is that of the candidate; they have not acted as staff yet."""
    submit(world.ledger, register(1), by_phone(), key="mine")
    assert submit(world.ledger, register(1), by_phone(Role.AGENCY), key="mine").replayed
    submit(world.ledger, person(2), by_phone(Role.AGENCY), key="as staff")
    assert [fact.login for fact in named(world.ledger)] == [OPERATOR.subject, PHONE]


def test_staff_whose_row_was_deleted_have_the_same_pseudonym_after_a_restart(
    world: PostgresWorld, second: Ledger, database: Database
) -> None:
    submit(world.ledger, person(1), AGENCY, key="one")
    known = world.ledger.logins.find(AGENCY.subject)
    with tampering.superuser(database) as cursor:
        cursor.execute("DELETE FROM certledger.logins WHERE pseudonym = %s", (known,))
    submit(second, person(2), AGENCY, key="two")
    assert subjects(second)[-1] == known
    assert len(named(second)) == 2, "nobody is named twice"
    assert findings(second) == []


def test_a_login_of_staff_that_somebody_gave_a_second_pseudonym_is_refused(
    world: PostgresWorld, second: Ledger, database: Database
) -> None:
    """It acted as a candidate after its row was deleted, which drew another pseudonym."""
    submit(world.ledger, person(1), AGENCY, key="one")
    known = world.ledger.logins.find(AGENCY.subject)
    with tampering.superuser(database) as cursor:
        cursor.execute("DELETE FROM certledger.logins WHERE pseudonym = %s", (known,))
    submit(second, register(2), by_phone(phone=AGENCY.subject), key="mine")
    with pytest.raises(SealBroken, match="login"):
        submit(second, person(3), AGENCY, key="as staff")
    assert any("acted as staff, and the row" in found for found in findings(second))
    assert any("has another pseudonym" in found for found in findings(second))


def test_naming_staff_takes_no_further_message(world: PostgresWorld, second: Ledger) -> None:
    """Whether a fact names them is read with the row of their login."""
    world.do(person(1), by=AGENCY)
    request = ReadRequest(logins=second.logins.names(AGENCY.subject))
    with second.journal.transaction(request) as transaction:
        stream = f"actor-{second.logins.find(AGENCY.subject)}"
        assert transaction._versions == {stream: 1}
