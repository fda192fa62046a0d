"""Uploaded PDF files: complete, not encrypted and without programs, or refused."""

import io
import random
import zlib

import pytest
from pypdf import PdfWriter

import api.files.upload_errors as problems
from api.files.upload_inspection import inspect_document, inspect_photo, upright_photo


def pdf(objects: list[bytes], *, trailer: bytes = b"", version: bytes = b"1.7") -> bytes:
    """A PDF of these objects (1 0 obj is the catalogue) with a right cross-reference table."""
    out, offsets = b"%PDF-" + version + b"\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer)
    return out + b"startxref\n%d\n%%%%EOF\n" % xref


CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Kids [] /Count 0 >>"


def object_stream(content: bytes, entries: bytes = b"/Filter /FlateDecode") -> bytes:
    body = zlib.compress(content) if b"Flate" in entries else content
    head = b"<< /Type /ObjStm /N 1 /First 4 %s /Length %d >>" % (entries, len(body))
    return head + b"\nstream\n" + body + b"\nendstream"


def test_a_pdf_written_by_a_library_is_accepted():
    writer = PdfWriter()
    writer.add_blank_page(width=595, height=842)
    buffer = io.BytesIO()
    writer.write(buffer)
    assert inspect_document(buffer.getvalue(), "application/pdf") == "application/pdf"


def test_an_encrypted_pdf_is_refused():
    writer = PdfWriter()
    writer.add_blank_page(width=595, height=842)
    writer.encrypt("secret", algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    with pytest.raises(problems.PdfEncrypted):
        inspect_document(buffer.getvalue(), "application/pdf")


def test_a_pdf_with_an_attachment_is_refused():
    writer = PdfWriter()
    writer.add_blank_page(width=595, height=842)
    writer.add_attachment("x.exe", b"MZ")
    buffer = io.BytesIO()
    writer.write(buffer)
    with pytest.raises(problems.PdfActive):
        inspect_document(buffer.getvalue(), "application/pdf")


@pytest.mark.parametrize(
    "action",
    [
        b"<< /S /JavaScript /JS (x) >>",
        b"<< /S /J#61vaScript /JS (x) >>",
        b"<< /S/Launch/F(cmd.exe) >>",
        b"<< /XFA (x) >>",
    ],
)
def test_actions_are_found_in_plain_text_in_hex_spelling_and_in_object_streams(action: bytes):
    with pytest.raises(problems.PdfActive):
        inspect_document(pdf([CATALOGUE, PAGES, action]), "application/pdf")
    hidden = object_stream(b"9 0 " + action)
    with pytest.raises(problems.PdfActive):
        inspect_document(pdf([CATALOGUE, PAGES, hidden]), "application/pdf")
    respelt = hidden.replace(b"/ObjStm", b"/Obj#53tm")
    with pytest.raises(problems.PdfActive):
        inspect_document(pdf([CATALOGUE, PAGES, respelt]), "application/pdf")


def test_a_harmless_object_stream_is_accepted_and_an_opaque_one_refused():
    harmless = object_stream(b"9 0 << /Type /Page >>")
    assert inspect_document(pdf([CATALOGUE, PAGES, harmless]), "application/pdf")
    for opaque in (
        harmless.replace(b"/FlateDecode", b"[/ASCIIHexDecode /FlateDecode]"),
        object_stream(b"9 0 << >>", b"/Filter /LZWDecode"),
    ):
        with pytest.raises(problems.PdfMalformed):
            inspect_document(pdf([CATALOGUE, PAGES, opaque]), "application/pdf")


def test_an_object_stream_that_inflates_without_end_is_refused():
    bomb = object_stream(b"\0" * 60_000_000)
    with pytest.raises(problems.PdfMalformed):
        inspect_document(pdf([CATALOGUE, PAGES, bomb]), "application/pdf")


def test_names_that_only_begin_like_an_action_are_accepted():
    fonts = b"<< /LaunchPad 1 /XFAnt 2 /EncryptMeNot 3 >>"
    assert inspect_document(pdf([CATALOGUE, PAGES, fonts]), "application/pdf")


@pytest.mark.parametrize(
    "data",
    [
        pdf([CATALOGUE, PAGES])[:-30],
        pdf([CATALOGUE, PAGES], version=b"9.9"),
        pdf([CATALOGUE, PAGES]).replace(b"/Root 1 0 R", b""),
        pdf([CATALOGUE, PAGES]).replace(b"startxref\n", b"startxref\n9"),
        b"%PDF-1.7\n%%EOF\n",
        b"%PDF-1.7\n" + b"stream\n" * 200_000,
    ],
)
def test_an_incomplete_pdf_is_refused(data: bytes):
    with pytest.raises(problems.PdfMalformed):
        inspect_document(data, "application/pdf")


def test_a_pdf_that_also_opens_as_zip_is_refused():
    with pytest.raises(problems.UploadHasForeignContent):
        inspect_document(pdf([CATALOGUE, PAGES]) + b"PK\x05\x06" + b"\0" * 18, "application/pdf")


def test_a_complete_pdf_is_accepted_as_a_document():
    assert inspect_document(pdf([CATALOGUE, PAGES]), "application/pdf") == "application/pdf"


def test_a_pdf_is_refused_as_a_photo():
    with pytest.raises(problems.UploadTypeUnknown):
        inspect_photo(pdf([CATALOGUE, PAGES]))
    with pytest.raises(problems.UploadTypeUnknown):
        upright_photo(pdf([CATALOGUE, PAGES]))


def test_a_randomly_damaged_pdf_is_accepted_or_refused_with_a_file_problem():
    chance, refused = random.Random(13), 0
    original = pdf([CATALOGUE, PAGES, object_stream(b"9 0 << >>")])
    for _ in range(200):
        damaged = bytearray(original)
        for _ in range(chance.randrange(1, 12)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            inspect_document(bytes(damaged), "application/pdf")
        except problems.FileProblem:
            refused += 1
    assert refused > 50
