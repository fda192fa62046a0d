"""The program `certledger`: serve, project, import, export, verify, rebuild, keys, backup.

Imports every package of api. Reading order: `main.py` (commands, errors and exit codes),
`environment.py` (settings, database and ledgers of a command), then one module for each group of
commands.
"""
