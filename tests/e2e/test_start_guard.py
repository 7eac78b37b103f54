"""The start guard: a slashing record that was put back from a copy signs nothing that it may have forgotten.

The judge is apart from the signer: it knows each message that was ever signed, before and after the copy."""

import itertools
import os
import shutil
import threading
import time

import harness
import pytest
from conftest import wait_for
from guarded import Witness, present_epoch

FILES = ("slashing.sqlite", "slashing.sqlite-wal", "start_guard")
# Which files come back, over the ones that are there or as new ones, whether memory was lost, how it ended before.
SUBSETS = [names for n in (3, 1, 2) for names in itertools.combinations(FILES, n)]
SCENARIOS = [(names, place, memory, end) for names in SUBSETS for place in ("over", "anew")
             for memory in ("kept", "lost") for end in ("stop", "kill")]
if os.environ.get("HF_SOAK") != "1":  # each subset, and each of the others with some of them
    SCENARIOS = SCENARIOS[:8:3] + SCENARIOS[8::9]
if harness.SANITIZED:
    SCENARIOS = SCENARIOS[::3]


def copy_slowly(folder, copies):
    """As a backup does it: one file after the other, in pieces, while the signer writes."""
    for name in FILES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as source, open(os.path.join(copies, name), "wb") as out:
                while piece := source.read(16384):
                    out.write(piece)
                    time.sleep(0.001)


def put_back(copies, folder, names, place):
    for name in names:
        target = os.path.join(folder, name)
        if place == "anew" and os.path.exists(target):
            os.unlink(target)
        with open(os.path.join(copies, name), "rb") as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out)
        os.chmod(target, 0o600)


def start_if_it_does(signer):
    """False: it refuses to, which signs nothing either."""
    signer.start(wait=False)
    wait_for("a start or an end", lambda: signer.process.poll() is not None or signer.has_logged("ready"),
             harness.PATIENCE)
    if signer.process.poll() is not None:
        signer.wait_exit()
        return False
    signer.wait_ready()
    signer.wait_until(lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) >= len(signer.pubkeys), "keys")
    return True


@pytest.mark.parametrize("scenario", range(len(SCENARIOS)), ids=lambda i: "-".join(["+".join(
    name.replace("slashing.sqlite", "db") for name in SCENARIOS[i][0]), *SCENARIOS[i][1:]]))
def test_copies_put_back(signers, tmp_path, scenario):
    names, place, memory, end = SCENARIOS[scenario]
    signer = signers(keys=2).start()
    witness = Witness(signer)
    witness.sign_on(4)
    first = witness.epoch + 1
    load = threading.Thread(target=witness.sign_on, args=(6,))
    load.start()
    copy_slowly(signer.data_dir, str(tmp_path))
    load.join()
    witness.sign_on(3)
    last = witness.epoch + 1
    if end == "stop":
        signer.stop()
    else:
        signer.kill()
    put_back(str(tmp_path), signer.data_dir, names, place)
    if memory == "lost":
        signer.forget_memory()
    if start_if_it_does(signer):
        witness.ask_for_other(first - 2, last)
        if memory == "lost":
            assert signer.has_logged("start_guard", "nothing up to slot"), signer.log()
            assert witness.ask(harness.attestation(last, present_epoch())) == (412, "BELOW_WATERMARK")
        epoch = present_epoch() + 2  # an epoch later it signs
        assert witness.ask(harness.attestation(epoch - 1, epoch))[0] == 200
        assert witness.ask(harness.block(epoch * 32))[0] == 200
    witness.judge()


def test_an_ordinary_restart_costs_nothing(signer):
    witness = Witness(signer)
    for end in (signer.stop, signer.kill, signer.stop):
        witness.sign_on(2)
        end()
        signer.start()
        assert signer.has_logged("start_guard", "where this machine left it")
    witness.sign_on(1)
    witness.ask_for_other(witness.epoch - 6, witness.epoch + 1)
    witness.judge()


def test_a_removed_database(signer):
    """Its keys are unknown to the new one: they have the floors all the same."""
    witness = Witness(signer)
    witness.sign_on(3)
    signer.stop()
    for name in FILES[:2]:
        if os.path.exists(os.path.join(signer.data_dir, name)):
            os.unlink(os.path.join(signer.data_dir, name))
    signer.start()
    assert signer.has_logged("start_guard", "not the one that this machine worked on")
    assert witness.ask(harness.attestation(witness.epoch - 1, witness.epoch, mark=1)) == (412, "BELOW_WATERMARK")
    assert witness.ask(harness.block(witness.epoch * 32, mark=1)) == (412, "BELOW_WATERMARK")
    witness.judge()


def test_modes(signers):
    always = signers(keys=1, config="slashing_protection: {start_guard: always}\n").start()
    assert always.has_logged("start_guard", "start_guard is always")
    assert Witness(always).ask(harness.attestation(1, 2)) == (412, "BELOW_WATERMARK")
    off = signers(keys=1, config="slashing_protection: {start_guard: off}\n").start()
    off.stop()
    off.forget_memory()
    off.start()
    assert off.has_logged("start_guard", "start_guard is off")
    assert Witness(off).ask(harness.attestation(1, 2)) == (200, None)


def test_reboot_and_what_it_costs(signer):
    witness = Witness(signer)
    witness.sign_on(1)
    signer.stop()
    signer.forget_memory()
    signer.start()
    assert signer.has_logged("start_guard", "at the cost of an epoch of duties at most")
    assert witness.ask(harness.attestation(witness.epoch, witness.epoch + 1)) == (412, "BELOW_WATERMARK")
    epoch = present_epoch() + 2
    assert witness.ask(harness.attestation(epoch - 1, epoch)) == (200, None)
    signer.stop()
    signer.start()
    assert signer.has_logged("start_guard", "where this machine left it")
    witness.judge()
