"""Keys from AWS Secrets Manager, played by tests/peers/aws_double.py on loopback: how long the signer takes for all of
them, each in a secret of its own, and whether it goes on at one pace."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "peers"))
import aws_double  # noqa: E402  pylint: disable=wrong-import-position

ROWS = ["secrets"]
SECONDS_MOST = 30
PARTS = 5


def pace(times):
    """The slowest fifth's seconds against the mean fifth's: 1 is perfectly steady."""
    marks = [times[min(len(times) - 1, i * len(times) // PARTS)] for i in range(PARTS)] + [times[-1]]
    parts = [later - earlier for earlier, later in zip(marks, marks[1:])]
    return max(parts) / (sum(parts) / PARTS) if sum(parts) else 1.0


def measure(bench, start_signer):
    count = bench.size["keys"]
    double = aws_double.start()
    for number in range(count):
        double.secrets.add(f"bench/{number:05}", aws_double.make_key(number).hex())
    keys = bench.make_keys("secrets-keys", 0, 1, "pbkdf2", 1)
    work = os.path.join(bench.work, "secrets-signer")
    os.mkdir(work, 0o700)
    settings = (f"  - {{backend: aws-secrets-manager, region: {aws_double.REGION}, endpoint_url: \"{double.url}\", "
                "prefixes: [bench/]}\n")
    before = dict(os.environ)
    os.environ.update(aws_double.environment())
    try:
        signer = start_signer(bench.build, work, keys, settings)
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        seconds = signer.wait_for_keys(count + 1)
    finally:
        signer.stop()
        double.shutdown()
    started = [at for name, at in double.times if name == "BatchGetSecretValue"]
    steadiness = pace(started)
    bench.notes["keys from Secrets Manager"] = (
        f"{count} secrets in {sum(double.counts.values())} requests; reading them took {started[-1] - started[0]:.2f} s, the "
        f"slowest fifth {steadiness:.2f} times the mean one")
    bench.row(f"{count} keys from Secrets Manager on loopback, from the start", seconds, SECONDS_MOST, False, "s",
              slowest_fifth=steadiness, requests=dict(double.counts))
