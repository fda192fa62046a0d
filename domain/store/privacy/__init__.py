"""Personal data: field encryption with a data key a person (crypto-shredding), blind indexes.

Begin with vault.py; cipher_suites.py holds the algorithms, blind_index.py the keyed indexes.
"""
