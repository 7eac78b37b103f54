"""Bad input through the whole signer: an error that names the thing, nothing signed, nothing counted but refusals,
and a record that did not change. What the codec makes of each field stands in tests/unit/front/test_codec.c."""

import contextlib
import copy
import json
import re
import socket
import threading
import time

import harness
import pytest
from conftest import wait_for

EPOCH = 50
ATTESTATION = harness.attestation(EPOCH - 1, EPOCH)
BLOCK = harness.block(32 * EPOCH)


# ---- what must not change


def counters(signer):
    text = signer.get("/metrics", port=signer.metrics_port)[1]
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.M)}


def export(signer):
    run = harness.run("slashing", "export", "-c", signer.config_path)
    assert run.returncode == 0, run.stderr
    return run.stdout


class Steady:
    """Around bad input: asks, and afterwards holds the signer to what it was before."""

    def __init__(self, signer):
        self.signer = signer
        self.key = signer.pubkeys[0]
        self.refused = {}  # code: how many
        assert signer.attest(self.key, EPOCH - 2, EPOCH - 1)[0] == 200
        assert signer.propose(self.key, 32 * EPOCH - 1)[0] == 200
        self.before = counters(signer)
        self.record = export(signer)
        wait_for("the loader's end", lambda: not signer.pids("loader"))
        self.processes = signer.descendants()

    def post(self, body, key=None, **kwargs):
        return self.signer.sign(key or self.key, body, **kwargs)

    def refuses(self, body, status, code, *words, **kwargs):
        got, answer = self.post(body, **kwargs)
        assert (got, answer.get("code")) == (status, code), (str(body)[:300], answer)
        assert set(answer) == {"error", "code"}
        for word in words:
            assert word in answer["error"], (str(body)[:300], answer)
        self.refused[code] = self.refused.get(code, 0) + 1

    def settle(self):
        assert export(self.signer) == self.record
        for code, count in self.refused.items():
            name = f'holdfast_refusals_total{{reason="{code}"}}'
            wait_for(f"{count} more refusals as {code}",
                     lambda n=name, c=count: counters(self.signer)[n] == self.before[n] + c)
        after = counters(self.signer)
        for name in after:
            if 'result="signed"' in name or 'result="failed"' in name or name in (
                    "holdfast_slashing_permitted_total", "holdfast_slashing_prevented_total", "holdfast_bad_frames_total",
                    "holdfast_store_failures_total", "holdfast_fronts_started_total"):
                assert after[name] == self.before.get(name, 0), name
        assert self.signer.descendants() == self.processes
        # Nothing of what was asked for stands in the way of what comes now.
        for body in (ATTESTATION, BLOCK):
            assert self.post(body)[0] == 200


@pytest.fixture(name="steady")
def steady_signer(signer):
    steady = Steady(signer)
    yield steady
    steady.settle()


# ---- bodies


def leaves(value, path=()):
    """(path, value) of everything in a document that is no object."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


def changed(body, path, value):
    """A copy with another value at path; None takes it away."""
    body = copy.deepcopy(body)
    place = body
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return body


BAD_HEX = ["", "0x", "0x00", "0x" + "00" * 31, "0x" + "00" * 33, "0x" + "0g" * 32, "0x" + "00" * 31 + "0", 7, True, [], {}]
BAD_NUMBERS = ["", " 1", "-1", "+1", "1.0", "1e3", "0x10", "007", "18446744073709551616", -1, 1.5, True, [], {}]


@pytest.mark.parametrize("body", [harness.attestation(EPOCH - 1, EPOCH, mark=1), harness.block(32 * EPOCH, mark=1)],
                         ids=["attestation", "block"])
def test_every_field(steady, body):
    for path, value in leaves(body):
        name = ".".join(path)
        steady.refuses(changed(body, path, None), 400, "MALFORMED", name, "missing")
        for bad in BAD_HEX if value.startswith("0x") else BAD_NUMBERS if value.isdigit() else ([], {}, 7):
            steady.refuses(changed(body, path, bad), 400, "MALFORMED", name)
    for path in {path[:i] for path, _ in leaves(body) for i in range(1, len(path))}:
        steady.refuses(changed(body, path, None), 400, "MALFORMED", path[-1], "missing")
        for bad in ("x", 7, []):
            steady.refuses(changed(body, path, bad), 400, "MALFORMED", path[-1])


def test_what_is_not_json(steady):
    for text in ("", " ", "{", "}", "null", "[]", "7", '"text"', "{}x", "{} {}", '{"type":}', "{'type':'ATTESTATION'}",
                 '{"type":"ATTESTATION",}', "\x00", '{"type":"ATTEST\x00ATION"}', "\ufeff{}", "[" * 100000, '{"a":' * 50000,
                 '{"type":"\\ud800"}', "NaN", '{"type":NaN}'):
        steady.refuses(text.encode(), 400, "MALFORMED")


def test_what_is_json_in_parts(steady):
    whole = json.dumps(harness.attestation(EPOCH - 1, EPOCH, mark=1))
    for cut in range(1, len(whole), 37):
        steady.refuses(whole[:cut], 400, "MALFORMED")
        steady.refuses(whole[:cut].encode() + b"\xff" + whole[cut:].encode() + b"}", 400, "MALFORMED")
    steady.refuses(whole.replace('"source"', '"target"'), 400, "MALFORMED", "given twice")


def test_numbers_out_of_range(steady):
    for number in (1 << 63, (1 << 64) - 1):
        for end in ("source", "target"):
            body = changed(ATTESTATION, ("attestation", end, "epoch"), str(number))
            steady.refuses(body, 400, "OUT_OF_RANGE", "epoch")
        body = changed(BLOCK, ("beacon_block", "block_header", "slot"), str(number))
        steady.refuses(body, 400, "OUT_OF_RANGE", "slot")
    steady.refuses(harness.attestation(EPOCH + 1, EPOCH), 400, "SOURCE_AFTER_TARGET", "source")


def test_what_contradicts_itself(steady):
    for name in ("signingRoot", "signing_root"):
        steady.refuses({**ATTESTATION, name: "0x" + "11" * 32}, 400, "SIGNING_ROOT_MISMATCH")
    steady.refuses({**ATTESTATION, "signingRoot": "0x11"}, 400, "MALFORMED", "signingRoot")
    steady.refuses({**ATTESTATION, "fork_info": harness.fork_info("0x" + "22" * 32)}, 403, "WRONG_NETWORK",
                   "genesis_validators_root")
    steady.refuses({**BLOCK, "type": "ATTESTATION"}, 400, "MALFORMED", "attestation")
    steady.refuses({**ATTESTATION, "type": "BLOCK_V2"}, 400, "MALFORMED", "beacon_block")
    steady.refuses({**ATTESTATION, "type": "ATTESTATION_V9"}, 400, "MALFORMED", "type")


def test_unknown_members_change_nothing(signer):
    """Clients of later versions send more; what is signed is what is known."""
    key = signer.pubkeys[0]
    plain = signer.sign(key, ATTESTATION)
    extended = copy.deepcopy(ATTESTATION)
    for place in (extended, extended["fork_info"], extended["attestation"], extended["attestation"]["target"]):
        place["of_tomorrow"] = {"epoch": "1", "list": [1, {"root": None}]}
    assert plain[0] == 200 and signer.sign(key, extended) == plain


def test_unknown_keys(steady):
    for key in ("0x" + "aa" * 48, "bb" * 48, steady.signer.pubkeys[0][:-2] + "00"):
        steady.refuses(ATTESTATION, 404, "UNKNOWN_KEY", key=key)
    for key in ("0x12", "0x" + "aa" * 47, "0x" + "aa" * 49, "0x" + "zz" * 48):
        steady.refuses(ATTESTATION, 400, "MALFORMED", "pubkey", key=key)


def test_other_types_and_methods(steady):
    for content_type in ("text/plain", "multipart/form-data", "application/jsonx", "application/xml"):
        steady.refuses(ATTESTATION, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json",
                       headers={"Content-Type": content_type})
    for method in ("PUT", "DELETE", "PATCH", "GET"):
        status, answer = steady.signer.request(method, f"/api/v1/eth2/sign/{steady.key}", ATTESTATION)
        assert (status, answer["code"]) == (405, "METHOD_NOT_ALLOWED")
    for path in ("/api/v1", "/api/v1/eth2/sign", f"/api/v1/eth2/sign/{steady.key}/more", f"/api/v2/eth2/sign/{steady.key}", "/metrics"):
        status, answer = steady.signer.request("POST", path, ATTESTATION)
        assert (status, answer["code"]) == (404, "NOT_FOUND")


# ---- amounts


def test_bodies_over_the_limit(steady):
    """Announced, it is refused before it comes; otherwise it is noticed on the way."""
    head = f"POST /api/v1/eth2/sign/{steady.key} HTTP/1.1\r\nHost: h\r\n".encode()
    for opening, piece in ((b"Content-Length: 2097153\r\n\r\n", b""),
                           (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n")):
        with socket.create_connection(("127.0.0.1", steady.signer.port), timeout=harness.PATIENCE) as sock:
            sock.sendall(head + opening)
            with contextlib.suppress(OSError):
                for _ in range(40):
                    sock.sendall(piece)
                if piece:
                    sock.sendall(b"0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
        steady.refused["TOO_LARGE"] = steady.refused.get("TOO_LARGE", 0) + 1


def test_a_body_of_just_the_limit_is_read(steady):
    steady.refuses("{\"type\": \"" + "x" * (2097152 - 12) + "\"}", 400, "MALFORMED", "type")


# ---- time


def test_half_open_clients_keep_nobody_waiting(steady):
    """More of them than there are places for; whoever speaks is served."""
    signer = steady.signer
    head = f"POST /api/v1/eth2/sign/{steady.key} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n".encode()
    openings = [b"", b"P", head[:20], head, head + b"{"]
    half_open = []
    for i in range(300):
        sock = socket.create_connection(("127.0.0.1", signer.port), timeout=harness.PATIENCE)
        sock.sendall(openings[i % len(openings)])
        half_open.append(sock)
    slowest = 0.0
    for target in range(20):
        started = time.monotonic()
        assert signer.attest(signer.pubkeys[1], 1, 2 + target)[0] == 200
        slowest = max(slowest, time.monotonic() - started)
    for i, sock in enumerate(half_open):
        if i % 2:
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.close()
    assert signer.attest(signer.pubkeys[1], 1, 50)[0] == 200
    for sock in half_open[1::2]:
        with contextlib.suppress(ConnectionResetError):
            sock.recv(1000)
        sock.close()
    assert slowest < harness.PATIENCE / 4
    # What was signed for the others is no part of what must not change.
    steady.before = counters(signer)
    steady.record = export(signer)


def test_all_of_it_beside_honest_clients(signer):
    """Under a hail of bad requests the good ones are answered as ever, and nothing else is recorded."""
    done = threading.Event()
    wrong = []
    bad = [json.dumps(changed(ATTESTATION, path, value)) for path, _ in leaves(ATTESTATION) for value in (None, "x", [])]

    def hail(start):
        for text in (bad[start:] + bad[:start]) * 50:
            if done.is_set():
                return
            status, _ = signer.sign(signer.pubkeys[0], text)
            if status != 400:
                wrong.append((status, text))

    threads = [threading.Thread(target=hail, args=(10 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for target in range(1, 60):
        assert signer.attest(signer.pubkeys[1], target, target + 1)[0] == 200
    done.set()
    for thread in threads:
        thread.join(harness.PATIENCE)
    assert not wrong, wrong[:3]
    entries = json.loads(export(signer))["data"]
    assert [entry["pubkey"] for entry in entries] == [signer.pubkeys[1]]
    assert len(entries[0]["signed_attestations"]) == 59
