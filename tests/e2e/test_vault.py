"""Keys from Vault, and keys in a YubiHSM, in the whole signer: doubles play the other side, with its faults."""

import hashlib
import json
import threading
import time

import pytest
import vault_double
from harness import SANITIZED, Signer, attestation, is_confined, make_keystores, run, write_private

# The public keys of the secrets 1 and 2: the generator of G1, and twice it.
PUBLIC = ["0x97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
          "0xa572cbea904d67468808c8eb50a9450c9721db309128012543902d0ac358a62ae28f75bb8f1c7c42c39a8c5529bf0f4e"]


def secret(number):
    return {"value": f"0x{number:064x}"}


@pytest.fixture(name="vault")
def fixture_vault():
    vault = vault_double.Vault()
    vault.tree = {f"secret/validators/{n}": secret(n) for n in (1, 2)}
    yield vault
    vault.close()


@pytest.fixture(name="settings")
def fixture_settings(tmp_path):
    """The configuration of one local key and of Vault by AppRole."""
    keystores = tmp_path / "keystores"
    make_keystores(keystores, 1)
    write_private(tmp_path / "secret-id", "sid-1\n")
    return lambda address: (
        f"signing_keys:\n  - {{backend: local-keystore, keystore_dir: {keystores}, password_file: {keystores}.password}}\n"
        f"  - backend: vault\n    address: {address}\n    path: secret/validators\n    timeout_ms: 5000\n"
        f"    auth: {{method: approle, role_id: role-1, secret_id_file: {tmp_path / 'secret-id'}}}\n")


def vote(signer, pubkey, target):
    status, body = signer.sign(pubkey, attestation(target - 1, target))
    assert status == 200, body
    return body


def reload(signer):
    # 409: one is still under way.
    signer.wait_until(lambda: signer.request("POST", "/reload")[0] in (200, 202), "it takes the order to reload")


def test_down_at_boot_and_then_up(vault, settings, tmp_path):
    port = vault.port
    vault.close()
    with Signer(tmp_path, keys=0, config=settings(f"http://localhost:{port}")) as signer:  # the resolver, in the sandbox
        signer.wait_until(lambda: len(signer.loaded()) == 1, "the local key is there")
        vote(signer, next(iter(signer.loaded())), 400000)
        up = vault_double.Vault(("127.0.0.1", port))
        up.tree = vault.tree
        try:
            signer.wait_until(lambda: set(PUBLIC) < signer.loaded(), "the keys of Vault are there", 60)
            assert len(vote(signer, PUBLIC[0], 400000)) == 2 + 2 * 96
            assert signer.sign(PUBLIC[0], attestation(399998, 400000, 1))[0] == 412
        finally:
            up.close()
        assert SANITIZED or all(is_confined(pid) for pid in signer.children()["holdfast-hsm"])
        log = signer.log()
        assert "sid-1" not in log and "hvs." not in log and f"{1:064x}" not in log


def test_tokens_end_and_are_revoked_under_load(vault, settings, tmp_path):
    vault.token_ttl = 2
    with Signer(tmp_path, keys=0, config=settings(vault.url)) as signer:
        signer.wait_until(lambda: set(PUBLIC) < signer.loaded(), "the keys are there")
        stop, failures = threading.Event(), []

        def load(pubkey):
            target = 400000
            while not stop.is_set():
                status, body = signer.sign(pubkey, attestation(target - 1, target))
                if status != 200:
                    failures.append(body)
                target += 1

        threads = [threading.Thread(target=load, args=(pubkey,)) for pubkey in PUBLIC]
        for thread in threads:
            thread.start()
        try:
            signer.wait_until(lambda: vault.counts["auth/token/renew-self"] >= 2, "the token is renewed twice")
            vault.revoke_all()
            vault.tree["secret/validators/more"] = secret(3)
            reload(signer)
            signer.wait_until(lambda: len(signer.loaded()) == 4, "a new key is there")
            del vault.tree["secret/validators/more"]
            reload(signer)
            signer.wait_until(lambda: len(signer.loaded()) == 3, "it is gone")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures
        assert vault.counts["auth/approle/login"] >= 2


def test_sealed_keeps_the_keys(vault, settings, tmp_path):
    with Signer(tmp_path, keys=0, config=settings(vault.url)) as signer:
        signer.wait_until(lambda: set(PUBLIC) < signer.loaded(), "the keys are there")
        vault.sealed = True
        del vault.tree["secret/validators/2"]
        vault.counts.clear()
        reload(signer)
        signer.wait_until(lambda: vault.counts["all"] >= 3, "Vault is asked")
        time.sleep(0.3)
        assert set(PUBLIC) < signer.loaded()
        vote(signer, PUBLIC[1], 400000)
        vault.sealed = False  # the list that failed is tried again without being asked for
        signer.wait_until(lambda: len(signer.loaded()) == 2, "what Vault lists no more is gone", 60)
        assert PUBLIC[0] in signer.loaded()


def test_yubihsm(tmp_path):
    pytest.importorskip("cryptography", reason="python3-cryptography is not installed")
    import yubihsm_double  # pylint: disable=import-outside-toplevel
    device = yubihsm_double.Device()
    try:
        device.add_key(2, yubihsm_double.K256, "sequencer")
        device.add_key(3, yubihsm_double.K256, "another's")
        device.add_key(9, yubihsm_double.CCM_WRAP, "wrap")
        public = "0x" + device.public(2).hex()
        write_private(tmp_path / "password", "password")
        blobs = tmp_path / "blobs"
        blobs.mkdir(mode=0o700)
        config = (f"signing_keys:\n  - backend: yubihsm\n    connector_url: {device.url}\n    auth_key_id: 1\n"
                  f"    auth_key_password_file: {tmp_path / 'password'}\n    blob_dir: {blobs}\n    wrap_key: wrap\n"
                  "    key_labels: [sequencer]\n")
        wrapped = wrap_keystores(tmp_path, config)
        with Signer(tmp_path, keys=0, config=config) as signer:
            signer.wait_until(lambda: signer.get("/api/v1/eth1/publicKeys")[1] == [public], "the key is there, and no other")
            signer.wait_until(lambda: signer.loaded() == wrapped, "the wrapped keys are there")
            for pubkey in wrapped:
                vote(signer, pubkey, 400000)
            for round_number in range(3):
                data = hashlib.sha256(bytes([round_number])).digest()
                status, signature = signer.request("POST", f"/api/v1/eth1/sign/{public}", {"data": "0x" + data.hex()})
                assert status == 200, signature
                check_signature(device, signature, data)
                device.sessions.clear()  # as after thirty seconds of silence
            device.status = 500
            assert signer.request("POST", f"/api/v1/eth1/sign/{public}", {"data": "0x00"})[0] == 503
            device.status = 200
            device.sessions.clear()
            signer.wait_until(lambda: signer.request("POST", f"/api/v1/eth1/sign/{public}", {"data": "0x01"})[0] == 200,
                              "it signs again")
    finally:
        device.close()


def wrap_keystores(folder, config):
    """The public keys of two keystores and of a new key, wrapped into blob_dir under the device's key."""
    keystores = folder / "to-be-wrapped"
    found = set(make_keystores(keystores, 2))
    write_private(folder / "wrap.yaml", f"data_dir: {folder / 'data'}\n{config}")
    done = run("key", "wrap", "--backend", "yubihsm", "-c", folder / "wrap.yaml", "--password-file", f"{keystores}.password",
               keystores)
    assert done.returncode == 0, done.stderr
    done = run("key", "generate", "--backend", "yubihsm", "-c", folder / "wrap.yaml", "--json")
    assert done.returncode == 0, done.stderr
    found.add(json.loads(done.stdout)[0]["pubkey"])
    done = run("key", "generate", "--backend", "yubihsm", "--type", "secp256k1", "-c", folder / "wrap.yaml")
    assert done.returncode == 2 and "yubihsm makes no such keys; the device's own tool makes those inside" in done.stderr
    assert len(list((folder / "blobs").iterdir())) == len(found) == 3
    return found


def check_signature(device, signature, data):
    from cryptography.hazmat.primitives import hashes  # pylint: disable=import-outside-toplevel
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # pylint: disable=import-outside-toplevel
    raw = bytes.fromhex((signature if isinstance(signature, str) else signature["signature"]).removeprefix("0x"))
    assert len(raw) == 65 and raw[64] in (27, 28)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big")
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert 0 < s <= order // 2
    digest = keccak256(data)
    key = device.objects[2, 3][5].public_key()
    key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def keccak256(data):
    """Keccak-256 as of its specification, short and slow."""
    def rotate(word, bits):
        return ((word << bits) | (word >> (64 - bits))) & 0xFFFFFFFFFFFFFFFF if bits else word
    padded = data + b"\x01" + bytes(-(len(data) + 2) % 136) + b"\x80" if (len(data) + 1) % 136 else data + b"\x81"
    state = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), 136):
        for i in range(17):
            state[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i:start + 8 * i + 8], "little")
        lfsr = 1
        for _ in range(24):
            columns = [state[x][0] ^ state[x][1] ^ state[x][2] ^ state[x][3] ^ state[x][4] for x in range(5)]
            mix = [columns[(x + 4) % 5] ^ rotate(columns[(x + 1) % 5], 1) for x in range(5)]
            state = [[state[x][y] ^ mix[x] for y in range(5)] for x in range(5)]
            x, y, moved = 1, 0, state[1][0]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                moved, state[x][y] = state[x][y], rotate(moved, (t + 1) * (t + 2) // 2 % 64)
            state = [[state[x][y] ^ (~state[(x + 1) % 5][y] & state[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
            for j in range(7):
                lfsr = ((lfsr << 1) ^ ((lfsr >> 7) * 0x71)) % 256
                if lfsr & 2:
                    state[0][0] ^= 1 << ((1 << j) - 1)
    return b"".join(state[i % 5][i // 5].to_bytes(8, "little") for i in range(4))
