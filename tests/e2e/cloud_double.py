"""Doubles of Azure Key Vault with Entra ID, and of Google's Secret Manager with its metadata and
token service: the requests that Holdfast makes of them, by their published REST references."""

import base64
import collections
import json
import threading
import urllib.parse

import http_double


class Cloud:
    def __init__(self):
        self.secrets = {}
        self.disabled = set()
        self.denied = set()
        self.page = 3
        self.client_secret, self.federated = "s3cret+/=", "header.jwt.sig"
        self.lifetime = 3600
        self.fail = collections.deque()  # statuses for the next requests of secrets
        self.next_elsewhere = False
        self.tokens = set()
        self.assertions = []
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.server = http_double.Server(type("Handler", (Handler,), {"cloud": self}))
        self.url = self.server.url

    def close(self):
        self.server.close()


class Handler(http_double.Handler):
    cloud = None

    def answer(self, body, status=200):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        target = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(target.query))
        with self.cloud.lock:
            self.cloud.counts[target.path] += 1
            self.route(target.path, asked, dict(urllib.parse.parse_qsl(body)))

    do_GET = do_POST = serve

    def route(self, path, asked, form):
        logins = {"/tenant-1/oauth2/v2.0/token": self.entra, "/metadata/identity/oauth2/token": self.azure_machine,
                  "/computeMetadata/v1/instance/service-accounts/default/token": self.google_machine, "/token": self.google_account}
        if path in logins:
            return logins[path](asked, form)
        if self.cloud.fail:
            return self.answer({"error": {"message": "injected"}}, self.cloud.fail.popleft())
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.cloud.tokens:
            return self.answer({"error": {"code": "Unauthorized", "message": "token"}}, 401)
        base = "/v1/projects/p-1/secrets"
        if path == "/secrets" and asked.get("api-version") == "7.4":
            return self.azure_list(int(asked.get("skip", 0)))
        if path.startswith("/secrets/") and asked.get("api-version") == "7.4":
            return self.secret(urllib.parse.unquote(path.removeprefix("/secrets/")), lambda text: {"value": text})
        if path == base:
            return self.google_list(int(asked.get("pageToken", 0)), asked.get("filter", ""))
        if path.startswith(base) and path.endswith("/versions/latest:access"):
            name = path.removeprefix(base + "/").removesuffix("/versions/latest:access")
            return self.secret(name, lambda text: {"payload": {"data": base64.b64encode(text.encode()).decode()}})
        return self.answer({"error": {"message": "not found"}}, 404)

    def token(self, is_good, lifetime=None):
        if not is_good:
            return self.answer({"error": "invalid_client", "error_description": "the credentials are wrong"}, 401)
        token = f"token-{len(self.cloud.tokens)}-{self.cloud.counts['token']}"
        self.cloud.counts["token"] += 1
        self.cloud.tokens.add(token)
        return self.answer({"access_token": token, "expires_in": self.cloud.lifetime if lifetime is None else lifetime})

    def entra(self, _asked, form):
        good = form.get("grant_type") == "client_credentials" and form.get("scope") == "https://vault.azure.net/.default" and \
            form.get("client_id") == "client-1"
        if "client_assertion" in form:
            good = good and form["client_assertion"] == self.cloud.federated and \
                form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        else:
            good = good and form.get("client_secret") == self.cloud.client_secret
        self.token(good)

    def azure_machine(self, asked, _form):
        good = self.headers.get("Metadata") == "true" and asked.get("resource") == "https://vault.azure.net"
        self.token(good and asked.get("client_id", "client-1") == "client-1", str(self.cloud.lifetime))

    def google_machine(self, _asked, _form):
        self.token(self.headers.get("Metadata-Flavor") == "Google")

    def google_account(self, _asked, form):
        self.cloud.assertions.append(form.get("assertion", ""))
        self.token(form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer" and form.get("assertion"))

    def azure_list(self, skip):
        names = sorted(self.cloud.secrets)
        more = f"{'https://elsewhere.example' if self.cloud.next_elsewhere else self.cloud.url}" \
               f"/secrets?api-version=7.4&skip={skip + self.cloud.page}"
        self.answer({"value": [{"id": f"{self.cloud.url}/secrets/{name}",
                                "attributes": {"enabled": name not in self.cloud.disabled}}
                               for name in names[skip:skip + self.cloud.page]],
                     "nextLink": more if skip + self.cloud.page < len(names) else None})

    def google_list(self, skip, wanted):
        names = [name for name in sorted(self.cloud.secrets) if wanted.removeprefix("name:") in name]
        more = skip + self.cloud.page
        self.answer({"secrets": [{"name": f"projects/123/secrets/{name}"} for name in names[skip:more]],
                     **({"nextPageToken": str(more)} if more < len(names) else {})})

    def secret(self, name, shape):
        if name in self.cloud.denied:
            return self.answer({"error": {"message": "the policy does not allow it"}}, 403)
        if name not in self.cloud.secrets:
            return self.answer({"error": {"message": "no such secret"}}, 404)
        return self.answer(shape(self.cloud.secrets[name]))
