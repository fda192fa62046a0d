"""The routers there are, in the order in which they are tried, and who may use their routes."""

from api.auth.permissions import Roles
from api.http.routing import AuthorizedRoute
from api.routes import (
    actors,
    application_certificates,
    applications,
    authority_reports,
    certificates,
    contested_registrations,
    editions,
    erasures,
    exam_sessions,
    finance,
    health,
    journal,
    ledgers,
    lookup,
    notices,
    payments,
    persons,
    refunds,
    reviews,
    score_board,
    scores,
    statistics,
)

ROUTERS = (
    lookup.routes,  # first: routes are tried in this order, and most requests are lookups
    ledgers.everywhere,
    ledgers.routes,
    editions.routes,
    persons.routes,
    erasures.routes,
    contested_registrations.routes,
    applications.routes,
    payments.routes,
    reviews.routes,
    refunds.routes,
    exam_sessions.routes,
    scores.routes,
    notices.routes,
    score_board.routes,
    certificates.routes,
    application_certificates.routes,
    authority_reports.routes,
    finance.routes,
    statistics.routes,
    journal.routes,
    actors.routes,
    health.routes,
)

ROUTES = tuple(
    route for router in ROUTERS for route in router.routes if isinstance(route, AuthorizedRoute)
)

ACCESS: dict[str, Roles] = {route.operation: route.roles for route in ROUTES}
"""Operation id -> roles that may call it, None for everybody. Derived: a command's roles are in its
`CommandSpec`, those of a read in `api.auth.permissions.READ_ACCESS`."""
