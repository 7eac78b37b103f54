#!/usr/bin/env python3
"""test_cloud_secrets.py DRIVER: Azure Key Vault and Google's Secret Manager against their doubles."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
sys.path.insert(0, HERE)
from driver import Driver  # noqa: E402  pylint: disable=wrong-import-position
import cloud_double  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = None


def secret(number):
    return f"{number:064x}"


class CloudTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.cloud = cloud_double.Cloud()
        self.addCleanup(self.cloud.close)
        self.cloud.secrets = {f"key-{n}": secret(n) for n in range(1, 11)}

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, 0o600)
        return path

    def driver(self, backend, **settings):
        driver = Driver(PROGRAM, backend, **settings)
        self.addCleanup(driver.close)
        return driver

    def azure(self, **settings):
        chosen = {"auth": 0, "tenant_id": "tenant-1", "client_id": "client-1", **settings}
        if chosen["auth"] == 0:
            chosen.setdefault("client_secret_file", self.file("client-secret", self.cloud.client_secret + "\n"))
        return self.driver("azure", vault_url=self.cloud.url, authority_url=self.cloud.url, metadata_url=self.cloud.url, **chosen)

    def gcp(self, **settings):
        return self.driver("gcp", project_id="p-1", endpoint_url=self.cloud.url, metadata_url=self.cloud.url, **settings)

    def assert_secrets(self, answer, *numbers):
        keys, failed, result = answer
        self.assertEqual((result.strip(), failed), ("OK", []))
        self.assertEqual(sorted(key[1] for key in keys), sorted(secret(n) for n in numbers))
        return keys


class Azure(CloudTest):
    def test_all_secrets_by_pages(self):
        driver = self.azure()
        first = self.assert_secrets(driver.list(), *range(1, 11))
        self.assertEqual(first, self.assert_secrets(driver.list(), *range(1, 11)))
        self.assertEqual(self.cloud.counts["token"], 1)
        self.assertEqual(driver.say("health")[2], "well 10 keys in the last list")

    def test_ways_to_log_in(self):
        self.assert_secrets(self.azure(auth=1).list(), *range(1, 11))
        token = self.file("federated", self.cloud.federated)
        self.assert_secrets(self.azure(auth=2, federated_token_file=token).list(), *range(1, 11))
        result = self.azure(client_secret_file=self.file("wrong", "wrong")).list()[2]
        self.assertIn("DENIED", result)
        self.assertIn("the credentials are wrong", result)

    def test_one_secret_with_many_keys(self):
        self.cloud.secrets["many"] = "\n".join(secret(n) for n in range(20, 220))
        keys = self.assert_secrets(self.azure(secret_name="many", key_type=1).list(), *range(20, 220))
        self.assertEqual({key[0] for key in keys}, {1})
        self.assertEqual(keys[1][3], "many line 2")

    def test_names_and_what_is_switched_off(self):
        self.cloud.disabled = {"key-1"}
        self.assert_secrets(self.azure(name_prefix="key-1").list(), 10)

    def test_faults(self):
        driver = self.azure()
        self.cloud.fail.extend([429, 503, 500])
        self.assert_secrets(driver.list(), *range(1, 11))
        self.cloud.tokens.clear()
        self.assert_secrets(driver.list(), *range(1, 11))  # the token ended early
        self.cloud.denied = {"key-3"}
        keys, failed, _ = driver.list()
        self.assertEqual((len(keys), len(failed)), (9, 1))
        self.assertIn("key-3: Azure Key Vault answered 403: the policy does not allow it", failed[0])
        self.cloud.fail.extend([503] * 50)
        self.assertIn("UNAVAILABLE", driver.list(1000)[2])

    def test_pages_of_another_host(self):
        self.cloud.next_elsewhere = True
        self.assertIn("leads elsewhere", self.azure().list()[2])

    def test_settings(self):
        self.assertIn("client_secret_file", self.driver("azure", vault_url=self.cloud.url).opened)
        self.assertIn("use https", self.driver("azure", vault_url="http://v.example", auth=1).opened)


class Google(CloudTest):
    def test_by_the_machine(self):
        self.assert_secrets(self.gcp().list(), *range(1, 11))
        self.assert_secrets(self.gcp(filter="name:key-1").list(), 1, 10)
        self.assert_secrets(self.gcp(secret_name="key-4").list(), 4)
        self.cloud.secrets["none"] = " \n"
        self.assertEqual(self.gcp(secret_name="none").list()[1], ["none: it is empty"])

    def test_service_account(self):
        key = os.path.join(self.folder, "rsa.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key], check=True,
                       stderr=subprocess.DEVNULL)
        with open(key, encoding="utf-8") as pem:
            account = {"client_email": "h@p.example", "private_key": pem.read(), "token_uri": self.cloud.url + "/token"}
        driver = self.gcp(auth=1, credentials_file=self.file("account.json", json.dumps(account)))
        self.assert_secrets(driver.list(), *range(1, 11))
        text, _, signature = self.cloud.assertions[0].rpartition(".")
        claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
        self.assertEqual((claims["iss"], claims["aud"], claims["exp"] - claims["iat"]),
                         ("h@p.example", self.cloud.url + "/token", 3600))
        public = os.path.join(self.folder, "public.pem")
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
        with open(os.path.join(self.folder, "signature"), "wb") as out:
            out.write(base64.urlsafe_b64decode(signature + "=="))
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", public, "-signature", os.path.join(self.folder, "signature"),
                        self.file("text", text)], check=True, stdout=subprocess.DEVNULL)
        self.assertIn("DENIED", self.gcp(auth=1, credentials_file=self.file("bad.json", "{}")).list()[2])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
