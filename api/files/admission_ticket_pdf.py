"""The admission ticket (准考证) as a PDF of one A4 page.

The same sheet gives the same bytes: no clock, no random identifier, photo re-encoded by fixed
settings. It prints the values that the caller passes, masked or in full; it reads no other data.

Reading order: TicketSheet, render_ticket, then the drawing, top to bottom. Fonts: `api.files.pdf`.
Source: source-document 4.1, 4.2, 4.3(1), 4.3(2).
"""

import io
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import segno
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from api.files.pdf import Page, PdfTextTooLong, check_printable, pdf_font
from api.files.upload_inspection import upright_photo

CHINA = timezone(timedelta(hours=8))
"""China has one time zone, and no daylight saving time since 1991."""
SUBJECT_MINUTES = 90
"""Length of each exam. Source: source-document 4.3(2)."""

DEFAULT_RULES = (
    "考生须持本准考证和与报名信息一致的有效身份证件原件，按准考证规定的时间、地点参加考试。",
    "请提前到达考点并核对考场和座位号；迟到、交卷和离场按考场规定执行。",
    "除规定用品外，手机、智能手表等通讯及电子设备须关闭并存放在指定位置，不得带至座位。",
    "服从监考人员安排，保持安静，不得交头接耳、传递物品、抄袭或替他人作答。",
    "考试为线下机考，如遇设备故障请举手示意，由监考人员处理，不得自行重启或更换机位。",
    "理论知识考试、技能考核满分均为100分，两科均达到60分（含）以上为合格。",
    "违纪、作弊者按有关规定处理。",
)
"""考生须知 of a session without rules of its own. Source: source-document 4.2, 4.3."""

_ONE_LINE = r"^[^\x00-\x1f\x7f]+$"
Line = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=_ONE_LINE)]
ShortLine = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=_ONE_LINE)]


class TicketSubject(BaseModel):
    """One exam of the ticket (科目): 理论知识考试 or 技能考核."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ShortLine
    starts_at: AwareDatetime = Field(description="printed in China time (UTC+8)")
    minutes: int = Field(default=SUBJECT_MINUTES, ge=1, le=600, description="minutes")
    room: ShortLine = Field(description="考场")
    seat: ShortLine = Field(description="座位号")

    @property
    def time_text(self) -> str:
        """Such as `2026年10月17日 09:00—10:30`; the end names its day when that is another."""
        start = self.starts_at.astimezone(CHINA)
        end = start + timedelta(minutes=self.minutes)
        until = f"{end:%H:%M}" if end.date() == start.date() else f"{_day(end)} {end:%H:%M}"
        return f"{_day(start)} {start:%H:%M}—{until}"


class TicketSheet(BaseModel):
    """All that is printed on one admission ticket. Source: source-document 4.1, 4.2."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    organisation: Line = Field(description="评价机构")
    session_title: Line = Field(description="such as 2026年第3批次")
    ticket_number: ShortLine = Field(description="准考证号")
    name: Line = Field(description="姓名, masked or in full")
    document_type: ShortLine = Field(default="居民身份证", description="证件类型")
    document_number: ShortLine = Field(description="证件号码, masked or in full")
    occupation: Line = Field(description="职业名称")
    job: Line | None = Field(default=None, description="工种; None = printed as a dash")
    level: ShortLine = Field(description="such as 四级/中级工")
    subjects: tuple[TicketSubject, ...] = Field(min_length=1, max_length=4)
    place: Line = Field(description="考点名称")
    address: Line = Field(description="考点地址")
    photo: bytes | None = Field(default=None, repr=False, description="JPEG or PNG file")
    rules: tuple[Line, ...] = Field(default=DEFAULT_RULES, max_length=12)
    verification_url: Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,280}$")]


def render_ticket(sheet: TicketSheet, font_file: Path | None = None) -> bytes:
    """The ticket as a PDF file, the same bytes for the same sheet and font.

    font_file: a .ttf or .ttc with TrueType (glyf) outlines to embed; None = STSong-Light,
        not embedded.
    Raises: PdfFontUnusable; PdfTextUnprintable for characters the font lacks; PdfTextTooLong;
        the errors of `api.files.upload_inspection.inspect_photo` for an unacceptable photo.
    Source: source-document 4.1, 4.2.
    """
    font = pdf_font(font_file)
    check_printable(_texts(sheet), font)
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1, lang="zh-CN")
    canvas.setTitle("准考证")
    canvas.setAuthor(sheet.organisation)
    canvas.setCreator("certledger")
    page = Page(canvas, font)
    below = _draw_heading(page, sheet)
    below = _draw_person(page, sheet, below)
    below = _draw_exams(page, sheet, below)
    _draw_rules(page, sheet, below)
    _draw_footer(page, sheet)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


LEFT, RIGHT = 20 * mm, A4[0] - 20 * mm
TOP, BOTTOM = A4[1] - 20 * mm, 20 * mm
FOOTER_HEIGHT = 40 * mm
PHOTO_WIDTH, PHOTO_HEIGHT = 35 * mm, 49 * mm


def _day(moment: datetime) -> str:
    return f"{moment.year}年{moment.month:02d}月{moment.day:02d}日"


def _draw_heading(page: Page, sheet: TicketSheet) -> float:
    """Organisation, title, session. Returns: the y below which drawing continues."""
    middle = (LEFT + RIGHT) / 2
    size = page.fitting(sheet.organisation, 14, RIGHT - LEFT)
    page.text(middle, TOP - 5 * mm, sheet.organisation, size, centre=True)
    page.text(middle, TOP - 15 * mm, "职业技能等级认定考试", 16, bold=True, centre=True)
    page.text(middle, TOP - 28 * mm, "准  考  证", 26, bold=True, centre=True)
    size = page.fitting(sheet.session_title, 11, RIGHT - LEFT)
    page.text(middle, TOP - 36 * mm, sheet.session_title, size, centre=True)
    return TOP - 41 * mm


def _draw_person(page: Page, sheet: TicketSheet, top: float) -> float:
    """The candidate, with the photo at the right. Returns: the y below."""
    rows = (
        ("准考证号", sheet.ticket_number),
        ("姓    名", sheet.name),
        ("证件类型", sheet.document_type),
        ("证件号码", sheet.document_number),
        ("职业（工种）", f"{sheet.occupation}（{sheet.job}）" if sheet.job else sheet.occupation),
        ("认定等级", sheet.level),
    )
    label, box = 30 * mm, PHOTO_WIDTH + 6 * mm
    height = (PHOTO_HEIGHT + 5 * mm) / len(rows)
    value = RIGHT - LEFT - label - box
    for number, (name, text) in enumerate(rows, 1):
        y = top - number * height
        page.cell(LEFT, y, label, height, name, label=True)
        page.cell(LEFT + label, y, value, height, text)
    bottom = top - len(rows) * height
    page.cell(RIGHT - box, bottom, box, top - bottom, " " if sheet.photo else "照  片")
    if sheet.photo is not None:
        _draw_photo(page, sheet.photo, RIGHT - box, bottom, box, top - bottom)
    return bottom


def _draw_photo(page: Page, photo: bytes, x: float, y: float, width: float, height: float) -> None:
    """The photo in the middle of its box, in its own proportions.

    It is encoded again, which drops its metadata and anything hidden in the file.
    """
    image = upright_photo(photo)
    scale = min(PHOTO_WIDTH / image.width, PHOTO_HEIGHT / image.height)
    dots = min(1.0, 300 / (72 / scale))  # 300 dots per inch print well; more only adds weight
    if dots < 1:
        image = image.resize((round(image.width * dots), round(image.height * dots)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    drawn = scale * image.width / dots, scale * image.height / dots
    page.canvas.drawImage(
        ImageReader(io.BytesIO(buffer.getvalue())),
        x + (width - drawn[0]) / 2,
        y + (height - drawn[1]) / 2,
        *drawn,
    )


def _draw_exams(page: Page, sheet: TicketSheet, top: float) -> float:
    """When and where (时间、地点). Returns: the y below. Source: source-document 4.2."""
    widths = (38 * mm, 82 * mm, 25 * mm, 25 * mm)
    height = 10 * mm
    y = top - 5 * mm
    rows: list[Sequence[str]] = [("考试科目", "考试时间", "考场", "座位号")]
    rows += [(one.name, f"{one.time_text}（{one.minutes}分钟）", one.room, one.seat)
             for one in sheet.subjects]  # fmt: skip
    for number, row in enumerate(rows):
        y -= height
        x = LEFT
        for width, text in zip(widths, row, strict=True):
            page.cell(x, y, width, height, text, label=number == 0)
            x += width
    for name, text in (("考点名称", sheet.place), ("考点地址", sheet.address)):
        y -= height
        page.cell(LEFT, y, widths[0], height, name, label=True)
        page.cell(LEFT + widths[0], y, RIGHT - LEFT - widths[0], height, text)
    return y


def _draw_rules(page: Page, sheet: TicketSheet, top: float) -> None:
    """考生须知, numbered. Raises: PdfTextTooLong if it does not fit above the footer."""
    y = top - 9 * mm
    page.text(LEFT, y, "考生须知", 12, bold=True)
    y -= 2 * mm
    for size in (10.5, 10, 9.5, 9, 8.5, 8):
        lines = [
            (f"{number}." if first == 0 else "", line)
            for number, rule in enumerate(sheet.rules, 1)
            for first, line in enumerate(page.wrap(rule, size, RIGHT - LEFT - 7 * mm))
        ]
        if y - len(lines) * size * 1.6 >= BOTTOM + FOOTER_HEIGHT:
            break
    else:
        raise PdfTextTooLong(part="the list of candidate rules")
    for number, line in lines:
        y -= size * 1.6
        page.text(LEFT, y, number, size)
        page.text(LEFT + 6 * mm, y, line, size)


def _draw_footer(page: Page, sheet: TicketSheet) -> None:
    """The QR code of the ticket's verification page, and the issuer."""
    code = segno.make(sheet.verification_url, error="m", micro=False, boost_error=False)
    matrix = tuple(code.matrix)
    side = 30 * mm
    module = side / len(matrix)
    x, y = RIGHT - side, BOTTOM + 5 * mm
    path = page.canvas.beginPath()
    for row, bits in enumerate(matrix):
        for column, dark in enumerate(bits):
            if dark:
                path.rect(x + column * module, y + side - (row + 1) * module, module, module)
    page.canvas.drawPath(path, stroke=0, fill=1)
    page.text(x + side / 2, BOTTOM, "扫码核验准考证", 8, centre=True)
    page.canvas.linkURL(sheet.verification_url, (x, y, x + side, y + side))
    issuer = f"评价机构：{sheet.organisation}"
    page.text(LEFT, BOTTOM + 22 * mm, issuer, page.fitting(issuer, 11, x - LEFT - 10 * mm))
    page.text(LEFT, BOTTOM + 14 * mm, "考生签名：", 11)
    page.canvas.setLineWidth(0.5)
    page.canvas.line(LEFT + 20 * mm, BOTTOM + 13 * mm, LEFT + 70 * mm, BOTTOM + 13 * mm)
    page.text(LEFT, BOTTOM + 6 * mm, "本准考证请用A4纸打印，正反面不得涂改、书写其他内容。", 9)


def _texts(sheet: TicketSheet) -> list[str]:
    """Every text that is printed."""
    texts = [value for _, value in sheet if isinstance(value, str)] + list(sheet.rules)
    return texts + [text for one in sheet.subjects for text in (one.name, one.room, one.seat)]
