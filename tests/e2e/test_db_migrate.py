"""`holdfast db migrate` on a real PostgreSQL: ten at once, down only without protection, clear refusals."""

import json
import os
import subprocess

import harness
import postgres
import pytest

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NODES = 10


@pytest.fixture(name="server", scope="module")
def private_server():
    with postgres.Postgres(fsync=False) as server:
        yield server


@pytest.fixture(name="url")
def empty_database(server, request):
    return server.create_database(request.node.name.replace("[", "_").replace("]", "_")[:60])


def migrate(direction, url, *more):
    return harness.run("db", "migrate", direction, "--database-url", url, "--set", "slashing", *more)


def state(url):
    done = migrate("status", url, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["slashing"]


def name_of(url):
    return url.rpartition("/")[2]


def test_ten_at_once(url):
    nodes = [subprocess.Popen([harness.HOLDFAST, "db", "migrate", "up", "--database-url", url], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) for _ in range(NODES)]
    for node in nodes:
        out, err = node.communicate(timeout=harness.PATIENCE)
        assert (node.returncode, err) == (0, "")
        assert "slashing: version 3 of 3, 0 records; Web3Signer's tables of version 12\n" in out
    assert state(url) == {"version": 3, "latest": 3, "records": 0}


def test_down_keeps_protection(server, url):
    assert migrate("up", url).returncode == 0
    server.psql("INSERT INTO validators(public_key) VALUES ('\\x01');"
                "INSERT INTO signed_blocks(validator_id, slot) VALUES (1, 5)", name_of(url))
    refused = migrate("down", url)
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr == ("holdfast: slashing: that would forget 1 records of what was signed, of keys or tokens: export "
                              "them first, and say --discard-protection if that is what you mean\n")
    assert state(url)["records"] == 1
    assert migrate("down", url, "--discard-protection").returncode == 0
    assert state(url) == {"version": 0, "latest": 3, "records": 0}
    assert server.psql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace", name_of(url)) == "0"


def test_one_version_up_and_down(server, url):
    """Nodes are upgraded one by one: the older schema serves as it is, and becomes the newer one without a stop."""
    assert migrate("up", url).returncode == 0
    assert server.psql("SELECT readable_from FROM holdfast_schema WHERE name = 'slashing'", name_of(url)) == "1"
    undo = {2: "DROP TABLE holdfast_marks, holdfast_store, holdfast_anchors", 1: "DROP TABLE holdfast_records"}
    for last in (2, 1):
        for version in range(2, last - 1, -1):
            server.psql(f"{undo[version]}; UPDATE holdfast_schema SET version = {version} WHERE name = 'slashing'", name_of(url))
        assert state(url) == {"version": last, "latest": 3, "records": 0}
        assert migrate("up", url).returncode == 0
        assert state(url)["version"] == 3
    server.psql("UPDATE holdfast_records SET kind = 3 WHERE kind = 0", name_of(url))
    refused = migrate("down", url)
    assert refused.returncode == 1 and "that would forget 1 records" in refused.stderr


def test_tables_of_web3signer_stay(server, url):
    assert migrate("up", url).returncode == 0
    server.psql("DROP TABLE holdfast_marks, holdfast_store, holdfast_anchors, holdfast_records; DROP TABLE holdfast_votes; DROP TABLE holdfast_schema", name_of(url))
    assert migrate("up", url).returncode == 0
    assert "which stay whatever is removed here" in migrate("status", url).stdout
    assert migrate("down", url).returncode == 0
    assert server.psql("SELECT version FROM database_version", name_of(url)) == "12"


def test_url_from_a_file(url, tmp_path):
    path = tmp_path / "url"
    harness.write_private(path, url + "\n")
    done = harness.run("db", "migrate", "status", "--set", "slashing", "--database-url-file", path)
    assert (done.returncode, done.stdout) == (0, "slashing: not there\n")
    os.chmod(path, 0o644)
    done = harness.run("db", "migrate", "status", "--database-url-file", path)
    assert done.returncode == 1 and str(path) in done.stderr and "chmod" in done.stderr


@pytest.mark.parametrize("arguments, sentence", [
    (("up",), "give one of --database-url and --database-url-file"),
    (("sideways", "--database-url", "postgresql://h/d"), "db migrate: sideways: up, down or status"),
    (("up", "--database-url", "postgresql://h/d", "--set", "x"), "--set: x: no such set; see holdfast db migrate status"),
    (("up", "--database-url", "postgresql://u:sec/ret@h/d"), "slashing: the database URL cannot be read: "
     "postgresql://USER@HOST:PORT/DATABASE, with a password only in percent-encoding"),
])
def test_wrong_usage(arguments, sentence):
    done = harness.run("db", "migrate", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"holdfast: {sentence}\n")


def test_refusals_say_what_to_do(server, url):
    wrong = server.url(name_of(url), password="wrong")
    done = migrate("up", wrong)
    assert done.returncode == 1 and "check the user and password in the URL" in done.stderr and "wrong" not in done.stderr
    done = migrate("up", server.url("not_there"))
    assert done.returncode == 1 and "create it, or correct the URL" in done.stderr
    done = migrate("up", server.url(port=1))
    assert done.returncode == 1 and "Connection refused" in done.stderr
    server.psql("CREATE TABLE database_version(id int PRIMARY KEY, version int)", name_of(url))
    done = migrate("up", url)
    assert done.returncode == 1 and "some tables of slashing protection are there and some are not" in done.stderr
