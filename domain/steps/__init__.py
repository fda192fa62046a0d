"""The rules, one module a step of the journey: commands, decisions, read sets and specs.

Begin with enrolment.py. Imports the pure domain below it, never `domain.service` or `domain.store`.
Order of the journey: ledger_setup, enrolment, payment, review, refund, exam, public_notice,
number_allocation, certificate, authority_report. Each module ends with its `SPECS`.
"""
