"""Duties of Aztec validators: two nodes on one PostgreSQL, their keys, locks, answers and faults."""

import concurrent.futures
import hashlib
import os
import signal
import time

import postgres
import pytest
from ethereum import address_of_secret, eip191, recover
from harness import ROOT, SANITIZED, Signer, is_confined, write_private

DUTY = "/api/v1/duty/sign"
SECRET = 0x4C0883A69102937D6231471B5DBB6204FE5129617082792AE468D01A3F362318
OTHER_SECRET = 7
ADDRESS = address_of_secret(SECRET)
OTHER_ADDRESS = address_of_secret(OTHER_SECRET)
ROLLUP = "0x" + "00" * 19 + "aa"
V3_PASSWORD = "testpassword"

reason = postgres.missing()
needs_postgres = pytest.mark.skipif(reason is not None, reason=str(reason))


def hash_of(*parts):
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def duty(slot, mark=0, /, **changes):
    body = {"validatorAddress": ADDRESS, "messageHash": hash_of(slot, mark), "rollupAddress": ROLLUP, "slot": str(slot),
            "blockNumber": 7, "dutyType": "ATTESTATION", "hashing": "eip191"}
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def make_keys(folder):
    """Web3Signer's key files: one raw key, and one version 3 keystore; and a BLS key beside them."""
    os.makedirs(folder, mode=0o700)
    with open(os.path.join(ROOT, "tests", "vectors", "web3-secret-storage", "quick.json"), encoding="utf-8") as text:
        write_private(os.path.join(folder, "account.json"), text.read())
    write_private(os.path.join(folder, "account.password"), V3_PASSWORD)
    write_private(os.path.join(folder, "keys.yaml"),
                  f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{OTHER_SECRET:064x}\"\n"
                  "---\ntype: file-keystore\nkeyType: SECP256K1\nkeystoreFile: account.json\n"
                  "keystorePasswordFile: account.password\n"
                  "---\ntype: file-raw\nkeyType: BLS\nprivateKey: \"0x" + f"{3:064x}" + "\"\n")


class Node(Signer):
    def __init__(self, folder, name, url=None, settings=""):
        os.makedirs(folder, exist_ok=True)
        keys = os.path.join(str(folder), "key-files")
        make_keys(keys)
        config = f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n"
        if url is not None:
            write_private(os.path.join(str(folder), "url"), url + "\n")
            config += f"duty_protection: {{url_file: {folder}/url, node_id: {name}{settings}}}\n"
        super().__init__(folder, keys=0, config=config)
        self.has_duties = url is not None

    def start(self, wait=True):
        super().start(wait)
        if wait:
            self.wait_until(lambda: self.get("/api/v1/holdfast/status")[1]["keys"]["loaded"] == 3, "its keys are loaded")

    def wait_for_duties(self):
        self.wait_until(lambda: self.get("/api/v1/holdfast/status")[1]["duties"].get("healthy"), "duty locks can be had")

    def duty(self, body):
        return self.request("POST", DUTY, body)


@pytest.fixture(scope="module", name="server")
def fixture_server():
    with postgres.Postgres() as server:
        yield server


@pytest.fixture(scope="module", name="nodes")
def fixture_nodes(server, tmp_path_factory):
    """Two nodes on one database, which migrate it at the same time."""
    folder = tmp_path_factory.mktemp("duty")
    url = server.create_database("duties")
    fast = ", signing_timeout_ms: 700, takeover_after_ms: 60000"
    with Node(folder / "a", "node-a", url, fast) as a, Node(folder / "b", "node-b", url, fast) as b:
        a.wait_for_duties()
        b.wait_for_duties()
        yield a, b


def signed(answer, digest, address=ADDRESS):
    status, body = answer
    assert status == 200, body
    assert recover(digest, body["signature"]) == address
    return body


def message(body):
    return bytes.fromhex(body["messageHash"][2:])


# ---- without a database -------------------------------------------------------------------------


@pytest.fixture(scope="module", name="lone")
def fixture_lone(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("lone"), "lone") as lone:
        yield lone


def test_bls_lists_show_no_ethereum_keys(lone):
    assert len(lone.get("/api/v1/eth2/publicKeys")[1]) == 1
    keys = lone.get("/api/v1/holdfast/status")[1]["keys"]
    assert (keys["loaded"], keys["by_type"]) == (3, {"BLS": 1, "SECP256K1": 2})
    assert sorted(keys["addresses"]) == sorted([ADDRESS.lower(), OTHER_ADDRESS.lower()])


@pytest.mark.parametrize("kind", ["AUTH_REQUEST", "TXS"])
def test_unprotected_types_need_no_database(lone, kind):
    body = duty(1, dutyType=kind, slot=None, blockNumber=None, rollupAddress=None)
    first = signed(lone.duty(body), eip191(message(body)))
    assert first["stored"] is False
    assert signed(lone.duty(body), eip191(message(body)))["signature"] == first["signature"]
    raw = {**body, "hashing": "raw", "validatorAddress": OTHER_ADDRESS}
    signed(lone.duty(raw), message(raw), OTHER_ADDRESS)


def test_protected_types_are_refused_without_a_database(lone):
    status, body = lone.duty(duty(1))
    assert (status, body["code"]) == (503, "DUTY_STORE_UNAVAILABLE")
    assert "duty_protection" in body["error"] and "signature" not in body


def test_an_unknown_validator_is_not_found(lone):
    status, body = lone.duty(duty(1, validatorAddress="0x" + "12" * 20))
    assert (status, body["code"]) == (404, "UNKNOWN_KEY")


@pytest.mark.parametrize("changes, words", [
    ({"slot": None}, "slot: missing"), ({"slot": "0x1"}, "slot: not a decimal number"),
    ({"slot": 2**63}, "slot: beyond 63 bits"), ({"dutyType": "VOTE"}, "dutyType: not a known type of duty"),
    ({"hashing": None}, "hashing: missing"), ({"messageHash": "0x12"}, "messageHash: not 32 bytes of hex"),
    ({"rollupAddress": "aztec"}, "rollupAddress: not 20 bytes of hex"), ({"blockNumber": None}, "blockNumber: missing"),
    ({"dutyType": "BLOCK_PROPOSAL"}, "blockIndexWithinCheckpoint: missing"),
])
def test_bad_input_names_the_member(lone, changes, words):
    status, body = lone.duty(duty(1, **changes))
    assert (status, body["code"]) == (400, "MALFORMED")
    assert body["error"].startswith(words)


# ---- two nodes ----------------------------------------------------------------------------------


@needs_postgres
def test_one_signature_for_both_nodes(nodes):
    a, b = nodes
    body = duty(100)
    first = signed(a.duty(body), eip191(message(body)))
    assert (first["signedBy"], first["stored"]) == ("node-a", False)
    for node in (b, a):
        again = signed(node.duty(body), eip191(message(body)))
        assert again == {"signature": first["signature"], "signedBy": "node-a", "stored": True}


@needs_postgres
def test_different_data_is_refused_by_both_nodes(nodes):
    a, b = nodes
    signed(b.duty(duty(101)), eip191(message(duty(101))))
    for node in (a, b):
        status, body = node.duty(duty(101, 1))
        assert (status, body["code"], body["signedBy"]) == (412, "DUTY_CONFLICT", "node-b")
        assert "signature" not in body


@needs_postgres
def test_what_makes_a_duty_another_one(nodes):
    a, _ = nodes
    others = [{"slot": 103}, {"dutyType": "CHECKPOINT_PROPOSAL"}, {"rollupAddress": "0x" + "bb" * 20},
              {"validatorAddress": OTHER_ADDRESS}, {"dutyType": "GOVERNANCE_VOTE", "hashing": "raw"},
              {"dutyType": "SLASHING_VOTE"}, {"dutyType": "ATTESTATIONS_AND_SIGNERS"},
              {"dutyType": "BLOCK_PROPOSAL", "blockIndexWithinCheckpoint": 0},
              {"dutyType": "BLOCK_PROPOSAL", "blockIndexWithinCheckpoint": "1"}]
    for mark, changes in enumerate([{}, *others]):
        body = duty(102, mark, **changes)
        digest = message(body) if body["hashing"] == "raw" else eip191(message(body))
        assert signed(a.duty(body), digest, body["validatorAddress"])["stored"] is False
    status, body = a.duty(duty(102, 99, blockNumber=8, checkpointNumber=3))  # neither makes it another
    assert (status, body["code"]) == (412, "DUTY_CONFLICT")


@needs_postgres
def test_a_stored_signature_is_of_the_same_bytes(nodes):
    a, b = nodes
    raw = duty(104, hashing="raw")
    signed(a.duty(raw), message(raw))
    status, body = b.duty(duty(104))  # the same hash, to be signed under EIP-191
    assert (status, body["code"]) == (412, "DUTY_CONFLICT")
    assert "hashing" in body["error"]


def put_row(server, slot, status, body, signature="NULL", node="package-node"):
    server.psql("INSERT INTO validator_duties (rollup_address, validator_address, slot, block_number,"
                " block_index_within_checkpoint, duty_type, status, message_hash, signature, node_id, lock_token, completed_at)"
                f" VALUES ('{ROLLUP}', '{ADDRESS}', {slot}, 7, -1, 'ATTESTATION', '{status}', '{body['messageHash']}',"
                f" {signature}, '{node}', '{hashlib.md5(str(slot).encode()).hexdigest()}',"
                f" {'NULL' if status == 'signing' else 'now()'})", "duties")


@needs_postgres
def test_a_duty_held_by_another_node(nodes, server):
    a, _ = nodes
    put_row(server, 105, "signing", duty(105))
    began = time.monotonic()
    status, body = a.duty(duty(105))
    assert (status, body["code"], body["signedBy"]) == (409, "DUTY_HELD", "package-node")
    assert 0.5 < time.monotonic() - began < 3
    status, body = a.duty(duty(105, 1))  # other data does not wait
    assert (status, body["code"], body["signedBy"]) == (412, "DUTY_CONFLICT", "package-node")


@needs_postgres
def test_a_forged_record_is_not_handed_out(nodes, server):
    a, _ = nodes
    put_row(server, 106, "signed", duty(106), f"'0x{'11' * 64}1b'")
    status, body = a.duty(duty(106))
    assert (status, body["code"]) == (412, "DUTY_CONFLICT")
    assert "signature" not in body


@needs_postgres
def test_contended_duties_have_one_message_each(nodes):
    """Both nodes, two messages for each duty, all at once: one message wins, everywhere the same."""
    def ask(job):
        slot, mark, node = job
        return slot, mark, nodes[node].duty(duty(slot, mark))

    jobs = [(slot, mark, node) for slot in range(1000, 1060) for mark in (0, 1) for node in (0, 1)]
    winners = {}
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for slot, mark, (status, body) in pool.map(ask, jobs):
            assert status in (200, 409, 412), body
            if status == 200:
                winners.setdefault(slot, set()).add((mark, body["signature"]))
    assert len(winners) == 60
    for slot, found in winners.items():
        assert len(found) == 1
        mark, signature = found.pop()
        assert recover(eip191(message(duty(slot, mark))), signature) == ADDRESS


@needs_postgres
def test_state_and_metrics(nodes):
    a, _ = nodes
    signed(a.duty(duty(108)), eip191(message(duty(108))))
    assert a.duty(duty(108, 1))[0] == 412
    health = a.get("/healthcheck")[1]
    assert {"id": "duty-protection-check", "status": "UP"} in health["checks"]
    text = a.metrics()
    assert "holdfast_duty_store_healthy 1" in text
    told = {p["name"]: p["state"] for p in a.get("/api/v1/holdfast/status")[1]["protections"]["duty"]}
    assert told["no_new_privs"] == "on" and told["seccomp"] == ("off" if SANITIZED else "on")
    assert 'holdfast_protection_enabled{name="no_new_privs",process="duty"} 1' in text
    assert 'holdfast_duty_requests_total{type="ATTESTATION",result="signed"}' in text
    assert 'holdfast_refusals_total{reason="DUTY_CONFLICT"}' in text
    assert "refused: ATTESTATION of slot 108 for " + ADDRESS in a.log()


# ---- faults -------------------------------------------------------------------------------------


@needs_postgres
def test_a_dead_database_is_a_503_within_a_second_and_heals(tmp_path):
    with postgres.Postgres(fsync=False) as server, Node(tmp_path, "node-a", server.url()) as node:
        node.wait_for_duties()
        before = signed(node.duty(duty(1)), eip191(message(duty(1))))
        server.freeze()
        began = time.monotonic()
        status, body = node.duty(duty(2))
        assert (status, body["code"]) == (503, "DUTY_STORE_UNAVAILABLE")
        assert time.monotonic() - began < 1.5
        server.thaw()
        server.kill()
        for slot in range(3, 6):
            began = time.monotonic()
            assert node.duty(duty(slot))[0] == 503
            assert time.monotonic() - began < 1.5
        node.wait_until(lambda: node.get("/healthcheck")[0] == 503, "the health check tells")
        signed(node.duty(duty(9, dutyType="AUTH_REQUEST")), eip191(message(duty(9))))
        server.start()
        node.wait_for_duties()
        assert signed(node.duty(duty(1)), eip191(message(duty(1)))) == {**before, "stored": True}
        signed(node.duty(duty(2)), eip191(message(duty(2))))


@needs_postgres
def test_the_process_of_duties_is_replaced(nodes):
    a, _ = nodes
    (pid,) = a.children()["holdfast-duty"]
    assert SANITIZED or is_confined(pid)
    before = signed(a.duty(duty(200)), eip191(message(duty(200))))
    os.kill(pid, signal.SIGKILL)
    a.wait_until(lambda: a.children().get("holdfast-duty", [pid]) != [pid], "another process")
    a.wait_for_duties()
    assert signed(a.duty(duty(200)), eip191(message(duty(200)))) == {**before, "stored": True}
    signed(a.duty(duty(201)), eip191(message(duty(201))))


@needs_postgres
def test_a_process_of_duties_that_hangs_is_replaced(nodes):
    a, _ = nodes
    (pid,) = a.children()["holdfast-duty"]
    os.kill(pid, signal.SIGSTOP)
    a.wait_until(lambda: a.children().get("holdfast-duty", [pid]) != [pid], "another process")
    a.wait_for_duties()
    signed(a.duty(duty(210)), eip191(message(duty(210))))


@pytest.mark.parametrize("text, words", [
    ("{url: 'postgresql://x/y'}", "duty_protection.url: needs duty_protection.node_id as well"),
    ("{node_id: a}", "duty_protection.node_id: needs duty_protection.url or url_file as well"),
    ("{url: 'postgresql://x/y', node_id: 'a b'}", "duty_protection.node_id: give a name of printable"),
    ("{url: 'postgresql://x/y', url_file: holdfast.yaml, node_id: a}", "duty_protection.url_file: duty_protection.url is another one; give either"),
    ("{url: 'postgresql://x/y', node_id: a, pool_max: 1}", "duty_protection.pool_max: 1: give a number from 3 to 64"),
    ("{url: 'nonsense', node_id: a}", "the database URL is not one that libpq reads"),
])
def test_a_wrong_configuration_is_refused(tmp_path, text, words):
    node = Signer(tmp_path, keys=0, config=f"duty_protection: {text}\n")
    node.start(wait=False)
    assert node.process.wait(30) == 2
    assert words in node.log()
