"""Lodestar's validator client code against the running signer: every duty, verified by two other BLS libraries."""

import json
import os

import harness
import interop
import npm
import pytest

FORKS = ("phase0", "altair", "bellatrix", "capella")
DUTIES = ("randao", "attestation", "selection", "aggregate", "full block", "exit")
SYNC_DUTIES = ("sync message", "sync selection", "sync contribution")
ONCE = ("public keys", "forks", "registration", "deposit", "refused: a second vote for the target",
        "refused: votes that surround or are surrounded", "refused: a second block of the slot, full or blinded",
        "refused: a key that the signer has not", "refused: another chain", "refused: a root that is not the message's")


def expected_checks():
    names = set(ONCE)
    for number, fork in enumerate(FORKS):
        duties = DUTIES + (SYNC_DUTIES if number >= 1 else ()) + (("blinded block",) if number >= 2 else ())
        names |= {f"{fork} {where}: {duty}, key {key}" for where in ("first epoch", "later") for duty in duties
                  for key in range(len(interop.PUBKEYS))}
    return names


@pytest.fixture(name="lodestar", scope="module")
def lodestar_folder():
    return npm.install("lodestar")


@pytest.mark.parametrize("network", ["mainnet", "sepolia", "gnosis"])
def test_every_duty(signers, tmp_path, lodestar, network):
    signer = interop.signer_with_keys(signers, tmp_path, network).start()
    result = npm.run(lodestar, "driver.mjs", "--url", f"http://127.0.0.1:{signer.port}", "--network", network,
                     environment={"LODESTAR_PRESET": "gnosis" if network == "gnosis" else "mainnet"})
    checks = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [check for check in checks if not check["ok"]] == [], result.stderr
    assert result.returncode == 0, result.stderr
    assert {check["name"] for check in checks} == expected_checks()
    assert len(checks) == len(expected_checks()) == 290


def lodestar_protection(folder, tmp_path, history, ask, export=None):
    """What Lodestar's slashing protection answers, [bool], with the history imported."""
    (tmp_path / "history.json").write_text(json.dumps(history), encoding="utf-8")
    (tmp_path / "ask.json").write_text(json.dumps(ask), encoding="utf-8")
    arguments = ["--export", tmp_path / export] if export else []
    result = npm.run(folder, "interchange.mjs", "--root", harness.MAINNET_ROOT, "--import", tmp_path / "history.json",
                     "--ask", tmp_path / "ask.json", *arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line)["ok"] for line in result.stdout.splitlines()]


def message(pubkey, *numbers, root="0x" + "77" * 32):
    if len(numbers) == 1:
        return {"pubkey": pubkey, "slot": str(numbers[0]), "signing_root": root}
    return {"pubkey": pubkey, "source_epoch": str(numbers[0]), "target_epoch": str(numbers[1]), "signing_root": root}


def test_a_history_goes_to_lodestar(signers, tmp_path, lodestar):
    """Lodestar refuses what would contradict what Holdfast signed, and goes on where it ended."""
    signer = interop.signer_with_keys(signers, tmp_path).start()
    one, other = interop.PUBKEYS[:2]
    for source, target in ((10, 11), (11, 12), (12, 20)):
        assert signer.attest(one, source, target)[0] == 200
    for slot in (1000, 1010):
        assert signer.propose(one, slot)[0] == 200
    assert signer.attest(other, 5, 6)[0] == 200
    result = harness.run("slashing", "export", "-c", signer.config_path)
    assert result.returncode == 0, result.stderr
    ask = [message(one, 12, 20), message(one, 13, 19), message(one, 11, 21), message(one, 9, 10), message(one, 1010),
           message(one, 999), message(other, 4, 7), message(one, 20, 21), message(one, 1011), message(other, 6, 7)]
    assert lodestar_protection(lodestar, tmp_path, json.loads(result.stdout), ask) == [False] * 7 + [True] * 3


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_history_comes_from_lodestar(signers, tmp_path, lodestar, state):
    """The same the other way round."""
    one, other = interop.PUBKEYS[:2]
    history = {"metadata": {"interchange_format_version": "5", "genesis_validators_root": harness.MAINNET_ROOT},
               "data": []}
    signed = [message(one, 10, 11), message(one, 12, 20), message(one, 1000), message(one, 1010), message(other, 5, 6)]
    assert all(lodestar_protection(lodestar, tmp_path, history, signed, "exported.json"))
    signer = interop.signer_with_keys(signers, tmp_path)
    if state == "running":
        signer.start()
    result = harness.run("slashing", "import", os.path.join(tmp_path, "exported.json"), "-c", signer.config_path, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"validators": 2, "blocks": 2, "attestations": 3, "conflicts": 0}
    if state == "stopped":
        signer.start()
    for source, target, code in ((12, 20, "DOUBLE_VOTE"), (13, 19, "SURROUNDED_VOTE"), (11, 21, "SURROUNDING_VOTE"),
                                 (9, 10, "BELOW_WATERMARK")):
        status, answer = signer.attest(one, source, target)
        assert (status, answer["code"]) == (412, code), answer
    for slot, code in ((1010, "DOUBLE_BLOCK"), (999, "BELOW_WATERMARK")):
        status, answer = signer.propose(one, slot)
        assert (status, answer["code"]) == (412, code), answer
    assert signer.attest(one, 20, 21)[0] == signer.propose(one, 1011)[0] == signer.attest(other, 6, 7)[0] == 200
