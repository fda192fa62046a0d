"""Sealed fields and files: encryption under data keys of persons and matters, blind indexes.

Begin with field_encryption.py; cipher_suites.py has the algorithms, sealed_files.py the format of
files, blind_index.py the keyed indexes. What wraps the data keys: bucket_keys.py and epoch_keys.py;
key_renewal.py renews those. Which fields are sealed: `domain.values.sealed_fields`. Who is erased:
`domain.steps.erasure`; the statement that destroys a key: `domain.store.journal.data_keys`.
"""
