"""Errors of the HTTP interface, and the responses that they become.

Imports `domain.errors` and the failures of the projections; nothing else of api.
The texts in Chinese and English are in `problem_texts.json`. Reading order: `problem_details.py`
(the table of statuses, the body of a problem), `request.py` (the errors), `validation.py` (faults
of values), `database.py` (failures of the database).
"""
