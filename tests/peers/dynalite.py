"""dynalite behind a proxy that checks every signature and can be told to fail.

The proxy is told by GET /control?... : operation (default: all), skip (so many come before), count (how many of them),
and how:
  drop     carries the request out and closes the connection without an answer
  refuse   closes the connection without carrying it out
  delay    carries it out, and answers so many milliseconds later (argument)
  fault    answers with the type in argument, without carrying it out
  status   answers with the status in argument, without carrying it out
and by how=none to stop. /count answers with the number of requests since the last /count.
"""

import contextlib
import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
# pylint: disable=wrong-import-position
import aws_signature  # noqa: E402
import npm  # noqa: E402
import pytest  # noqa: E402

REGION = "eu-test-1"
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SKIPPED = 77


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.peer_port = port
        self.lock = threading.Lock()
        self.rule = None
        self.requests = 0
        self.problems = []

    def handle_error(self, request, client_address):
        pass  # a client that went away


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    peer = None

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):  # pylint: disable=invalid-name
        server = self.server
        target = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(target.query))
        with server.lock:
            if target.path == "/count":
                body = str(server.requests).encode()
                server.requests = 0
            else:
                how = asked.get("how", "none")
                server.rule = None if how == "none" else {
                    "how": how, "operation": asked.get("operation"), "count": int(asked.get("count", "1000000")),
                    "skip": int(asked.get("skip", "0")), "argument": asked.get("argument")}
                body = b"ok"
        self.answer(200, body)

    def take_rule(self, operation):
        with self.server.lock:
            self.server.requests += 1
            rule = self.server.rule
            if rule is None or rule["count"] == 0 or rule["operation"] not in (None, operation):
                return None, None
            if rule["skip"] > 0:
                rule["skip"] -= 1
                return None, None
            rule["count"] -= 1
            return rule["how"], rule["argument"]

    def forward(self, body):
        if self.peer is None:
            self.peer = http.client.HTTPConnection("127.0.0.1", self.server.peer_port)
        self.peer.request("POST", self.path, body, dict(self.headers.items()))
        reply = self.peer.getresponse()
        return reply.status, reply.read()

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        how, argument = self.take_rule(operation)
        problem = aws_signature.check("POST", self.path, self.headers.items(), body, {KEY_ID: (SECRET, None)}, REGION,
                                      "dynamodb")
        if problem:
            print(f"with-dynalite: {operation}: {problem}", file=sys.stderr)
            how, argument = "fault", "InvalidSignatureException"
        if how == "fault":
            self.answer(400, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{argument}", "message": ""}).encode())
        elif how == "status":
            self.answer(int(argument), b"{}")
        elif how == "refuse":
            self.close_connection = True
        else:
            status, reply = self.forward(body)
            if how == "drop":
                self.close_connection = True
                return
            if how == "delay":
                time.sleep(int(argument) / 1000)
            self.answer(status, reply)


@contextlib.contextmanager
def server():
    """(port of dynalite, port of the proxy); skips where there is no node."""
    folder = npm.install("dynalite")
    script = ("const s = require('dynalite')({createTableMs: 0}).listen(0, '127.0.0.1', () => "
              "console.log(s.address().port)); process.stdin.on('end', () => process.exit()).resume();")
    with subprocess.Popen([npm.program("node"), "-e", script], cwd=folder, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as child:
        try:
            port = int(child.stdout.readline())
            proxy = Proxy(port)
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            yield port, proxy.server_address[1]
            proxy.shutdown()
        finally:
            child.kill()


def main(arguments):
    try:
        with server() as (port, proxy):
            environment = {**os.environ, "HF_TEST_DYNAMODB_URL": f"http://127.0.0.1:{port}",
                           "HF_TEST_DYNAMODB_PROXY": f"http://127.0.0.1:{proxy}", "AWS_ACCESS_KEY_ID": KEY_ID,
                           "AWS_SECRET_ACCESS_KEY": SECRET}
            return subprocess.run(arguments, env=environment, check=False).returncode
    except pytest.skip.Exception as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return SKIPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
