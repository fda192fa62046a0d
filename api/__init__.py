"""Access to the service: HTTP interface, web pages, importer, server processes, command line.

Only this room knows HTTP statuses, tokens and secrets. A package imports the packages above it in
this list, never one below it (tests/test_architecture.py holds the order):

    settings, errors/, files/     settings, error codes and their statuses, file formats
    auth/, lookup/, transparency/ tokens and roles; the public lookup; checkpoints of the log
    work/                         what the service does by itself when it is due
    http/, imports/               what every route uses; the importer
    routes/, web/                 the JSON routes, one module a noun; the HTML pages
    openapi, app                  the OpenAPI document; `create_app`, the composition root
    server/                       sockets, fast paths, lookup worker processes
    cli/                          the program `certledger`

Reading order for a request: `app.py`, `http/middleware.py`, `http/routing.py`,
`http/dependencies.py`, one module of `routes/`, `errors/problem_details.py`. For an operator's
command: `cli/main.py`. Below this room: `projections` (read models) and `domain` (rules, journal).
"""
