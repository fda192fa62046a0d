"""The routers there are, in the order in which they are tried."""

from api import (
    applications,
    boards,
    certificates,
    certificates_shown,
    events,
    exams,
    finance,
    health,
    ledgers,
    lookups,
    notices,
    payments,
    people,
    refunds,
    reports,
    reviews,
    scores,
    statistics,
)

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
