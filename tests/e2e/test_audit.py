"""The audit log of a running signer: what it says, what is found when somebody edits it, and what happens without it."""

import os
import re
import resource
import shutil

import audit
import harness
import pytest
from conftest import wait_for


def until_written(signer, condition):
    """Results are written a second later at most."""
    return wait_for("the line", lambda: condition(audit.lines(signer.data_dir)), harness.PATIENCE)


def kinds(lines):
    return [line["kind"] for line in lines]


def result_of(lines, request):
    return next((line for line in lines if line.get("of") == request["seq"]), None)


def test_says_who_asked_for_what_and_what_came_of_it(signer):
    key = signer.pubkeys[0]
    assert signer.attest(key, source=1, target=2)[0] == 200
    assert signer.attest(key, source=1, target=2, mark=7)[0] == 412
    assert signer.sign("0x" + "ab" * 48, harness.attestation(1, 2))[0] == 404
    lines = until_written(signer, lambda found: kinds(found).count("result") == 2 and "refused" in kinds(found) and found)
    requests = [line for line in lines if line["kind"] == "request"]
    assert [(r["key"], r["operation"], r["source_epoch"], r["target_epoch"]) for r in requests] == \
        2 * [(key, "ATTESTATION", "1", "2")]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", r["peer"]) and re.fullmatch("0x[0-9a-f]{64}", r["root"]) for r in requests)
    assert result_of(lines, requests[0])["decision"] == "signed"
    refusal = result_of(lines, requests[1])
    assert (refusal["decision"], refusal["reason"]) == ("refused", "DOUBLE_VOTE")
    refused = [line for line in lines if line["kind"] == "refused"]
    assert [(line["reason"], line["key"]) for line in refused] == [("UNKNOWN_KEY", "0x" + "ab" * 48)]
    audit.assert_holds(signer.data_dir)
    told = signer.status()["audit"]
    assert told["enabled"] and told["healthy"] and not told["broken"] and told["sync"] == "always"
    shown = harness.run("audit", "show", "--data-dir", signer.data_dir, "--pubkey", key, audit.files(signer.data_dir)[0])
    assert shown.returncode == 0 and "reason=DOUBLE_VOTE" in shown.stdout and "UNKNOWN_KEY" not in shown.stdout


def test_other_deeds_have_lines(signer):
    assert harness.run("slashing", "export", "-c", signer.config_path).returncode == 0
    assert signer.request("POST", "/reload")[0] == 202
    assert harness.run("slashing", "watermark-repair", "-c", signer.config_path, "--set-high-watermark",
                       "--epoch", "900", "--slot", "90000").returncode == 0
    wait_for("the lines", lambda: {"record_exported", "reloaded", "watermark"} <=
             {line["kind"] for line in audit.lines(signer.data_dir)}, harness.PATIENCE)
    (mark,) = audit.of_kind(signer.data_dir, "watermark")
    assert mark["token"] == "admin" and "slot 90000" in mark["text"] and mark["decision"] == "done"


def stopped_after_some(signer, votes=6):
    for i in range(votes):
        assert signer.attest(signer.pubkeys[0], source=i, target=i + 1)[0] == 200
    signer.stop()
    return audit.assert_holds(signer.data_dir), os.path.join(signer.data_dir, "audit.log")


def edit(path, change):
    with open(path, "rb+") as log:
        lines = log.read().splitlines(keepends=True)
        log.seek(0)
        log.truncate()
        log.write(b"".join(change(lines)))


EDITS = {
    "a byte": lambda lines: lines[:5] + [lines[5].replace(b'"kind"', b'"Kind"')] + lines[6:],
    "a member": lambda lines: lines[:5] + [re.sub(rb'"decision":"\w+"', b'"decision":"signec"', lines[5])
                                           .replace(b'"request"', b'"resultt"')] + lines[6:],
    "a line removed": lambda lines: lines[:4] + lines[5:],
    "lines swapped": lambda lines: lines[:4] + [lines[5], lines[4]] + lines[6:],
    "a line repeated": lambda lines: lines[:5] + [lines[4]] + lines[5:],
    "the beginning cut": lambda lines: lines[3:],
    "a line of somebody's own": lambda lines: lines[:5] + [lines[4].replace(b'"seq":5', b'"seq":6')] + lines[5:],
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_are_found(signers, name):
    signer = signers(keys=1).start()
    _, path = stopped_after_some(signer)
    edit(path, EDITS[name])
    done = audit.verify(signer.data_dir, paths=[path])
    assert done.returncode == 1 and re.search(r"line \d+: ", done.stderr), done


def test_a_cut_end_is_found_by_the_head_and_at_the_start(signers):
    signer = signers(keys=1).start()
    head, path = stopped_after_some(signer)
    edit(path, lambda lines: lines[:-4])
    os.unlink(path + ".journal")
    assert audit.verify(signer.data_dir, paths=[path]).returncode == 0
    done = audit.verify(signer.data_dir, "--head", head, paths=[path])
    assert done.returncode == 1 and "lines are missing at the end" in done.stderr
    signer.start()
    assert signer.has_logged("audit_broken", "lines are missing")
    assert signer.status()["audit"]["broken"]
    assert 'holdfast_audit_broken 1' in signer.metrics()
    (mended,) = audit.of_kind(signer.data_dir, "mended")
    assert "lines are missing" in mended["text"]
    assert mended["seq"] > int(head.partition(":")[0])


def test_an_older_file_in_its_place_is_found_at_the_start(signers):
    signer = signers(keys=1).start()
    _, path = stopped_after_some(signer)
    shutil.copy(path, path + "-copy")
    signer.start()
    assert signer.attest(signer.pubkeys[0], source=20, target=21)[0] == 200
    signer.stop()
    os.replace(path + "-copy", path)
    os.unlink(path + ".journal")
    signer.start()
    assert signer.has_logged("audit_broken") and signer.status()["audit"]["broken"]


def test_after_a_kill_nothing_is_broken(signers):
    signer = signers(keys=1).start()
    for i in range(5):
        assert signer.attest(signer.pubkeys[0], source=i, target=i + 1)[0] == 200
    signer.kill()
    path = os.path.join(signer.data_dir, "audit.log")
    with open(path, "ab") as log:
        log.write(b'{"seq":99,"ti')  # half a line
    signer.start()
    assert not signer.status()["audit"]["broken"]
    assert signer.has_logged("audit_mended")
    audit.assert_holds(signer.data_dir)
    signed = [line for line in audit.lines(signer.data_dir) if line["kind"] == "request"]
    assert [line["target_epoch"] for line in signed] == ["1", "2", "3", "4", "5"]


def test_rotation_loses_nothing(signers):
    signer = signers(keys=1, config="audit: {rotate_bytes: 2000}\n").start()
    path = os.path.join(signer.data_dir, "audit.log")
    for i in range(30):
        assert signer.attest(signer.pubkeys[0], source=i, target=i + 1)[0] == 200
        if i == 12:  # as logrotate does
            os.rename(path, path + ".1")
            wait_for("a new file", lambda: os.path.exists(path), harness.PATIENCE)
        if i in (8, 20, 28):  # more than that size since the last time
            least = {8: 2, 20: 4, 28: 5}[i]
            wait_for("a rotation", lambda least=least: len(audit.files(signer.data_dir)) >= least, harness.PATIENCE)
    signer.stop()
    audit.assert_holds(signer.data_dir)
    assert len(audit.files(signer.data_dir)) >= 4
    targets = [line["target_epoch"] for line in audit.of_kind(signer.data_dir, "request")]
    assert targets == [str(i + 1) for i in range(30)]
    every_other = audit.files(signer.data_dir)[::2]
    assert "does not follow" in audit.verify(signer.data_dir, paths=every_other).stderr


def randao(epoch):
    return {"type": "RANDAO_REVEAL", "fork_info": harness.fork_info(), "randao_reveal": {"epoch": str(epoch)}}


def limit_files(signer, size):
    """No file of the keeper grows beyond size: as on a full disk."""
    (pid,) = signer.pids("keeper")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_without_room_nothing_is_signed_and_it_recovers(signers):
    signer = signers(keys=1).start()
    path = os.path.join(signer.data_dir, "audit.log")
    assert signer.attest(signer.pubkeys[0], source=1, target=2)[0] == 200
    assert signer.sign(signer.pubkeys[0], randao(3))[0] == 200
    for i in range(250):  # longer than what the slashing record writes to
        assert signer.sign("0x" + f"{i:096x}", randao(3))[0] == 404
    wait_for("their lines", lambda: os.path.getsize(path) > 60000, harness.PATIENCE)
    limit_files(signer, os.path.getsize(path) + 10)
    for body in (harness.attestation(2, 3), randao(4), harness.attestation(3, 4)):
        status, answer = signer.sign(signer.pubkeys[0], body)
        assert (status, answer["code"]) == (503, "AUDIT_UNAVAILABLE")
    assert signer.status()["state"] == "audit_unavailable"
    assert signer.get("/healthcheck")[0] == 503
    assert 'holdfast_audit_healthy 0' in signer.metrics()
    limit_files(signer, resource.RLIM_INFINITY)
    wait_for("a signature", lambda: signer.attest(signer.pubkeys[0], source=3, target=4)[0] == 200, harness.PATIENCE)
    assert signer.attest(signer.pubkeys[0], source=4, target=5)[0] == 200
    signer.stop()
    audit.assert_holds(signer.data_dir)
    assert sum(line["count"] for line in audit.of_kind(signer.data_dir, "unlogged")) >= 3


def test_interval_mode_writes_the_same_lines(signers):
    signer = signers(keys=1, config="audit: {sync: interval}\n").start()
    assert signer.attest(signer.pubkeys[0], source=1, target=2)[0] == 200
    signer.kill()  # what was written, was written
    signer.start()
    assert [line["target_epoch"] for line in audit.of_kind(signer.data_dir, "request")] == ["2"]
    assert signer.status()["audit"]["sync"] == "interval"
    signer.stop()
    audit.assert_holds(signer.data_dir)


def test_it_can_be_switched_off(signers):
    signer = signers(keys=1, config="audit: {enabled: false}\n").start()
    assert signer.attest(signer.pubkeys[0], source=1, target=2)[0] == 200
    assert signer.status()["audit"] == {"enabled": False}
    assert not os.path.exists(os.path.join(signer.data_dir, "audit.log"))


def test_stdout_gets_a_copy(signers):
    signer = signers(keys=1, config="audit: {sinks: stdout}\n").start()
    assert signer.attest(signer.pubkeys[0], source=1, target=2)[0] == 200
    wait_for("the copy", lambda: '"kind":"request"' in signer.log(), harness.PATIENCE)


def test_a_key_that_others_can_read_refuses_the_start(signers):
    signer = signers(keys=1).start()
    signer.stop()
    os.chmod(os.path.join(signer.data_dir, "audit.key"), 0o644)
    signer.start(wait=False)
    signer.wait_exit(harness.PATIENCE)
    assert signer.has_logged("start_refused", "audit.key")
    os.chmod(os.path.join(signer.data_dir, "audit.key"), 0o600)


def test_another_key_is_told(signers, tmp_path):
    signer = signers(keys=1).start()
    _, path = stopped_after_some(signer, 1)
    harness.write_private(str(tmp_path / "key"), "ab" * 32 + "\n")
    done = harness.run("audit", "verify", "--key-file", str(tmp_path / "key"), path)
    assert done.returncode == 1 and "another audit key" in done.stderr
    assert harness.run("audit", "verify", "--key-file", str(tmp_path / "none"), path).returncode == 1
    assert harness.run("audit", "verify", path).returncode == 0  # with the key beside it
    copied = str(tmp_path / "copied.log")
    assert "copied.log: No such file" in harness.run("audit", "verify", copied).stderr
    shutil.copy(path, copied)
    assert "--key-file" in harness.run("audit", "verify", copied).stderr
    assert harness.run("audit", "verify", "--head", "x", path, "--data-dir", signer.data_dir).returncode == 2
    assert harness.run("audit", "verify", "--data-dir", signer.data_dir, str(tmp_path / "none")).returncode == 1
