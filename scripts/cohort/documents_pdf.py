"""Generates the applications' documents: one plain page each, marked SPECIMEN, under 2 KB.

The PDF is assembled here rather than by a library, so that its bytes never change. The font is one
that every reader of Chinese PDF files provides, so none is embedded.
"""

from __future__ import annotations

from domain.documents.materials import MaterialKind

LINES = {
    MaterialKind.IDENTITY_PROOF: ("身份证明文件(样张)", "正反面复印件", "仅用于认定报名"),
    MaterialKind.EDUCATION_CERTIFICATE: ("毕业证书(样张)", "准予毕业", "本专业 / 相关专业"),
    MaterialKind.ENROLMENT_PROOF: ("学籍证明(样张)", "在校应届毕业生", "本学年毕业"),
    MaterialKind.WORK_HISTORY: ("工作经历证明(样张)", "单位盖章处", "从业年限以所附证明为准"),
    MaterialKind.SKILL_CERTIFICATE: ("职业技能证书(样张)", "职业资格或技能等级", "原件已核对"),
    MaterialKind.TRAINING_CERTIFICATE: ("培训结业证书(样张)", "已达标准学时", "培训机构盖章处"),
}


def specimen(kind: MaterialKind, variant: int) -> bytes:
    """A one-page PDF. variant: a copy number, so that a kind has several files."""
    title, *rest = LINES[kind]
    content_lines = ["BT", "/F1 24 Tf 90 740 Td", f"<{_hex(title)}> Tj", "/F1 13 Tf"]
    for line in (*rest, f"SPECIMEN {kind.value} No. {variant:02d}"):
        content_lines += ["0 -34 Td", f"<{_hex(line)}> Tj"]
    content = "\n".join((*content_lines, "ET", "72 700 451 1 re f")).encode()
    return _pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H"
        b"/DescendantFonts[6 0 R]>>",
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/FontDescriptor 7 0 R"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>/DW 1000"
        b"/W[1[500] 814 939 500]>>",
        b"<</Type/FontDescriptor/FontName/STSong-Light/Flags 6/FontBBox[-25 -254 1000 880]"
        b"/ItalicAngle 0/Ascent 880/Descent -120/CapHeight 880/StemV 93>>",
    )


def _hex(text: str) -> str:
    return text.encode("utf-16-be").hex().upper()


def _pdf(*objects: bytes) -> bytes:
    """A PDF file of these objects, numbered from 1; the first is its catalogue."""
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
    )
    return bytes(out)
