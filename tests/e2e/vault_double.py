"""A double of HashiCorp Vault and OpenBao: what Holdfast asks of them, with their words, and the
faults that they have. Its statuses and texts are checked against recorded clients (test_vault_double.py)
and, where one can be built, against the real server (tests/peers/test_vault.py)."""

import collections
import json
import ssl
import threading
import time
import urllib.parse

import http_double

ROOT = "root"
MOUNTS = {"secret/": "2", "old/": "1"}


class Vault:
    """The state; change its members while it runs, under lock where it is more than one."""

    def __init__(self, address=("127.0.0.1", 0), context=None):
        self.lock = threading.RLock()
        self.sealed = False
        self.namespace = None  # all requests must name it
        self.fail = collections.deque()  # statuses for the next requests, None for a closed connection
        self.fail_always = 0
        self.every = 0  # every nth request is refused with 429
        self.delay = 0.0
        self.token_ttl = 3600
        self.token_max = 0  # seconds after which a token cannot be renewed; 0: never
        self.renewable = True
        self.mounts_visible = True
        self.denied = set()  # paths that no policy allows
        self.redirect = None  # base URL of another node
        self.tokens = {ROOT: {"until": 0, "made": 0, "renewable": False}}
        self.roles = {"role-1": "sid-1"}
        self.jwts = {"eyJ": "r"}
        self.wraps = {}  # token: (creation path, data)
        self.tree = {}  # "secret/a/b": fields; None: deleted
        self.counts = collections.Counter()
        self.serial = 0
        self.server = http_double.Server(type("Handler", (Handler,), {"vault": self}), address, context)
        self.port = self.server.port
        self.url = self.server.url

    def close(self):
        self.server.close()

    def make_token(self, ttl=None):
        with self.lock:
            self.serial += 1
            token = f"hvs.token-{self.serial}"
            now = time.monotonic()
            ttl = self.token_ttl if ttl is None else ttl
            self.tokens[token] = {"until": now + ttl if ttl else 0, "made": now, "renewable": self.renewable}
            return token

    def wrap(self, path, data):
        with self.lock:
            self.serial += 1
            token = f"hvs.wrapping-{self.serial}"
            self.wraps[token] = (path, data)
            return token

    def revoke_all(self):
        with self.lock:
            self.tokens = {ROOT: self.tokens[ROOT]}

    def is_good(self, token):
        with self.lock:
            found = self.tokens.get(token)
            return found is not None and (not found["until"] or time.monotonic() < found["until"])


class Handler(http_double.Handler):
    vault = None

    def answer(self, body=None, status=200, headers=()):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def refuse(self, status, *texts):
        self.answer({"errors": list(texts)}, status)

    def give(self, data=None, **more):
        self.answer({"request_id": "r", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data,
                     "wrap_info": None, "warnings": None, "auth": None, **more})

    def serve(self):
        vault = self.vault
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        target = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(target.path.removeprefix("/v1/"))
        listing = self.command == "LIST" or "list=true" in target.query
        vault.counts["all"] += 1
        vault.counts[path] += 1
        if vault.delay:
            time.sleep(vault.delay)
        if path == "sys/health":
            return self.health()
        if self.is_failing():
            return None
        if vault.redirect:
            return self.answer(None, 307, [("Location", vault.redirect + self.path)])
        if vault.namespace and self.headers.get("X-Vault-Namespace") != vault.namespace:
            return self.refuse(404, f'no handler for route "{path}". route entry not found.')
        with vault.lock:
            return self.route(path, listing, json.loads(body or "{}"))

    do_GET = do_POST = do_PUT = do_LIST = serve

    def is_failing(self):
        vault = self.vault
        with vault.lock:
            status = vault.fail_always or (vault.fail.popleft() if vault.fail else 0)
        if status is None:
            self.close_connection = True
        elif vault.sealed:
            self.refuse(503, "Vault is sealed")
        elif status:
            self.refuse(status, "injected")
        elif vault.every and vault.counts["all"] % vault.every == 0:
            self.refuse(429, "request path \"secret/\": rate limit quota exceeded")
        else:
            return False
        return True

    def health(self):
        sealed = self.vault.sealed
        self.answer({"initialized": True, "sealed": sealed, "standby": False, "version": "1.14.0"}, 503 if sealed else 200)

    def route(self, path, listing, body):
        fixed = {"auth/approle/login": self.approle, "auth/kubernetes/login": self.kubernetes,
                 "sys/wrapping/lookup": self.lookup_wrapping, "sys/wrapping/unwrap": self.unwrap}
        if path in fixed:
            return fixed[path](body)
        token = self.headers.get("X-Vault-Token", "")
        if not self.vault.is_good(token) or path in self.vault.denied:
            return self.refuse(403, "permission denied")
        if path.startswith("auth/token/"):
            return self.token(path.removeprefix("auth/token/"), token)
        if path.startswith("sys/internal/ui/mounts/"):
            return self.mount(path.removeprefix("sys/internal/ui/mounts/"))
        for mount, version in MOUNTS.items():
            if path.startswith(mount):
                return self.kv(mount, version, path.removeprefix(mount), listing, body)
        return self.refuse(404, f'no handler for route "{path}". route entry not found.')

    # ---- who one is

    def log_in(self):
        token = self.vault.make_token()
        self.give(auth={"client_token": token, "accessor": "a", "policies": ["default"], "token_policies": ["default"],
                        "lease_duration": self.vault.token_ttl, "renewable": self.vault.renewable, "token_type": "service",
                        "orphan": True, "num_uses": 0})

    def approle(self, body):
        if "role_id" not in body:
            return self.refuse(400, "missing role_id")
        if self.vault.roles.get(body["role_id"], "") != body.get("secret_id"):
            return self.refuse(400, "invalid role or secret ID")
        return self.log_in()

    def kubernetes(self, body):
        if self.vault.jwts.get(body.get("jwt")) != body.get("role"):
            return self.refuse(403, "permission denied")
        return self.log_in()

    def lookup_wrapping(self, body):
        found = self.vault.wraps.get(body.get("token"))
        if not found:
            return self.refuse(400, "wrapping token is not valid or does not exist")
        return self.give({"creation_path": found[0], "creation_time": "2026-01-01T00:00:00Z", "creation_ttl": 300})

    def unwrap(self, body):
        found = self.vault.wraps.pop(body.get("token") or self.headers.get("X-Vault-Token", ""), None)
        if not found:
            return self.refuse(400, "wrapping token is not valid or does not exist")
        return self.give(found[1])

    def token(self, what, text):
        token = self.vault.tokens[text]
        now = time.monotonic()
        left = int(token["until"] - now + 0.999) if token["until"] else 0
        if what == "lookup-self":
            return self.give({"id": text, "ttl": left, "renewable": token["renewable"], "policies": ["default"]})
        if what == "revoke-self":
            del self.vault.tokens[text]
            return self.answer(None, 204)
        if not token["renewable"] and text != ROOT:
            return self.refuse(400, "lease is not renewable")
        if token["until"]:
            most = token["made"] + self.vault.token_max if self.vault.token_max else now + self.vault.token_ttl
            token["until"] = min(now + self.vault.token_ttl, most)
            left = max(int(token["until"] - now), 0)
        return self.give(auth={"client_token": text, "lease_duration": left, "renewable": token["renewable"]})

    # ---- secrets

    def mount(self, path):
        for mount, version in MOUNTS.items():
            if self.vault.mounts_visible and f"{path}/".startswith(mount):
                return self.give({"path": mount, "type": "kv", "options": {"version": version} if version == "2" else None})
        return self.refuse(403, "preflight capability check returned 403, please ensure client's policies grant access")

    def kv(self, mount, version, path, listing, body):
        kind = "data"
        if version == "2":
            kind, _, path = path.partition("/")
        if listing:
            return self.names(mount + path)
        full = mount + path
        if self.command in ("POST", "PUT"):
            cas = body.get("options", {}).get("cas")
            if cas == 0 and full in self.vault.tree:
                return self.refuse(400, "check-and-set parameter did not match the current version")
            self.vault.tree[full] = body.get("data", {})
            return self.give({"version": 1, "created_time": "2026-01-01T00:00:00Z", "destroyed": False, "deletion_time": ""})
        if kind != "data" or full not in self.vault.tree:
            return self.refuse(404)
        fields = self.vault.tree[full]
        metadata = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False, "version": 1}
        if fields is None:
            metadata["deletion_time"] = "2026-01-02T00:00:00Z"
            return self.answer({"request_id": "r", "data": {"data": None, "metadata": metadata}}, 404)
        return self.give(fields if version == "1" else {"data": fields, "metadata": metadata})

    def names(self, folder):
        folder = folder if folder.endswith("/") else folder + "/"
        found = {rest if not sep else rest + "/" for name in self.vault.tree if name.startswith(folder)
                 for rest, sep, _ in [name.removeprefix(folder).partition("/")]}
        return self.give({"keys": sorted(found)}) if found else self.refuse(404)


def tls_context(certificate, key, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
