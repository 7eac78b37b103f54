"""holdfast key: mnemonics, keystores, deposit data, and the keys that a signer keeps."""

import hashlib
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import HOLDFAST, Signer, attestation, write_private  # noqa: E402

QUICK = ["--kdf", "pbkdf2", "--kdf-cost", "16"]
PASSWORD = "a password of tests"

# Mnemonic, credentials and deposits as an independent tool (eth-staking-smith, Apache-2.0) prints them
# in its documentation and tests, for mainnet and 32 ETH.
BLS_MNEMONIC = "ski interest capable knee usual ugly duty exercise tattoo subway delay upper bid forget say"
BLS_DEPOSITS = [
    {"pubkey": "8844cebb34d10e0e57f3c29ada375dafe14762ab85b2e408c3d6d55ce6d03317660bca9f2c2d17d8fbe14a2529ada1ea",
     "withdrawal_credentials": "0045b91b2f60b88e7392d49ae1364b55e713d06f30e563f9f99e10994b26221d",
     "signature": "96ebebf92967a2b187e031062f5cb5128a2bfc42559bd9dfdd1e481a056b3ef2cfddf1a0381530286013e3893e097b02"
                  "129113e62a94bedd250253eb766f010824d0be7616f51b9f7609972695231bcda1cabf7a6a2d60a07e14237f2b6096ab",
     "deposit_message_root": "bfd9d2c616eb570ad3fd4d4caf169b88f80490d8923537474bf1f6c5cec5e56d",
     "deposit_data_root": "7ac103cb959b55dff155f7406393c3e6f1ba0011baee2b61bca00fdc3b2cb2c2"},
    {"pubkey": "8b9fc0882dc9257619f973fd7034d70f4fbdf7148600e7decb4ffc74536720e4fcb0853f855bd818bb881ca219682477",
     "withdrawal_credentials": "006ab1394ad6a99cd25e2f1f15da057cfde5025b066bcecc1afedc2a4cb36314",
     "signature": "b788c42fc128e92baf5f0347acba0b0608e6aa3c36a94ce8845afd8d557503ef418230d7a576b92c633c99ef9a44f27a"
                  "05156c1166aec7e28487bdad98b574911b0f9848de8d881a062773e8f75b1ebdea86e6af9279ba7c62fb2f078e8e8f30",
     "deposit_message_root": "c17da3de7a90e706f6299b35fd958c1c6cf47138073fa7d704405a7dea37e760",
     "deposit_data_root": "21e499c8fe06ec48b410c9c8a05c65856a6f8a0059da638e959008c3a98a8863"},
]
ADDRESS_MNEMONIC = ("entire habit bottom mention spoil clown finger wheat motion fox axis mechanic country make "
                    "garment bar blind stadium sugar water scissors canyon often ketchup")
ADDRESS_DEPOSIT = {
    "pubkey": "8666389c3fe6ff0bca9adba81504f380b9e2c719419760d561836472fafe295cb50696524e19cba084e1d788d66c80d6",
    "withdrawal_credentials": "0100000000000000000000000000000000000000000000000000000000000001",
    "signature": "a1f3ece1cb871e1af29fdaf94cab58d48d128d0ed2342a1f042f49344943c25ec6eab4f2219301e421a88453c6aa29e9"
                 "0b78373a8341c17738bc0ff4d0a724494535b494cd21fd2633a7a12353a5232c9806e1576f1e2447631ec3310db4008b",
    "deposit_message_root": "dc224ac1c94d70906d643644f20398bdea5dabea123116a9d6135b8f5f4906bd",
    "deposit_data_root": "f5c6b52d2ba608f0df4123e5ed051b5765a636e09d1372668e1ec074430f2279",
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in, with the password in the file pw."""
    monkeypatch.chdir(tmp_path)
    write_private("pw", PASSWORD + "\n")
    return tmp_path


def run(*arguments, **more):
    """Runs holdfast key ... away from any terminal."""
    return subprocess.run([HOLDFAST, "key", *[str(a) for a in arguments]], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, start_new_session=True, check=False, **more)


def good(*arguments, **more):
    done = run(*arguments, **more)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def refused(status, sentence, *arguments):
    """It ends with this status, one line on stderr that contains the sentence, and nothing on stdout."""
    done = run(*arguments)
    assert done.returncode == status, done.stderr + done.stdout
    assert sentence in done.stderr
    assert done.stderr.startswith("holdfast: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def make_keys(folder, mnemonic=BLS_MNEMONIC, count=2, *more):
    write_private("mn", mnemonic + "\n")
    out = good("new", "--keystore-dir", folder, "--password-file", "pw", "--mnemonic-file", "mn", "--count", count,
               "--json", *QUICK, *more)
    return json.loads(out)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# ---- new


def test_new_from_a_mnemonic(work):
    made = make_keys("ks")
    assert [key["pubkey"] for key in made] == ["0x" + d["pubkey"] for d in BLS_DEPOSITS]
    assert [key["path"] for key in made] == ["m/12381/3600/0/0/0", "m/12381/3600/1/0/0"]
    assert mode_of("ks") == 0o700
    for index, key in enumerate(made):
        assert re.fullmatch(rf"ks/keystore-m_12381_3600_{index}_0_0-\d+\.json", key["file"])
        assert mode_of(key["file"]) == 0o600
        with open(key["file"], encoding="utf-8") as text:
            keystore = json.load(text)
        assert keystore["version"] == 4
        assert "0x" + keystore["pubkey"] == key["pubkey"]
        assert keystore["path"] == key["path"]
        assert keystore["crypto"]["kdf"]["function"] == "pbkdf2"
    later = make_keys("other", BLS_MNEMONIC, 1, "--start-index", "1")
    assert later[0]["pubkey"] == made[1]["pubkey"]


def test_new_standard_scrypt(work):
    write_private("mn", BLS_MNEMONIC)
    good("new", "--keystore-dir", "ks", "--password-file", "pw", "--mnemonic-file", "mn")
    (name,) = os.listdir("ks")
    with open(f"ks/{name}", encoding="utf-8") as text:
        kdf = json.load(text)["crypto"]["kdf"]
    assert kdf["function"] == "scrypt"
    assert (kdf["params"]["n"], kdf["params"]["r"], kdf["params"]["p"]) == (262144, 8, 1)


def test_new_makes_a_mnemonic(work):
    out = good("new", "--keystore-dir", "ks", "--password-file", "pw", "--mnemonic-output", "words", *QUICK)
    assert mode_of("words") == 0o600
    with open("words", encoding="utf-8") as text:
        words = text.read()
    assert len(words.split()) == 24
    assert not any(word in out.split() for word in words.split())
    made = make_keys("again", words.strip(), 1)
    assert made[0]["pubkey"] in out
    # Fresh each time, and no file is overwritten.
    refused(1, "words: is there already", "new", "--keystore-dir", "ks2", "--password-file", "pw", "--mnemonic-output",
            "words", *QUICK)
    assert not os.path.exists("ks2")
    good("new", "--keystore-dir", "ks2", "--password-file", "pw", "--mnemonic-output", "words2", *QUICK)
    with open("words2", encoding="utf-8") as text:
        assert text.read() != words


def test_new_with_a_passphrase(work):
    write_private("25th", "extra\n")
    plain = make_keys("a", count=1)
    other = make_keys("b", BLS_MNEMONIC, 1, "--mnemonic-passphrase-file", "25th")
    assert plain[0]["pubkey"] != other[0]["pubkey"]


def test_new_secrets_from_descriptors(work):
    password, mnemonic = (os.open(path, os.O_RDONLY) for path in ("pw", save("mn", BLS_MNEMONIC)))
    out = good("new", "--keystore-dir", "ks", "--password-fd", password, "--mnemonic-fd", mnemonic, *QUICK,
               pass_fds=[password, mnemonic])
    assert BLS_DEPOSITS[0]["pubkey"] in out


def save(path, text):
    write_private(path, text)
    return path


def test_new_refusals(work):
    base = ["new", "--keystore-dir", "ks", "--password-file", "pw", *QUICK]
    save("mn", BLS_MNEMONIC)
    save("typo", BLS_MNEMONIC.replace("ski", "skis"))
    save("swapped", "interest ski " + BLS_MNEMONIC.split(" ", 2)[2])
    save("short", "seven77")
    save("open", PASSWORD)
    os.chmod("open", 0o644)
    mnemonic = ["--mnemonic-file", "mn"]
    refused(2, "--keystore-dir", "new", "--password-file", "pw", *mnemonic)
    refused(2, "no terminal to show the mnemonic on: give --mnemonic-output FILE", *base)
    refused(2, "--count: must be a number from 1 to 100000", *base, *mnemonic, "--count", "0")
    refused(2, "--count: must be a number from 1 to 100000", *base, *mnemonic, "--count", "-1")
    refused(2, "--start-index: must be a number", *base, *mnemonic, "--start-index", "4294967295")
    refused(2, "--kdf: must be scrypt or pbkdf2", *base[:5], *mnemonic, "--kdf", "argon2")
    refused(1, "must be a power of two", *base[:5], *mnemonic, "--kdf", "scrypt", "--kdf-cost", "1000")
    refused(1, "the mnemonic: word 1 is not in the English list", *base, "--mnemonic-file", "typo")
    refused(1, "the mnemonic: the checksum does not match", *base, "--mnemonic-file", "swapped")
    refused(1, "nowhere", *base, "--mnemonic-file", "nowhere")
    refused(2, "--mnemonic-output: only for a mnemonic made here", *base, *mnemonic, "--mnemonic-output", "x")
    refused(2, "at least 8 characters", "new", "--keystore-dir", "ks", "--password-file", "short", *mnemonic)
    refused(1, "others can read this secret", "new", "--keystore-dir", "ks", "--password-file", "open", *mnemonic)
    refused(2, "there is no terminal to ask at", "new", "--keystore-dir", "ks", *mnemonic)
    refused(2, "--nonsense: no such option", *base, "--nonsense")
    refused(2, "word: does not go with", *base, *mnemonic, "word")
    assert os.listdir("ks") == []


# ---- on a terminal


class Terminal:
    """holdfast key ... on a terminal of its own."""

    def __init__(self, *arguments):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(HOLDFAST, [HOLDFAST, "key", *arguments])

    def wait_for(self, text, seconds=60):
        until = time.monotonic() + seconds
        while text.encode() not in self.seen:
            assert time.monotonic() < until, self.seen
            self.read()

    def read(self):
        if select.select([self.fd], [], [], 0.1)[0]:
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:  # the other side is closed
                chunk = b""
            self.seen += chunk
            return bool(chunk)
        return True

    def answer(self, prompt, text):
        self.wait_for(prompt)
        before, self.seen = self.seen, b""
        os.write(self.fd, text.encode() + b"\n")
        return before.decode()

    def end(self):
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_new_on_a_terminal(work):
    terminal = Terminal("new", "--keystore-dir", "ks", *QUICK)
    terminal.answer("Password of the keystores: ", PASSWORD)
    terminal.answer("The same again: ", PASSWORD)
    shown = terminal.answer("Press Enter when it is written down: ", "")
    words = next(line.strip() for line in shown.splitlines() if len(line.split()) == 24)
    assert PASSWORD not in shown
    assert terminal.end() == 0
    rest = terminal.seen.decode()
    assert PASSWORD not in rest
    assert "\033[2J\033[3J" in rest  # cleared
    assert words not in rest
    (name,) = os.listdir("ks")
    assert make_keys("again", words, 1)[0]["pubkey"] in rest
    assert mode_of(f"ks/{name}") == 0o600


def test_existing_mnemonic_is_not_echoed(work):
    terminal = Terminal("new", "--keystore-dir", "ks", "--password-file", "pw", "--existing", "--count", "2", *QUICK)
    terminal.answer("Mnemonic: ", BLS_MNEMONIC)
    assert terminal.end() == 0
    assert b"2 of 2 keys" in terminal.seen
    assert b"capable" not in terminal.seen
    assert BLS_DEPOSITS[0]["pubkey"].encode() in terminal.seen


def test_two_passwords_that_differ(work):
    terminal = Terminal("new", "--keystore-dir", "ks", *QUICK)
    terminal.answer("Password of the keystores: ", PASSWORD)
    terminal.answer("The same again: ", PASSWORD + "x")
    assert terminal.end() == 1
    assert b"the two passphrases differ" in terminal.seen
    assert os.listdir("ks") == []


# ---- deposit


def sha256(data):
    return hashlib.sha256(data).digest()


def node(left, right):
    return sha256(left + right)


def roots_of(datum):
    """deposit_message_root and deposit_data_root by the consensus specification."""
    pubkey, credentials, signature = (bytes.fromhex(datum[name])
                                      for name in ("pubkey", "withdrawal_credentials", "signature"))
    key = node(pubkey[:32], pubkey[32:] + bytes(16))
    amount = datum["amount"].to_bytes(8, "little") + bytes(24)
    sealed = node(node(signature[:32], signature[32:64]), node(signature[64:], bytes(32)))
    message = node(node(key, credentials), node(amount, bytes(32)))
    return message.hex(), node(node(key, credentials), node(amount, sealed)).hex()


def deposits(*arguments):
    os.makedirs("out", exist_ok=True)
    for name in os.listdir("out"):
        os.remove(f"out/{name}")
    path = good("deposit", "--output-dir", "out", *arguments).strip()
    assert re.fullmatch(r"out/deposit_data-\d+\.json", path)
    with open(path, encoding="utf-8") as text:
        data = json.load(text)
    for datum in data:
        assert list(datum) == ["pubkey", "withdrawal_credentials", "amount", "signature", "deposit_message_root",
                               "deposit_data_root", "fork_version", "network_name", "deposit_cli_version"]
        assert (datum["deposit_message_root"], datum["deposit_data_root"]) == roots_of(datum)
    return data


def assert_deposit(datum, expected, network="mainnet", version="00000000", amount=32 * 10**9):
    assert {name: datum[name] for name in expected} == expected
    assert (datum["network_name"], datum["fork_version"], datum["amount"]) == (network, version, amount)


def test_deposit_from_a_mnemonic(work):
    save("mn", BLS_MNEMONIC)
    first, second = deposits("--network", "mainnet", "--mnemonic-file", "mn", "--count", "2")
    assert_deposit(first, BLS_DEPOSITS[0])
    assert_deposit(second, BLS_DEPOSITS[1])
    (again,) = deposits("--network", "mainnet", "--mnemonic-file", "mn", "--start-index", "1")
    assert again == second


def test_deposit_to_an_address(work):
    make_keys("ks", ADDRESS_MNEMONIC, 1)
    address = ["--network", "mainnet", "--withdrawal-address", "0x" + "00" * 19 + "01"]
    from_mnemonic = deposits(*address, "--mnemonic-file", "mn")
    assert_deposit(from_mnemonic[0], ADDRESS_DEPOSIT)
    assert deposits(*address, "--keystore-dir", "ks", "--password-file", "pw") == from_mnemonic


def test_deposit_networks_and_amounts(work):
    save("mn", BLS_MNEMONIC)
    to = ["--mnemonic-file", "mn", "--withdrawal-address", "ab" * 20]
    (datum,) = deposits("--network", "hoodi", *to, "--amount", "1.000000001")
    assert (datum["network_name"], datum["fork_version"], datum["amount"]) == ("hoodi", "10000910", 1000000001)
    assert datum["withdrawal_credentials"] == "01" + "00" * 11 + "ab" * 20
    (other,) = deposits("--network", "mainnet", *to, "--amount", "1.000000001")
    assert other["deposit_message_root"] == datum["deposit_message_root"]
    assert other["signature"] != datum["signature"]
    (datum,) = deposits("--network", "mainnet", *to, "--amount", "2048", "--compounding")
    assert datum["amount"] == 2048 * 10**9
    assert datum["withdrawal_credentials"] == "02" + "00" * 11 + "ab" * 20


def test_deposit_refusals(work):
    save("mn", BLS_MNEMONIC)
    base = ["deposit", "--network", "mainnet", "--mnemonic-file", "mn"]
    refused(2, "for which network? give --network NAME", "deposit", "--mnemonic-file", "mn")
    refused(2, "unknown network", "deposit", "--network", "nonet", "--mnemonic-file", "mn")
    for amount in ("0", "0.5", "33", "32.000000001", "-1", "1.", "1.0000000001", "x", "1,5", "32000000000", "1.-1"):
        refused(2, "--amount: must be 1 to 32 ETH", *base, "--amount", amount)
    for address in ("0x1234", "00" * 20, "zz" * 20, "ab" * 21):
        refused(2, "--withdrawal-address: must be an address", *base, "--withdrawal-address", address)
    refused(2, "--withdrawal-address: its checksum (EIP-55", *base, "--withdrawal-address",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD")
    refused(2, "--withdrawal-address is needed with --compounding", *base, "--compounding")
    refused(2, "--withdrawal-address is needed with --keystore-dir", "deposit", "--network", "mainnet",
            "--keystore-dir", "ks")
    refused(2, "takes the place of mnemonic", *base, "--keystore-dir", "ks")
    assert [name for name in os.listdir(".") if name.startswith("deposit_data")] == []


# ---- import, list, delete


def listed(*arguments):
    return [row["pubkey"] for row in json.loads(good("list", "--json", *arguments))]


def test_import_list_delete(work):
    made = [key["pubkey"] for key in make_keys("ks")]
    out = good("import", "ks", "--password-file", "pw", "--data-dir", "data")
    assert out.splitlines()[-1] == "2 imported, 0 already there, 0 failed"
    assert mode_of("data") == 0o700 and mode_of("data/imported") == 0o700
    assert sorted(os.listdir("data/imported")) == sorted([f"{key}.json" for key in made] + ["password"])
    for name in os.listdir("data/imported"):
        assert mode_of(f"data/imported/{name}") == 0o600
    assert sorted(listed("--data-dir", "data")) == sorted(made) == sorted(listed("ks"))
    # The kept keystores open under the machine's password and no other.
    good("import", "data/imported", "--password-file", "data/imported/password", "--data-dir", "copy")
    refused_all = run("import", "data/imported", "--password-file", "pw", "--data-dir", "copy2")
    assert refused_all.returncode == 1 and refused_all.stderr.count("wrong password") == 2
    # Again: nothing changes.
    out = good("import", "ks", "--password-file", "pw", "--data-dir", "data")
    assert out.splitlines()[-1] == "0 imported, 2 already there, 0 failed"
    good("delete", made[0], "--data-dir", "data")
    assert listed("--data-dir", "data") == [made[1]]
    refused(1, "no imported key of that name", "delete", made[0], "--data-dir", "data")
    refused(2, "a public key is 48 bytes in hex", "delete", made[0][:-1], "--data-dir", "data")
    good("delete", made[1][2:].upper(), "--data-dir", "data")
    assert listed("--data-dir", "data") == []


def test_import_goes_on_after_a_bad_file(work):
    made = make_keys("ks")
    save("ks/broken.json", "{")
    save("ks/deposit_data-1.json", "[]")
    with open(made[0]["file"], encoding="utf-8") as text:
        keystore = json.load(text)
    keystore["pubkey"] = made[1]["pubkey"][2:]
    save("ks/mismatch.json", json.dumps(keystore))
    done = run("import", "ks", "--password-file", "pw", "--data-dir", "data")
    assert done.returncode == 1
    assert "broken.json: not valid JSON at line 1, column 1" in done.stderr
    assert "mismatch.json: pubkey: is not that of the key in the file" in done.stderr
    assert done.stderr.count("\n") == 2
    assert done.stdout.splitlines()[-1] == "2 imported, 0 already there, 2 failed"
    rows = json.loads(run("import", "ks", "--password-file", "pw", "--data-dir", "data", "--json").stdout)
    assert sorted(row["status"] for row in rows) == ["duplicate", "duplicate", "error", "error"]


def test_import_with_a_password_each(work):
    made = make_keys("ks")
    os.mkdir("passwords")
    for key in made:
        name = os.path.basename(key["file"]).replace(".json", ".txt")
        save(f"passwords/{name}", PASSWORD)
    out = good("import", "ks", "--password-dir", "passwords", "--data-dir", "data")
    assert out.splitlines()[-1].startswith("2 imported")


def test_import_of_one_file(work):
    made = make_keys("ks")
    good("import", made[1]["file"], "--password-file", "pw", "--data-dir", "data")
    assert listed("--data-dir", "data") == [made[1]["pubkey"]]


def test_strange_file_names(work):
    """A name that is not UTF-8 or would move the cursor costs no row and does no harm."""
    (key,) = make_keys("ks", count=1)
    os.rename(key["file"], b"ks/\xff\x1b[2J.json")
    assert good("list", "ks") == key["pubkey"] + "  ks/\\xff\\x1b[2J.json\n"
    assert listed("ks") == [key["pubkey"]]
    (row,) = json.loads(good("import", "ks", "--password-file", "pw", "--data-dir", "data", "--json"))
    assert row == {"file": "ks/\\xff\\x1b[2J.json", "status": "imported", "pubkey": key["pubkey"]}


def test_list_of_ethereum_accounts(work):
    """Of a keystore of version 3 it is the address that names the key."""
    address = "008aeeda4d805471df9b2a5b0f38a0c3bcba786b"
    os.mkdir("v3")
    save("v3/key.json", json.dumps({
        "version": 3, "address": address, "crypto": {
            "cipher": "aes-128-ctr", "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"}, "ciphertext": "ab" * 32,
            "kdf": "pbkdf2", "kdfparams": {"c": 262144, "dklen": 32, "prf": "hmac-sha256", "salt": "ae" * 32},
            "mac": "cd" * 32}}))
    assert good("list", "v3") == f"0x{address}  v3/key.json\n"
    assert json.loads(good("list", "v3", "--json")) == [{"address": "0x" + address, "file": "v3/key.json"}]


def kms_file(kind, public):
    """What is wrapped by KMS, as docs/aws.md has the format; nothing in it opens."""
    arn = b"arn:aws:kms:eu-west-1:111122223333:key/1"
    head = b"HFKMSKEY" + bytes([1, kind, len(public), 0]) + len(arn).to_bytes(2, "big") + (32).to_bytes(2, "big")
    return head + public + arn + bytes(32 + 12 + 48)


def test_list_of_a_stopped_signer_by_its_configuration(work):
    """All that files state, with the entry of signing_keys they belong to; what they do not is said."""
    made = [key["pubkey"] for key in make_keys("ks")]
    name = sorted(os.listdir("ks"))[0]
    for folder in ("yaml", "blobs", "kms"):
        os.mkdir(folder)
    save("yaml/a.yaml", f"type: file-keystore\nkeystoreFile: {work}/ks/{name}\nkeystorePasswordFile: {work}/pw\n"
                        f"---\ntype: file-raw\nprivateKey: '0x{7:064x}'\n")
    save("blobs/one.wrapped", f"holdfast-wrapped-key: 1\ntype: bls\npublic_key: {made[1]}\nwrap_key: kek\nblob: 0x{'ab' * 32}\n")
    with open("kms/a.kms", "wb") as out:  # of the secret 1: its address is well known
        out.write(kms_file(1, bytes.fromhex("0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
                                            "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")))
    with open("kms/b.kms", "wb") as out:
        out.write(kms_file(2, bytes(range(32))))
    save("module.so", "")
    save("pin", "1234\n")
    save("holdfast.yaml", f"""data_dir: {work}/data
network: mainnet
signing_keys:
  - {{backend: local-keystore, keystore_dir: {work}/ks, password_file: {work}/pw}}
  - {{backend: web3signer, config_dir: {work}/yaml}}
  - {{backend: pkcs11, module: {work}/module.so, token_label: t, pin_file: {work}/pin, wrap_key: kek, blob_dir: {work}/blobs}}
  - backend: aws-kms
    region: eu-west-1
    blob_dir: {work}/kms
    key_id: arn:aws:kms:eu-west-1:111122223333:key/1
    encryption_context: {{network: mainnet}}
""")
    good("import", f"ks/{name}", "--password-file", "pw", "--data-dir", "data")
    done = run("list", "-c", "holdfast.yaml", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["backend"], row.get("place"), row["type"]) for row in rows] == [
        ("imported", None, "BLS"), ("local-keystore", 0, "BLS"), ("local-keystore", 0, "BLS"), ("web3signer", 1, "BLS"),
        ("pkcs11", 2, "BLS"), ("aws-kms", 3, "SECP256K1"), ("aws-kms", 3, "ED25519")]
    assert sorted(row["pubkey"] for row in rows[1:3]) == sorted(made)
    assert rows[0]["pubkey"] == rows[3]["pubkey"] and rows[3]["file"] == f"{work}/ks/{name}"
    assert rows[4]["pubkey"] == made[1] and rows[4]["file"] == f"{work}/blobs/one.wrapped"
    assert rows[5]["address"] == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    assert rows[6]["pubkey"] == "0x" + bytes(range(32)).hex()
    assert [line.split(": ")[1:3] for line in done.stderr.splitlines()] == [
        ["signing_keys[1]", "web3signer"], ["signing_keys[2]", "pkcs11"], ["signing_keys[3]", "aws-kms"]]
    text = run("list", "-c", "holdfast.yaml").stdout.splitlines()
    assert text[4] == f"{made[1]}  pkcs11[2]  {work}/blobs/one.wrapped"
    save("blobs/two.wrapped", "nonsense")
    done = run("list", "-c", "holdfast.yaml")
    assert done.returncode == 1 and "two.wrapped: " in done.stderr and len(done.stdout.splitlines()) == len(text)


def test_import_refusals(work):
    os.mkdir("empty")
    refused(2, "needs DIR", "import")
    refused(1, "empty: no keystores there", "import", "empty", "--password-file", "pw", "--data-dir", "data")
    refused(1, "nowhere", "import", "nowhere", "--password-file", "pw", "--data-dir", "data")
    make_keys("ks")
    refused(2, "which signer? give --data-dir DIR or -c FILE", "import", "ks", "--password-file", "pw")
    refused(2, "is enough", "import", "ks", "--password-file", "pw", "--password-dir", "ks", "--data-dir", "data")
    refused(2, "which signer?", "list")
    refused(2, "a folder or a signer, not both", "list", "ks", "--data-dir", "data")


def test_a_running_signer(work):
    """Imported keys sign after a start and after a reload; deleting waits for the signer to stop."""
    first, second = (key["pubkey"] for key in make_keys("ks"))
    deposit = BLS_DEPOSITS[0]
    (work / "signer").mkdir()
    with Signer(work / "signer", keys=0) as signer:
        signer.stop()
        (one,) = (name for name in os.listdir("ks") if "_3600_0_" in name)
        good("import", f"ks/{one}", "--password-file", "pw", "--data-dir", signer.data_dir)
        signer.start()
        signer.wait_until(lambda: signer.get("/api/v1/eth2/publicKeys")[1] == [first], "the kept key is loaded")
        out = good("import", "ks", "--password-file", "pw", "-c", signer.config_path)
        assert out.splitlines()[-2:] == ["1 imported, 1 already there, 0 failed",
                                         "the signer is running: POST /reload makes it load them"]
        assert signer.request("POST", "/reload")[0] in (200, 202)
        signer.wait_until(lambda: sorted(signer.get("/api/v1/eth2/publicKeys")[1]) == sorted([first, second]),
                          "both are loaded")
        assert signer.sign(second, attestation(1, 2))[0] == 200
        # The signer makes the same signature of the same deposit.
        fields = {"pubkey": first, "withdrawal_credentials": "0x" + deposit["withdrawal_credentials"],
                  "amount": str(32 * 10**9), "genesis_fork_version": "0x00000000"}
        status, body = signer.sign(first, {"type": "DEPOSIT", "deposit": fields}, headers={"Accept": "application/json"})
        assert (status, body) == (200, {"signature": "0x" + deposit["signature"]})
        refused(1, "the signer is running", "delete", first, "--data-dir", signer.data_dir)
        assert sorted(listed("--data-dir", signer.data_dir)) == sorted([first, second])
        signer.stop()
        good("delete", first, "--data-dir", signer.data_dir)
        signer.start()
        signer.wait_until(lambda: signer.get("/api/v1/eth2/publicKeys")[1] == [second], "the other is loaded")
        assert signer.sign(first, attestation(1, 2))[0] == 404


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_import_into_a_strange_folder(work):
    make_keys("ks")
    os.mkdir("data", 0o700)
    os.chown("data", 65534, 65534)
    refused(1, "belongs to user 65534 and this is user 0: run as its owner", "import", "ks", "--password-file", "pw",
            "--data-dir", "data")
    assert os.listdir("data") == []


def test_every_verb_has_help(work):
    for verb in ("new", "import", "list", "delete", "deposit"):
        assert good(verb, "--help").startswith(f"usage: holdfast key {verb}")
    assert "deposit" in good("--help")
    refused(2, "which verb?")
    refused(2, "frobnicate: no such verb", "frobnicate")
