"""Documents (报名资料) and the three reviews (初审、复审、终审)."""

from __future__ import annotations

import hashlib
import re
from datetime import date

from starlette.responses import Response

from api.errors.request import FieldInvalid
from api.files.upload_inspection import inspect_document, inspect_photo
from api.http.command_route import CommandRequest, CommandRoute
from api.http.dependencies import CommandContext, Read, ThingId, receipt_response
from api.http.multipart import Form, UploadedFile, form_schema, read_form
from api.http.routing import READING, file_response, router
from domain.decision import stream_of
from domain.documents.materials import MaterialFact, MaterialKind, data_class_of
from domain.steps.review import REVIEW, SUBMIT_DOCUMENT, SUBMIT_DOCUMENTS, SubmitDocument

TAG = "资料与审核 · Documents and reviews"
routes = router(TAG)


DOCUMENT_TYPES = ("application/pdf", "image/jpeg", "image/png")
FILE_NAME_LENGTH_MAX = 200


async def submit_document(
    context: CommandContext, request: CommandRequest, application_id: str
) -> Response:
    """Inspect the file, store it sealed, then record what was found.

    Raises: NotFound, MalformedMultipart, FieldInvalid, UploadMissing, FileProblem in all its kinds.
    """
    form = await read_form(request)
    context = context.for_form(request.method, request.path, form.canonical)
    kind, taken_on = _kind(form), _taken_on(form)
    file = form.file("file")
    if not 1 <= len(file.name) <= FILE_NAME_LENGTH_MAX:
        raise FieldInvalid(field="file")
    material = await context.service.read(measure, file, kind, taken_on)
    receipt = await context.replayed_receipt()
    if receipt is None:
        state = await context.service.read(context.ledger.state, "application", application_id)
        receipt = await context.record_with_file(
            lambda files: files.store(
                file.data,
                stream_of("application", application_id),
                state.person_id,
                data_class_of(kind),
            ),
            lambda sha256: SubmitDocument(
                application_id=application_id,
                material=material,
                sealed_sha256=sha256,
                file_name=file.name,
            ),
        )
    location = f"/applications/{application_id}/documents/{kind.value}"
    return receipt_response(receipt, context.path(location))


routes.routes += [
    CommandRoute(
        SUBMIT_DOCUMENT,
        "POST /applications/{application_id}/documents",
        "submit_document",
        tag=TAG,
        summary="上传一份资料 · Hand one document in",
        docs="""
    证件照须为近半年内2寸白底彩色照片、不超过50KB、文件名“姓名_证件号”。所有问题一次列出。·
    A file is judged by its bytes, and every fault is named at once. A newer file of the same kind
    takes the older one's place. Source: 3.1(1)-(5).""",
        handler=submit_document,
        openapi_extra=form_schema(
            {
                "kind": {
                    "type": "string",
                    "enum": [kind.value for kind in MaterialKind],
                    "description": "资料种类 · kind of document",
                },
                "taken_on": {
                    "type": "string",
                    "format": "date",
                    "description": "照片拍摄日期(照片内无记录时)· day a photo was taken, where the "
                    "picture itself does not say",
                },
            },
            ["kind"],
            "PDF, JPEG, PNG",
        ),
    ),
]


def measure(file: UploadedFile, kind: MaterialKind, taken_on: date | None) -> MaterialFact:
    """What the bytes of a file are; blocking. Raises: FileProblem in all its kinds."""
    if kind is MaterialKind.PHOTO:
        facts = inspect_photo(file.data)
        return MaterialFact(
            kind=kind,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            media_type=facts.media_type,
            photo=facts.fact(taken_on),
        )
    media_type = inspect_document(file.data, file.media_type)
    return MaterialFact(
        kind=kind,
        sha256=hashlib.sha256(file.data).hexdigest(),
        size_bytes=len(file.data),
        media_type=media_type,
    )


def _kind(form: Form) -> MaterialKind:
    try:
        return MaterialKind(form.texts.get("kind", ""))
    except ValueError:
        raise FieldInvalid(field="kind") from None


def _taken_on(form: Form) -> date | None:
    text = form.texts.get("taken_on")
    if not text:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise FieldInvalid(field="taken_on") from None


@routes.get(
    "/applications/{application_id}/documents/{kind}",
    operation_id="get_document",
    summary="下载一份资料 · Download a document",
    responses={**file_response(DOCUMENT_TYPES, "文件 · the file as handed in"), **READING},
)
async def get_document(read: Read, application_id: ThingId, kind: MaterialKind) -> Response:
    """最近一次提交的该类资料。· The document of that kind that was handed in last."""
    await read.candidacy(application_id)
    files = read.service.files(read.ledger)
    data, media_type = await read.run(files.document_content, application_id, kind)
    extension = media_type.rpartition("/")[2]
    return Response(
        data,
        media_type=media_type,
        headers={
            # Named by its kind, not by its sender: that name holds a name and a number.
            "Content-Disposition": f'attachment; filename="{kind.value}.{extension}"',
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-store",
        },
    )


routes.routes += [
    CommandRoute(
        SUBMIT_DOCUMENTS,
        "POST /applications/{application_id}/submission",
        "submit_documents",
        tag=TAG,
        summary="提交审核 · Send the documents into review",
        docs="""
        资料齐全后进入三级审核;补正后从初审重新开始。· The set goes into review once it is
        complete; after a supplement the three reviews start again. Source: 3.2(2).""",
        location="/applications/{application_id}",
    ),
    CommandRoute(
        REVIEW,
        "POST /applications/{application_id}/reviews/{stage}",
        "review",
        tag=TAG,
        summary="审核 · Give one of the three reviews",
        docs="""
    初审由报名机构、复审由认证方、终审由省系统;终审通过即报考成功。· Initial by the agency,
    second by the certifier, final by the province, never twice by the same person or organisation.
    A final pass *is* 报考成功; any rejection makes what may go back owed. Source: 3.2(2), 2.4.""",
        example={"verdict": "pass", "round": 1},
        location="/applications/{application_id}",
    ),
]
