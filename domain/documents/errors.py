"""Faults of application documents (报名资料), one class each.

The rules are in `domain.documents.materials`. Candidates read the first line of each docstring, so
it is Chinese, says what to do, and never contains a name or a document number.
Reading order: the set as a whole, one file, the photo's file name, the photo itself.
Source: source-document 3.1(1)-(5).
"""

from domain.errors import LedgerError


class DocumentProblem(LedgerError):
    """报名资料有问题。

    Base class of the faults below; never raised itself.
    """

    code = "document_problem"


class UnknownMaterialKey(LedgerError):
    """The eligibility rules ask for a material {key!r} that has no document type."""

    code = "unknown_material_key"


class MissingMaterial(DocumentProblem):
    """缺少材料：{label}。

    Fields: kind (MaterialKind), label.
    """

    code = "missing_material"


class EnrolmentProofNotAccepted(DocumentProblem):
    """学籍证明仅适用于尚未取得毕业证书的技工院校、中职应届毕业生，请提交毕业证书或其他证明材料。

    Source: source-document 3.1(2)
    """

    code = "enrolment_proof_not_accepted"


class MediaTypeNotAllowed(DocumentProblem):
    """{label}不接受{media_type}格式，请改用：{allowed}。"""

    code = "media_type_not_allowed"


class FileEmpty(DocumentProblem):
    """{label}是空文件，请重新上传。"""

    code = "file_empty"


class FileTooLarge(DocumentProblem):
    """{label}大小为{size_bytes}字节，不得超过{limit_bytes}字节（10 MB）。"""

    code = "file_too_large"


class PhotoTooLarge(DocumentProblem):
    """证件照大小为{size_bytes}字节，不得超过{limit_bytes}字节。"""

    code = "photo_too_large"


class PhotoNameMalformed(DocumentProblem):
    """证件照文件名应为“姓名_证件号”，中间用一个下划线连接，不加其他内容。"""

    code = "photo_name_malformed"


class PhotoExtensionNotAllowed(DocumentProblem):
    """证件照文件扩展名应为 jpg、jpeg 或 png。"""

    code = "photo_extension_not_allowed"


class PhotoNamePersonDiffers(DocumentProblem):
    """证件照文件名中的姓名与报名信息不一致。"""

    code = "photo_name_person_differs"


class PhotoNameNumberDiffers(DocumentProblem):
    """证件照文件名中的证件号与报名信息不一致。"""

    code = "photo_name_number_differs"


class PhotoDateUnknown(DocumentProblem):
    """未能确定证件照的拍摄日期，请填写。"""

    code = "photo_date_unknown"


class PhotoTooOld(DocumentProblem):
    """证件照须在规定期限内拍摄：{earliest}（含）之后，该照片拍摄于{taken_on}。"""

    code = "photo_too_old"


class PhotoTakenLater(DocumentProblem):
    """证件照的拍摄日期{taken_on}晚于提交日期{submitted_on}。"""

    code = "photo_taken_later"


class PhotoNotTwoInch(DocumentProblem):
    """证件照宽高为{width_px}×{height_px}像素，不是2寸照片的比例（35×49毫米或35×53毫米）。"""

    code = "photo_not_two_inch"


class PhotoTooFewPixels(DocumentProblem):
    """证件照宽{width_px}像素，至少需要{limit_px}像素。"""

    code = "photo_too_few_pixels"


class PhotoTooManyPixels(DocumentProblem):
    """证件照宽{width_px}像素，最多{limit_px}像素。"""

    code = "photo_too_many_pixels"


class PhotoBackgroundNotWhite(DocumentProblem):
    """证件照背景不是白色，请更换白底照片。"""

    code = "photo_background_not_white"


class PhotoBackgroundUneven(DocumentProblem):
    """证件照背景明暗不均，请更换背景均匀的白底照片。"""

    code = "photo_background_uneven"


class PhotoNotInColour(DocumentProblem):
    """证件照是黑白照片，请更换彩色照片。"""

    code = "photo_not_in_colour"
