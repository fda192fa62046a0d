"""The routers there are, in the order in which they are tried."""

from api.routes import application_certificates as certificates_shown
from api.routes import (
    applications,
    certificates,
    finance,
    health,
    ledgers,
    notices,
    payments,
    refunds,
    reviews,
    scores,
    statistics,
)
from api.routes import authority_reports as reports
from api.routes import exam_sessions as exams
from api.routes import journal as events
from api.routes import lookup as lookups
from api.routes import persons as people
from api.routes import score_board as boards

ROUTERS = (
    lookups.routes,  # first: asked most, and routes are tried in this order
    ledgers.everywhere,
    ledgers.routes,
    people.routes,
    applications.routes,
    payments.routes,
    reviews.routes,
    refunds.routes,
    exams.routes,
    scores.routes,
    notices.routes,
    boards.routes,
    certificates.routes,
    certificates_shown.routes,
    reports.routes,
    finance.routes,
    statistics.routes,
    events.routes,
    health.routes,
)
