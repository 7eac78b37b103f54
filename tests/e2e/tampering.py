"""Records of sealed keys that somebody with access to the store changed: swapped, put back, cut, flipped, taken away.

The three stores are behind one shape: rows() gives {(kind, id): (version, data)}, write(changes) puts such values in place,
None takes a record away. They are written past the signer, while it is stopped.
"""

import base64
import contextlib
import http.client
import json
import sqlite3

from harness import Signer, attestation, run

SEAL, KEY = 1, 2
STRANGER = "0x" + "ab" * 48


class Sqlite:
    def __init__(self, path):
        self.path = path

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            found = db.execute("SELECT kind, id, version, data FROM records").fetchall()
        return {(kind, id): (version, data) for kind, id, version, data in found}

    def write(self, changes):
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            for name, value in changes.items():
                db.execute("DELETE FROM records WHERE kind = ? AND id = ?", name)
                if value is not None:
                    db.execute("INSERT INTO records(kind, id, version, data) VALUES (?, ?, ?, ?)", (*name, *value))


class Postgres:
    def __init__(self, server):
        self.server = server

    def rows(self):
        text = self.server.psql("SELECT kind, encode(id, 'hex'), version, encode(data, 'hex') FROM holdfast_records "
                                "WHERE kind > 0", "holdfast")
        found = (line.split("|") for line in text.splitlines())
        return {(int(kind), bytes.fromhex(id)): (int(version), bytes.fromhex(data)) for kind, id, version, data in found}

    def write(self, changes):
        statements = ["BEGIN"]
        for (kind, id), value in changes.items():
            statements.append(f"DELETE FROM holdfast_records WHERE kind = {kind} AND id = '\\x{id.hex()}'")
            if value is not None:
                statements.append("INSERT INTO holdfast_records(kind, id, version, data) VALUES "
                                  f"({kind}, '\\x{id.hex()}', {value[0]}, '\\x{value[1].hex()}')")
        self.server.psql(";\n".join([*statements, "COMMIT"]), "holdfast")


class Dynamodb:
    def __init__(self, port, table):
        self.port = port
        self.table = table

    def ask(self, operation, **body):
        peer = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        peer.request("POST", "/", json.dumps({"TableName": self.table, **body}), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}", "X-Amz-Date": "now",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/dynamodb/aws4_request, SignedHeaders=host, Signature=a"})
        answer = peer.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    def rows(self):
        items = {(kind, bytes.fromhex(item["sk"]["S"])): item for kind in (SEAL, KEY) for item in
                 self.ask("Query", KeyConditionExpression="pk = :pk", ConsistentRead=True,
                          ExpressionAttributeValues={":pk": {"S": f"record#{kind}"}})["Items"]}
        return {name: (int(item["version"]["N"]), base64.b64decode(item["data"]["B"])) for name, item in items.items()
                if "data" in item}

    def write(self, changes):
        for (kind, id), value in changes.items():
            key = {"pk": {"S": f"record#{kind}"}, "sk": {"S": id.hex()}}
            if value is None:
                self.ask("DeleteItem", Key=key)
            else:
                data = base64.b64encode(value[1]).decode()
                self.ask("PutItem", Item={**key, "version": {"N": str(value[0])}, "data": {"B": data}})


def named(pubkey):
    return (KEY, bytes.fromhex(pubkey[2:]))


def meta(text):
    return (SEAL, text.encode().ljust(48, b"\0"))


def flip(value, at):
    data = bytearray(value[1])
    data[at] ^= 1
    return value[0], bytes(data)


def prove_records(signer, store):
    """Each change refuses the keys it concerns and is named; the others sign on where the rest is beyond doubt."""
    with signer:
        signer.init(1, "alice")
        signer.unseal("alice")
        first, second, third = signer.add_keys(3)
        old = store.rows()
        signer.holdfast("key", "deactivate", first)  # it moved to another machine
    now = store.rows()
    page = meta(f"manifest/{bytes.fromhex(first[2:])[16] % 64:02d}")
    cases = [
        # what is put in place, who is refused, who still signs, and what is said
        ({named(first): old[named(first)]}, {first}, {second, third}, "older copy"),
        ({page: old[page]}, {first}, set(), "older copy"),
        ({page: old[page], named(first): old[named(first)]}, {first}, set(), "older copy"),
        ({meta("manifest"): old[meta("manifest")]}, {first}, set(), "older copy"),
        ({named(second): None}, {second}, {third}, "gone"),
        ({named(second): now[named(third)], named(third): now[named(second)]}, {second, third}, set(), "not that of"),
        ({named(second): flip(now[named(second)], 130)}, {second}, {third}, "was changed"),
        ({named(second): flip(now[named(second)], 2)}, {second}, {third}, ""),
        ({named(second): (1, now[named(second)][1][:-1])}, {second}, {third}, "not that of"),
        ({named(second): (9, now[named(second)][1])}, {second}, {third}, "was changed"),
        ({named(STRANGER): now[named(second)]}, set(), {second, third}, "not that of"),
        ({page: None}, {first}, set(), "gone"),
        ({meta("manifest"): None}, {first, second, third}, set(), "gone"),
    ]
    for target, (changes, refused, signing, says) in enumerate(cases, 20):
        store.write(changes)
        with signer:
            signer.unseal("alice")
            state = signer.state()
            assert state["detail"] and says in state["detail"], (changes, state)
            for pubkey in refused:
                assert not signer.signs(pubkey, target), (changes, signer.log())
            for pubkey in signing:
                assert signer.signs(pubkey, target), (changes, signer.log())
        store.write({key: now.get(key) for key in changes})
    with signer:
        signer.unseal("alice")
        state = signer.state()
        assert state["detail"] == "" and state["keys"] == {"active": 2, "inactive": 1, "refused": 0, "to_rotate": 0}


class Unread:
    """The same signer, without waiting for a seal that can be read."""

    def __init__(self, signer):
        self.signer = signer

    def __enter__(self):
        Signer.start(self.signer)
        return self.signer

    def __exit__(self, *_):
        self.signer.stop()


def prove_seal(signer, store):
    """A seal that was changed opens nothing."""
    with signer:
        signer.init(1, "alice")
        signer.unseal("alice")
        pubkey, = signer.add_keys(1)
    kept = store.rows()[meta("config")]
    # The threshold, the check value, the commitment, the parameters, the wrapped share, a cut.
    for at in (33, 40, 80, 118, 150, len(kept[1]) - 1):
        store.write({meta("config"): flip(kept, at)})
        with Unread(signer) as opened:
            done = run("seal", "unseal", "--holder", "alice", "--passphrase-file", f"{opened.folder}/alice.pass",
                       "--data-dir", opened.data_dir)
            assert done.returncode != 0, done.stdout
            assert opened.sign(pubkey, attestation(1, 2))[0] == 503
    store.write({meta("config"): kept})
    with signer:
        signer.unseal("alice")
        assert signer.signs(pubkey, 5)
