"""What tests of the start guard share: who asks near the present epoch, and remembers all that was ever signed."""

import json
import os
import time

import evidence
import harness

GENESIS = 1606824023  # of mainnet


def present_epoch():
    return int(time.time() - GENESIS) // 384


class Witness:
    """Asks, and remembers all that was ever signed."""

    def __init__(self, signer):
        self.signer = signer
        self.signed = set()
        self.epoch = present_epoch() - 200

    def ask(self, body, key=0):
        pubkey = self.signer.pubkeys[key]
        try:
            status, answer = self.signer.sign(pubkey, body, headers={"Accept": "application/json"})
        except OSError:
            return None
        if status == 200:
            self.signed.add(evidence.message_of(pubkey, body))
        return status, answer.get("code") if status != 200 else None

    def sign_on(self, rounds):
        for _ in range(rounds):
            self.epoch += 1
            assert self.epoch <= present_epoch()
            for key in range(len(self.signer.pubkeys)):
                assert self.ask(harness.attestation(self.epoch - 1, self.epoch), key) == (200, None)
                assert self.ask(harness.block(self.epoch * 32), key) == (200, None)

    def ask_for_other(self, first, last):
        """Other votes and blocks for all these epochs, and votes around them."""
        for epoch in range(first, last):
            for key in range(len(self.signer.pubkeys)):
                self.ask(harness.attestation(epoch - 1, epoch, mark=7), key)
                self.ask(harness.block(epoch * 32, mark=7), key)
        for key in range(len(self.signer.pubkeys)):
            self.ask(harness.attestation(first - 5, last + 2, mark=7), key)
            self.ask(harness.attestation(last - 3, last + 1, mark=7), key)

    def judge(self):
        pair = evidence.slashable_pair(list(self.signed))
        assert pair is None, pair


def started(signer):
    signer.start()
    signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
    return signer


def guard(signer):
    return json.loads(harness.run("slashing", "status", "--data-dir", signer.data_dir, "--json").stdout)["start_guard"]


def start_on_a_log_of_another_day(signer):
    """Of a running signer: its audit log is put back to what it was two starts ago. It finds out."""
    witness = Witness(signer)
    path = os.path.join(signer.data_dir, "audit.log")
    witness.sign_on(1)
    signer.stop()
    with open(path, "rb") as log:
        old = log.read()
    started(signer)
    witness.sign_on(1)
    signer.stop()
    with open(path, "wb") as log:
        log.write(old)
    os.unlink(path + ".journal")
    started(signer)
    signer.wait_until(lambda: "audit_broken" in signer.log(), "the store knows of a line that is not there")
