"""The rules, one module a step of the journey: commands, decisions and what they read.

Begin with enrolment.py. Imports everything of the pure domain below it, never `domain.service` or `domain.store`. Order of
the journey: ledger_setup, enrolment, payment, review, refund, exam, publication,
number_allocation, certificate, authority_report.
"""
