"""The habits of the validator clients that call a signer of this kind, each over every vector it concerns."""

import base64
import json
import socket
import time

import harness
import interop
import pytest
from vectors import block_of, vectors_of

# Clients leave a connection of their pool idle; test_http.py has the full time that is promised.
IDLE_SECONDS = 5
# {type: (Lighthouse's type, its member)}: what it sends bare, where the specification has {version, data}.
LIGHTHOUSE_GLOAS = {
    "PAYLOAD_ATTESTATION_MESSAGE": ("PAYLOAD_ATTESTATION", "payload_attestation_data"),
    "EXECUTION_PAYLOAD_ENVELOPE": ("EXECUTION_PAYLOAD_ENVELOPE", "execution_payload_envelope"),
    "PROPOSER_PREFERENCES": ("PROPOSER_PREFERENCES", "proposer_preferences"),
}


@pytest.fixture(name="interop_signer")
def running_interop_signer(signers, tmp_path):
    return interop.signer_with_keys(signers, tmp_path).start()


def path_of(vector):
    return f"/api/v1/eth2/sign/{vector['pubkey']}"


def all_signed(signer, vectors, change, headers=None):
    """Posts change(request) of each vector; [(name, answer)] of those that did not get the vector's signature."""
    connection = signer.connect()
    wrong = []
    for vector in vectors:
        connection.request("POST", path_of(vector), json.dumps(change(vector["request"])),
                           {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or json.loads(body) != {"signature": vector["signature"]}:
            wrong.append((vector["name"], body))
    connection.close()
    return wrong


# ---- what is in a request


def mapped(value, change):
    """The JSON value with change() made to each object in it, the inner ones first."""
    if isinstance(value, dict):
        return change({name: mapped(member, change) for name, member in value.items()})
    if isinstance(value, list):
        return [mapped(member, change) for member in value]
    return value


@pytest.mark.parametrize("spell", [str.lower, str.title, str.swapcase], ids=["lower", "title", "swapcase"])
def test_types_in_any_case(interop_signer, spell):
    assert all_signed(interop_signer, vectors_of("mainnet"),
                      lambda request: {**request, "type": spell(request["type"])}) == []


def test_unknown_members_are_ignored(interop_signer):
    """In front of, between and behind the known ones, at every depth."""
    def with_strangers(members):
        changed = {"x_first": [1, {"deep": None}]}
        for name, member in members.items():
            changed[name] = member
            changed[f"x_after_{name}"] = {"slot": "1", "epoch": True, name: member} if len(name) < 8 else "0x"
        return changed
    assert all_signed(interop_signer, vectors_of("mainnet"), lambda request: mapped(request, with_strangers)) == []


def test_members_in_any_order(interop_signer):
    """type last: nothing of the rest can be read before the end."""
    def backwards(members):
        return dict(reversed(members.items()))
    assert all_signed(interop_signer, vectors_of("mainnet"), lambda request: mapped(request, backwards)) == []


def test_numbers_as_numbers(interop_signer):
    def plain(members):
        return {name: int(member) if isinstance(member, str) and member.isdecimal() else member
                for name, member in members.items()}
    assert all_signed(interop_signer, vectors_of("mainnet"), lambda request: mapped(request, plain)) == []


def test_hex_in_upper_case(interop_signer):
    def upper(members):
        return {name: "0x" + member[2:].upper() if isinstance(member, str) and member.startswith("0x") else member
                for name, member in members.items()}
    assert all_signed(interop_signer, vectors_of("mainnet"), lambda request: mapped(request, upper)) == []


def test_nimbus_adds_proofs_to_blocks(interop_signer):
    blocks = [vector for vector in vectors_of("mainnet") if vector["request"]["type"] == "BLOCK_V2"]
    proofs = [{"index": "401", "proof": ["0x" + "ab" * 32] * 8, "value": "0x" + "cd" * 20}]
    assert len(blocks) == 8
    assert all_signed(interop_signer, blocks, lambda request: {**request, "proofs": proofs}) == []


def test_blocks_of_a_fork_that_is_not_known_yet(interop_signer):
    """A header is a header, whatever the fork is called."""
    headers = [vector for vector in vectors_of("mainnet")
               if "block_header" in vector["request"].get("beacon_block", {})]
    assert len(headers) == 6
    for name in ("HEZE", "some-fork-of-2031", "electra"):
        assert all_signed(interop_signer, headers, lambda request, name=name: {
            **request, "beacon_block": {"version": name, "block_header": block_of(request)}}) == []


def test_lighthouse_spells_gloas_otherwise(interop_signer):
    vectors = [vector for vector in vectors_of("mainnet") if vector["type"] in LIGHTHOUSE_GLOAS]
    assert len(vectors) == len(LIGHTHOUSE_GLOAS)

    def bare(request):
        name, member = LIGHTHOUSE_GLOAS[request["type"]]
        data = next(value["data"] for value in request.values() if isinstance(value, dict) and "data" in value)
        return {"type": name, "signingRoot": request["signingRoot"], "fork_info": request["fork_info"], member: data}
    assert all_signed(interop_signer, vectors, bare) == []


# ---- exits


def fork(previous, current, epoch):
    return {"fork": {"previous_version": f"0x0{previous}000000", "current_version": f"0x0{current}000000",
                     "epoch": str(epoch)}, "genesis_validators_root": harness.MAINNET_ROOT}


# Capella is 3 at 194048, Deneb 4 at 269568, Electra 5 at 364032, Fulu 6 at 411392.
EXIT_FORKS = {
    "Lodestar": fork(2, 3, 194048),
    "Prysm and Teku before Electra": fork(3, 4, 269568),
    "Prysm and Teku since Electra": fork(4, 5, 364032),
    "Prysm and Teku since Fulu": fork(5, 6, 411392),
    "Lighthouse": fork(3, 3, 300000),
}


def test_clients_tell_exits_differently_and_get_one_signature(interop_signer):
    """EIP-7044: from Deneb on an exit is signed with Capella's version, however old its own epoch is."""
    for epoch, pubkey in ((300000, interop.PUBKEYS[0]), (194048, interop.PUBKEYS[1]), (0, interop.PUBKEYS[2])):
        exit_ = {"epoch": str(epoch), "validator_index": "1234"}
        object_root = interop.merkle([interop.u64(epoch), interop.u64(1234)])
        capella = interop.signing_root(object_root, 4, "0x03000000", harness.MAINNET_ROOT)
        signatures = set()
        for client, fork_info in EXIT_FORKS.items():
            body = {"type": "VOLUNTARY_EXIT", "fork_info": fork_info, "voluntary_exit": exit_}
            status, answer = interop_signer.sign(pubkey, {**body, "signingRoot": capella},
                                                 headers={"Accept": "application/json"})
            assert status == 200, (client, epoch, answer)
            signatures.add(answer["signature"])
            status, again = interop_signer.sign(pubkey, body, headers={"Accept": "application/json"})
            assert (status, again) == (200, answer)
        assert len(signatures) == 1


# ---- how a request comes


def raw_request(vector, head="", version="1.1", body=None):
    body = json.dumps(vector["request"]).encode() if body is None else body
    length = "" if "Transfer-Encoding" in head else f"Content-Length: {len(body)}\r\n"
    return (f"POST {path_of(vector)} HTTP/{version}\r\nHost: signer.example:9000\r\n{length}{head}\r\n").encode() + body


def read_head(stream):
    """(status line, {header: value}) of an answer."""
    line = stream.readline()
    headers = {}
    while (header := stream.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode().partition(":")
        headers[name.lower()] = value.strip()
    return line.decode().rstrip(), headers


class Wire:
    """A connection on which bytes are written as they are."""

    def __init__(self, signer):
        self.socket = socket.create_connection(("127.0.0.1", signer.port), timeout=harness.PATIENCE)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        line, headers = read_head(self.stream)
        return line, headers, self.stream.read(int(headers["content-length"]))

    def is_closed(self):
        return self.stream.read(1) == b""


def a_vote(count=1):
    votes = [vector for vector in vectors_of("mainnet") if vector["type"] == "ATTESTATION"]
    return votes[0] if count == 1 else votes[:count]


def test_http_1_0(interop_signer):
    """Answered and closed; or kept, for who asks for it."""
    vote = a_vote()
    with Wire(interop_signer) as wire:
        wire.send(raw_request(vote, version="1.0"))
        line, _, body = wire.answer()
        assert line.endswith(" 200 OK") and body.decode() == vote["signature"]
        assert wire.is_closed()
    with Wire(interop_signer) as wire:
        for _ in range(3):
            wire.send(raw_request(vote, "Connection: Keep-Alive\r\n", version="1.0"))
            line, headers, body = wire.answer()
            assert line.endswith(" 200 OK") and body.decode() == vote["signature"]
            assert headers["connection"].lower() == "keep-alive"


def test_a_client_that_closes_gets_its_answer(interop_signer):
    vote = a_vote()
    with Wire(interop_signer) as wire:
        wire.send(raw_request(vote, "Connection: close\r\n"))
        _, headers, body = wire.answer()
        assert body.decode() == vote["signature"] and headers["connection"].lower() == "close"
        assert wire.is_closed()
    with Wire(interop_signer) as wire:  # half-closed at once
        wire.send(raw_request(vote))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer()[2].decode() == vote["signature"]


def chunked(body, size, extension="", trailer=""):
    text = b""
    for start in range(0, len(body), size):
        piece = body[start:start + size]
        text += f"{len(piece):x}{extension}\r\n".encode() + piece + b"\r\n"
    return text + b"0\r\n" + trailer.encode() + b"\r\n"


@pytest.mark.parametrize("size", [1, 7, 4096, 10 ** 9])
@pytest.mark.parametrize("extension, trailer", [("", ""), (";name=value", "X-Trailer: yes\r\n")], ids=["plain", "extended"])
def test_chunked_bodies(interop_signer, size, extension, trailer):
    """Java and Node clients stream; nothing says the length before the end."""
    blocks = [vector for vector in vectors_of("mainnet") if vector["type"] in ("BLOCK", "BLOCK_V2")]
    with Wire(interop_signer) as wire:
        for vector in blocks:
            body = json.dumps(vector["request"]).encode()
            wire.send(raw_request(vector, "Transfer-Encoding: chunked\r\nAccept: application/json\r\n",
                                  body=chunked(body, size, extension, trailer)))
            line, _, answer = wire.answer()
            assert line.endswith(" 200 OK"), (vector["name"], answer)
            assert json.loads(answer) == {"signature": vector["signature"]}


def test_a_pipeline_of_chunked_and_plain_requests(interop_signer):
    votes = a_vote(8)
    with Wire(interop_signer) as wire:
        data = b""
        for number, vote in enumerate(votes):
            body = json.dumps(vote["request"]).encode()
            data += raw_request(vote) if number % 2 else raw_request(vote, "Transfer-Encoding: chunked\r\n",
                                                                     body=chunked(body, 50))
        wire.send(data)
        assert [wire.answer()[2].decode() for _ in votes] == [vote["signature"] for vote in votes]


def test_expect_100_continue(interop_signer):
    """curl and .NET ask first when a body is large."""
    vector = max(vectors_of("mainnet"), key=lambda vector: len(json.dumps(vector["request"])))
    body = json.dumps(vector["request"]).encode()
    with Wire(interop_signer) as wire:
        wire.send(raw_request(vector, "Expect: 100-continue\r\n", body=body)[:-len(body)])
        assert wire.stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert wire.stream.readline() == b"\r\n"
        wire.send(body)
        assert wire.answer()[2].decode() == vector["signature"]
        # Who does not wait for it gets it all the same, or not at all.
        wire.send(raw_request(vector, "Expect: 100-continue\r\n", body=body))
        line, headers = read_head(wire.stream)
        if line == "HTTP/1.1 100 Continue":
            line, headers = read_head(wire.stream)
        assert line.endswith(" 200 OK")
        assert wire.stream.read(int(headers["content-length"])).decode() == vector["signature"]


def test_idle_connections_are_used_again(interop_signer):
    """A pool's connections, idle between two slots, each with a signature before and after."""
    votes = a_vote(6)
    wires = [Wire(interop_signer) for _ in votes]
    for idle in (0, IDLE_SECONDS):
        time.sleep(idle)
        for wire, vote in zip(wires, votes):
            wire.send(raw_request(vote))
            assert wire.answer()[2].decode() == vote["signature"]
    for wire in wires:
        wire.__exit__()


HEADERS = {
    "Teku with a user in its URL": {"Authorization": "Basic " + base64.b64encode(b"teku:secret").decode()},
    "Lighthouse": {"User-Agent": "Lighthouse/v8.0.0", "Accept": "application/json", "Accept-Encoding": "gzip"},
    "Prysm": {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip, deflate, br"},
    "Lodestar": {"Accept": "application/json", "Content-Type": "application/json", "Connection": "keep-alive",
                 "Accept-Language": "*", "Sec-Fetch-Mode": "cors", "Accept-Encoding": "br, gzip, deflate"},
    "Nimbus": {"User-Agent": "Nimbus", "Accept": "application/json;q=0.9, text/plain"},
    "behind a proxy": {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https", "Via": "1.1 proxy",
                       "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
}


@pytest.mark.parametrize("client", HEADERS)
def test_headers_of_clients(interop_signer, client):
    vote = a_vote()
    connection = interop_signer.connect()
    connection.request("POST", path_of(vote), json.dumps(vote["request"]),
                       {"Content-Type": "application/json", **HEADERS[client]})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("Content-Encoding") is None
    body = answer.read().decode()
    wants_json = "json" in HEADERS[client].get("Accept", "")
    assert (json.loads(body)["signature"] if wants_json else body) == vote["signature"]
    connection.close()


def test_health_as_clients_ask_for_it(interop_signer):
    """Lodestar reads JSON with a status, Teku and Web3Signer's users the word, Vero a status of UP."""
    assert interop_signer.get("/upcheck", headers={"Accept": "application/json"}) == (200, {"status": "OK"})
    assert interop_signer.get("/upcheck") == (200, "OK")
    status, health = interop_signer.get("/healthcheck", headers={"Accept": "application/json"})
    assert (status, health["status"], health["outcome"]) == (200, "UP", "UP")
    assert sorted(interop_signer.get("/api/v1/eth2/publicKeys")[1]) == sorted(interop.PUBKEYS)
