"""Passphrases: by a private file, a descriptor, or a terminal that does not show them."""

import os
import pty
import select
import time

import pytest

from harness import HOLDFAST, PATIENCE, run, write_private

CHEAP = ["--kdf", "pbkdf2", "--kdf-cost", "1", "--count", "1"]


def new_key(folder, *more):
    return run("key", "new", "--keystore-dir", folder / "keys", "--mnemonic-output", folder / "words", *CHEAP, *more)


def opens(folder, password):
    """Does this password open what was made in folder? It is imported, which decrypts it."""
    write_private(folder / "probe", password)
    done = run("key", "import", folder / "keys", "--data-dir", folder / "data", "--password-file", folder / "probe",
               "--json")
    return done.returncode == 0


class Terminal:
    """`holdfast ...` on a terminal of its own."""

    def __init__(self, *arguments):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(HOLDFAST, ["holdfast", *[str(a) for a in arguments]])

    def wait_for(self, text):
        """Reads until text was printed once more."""
        end = time.monotonic() + PATIENCE
        start = len(self.seen)
        while text not in self.seen[start:]:
            assert time.monotonic() < end, f"{text!r} did not come in {self.seen!r}"
            if not self.read_some():
                raise AssertionError(f"{text!r} did not come in {self.seen!r}")

    def read_some(self):
        if not select.select([self.fd], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self.fd, 4096)
        except OSError:  # the other end is gone
            return False
        self.seen += data.decode()
        return bool(data)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Exit status, when everything was read."""
        while self.read_some():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize("text", ["correct horse\n", "correct horse\r\n", "correct horse"])
def test_one_newline_at_the_end_is_not_meant(tmp_path, text):
    write_private(tmp_path / "pw", text)
    assert new_key(tmp_path, "--password-file", tmp_path / "pw").returncode == 0
    assert opens(tmp_path, "correct horse")


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_empty_file(tmp_path, text):
    write_private(tmp_path / "pw", text)
    done = new_key(tmp_path, "--password-file", tmp_path / "pw")
    assert (done.returncode, done.stderr) == (1, f"holdfast: {tmp_path}/pw: an empty passphrase\n")


def test_open_file_is_refused(tmp_path):
    write_private(tmp_path / "pw", "correct horse")
    os.chmod(tmp_path / "pw", 0o640)
    done = new_key(tmp_path, "--password-file", tmp_path / "pw")
    assert done.returncode == 1
    assert done.stderr == f"holdfast: {tmp_path}/pw: others can read this secret (mode 640): chmod 600 it\n"
    assert not (tmp_path / "words").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root a file")
def test_a_credential_of_systemd_is_not_open(tmp_path):
    """Root's, for root's group and whomever its ACL names: mode 0440 since version 254."""
    write_private(tmp_path / "pw", "correct horse")
    os.chmod(tmp_path / "pw", 0o440)
    done = new_key(tmp_path, "--password-file", tmp_path / "pw")
    assert done.returncode == 0, done.stderr
    assert opens(tmp_path, "correct horse")


def test_descriptor(tmp_path):
    done = run("key", "new", "--keystore-dir", tmp_path / "keys", "--mnemonic-output", tmp_path / "words", *CHEAP,
               "--password-fd", "0", stdin="correct horse\n")
    assert done.returncode == 0
    assert opens(tmp_path, "correct horse")


@pytest.mark.parametrize("number", ["99", "x", "-1", "1e1"])
def test_descriptor_that_is_none(tmp_path, number):
    done = new_key(tmp_path, f"--password-fd={number}")
    assert (done.returncode, done.stderr) == (2, f"holdfast: {number}: not an open file descriptor\n")


def test_no_terminal_to_ask_at(tmp_path):
    """As a service has it: a session without a terminal."""
    script = f"exec setsid {HOLDFAST} key new --keystore-dir {tmp_path}/k --mnemonic-output {tmp_path}/w"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"{script} </dev/null >{tmp_path}/out 2>&1"], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert (tmp_path / "out").read_text() == ("holdfast: Password of the keystores: there is no terminal to ask at; "
                                              "give it by a file or a descriptor\n")


def terminal_for_new(folder):
    return Terminal("key", "new", "--keystore-dir", folder / "keys", "--mnemonic-output", folder / "words", *CHEAP)


def test_terminal_does_not_show_it(tmp_path):
    terminal = terminal_for_new(tmp_path)
    terminal.wait_for("Password of the keystores: ")
    terminal.type("correct horse\n")
    terminal.wait_for("The same again: ")
    terminal.type("correct horse\n")
    assert terminal.end() == 0
    assert "horse" not in terminal.seen
    assert opens(tmp_path, "correct horse")


@pytest.mark.parametrize("first, second, sentence", [
    ("correct horse\n", "correct hose\n", "the two passphrases differ"),
    ("\n", None, "Password of the keystores: an empty passphrase"),
    ("abc\x03", None, "interrupted"),
    ("\x04", None, "no passphrase: the terminal was closed"),
])
def test_terminal_refuses(tmp_path, first, second, sentence):
    terminal = terminal_for_new(tmp_path)
    terminal.wait_for("Password of the keystores: ")
    terminal.type(first)
    if second is not None:
        terminal.wait_for("The same again: ")
        terminal.type(second)
    assert terminal.end() == 1
    assert f"holdfast: {sentence}\r\n" in terminal.seen
    assert not (tmp_path / "keys").exists() or not os.listdir(tmp_path / "keys")
