#!/usr/bin/env python3
"""test_vault.py DRIVER: the Vault back end against the double of Vault."""

import os
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
sys.path.insert(0, HERE)
from driver import Driver  # noqa: E402  pylint: disable=wrong-import-position
import vault_double  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = None
BLS, SECP256K1 = 0, 1
ROLE_PATH = "auth/approle/role/r/secret-id"


def secret(number):
    return f"{number:064x}"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come about in time")
        time.sleep(0.02)


class VaultTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.vault = vault_double.Vault()
        self.addCleanup(self.vault.close)
        self.drivers = []

    def tearDown(self):
        for driver in self.drivers:
            self.assertEqual(driver.close(), 0)

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def driver(self, **settings):
        chosen = {"address": self.vault.url, "path": "secret/validators", **settings}
        if "auth" not in chosen and "token_file" not in chosen:
            chosen["token_file"] = self.file("token", vault_double.ROOT + "\n")
        driver = Driver(PROGRAM, "vault", **chosen)
        self.assertEqual(driver.opened.strip(), "OK")
        self.drivers.append(driver)
        return driver

    def approle(self, **settings):
        return self.driver(auth=1, role_id="role-1", secret_id_file=self.file("secret-id", "sid-1\n"), **settings)

    def put(self, **secrets):
        self.vault.tree.update({f"secret/validators/{name}": fields for name, fields in secrets.items()})

    def assert_secrets(self, answer, *numbers):
        keys, failed, result = answer
        self.assertEqual(result.strip(), "OK")
        self.assertEqual(failed, [])
        self.assertEqual(sorted(key[1] for key in keys), sorted(secret(n) for n in numbers))
        return keys

    def refused(self, **settings):
        chosen = {"address": self.vault.url, "path": "secret/validators", **settings}
        driver = Driver(PROGRAM, "vault", **chosen)
        driver.close()
        return driver.opened


class Secrets(VaultTest):
    def test_folder_of_folders(self):
        self.put(a={"value": secret(1)}, b={"value": "0x" + secret(2)}, **{"deep/er/c d%#": {"value": secret(3)}})
        self.vault.tree["secret/other"] = {"value": secret(9)}
        driver = self.driver()
        keys = self.assert_secrets(driver.list(), 1, 2, 3)
        again = self.assert_secrets(driver.list(), 1, 2, 3)
        self.assertEqual(keys, again)
        self.assertEqual(len({key[2] for key in keys}), 3)
        self.assertIn("secret/validators/a#value", [key[3] for key in keys])

    def test_one_secret_with_many_keys(self):
        self.vault.tree["secret/validators"] = {"one": f"\n{secret(1)}\n{secret(2)}\r\n", "two": secret(3), "note": "mine",
                                                "pubkey": "ab" * 48}
        for path in ("secret/validators", "secret/data/validators", "/v1/secret/data/validators"):
            self.assert_secrets(self.driver(path=path).list(), 1, 2, 3)

    def test_secret_and_folder_of_one_name(self):
        self.vault.tree["secret/validators"] = {"value": secret(1)}
        self.put(more={"value": secret(2)})
        self.assert_secrets(self.driver().list(), 1, 2)
        self.assert_secrets(self.driver(path="secret/validators/").list(), 2)

    def test_whole_mount(self):
        self.put(a={"value": secret(1)})
        self.assert_secrets(self.driver(path="secret").list(), 1)

    def test_version_1(self):
        self.vault.tree["old/v/a"] = {"value": secret(4)}
        self.assert_secrets(self.driver(path="old/v").list(), 4)
        self.vault.mounts_visible = False
        self.assert_secrets(self.driver(path="old/v", kv_version=1).list(), 4)

    def test_mount_that_may_not_be_asked_for(self):
        self.put(a={"value": secret(1)})
        self.vault.mounts_visible = False
        self.assert_secrets(self.driver().list(), 1)

    def test_key_types(self):
        self.put(a={"value": secret(1), "keyType": "SECP256K1"}, b={"value": secret(2)})
        kinds = {key[1]: key[0] for key in self.driver().list()[0]}
        self.assertEqual(kinds, {secret(1): SECP256K1, secret(2): BLS})
        kinds = {key[1]: key[0] for key in self.driver(key_type=SECP256K1).list()[0]}
        self.assertEqual(kinds, {secret(1): SECP256K1, secret(2): SECP256K1})

    def test_one_field_alone(self):
        self.put(a={"value": secret(1), "other": secret(2)}, b={"other": secret(3)})
        keys, failed, result = self.driver(field="value").list()
        self.assertEqual((result.strip(), [key[1] for key in keys]), ("OK", [secret(1)]))
        self.assertEqual(failed, ["secret/validators/b: it has no such field with text"])

    def test_what_is_no_key_is_named_and_costs_no_other(self):
        self.put(a={"value": secret(1)[1:]}, b={"value": "words"}, c={"value": f"{secret(1)}\nzz"}, d={"value": secret(0)},
                 e={"n": 5})
        keys, failed, result = self.driver().list()
        self.assertEqual((result.strip(), [key[1] for key in keys]), ("OK", [secret(1)]))
        self.assertEqual(len(failed), 5)
        for line, word in zip(sorted(failed), ("a#value: not a key", "b: no field", "c#value line 2: not a key",
                                               "d#value: not a key: it is zero", "e: no field")):
            self.assertIn("secret/validators/" + word, line)
        self.assertNotIn(secret(1)[1:], "".join(failed))

    def test_deleted_secrets_are_not_there(self):
        self.put(a={"value": secret(1)}, b=None)
        self.assert_secrets(self.driver().list(), 1)

    def test_nothing_there(self):
        for path, words in (("secret/validators", "neither a secret nor a folder"), ("secret/validators/", "is not there")):
            keys, _, result = self.driver(path=path).list()
            self.assertEqual(keys, [])
            self.assertIn("NOT_FOUND", result)
            self.assertIn(words, result)

    def test_policies_that_allow_less(self):
        self.put(a={"value": secret(1)}, b={"value": secret(2)})
        self.vault.denied = {"secret/data/validators/b", "secret/data/validators"}
        keys, failed, result = self.driver().list()
        self.assertEqual((result.strip(), [key[1] for key in keys]), ("OK", [secret(1)]))
        self.assertIn("secret/validators/b: permission denied", failed[0])
        self.vault.denied = {"secret/metadata/validators/", "secret/data/validators"}
        self.assertIn("DENIED", self.driver().list()[2])

    def test_thousands(self):
        self.put(**{f"{n % 7}/{n}": {"value": secret(n)} for n in range(1, 1501)})
        self.assert_secrets(self.driver().list(60000), *range(1, 1501))


class Logins(VaultTest):
    def setUp(self):
        super().setUp()
        self.put(a={"value": secret(1)})

    def test_approle(self):
        driver = self.approle()
        self.assert_secrets(driver.list(), 1)
        self.assert_secrets(driver.list(), 1)
        self.assertEqual(self.vault.counts["auth/approle/login"], 1)
        self.assertEqual(self.drivers.pop().close(), 0)
        self.assertEqual(list(self.vault.tokens), [vault_double.ROOT])  # revoked at the end

    def test_approle_refused(self):
        path = self.file("secret-id", "wrong")
        driver = self.driver(auth=1, role_id="role-1", secret_id_file=path)
        for _ in range(3):
            result = driver.list()[2]
            self.assertIn("DENIED", result)
            self.assertIn("invalid role or secret ID", result)
        self.assertEqual(self.vault.counts["auth/approle/login"], 1)  # wrong credentials are not sent over and over
        self.file("secret-id", "sid-1")
        self.assert_secrets(driver.list(), 1)

    def test_kubernetes(self):
        driver = self.driver(auth=2, role="r", jwt_file=self.file("jwt", "eyJ", 0o644))
        self.assert_secrets(driver.list(), 1)

    def test_token_that_is_replaced(self):
        path = self.file("t", self.vault.make_token())
        driver = self.driver(token_file=path)
        self.assert_secrets(driver.list(), 1)
        self.vault.revoke_all()
        self.assertIn("DENIED", driver.list()[2])
        self.file("t", self.vault.make_token())
        self.assert_secrets(driver.list(), 1)

    def test_secret_that_others_can_read(self):
        driver = self.driver(token_file=self.file("open", "root", 0o644))
        result = driver.list()[2]
        self.assertIn("DENIED", result)
        self.assertIn("open", result)

    def test_wrapped_secret_id(self):
        path = self.file("wrapped", self.vault.wrap(ROLE_PATH, {"secret_id": "sid-1"}))
        driver = self.driver(auth=1, role_id="role-1", secret_id_file=path, secret_id_wrapping_path=ROLE_PATH)
        self.assert_secrets(driver.list(), 1)
        self.vault.revoke_all()
        self.assert_secrets(driver.list(), 1)  # the secret_id is kept: the wrapping token opens once
        self.assertEqual(self.vault.counts["sys/wrapping/unwrap"], 1)

    def test_wrapping_of_another_path_is_not_opened(self):
        token = self.vault.wrap("sys/wrapping/wrap", {"secret_id": "sid-1"})
        driver = self.driver(auth=1, role_id="role-1", secret_id_file=self.file("wrapped", token),
                             secret_id_wrapping_path=ROLE_PATH)
        result = driver.list()[2]
        self.assertIn("DENIED SECURITY", result)
        self.assertIn(token, self.vault.wraps)
        self.assertNotIn(token, result)

    def test_wrapping_that_somebody_opened(self):
        driver = self.driver(auth=1, role_id="role-1", secret_id_file=self.file("wrapped", "hvs.used"),
                             secret_id_wrapping_path=ROLE_PATH)
        self.assertIn("somebody else has opened it", driver.list()[2])

    def test_namespace(self):
        self.vault.namespace = "team/a"
        self.assert_secrets(self.approle(vault_namespace="team/a").list(), 1)
        self.assertIn("404", self.approle().list()[2])

    def test_settings_that_cannot_be(self):
        token = {"token_file": "/nowhere"}
        for settings, words in (({"address": "http://vault.example:8200", **token}, "use https"),
                                ({}, "token_file"), ({"auth": 1}, "role_id"), ({"auth": 2}, "needs a role"),
                                ({"path": "secret/../sys", **token}, "path"), ({"kv_version": 3, **token}, "kv_version"),
                                ({"client_cert_file": "/c", **token}, "belong together"),
                                ({"ca_file": "/nowhere", **token}, "certificate authorities")):
            self.assertIn(words, self.refused(**settings))


class Renewal(VaultTest):
    def setUp(self):
        super().setUp()
        self.put(a={"value": secret(1)})

    def test_renewed_without_a_login(self):
        self.vault.token_ttl = 2
        driver = self.approle()
        self.assert_secrets(driver.list(), 1)
        wait_for(lambda: self.vault.counts["auth/token/renew-self"] >= 2)
        self.assert_secrets(driver.list(), 1)
        self.assertEqual(self.vault.counts["auth/approle/login"], 1)

    def test_next_token_before_the_old_one_ends(self):
        self.vault.token_ttl, self.vault.renewable = 2, False
        driver = self.approle()
        self.assert_secrets(driver.list(), 1)
        wait_for(lambda: self.vault.counts["auth/approle/login"] >= 3)
        self.assert_secrets(driver.list(), 1)

    def test_greatest_age(self):
        self.vault.token_ttl, self.vault.token_max = 2, 3
        driver = self.approle()
        self.assert_secrets(driver.list(), 1)
        wait_for(lambda: self.vault.counts["auth/approle/login"] >= 2)
        self.assertLessEqual(self.vault.counts["auth/token/renew-self"], 2)  # not again and again for ever less
        self.assert_secrets(driver.list(), 1)

    def test_revoked_in_the_middle_of_a_list(self):
        self.put(**{str(n): {"value": secret(n)} for n in range(2, 901)})
        self.vault.delay = 0.005
        driver = self.approle()
        driver.process.stdin.write("list 60000\n")
        driver.process.stdin.flush()
        wait_for(lambda: self.vault.counts["all"] > 300)
        self.vault.revoke_all()
        self.assert_secrets(driver.answer(), *range(1, 901))
        self.assertGreaterEqual(self.vault.counts["auth/approle/login"], 2)


class Faults(VaultTest):
    def setUp(self):
        super().setUp()
        self.put(**{str(n): {"value": secret(n)} for n in range(1, 51)})

    def test_down_and_then_up(self):
        port = self.vault.port
        self.vault.close()
        driver = self.driver()
        started = time.monotonic()
        self.assertIn("UNAVAILABLE", driver.list()[2])
        self.assertLess(time.monotonic() - started, 20)
        self.assertTrue(driver.say("health")[2].startswith("ill Vault at"))
        tree = self.vault.tree
        self.vault = vault_double.Vault(("127.0.0.1", port))
        self.addCleanup(self.vault.close)
        self.vault.tree = tree
        self.assert_secrets(driver.list(), *range(1, 51))
        self.assertTrue(driver.say("health")[2].startswith("well reachable"))

    def test_sealed(self):
        driver = self.driver()
        self.vault.sealed = True
        result = driver.list(1500)[2]
        self.assertIn("UNAVAILABLE", result)
        self.assertIn("Vault is sealed", result)
        self.vault.sealed = False
        self.assert_secrets(driver.list(), *range(1, 51))

    def test_every_status_that_says_later(self):
        driver = self.driver()
        self.assert_secrets(driver.list(), *range(1, 51))
        for status in (412, 429, 473, 503, None):
            self.vault.every = 7 if status == 429 else 0
            self.vault.fail.extend([status, 0, status, 0, 0, status, status])
            self.assert_secrets(driver.list(), *range(1, 51))
            self.assertFalse(self.vault.fail)
            self.vault.every = 0

    def test_standby_names_the_active_node(self):
        active = vault_double.Vault()
        self.addCleanup(active.close)
        active.tree = self.vault.tree
        self.vault.redirect = active.url
        self.assert_secrets(self.driver().list(), *range(1, 51))

    def test_redirect_to_another_machine_without_tls(self):
        self.vault.redirect = "http://192.0.2.1:8200"
        self.assertIn("UNAVAILABLE", self.driver().list(1500)[2])

    def test_no_answer(self):
        driver = self.driver()
        self.vault.delay = 1.5
        started = time.monotonic()
        self.assertIn("UNAVAILABLE", driver.list(500)[2])
        self.assertLess(time.monotonic() - started, 3)

    def test_no_json(self):
        self.vault.tree["secret/validators/1"] = ["a list"]
        keys, failed, _ = self.driver().list()
        self.assertEqual((len(keys), len(failed)), (49, 1))


class Tls(VaultTest):
    def certificate(self, name, *more):
        key, path = os.path.join(self.folder, name + ".key"), os.path.join(self.folder, name + ".pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", path, "-days", "2", "-subj", f"/CN={name}", *more], check=True,
                       stderr=subprocess.DEVNULL)
        return path, key

    def test_client_certificate(self):
        server = self.certificate("server", "-addext", "subjectAltName=IP:127.0.0.1")
        client = self.certificate("client")
        self.vault = vault_double.Vault(context=vault_double.tls_context(*server, client_ca=client[0]))
        self.addCleanup(self.vault.close)
        self.put(a={"value": secret(1)})
        good = {"ca_file": server[0], "client_cert_file": client[0], "client_key_file": client[1]}
        self.assert_secrets(self.driver(**good).list(), 1)
        self.assertIn("UNAVAILABLE", self.driver(ca_file=server[0]).list(3000)[2])
        self.assertIn("UNAVAILABLE", self.driver(**{**good, "ca_file": client[0]}).list(3000)[2])
        os.chmod(client[1], 0o644)
        self.assertIn("client's key", self.refused(token_file="/t", **good))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
