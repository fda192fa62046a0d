"""The admission ticket (准考证) as PDF: its content, reproducible bytes, refusals.

Covers: api/files/admission_ticket_pdf.py, api/files/pdf.py
"""

import io
import pickle
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import reportlab
import segno
from PIL import Image, ImageDraw
from pydantic import ValidationError
from pypdf import PdfReader
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from api.files.admission_ticket_pdf import CHINA, TicketSheet, TicketSubject, render_ticket
from api.files.pdf import (
    Page,
    PdfFontUnusable,
    PdfTextTooLong,
    PdfTextUnprintable,
    pdf_font,
)
from api.files.upload_errors import UploadTypeUnknown
from api.files.upload_inspection import inspect_document

VERA = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
URL = "https://example.org/t/3f9c2b7d1e8a4c5f90ab"


def photo(size: tuple[int, int] = (413, 579)) -> bytes:
    image = Image.new("RGB", size, (252, 252, 252))
    ImageDraw.Draw(image).ellipse((120, 150, 290, 380), fill=(226, 186, 160))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", comment=b"keep-me-out")
    return buffer.getvalue()


def sheet(**changed: object) -> TicketSheet:
    fields: dict[str, object] = {
        "organisation": "浙江今日头条科技有限公司",
        "session_title": "2026年第3批次",
        "ticket_number": "33000123202603000017",
        "name": "王小明",
        "document_number": "110105********002X",
        "occupation": "互联网营销师",
        "job": "直播销售员",
        "level": "四级/中级工",
        "subjects": (
            TicketSubject(
                name="理论知识考试",
                starts_at=datetime(2026, 10, 17, 1, 0, tzinfo=UTC),
                room="第1考场",
                seat="07",
            ),
            TicketSubject(
                name="技能考核",
                starts_at=datetime(2026, 10, 17, 13, 30, tzinfo=CHINA),
                room="第2考场",
                seat="12",
            ),
        ),
        "place": "杭州职业技能考核中心",
        "address": "浙江省杭州市余杭区示例路100号A座3层",
        "photo": photo(),
        "verification_url": URL,
    }
    return TicketSheet.model_validate(fields | changed)


def text_of(ticket: bytes) -> str:
    (page,) = PdfReader(io.BytesIO(ticket)).pages
    return page.extract_text()


def test_a_ticket_names_candidate_exams_times_place_and_seat():
    text = text_of(render_ticket(sheet()))
    for expected in (
        "准考证号 33000123202603000017",
        "王小明",
        "居民身份证",
        "110105********002X",
        "互联网营销师（直播销售员）",
        "四级/中级工",
        "2026年10月17日 09:00—10:30（90分钟）",
        "2026年10月17日 13:30—15:00（90分钟）",
        "第1考场 07",
        "第2考场 12",
        "杭州职业技能考核中心",
        "余杭区示例路100号A座3层",
        "考生须知",
        "60分（含）以上",
    ):
        assert expected in text


def test_a_ticket_is_one_a4_page_that_the_upload_inspection_accepts():
    ticket = render_ticket(sheet())
    (page,) = PdfReader(io.BytesIO(ticket)).pages
    assert [float(side) for side in page.mediabox[2:]] == pytest.approx(A4, abs=0.01)
    assert inspect_document(ticket, "application/pdf") == "application/pdf"


def test_the_same_sheet_gives_the_same_bytes_in_another_process_too():
    ticket = render_ticket(sheet())
    assert render_ticket(sheet()) == ticket
    code = (
        "import sys; from api.files.admission_ticket_pdf import TicketSheet, render_ticket;"
        "import pickle; sheet = TicketSheet.model_validate(pickle.load(sys.stdin.buffer));"
        "sys.stdout.buffer.write(render_ticket(sheet))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(sheet().model_dump()),
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert other.stdout == ticket


def test_any_change_of_the_sheet_changes_the_bytes():
    assert render_ticket(sheet(ticket_number="33000123202603000018")) != render_ticket(sheet())


def test_the_qr_code_holds_the_verification_url():
    (page,) = PdfReader(io.BytesIO(render_ticket(sheet()))).pages
    links = [note.get_object()["/A"]["/URI"] for note in page["/Annots"]]
    assert links == [URL]
    modules = sum(map(sum, segno.make(URL, error="m", micro=False, boost_error=False).matrix))
    modules_drawn = page.get_contents().get_data().count(b" re")
    assert modules_drawn >= modules > 100


def test_the_photo_is_printed_without_its_metadata():
    ticket = render_ticket(sheet())
    (page,) = PdfReader(io.BytesIO(ticket)).pages
    (image,) = page.images
    assert image.image.size == (413, 579)
    assert b"keep-me-out" not in image.data


def test_a_photo_of_many_pixels_is_printed_at_300_dots_per_inch():
    (page,) = PdfReader(io.BytesIO(render_ticket(sheet(photo=photo((1240, 1737)))))).pages
    width, height = page.images[0].image.size
    assert 410 <= width <= 414 and 574 <= height <= 580


def test_a_ticket_without_a_photo_leaves_a_place_to_paste_one():
    ticket = render_ticket(sheet(photo=None))
    assert "照  片" in text_of(ticket)
    assert not PdfReader(io.BytesIO(ticket)).pages[0].images


def test_an_unacceptable_photo_is_refused():
    with pytest.raises(UploadTypeUnknown):
        render_ticket(sheet(photo=b"GIF89a"))


def test_an_exam_past_midnight_shows_the_day_of_its_end():
    late = TicketSubject(
        name="技能考核", starts_at=datetime(2026, 10, 17, 23, 0, tzinfo=CHINA), room="1", seat="1"
    )
    assert late.time_text == "2026年10月17日 23:00—2026年10月18日 00:30"


def test_long_names_and_addresses_are_reduced_or_wrapped_never_cut():
    address = "浙江省杭州市余杭区五常街道" + "某某路与某某街交叉口" * 8 + "东侧大楼"
    name = "CHRISTOPHER ALEXANDER MAXIMILIAN VON HOHENZOLLERN-SIGMARINGEN"
    text = text_of(render_ticket(sheet(address=address, name=name)))
    joined = "".join(text.split())
    assert address in joined
    assert "HOHENZOLLERN-SIGMARINGEN" in joined


def test_the_rules_of_a_session_replace_the_default_rules():
    text = text_of(render_ticket(sheet(rules=("请携带黑色签字笔。",))))
    assert "1. 请携带黑色签字笔。" in " ".join(text.split())
    assert "违纪" not in text


def test_more_rules_than_one_page_holds_are_refused():
    with pytest.raises(PdfTextTooLong):
        render_ticket(sheet(rules=("很长的须知" * 24,) * 12))


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "王\n小明"},
        {"name": "王" * 200},
        {"subjects": ()},
        {"verification_url": "javascript:alert(1)"},
        {"verification_url": "https://example.org/准考证"},
        {"surprise": 1},
    ],
)
def test_an_unprintable_sheet_is_refused(changed: dict[str, object]):
    with pytest.raises(ValidationError) as caught:
        sheet(**changed)
    assert "小明" not in str(caught.value)


def test_a_character_outside_the_font_is_refused_by_code_point_without_the_name():
    with pytest.raises(PdfTextUnprintable, match=r"U\+2CD8D") as caught:
        render_ticket(sheet(name="王\U0002cd8d"))
    assert "王" not in str(caught.value)
    assert "䶮" in text_of(render_ticket(sheet(name="王䶮")))


def test_random_sheets_always_give_a_readable_page():
    chance = random.Random(5)
    for _ in range(10):
        name = "".join(chance.choice("赵钱孙李周吴郑王·ABC é") for _ in range(30))
        text = text_of(render_ticket(sheet(name=f"起{name}止", photo=None)))
        assert "起" in text and "止" in text


def test_the_used_glyphs_of_a_truetype_font_are_embedded():
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1)
    Page(canvas, pdf_font(VERA, needs="abc")).text(100, 100, "ticket 42", 12)
    canvas.save()
    (page,) = PdfReader(buffer).pages
    assert page.extract_text().strip() == "ticket 42"
    (font,) = [
        font.get_object()
        for font in page["/Resources"]["/Font"].values()
        if "Vera" in font.get_object()["/BaseFont"]
    ]
    assert "/FontFile2" in font["/FontDescriptor"]


def test_a_font_without_chinese_or_an_invalid_font_is_refused(tmp_path: Path):
    with pytest.raises(PdfFontUnusable, match="no Chinese"):
        render_ticket(sheet(), VERA)
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"OTTO" + b"\0" * 100)
    with pytest.raises(PdfFontUnusable, match="PostScript"):
        render_ticket(sheet(), broken)
    with pytest.raises(PdfFontUnusable, match="cannot be read") as caught:
        render_ticket(sheet(), tmp_path / "absent.ttf")
    assert str(tmp_path) not in str(caught.value)
