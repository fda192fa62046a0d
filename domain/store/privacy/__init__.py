"""Personal data: field encryption with a data key per person (crypto-shredding), blind indexes.

Begin with field_encryption.py; cipher_suites.py has the algorithms, blind_index.py the keyed
indexes. Who is erased: `domain.steps.erasure`; the statement that destroys a key:
`domain.store.journal.person_keys`.
"""
