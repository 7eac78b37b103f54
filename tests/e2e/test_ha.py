"""Two nodes behind HAProxy on one PostgreSQL, with the configurations of packaging/haproxy."""

import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys

import harness
import postgres
import pytest

sys.path.insert(0, os.path.join(harness.ROOT, "tools"))
import ha_demo  # noqa: E402

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
SECONDS = 6
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")


@pytest.mark.parametrize("balance", ["leader", "round-robin"])
def test_haproxy_reads_it(balance):
    environment = {"HOLDFAST_LISTEN": "127.0.0.1:1", "HOLDFAST_1": "127.0.0.1:2", "HOLDFAST_2": "127.0.0.1:3"}
    done = subprocess.run([HAPROXY, "-c", "-f", os.path.join(harness.ROOT, "packaging", "haproxy", f"{balance}.cfg")],
                          env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "")
@pytest.mark.parametrize("balance", ["leader", "round-robin"])
def test_a_signer_is_killed_under_load(tmp_path, balance):
    # Signers die here, no power is cut: what a slow disk does to the database is another test's matter.
    demo = ha_demo.Demo(str(tmp_path), balance, fsync=False)
    try:
        demo.start()
        demo.run(SECONDS)
        outcome = demo.report()
        assert outcome["missed twice"] == outcome["signed twice"] == 0, (outcome, demo.logs())
        assert outcome["duties"] > 100 and outcome["refused votes"] > 100, outcome
    finally:
        demo.close()


@pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "")
def test_a_signer_hangs(tmp_path):
    """A machine that answers nothing and closes nothing: what it was asked is asked of the other."""
    demo = ha_demo.Demo(str(tmp_path), "leader")

    def sign(key):
        return demo.answer("POST", f"/api/v1/eth2/sign/{key}", harness.attestation(400000, 400001))[0]

    try:
        demo.start()
        demo.signal_all(demo.nodes[0], signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                assert set(pool.map(sign, demo.keys[:16])) == {ha_demo.SIGNED}, demo.logs()
        finally:
            demo.signal_all(demo.nodes[0], signal.SIGCONT)
    finally:
        demo.close()
