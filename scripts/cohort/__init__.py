"""Generates the example cohort: people, their journeys, and the plain files these leave.

The same seed gives the same bytes. Every person is synthetic: region codes end in 99, which no
county has, and telephone numbers begin with 100.
Reading order: rng, tables, people, qualifications, journey, refunds, sessions (sittings, results),
failures, plan; pictures and documents_pdf draw the files.
"""
