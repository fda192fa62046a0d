"""The kinds of application documents (资料类型)."""

from enum import StrEnum


class MaterialKind(StrEnum):
    """The document types of source 3.1. The values are stored in facts and never change."""

    IDENTITY_PROOF = "identity_proof"  # 身份证明文件, 3.1(1)
    EDUCATION_CERTIFICATE = "education_certificate"  # 毕业证书, 3.1(2)
    ENROLMENT_PROOF = "enrolment_proof"  # 学籍证明 of 技工院校/中职 final-year students, 3.1(2)
    WORK_HISTORY = "work_history"  # 参加工作经历及相关证明材料, 3.1(3)
    PHOTO = "photo"  # 2寸白底彩色证件照, 3.1(4)
    SKILL_CERTIFICATE = "skill_certificate"  # 职业资格证书、技能等级证书, 3.1(5)
    TRAINING_CERTIFICATE = "training_certificate"  # 培训结业证书, 1.2(3)

    @property
    def chinese_name(self) -> str:
        """The name the application form prints, such as 学籍证明."""
        return _CHINESE_NAMES[self]


_CHINESE_NAMES = {
    MaterialKind.IDENTITY_PROOF: "身份证明文件",
    MaterialKind.EDUCATION_CERTIFICATE: "毕业证书",
    MaterialKind.ENROLMENT_PROOF: "学籍证明",
    MaterialKind.WORK_HISTORY: "工作经历证明",
    MaterialKind.PHOTO: "证件照",
    MaterialKind.SKILL_CERTIFICATE: "职业技能证书",
    MaterialKind.TRAINING_CERTIFICATE: "结业证书",
}
