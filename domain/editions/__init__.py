"""Rules that change without a release: calendars, eligibility, documents, fees … (规则版本).

Imports `domain.values`, `domain.documents`, `domain.eligibility` and `domain.errors`. Begin with
edition.py: an edition is a name, a first day and a content; contents.py says what each kind holds
(fees.py, retention.py, posting.py and refund_rules.py have the contents that nothing else defines),
packaged.py has the first edition of each kind, edition_file.py reads the file of one.
"""
