"""A YubiHSM 2 in software behind its connector's HTTP, for tests: the session protocol and the
commands that Holdfast uses, by Yubico's documentation, with python3-cryptography's primitives."""

import hashlib
import os
import struct
import threading
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.cmac import CMAC

import http_double

ASYMMETRIC, WRAP = 3, 4
P256, K256, ED25519, CCM_WRAP = 12, 15, 46, 29
SIGN_ECDSA, SIGN_EDDSA, WRAP_DATA, UNWRAP_DATA = 7, 8, 37, 38
ALL_DOMAINS = 0xFFFF


def cmac(key, text):
    mac = CMAC(algorithms.AES(key))
    mac.update(text)
    return mac.finalize()


def derive(key, constant, challenges, bits):
    return cmac(key, bytes(11) + bytes([constant, 0]) + struct.pack(">H", bits) + b"\x01" + challenges)[:bits // 8]


class Session:
    """The device's side of a session."""

    def __init__(self, number, password, host, card):
        keys = hashlib.pbkdf2_hmac("sha256", password.encode(), b"Yubico", 10000, 32)
        self.number, challenges = number, host + card
        self.enc = derive(keys[:16], 4, challenges, 128)
        self.mac = derive(keys[16:], 6, challenges, 128)
        self.rmac = derive(keys[16:], 7, challenges, 128)
        self.card_cryptogram = derive(self.mac, 0, challenges, 64)
        self.host_cryptogram = derive(self.mac, 1, challenges, 64)
        self.chain, self.counter, self.is_open, self.used = bytes(16), 1, False, time.monotonic()

    def check(self, message):
        """The MAC of a message from the host; chains it when it is right."""
        mac = cmac(self.mac, self.chain + message[:-8])
        if mac[:8] != message[-8:]:
            return False
        self.chain = mac
        return True

    def cipher(self):
        iv = Cipher(algorithms.AES(self.enc), modes.ECB()).encryptor().update(bytes(12) + struct.pack(">I", self.counter))
        return Cipher(algorithms.AES(self.enc), modes.CBC(iv))

    def open(self, data):
        plain = self.cipher().decryptor().update(data)
        return plain.rstrip(b"\x00")[:-1]

    def seal(self, inner):
        padded = inner + b"\x80" + bytes(-(len(inner) + 1) % 16)
        data = bytes([self.number]) + self.cipher().encryptor().update(padded)
        self.counter += 1
        message = struct.pack(">BH", 0x85, len(data) + 8) + data
        return message + cmac(self.rmac, self.chain + message)[:8]


class Device:
    def __init__(self, password="password", auth_key=1):
        self.password, self.auth_key = password, auth_key
        self.objects = {}  # (number, type): algorithm, label, capabilities, domains, sequence, key
        self.sessions = {}
        self.counts = {}
        self.refused = 0  # wrong cryptograms
        self.fault = None  # the code of the next answer to a command
        self.spoil = False  # a bit of the next session's answer
        self.delay = 0.0
        self.status = 200
        self.lock = threading.Lock()
        self.random = os.urandom
        self.server = http_double.Server(type("Handler", (Handler,), {"device": self}))
        self.url = self.server.url

    def close(self):
        self.server.close()

    def add_key(self, number, algorithm, label, capabilities=(SIGN_ECDSA, SIGN_EDDSA), domains=ALL_DOMAINS):
        made = {P256: lambda: ec.generate_private_key(ec.SECP256R1()), K256: lambda: ec.generate_private_key(ec.SECP256K1()),
                ED25519: ed25519.Ed25519PrivateKey.generate, CCM_WRAP: lambda: AESCCM(os.urandom(16))}
        kind = WRAP if algorithm == CCM_WRAP else ASYMMETRIC
        if kind == WRAP:
            capabilities = (WRAP_DATA, UNWRAP_DATA)
        key = made.get(algorithm, lambda: None)()
        mask = sum(1 << bit for bit in capabilities)
        self.objects[number, kind] = (algorithm, label, mask, domains, 0, key)
        return key

    def public(self, number):
        algorithm, *_, key = self.objects[number, ASYMMETRIC]
        if algorithm == ED25519:
            return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        point = key.public_key().public_numbers()
        return point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")

    # ---- messages

    def take(self, message):
        command, length = struct.unpack(">BH", message[:3])
        if len(message) != length + 3:
            return b"\x7f\x00\x01\x08"
        try:
            if command == 3:
                return self.create(message[3:])
            return self.authenticate(message) if command == 4 else self.session_message(message)
        except KeyError:
            return b"\x7f\x00\x01\x03"

    def create(self, data):
        number = next((n for n in range(16) if n not in self.sessions), None)
        if number is None:
            return b"\x7f\x00\x01\x05"
        if struct.unpack(">H", data[:2])[0] != self.auth_key:
            return b"\x7f\x00\x01\x0b"
        card = self.random(8)
        session = self.sessions[number] = Session(number, self.password, data[2:], card)
        body = bytes([number]) + card + session.card_cryptogram
        return struct.pack(">BH", 0x83, len(body)) + body

    def authenticate(self, message):
        session = self.sessions[message[3]]
        if not session.check(message) or message[4:12] != session.host_cryptogram:
            self.refused += 1
            del self.sessions[message[3]]
            return b"\x7f\x00\x01\x04"
        session.is_open = True
        return b"\x84\x00\x00"

    def session_message(self, message):
        session = self.sessions[message[3]]
        if not session.is_open or not session.check(message):
            return b"\x7f\x00\x01\x04"
        inner = session.open(message[4:-8])
        command, _ = struct.unpack(">BH", inner[:3])
        code, self.fault = self.fault, None
        answer = code if code else self.run(command, inner[3:])
        if isinstance(answer, int):
            return session.seal(struct.pack(">BHB", 0x7F, 1, answer))
        sealed = session.seal(struct.pack(">BH", command | 0x80, len(answer)) + answer)
        if command == 0x40:
            del self.sessions[message[3]]
        if self.spoil:
            self.spoil, sealed = False, sealed[:-1] + bytes([sealed[-1] ^ 1])
        return sealed

    def run(self, command, data):
        self.counts[command] = self.counts.get(command, 0) + 1
        commands = {0x01: lambda d: d, 0x40: lambda _: b"", 0x48: self.list, 0x4E: self.info, 0x54: self.public_key,
                    0x56: self.sign, 0x6A: self.sign, 0x68: self.wrap, 0x69: self.wrap}
        if command not in commands:
            return 1
        if command in (0x56, 0x6A):
            return self.sign(data, command == 0x6A)
        return self.wrap(data, command == 0x68) if command in (0x68, 0x69) else commands[command](data)

    def list(self, data):
        kind, domains, label = None, ALL_DOMAINS, None
        while data:
            if data[0] == 2:
                kind, data = data[1], data[2:]
            elif data[0] == 3:
                domains, data = struct.unpack(">H", data[1:3])[0], data[3:]
            elif data[0] == 6:
                label, data = data[1:41].rstrip(b"\x00").decode(), data[41:]
            else:
                return 2
        return b"".join(struct.pack(">HBB", number, object_kind, found[4]) for (number, object_kind), found in
                        sorted(self.objects.items()) if kind in (None, object_kind) and found[3] & domains and
                        label in (None, found[1]))

    def info(self, data):
        number, kind = struct.unpack(">HB", data)
        if (number, kind) not in self.objects:
            return 0x0B
        algorithm, label, mask, domains, sequence, _ = self.objects[number, kind]
        return struct.pack(">QHHHBBBB", mask, number, 32, domains, kind, algorithm, sequence, 1) + \
            label.encode().ljust(40, b"\x00") + bytes(8)

    def public_key(self, data):
        number = struct.unpack(">H", data)[0]
        if (number, ASYMMETRIC) not in self.objects:
            return 0x0B
        return bytes([self.objects[number, ASYMMETRIC][0]]) + self.public(number)

    def sign(self, data, is_eddsa):
        found = self.objects.get((struct.unpack(">H", data[:2])[0], ASYMMETRIC))
        if not found:
            return 0x0B
        if not found[2] >> (SIGN_EDDSA if is_eddsa else SIGN_ECDSA) & 1:
            return 9
        if (found[0] == ED25519) != is_eddsa:
            return 2
        if is_eddsa:
            return found[5].sign(data[2:])
        return found[5].sign(data[2:], ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    def wrap(self, data, wraps):
        found = self.objects.get((struct.unpack(">H", data[:2])[0], WRAP))
        if not found:
            return 0x0B
        if wraps:
            nonce = self.random(13)
            return nonce + found[5].encrypt(nonce, data[2:], None)
        try:
            return found[5].decrypt(data[2:15], data[15:], None)
        except Exception:  # pylint: disable=broad-except
            return 2


class Handler(http_double.Handler):
    device = None

    def do_POST(self):
        message = self.rfile.read(int(self.headers["Content-Length"]))
        device = self.device
        time.sleep(device.delay)
        good = self.path == "/connector/api" and device.status == 200
        with device.lock:
            body = device.take(message) if good else b""
        self.send_response(200 if good else device.status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
