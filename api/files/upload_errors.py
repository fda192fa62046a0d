"""Errors of unacceptable uploads, raised by `api.files.upload_inspection`.

The first line of each docstring is the message for the sender: Chinese, with what to do. Fields
never contain the file name, nor anything else that the sender wrote.
"""

from domain.errors import LedgerError


class FileProblem(LedgerError):
    """文件无法接受。

    Base class of the errors below; never raised itself.
    """

    code = "file_problem"


class UploadEmpty(FileProblem):
    """文件是空的，请重新上传。"""

    code = "upload_empty"


class UploadTooLarge(FileProblem):
    """文件大小为{size_bytes}字节，不得超过{limit_bytes}字节（10 MB）。"""

    code = "upload_too_large"


class UploadTypeUnknown(FileProblem):
    """文件不是 PDF、JPEG 或 PNG 格式。"""

    code = "upload_type_unknown"


class UploadTypeDiffers(FileProblem):
    """文件内容是{found}，与声明的格式{declared}不符。"""

    code = "upload_type_differs"


class UploadHasForeignContent(FileProblem):
    """文件中夹带了其他格式的内容，请重新导出后上传。"""

    code = "upload_has_foreign_content"


class PictureUnreadable(FileProblem):
    """图片已损坏或不完整，无法打开。"""

    code = "picture_unreadable"


class PictureTooManyPixels(FileProblem):
    """图片像素过多，最多{limit_px}像素。"""

    code = "picture_too_many_pixels"


class PictureAnimated(FileProblem):
    """图片含有多帧画面，请上传单张静态图片。"""

    code = "picture_animated"


class PictureNotRgb(FileProblem):
    """图片颜色模式为{mode}，请另存为RGB模式。"""

    code = "picture_not_rgb"


class PictureTransparent(FileProblem):
    """图片含有透明部分，请另存为白底的不透明图片。"""

    code = "picture_transparent"


class PdfMalformed(FileProblem):
    """PDF文件已损坏或不完整，无法打开。"""

    code = "pdf_malformed"


class PdfEncrypted(FileProblem):
    """PDF文件已加密，请去除密码后上传。"""

    code = "pdf_encrypted"


class PdfActive(FileProblem):
    """PDF文件含有脚本、附件或可执行内容，请重新打印为PDF后上传。"""

    code = "pdf_active"
