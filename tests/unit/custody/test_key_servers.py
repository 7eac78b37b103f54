#!/usr/bin/env python3
"""test_key_servers.py DRIVER: Web3Signer's key files that name a server, against doubles of the servers."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "peers"), os.path.join(HERE, "..", "..", "e2e"), HERE]
# pylint: disable=wrong-import-position
from driver import Driver  # noqa: E402
import aws_double  # noqa: E402
import cloud_double  # noqa: E402
import vault_double  # noqa: E402

PROGRAM = None
BLS, SECP256K1 = 0, 1


def secret(number):
    return f"{number:064x}"


class KeyFiles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.vault = vault_double.Vault()
        self.addCleanup(self.vault.close)
        self.vault.tree = {f"secret/keys/{n}": {"value": "0x" + secret(n)} for n in range(1, 6)}

    def put(self, name, *documents, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write("---\n".join("".join(f"{k}: {v}\n" for k, v in document.items()) for document in documents))
        os.chmod(path, mode)

    def hashicorp(self, path, **more):
        members = {"type": "hashicorp", "keyType": "BLS", "serverHost": "127.0.0.1", "serverPort": self.vault.port,
                   "token": vault_double.ROOT, "keyPath": f"/v1/secret/data/{path}", **more}
        return {name: value for name, value in members.items() if value is not None}

    def driver(self, **settings):
        driver = Driver(PROGRAM, "web3signer", config_dir=self.folder, **settings)
        self.addCleanup(driver.close)
        return driver

    def assert_keys(self, answer, *expected):
        """expected: numbers of BLS keys, or pairs of type and number."""
        keys, failed, result = answer
        pairs = [key if isinstance(key, tuple) else (BLS, key) for key in expected]
        self.assertEqual((result.strip(), failed), ("OK", []))
        self.assertEqual(sorted(key[:2] for key in keys), sorted((kind, secret(number)) for kind, number in pairs))
        return keys


class Vault(KeyFiles):
    def test_files_and_documents(self):
        self.vault.tree["secret/keys/2"] = {"other": secret(2), "value": "no key"}
        self.put("a.yaml", self.hashicorp("keys/1"))
        self.put("b.yml", self.hashicorp("keys/2", keyName="other", timeout=10000, httpProtocolVersion="HTTP_1_1", unknown=1),
                 {"type": "file-raw", "privateKey": secret(99)}, self.hashicorp("keys/3", keyType="SECP256K1", keyName=""))
        self.put("broken.yaml", {"type": "hashicorp", "keyPath": "[}"})  # the loader's to report
        self.put("note.txt", self.hashicorp("keys/4"))
        driver = self.driver()
        first = self.assert_keys(driver.list(), 1, 2, (SECP256K1, 3))
        self.assertEqual(first, self.assert_keys(driver.list(), 1, 2, (SECP256K1, 3)))
        self.assertEqual(driver.say("health")[2], "well 3 keys of 2 servers in the last list")
        self.put("later.yaml", self.hashicorp("keys/4"))
        os.unlink(os.path.join(self.folder, "a.yaml"))
        self.assert_keys(driver.list(), 2, (SECP256K1, 3), 4)

    def test_many_files_are_one_server(self):
        self.vault.tree = {f"secret/keys/{n}": {"value": secret(n)} for n in range(1, 601)}
        for n in range(1, 601):
            self.put(f"{n}.yaml", self.hashicorp(f"keys/{n}"))
        self.put("again.yaml", self.hashicorp("keys/7"))
        driver = self.driver()
        self.assert_keys(driver.list(), *range(1, 601))
        self.assertEqual(self.vault.counts["all"], 600)  # each once, and nothing else asked
        self.assertEqual(driver.say("health")[2], "well 600 keys of 1 servers in the last list")

    def test_no_files(self):
        driver = self.driver()
        self.assert_keys(driver.list())
        self.assertEqual(driver.say("health")[2], "well no key file names a server")

    def test_what_cannot_be_served_fails_by_its_file(self):
        path = "/v1/secret/data/keys/1"
        self.vault.denied = {"secret/data/keys/3"}
        cases = {
            "a.yaml": (self.hashicorp("keys/none"), f"{path[:-1]}none: "),
            "b.yaml": (self.hashicorp("keys/1", keyName="x"), f"{path}: it has no such field with text"),
            "c.yaml": (self.hashicorp("keys/3"), f"{path[:-1]}3: "),
            "d.yaml": (self.hashicorp("keys/1", token=None), "token is missing"),
            "e.yaml": (self.hashicorp("keys/1", keyPath="secret/data/keys/1"), "keyPath does not begin with /v1/"),
            "f.yaml": (self.hashicorp("keys/1", keyPath="/v1/a/../b"), "keyPath has a part that leads elsewhere"),
            "g.yaml": (self.hashicorp("keys/1", keyPath="/v1/a?b=c"), "keyPath has letters that it cannot have"),
            "h.yaml": (self.hashicorp("keys/1", serverHost="vault.example"), "use https"),
            "i.yaml": (self.hashicorp("keys/1", serverHost="u@127.0.0.1"), "serverHost has letters that it cannot have"),
            "j.yaml": (self.hashicorp("keys/1", serverPort=70000), "serverPort is not the number of a port"),
            "k.yaml": (self.hashicorp("keys/1", keyType="ED25519"), "keyType ED25519 is not supported in this version"),
            "l.yaml": (self.hashicorp("keys/1", authMethod="LDAP"), "authMethod LDAP is not supported in this version"),
            "m.yaml": (self.hashicorp("keys/1", authMethod="kubernetes"), "kubernetesRole is missing"),
            "n.yaml": ({"type": "azure-secret", "vaultName": "a/b", "secretName": "s"}, "vaultName has letters"),
            "o.yaml": ({"type": "azure-secret", "vaultName": "v", "secretName": "s", "clientId": "c"}, "clientSecret is missing"),
            "p.yaml": ({"type": "aws-secret", "secretName": "s"}, "region is missing"),
            "q.yaml": ({"type": "aws-secret", "secretName": "s", "region": "r", "accessKeyId": "a"}, "secretAccessKey is missing"),
        }
        for name, (document, _) in cases.items():
            self.put(name, document)
        self.put("s.yaml", self.hashicorp("keys/1"), mode=0o644)
        self.put("t.yaml", self.hashicorp("keys/4"), self.hashicorp("keys/5"))
        keys, failed, result = self.driver().list()
        self.assertEqual((result.strip(), sorted(key[1] for key in keys)), ("OK", [secret(4), secret(5)]))
        for name, (_, why) in cases.items():
            self.assertEqual([f for f in failed if f.startswith(f"{name}: ") and why in f], [f for f in failed if f.startswith(name)], name)
            self.assertTrue(any(f.startswith(name) for f in failed), name)
        self.assertTrue(any("s.yaml: " in f and "chmod 600" in f for f in failed), failed)
        self.assertEqual(len(failed), len(cases) + 1)
        self.assertNotIn(vault_double.ROOT, "".join(failed))

    def test_a_token_that_is_refused_fails_the_list(self):
        self.put("a.yaml", self.hashicorp("keys/1", token="hvs.wrong"))
        self.put("b.yaml", self.hashicorp("keys/2"))
        keys, failed, result = self.driver().list()
        self.assertEqual((failed, [key[1] for key in keys]), ([], [secret(2)]))
        self.assertIn("DENIED Vault: the token is refused", result)
        self.assertNotIn("hvs.", result)

    def test_a_server_that_is_away_fails_the_list_after_the_others(self):
        self.put("a.yaml", self.hashicorp("keys/1", serverPort=1))
        self.put("b.yaml", self.hashicorp("keys/2"))
        keys, failed, result = self.driver().list(2000)
        self.assertEqual((failed, [key[1] for key in keys]), ([], [secret(2)]))
        self.assertIn("UNAVAILABLE", result)

    def test_known_servers(self):
        key, certificate = (os.path.join(self.folder, name) for name in ("tls.key", "tls.crt"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=vault", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, stderr=subprocess.DEVNULL)
        shown = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"], check=True,
                               capture_output=True, text=True).stdout.strip().rpartition("=")[2]
        vault = vault_double.Vault(context=vault_double.tls_context(certificate, key))
        self.addCleanup(vault.close)
        vault.tree = self.vault.tree
        self.put("a.yaml", self.hashicorp("keys/1", serverPort=vault.port, tlsEnabled="true", tlsKnownServersPath="known"))
        driver = self.driver()

        def known(text, milliseconds=300):
            with open(os.path.join(self.folder, "known"), "w", encoding="utf-8") as out:
                out.write(text)
            return driver.list(milliseconds)

        self.assertIn("a.yaml: tlsKnownServersPath: ", driver.list()[1][0])
        for text in (f"# known\nother:8200 {'00' * 32}\n127.0.0.1:{vault.port} {shown}\n",
                     f"127.0.0.1:{vault.port} {shown.replace(':', '').lower()}"):
            self.assert_keys(known(text, 20000), 1)
        # Another certificate, another server, or nothing that is a fingerprint: only authorities count.
        for text in (f"127.0.0.1:{vault.port} {'00' * 32}\n127.0.0.1:1 {shown}\n", f"127.0.0.1:{vault.port} {shown}:00\n"):
            keys, failed, result = known(text)
            self.assertEqual((keys, failed), ([], []))
            self.assertIn("UNAVAILABLE", result)

    def test_kubernetes(self):
        self.put("a.yaml", self.hashicorp("keys/1", authMethod="KUBERNETES", kubernetesRole="r", token=None,
                                          kubernetesServiceAccountTokenPath="jwt", kubernetesAuthPath="/kubernetes/"), mode=0o644)
        with open(os.path.join(self.folder, "jwt"), "w", encoding="utf-8") as out:
            out.write("eyJ\n")
        self.assert_keys(self.driver().list(), 1)
        self.assertEqual(set(self.vault.tokens), {vault_double.ROOT})  # what was made here is revoked


class Clouds(KeyFiles):
    def test_azure(self):
        cloud = cloud_double.Cloud()
        self.addCleanup(cloud.close)
        cloud.secrets = {f"key-{n}": secret(n) for n in range(1, 60)}
        base = {"type": "azure-secret", "vaultName": "vault-1", "tenantId": "tenant-1", "clientId": "client-1",
                "clientSecret": f"'{cloud.client_secret}'"}
        for n in range(1, 50):
            self.put(f"{n}.yaml", {**base, "secretName": f"key-{n}", "timeout": 60})
        self.put("machine.yaml", {"type": "azure-secret", "vaultName": "vault-1", "secretName": "key-50",
                                  "authenticationMode": "SYSTEM_ASSIGNED_MANAGED_IDENTITY"}, mode=0o644)
        self.put("user.yaml", {"type": "azure-secret", "vaultName": "vault-1", "secretName": "key-51", "clientId": "client-1",
                               "keyType": "SECP256K1", "authenticationMode": "USER_ASSIGNED_MANAGED_IDENTITY"})
        self.put("none.yaml", {**base, "secretName": "none"})
        keys, failed, result = self.driver(azure_url=cloud.url).list()
        self.assertEqual(result.strip(), "OK")
        self.assertEqual(sorted(key[:2] for key in keys),
                         sorted([(BLS, secret(n)) for n in range(1, 51)] + [(SECP256K1, secret(51))]))
        self.assertEqual(failed, ["none.yaml: none: Azure Key Vault answered 404: no such secret"])
        self.assertEqual(cloud.counts["token"], 3)

    def test_aws(self):
        aws = aws_double.start()
        self.addCleanup(aws.server_close)
        self.addCleanup(aws.shutdown)
        base = {"type": "aws-secret", "region": aws_double.REGION, "endpointOverride": aws.url}
        given = {"authenticationMode": "SPECIFIED", "accessKeyId": aws_double.KEY_ID, "secretAccessKey": aws_double.SECRET}
        for n in range(100, 150):
            aws.secrets.add(f"key-{n}", secret(n))
            self.put(f"{n}.yaml", {**base, **given, "secretName": f"key-{n}"})
        self.put("none.yaml", {**base, **given, "secretName": "none"})
        os.environ.update(aws_double.environment())
        self.put("machine.yaml", {**base, "authenticationMode": "ENVIRONMENT", "secretName": "Tagged"})
        keys, failed, result = self.driver().list()
        self.assertEqual(result.strip(), "OK")
        self.assertEqual(sorted(key[1] for key in keys),
                         sorted([secret(n) for n in range(100, 150)] + [aws_double.make_key(7).hex()]))
        self.assertEqual(len(failed), 1)
        self.assertIn("none.yaml: none: ", failed[0])
        self.assertEqual(aws.problems, [])
        self.assertEqual(aws.counts["BatchGetSecretValue"], 4)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
