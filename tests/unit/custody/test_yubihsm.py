#!/usr/bin/python3
"""test_yubihsm.py DRIVER: the YubiHSM back end against a device in software; Debian's Python, for
python3-cryptography. Ends with 77 (skipped) without it."""

import hashlib
import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
sys.path.insert(0, HERE)
try:
    import cryptography  # noqa: F401  pylint: disable=unused-import
except ImportError:
    print("skipped: python3-cryptography is not installed")
    sys.exit(77)
from cryptography.hazmat.primitives import hashes  # noqa: E402  pylint: disable=wrong-import-position
from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: E402  pylint: disable=wrong-import-position
from driver import Driver  # noqa: E402  pylint: disable=wrong-import-position
import yubihsm_double as yubihsm  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = None
VECTORS = os.path.join(HERE, "..", "..", "vectors", "yubihsm", "session.json")
SECP256K1, ED25519, P256 = 1, 2, 3
DIGEST = hashlib.sha256(b"what is signed")


class YubiHsmTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.device = yubihsm.Device()
        self.addCleanup(self.device.close)
        self.password = self.file("password", "password\n")

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, 0o600)
        return path

    def driver(self, **settings):
        chosen = {"connector_url": self.device.url, "auth_key_id": 1, "auth_key_password_file": self.password, **settings}
        driver = Driver(PROGRAM, "yubihsm", **chosen)
        self.addCleanup(driver.close)
        return driver

    def verify(self, key, signature, digest=DIGEST.digest()):
        r, s = int(signature[:64], 16), int(signature[64:], 16)
        key.public_key().verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    def ok(self, answer):
        code, _, rest = answer[2].partition(" ")
        self.assertEqual(code, "OK", answer)
        return rest


class Device(unittest.TestCase):
    def test_vectors(self):
        with open(VECTORS, encoding="utf-8") as file:
            vectors = {k: bytes.fromhex(v) if k.endswith(("_cmd", "_resp", "_challenge", "inner", "_mac", "_enc", "inner_resp"))
                       else v for k, v in json.load(file).items()}
        device = yubihsm.Device()
        self.addCleanup(device.close)
        device.sessions = {n: None for n in range(vectors["session_id"])}
        device.random = lambda n: vectors["card_challenge"]
        device.run = lambda command, data: vectors["inner_resp"][3:]
        for name in ("create_session", "authenticate_session", "session_message"):
            self.assertEqual(device.take(vectors[name + "_cmd"]).hex(), vectors[name + "_resp"].hex())


class Keys(YubiHsmTest):
    def test_list_and_sign(self):
        k256 = self.device.add_key(2, yubihsm.K256, "sequencer")
        p256 = self.device.add_key(3, yubihsm.P256, "p")
        edwards = self.device.add_key(0x1234, yubihsm.ED25519, "consensus\n")
        self.device.add_key(5, 9, "rsa")
        self.device.add_key(6, yubihsm.K256, "other", capabilities=())
        self.device.add_key(7, yubihsm.CCM_WRAP, "wrap")
        driver = self.driver()
        keys, failed, result = driver.list()
        self.assertEqual(result.strip(), "OK")
        self.assertEqual(failed, ["other (0x0006): the key has not the capability to sign"])
        self.assertEqual([(key[0], key[1], key[3]) for key in keys],
                         [(SECP256K1, "04" + self.device.public(2).hex(), "sequencer (0x0002)"),
                          (P256, "04" + self.device.public(3).hex(), "p (0x0003)"),
                          (ED25519, self.device.public(0x1234).hex(), "consensus\\x0a (0x1234)")])
        self.assertEqual(driver.list()[0], keys)
        for key, private in zip(keys, (k256, p256)):
            for _ in range(3):
                self.verify(private, self.ok(driver.say(f"sign {key[2]} {DIGEST.hexdigest()}")))
        message = b"a message of any length" * 40
        edwards.public_key().verify(bytes.fromhex(self.ok(driver.say(f"sign {keys[2][2]} {message.hex()}"))), message)
        self.assertEqual(len(self.device.sessions), 1)
        self.assertIn("INVALID_INPUT", driver.say(f"sign {keys[0][2]} 00")[2])
        self.assertIn("LIMIT", driver.say(f"sign {keys[2][2]} {'00' * 2001}")[2])
        del self.device.objects[2, yubihsm.ASYMMETRIC]
        self.assertIn("NOT_FOUND", driver.say(f"sign {keys[0][2]} {DIGEST.hexdigest()}")[2])
        self.verify(p256, self.ok(driver.say(f"sign {keys[1][2]} {DIGEST.hexdigest()}")))
        driver.close()
        self.assertEqual(self.device.sessions, {})

    def test_domains(self):
        self.device.add_key(2, yubihsm.K256, "a", domains=1)
        self.device.add_key(3, yubihsm.K256, "b", domains=2)
        self.assertEqual([key[3] for key in self.driver(domains=2).list()[0]], ["b (0x0003)"])

    def test_wrapping(self):
        self.device.add_key(9, yubihsm.CCM_WRAP, "bls wrap")
        self.device.add_key(10, yubihsm.CCM_WRAP, "another")
        driver = self.driver()
        blob = self.ok(driver.say("wrap id=9 aabb 11223344"))
        self.assertEqual(len(blob), 2 * (13 + 32 + 4 + 16))
        self.assertEqual(self.ok(driver.say(f"unwrap id=9 aabb {blob}")), "11223344")
        again = self.ok(driver.say("wrap another aabb 11223344"))
        self.assertEqual(self.ok(driver.say(f"unwrap another aabb {again}")), "11223344")
        self.assertIn("DENIED what is wrapped belongs to another key", driver.say(f"unwrap id=9 aabc {blob}")[2])
        self.assertIn("DENIED", driver.say(f"unwrap another aabb {blob}")[2])
        self.assertIn("DENIED", driver.say(f"unwrap id=9 aabb {blob[:-2]}{int(blob[-2:], 16) ^ 1:02x}")[2])
        self.assertIn("INVALID_INPUT", driver.say("unwrap id=9 aabb 00")[2])
        self.assertIn("NOT_FOUND", driver.say("wrap none aabb 11")[2])
        self.assertIn("USAGE", driver.say("wrap id=70000 aabb 11")[2])


class Faults(YubiHsmTest):
    def setUp(self):
        super().setUp()
        self.key = self.device.add_key(2, yubihsm.K256, "sequencer")

    def sign(self, driver):
        return driver.say(f"sign {(SECP256K1 << 24) + 2} {DIGEST.hexdigest()}")

    def test_session_that_the_device_dropped(self):
        driver = self.driver()
        for _ in range(3):
            self.verify(self.key, self.ok(self.sign(driver)))
            self.device.sessions.clear()

    def test_wrong_password_is_tried_once(self):
        self.file("password", "wrong")
        driver = self.driver()
        self.assertIn("DENIED the password is not that of", self.sign(driver)[2])
        tried = dict(self.device.sessions)
        for _ in range(3):
            self.assertIn("tried again when", self.sign(driver)[2])
        self.assertEqual(self.device.sessions.keys(), tried.keys())
        self.assertEqual(self.device.refused, 0)  # the device's own cryptogram told it already
        self.assertIn("ill", driver.say("health")[2])
        self.file("password", "password")
        self.verify(self.key, self.ok(self.sign(driver)))
        self.assertIn("well in session", driver.say("health")[2])

    def test_answers_that_are_not_the_devices(self):
        driver = self.driver()
        self.ok(self.sign(driver))
        self.device.spoil = True
        self.assertIn("UNAVAILABLE an answer that is not the YubiHSM's own", self.sign(driver)[2])
        self.ok(self.sign(driver))

    def test_words_of_the_device(self):
        driver = self.driver()
        for code, words in ((9, "DENIED"), (0x0A, "log is full"), (0x0B, "NOT_FOUND"), (0x10, "0x10")):
            self.device.fault = code
            self.assertIn(words, self.sign(driver)[2])
        self.ok(self.sign(driver))
        self.assertEqual(len(self.device.sessions), 1)

    def test_device_pulled_and_put_back(self):
        driver = self.driver()
        self.ok(self.sign(driver))
        self.device.status = 500
        self.assertIn("UNAVAILABLE", self.sign(driver)[2])
        self.device.status = 200
        self.device.sessions.clear()
        self.ok(self.sign(driver))

    def test_sessions_full(self):
        self.device.sessions = dict.fromkeys(range(16))
        driver = self.driver()
        self.assertIn("UNAVAILABLE all sessions", self.sign(driver)[2])
        self.device.sessions.clear()
        self.ok(self.sign(driver))

    def test_settings(self):
        self.assertIn("no authentication key 7", self.driver(auth_key_id=7).list()[2])
        self.assertIn("use https", self.driver(connector_url="http://hsm.example:12345").opened)
        self.assertIn("auth_key_id", self.driver(auth_key_id=0).opened)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
