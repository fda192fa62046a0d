"""The front doors: HTTP, web pages, command line. The only room that knows statuses and secrets.

Reading order: `app.py` (create_app, how everything is put together), `access.py` (who may do
what), `errors.py` (what a refusal looks like), `requests.py` (what every route is given), then one
router per noun: ledgers, people, applications, payments, reviews, refunds, exams, scores, notices,
certificates, reports, lookups, finance, statistics, events, health. How a connection is served:
`http_connection.py`, `quick.py`, `elsewhere.py`.
"""
