"""The memory of every process, read as root and searched for keys, passwords and tokens; logs and error texts, too."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import harness
import pytest
from conftest import wait_for
from test_key_manager import bearer, delete_keys, import_keys

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of a process that is not dumpable"),
    pytest.mark.skipif(harness.SANITIZED, reason="sanitizers keep shadows and copies of all memory"),
]

PASSWORD = "a password for tests"
CHUNK = 1 << 22
WINDOW = 12  # bytes of a secret that count as having found it
PAGE = os.sysconf("SC_PAGE_SIZE")


# ---- reading and searching


def mappings(pid):
    """[(start, end, permissions, name)]"""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.split(None, 5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            yield start, end, fields[1], fields[5].strip() if len(fields) > 5 else ""


def flags_at(pid, address):
    """The kernel's flags of the mapping that holds the address: "lo" locked, "dd" not dumped, "wf" wiped on fork."""
    inside = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if head:
                inside = int(head.group(1), 16) <= address < int(head.group(2), 16)
            elif inside and line.startswith("VmFlags:"):
                return set(line.split()[1:])
    raise AssertionError(f"no mapping at {address:x}")


def search(pid, needles):
    """{name of a needle: [addresses]} over all that the process can read itself, the stacks and the heap among it."""
    found = {}
    longest = max(len(needle) for _, needle in needles)
    pattern = re.compile(b"|".join(sorted({re.escape(needle) for _, needle in needles})))
    names = {needle: name for name, needle in needles}
    read = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, permissions, name in mappings(pid):
            if permissions[0] != "r" or name in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            tail = b""
            at = start
            while at < end:
                try:
                    memory.seek(at)
                    block = memory.read(min(CHUNK, end - at))
                except OSError:
                    break
                if not block:
                    break
                read += len(block)
                text = tail + block
                for match in pattern.finditer(text):
                    found.setdefault(names[match.group()], []).append(at - len(tail) + match.start())
                tail = text[-(longest - 1):]
                at += len(block)
    assert read > 1 << 20, "the memory could not be read"
    return found


def forms(name, secret):
    """A secret key as it may lie in memory: either byte order, halves of it, hex in either case."""
    needles = []
    for raw in (secret, secret[::-1]):
        for part in (raw[:WINDOW], raw[-WINDOW:]):
            needles += [(name, part), (name, part.hex().encode()), (name, part.hex().upper().encode())]
    return needles


def secret_of(keystore, password=PASSWORD):
    """The key in a keystore of bench_keys (PBKDF2, AES-128-CTR), by other programs than ours."""
    crypto = json.loads(keystore)["crypto"]
    kdf = crypto["kdf"]["params"]
    derived = hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(kdf["salt"]), kdf["c"], 32)
    message = bytes.fromhex(crypto["cipher"]["message"])
    assert hashlib.sha256(derived[16:32] + message).hexdigest() == crypto["checksum"]["message"]
    return subprocess.run(["openssl", "enc", "-d", "-aes-128-ctr", "-nopad", "-K", derived[:16].hex(), "-iv",
                           crypto["cipher"]["params"]["iv"]], input=message, capture_output=True, check=True).stdout


def read_keystores(folder):
    names = sorted(os.listdir(folder), key=lambda name: int(name.split("-")[1].split(".")[0]))
    return [open(os.path.join(folder, name), encoding="utf-8").read() for name in names]


def everyone(signer):
    """{pid: name} once no loader is left."""
    wait_for("the loader's end", lambda: not signer.pids("loader"))
    return signer.descendants()


def assert_only_locked(pid, found):
    """Hits are there, in one locked mapping that no core file and no child gets, between guard pages."""
    places = {address // PAGE * PAGE for addresses in found.values() for address in addresses}
    assert places
    areas = list(mappings(pid))
    for place in places:
        assert {"lo", "dd", "wf"} <= flags_at(pid, place), "a key outside locked memory"
        index = next(i for i, area in enumerate(areas) if area[0] <= place < area[1])
        start, end = areas[index][:2]
        assert areas[index - 1][1] == start and areas[index - 1][2] == "---p", "no guard page below"
        assert areas[index + 1][0] == end and areas[index + 1][2] == "---p", "no guard page above"


PASSWORD_NEEDLES = [("password", PASSWORD.encode()), ("password", PASSWORD.encode("utf-16-le"))]


def test_the_search_finds_what_is_there(tmp_path):
    """Against a process that has the secret in its heap: the search itself works, and sees it go."""
    secret = os.urandom(32)
    program = f"s = bytearray.fromhex('{secret[::-1].hex()}')[::-1]; print(len(s), flush=True); input()"
    holder = subprocess.Popen(["/usr/bin/python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()
        assert search(holder.pid, forms("key", secret))["key"]
        assert not search(holder.pid, forms("other", os.urandom(32)))
    finally:
        holder.communicate("\n", timeout=20)


# ---- loaded, signing, deleted


def test_loaded_keys_are_in_the_keepers_locked_memory_alone(signers):
    signer = signers(keys=4)
    secrets = [secret_of(text) for text in read_keystores(signer.keystores)]
    needles = [needle for i, secret in enumerate(secrets) for needle in forms(f"key {i}", secret)]
    signer.start()
    for target in range(2, 42):
        for pubkey in signer.pubkeys:
            assert signer.attest(pubkey, target - 1, target)[0] == 200
    for pid, name in everyone(signer).items():
        found = search(pid, needles + PASSWORD_NEEDLES)
        assert "password" not in found, f"{name}: the keystores' password"
        if name == "holdfast-keeper":
            assert set(found) == {f"key {i}" for i in range(4)}
            assert_only_locked(pid, found)
        else:
            assert not found, f"{name} has a key"


def test_nothing_is_left_of_deleted_keys(signers, tmp_path):
    """Imported over HTTP, used, deleted: no process has the key, its password or its keystore's text any more."""
    signer = signers(keys=1)
    signer.start()
    pubkeys = harness.make_keystores(str(tmp_path / "more"), 3, first=50)
    texts = read_keystores(tmp_path / "more")
    passwords = [PASSWORD] * 3
    secrets = [secret_of(text) for text in texts]
    needles = [needle for i, secret in enumerate(secrets) for needle in forms(f"key {i}", secret)]
    ciphers = [("cipher", json.loads(text)["crypto"]["cipher"]["message"].encode()) for text in texts]
    status, answer = import_keys(signer, texts, passwords=passwords)
    assert status == 200 and {item["status"] for item in answer["data"]} == {"imported"}, answer
    for name in os.listdir(os.path.join(signer.data_dir, "imported")):
        if not name.endswith(".json"):  # what the imported keys are kept under
            with open(os.path.join(signer.data_dir, "imported", name), "rb") as file:
                ciphers.append(("machine password", file.read().strip()))
    assert ciphers[-1][0] == "machine password" and len(ciphers[-1][1]) >= 32
    for target in range(2, 22):
        for pubkey in pubkeys:
            assert signer.attest(pubkey, target - 1, target)[0] == 200
    for pid, name in everyone(signer).items():
        found = search(pid, needles + PASSWORD_NEEDLES + ciphers)
        assert "password" not in found, f"{name}: the password of an imported keystore"
        assert name == "holdfast-keeper" or not found, f"{name}: {sorted(found)}"
        if name == "holdfast-keeper":
            assert set(found) == {"key 0", "key 1", "key 2"}
            assert_only_locked(pid, found)
    assert delete_keys(signer, pubkeys)[0] == ["deleted"] * 3
    for pid, name in everyone(signer).items():
        assert not search(pid, needles + PASSWORD_NEEDLES + ciphers), name


def test_the_loader_has_no_key_while_it_loads(signers, tmp_path):
    """Workers have one key each, for as long as it takes; the loader that starts them has none, and no password."""
    signer = signers(keys=2)
    slow = tmp_path / "slow"
    slow.mkdir(mode=0o700)
    subprocess.run([os.path.join(harness.BUILD, "bench", "bench_keys"), str(slow), "200", "1", "pbkdf2", "1000000",
                    f"{signer.keystores}.password"], check=True)
    for name in os.listdir(slow):
        shutil.copy(slow / name, signer.keystores)
    secrets = [secret_of(text) for text in read_keystores(signer.keystores)]
    needles = [needle for secret in secrets for needle in forms("key", secret)] + PASSWORD_NEEDLES
    searched = []
    signer.start(wait=False)
    signer.wait_ready()

    def look():
        table = signer.descendants()
        loaders = [pid for pid, name in table.items() if name == "holdfast-loader"]
        # The loader itself has the supervisor for a parent; its workers have the loader.
        parents = {pid: int(re.search(r"^PPid:\t(\d+)", open(f"/proc/{pid}/status", encoding="ascii").read(), re.M).group(1))
                   for pid in loaders}
        for pid in (pid for pid in loaders if parents[pid] == signer.process.pid):
            if any(parent == pid for parent in parents.values()):
                searched.append(search(pid, needles))

    def loaded():
        try:
            look()
        except (FileNotFoundError, ProcessLookupError, AssertionError):
            pass  # it ended meanwhile
        return len(signer.get("/api/v1/eth2/publicKeys")[1]) == 3

    wait_for("three keys", loaded, harness.PATIENCE)
    assert searched, "the loader was never seen with a worker"
    assert not any(searched), searched


# ---- words


def test_no_secret_is_written(signers, tmp_path):
    """Log, status, metrics, answers and error texts, when all goes well and when it does not."""
    signer = signers(keys=2, config="log: {level: debug}\n")
    secrets = [secret_of(text) for text in read_keystores(signer.keystores)]
    signer.start()
    token = bearer(signer)["Authorization"].removeprefix("Bearer ")
    said = []
    harness.make_keystores(str(tmp_path / "more"), 2, first=70)
    texts = read_keystores(tmp_path / "more")
    secrets += [secret_of(text) for text in texts]
    wrong = "hunter2 is not the password"
    for passwords in ([wrong, PASSWORD], [PASSWORD, wrong]):
        said.append(import_keys(signer, texts, passwords=passwords))
    broken = texts[0].replace('"crypto"', f'"{wrong}"')
    said.append(import_keys(signer, [broken, texts[0][:-40]], passwords=[PASSWORD, PASSWORD]))
    said.append(signer.request("POST", "/eth/v1/keystores", f'{{"keystores": ["{wrong}"], "passwords": ["{PASSWORD}"', bearer(signer)))
    said.append(signer.get("/eth/v1/keystores", headers={"Authorization": f"Bearer {token}{wrong}"}))
    harness.write_private(os.path.join(signer.keystores, "x.json"), texts[1])  # its password is right; then a wrong file
    harness.write_private(os.path.join(signer.keystores, "y.json"), texts[1].replace("0", "1"))
    said += [signer.get("/reload"), signer.status(), signer.metrics(), harness.run("check", "-c", signer.config_path, "--show").stdout]
    said.append(signer.request("POST", "/reload"))
    wait_for("the reload", lambda: signer.get("/reload")[1]["status"] not in ("running", "idle"), harness.PATIENCE)
    assert delete_keys(signer, signer.get("/api/v1/eth2/publicKeys")[1])[0]
    log = signer.log()
    signer.stop()
    text = "\n".join(json.dumps(one, default=str) for one in said) + log
    for needle in [PASSWORD, wrong, token] + [secret.hex() for secret in secrets] + [secret[::-1].hex() for secret in secrets]:
        assert needle.lower() not in text.lower(), needle


def test_nothing_is_left_after_a_stop_in_files(signers, tmp_path):
    """What was imported lies encrypted: no file of the data folder holds a key in the clear."""
    signer = signers(keys=1)
    signer.start()
    harness.make_keystores(str(tmp_path / "more"), 2, first=90)
    texts = read_keystores(tmp_path / "more")
    assert import_keys(signer, texts)[0] == 200
    signer.stop()
    needles = [needle for text in texts for _, needle in forms("key", secret_of(text))]
    count = 0
    for folder, _, names in os.walk(signer.data_dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                count += 1
                with open(path, "rb") as file:
                    content = file.read()
                assert not [needle for needle in needles if needle in content], path
    assert count > 2


# ---- sealed keys


def times(a, b):
    """In GF(256) with the polynomial 0x11b."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def inverse(a):
    power = a
    for _ in range(253):
        power = times(power, a)
    return power


def combine(shares):
    """What printed shares (32 bytes and their place) come to: Shamir's, at zero."""
    secret = bytearray(32)
    for share in shares:
        weight = 1
        for other in shares:
            if other is not share:
                weight = times(weight, times(other[32], inverse(other[32] ^ share[32])))
        for i in range(32):
            secret[i] ^= times(weight, share[i])
    return bytes(secret)


def search_family(signer, needles):
    """{program: names found}; a hit outside the keeper's locked memory is an error at once."""
    result = {}
    for pid, name in everyone(signer).items():
        found = search(pid, needles)
        if found:
            assert name == "holdfast-keeper", f"{name}: {sorted(found)}"
            assert_only_locked(pid, found)
            result[name] = set(found)
    return result.get("holdfast-keeper", set())


def test_a_sealed_signer_has_nothing_to_find(signers, tmp_path):
    """Printed shares and a passphrase, whose bytes the test knows: where they are in each state, and where not."""
    signer = signers(keys=0, config="signing_keys:\n  - {backend: sealed}\nlog: {level: debug}\n")
    signer.start()
    phrase = "tide under the eleventh bridge"
    harness.write_private(str(tmp_path / "phrase"), phrase)
    done = harness.run("seal", "init", "--data-dir", signer.data_dir, "--threshold", "2", "--holder", "one:printed", "--holder",
                       "two:printed", "--holder", "three:passphrase", "--passphrase-file", f"three={tmp_path}/phrase", "--kdf-memory",
                       "19", "--kdf-passes", "2")
    assert done.returncode == 0, done.stderr
    shares = [bytes.fromhex(text) for text in re.findall(r"^share of \w+: ([0-9a-f]{66}) ", done.stdout, re.M)]
    printed = re.findall(r"\(base64 (\S+)\)", done.stdout)
    assert len(shares) == len(printed) == 2
    master = forms("master", combine(shares))
    parts = [(name, share[:WINDOW]) for name, share in (("share one", shares[0]), ("share two", shares[1]))]
    words = [("passphrase", phrase.encode())] + [("printed", text.encode()) for text in printed]
    words += [("printed", share.hex().encode()) for share in shares]
    everything = master + parts + words

    assert search_family(signer, everything) == set(), "sealed, fresh from its making"
    for number, name in enumerate(("one", "two")):
        harness.write_private(str(tmp_path / name), shares[number].hex())
    given = harness.run("seal", "unseal", "--data-dir", signer.data_dir, "--share-file", tmp_path / "one")
    assert given.returncode == 0, given.stderr
    assert search_family(signer, everything) <= {"share one"}, "partly unsealed"
    given = harness.run("seal", "unseal", "--data-dir", signer.data_dir, "--holder", "three", "--passphrase-file", tmp_path / "phrase")
    assert given.returncode == 0, given.stderr
    state = json.loads(harness.run("seal", "status", "--data-dir", signer.data_dir, "--json").stdout)["state"]
    assert state == "unsealed"
    unsealed = search_family(signer, everything)
    assert unsealed <= {"master"}, f"unsealed: {unsealed}"
    assert "master" in unsealed, "the test computes another master key than the signer"
    assert harness.run("seal", "seal", "--data-dir", signer.data_dir).returncode == 0
    assert search_family(signer, everything) == set(), "sealed again"
    wrong = harness.run("seal", "unseal", "--data-dir", signer.data_dir, "--holder", "three", "--passphrase-file", tmp_path / "one")
    assert wrong.returncode == 1
    log = signer.log()
    signer.stop()
    for folder, _, names in os.walk(signer.data_dir):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            assert not [what for what, needle in everything if needle in content], os.path.join(folder, name)
    for _, needle in words:
        assert needle.decode() not in log + wrong.stderr + given.stdout + given.stderr
