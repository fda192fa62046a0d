# Every target makes its own environment in .venv first. `make check` before each commit.
.PHONY: check test-no-db test-fast test docs run bench hooks format

check:      ## lint, format, types, package order, words: under a minute
	scripts/check

test-no-db: ## every test that needs no PostgreSQL, no browser and is not slow: about a minute
	.venv/bin/python -m pytest -q -m "not database and not browser and not slow"

test-fast:  ## every test that needs no browser and is not slow: under three minutes
	scripts/test -q -m "not slow and not browser"

test:       ## everything, as CI runs it
	scripts/test

format:     ## what lint and format can mend by themselves
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

docs:       ## the generated documents: clauses, facts and their schemas, reference
	.venv/bin/python scripts/export_clauses.py
	.venv/bin/python scripts/export_schemas.py
	.venv/bin/python scripts/export_reference.py

run:        ## the service with the example cohort on http://127.0.0.1:8000
	scripts/run

bench:      ## one benchmark or several: make bench NAME="lookup append"
	scripts/bench $(NAME)

hooks:      ## run `make check` before every commit from now on
	.venv/bin/pre-commit install
