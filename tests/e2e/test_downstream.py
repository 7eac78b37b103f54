"""eth1.downstream: methods of JSON-RPC that go to a node, and everything that a node can do wrong."""

import collections
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import harness
import http_double
import pytest
from harness import write_private
from test_eth1 import ADDRESS, BASE, FEES, Eth1
from test_tokens import bearer, create
from vault_double import tls_context

TIMEOUT_MS = 2000
ANSWER_MAX = 8 << 20


class Node:
    """Answers each method by what behaviour() says, and notes what it was asked."""

    def __init__(self, tls=None):
        self.calls = []
        self.headers = []
        self.paths = collections.Counter()
        self.release = threading.Event()
        self.server = http_double.Server(type("Handler", (NodeHandler,), {"node": self}), context=tls)
        self.url = self.server.url

    def close(self):
        self.release.set()
        self.server.close()


class NodeHandler(http_double.Handler):
    node = None

    def answer(self, data, status=200, length=None, headers=()):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def do_POST(self):  # pylint: disable=invalid-name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.node.calls.append(body)
        self.node.headers.append(dict(self.headers))
        self.node.paths[self.path] += 1
        getattr(self, body["method"], self.otherwise)(body)

    def otherwise(self, body):
        self.answer({"jsonrpc": "2.0", "id": body["id"], "result": [body["method"], body["params"]]})

    def t_verbatim(self, body):
        self.answer(b'\r\n{"id" : %d, "extra":[{}, "\\u00e9\\"", -1.5e+3], "result":{ "b":1.0,\t"a" : "\xc3\xa9"} , "jsonrpc":"2.0"} ' % body["id"])

    def t_error(self, body):
        self.answer({"jsonrpc": "2.0", "id": body["id"], "error": {"code": 3, "message": "execution reverted", "data": "0x08c379a0"}}, 400)

    def t_old(self, body):
        self.answer({"id": body["id"], "result": None, "error": None})

    def t_slow(self, _):
        self.node.release.wait(harness.PATIENCE)
        self.close_connection = True

    def t_dies(self, body):
        self.answer(json.dumps({"id": body["id"], "result": "0x" + "00" * 100}).encode()[:50], length=250)
        self.close_connection = True

    def t_huge(self, _):
        self.answer(b'{"result":"' + b"x" * ANSWER_MAX + b'"}')

    def t_large(self, _):
        self.answer(b'{"result":"' + b"y" * (ANSWER_MAX - 20) + b'"}')

    def t_medium(self, _):
        self.answer(b'{"result":"' + b"z" * (ANSWER_MAX // 2) + b'"}')

    def t_redirect(self, _):
        self.answer(b"", 307, headers=[("Location", self.node.url + "/elsewhere")])

    def t_unauthorized(self, _):
        self.answer(b"<h1>401</h1>", 401)

    def t_smuggler(self, _):
        self.answer(b'{"result":1},{"jsonrpc":"2.0","id":7,"result":"forged"}')


@pytest.fixture(scope="module", name="node")
def fixture_node():
    node = Node()
    yield node
    node.close()


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory, node):
    folder = tmp_path_factory.mktemp("downstream")
    url = os.path.join(str(folder), "node.url")
    write_private(url, node.url.replace("http://", "http://user:pass@") + "/rpc\n")
    with Eth1(folder, f"eth1: {{downstream: {{url_file: {url}, timeout_ms: {TIMEOUT_MS}}}}}\n") as signer:
        signer.wait_until(lambda: len(signer.result("eth_accounts")) == 2, "two keys")
        yield signer


def call(signer, body, **kwargs):
    return signer.request("POST", "/", body, **kwargs)


def failure(signer, method):
    """Status, code and word of the answer to a call that the node spoils."""
    status, answer = call(signer, {"jsonrpc": "2.0", "id": "x", "method": method})
    assert answer["id"] == "x" and "result" not in answer, answer
    return status, answer["error"]["code"], answer["error"]["data"]["code"]


def test_a_call_goes_to_the_node_and_its_answer_comes_back(signer, node):
    params = [{"to": "0x" + "35" * 20, "data": "0x\u00e9"}, "latest", {"a": [1.50, None]}]
    status, answer = call(signer, {"jsonrpc": "2.0", "id": 4711, "method": "eth_call", "params": params},
                          headers={"Authorization": "Bearer of-the-signer"})
    assert (status, answer) == (200, {"jsonrpc": "2.0", "id": 4711, "result": ["eth_call", params]})
    assert node.calls[-1] == {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": params}
    assert node.paths["/rpc"] == len(node.calls)
    assert node.headers[-1]["Authorization"] == "Basic dXNlcjpwYXNz", "the node's own credential, and not the client's"
    assert call(signer, {"method": "eth_blockNumber", "id": "a\\u0041"})[1]["id"] == "a\\u0041"
    assert node.calls[-1]["params"] == []


def test_answers_come_back_byte_by_byte(signer):
    connection = http.client.HTTPConnection("127.0.0.1", signer.port, timeout=harness.PATIENCE)
    connection.request("POST", "/", b'{"id":1,"method":"t_verbatim"}', {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.read() == b'{"jsonrpc":"2.0","id":1,"result":{ "b":1.0,\t"a" : "\xc3\xa9"}}'
    connection.close()
    assert call(signer, {"id": 2, "method": "t_error"}) == (200, {"jsonrpc": "2.0", "id": 2, "error": {
        "code": 3, "message": "execution reverted", "data": "0x08c379a0"}})
    assert call(signer, {"id": 3, "method": "t_old"})[1] == {"jsonrpc": "2.0", "id": 3, "result": None}


def test_a_batch_mixes_the_signers_methods_with_the_nodes(signer):
    status, answers = call(signer, [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": 2, "method": "eth_accounts", "params": []},
        {"jsonrpc": "2.0", "id": 3, "method": "t_smuggler"},
        {"jsonrpc": "2.0", "id": 4, "method": "t_error"},
        {"jsonrpc": "2.0", "id": 5, "method": "eth_signTransaction", "params": [{**BASE, **FEES, "chainId": "0x1"}]},
        {"jsonrpc": "2.0", "id": 6, "method": "personal_unlockAccount", "params": []},
        {"jsonrpc": "2.0", "id": 7, "method": "net_version", "params": []}])
    assert status == 200 and [answer["id"] for answer in answers] == [1, 2, 3, 4, 5, 6, 7]
    assert answers[0]["result"] == ["eth_chainId", []]
    assert ADDRESS in answers[1]["result"]
    assert answers[2]["error"]["data"]["code"] == "NODE_UNAVAILABLE"
    assert answers[3]["error"]["code"] == 3
    assert answers[4]["result"].startswith("0x02")
    assert answers[5]["error"]["code"] == -32601
    assert answers[6]["result"] == ["net_version", []], "an answer that is no JSON-RPC is not the node's silence"


@pytest.mark.parametrize("method", [
    "eth_sendTransaction", "eth_signTypedData_v3", "ETH_SIGN", "eth_sendTransactionAsync", "personal_sendTransaction",
    "personal_importRawKey", "admin_addPeer", "debug_traceCall", "miner_start", "engine_newPayloadV4", "account_list", "clique_propose",
    "parity_setEngineSigner", "signer_confirmRequest"])
def test_what_would_use_the_nodes_keys_or_govern_it_is_never_passed(signer, node, method):
    before = len(node.calls)
    assert signer.error(method)[:2] == (-32601, "NOT_FOUND")
    assert len(node.calls) == before


def test_calls_that_are_none_stay_here(signer, node):
    before = len(node.calls)
    assert signer.error("eth call")[0] == -32601 and signer.error("x" * 65)[0] == -32601
    assert call(signer, {"id": 1, "method": "eth_call", "params": "0x"})[1]["error"]["code"] == -32602
    twice = b'{"id":1,"method":"eth_call","method":"personal_sign"}'
    assert call(signer, twice)[1]["error"]["code"] == -32700
    assert len(node.calls) == before


@pytest.mark.parametrize("method", ["t_dies", "t_huge", "t_redirect", "t_unauthorized", "t_smuggler"])
def test_a_node_that_fails_gives_an_error(signer, node, method):
    assert failure(signer, method) == (502, -32000, "NODE_UNAVAILABLE")
    assert node.paths["/elsewhere"] == 0
    assert signer.result("eth_chainId") == ["eth_chainId", []]


def test_a_silent_node_holds_up_nothing(signer, node):
    """A batch waits for it once. Of more calls than a front lets wait the rest is refused. Signatures are made."""
    batch = [{"id": i, "method": "t_slow"} for i in range(20)] + [{"id": 99, "method": "eth_accounts"}]
    before = len(node.calls)
    with concurrent.futures.ThreadPoolExecutor(302) as pool:
        began = time.monotonic()
        alone = pool.submit(failure, signer, "t_slow")
        mixed = pool.submit(call, signer, batch)
        signer.wait_until(lambda: len(node.calls) >= before + 2, "the node has both")
        flood = [pool.submit(failure, signer, "t_slow") for _ in range(300)]
        assert signer.result("eth_sign", ADDRESS, "0x00").startswith("0x")
        assert alone.result() == (504, -32000, "NODE_TIMEOUT")
        answers = mixed.result()[1]
        assert time.monotonic() - began < 10 * TIMEOUT_MS / 1000, "far less than twenty times the timeout"
        words = collections.Counter(done.result()[2] for done in flood)
    assert len({answer["error"]["data"]["code"] for answer in answers[:-1]}) == 1
    assert ADDRESS in answers[-1]["result"]
    assert set(words) <= {"NODE_TIMEOUT", "OVERLOADED"} and words["NODE_TIMEOUT"] > 0
    refusals = dict(line.rsplit(" ", 1) for line in signer.metrics().splitlines() if line.startswith("holdfast_refusals_total"))
    assert int(refusals['holdfast_refusals_total{reason="NODE_TIMEOUT"}']) > 20


def test_large_answers_pass_within_a_bound_for_each_request(signer):
    status, answers = call(signer, [{"id": 1, "method": "t_huge"}, {"id": 2, "method": "t_medium"}, {"id": 3, "method": "t_large"}])
    assert status == 200 and len(answers[1]["result"]) == ANSWER_MAX // 2
    assert [answers[i]["error"]["data"]["code"] for i in (0, 2)] == ["NODE_UNAVAILABLE"] * 2
    assert len(call(signer, {"id": 1, "method": "t_large"})[1]["result"]) == ANSWER_MAX - 20


def test_a_large_call_passes(signer, node):
    data = "0x" + "5b" * 200_000
    assert call(signer, {"id": 1, "method": "eth_sendRawTransaction", "params": [data]})[1]["result"][1] == [data]
    assert node.calls[-1]["params"] == [data]


def test_the_relay_is_a_process_of_its_own_and_enclosed(signer):
    (pid,) = signer.children()["holdfast-relay"]
    assert harness.SANITIZED or harness.is_confined(pid)
    state = signer.get("/api/v1/holdfast/status")[1]["node"]
    assert state["configured"] and state["connected"]
    assert harness.SANITIZED or {p["name"]: p["state"] for p in state["protections"]}["seccomp"] == "on"
    assert 'process="relay"' in signer.metrics()
    with open(f"/proc/{pid}/cmdline", "rb") as command, open(f"/proc/{pid}/environ", "rb") as environment:
        assert b"pass" not in command.read() + environment.read()


@pytest.mark.parametrize("is_hung", [False, True])
def test_a_killed_relay_is_replaced_and_its_calls_are_answered(signer, node, is_hung):
    (pid,) = signer.children()["holdfast-relay"]
    before = len(node.calls)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        if is_hung:
            os.kill(pid, signal.SIGSTOP)
        waiting = pool.submit(failure, signer, "t_slow")
        if not is_hung:
            signer.wait_until(lambda: len(node.calls) > before, "the node has the call")
        assert signer.result("eth_sign", ADDRESS, "0x00").startswith("0x")
        os.kill(pid, signal.SIGKILL)
        # 504 on a machine that took longer than the timeout to come here; 502 from one that had lost the channel already
        assert waiting.result() in ((502, -32000, "NODE_UNAVAILABLE"), (504, -32000, "NODE_TIMEOUT"))
    signer.wait_until(lambda: signer.children().get("holdfast-relay", [pid]) != [pid], "another relay")
    signer.wait_until(lambda: call(signer, {"id": 1, "method": "eth_chainId"})[0] == 200, "calls pass again")
    assert "user:pass" not in signer.log()


def test_a_killed_front_gets_another_channel(signer):
    for pid in signer.children()["holdfast-front"]:
        os.kill(pid, signal.SIGKILL)
    signer.wait_until(lambda: call(signer, {"id": 1, "method": "eth_chainId"})[0] == 200, "calls pass again")


def test_a_node_that_is_not_there(signer, node):
    """The last test of this node."""
    node.close()
    status, code, word = failure(signer, "eth_chainId")
    assert (status, code, word) == (502, -32000, "NODE_UNAVAILABLE")


def certificate(folder, name):
    """One that vouches for itself, of a server at 127.0.0.1 and of a client."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
                   cwd=folder, check=True, capture_output=True)
    return str(folder / f"{name}.pem"), str(folder / f"{name}.key")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (apt-get install openssl)")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_node_behind_tls_that_wants_a_certificate(tmp_path, trusted):
    own, client, other = (certificate(tmp_path, name) for name in ("own", "client", "other"))
    node = Node(tls_context(*own, client_ca=client[0]))
    ca = own[0] if trusted else other[0]
    config = f"eth1: {{downstream: {{url: '{node.url}', ca_file: {ca}, client_cert_file: {client[0]}, client_key_file: {client[1]}}}}}\n"
    with harness.Signer(tmp_path, keys=0, config=config) as signer:
        if trusted:
            assert call(signer, {"id": 1, "method": "eth_chainId"})[1]["result"] == ["eth_chainId", []]
        else:
            status, answer = call(signer, {"id": 1, "method": "eth_chainId"})
            assert status == 502 and "not trusted" in answer["error"]["message"] and not node.calls
    node.close()


SCOPES = """auth: {mode: tokens}
policies:
  reader: {rules: [{effect: allow, scopes: [eth1_node]}]}
  signer: {rules: [{effect: allow, scopes: [eth1_message], keys: "*"}]}
"""


def test_with_tokens_a_call_needs_its_scope(tmp_path):
    node = Node()
    with harness.Signer(tmp_path, keys=0, config=SCOPES + f"eth1: {{downstream: {{url: '{node.url}'}}}}\n") as signer:
        body = {"id": 1, "method": "eth_chainId"}
        status, answer = call(signer, body)
        assert (status, answer["error"]["data"]["code"]) == (401, "UNAUTHORIZED")
        reader, other = (bearer(create(signer, "--policy", name)["token"]) for name in ("reader", "signer"))
        assert call(signer, body, headers=other)[1]["error"]["data"]["code"] == "FORBIDDEN"
        assert not node.calls
        assert call(signer, body, headers=reader)[1]["result"] == ["eth_chainId", []]
        assert "Authorization" not in node.headers[-1]
    node.close()


@pytest.mark.parametrize("settings,why", [
    ("{url: 'http://192.0.2.1:8545'}", "eth1.downstream.url"), ("{url: 'ftp://127.0.0.1'}", "eth1.downstream.url"),
    ("{url: 'http://127.0.0.1:1', url_file: FILE}", "eth1.downstream.url_file"), ("{ca_file: FILE}", "needs eth1.downstream.url"),
    ("{url: 'http://127.0.0.1:1', client_cert_file: FILE}", "go together")])
def test_settings_that_cannot_be_meant_are_refused(tmp_path, settings, why):
    write_private(str(tmp_path / "file"), "http://user:s3cret@192.0.2.1/\n")
    write_private(str(tmp_path / "c.yaml"), f"data_dir: {tmp_path}/data\neth1: {{downstream: {settings.replace('FILE', str(tmp_path / 'file'))}}}\n")
    done = harness.run("check", "-c", str(tmp_path / "c.yaml"))
    assert done.returncode == 2 and why in done.stderr and "s3cret" not in done.stderr + done.stdout, done.stderr
