"""The importer: rows of CSV, XLSX and JSON files become commands of one ledger.

Imports `api.files` and the commands of the domain; nothing of HTTP. The command line calls it.
Reading order: `importer.py` (read, check, send), `source_files.py` (files to raw rows),
`row_types.py` with `columns.py` (what can be imported), `row_commands.py` (rows to commands), then
the parsers of cells.
"""
