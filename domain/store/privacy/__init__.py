"""Personal data: field encryption with a data key per person (crypto-shredding), blind indexes.

Begin with vault.py; cipher_suites.py has the algorithms, blind_index.py the keyed indexes.
"""
