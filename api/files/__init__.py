"""File formats: uploads that are validated and read, documents that are generated.

Knows nothing of HTTP or the service; imports values and materials of the domain. Uploads: begin
with `upload_inspection.py` (photos, PDF) and `tables.py` (the one table reader, over the formats of
`table_readers.py`). Generated files: `authority_report_xlsx.py`, `admission_ticket_pdf.py` on
`pdf.py`, `csv_export.py`.
"""
