"""HTTP as strangers and careless clients speak it."""

import json
import socket
import threading
import time

import harness
import pytest
from harness import attestation

# Of the front (connections.c): from the request line to the end of a small body.
RECEIVE_SECONDS = 10
# What clients may leave a connection idle and still use it.
IDLE_SECONDS = 75


def connect(signer):
    return socket.create_connection(("127.0.0.1", signer.port), timeout=harness.PATIENCE)


def exchange(signer, data):
    """Everything that comes back until the server closes."""
    with connect(signer) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_all(sock):
    got = b""
    try:
        while chunk := sock.recv(65536):
            got += chunk
    except ConnectionResetError:
        pass
    return got


def read_answer(sock):
    """(status, body) of one answer, leaving what follows it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"closed after {head!r}"
        head += byte
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return int(head.split()[1]), body


def lives(signer):
    return signer.get("/upcheck") == (200, "OK")


def test_keys_in_every_spelling(signer):
    key = signer.pubkeys[0]
    for spelled in (key, key[2:], key.upper().replace("0X", "0x"), "0X" + key[2:], key[2:].upper()):
        assert signer.attest(spelled, 1, 2)[0] == 200
    for spelled in (key[:-2], key + "00", key[:-1] + "g", "0x", "x" * 98, "0x" + "a" * 3000):
        assert signer.attest(spelled, 1, 2)[0] in (400, 404)


@pytest.mark.parametrize("accept, content_type", [
    (None, "text/plain"), ("text/plain", "text/plain"), ("*/*", "application/json"), ("application/json", "application/json"),
    ("application/json, text/plain, */*", "application/json"), ("text/html", "text/plain"), ("APPLICATION/JSON", "application/json")])
def test_the_form_of_the_answer_follows_accept(signer, accept, content_type):
    connection = signer.connect()
    connection.putrequest("POST", "/api/v1/eth2/sign/" + signer.pubkeys[0], skip_accept_encoding=True)
    body = json.dumps(attestation(1, 2)).encode()
    connection.putheader("Content-Length", str(len(body)))
    if accept:
        connection.putheader("Accept", accept)
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200 and answer.getheader("Content-Type").startswith(content_type)
    signature = json.loads(text)["signature"] if content_type == "application/json" else text
    assert len(signature) == 194 and signature == signature.strip()
    connection.close()


@pytest.mark.parametrize("request_line", [
    b"GET", b"\r\n\r\n\r\n", b"GET /upcheck\r\n\r\n", b"GET /upcheck HTTP/9.9\r\n\r\n", b"\x00\x01\x02\xff" * 100, b"GET http:// HTTP/1.1\r\n\r\n",
    b"GET /upcheck HTTP/1.1\r\n\r\n", b"GET /%zz%00 HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /reload HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", b"POST /reload HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /reload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"GET /upcheck HTTP/1.1\r\nHost: h\r\n: novalue\r\n\r\n", b"GET /upcheck HTTP/1.1\r\nHost h\r\n\r\n"])
def test_malformed_requests_are_refused(signer, request_line):
    answer = exchange(signer, request_line)
    assert answer == b"" or answer.split()[1] in (b"200", b"400", b"404", b"413", b"505")
    assert lives(signer)


def test_oversized_heads_are_refused(signer):
    for head in (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
                 b"GET /upcheck HTTP/1.1\r\nHost: h\r\nX: " + b"b" * 100000 + b"\r\n\r\n",
                 b"GET /upcheck HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 20000 + b"\r\n"):
        with connect(signer) as sock:
            try:
                sock.sendall(head)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = read_all(sock)
        assert answer == b"" or answer.split()[1] in (b"413", b"414", b"431")
    assert lives(signer)


def test_an_announced_body_over_the_limit_is_refused_before_it_comes(signer):
    with connect(signer) as sock:
        sock.sendall(f"POST /api/v1/eth2/sign/{signer.pubkeys[0]} HTTP/1.1\r\nHost: h\r\nContent-Length: 2097153\r\n\r\n".encode())
        status, body = read_answer(sock)
    assert status == 413 and json.loads(body)["code"] == "TOO_LARGE"


def test_expect_continue(signer):
    body = json.dumps(attestation(1, 2)).encode()
    head = f"POST /api/v1/eth2/sign/{signer.pubkeys[0]} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(signer) as sock:
        sock.sendall(head.encode())
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_answer(sock)[0] == 200
    with connect(signer) as sock:  # refused by its head: no body is asked for
        sock.sendall(head.replace("Host: h", "Host: h\r\nOrigin: http://h").encode())
        assert read_answer(sock)[0] == 403


def test_a_pipeline_is_answered_in_order(signer):
    key = signer.pubkeys[0]
    requests = b""
    for target in range(2, 12):
        body = json.dumps(attestation(1, target)).encode()
        requests += f"POST /api/v1/eth2/sign/{key} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        requests += b"GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n"
    with connect(signer) as sock:
        sock.sendall(requests)
        answers = [read_answer(sock) for _ in range(20)]
    assert [status for status, _ in answers] == [200] * 20
    assert {body for _, body in answers[1::2]} == {b"OK"}
    alone = [signer.attest(key, 1, target)[1] for target in range(2, 12)]
    assert [body.decode() for _, body in answers[::2]] == alone


def test_one_byte_at_a_time_works_and_waits_for_nobody(signer):
    body = json.dumps(attestation(1, 2)).encode()
    data = f"POST /api/v1/eth2/sign/{signer.pubkeys[0]} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with connect(signer) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i, byte in enumerate(data):
            sock.send(bytes([byte]))
            if i % 200 == 0:
                assert lives(signer)
        assert read_answer(sock)[0] == 200


def test_slow_requests_are_cut_off(signer):
    """Headers or a body that trickle in, however steadily, have RECEIVE_SECONDS."""
    heads = [b"GET /upcheck HTTP/1.1\r\nHost: h\r\n", b"POST /reload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"]
    ended = [None] * len(heads)

    def trickle(i):
        with connect(signer) as sock:
            started = time.monotonic()
            sock.sendall(heads[i])
            try:
                while time.monotonic() - started < RECEIVE_SECONDS * 3:
                    sock.sendall(b"X: y\r\n" if i == 0 else b" ")
                    time.sleep(0.5)
                    sock.settimeout(0.01)
                    try:
                        if sock.recv(1) == b"":
                            break
                    except TimeoutError:
                        pass
            except OSError:
                pass
            ended[i] = time.monotonic() - started

    threads = [threading.Thread(target=trickle, args=(i,)) for i in range(len(heads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seconds in ended:
        assert RECEIVE_SECONDS - 1 < seconds < RECEIVE_SECONDS + 5
    assert lives(signer)


def test_idle_connections_stay_and_slow_ones_do_not_keep_others_out(signers):
    signer = signers(keys=1)
    with open(signer.config_path, encoding="utf-8") as text:
        config = text.read().replace("server: {", "server: {fronts: 1, max_connections: 16, idle_timeout_seconds: 80, ")
    harness.write_private(signer.config_path, config)
    signer.start()
    used = connect(signer)
    used.sendall(b"GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n")
    assert read_answer(used)[0] == 200
    since = time.monotonic()
    silent = [connect(signer) for _ in range(40)]  # more than there are places
    assert lives(signer)
    for sock in silent:
        sock.close()
    time.sleep(max(0.0, since + IDLE_SECONDS - time.monotonic()))
    used.sendall(b"GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n")
    assert read_answer(used) == (200, b"OK")
    used.close()


def test_web_pages_are_kept_out(signer):
    for method, path in (("GET", "/api/v1/eth2/publicKeys"), ("POST", "/api/v1/eth2/sign/" + signer.pubkeys[0]), ("OPTIONS", "/reload")):
        for origin in ("http://127.0.0.1:9000", "null", ""):
            status, answer = signer.request(method, path, headers={"Origin": origin})
            assert (status, answer["code"]) == (403, "CROSS_ORIGIN")


def test_head_is_get_without_a_body(signer):
    connection = signer.connect()
    connection.request("HEAD", "/upcheck")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b"" and answer.getheader("Content-Length") == "2"
    connection.request("HEAD", "/api/v1/eth2/publicKeys")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b""
    connection.close()


def test_answers_carry_nothing_of_the_request(signer):
    mark = "mark-of-the-client"
    for method, path, body in (("GET", f"/{mark}", None), ("POST", f"/api/v1/eth2/sign/{mark}", "{}"),
                               ("POST", f"/api/v1/eth2/sign/{signer.pubkeys[0]}", f'{{"type":"{mark}"}}'),
                               ("POST", f"/api/v1/eth2/sign/{signer.pubkeys[0]}", f'{{"{mark}": {mark}')):
        status, answer = signer.request(method, path, body)
        assert 400 <= status < 500 and mark not in json.dumps(answer)
    assert mark not in signer.log()


def test_a_burst_on_many_connections(signer):
    """As many at once as a slot of 10,000 keys brings."""
    for pubkey in signer.pubkeys[:4]:  # the lowest first: what comes below a key's first vote is refused
        assert signer.request("POST", "/api/v1/eth2/sign/" + pubkey, json.dumps(attestation(1, 2)))[0] == 200
    connections = [signer.connect() for _ in range(313)]
    for i, connection in enumerate(connections):
        connection.request("POST", "/api/v1/eth2/sign/" + signer.pubkeys[i % 4], json.dumps(attestation(1, 3 + i // 4)))
    assert {connection.getresponse().status for connection in connections} == {200}
    for connection in connections:
        connection.close()
