#!/usr/bin/env python3
"""fake_aws.py COMMAND...: runs the command beside a small server that plays AWS's endpoints on
loopback, by http (HF_TEST_HTTP) and by https (HF_TEST_HTTPS) with a certificate of its own authority
(HF_TEST_CA).

What it answers is set by GET /set?name=value: lifetime (seconds until credentials expire), fail (a
status for all credential endpoints), generation (part of the key id that is handed out).
"""

import datetime
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "peers"))
import aws_signature  # noqa: E402  pylint: disable=wrong-import-position

SECRETS = {"AKIDEXAMPLE": ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None),
           "ASIAEXAMPLE": ("temporary/secret+", "a-session-token==")}
ROLES = "/latest/meta-data/iam/security-credentials/"
settings = {"lifetime": "3600", "fail": "0", "generation": "1"}
counts = {}
lock = threading.Lock()


def expiration():
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=int(settings["lifetime"]))
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def credentials(source):
    return {"AccessKeyId": f"ASIA-{source}-{settings['generation']}", "SecretAccessKey": "s3cret", "Token": "t0ken",
            "Expiration": expiration()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def answer(self, body, status=200, headers=()):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        target = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(target.query))
        name = target.path.strip("/").partition("/")[0] or "root"
        with lock:
            counts[name] = counts.get(name, 0) + 1
        getattr(self, f"on_{name}", self.on_root)(target, asked, body)

    do_GET = do_POST = do_PUT = serve

    def failing(self):
        if settings["fail"] != "0":
            self.answer("<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>",
                        int(settings["fail"]))
        return settings["fail"] != "0"

    # ---- plain requests

    def on_root(self, _target, _asked, _body):
        self.answer(self.headers.get("Authorization") or "", headers=[("Date-Seen", self.headers.get("X-Amz-Date") or "")])

    def on_set(self, _target, asked, _body):
        settings.update(asked)
        self.answer("ok")

    def on_count(self, _target, asked, _body):
        with lock:
            self.answer(str(counts.pop(asked["of"], 0)))

    def on_echo(self, _target, _asked, body):
        self.answer(self.command.encode() + b" " + body)

    def on_slow(self, _target, asked, _body):
        time.sleep(int(asked["ms"]) / 1000)
        self.answer("late")

    def on_big(self, _target, asked, _body):
        self.answer("x" * int(asked["bytes"]))

    def on_redirect(self, _target, _asked, _body):
        self.answer("elsewhere", 302, [("Location", "/echo")])

    def on_close(self, _target, _asked, _body):
        self.close_connection = True

    def on_signed(self, _target, _asked, body):
        problem = aws_signature.check(self.command, self.path, self.headers.items(), body, SECRETS, "eu-test-1", "dynamodb")
        self.answer(problem or "good", 403 if problem else 200)

    # ---- credentials

    def on_latest(self, target, _asked, _body):
        if self.failing():
            return
        if target.path == "/latest/api/token":
            good = self.command == "PUT" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "").isdigit()
            self.answer("session-of-version-2" if good else "", 200 if good else 405)
        elif self.headers.get("X-aws-ec2-metadata-token") != "session-of-version-2":
            self.answer("", 401)
        elif target.path == ROLES:
            self.answer("node-role\n")
        elif target.path == ROLES + "node-role":
            self.answer(json.dumps({"Code": "Success", **credentials("instance")}))
        else:
            self.answer("", 404)

    def on_container(self, _target, _asked, _body):
        if not self.failing():
            good = self.headers.get("Authorization") == "Basic from-the-file"
            self.answer(json.dumps(credentials("container")) if good else "{}", 200 if good else 401)

    def on_sts(self, _target, _asked, body):
        if self.failing():
            return
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if form.get("Action") == "AssumeRole":
            problem = aws_signature.check(self.command, self.path, self.headers.items(), body, SECRETS, "eu-test-1", "sts")
            good = not problem and form == {"Action": "AssumeRole", "Version": "2011-06-15", "RoleSessionName": "holdfast",
                                            "RoleArn": "arn:aws:iam::1:role/a+b", "ExternalId": "e/1"}
            self.answer_sts("AssumeRole", good, credentials("role"))
            return
        good = form == {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleSessionName": "holdfast",
                        "RoleArn": "arn:aws:iam::1:role/a+b", "WebIdentityToken": "header.pay+load/.sig=="}
        self.answer_sts("AssumeRoleWithWebIdentity", good, credentials("web"))

    def answer_sts(self, action, good, found):
        self.answer(
            f"<{action}Response><{action}Result><Credentials>"
            f"<AccessKeyId>{found['AccessKeyId']}</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>"
            f"<SessionToken>t0ken</SessionToken><Expiration>{found['Expiration']}</Expiration></Credentials>"
            f"</{action}Result></{action}Response>" if good else
            "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", 200 if good else 403)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that does not trust us


def start(context=None):
    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def make_certificate(folder):
    key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "ca.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=fake", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def main():
    with tempfile.TemporaryDirectory() as folder:
        certificate, context = make_certificate(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment.update(HF_TEST_HTTP=f"http://127.0.0.1:{start()}", HF_TEST_HTTPS=f"https://127.0.0.1:{start(context)}",
                           HF_TEST_CA=certificate, HF_TEST_FOLDER=folder, HOME=folder)
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
