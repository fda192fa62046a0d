"""Actors of the tests: one login for each role, and a second one where two persons are required."""

from domain.actors import Actor, Role


def staff(subject: str, role: Role, organisation: str) -> Actor:
    """A member of staff."""
    return Actor(subject=subject, role=role, organisation=organisation)


def candidate(n: int = 1) -> Actor:
    """The n-th candidate's own login."""
    return Actor(subject=f"candidate-{n}", role=Role.CANDIDATE, organisation="public")


OPERATOR = staff("operator-1", Role.OPERATOR, "ledger-office")
ASSISTANT = staff("assistant-1", Role.AGENCY, "agency-a")  # 客服, registers people
AGENCY = staff("agency-1", Role.AGENCY, "agency-a")  # 初审
CERTIFIER = staff("certifier-1", Role.CERTIFIER, "omc")  # 复审
PROVINCE = staff("province-1", Role.PROVINCE, "zhejiang")  # 终审
EXAMINER = staff("examiner-1", Role.EXAMINER, "exam-office")
EXAMINER_2 = staff("examiner-2", Role.EXAMINER, "exam-office")
VERIFIER = staff("verifier-1", Role.SCORE_VERIFIER, "exam-office")
VERIFIER_2 = staff("verifier-2", Role.SCORE_VERIFIER, "exam-office")
REGISTRAR = staff("registrar-1", Role.REGISTRAR, "omc")
REGULATOR = staff("regulator-1", Role.REGULATOR, "hrss")
FINANCE = staff("finance-1", Role.FINANCE, "omc")
FINANCE_2 = staff("finance-2", Role.FINANCE, "omc")
