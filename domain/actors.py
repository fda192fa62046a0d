"""Who acts: roles, and the actor that a command and its facts name."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from domain.values.logins import SERVICE_SUBJECTS, normal_form
from domain.values.opaque_ids import OPAQUE_ID_PATTERN


class Role(StrEnum):
    """Role of an actor. One person has one role at a time (design 1)."""

    CANDIDATE = "candidate"  # 报考者
    AGENCY = "agency"  # 报名机构, 初审
    CERTIFIER = "certifier"  # 巨量认证, 复审
    PROVINCE = "province"  # 省系统, 终审
    EXAMINER = "examiner"  # 考评员
    SCORE_VERIFIER = "score_verifier"  # 成绩复核
    REGISTRAR = "registrar"  # 证书管理
    FINANCE = "finance"  # 财务
    REGULATOR = "regulator"  # 监管
    OPERATOR = "operator"  # 运维
    SERVICE = "service"  # 服务自身


def is_named(subject: str, role: Role) -> bool:
    """Whether a fact names who acts: of staff, not of candidates nor of the service itself."""
    return role not in (Role.CANDIDATE, Role.SERVICE) and not subject.startswith(SERVICE_SUBJECTS)


ROLES_OF_PEOPLE = tuple(role for role in Role if role is not Role.SERVICE)
"""What a token or an imported row may name: nobody acts as the service itself."""


class Actor(BaseModel):
    """Who did it: role, organisation, and for whom if not for themselves.

    subject: the pseudonym of their login in the ledger, or `certledger/<work>` of the service. It
        is the login itself only on the way from a token to `domain.service.ledger.Ledger.submit`,
        which replaces it.
    on_behalf_of: a pseudonym or the id of a person.
    authority: position in the ledger `service` that granted the role; None: the token said so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    subject: str
    role: Role
    organisation: str
    on_behalf_of: str | None = Field(default=None, pattern=OPAQUE_ID_PATTERN)
    authority: int | None = None

    def to_envelope(self) -> dict[str, str | int | None]:
        """The actor in an envelope; equal to its JSON, but made once for each command."""
        return {
            "subject": self.subject,
            "role": self.role.value,
            "organisation": self.organisation,
            "on_behalf_of": self.on_behalf_of,
            "authority": self.authority,
        }


def service_actor(work: str) -> Actor:
    """Who acts when nobody does: the service, in one of its kinds of work, such as `erasure`."""
    return Actor(subject=SERVICE_SUBJECTS + work, role=Role.SERVICE, organisation="certledger")


def actor_of(entry: Any) -> Actor:
    """Who recorded a journal entry, whose actor may have the form of the envelope."""
    actor = entry.actor
    return actor if isinstance(actor, Actor) else Actor.model_validate(actor)


def subject_of(entry: Any) -> str:
    """The pseudonym that recorded a journal entry, which is all that most folds need."""
    actor = entry.actor
    subject: str = actor.subject if isinstance(actor, Actor) else actor["subject"]
    return subject


def is_same_organisation(one: str, other: str) -> bool:
    """Whether two names of organisations are one; width, case and white space do not count."""
    return one == other or normal_form(one) == normal_form(other)


def agency_of(entry: Any) -> str | None:
    """The organisation of the agency that recorded a journal entry; None: it was no agency."""
    actor = entry.actor
    if isinstance(actor, Actor):
        return actor.organisation if actor.role is Role.AGENCY else None
    organisation: str = actor["organisation"]
    return organisation if actor["role"] == Role.AGENCY else None
