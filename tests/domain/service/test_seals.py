"""A ledger that somebody tampered with, while it is open and after it was opened again.

Covers: domain/service/ledger.py, domain/service/command_execution.py,
domain/service/key_check.py, api/transparency/service_keys.py, domain/store/writer/retry.py
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from domain.actors import Role
from domain.decision import AlreadyExists, KeyInUse, NotFound
from domain.documents.materials import MaterialKind
from domain.events import CertificateKind, KeyPurpose
from domain.service.ledger import Ledger, Ledgers
from domain.service.snapshots import TOPIC, take
from domain.steps.certificate import ReissueCertificate
from domain.store.embedded.server import SUPERUSER
from domain.store.errors import SealBroken, WrongKey, WrongServiceKey
from domain.store.journal.envelope import canonical_json
from domain.store.keys.seals import Sealer, seal_key
from tests.domain.test_command_spec import HistoryRun, run_every_command
from tests.support import tampering
from tests.support.actors import ASSISTANT, FINANCE, OPERATOR, REGISTRAR, candidate, staff
from tests.support.commands import (
    apply_for,
    correct_person,
    erase,
    hand_in,
    introduce_key,
    open_ledger,
    pay,
    register,
    retire_key,
    set_fees,
)
from tests.support.epochs import GivenEpochs
from tests.support.keys import HASHER
from tests.support.ledgers import (
    SECRETS,
    SITE_CODE,
    PostgresWorld,
    a_real_ledger,
    submit,
)
from tests.support.postgres import Database

MALLORY = staff("mallory", Role.AGENCY, "agency-b")


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A ledger that is open, with an index key, and person P1."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(introduce_key())
        world.do(register(1), by=ASSISTANT)
        yield world


def key_at(world: PostgresWorld) -> int:
    """The position of the fact that introduces the index key."""
    return world.receipts[1].first_position


def person_at(world: PostgresWorld) -> int:
    """The position of the fact that registers P1."""
    return world.receipts[2].first_position


@pytest.fixture(params=["while it is open", "after it was opened again"])
def opened(request: pytest.FixtureRequest, world: PostgresWorld) -> Iterator[Callable[[], Ledger]]:
    """Gives the ledger on which to look at what was done."""
    made: list[Ledgers] = []

    def give() -> Ledger:
        if "again" not in request.param:
            return world.ledger
        made.append(Ledgers(world.ledger.journal.dsn, SECRETS))
        return made[-1].get("omc")

    yield give
    for ledgers in made:
        ledgers.close()


def test_an_altered_person_is_not_shown(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, person_at(world), subject="mallory")
    ledger = opened()
    for read in (ledger.identity, lambda p: ledger.history(f"person-{p}")):
        with pytest.raises(SealBroken, match=f"position {person_at(world)}"):
            read("P1")


def test_an_altered_person_is_not_decided_upon_by_a_new_process(
    world: PostgresWorld, database: Database
) -> None:
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, person_at(world), subject="mallory")
    ledgers = Ledgers(world.ledger.journal.dsn, SECRETS)
    ledger = ledgers.get("omc")
    with pytest.raises(SealBroken):
        ledger.state("person", "P1")
    with pytest.raises(SealBroken):
        submit(ledger, correct_person(1), ASSISTANT, key="new")
    assert submit(ledger, register(2), ASSISTANT, key="other").topics == ("person_registered.v1",)
    # The process that knows the true state goes on deciding upon that.
    assert world.ledger.state("person", "P1").subject != "mallory"
    ledgers.close()


def test_a_forged_event_with_a_moved_head_stops_every_command(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    with tampering.application_role(database) as cursor:
        data = tampering.stored(cursor, key_at(world))["data"]
        at = tampering.insert(cursor, "ledger", 3, "key_introduced.v1", **data)
        tampering.move_head(cursor)
    ledger = opened()
    with pytest.raises(SealBroken, match=f"position {at}"):
        submit(ledger, register(2), ASSISTANT, key="after")
    with pytest.raises(SealBroken, match=f"position {at}"):
        ledger.state("ledger")
    with pytest.raises(SealBroken):
        ledger.journal.head()


def test_a_forged_event_without_a_moved_head_is_not_decided_upon(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    with tampering.application_role(database) as cursor:
        data = tampering.stored(cursor, key_at(world))["data"]
        tampering.insert(cursor, "ledger", 3, "key_introduced.v1", **data)
    with pytest.raises(SealBroken):
        submit(opened(), introduce_key("4e5f6071"), OPERATOR, key="after")


def test_a_command_that_would_take_the_place_of_a_forged_event_is_refused(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    """It reads other streams, and meets the event when it is written."""
    with tampering.application_role(database) as cursor:
        data = tampering.stored(cursor, person_at(world))["data"]
        at = tampering.insert(cursor, "person-P9", 1, "person_registered.v1", **data)
    ledger = opened()
    for key in ("one", "two"):
        with pytest.raises(SealBroken, match=f"event at position {at}"):
            submit(ledger, introduce_key("4e5f6071"), OPERATOR, key=key)


def test_a_rewritten_receipt_is_not_replayed(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.commands SET receipt = 'forged' WHERE first_position = %s",
            (person_at(world),),
        )
    with pytest.raises(SealBroken, match=f"command at position {world.receipts[2].last_position}"):
        submit(opened(), register(1), ASSISTANT, key="k3")


@pytest.mark.parametrize("name", ["key", "one of their own"])
def test_a_receipt_that_was_given_to_somebody_else_is_not_replayed(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database, name: str
) -> None:
    """A stored key belongs to its principal: under another one's nothing is found."""
    submit(world.ledger, register(2), MALLORY, key="his own")
    mallory = world.ledger.logins.find(MALLORY.subject)
    hasher = HASHER.of("omc", GivenEpochs())
    stored = hasher.key(str(mallory), "k3") if name == "one of their own" else None
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.commands SET principal = %s, key = coalesce(%s, key) "
            "WHERE first_position = %s",
            (mallory, stored, person_at(world)),
        )
    with pytest.raises(SealBroken if stored else AlreadyExists):
        submit(opened(), register(1), MALLORY, key="k3")


SESSION = "series-national-2026-4"


def test_a_planted_snapshot_is_neither_shown_nor_decided_upon(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    """With the application role alone: a state that gives somebody else's rights away."""
    planted = world.ledger.state("ledger")
    encoded = canonical_json(take("ledger", planted).model_dump(mode="json"))
    with tampering.application_role(database) as cursor:
        for stream, version in (("ledger", 2), ("person-P1", 1), (SESSION, 100)):
            cursor.execute(
                "INSERT INTO certledger.snapshots SELECT ledger, %s, %s, %s, %s, position, "
                "leaf_hash, seal, seal_key FROM certledger.journal WHERE position = %s",
                (stream, version, TOPIC, encoded, person_at(world)),
            )
    ledger = opened()
    assert ledger.state("person", "P1").id == "P1"
    assert ledger.state("ledger") == planted
    with pytest.raises(Exception, match="series"):
        ledger.state("series", "national-2026-4")


# --- keys of persons ------------------------------------------------------------------------------


def destroy_the_key(database: Database) -> None:
    """With the application role alone."""
    with tampering.application_role(database) as cursor:
        cursor.execute("UPDATE certledger.data_keys SET wrapped = NULL, destroyed_at = now()")


def test_a_person_whose_key_was_destroyed_does_not_look_erased(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    destroy_the_key(database)
    ledger = opened()
    ledger.vault.forget()  # a process that knows the true key goes on using it for a while
    for _ in range(2):
        with pytest.raises(WrongKey, match="no event erased what it sealed"):
            ledger.identity("P1")
    assert not ledger.state("person", "P1").erased


def test_no_decision_rests_on_a_person_whose_key_was_destroyed(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    """The name of a photo's file is compared with the identity of its person."""
    world.do(apply_for(1), by=candidate(1))
    set_fees(world)
    world.do(pay(1, world), by=FINANCE)
    destroy_the_key(database)
    ledger = opened()
    with pytest.raises(WrongKey):
        submit(ledger, hand_in(MaterialKind.PHOTO), candidate(1), key="photo")
    with pytest.raises(WrongKey):
        submit(ledger, hand_in(MaterialKind.PHOTO), candidate(1), key="photo again")


def test_a_key_that_is_put_back_after_an_erasure_shows_nobody(
    opened: Callable[[], Ledger], world: PostgresWorld, database: Database
) -> None:
    kept = database.execute("SELECT class, wrapped, bucket_generation FROM certledger.data_keys")
    erase(world)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.data_keys DISABLE TRIGGER ALL")
        for data_class, *row in kept:
            cursor.execute(
                "UPDATE certledger.data_keys SET wrapped = %s, bucket_generation = %s, "
                "destroyed_at = NULL WHERE class = %s",
                (*row, data_class),
            )
    ledger = opened()
    with pytest.raises(NotFound):
        ledger.identity("P1")


# --- a certificate -------------------------------------------------------------------------------


def test_a_forged_reinstatement_of_a_revoked_certificate_has_no_effect(
    database: Database,
) -> None:
    """What the application role could do alone, and the service then signed and showed."""
    with a_real_ledger(database) as world:
        run_every_command(HistoryRun(world))
        assert world.candidacy("A1").certificates[CertificateKind.NATIONAL].standing == "revoked"
        version = world.candidacy("A1").version
        with tampering.application_role(database) as cursor:
            tampering.insert(
                cursor,
                "application-A1",
                version + 1,
                "certificate_reinstated.v1",
                application_id="A1",
                kind="national",
                reason="forged",
            )
            tampering.move_head(cursor)
        command = ReissueCertificate(
            application_id="A1", kind=CertificateKind.NATIONAL, reason="lost"
        )
        with pytest.raises(SealBroken):
            world.do(command, by=REGISTRAR)
        with pytest.raises(SealBroken):
            world.candidacy("A1")


# --- the keys of the service ---------------------------------------------------------------------

IN_USE = (
    KeyInUse(KeyPurpose.JOURNAL, SECRETS.sealer.active.id, "hmac-sha256"),
    KeyInUse(KeyPurpose.MASTER, "0a1b2c3d", "aes-256-gcm"),
)


def with_keys(database: Database, *keys: KeyInUse) -> Ledgers:
    return Ledgers(database.dsn, SECRETS, keys_of=lambda ledger, **_: keys)


@pytest.fixture
def named(database: Database) -> Iterator[Database]:
    """A ledger that names two keys."""
    with a_real_ledger(database):
        pass
    ledgers = with_keys(database, *IN_USE)
    ledger = ledgers.create("keys", SITE_CODE[:-1] + "9")
    receipt = submit(ledger, open_ledger(site_code=SITE_CODE[:-1] + "9"), OPERATOR, key="open")
    assert receipt.topics == ("ledger_opened.v1", *("key_introduced.v1",) * 2, "actor_named.v1")
    ledgers.close()
    yield database


def test_a_service_with_the_keys_that_a_ledger_names_opens_it(named: Database) -> None:
    ledgers = with_keys(named, *IN_USE)
    ranges = ledgers.get("keys").journal.sealer.ranges  # type: ignore[union-attr]
    assert ranges is not None
    assert [(r.key_id, r.first, r.last) for r in ranges] == [(SECRETS.sealer.active.id, 1, None)]
    ledgers.close()


def test_a_service_with_another_key_does_not_open_it(named: Database) -> None:
    wrong = IN_USE[1]._replace(key_id="ffffffff")
    ledgers = with_keys(named, IN_USE[0], wrong)
    expected = "wrong_key:master: ledger keys names 0a1b2c3d, the key of this service is ffffffff"
    with pytest.raises(WrongServiceKey, match=expected):
        ledgers.get("keys")
    ledgers.close()


def test_a_service_with_a_key_of_a_purpose_that_has_no_fact_does_not_open_it(
    named: Database,
) -> None:
    ledgers = with_keys(named, *IN_USE, KeyInUse(KeyPurpose.INDEX, "ffffffff", "hmac-sha256"))
    with pytest.raises(WrongServiceKey, match="wrong_key:index: ledger keys names none"):
        ledgers.get("keys")
    ledgers.close()


def test_a_service_with_another_journal_key_learns_which_key_is_wrong(named: Database) -> None:
    other = seal_key(bytes(32))
    keys = (KeyInUse(KeyPurpose.JOURNAL, other.id, "hmac-sha256"),)
    secrets = replace(SECRETS, sealer=Sealer(other))
    ledgers = Ledgers(named.dsn, secrets, keys_of=lambda ledger, **_: keys)
    with pytest.raises(WrongServiceKey, match="wrong_key:journal"):
        ledgers.get("keys")
    ledgers.close()


def test_a_ledger_that_is_not_open_yet_takes_any_key(database: Database) -> None:
    with a_real_ledger(database):
        ledgers = with_keys(database, *IN_USE)
        assert ledgers.get("omc").name == "omc"
        ledgers.close()


def test_the_only_key_cannot_be_retired(named: Database) -> None:
    ledgers = with_keys(named, *IN_USE)
    command = retire_key(SECRETS.sealer.active.id, purpose="journal")
    with pytest.raises(Exception, match="is the only one"):
        submit(ledgers.get("keys"), command, OPERATOR, key="retire")
    ledgers.close()
