"""The 38 files of EIP-3076's own tests through the real program, strict in both directions.

Holdfast keeps a complete history, so that `should_succeed_complete` is what it is held to: signing what
should be refused is a fault, and so is refusing what should be signed.

The files name signing roots that no request has. So every (kind, slot or epochs, root) of a file stands for
a real message with that root in it; the message's true signing root then takes the place of the file's in
what is imported.
"""

import glob
import json
import os
import re

import harness
import interop
import postgres
import pytest

FOLDER = os.path.join(harness.ROOT, "tests", "vectors", "interchange-tests")
FILES = sorted(glob.glob(os.path.join(FOLDER, "*.json")))
FORK_VERSION = "0x00000000"
ZERO_ROOT = "0x" + "00" * 32


def load(path):
    with open(path, encoding="utf-8") as text:
        return json.load(text)


# ---- from a file's message to a real one


class Chain:
    """A network of the file's own genesis validators root."""

    def __init__(self, genesis_validators_root):
        self.root = genesis_validators_root
        self.network = (f"{{genesis_validators_root: \"{self.root}\", genesis_fork_version: \"{FORK_VERSION}\", "
                        "capella_fork_version: \"0x03000000\", deneb_fork_epoch: 1000000}")
        self.fork_info = {"fork": {"previous_version": FORK_VERSION, "current_version": FORK_VERSION, "epoch": "0"},
                          "genesis_validators_root": self.root}

    def block(self, entry):
        """(request, signing root); a message without a root is the one with the root of zeros."""
        header = {"slot": entry["slot"], "proposer_index": "0", "parent_root": ZERO_ROOT,
                  "state_root": entry.get("signing_root", ZERO_ROOT), "body_root": ZERO_ROOT}
        request = {"type": "BLOCK_V2", "fork_info": self.fork_info,
                   "beacon_block": {"version": "CAPELLA", "block_header": header}}
        return request, self.signing_root(interop.header_root(header), interop.DOMAIN_PROPOSER)

    def attestation(self, entry):
        data = {"slot": str(int(entry["target_epoch"]) * 32), "index": "0",
                "beacon_block_root": entry.get("signing_root", ZERO_ROOT),
                "source": {"epoch": entry["source_epoch"], "root": ZERO_ROOT},
                "target": {"epoch": entry["target_epoch"], "root": ZERO_ROOT}}
        request = {"type": "ATTESTATION", "fork_info": self.fork_info, "attestation": data}
        return request, self.signing_root(interop.attestation_root(data), interop.DOMAIN_ATTESTER)

    def signing_root(self, object_root, domain_type):
        return interop.signing_root(object_root, domain_type, FORK_VERSION, self.root)

    def interchange(self, document):
        """The same with true signing roots; what has none keeps none."""
        return {"metadata": document["metadata"], "data": [
            {**validator,
             "signed_blocks": [self.true_root(self.block, entry) for entry in validator["signed_blocks"]],
             "signed_attestations": [self.true_root(self.attestation, entry)
                                     for entry in validator["signed_attestations"]]}
            for validator in document["data"]]}

    @staticmethod
    def true_root(message, entry):
        return {**entry, "signing_root": message(entry)[1]} if "signing_root" in entry else entry

    def requests(self, step):
        """[(pubkey, request, whether it must be signed)], blocks first as the files' README has it."""
        return ([(entry["pubkey"], self.block(entry), entry["should_succeed_complete"]) for entry in step["blocks"]] +
                [(entry["pubkey"], self.attestation(entry), entry["should_succeed_complete"])
                 for entry in step["attestations"]])


# ---- a run of one file


def export(signer):
    result = harness.run("slashing", "export", "-c", signer.config_path)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def exported_or_none(signer):
    is_there = signer.is_shared or os.path.exists(os.path.join(signer.data_dir, "slashing.sqlite"))
    return export(signer) if is_there else None


def import_step(signer, step, document, path):
    before = exported_or_none(signer)
    path.write_text(json.dumps(document), encoding="utf-8")
    result = harness.run("slashing", "import", path, "-c", signer.config_path, "--json")
    assert result.returncode == (0 if step["should_succeed"] else 1), (result.stdout, result.stderr)
    if not step["should_succeed"]:
        assert "nothing was imported" in result.stderr and result.stdout == ""
        assert exported_or_none(signer) == before
        return
    report = json.loads(result.stdout)
    known = {(validator["pubkey"], entry.get("slot"), entry.get("source_epoch"), entry.get("target_epoch"))
             for validator in document["data"] for kind in ("signed_blocks", "signed_attestations")
             for entry in validator[kind]}
    assert report == {"validators": len({validator["pubkey"] for validator in document["data"]}),
                      "blocks": sum(slot is not None for _, slot, _, _ in known),
                      "attestations": sum(slot is None for _, slot, _, _ in known),
                      "conflicts": report["conflicts"]}
    assert step["contains_slashable_data"] or report["conflicts"] == 0


def is_right(request, should_succeed, status, answer):
    if should_succeed:
        return status == 200 and re.fullmatch("0x[0-9a-f]{192}", answer["signature"])
    data = request.get("attestation")
    if data and int(data["source"]["epoch"]) > int(data["target"]["epoch"]):
        # No chain has such a vote: not protection refuses it, it is malformed.
        return (status, answer["code"]) == (400, "SOURCE_AFTER_TARGET")
    return status == 412 and set(answer) == {"error", "code"}


def ask(signer, requests):
    """Signs in order; a list of what came out other than it should."""
    wrong, signatures = [], {}
    for pubkey, (request, root), should_succeed in requests:
        status, answer = signer.sign(pubkey, {**request, "signingRoot": root}, headers={"Accept": "application/json"})
        if not is_right(request, should_succeed, status, answer):
            wrong.append((pubkey, request, should_succeed, status, answer))
        if status == 200:
            signatures[pubkey, root] = answer["signature"]
    return wrong, signatures


@pytest.fixture(name="server", scope="module")
def running_server():
    """Loss of power is not what is tested here: fsync is off."""
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.Postgres(fsync=False) as server:
        yield server


@pytest.fixture(name="store_of")
def stores(request, tmp_path, state):
    """store_of(name): the configuration of a new record, in a database of its own for the state postgres."""
    def configuration(name):
        if state != "postgres":
            return ""
        server = request.getfixturevalue("server")
        path = tmp_path / f"{name}.url"
        harness.write_private(path, server.create_database(f"{name}_{os.urandom(4).hex()}"))
        return f"slashing_protection: {{backend: postgres, url_file: {path}}}\n"
    return configuration


@pytest.mark.parametrize("state", ["running", "stopped", "postgres"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: os.path.basename(path)[:-len(".json")])
def test_file(signers, tmp_path, path, state, store_of):
    """Imports through a running signer's admin.sock, or into a stopped one's store before each step; or through a running
    one's admin.sock into PostgreSQL."""
    vector = load(path)
    chain = Chain(vector["genesis_validators_root"])
    signer = interop.signer_with_keys(signers, tmp_path, chain.network, store_of("signer"))
    signer.is_shared = state == "postgres"
    if state != "stopped":
        signer.start()
    refused = []
    for step in vector["steps"]:
        if state == "stopped":
            signer.stop()
        import_step(signer, step, chain.interchange(step["interchange"]), tmp_path / "step.json")
        if state == "stopped":
            signer.start()
        asked = chain.requests(step)
        wrong, signatures = ask(signer, asked)
        assert wrong == []
        refused += [request for request in asked if not request[2]]
    # A restart changes no decision, and what was signed is signed again as it was.
    signer.stop()
    signer.start()
    assert ask(signer, asked) == ([], signatures)
    # Nor does a hand-over: who takes on this history signs nothing that was refused here.
    signer.stop()
    (tmp_path / "handover.json").write_text(json.dumps(export(signer)), encoding="utf-8")
    heir = interop.signer_with_keys(signers, tmp_path / "heir", chain.network, store_of("heir"))
    taken = harness.run("slashing", "import", tmp_path / "handover.json", "-c", heir.config_path)
    assert taken.returncode == 0, taken.stderr
    assert ask(heir.start(), refused) == ([], {})


def test_the_files_are_all_there():
    files = [load(path) for path in FILES]
    assert len(files) == 38
    steps = [step for vector in files for step in vector["steps"]]
    assert (len(steps), sum(not step["should_succeed"] for step in steps)) == (49, 1)
    assert (sum(len(step["blocks"]) for step in steps), sum(len(step["attestations"]) for step in steps)) == (71, 79)
    keys = {entry["pubkey"] for step in steps for entry in (*step["interchange"]["data"], *step["blocks"],
                                                            *step["attestations"])}
    assert keys <= set(interop.PUBKEYS)
