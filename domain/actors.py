"""Who acts: roles, and the actor that a command and its facts name."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


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


ROLES_OF_PEOPLE = tuple(role for role in Role if role is not Role.SERVICE)
"""What a token or an imported row may name: nobody acts as the service itself."""

SERVICE_SUBJECTS = "certledger/"
"""How the subjects of the service's own work begin; no login does."""


class Actor(BaseModel):
    """Who did it: login, role, organisation, and for whom if not for themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    subject: str
    role: Role
    organisation: str
    on_behalf_of: str | None = None

    def to_envelope(self) -> dict[str, str | None]:
        """The actor in an envelope; equal to its JSON, but made once for each command."""
        return {
            "subject": self.subject,
            "role": self.role.value,
            "organisation": self.organisation,
            "on_behalf_of": self.on_behalf_of,
        }


def service_actor(work: str) -> Actor:
    """Who acts when nobody does: the service, in one of its kinds of work, such as `erasure`."""
    return Actor(subject=SERVICE_SUBJECTS + work, role=Role.SERVICE, organisation="certledger")


def actor_of(entry: Any) -> Actor:
    """Who recorded a journal entry, whose actor may have the form of the envelope."""
    actor = entry.actor
    return actor if isinstance(actor, Actor) else Actor.model_validate(actor)


def subject_of(entry: Any) -> str:
    """The login that recorded a journal entry, which is all that most folds need."""
    actor = entry.actor
    subject: str = actor.subject if isinstance(actor, Actor) else actor["subject"]
    return subject
