"""Read route of an application's certificates and their verification links."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import MinPosition, Read, ThingId, json_response
from api.http.read_models import REGISTRY
from api.http.routing import READING, router
from api.routes.rows import pick
from projections.certificate_registry import queries as registry

routes = router("证书 · Certificates")


class CertificateHeld(BaseModel):
    """One certificate. link: content of its QR code; everybody who has it sees the certificate."""

    kind: str
    number: str
    progress: str
    standing: str
    version: int
    issued_on: date | None
    reissued_on: date | None
    seen_province_on: date | None
    seen_nation_on: date | None
    report_id: str | None
    reason_class: str | None
    current_since: datetime
    link: str | None = Field(description="address of the public page of this version")


class CertificatesBody(BaseModel):
    """The certificates of one application, numbered ones too."""

    data: list[CertificateHeld]


@routes.get(
    "/applications/{application_id}/certificates",
    operation_id="list_certificates",
    summary="查看证书与核验链接 · Certificates and their links",
    responses={200: {"model": CertificatesBody}, **READING},
)
async def list_certificates(
    read: Read, application_id: ThingId, min_position: MinPosition = None
) -> Response:
    """双证的进度、状态和二维码链接;链接等同凭证,请勿外传。· Progress, standing and QR link of both
    certificates. Who has the link sees the certificate."""
    await read.candidacy(application_id)
    await read.wait_for_position(REGISTRY, min_position)
    found = await read.ask(registry.of_application, application_id, read.service.registry.checks)
    base = read.service.settings.public_base_url
    return json_response({"data": [_shown(row, base) for row in found]})


def _shown(row: dict[str, Any], base: str) -> dict[str, Any]:
    token = row["verify_token"]
    link = token and f"{base}/v/{token}"
    return pick(row, CertificateHeld, without="link") | {"link": link}
