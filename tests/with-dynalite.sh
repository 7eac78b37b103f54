#!/bin/sh
# with-dynalite.sh COMMAND...: runs the command beside a private DynamoDB (dynalite, from npm), whose
# URL is in HF_TEST_DYNAMODB_URL, with a proxy before it that can be told to fail, in
# HF_TEST_DYNAMODB_PROXY, and stops both afterwards.
# Exit status: the command's; 77 (skipped) with the reason on stderr when node or the package is missing.
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$(dirname "$0")/peers/dynalite.py" run "$@"
