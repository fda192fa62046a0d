"""Sample facts for the mapper, and a vault."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict

from domain.store.journal.journal import Journal
from domain.store.mapper import Catalogue, JournalEntry
from domain.store.privacy.bucket_keys import bucket_keys_of
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.store.privacy.field_encryption import Vault, stored_keys
from domain.values.sealed_fields import DataClass, Sealed
from tests.store.drafts import ACTOR, id_of
from tests.support.keys import EPOCH_DIRECTORY


class Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeePaid(Fact):
    """Version 2; version 1 had `amount_yuan`."""

    TOPIC: ClassVar[str] = "fee_paid.v2"
    amount_fen: int


class Mark(Fact):
    """A nested model with sealed figures."""

    rule: str
    figures: Annotated[dict[str, int] | None, Sealed(DataClass.STATEMENTS)]


class PersonRegistered(Fact):
    TOPIC: ClassVar[str] = "person_registered.v1"
    person_id: str
    name: Annotated[str | None, Sealed(DataClass.IDENTITY)]
    phone: Annotated[str | None, Sealed(DataClass.CONTACT)] = None
    remark: str = ""
    marks: tuple[Mark, ...] = ()


class LateNotice(Fact):
    """Concerns no one person."""

    TOPIC: ClassVar[str] = "late_notice.v1"
    late_reason: Annotated[str | None, Sealed(None)]


def catalogue() -> Catalogue:
    made = Catalogue([FeePaid, LateNotice, PersonRegistered])

    @made.upcaster("fee_paid.v0", "fee_paid.v1")
    def _(data: dict) -> dict:
        return {"amount_yuan": int(data["amount"])}

    @made.upcaster("fee_paid.v1", "fee_paid.v2")
    def _(data: dict) -> dict:
        return {"amount_fen": data["amount_yuan"] * 100}

    return made


MASTER_KEYS = MasterKeys("2026", {"2026": b"m" * 32})
EPOCH_KEYS = EpochKeys(MASTER_KEYS, (EPOCH_DIRECTORY,))
INDEX_KEY = b"i" * 32


def vault_of(journal: Journal, **changes) -> Vault:
    given = {"epoch_keys": EPOCH_KEYS, "index_key": INDEX_KEY} | changes
    buckets, index_key = bucket_keys_of(journal, given.pop("epoch_keys")), given.pop("index_key")
    return Vault("omc", buckets, index_key, stored_keys(journal), **given)


def entry(stream: str, version: int, fact: BaseModel) -> JournalEntry:
    name = f"{stream}/{version}"
    return JournalEntry(
        originator_id=stream,
        originator_version=version,
        event_id=id_of(f"event/{name}"),
        occurred_at=datetime(2026, 3, 2, 9, version, tzinfo=UTC),
        recorded_at=None,
        actor=ACTOR,
        command_id=id_of(f"command/{name}"),
        correlation_id=id_of("correlation"),
        causation_id=id_of("cause"),
        fact=fact,
    )


WANG = PersonRegistered(
    person_id="p1",
    name="王小明",
    phone="13800000000",
    remark="in clear",
    marks=(Mark(rule="1.2(2)", figures={"years": 3}), Mark(rule="1.2(3)", figures=None)),
)
