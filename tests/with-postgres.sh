#!/bin/sh
# with-postgres.sh COMMAND...: runs the command beside a private PostgreSQL, whose URL (a superuser's,
# who may create databases) is in HF_TEST_POSTGRES_URL, and stops the server afterwards.
# Exit status: the command's; 77 (skipped) with the reason on stderr when there is no PostgreSQL.
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$(dirname "$0")/e2e/postgres.py" run "$@"
