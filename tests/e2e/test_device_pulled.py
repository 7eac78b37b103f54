"""Keys inside a SoftHSM2 token: the record is there before the token is asked, and the token is pulled while it signs."""

import concurrent.futures
import contextlib
import os
import signal
import threading

import audit
import postgres
import pytest
from ethereum import eip191, keccak256, recover
from harness import Signer, attestation, make_keystores, write_private
from softhsm import Token, needs_token
from test_duty import DUTY, ROLLUP, hash_of, needs_postgres

pytestmark = needs_token

CLIENTS = 4
TRIES = 5
# Far beyond what any deadline is: who has no answer by then hangs.
NO_HANG = 60


class WithToken(Signer):
    """A key in a token, and a validator's key in a file."""

    def __init__(self, folder, more=""):
        token_folder = os.path.join(str(folder), "token")
        os.makedirs(token_folder, mode=0o700)
        self.token = Token(token_folder)
        self.token.make_key("EC:secp256k1", "sequencer", 1)
        keystores = os.path.join(str(folder), "keystores")
        self.validators = make_keystores(keystores, 1)
        self.epoch = 10
        super().__init__(folder, keys=0, config=(
            f"signing_keys:\n  - {{backend: local-keystore, keystore_dir: {keystores}, password_file: {keystores}.password}}\n"
            f"{self.token.entry()}{more}"))

    def start(self, wait=True):
        super().start(wait)
        self.wait_until(lambda: len(self.accounts()) == 1, "the token's key")

    def rpc(self, method, *params):
        return self.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})[1]

    def accounts(self):
        return self.rpc("eth_accounts")["result"]

    def sign_message(self, message):
        """(digest, the signature or None, the code of the refusal)"""
        digest = keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)
        answer = self.rpc("eth_sign", self.accounts()[0], "0x" + message.hex())
        if "result" in answer:
            assert recover(digest, answer["result"]).lower() == self.accounts()[0].lower()
            return digest, answer["result"], None
        return digest, None, answer["error"]["data"]["code"]

    def signs(self):
        return self.sign_message(b"is it there?")[1] is not None

    def attests(self):
        self.epoch += 1
        return self.sign(self.validators[0], attestation(self.epoch, self.epoch + 1))[0] == 200

    def hsm(self):
        (pid,) = self.children()["holdfast-hsm"]
        return pid

    @contextlib.contextmanager
    def held(self):
        """Its process is stopped meanwhile, and goes on if nobody has ended it."""
        pid = self.hsm()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def asked(self):
        """The digests that the audit log, or what becomes part of it, has."""
        return {line["root"] for line in audit.lines(self.data_dir) if line["kind"] == "request"}


def sign_while_held(signer, ask, is_recorded):
    """The answer to ask(n): the token's process stands still until is_recorded(n)."""
    for n in range(TRIES):  # on a machine that sleeps over the deadline: once more
        signer.wait_until(signer.signs, "the token is there")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with signer.held():
                answer = pool.submit(ask, n)
                signer.wait_until(lambda n=n, answer=answer: is_recorded(n) or answer.done(), "the record")
                is_early = not answer.done()
            answer = answer.result(NO_HANG)
        if is_early and answer is not None:
            return n, answer
    raise AssertionError("never signed")


def test_the_audit_line_is_there_before_the_token_is_asked(tmp_path):
    with WithToken(tmp_path) as signer:
        def digest(n):
            message = b"round %d" % n
            return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)

        n, signature = sign_while_held(signer, lambda n: signer.sign_message(b"round %d" % n)[1],
                                       lambda n: "0x" + digest(n).hex() in signer.asked())
        assert recover(digest(n), signature).lower() == signer.accounts()[0].lower()


@needs_postgres
def test_a_duty_is_locked_before_the_token_is_asked(tmp_path):
    with postgres.Postgres(fsync=False) as server:
        url = os.path.join(str(tmp_path), "url")
        write_private(url, server.create_database("duties") + "\n")
        with WithToken(tmp_path, f"duty_protection: {{url_file: {url}, node_id: lone}}\n") as signer:
            signer.wait_until(lambda: signer.get("/api/v1/holdfast/status")[1]["duties"].get("healthy"), "duty locks can be had")
            address = signer.accounts()[0]

            def row(n):
                return server.psql(f"SELECT status, signature IS NULL FROM validator_duties WHERE slot = '{1000 + n}'", "duties")

            def ask(n):
                status, body = signer.request("POST", DUTY, {
                    "validatorAddress": address, "messageHash": hash_of(n), "rollupAddress": ROLLUP, "slot": str(1000 + n),
                    "blockNumber": 7, "dutyType": "ATTESTATION", "hashing": "eip191"})
                return body if status == 200 else None

            n, body = sign_while_held(signer, ask, lambda n: row(n) == "signing|t")
            assert recover(eip191(bytes.fromhex(hash_of(n)[2:])), body["signature"]).lower() == address.lower()
            assert row(n) == "signed|f"


def test_a_device_pulled_while_it_signs(tmp_path):
    """Errors, no hang, other keys go on, and it signs again by itself; nothing is signed that is not in the log."""
    with WithToken(tmp_path) as signer:
        over, lock, outcomes = threading.Event(), threading.Lock(), []

        def load(client):
            n = 0
            while not over.is_set():
                n += 1
                outcome = signer.sign_message(b"client %d, message %d" % (client, n))
                with lock:
                    outcomes.append(outcome)

        def since(mark, is_signed):
            with lock:
                return sum((signature is not None) == is_signed for _, signature, _ in outcomes[mark:])

        def wait_for(is_signed, what):
            mark = len(outcomes)
            signer.wait_until(lambda: since(mark, is_signed) > 2 * CLIENTS, what)

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(load, client) for client in range(CLIENTS)]
            try:
                wait_for(True, "signatures")
                before = signer.hsm()
                signer.token.pull()
                wait_for(False, "refusals without the device")
                assert signer.attests()
                signer.token.put_back()
                wait_for(True, "signatures again")
                assert signer.hsm() == before  # without a restart of anything
                os.kill(before, signal.SIGKILL)
                signer.wait_until(lambda: signer.children().get("holdfast-hsm", [before]) != [before], "another process")
                assert signer.attests()
                wait_for(True, "signatures of the next process")
            finally:
                over.set()
            for client in clients:
                client.result(NO_HANG)
        assert {code for _, _, code in outcomes} - {None} <= {"CUSTODY_UNAVAILABLE", "TIMEOUT"}
        signed = {"0x" + digest.hex() for digest, signature, _ in outcomes if signature is not None}
        signer.stop()
        audit.assert_holds(signer.data_dir)
        assert signed and signed <= signer.asked()
