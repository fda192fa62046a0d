"""Editions of rules (规则版本): proposed, adopted by a second person, and which hold on a day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.command_route import CommandRoute
from api.http.dependencies import AsOf, Read, as_of_moment, json_response
from api.http.routing import OPEN_READING, READING, router
from domain.editions.edition import Edition, EditionKind
from domain.states.editions import Editions
from domain.steps.edition_adoption import ADOPT_EDITION, PROPOSE_EDITION
from domain.values.working_days import shanghai_date

TAG = "规则版本 · Editions of rules"
routes = router(TAG)

ValidAt = Annotated[
    date | None,
    Query(
        description="适用日期,默认今天 · the day on which the rules hold; today if left out",
        examples=["2026-12-01"],
    ),
]


class EditionBody(BaseModel):
    """一个规则版本 · one edition."""

    kind: str
    edition: str = Field(description="its name, unique within the kind")
    valid_from: str = Field(description="the first day on which it holds")
    sha256: str = Field(
        description="over the canonical JSON of {content, edition, kind, valid_from}"
    )


class AdoptedBody(EditionBody):
    """An edition that was adopted here, or copied from the ledger `service`."""

    service_position: int | None = Field(
        description="where the ledger `service` adopted it; null: it did not"
    )


class SetAsideBody(AdoptedBody):
    """A copy that does not hold here."""

    in_the_way: str = Field(description="the edition here that has its name, or its codes")


class EditionDetailBody(EditionBody):
    """The same with its rules."""

    content: dict[str, Any] = Field(description="see schemas/edition-<kind>.json")


class ProposalBody(EditionDetailBody):
    """An edition that waits for a second person."""

    proposed_by: str


class EditionsBody(BaseModel):
    """What holds, of every kind."""

    valid_at: str
    data: list[EditionBody]


class EditionsOfKindBody(BaseModel):
    """The editions of one kind."""

    valid_at: str
    in_force: list[EditionDetailBody] = Field(description="of eligibility one for each occupation")
    adopted: list[AdoptedBody] = Field(description="every one, the packaged ones first")
    set_aside: list[SetAsideBody] = Field(description="copies that do not hold here")


class ProposalsBody(BaseModel):
    """What waits for a second person."""

    data: list[ProposalBody]


@routes.get(
    "/editions",
    operation_id="list_editions",
    summary="现行规则版本 · The editions in force",
    responses={200: {"model": EditionsBody}, **OPEN_READING},
)
async def list_editions(read: Read, as_of: AsOf = None, valid_at: ValidAt = None) -> Response:
    """某日适用的各类规则版本。· Which edition of each kind holds on a day, as known at a point."""
    known = as_of_moment(as_of)
    day = valid_at or shanghai_date(datetime.now(UTC))
    found = [
        _shown(edition)
        for kind in EditionKind
        for edition in (await read.run(read.ledger.editions, kind, known)).in_force(day)
    ]
    return json_response({"valid_at": day, "data": found})


@routes.get(
    "/editions/{kind}",
    operation_id="get_editions",
    summary="一类规则的版本 · The editions of one kind",
    responses={200: {"model": EditionsOfKindBody}, **OPEN_READING},
)
async def get_editions(
    read: Read, kind: EditionKind, as_of: AsOf = None, valid_at: ValidAt = None
) -> Response:
    """某日适用的内容,以及已启用的全部版本。· What holds on a day, and all that were adopted."""
    editions = await read.run(read.ledger.editions, kind, as_of_moment(as_of))
    day = valid_at or shanghai_date(datetime.now(UTC))
    return json_response(
        {
            "valid_at": day,
            "in_force": [_detail(each) for each in editions.in_force(day)],
            "adopted": [_adopted(each, editions) for each in editions.all()],
            "set_aside": [
                _adopted(each, editions) | {"in_the_way": name} for each, name in editions.set_aside
            ],
        }
    )


@routes.get(
    "/editions/{kind}/proposals",
    operation_id="list_edition_proposals",
    summary="待启用的规则版本 · Editions that wait for a second person",
    responses={200: {"model": ProposalsBody}, **READING},
)
async def list_edition_proposals(read: Read, kind: EditionKind) -> Response:
    """拟定人以外的人核对后按哈希启用。· Somebody else than who proposed them adopts them."""
    editions = await read.run(read.ledger.editions, kind)
    found = [
        _detail(each.edition) | {"proposed_by": each.by} for each in editions.proposals.values()
    ]
    return json_response({"data": found})


def _shown(edition: Edition) -> dict[str, Any]:
    return {
        "kind": edition.kind.value,
        "edition": edition.edition,
        "valid_from": edition.valid_from.isoformat(),
        "sha256": edition.sha256,
    }


def _adopted(edition: Edition, editions: Editions) -> dict[str, Any]:
    return _shown(edition) | {"service_position": editions.copies.get(edition.sha256)}


def _detail(edition: Edition) -> dict[str, Any]:
    return _shown(edition) | {"content": edition.content}


routes.routes += [
    CommandRoute(
        PROPOSE_EDITION,
        "POST /editions/{kind}",
        "propose_edition",
        tag=TAG,
        summary="拟定规则版本 · Propose an edition",
        docs="""
        内容当即核对;另一人启用后生效。收费标准含全部职业与等级,两项费用分列。· The content is
        checked now, and holds once somebody else adopts it. An edition is complete: one of fees
        has every occupation and level, in its two components, fen. Source: 2.1-2.3, 5.1.""",
        example={
            "edition": "fees-2026.1",
            "valid_from": "2026-01-01",
            "content": {
                "source": "收费公示 2026-01",
                "fees": [
                    {
                        "occupation": "4-01-02-07",
                        "level": 4,
                        "certification_fee_fen": 30000,
                        "study_material_fee_fen": 18000,
                    }
                ],
            },
        },
        location="/editions/{kind}",
    ),
    CommandRoute(
        ADOPT_EDITION,
        "POST /editions/{kind}/{sha256}/adoption",
        "adopt_edition",
        tag=TAG,
        summary="启用规则版本 · Adopt an edition",
        docs="""
        由拟定者以外的人按哈希启用;自其首日起适用。· By somebody else than who proposed it, by its
        hash; it rules what is decided from then on.""",
        location="/editions/{kind}",
    ),
]
