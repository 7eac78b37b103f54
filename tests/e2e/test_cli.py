"""What a person meets who types something wrong: one specific line on stderr, and the right exit status."""

import json
import os
import pty
import re
import subprocess

import pytest

from harness import HOLDFAST, ROOT, run, write_private


def refused(done, sentence, status=2):
    """One line, exactly this, and nothing on stdout."""
    assert done.stderr == f"holdfast: {sentence}\n"
    assert done.stdout == ""
    assert done.returncode == status


@pytest.fixture(name="folder")
def scratch_folder(tmp_path, monkeypatch):
    """A working directory of one's own and none of our variables."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(folder, text):
    (folder / "holdfast.yaml").write_text(text, encoding="utf-8")


def test_version():
    done = run("--version")
    with open(os.path.join(ROOT, "meson.build"), encoding="utf-8") as build:
        version = re.search(r"version: '([^']+)'", build.read()).group(1)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"holdfast {version}\n", "")
    assert run("-V").stdout == done.stdout


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0
    for name in ("serve", "check", "doctor", "key", "slashing", "audit", "db"):
        assert re.search(rf"^  {name} ", done.stdout, re.M)
    assert run("help").stdout == done.stdout


@pytest.mark.parametrize("arguments, sentence", [
    ([], "which command? see holdfast --help"),
    (["sreve"], "sreve: no such command; see holdfast --help"),
    (["--verison"], "--verison: no such command; see holdfast --help"),
    (["check", "--shwo"], "--shwo: no such option; see holdfast check --help"),
    (["check", "-x"], "-x: no such option; see holdfast check --help"),
    (["check", "--config"], "--config: needs an argument (FILE)"),
    (["check", "-c"], "--config: needs an argument (FILE)"),
    (["check", "--config="], "--config: empty; give FILE"),
    (["check", "--conf", "x"], "--config: write it in full; see holdfast check --help"),
    (["check", "--conf=x"], "--config: write it in full; see holdfast check --help"),
    (["check", "--js"], "--json: write it in full; see holdfast check --help"),
    (["check", "--show=yes"], "--show: takes no argument"),
    (["check", "--help=yes"], "--help: takes no argument"),
    (["check", "-c", "a", "-c", "b"], "--config: given twice; see holdfast check --help"),
    (["check", "holdfast.yaml"], "holdfast.yaml: does not go with check; see holdfast check --help"),
    (["check", "--show", "--keys"], "--show, --keys and --json do not go together"),
    (["serve", "now"], "now: does not go with serve; see holdfast serve --help"),
    (["check", "\x1b[31m"], "\\x1b[31m: does not go with check; see holdfast check --help"),
])
def test_wrong_usage(folder, arguments, sentence):
    assert folder
    refused(run(*arguments), sentence)


@pytest.mark.parametrize("text, sentence", [
    ("data_dri: x\n", "holdfast.yaml:1: data_dri: unknown key; did you mean data_dir?"),
    ("data_dir: x\nserver:\n  listen_port: many\n",
     "holdfast.yaml:3: server.listen_port: many: give a number from 0 to 65535"),
    ("data_dir: x\nserver: {listen_address: 0.0.0.0}\n",
     "holdfast.yaml:2: server.listen_address: 0.0.0.0 is reachable by others, who could then ask for signatures; "
     "require tokens (auth.mode) or client certificates (server.tls.cert, key and client_ca or known_clients), or listen on 127.0.0.1"),
    ("data_dir: x\nslashing_protection: {backend: none}\n",
     "holdfast.yaml:2: slashing_protection.backend: none: give one of: sqlite postgres dynamodb"),
    ("data_dir: x\nslashing_protection: {backend: postgres}\n",
     "holdfast.yaml:2: slashing_protection.backend: postgres needs either slashing_protection.url or, for a URL with a "
     "password, slashing_protection.url_file"),
    ("data_dir: [\n", "holdfast.yaml:2: the file: not YAML: did not find expected node content"),
    ("", "data_dir: not set; give --data-dir DIR, HOLDFAST_DATA_DIR, or data_dir in the file given by -c"),
])
@pytest.mark.parametrize("command", ["check", "serve"])
def test_wrong_configuration_stops_the_start(folder, command, text, sentence):
    configure(folder, text)
    refused(run(command, "-c", "holdfast.yaml"), sentence)
    assert sorted(os.listdir(folder)) == ["holdfast.yaml"], "nothing was made"


def test_missing_file(folder):
    refused(run("check", "-c", "gone.yaml"), f"{folder}/gone.yaml: No such file or directory")


def test_open_password_file(folder):
    (folder / "keys").mkdir()
    write_private("pw.txt", "secret")
    flags = ["--data-dir", "data", "--keystore-dir", "keys", "--password-file", "pw.txt"]
    assert run("check", *flags).returncode == 0
    (folder / "pw.txt").chmod(0o644)
    refused(run("check", *flags),
            f"--password-file: {folder}/pw.txt: others can read this secret (mode 644): chmod 600 it")


def test_a_lone_root_is_no_network_to_sign_for(folder):
    assert folder
    sentence = ("--genesis-validators-root: of no known network, and signing needs more than the root; give --network "
                "a YAML file")
    for command in ("check", "serve"):
        refused(run(command, "--data-dir", "data", "--genesis-validators-root", "0x" + "11" * 32), sentence)


def test_check_says_what_is_good(folder):
    configure(folder, "data_dir: data\nnetwork: hoodi\n")
    done = run("check", "-c", "holdfast.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"good: hoodi, 0 key sources, data in {folder}/data\n"


def test_check_as_json(folder):
    configure(folder, "data_dir: data\n")
    done = run("check", "-c", "holdfast.yaml", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"valid": True})
    configure(folder, "data_dir: data\n\"a\\\"b\": 1\n")
    done = run("check", "-c", "holdfast.yaml", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["valid"] is False
    assert json.loads(done.stdout)["error"].startswith("holdfast.yaml:2: ")


def test_show_names_every_origin(folder):
    configure(folder, "data_dir: data\nmetrics: {listen_port: 0}\n")
    done = run("check", "-c", "holdfast.yaml", "--show", "--listen", "[::1]:9999",
               env={"HOLDFAST_LOG_LEVEL": "debug"})
    assert done.returncode == 0
    values = dict(re.findall(r"^ *(\w+: \S+) +# (.*)$", done.stdout, re.M))
    assert values[f"data_dir: {folder}/data"] == "holdfast.yaml:1"
    assert values["listen_address: ::1"] == "--listen"
    assert values["listen_port: 9999"] == "--listen"
    assert values["listen_port: 0"] == "holdfast.yaml:2"
    assert values["level: debug"] == "HOLDFAST_LOG_LEVEL"
    assert values["network: mainnet"] == "default"


def test_unknown_variables_are_refused(folder):
    assert folder
    refused(run("check", "--data-dir", "data", env={"HOLDFAST_LISTEN": "x"}),
            "HOLDFAST_LISTEN in the environment: no such setting; unset it, or see `holdfast check --keys`")


def test_keys_can_be_listed_anywhere(folder):
    assert folder
    done = run("check", "--keys")
    assert done.returncode == 0
    assert "\nserver.listen_port: number from 0 to 65535, default 9000; HOLDFAST_SERVER_LISTEN_PORT, --listen\n" \
        in done.stdout


def test_the_example_is_good():
    done = run("check", "-c", os.path.join(ROOT, "packaging", "holdfast.example.yaml"), "--data-dir", "/tmp/holdfast-x")
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([HOLDFAST, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "holdfast: the output could not be written\n"


def test_no_colour_or_escape_reaches_a_terminal(folder):
    """A file name from a stranger cannot play with the terminal."""
    assert folder
    done = run("check", "-c", "\x1b]0;title\x07.yaml", "--data-dir", "data")
    assert "\x1b" not in done.stderr and "\x07" not in done.stderr
    assert done.returncode == 2


def test_errors_look_the_same_on_a_terminal(folder):
    assert folder
    leader, follower = pty.openpty()
    done = subprocess.run([HOLDFAST, "check"], stdin=follower, stdout=follower, stderr=follower, check=False)
    os.close(follower)
    text = os.read(leader, 4096).decode()
    os.close(leader)
    assert done.returncode == 2
    assert text.startswith("holdfast: data_dir: not set; ")
