"""Limits and canary keys, through the binary: each refusal with its code, nothing of it signed."""

import hashlib
import os
import stat
import time

import harness
from conftest import wait_for
from harness import fork_info, root_of

GENESIS = 1606824023  # mainnet
PAYEE = "0x" + "ab" * 20
THIEF = "0x" + "cd" * 20


def start(signers, text, keys=3, **options):
    """A signer whose configuration may name its keys: {0}, {1}, ..."""
    signer = signers(keys=keys, **options)
    pubkeys = signer.pubkeys
    with open(signer.config_path, "a", encoding="utf-8") as config:
        config.write(text.format(*pubkeys))
    return signer.start()


def now_slot():
    return (int(time.time()) - GENESIS) // 12


def exit_of(epoch=1):
    return {"type": "VOLUNTARY_EXIT", "fork_info": fork_info(), "voluntary_exit": {"epoch": str(epoch), "validator_index": "7"}}


def registration(pubkey, payee=PAYEE, gas=36000000):
    return {"type": "VALIDATOR_REGISTRATION", "validator_registration": {
        "fee_recipient": payee, "gas_limit": str(gas), "timestamp": "1700000000", "pubkey": pubkey}}


def refused(answer, code, status=403):
    assert answer[0] == status, answer
    assert answer[1]["code"] == code, answer
    assert "signature" not in answer[1]
    return answer[1]["error"]


def signed(answer):
    assert answer[0] == 200, answer
    assert "0x" in str(answer[1])


# ---- proofs, made here on a tree of our own -------------------------------------------------------------------------

def digest(left, right):
    return hashlib.sha256(left + right).digest()


def tree(leaves, depth):
    """All levels of a tree of 2^depth leaves, from the leaves up."""
    levels = [leaves + [bytes(32)] * (2**depth - len(leaves))]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([digest(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def branch(levels, index):
    out = []
    for level in levels[:-1]:
        out.append(level[index ^ 1])
        index //= 2
    return out


def body_of(payee, gas):
    """(body_root, {index: branch}) of a block body from Electra: 13 members, and 17 of its payload."""
    members = [hashlib.sha256(bytes([i])).digest() for i in range(17)]
    members[1] = bytes.fromhex(payee[2:]) + bytes(12)
    members[7] = gas.to_bytes(8, "little") + bytes(24)
    payload = tree(members, 5)
    fields = [hashlib.sha256(bytes([100 + i])).digest() for i in range(13)]
    fields[9] = payload[-1][0]
    body = tree(fields, 4)
    tail = branch(body, 9)
    paths = {25 * 32 + at: ["0x" + node.hex() for node in branch(payload, at) + tail] for at in (1, 7)}
    return "0x" + body[-1][0].hex(), paths


def proven_block(slot, payee=PAYEE, gas=36000000, with_proofs=(801, 807), values=True):
    body = harness.block(slot)
    root, paths = body_of(payee, gas)
    body["beacon_block"]["block_header"]["body_root"] = root
    said = {801: payee, 807: str(gas)}
    body["proofs"] = [{"index": str(index), "proof": paths[index], **({"value": said[index]} if values else {})}
                      for index in with_proofs]
    body["proofs"].append({"index": "18", "proof": ["0x" + "11" * 32] * 4})  # graffiti: of no concern
    return body


# ---- limits ---------------------------------------------------------------------------------------------------------

def test_each_limit(signers):
    signer = start(signers, """
limits:
  - fork_versions: ["0x05000000"]
    rates: ["RANDAO_REVEAL 2/1h"]
  - keys: ["{0}"]
    exits: refuse
    fee_recipients: ["%s"]
    gas_limit_min: 30000000
    gas_limit_max: 60000000
  - keys: ["{1}"]
    exits: approve
    slots_ahead: 64
    slots_behind: 64
""" % PAYEE)
    a, b, c = signer.pubkeys
    # fork versions: of all keys
    old = harness.block(364000 * 32)
    assert "0x04000000" in refused(signer.sign(c, old), "POLICY_FORK_VERSION")
    signed(signer.sign(c, harness.block(364032 * 32)))
    # exits: refused; with approval; free
    assert "refused" in refused(signer.sign(a, exit_of()), "POLICY_EXIT")
    assert "approve" in refused(signer.sign(b, exit_of()), "POLICY_EXIT_UNAPPROVED")
    signed(signer.sign(c, exit_of()))
    # registrations: who is paid, and gas
    assert THIEF[2:] in refused(signer.sign(a, registration(a, THIEF)), "POLICY_FEE_RECIPIENT")
    assert "below" in refused(signer.sign(a, registration(a, gas=29999999)), "POLICY_GAS_LIMIT")
    assert "above" in refused(signer.sign(a, registration(a, gas=60000001)), "POLICY_GAS_LIMIT")
    signed(signer.sign(a, registration(a)))
    signed(signer.sign(b, registration(b, THIEF, 1)))
    # the clock
    slot = now_slot()
    assert "ahead" in refused(signer.sign(b, harness.block(slot + 70)), "POLICY_CLOCK")
    assert "behind" in refused(signer.sign(b, harness.block(slot - 70)), "POLICY_CLOCK")
    refused(signer.attest(b, slot // 32 - 5, slot // 32 + 4), "POLICY_CLOCK")
    signed(signer.sign(b, harness.block(slot)))
    signed(signer.attest(b, slot // 32 - 200, slot // 32))
    # rates: for each key
    for key in (a, c):
        for epoch in (400000, 400001):
            signed(signer.sign(key, {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": str(epoch)}}))
        reveal = {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": "400000"}}
        assert "2 of RANDAO_REVEAL" in refused(signer.sign(key, reveal), "RATE_LIMITED", 429)
    # each is counted and logged; nothing that was refused is on record
    metrics = signer.metrics()
    for code, count in (("POLICY_FORK_VERSION", 1), ("POLICY_EXIT", 1), ("POLICY_EXIT_UNAPPROVED", 1), ("POLICY_GAS_LIMIT", 2),
                        ("POLICY_FEE_RECIPIENT", 1), ("POLICY_CLOCK", 3), ("RATE_LIMITED", 2)):
        assert f'holdfast_refusals_total{{reason="{code}"}} {count}\n' in metrics, code
        assert signer.has_logged("refused", code)
    out = harness.run("slashing", "export", "--data-dir", signer.data_dir)
    assert out.returncode == 0 and str(slot + 70) not in out.stdout


def test_proofs_of_blocks(signers):
    signer = start(signers, """
limits:
  - keys: ["{0}"]
    fee_recipients: ["%s"]
    gas_limit_max: 60000000
    block_proofs: require
  - keys: ["{1}"]
    fee_recipients: ["%s"]
""" % (PAYEE, PAYEE))
    a, b, c = signer.pubkeys
    slot = 364032 * 32
    refused(signer.sign(a, harness.block(slot)), "POLICY_BLOCK_PROOF")
    refused(signer.sign(a, proven_block(slot, with_proofs=(801,))), "POLICY_BLOCK_PROOF")
    assert THIEF[2:] in refused(signer.sign(a, proven_block(slot, THIEF)), "POLICY_FEE_RECIPIENT")
    refused(signer.sign(a, proven_block(slot, gas=60000001)), "POLICY_GAS_LIMIT")
    for lie in ("proof", "value", "body"):
        body = proven_block(slot, THIEF)
        if lie == "proof":
            body["proofs"][0]["proof"][3] = root_of("lie")
            body["proofs"][0]["value"] = PAYEE
        elif lie == "value":
            body["proofs"][0]["value"] = PAYEE
        else:
            body = proven_block(slot)
            body["beacon_block"]["block_header"]["body_root"] = root_of("another body")
        refused(signer.sign(a, body), "POLICY_BLOCK_PROOF")
    signed(signer.sign(a, proven_block(slot)))
    # Nimbus leaves the value out: the signer knows whom it allows
    signed(signer.sign(b, proven_block(slot, with_proofs=(801,), values=False)))
    refused(signer.sign(b, proven_block(slot + 1, THIEF, with_proofs=(801,), values=False)), "POLICY_FEE_RECIPIENT")
    # where proofs are not required, a block may come without; and where nothing is limited, with any
    signed(signer.sign(b, harness.block(slot + 1)))
    signed(signer.sign(c, proven_block(slot, THIEF)))
    # malformed proofs name the member
    body = proven_block(slot + 2)
    body["proofs"][0]["proof"] = "0x00"
    assert "proofs[0].proof" in refused(signer.sign(a, body), "MALFORMED", 400)
    body["proofs"][0] = {"index": "801"}
    refused(signer.sign(a, body), "POLICY_BLOCK_PROOF")


def test_tags_and_reload(signers, tmp_path):
    signer = signers(keys=0)
    first = harness.make_keystores(str(tmp_path / "one"), 1)[0]
    second = harness.make_keystores(str(tmp_path / "two"), 1, first=1)[0]
    sources = "signing_keys:\n" + "".join(
        f"  - {{backend: local-keystore, keystore_dir: {tmp_path}/{name}, password_file: {tmp_path}/{name}.password, tags: {tags}}}\n"
        for name, tags in (("one", "[home]"), ("two", "[company, cold]")))
    with open(signer.config_path, encoding="utf-8") as text:
        base = text.read()
    harness.write_private(signer.config_path, base + sources + "limits:\n  - {tags: [company], exits: refuse}\n")
    signer.pubkeys = [first, second]
    signer.start()
    signed(signer.sign(first, exit_of()))
    refused(signer.sign(second, exit_of()), "POLICY_EXIT")
    # a change of limits counts from a reload on
    harness.write_private(signer.config_path, base + sources + "limits:\n  - {tags: [home, none], exits: refuse}\n")
    assert signer.request("POST", "/reload")[0] in (200, 202)
    wait_for("the new limits", lambda: signer.sign(second, exit_of())[0] == 200)
    refused(signer.sign(first, exit_of()), "POLICY_EXIT")
    # and a mistake leaves them as they are
    wait_for("the reload is over", lambda: signer.get("/reload")[1]["status"] != "running")
    harness.write_private(signer.config_path, base + sources + "limits:\n  - {tags: [home], exits: maybe}\n")
    assert signer.request("POST", "/reload")[0] in (200, 202)
    signer.wait_logged("policies_refused", "limits[0].exits")
    refused(signer.sign(first, exit_of()), "POLICY_EXIT")


def test_mistakes_are_named(signers):
    def complaint(text):
        signer = signers(keys=0, config=text)
        done = harness.run("check", "-c", signer.config_path)
        assert done.returncode == 2
        return done.stderr

    assert "policies.night[0].scopes[0]: \"sing\" is no scope" in complaint("policies: {night: [{effect: allow, scopes: [sing]}]}\n")
    assert "policies.night[0]: an allow rule with such scopes needs keys or tags" in complaint(
        "policies: {night: [{effect: allow, scopes: [sign], operations: [ATTESTATION]}]}\n")
    assert "policies.night[0].colour: unknown key" in complaint("policies: {night: [{effect: deny, colour: red}]}\n")
    assert "limits[0].fee_recipients[0]: \"0x12\" is no address" in complaint("limits: [{fee_recipients: ['0x12']}]\n")
    assert "limits[0].rates[0]: \"often\" is no rate" in complaint("limits: [{rates: [ATTESTATION often]}]\n")
    assert "canary_keys[0].action: give one of: alert deny seal" in complaint("canary_keys: [{action: bark}]\n")


# ---- canaries -------------------------------------------------------------------------------------------------------

def test_canaries(signers, tmp_path):
    command = tmp_path / "page"
    told = tmp_path / "told"
    command.write_text(f"#!/bin/sh\nenv | grep HOLDFAST_ | sort > {told}.tmp\necho \"$#\" >> {told}.tmp\nmv {told}.tmp {told}\n")
    os.chmod(command, stat.S_IRWXU)
    stranger = "0x" + "a" * 95 + "7"
    signer = start(signers, f"""
canary_command: {command}
canary_keys:
  - "{{0}}"
  - {{{{key: "{{1}}", action: deny}}}}
  - {{{{key: "{stranger}", action: deny}}}}
""")
    a, b, c = signer.pubkeys
    assert "holdfast_canary_signing_total 0\n" in signer.metrics()
    signed(signer.attest(c, 1, 2))
    assert not told.exists()
    signed(signer.attest(a, 1, 2))
    wait_for("the command", told.exists)
    text = told.read_text()
    for line in (f"HOLDFAST_CANARY_KEY={a}", "HOLDFAST_CANARY_OPERATION=ATTESTATION", "HOLDFAST_CANARY_ACTION=alert",
                 "HOLDFAST_CANARY_ADDRESS=::ffff:127.0.0.1"):
        assert line in text, text
    assert text.endswith("\n0\n")  # no argument came from the request
    refused(signer.attest(b, 1, 2), "CANARY")
    # a canary need not be a key that we have
    refused(signer.attest(stranger, 1, 2), "CANARY")
    assert "holdfast_canary_signing_total 3\n" in signer.metrics()
    assert 'holdfast_refusals_total{reason="CANARY"} 2\n' in signer.metrics()
    assert signer.has_logged("canary", b)


def test_a_canary_locks_everything(signers):
    signer = start(signers, "canary_keys:\n  - {{key: \"{0}\", action: seal}}\n")
    a, b, _ = signer.pubkeys
    signed(signer.attest(b, 1, 2))
    refused(signer.attest(a, 1, 2), "CANARY")
    refused(signer.attest(b, 2, 3), "CANARY")
    reveal = {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": "3"}}
    refused(signer.sign(b, reveal), "CANARY")  # of a file's key, and cannot be slashed
    signer.stop()
    signer.start()
    signed(signer.attest(b, 2, 3))
