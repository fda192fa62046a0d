"""Chinese text on a PDF page: fonts, lines, ruled boxes.

reportlab embeds TrueType outlines only, while the openly licensed Chinese fonts in package
registries are PostScript-flavoured, or variable with a default weight too thin to print. Pages
therefore name `STSong-Light`, which PDF viewers replace by their own Chinese font, and Helvetica
for ASCII, whose widths are the same in every viewer. If the operator names a TrueType file, all
text is set in it and the used glyphs are embedded.
Reading order: fonts, Page, line breaking. Lengths are in points (1/72 inch).
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path

from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

from domain.errors import LedgerError

VIEWER_FONT = "STSong-Light"
LABEL_GREY = 0.93
CLOSING = "，。、；：！？）》”’…—"


class PdfFontUnusable(LedgerError):
    """The font file for PDF pages cannot be embedded: {reason}."""

    code = "pdf_font_unusable"


class PdfTextUnprintable(LedgerError):
    """The PDF font has no glyph for {code_points}; set a more complete font file."""

    code = "pdf_text_unprintable"


class PdfTextTooLong(LedgerError):
    """The text does not fit on the page: {part} is too long."""

    code = "pdf_text_too_long"


@cache
def pdf_font(font_file: Path | None = None, needs: str = "准考证号姓名等级") -> str:
    """Register a font. Returns: its name, for Page.

    font_file: .ttf or .ttc with TrueType (glyf) outlines, its first face; None = VIEWER_FONT.
    needs: characters the file must have, so that no page is printed in empty boxes.
    Raises: PdfFontUnusable.
    """
    if font_file is None:
        pdfmetrics.registerFont(UnicodeCIDFont(VIEWER_FONT))
        return VIEWER_FONT
    # reportlab keeps fonts by name for the whole process: two files need two names.
    name = "embedded-" + hashlib.sha256(str(font_file).encode()).hexdigest()[:12]
    try:
        font = TTFont(name, str(font_file))
    except (TTFError, OSError) as wrong:
        # reportlab's message repeats the path, which the client must not see.
        outlines = "postscript outlines" in str(wrong)
        reason = "its outlines are PostScript, not TrueType" if outlines else "it cannot be read"
        raise PdfFontUnusable(reason=reason) from None
    if any(ord(sign) not in font.face.charToGlyph for sign in needs):
        raise PdfFontUnusable(reason="it has no Chinese")
    pdfmetrics.registerFont(font)
    return name


def check_printable(texts: Iterable[str], font: str) -> None:
    """Refuse text with characters the font lacks: a name must not be printed with gaps.

    Raises: PdfTextUnprintable with at most five code points, never the text.
    """
    glyphs = getattr(getattr(pdfmetrics.getFont(font), "face", None), "charToGlyph", None)
    signs = sorted(set("".join(texts)) - {" "})
    # STSong-Light is encoded in UCS-2, so a character beyond U+FFFF is printed as two boxes.
    missing = [sign for sign in signs if (ord(sign) not in glyphs if glyphs else sign > "\uffff")]
    if missing:
        raise PdfTextUnprintable(code_points=" ".join(f"U+{ord(s):04X}" for s in missing[:5]))


class Page:
    """Draws text, boxes and lines on one canvas in one font."""

    def __init__(self, canvas: Canvas, font: str) -> None:
        self.canvas = canvas
        self.font = font

    def width(self, text: str, size: float) -> float:
        """The width of a line of text, points."""
        return sum(pdfmetrics.stringWidth(run, font, size) for font, run in self._runs(text))

    def fitting(self, text: str, size: float, width: float) -> float:
        """The font size, reduced if necessary so that the text fits into the width."""
        return min(size, size * width / max(self.width(text, size), 1))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        bold: bool = False,
        centre: bool = False,
    ) -> None:
        """Draw text on the base line y. bold: outlined, since Chinese bold fonts are rare."""
        if centre:
            x -= self.width(text, size) / 2
        line = self.canvas.beginText(x, y)
        if bold:
            self.canvas.setLineWidth(size / 40)
            line.setTextRenderMode(2)
        for font, run in self._runs(text):
            line.setFont(font, size)
            line.textOut(run)
        line.setTextRenderMode(0)
        self.canvas.drawText(line)

    def _runs(self, text: str) -> list[tuple[str, str]]:
        """The text split by font: ASCII is set in Helvetica if no font is embedded."""
        if self.font != VIEWER_FONT:
            return [(self.font, text)]
        return [
            ("Helvetica" if ascii_only else self.font, "".join(signs))
            for ascii_only, signs in groupby(text, key=str.isascii)
        ]

    def cell(
        self, x: float, y: float, width: float, height: float, text: str, *, label: bool = False
    ) -> None:
        """A ruled box with centred text in up to three lines, reduced to fit.

        Raises: PdfTextTooLong.
        """
        self.canvas.setLineWidth(0.6)
        self.canvas.setFillGray(LABEL_GREY if label else 1)
        self.canvas.rect(x, y, width, height, stroke=1, fill=1)
        self.canvas.setFillGray(0)
        for size in (11, 10, 9, 8, 7):
            lines = self.wrap(text, size, width - 3 * mm)
            leading = size * 1.3
            if len(lines) * leading <= height - 1 * mm and (len(lines) == 1 or size <= 10):
                break
        else:
            raise PdfTextTooLong(part="a table cell")
        base = y + height / 2 + (len(lines) - 1) * leading / 2 - size * 0.36
        for number, line in enumerate(lines):
            if label or len(lines) == 1:
                self.text(x + width / 2, base, line, size, centre=True)
            else:
                self.text(x + 1.5 * mm, base - number * leading, line, size)

    def wrap(self, text: str, size: float, width: float) -> list[str]:
        """Lines no wider than `width`; not broken inside a number or a Latin word.

        No line begins with a closing mark: in Chinese typesetting it hangs in the margin.
        """
        lines = [""]
        for piece in _pieces(text):
            if lines[-1] and self.width(lines[-1] + piece, size) > width and piece not in CLOSING:
                lines.append("")
            for sign in piece if self.width(piece, size) > width else (piece,):
                if self.width(lines[-1] + sign, size) > width and sign not in CLOSING:
                    lines.append("")
                lines[-1] += sign
        return [line.strip() for line in lines if line.strip()]


def _pieces(text: str) -> list[str]:
    """Text split into unbreakable pieces: ASCII words, and other characters one by one."""
    pieces: list[str] = []
    for sign in text:
        joined = "!" <= sign <= "~" and pieces and "!" <= pieces[-1][-1] <= "~"
        if joined:
            pieces[-1] += sign
        else:
            pieces.append(sign)
    return pieces
