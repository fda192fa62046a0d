"""Persons: registered once, corrected, found by their document, and erased."""

from __future__ import annotations

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.errors.request import SearchNeedsName
from api.http.body_models import ACCEPTED
from api.http.command_route import CommandRoute
from api.http.dependencies import Read, ThingId, etag, json_response
from api.http.routing import READING, WRITING, problems, router
from api.lookup.criteria import document_text
from api.lookup.rate_limit import RateLimiter, Unlimited, address_of, limit_of
from api.routes.masking import PersonShown, ensure_shown, show_person
from api.routes.stream_listing import holder_of_index, own_person
from domain.actors import Role
from domain.decision import NotFound
from domain.person_claims import DOCUMENT, NAMED, named_text
from domain.steps.contested_registration import JOIN_REGISTRATION, REJECT_REGISTRATION
from domain.steps.enrolment import (
    CORRECT_PERSON,
    REGISTER_PERSON,
    DocumentCountry,
    PersonErased,
)
from domain.steps.erasure import CONFIRM_ERASURE, PROPOSE_ERASURE
from domain.values.identity_documents import DocumentType
from domain.values.person_names import normalise_name

TAG = "人员 · People"
routes = router(TAG)


class PersonSearchBody(BaseModel):
    """An identity document, in the body: it has no place in an address."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {"document_type": "resident_id", "document_number": "330106199503151275"}
        },
    )
    document_type: DocumentType
    document_country: DocumentCountry = None
    document_number: str = Field(min_length=1, max_length=40)
    name: str | None = Field(
        default=None, min_length=1, max_length=80, description="姓名; an agency gives it"
    )


routes.routes += [
    CommandRoute(
        REGISTER_PERSON,
        "POST /persons",
        "register_person",
        tag=TAG,
        summary="登记人员 · Register a person",
        docs="""
        以姓名与证件登记;答复不透露该证件是否已登记。· Make a person known by name and identity
        document; a candidate registers themselves. The answer does not reveal whether the document
        is registered: then the registration is contested, until an agency or the certifier has seen
        it. An agency that gives name and document of a known person gets that person's id in the
        outcome. Source: 3.1(1).""",
        example={
            "document_type": "resident_id",
            "document_number": "330106199503151275",
            "name": "张三",
            "phone": "13800000000",
        },
        location="/persons/{person_id}",
        responses=ACCEPTED,
    ),
]


@routes.post(
    "/persons/search",
    operation_id="find_person",
    summary="按证件查找人员 · Find a person by document",
    responses={200: {"model": PersonShown}, **WRITING, **problems(429)},
)
async def find_person(request: Request, read: Read, body: PersonSearchBody) -> Response:
    """证件号只出现在请求体中;报名机构须同时提供姓名。· The document number is in the body only. A
    candidate finds nobody but themselves, an agency gives the name too: the answer does not reveal
    whether somebody is known. A candidate's searches count as lookups."""
    assert read.principal is not None
    text = document_text(body.document_type, body.document_number, body.document_country)
    limit, address = limit_for(request, read), address_of(request)
    limit.charge(address)
    tokens = read.service.registry.search_tokens
    try:
        if read.principal.role is Role.CANDIDATE:
            person_id = await read.run(own_person, read.ledger, read.principal.subject, text)
        elif read.principal.role is Role.AGENCY:
            if body.name is None:
                raise SearchNeedsName()
            named = named_text(text, normalise_name(body.name))
            indexes = tokens(NAMED, named).all()
            person_id = await read.run(holder_of_index, read.ledger, NAMED, indexes, named)
        else:
            indexes = tokens(DOCUMENT, text).all()
            person_id = await read.run(holder_of_index, read.ledger, DOCUMENT, indexes, text)
    except NotFound:
        limit.charge_miss(address)
        raise
    return json_response(await read.run(show_person, read, person_id))


def limit_for(request: Request, read: Read) -> RateLimiter:
    """The rate limit of a search; staff, who work with the documents of others, have none."""
    assert read.principal is not None
    return limit_of(request) if read.principal.role is Role.CANDIDATE else Unlimited()


@routes.get(
    "/persons/{person_id}",
    operation_id="get_person",
    summary="查看人员 · Show a person",
    responses={200: {"model": PersonShown}, **READING},
)
async def get_person(read: Read, person_id: ThingId) -> Response:
    """按角色显示完整或脱敏的姓名与证件号。· Name and number in full or masked, by role."""
    person = await read.state("person", person_id)
    ensure_shown(read, person)
    await read.ensure_own_person(person_id)
    if person.is_unknown:
        raise PersonErased()
    shown = await read.run(show_person, read, person_id)
    return read.conditional_response(etag(person.version), lambda: shown)


routes.routes += [
    CommandRoute(
        CORRECT_PERSON,
        "POST /persons/{person_id}/corrections",
        "correct_person",
        tag=TAG,
        summary="更正人员信息 · Correct a person",
        docs="""
        更正姓名或证件;历史不变。· Put name or document right; the past stays. Source: 3.2(3).""",
        example={
            "document_type": "resident_id",
            "document_number": "330106199503151275",
            "name": "张叁",
            "reason": "姓名录入有误",
        },
        location="/persons/{person_id}",
    ),
    CommandRoute(
        JOIN_REGISTRATION,
        "POST /persons/{person_id}/joining",
        "join_registration",
        tag=TAG,
        summary="并入已登记人员 · Join a contested registration",
        docs="""
        核对证件后,将存疑登记并入证件所属人员。· After the document was seen: this registration is
        of the person whose document it names. Its login is theirs from now on. Source: 3.1(1).""",
        location="/persons/{person_id}",
    ),
    CommandRoute(
        REJECT_REGISTRATION,
        "POST /persons/{person_id}/rejection",
        "reject_registration",
        tag=TAG,
        summary="驳回存疑登记 · Reject a contested registration",
        docs="""
        核对证件后,驳回冒用他人证件的登记。· After the document was seen: who registered is not
        whose document they named. Source: 3.1(1).""",
        example={"reason": "所持证件与登记不符"},
        location="/persons/{person_id}",
    ),
    CommandRoute(
        PROPOSE_ERASURE,
        "POST /persons/{person_id}/erasure",
        "propose_erasure",
        tag=TAG,
        summary="拟删除个人信息 · Propose an erasure",
        docs="""
        核对各类个人信息须保存到何时,由他人确认后才删除。· Find which classes of the person's data
        have to be kept, by which rule and until when. Nothing is erased before a second person
        confirms these findings by their hash. PIPL art. 47.""",
        example={"reason": "request"},
        location="/persons/{person_id}",
        responses=ACCEPTED,
    ),
    CommandRoute(
        CONFIRM_ERASURE,
        "POST /persons/{person_id}/erasure/{proposal}/confirmation",
        "confirm_erasure",
        tag=TAG,
        summary="确认删除个人信息 · Confirm an erasure",
        docs="""
        须由拟定人以外的人确认。无须保存的类别当即销毁密钥,其余各类到期由系统自行销毁;哈希与
        证明不变。outcome.unreadable_from 为任何备份也无法再打开之日。· By somebody else than who
        proposed it. The keys of the classes that nothing keeps are destroyed: what they sealed
        can't be read again, while hashes and proofs stay valid. outcome.unreadable_from is the
        day from which no backup opens it either. The service destroys the other classes on their
        day. PIPL art. 47.""",
        example={"findings_sha256": "0" * 64},
        location="/persons/{person_id}",
    ),
]
