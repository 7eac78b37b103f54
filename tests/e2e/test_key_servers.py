"""Web3Signer's key files that name a server's secret, in the whole signer, as they are: Vault played by a double."""

import pytest
import vault_double
from harness import SANITIZED, attestation, is_confined, write_private
from test_loading import reload

# The public keys of the secrets 1 and 2: the generator of G1, and twice it.
PUBLIC = ["0x97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
          "0xa572cbea904d67468808c8eb50a9450c9721db309128012543902d0ac358a62ae28f75bb8f1c7c42c39a8c5529bf0f4e"]


@pytest.fixture(name="vault")
def fixture_vault():
    vault = vault_double.Vault()
    vault.tree = {f"secret/keys/{n}": {"value": f"{n:064x}"} for n in (1, 2)}
    yield vault
    vault.close()


def key_file(vault, token, number, **more):
    members = {"type": "hashicorp", "keyType": "BLS", "tlsEnabled": "false", "keyPath": f"/v1/secret/data/keys/{number}",
               "keyName": "value", "token": token, "serverHost": "127.0.0.1", "serverPort": vault.port, "timeout": 10000, **more}
    return "".join(f"{name}: {value}\n" for name, value in members.items())


def told(signer, what):
    """What command lines and environments of all its processes hold of it."""
    found = []
    for pid in [signer.process.pid, *(pid for pids in signer.children().values() for pid in pids)]:
        for part in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{part}", "rb") as text:
                found += [f"{pid}/{part}"] if what.encode() in text.read() else []
    return found


def test_key_files_of_vault(signers, vault, tmp_path):
    token = vault.make_token()
    folder = tmp_path / "keys"
    folder.mkdir()
    write_private(folder / "one.yaml", key_file(vault, token, 1) + f"---\ntype: file-raw\nprivateKey: {3:064x}\n")
    write_private(folder / "inside.yaml", "type: azure-key\nvaultName: x\n")
    config = f"signing_keys:\n  - {{backend: web3signer, config_dir: {folder}}}\n"
    signer = signers(keys=0, config=config).start()
    signer.wait_until(lambda: len(signer.loaded()) == 2 and PUBLIC[0] in signer.loaded(), "both keys of one file are there")
    status, body = signer.sign(PUBLIC[0], attestation(1, 2))
    assert status == 200, body
    assert signer.sign(PUBLIC[0], attestation(1, 2, 1))[0] == 412
    assert SANITIZED or all(is_confined(pid) for pid in signer.children()["holdfast-hsm"])
    signer.wait_logged("key_failed", "inside.yaml: document at line 1: type azure-key is not supported in this version")
    # What comes into the folder, and what leaves it.
    write_private(folder / "two.yaml", key_file(vault, token, 2))
    write_private(folder / "none.yaml", key_file(vault, token, "none"))
    assert reload(signer)["status"] == "completed_with_errors"
    assert PUBLIC[1] in signer.loaded()
    signer.wait_logged("key_failed", "none.yaml: /v1/secret/data/keys/none: ")
    (folder / "one.yaml").unlink()
    reload(signer)
    assert signer.loaded() == {PUBLIC[1]}
    # A server that is away takes no key with it.
    vault.sealed = True
    reload(signer)
    assert signer.sign(PUBLIC[1], attestation(1, 2))[0] == 200
    found = signer.get("/api/v1/holdfast/status")[1]["custody"]
    assert [(entry["backend"], entry["keys"]) for entry in found] == [("web3signer", 1)]
    assert token not in signer.log() and f"{1:064x}" not in signer.log()
    assert not told(signer, token)
