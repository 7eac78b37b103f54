"""Runs drive_custody, and speaks to it."""

import subprocess


class Driver:
    def __init__(self, program, backend, **settings):
        self.process = subprocess.Popen([program, backend, *(f"{k}={v}" for k, v in settings.items())], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.opened = self.answer()[2]

    def answer(self):
        keys, failed = [], []
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "key":
                kind, secret, source, name = rest.split(" ", 3)
                keys.append((int(kind), secret, source, name))
            elif word == "failed":
                failed.append(rest)
            else:
                return keys, failed, rest
        raise EOFError("the driver has ended")

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def list(self, milliseconds=20000):
        return self.say(f"list {milliseconds}")

    def close(self):
        if self.process.stdin.closed:
            return self.process.wait()
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(timeout=30)
