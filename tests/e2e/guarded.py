"""What tests of the start guard share: who asks near the present epoch, and remembers all that was ever signed."""

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
