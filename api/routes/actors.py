"""Who a member of staff is, whom everything else names by a pseudonym."""

from __future__ import annotations

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import After, Limit, Read, json_response
from api.http.routing import READING, router

routes = router("监管 · Oversight")


class ActorShown(BaseModel):
    """One member of staff."""

    subject: str = Field(description="the pseudonym that facts name them by")
    name: str | None = Field(description="姓名; null: their token had none")
    login: str | None = Field(description="登录名; null: its key was destroyed")
    position: int = Field(ge=1, description="of the fact that names them")


class ActorsBody(BaseModel):
    """Staff in the order of their first commands."""

    data: list[ActorShown]
    next_after: int = Field(description="give it as `after` to go on; also when data is empty")


@routes.get(
    "/actors",
    operation_id="list_actors",
    summary="工作人员 · Who the staff are",
    responses={200: {"model": ActorsBody}, **READING},
)
async def list_actors(
    read: Read,
    after: After = 0,
    limit: Limit = 100,
) -> Response:
    """化名对应的工作人员,首次操作时记录。· Everybody who has acted as staff, by pseudonym; recorded
    with the first command of their login."""
    rows_max = min(limit, read.service.settings.page_rows_max)
    members = await read.run(lambda: list(read.ledger.actors.after(after, rows_max)))
    data = [
        {"subject": each.subject, "name": each.name, "login": each.login, "position": each.position}
        for each in members
    ]
    return json_response({"data": data, "next_after": members[-1].position if members else after})
