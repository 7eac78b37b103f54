"""Runs every test: meson's, pytest's, under the sanitizers, under valgrind, and the fuzzers' corpora.

Usage: test.py BUILD. HF_TEST_STAGES picks stages by name; docs/testing.md lists all variables.
"""

import glob
import json
import os
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import Tally, build_findings, run  # noqa: E402

ASAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:halt_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
TSAN_ENV = {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
# What puts all of the keeper's threads to work at once.
TSAN_E2E = ("test_crash.py", "test_store_faults.py", "test_slashing_cli.py", "test_loading.py", "test_key_manager.py",
            "test_seal_tokens.py::test_a_token_alone_unseals_at_the_start", "test_device_pulled.py::test_a_device_pulled_while_it_signs")
UNIT_TIMEOUT = 900
PYTEST_TIMEOUT = 1500
# What valgrind would take minutes for and the sanitizers see as well; and what forbids system calls
# that valgrind itself makes: suite names.
VALGRIND_EXCLUDED_SUITES = ("slow", "sandbox")

tally = Tally()


def configure(folder, options, env=None):
    """meson setup (once) and ninja; True when it built."""
    if not os.path.exists(f"{folder}/build.ninja"):
        status, output = run(["meson", "setup", folder, *options], env=env)
        if status != 0:
            tally.fail(f"{folder}: meson setup", output)
            return False
    status, output = run(["ninja", "--quiet", "-C", folder])
    if status != 0:
        tally.fail(f"{folder}: build", build_findings(output))
        return False
    tally.ok(f"{folder}: build")
    return True


def count_cmocka(record):
    """(passed, failed, skipped) test cases of one executable; one case when it does not say."""
    text = (record.get("stdout") or "") + (record.get("stderr") or "")

    def total(word):
        return sum(int(n) for n in re.findall(rf"\[\s*{word}\s*\] (\d+) test\(s\)[.,]", text))

    passed, failed, skipped = total("PASSED"), total("FAILED"), total("SKIPPED")
    good = record["result"] in ("OK", "EXPECTEDFAIL")
    if record["result"] == "SKIP":
        return 0, 0, max(1, skipped)
    if passed + failed + skipped == 0:
        return (1, 0, 0) if good else (0, 1, 0)
    if not good and failed == 0:
        failed = 1  # it died before or after its cases
    return passed, failed, skipped


def meson_tests(folder, label, extra=(), env=None, prefix=()):
    """Runs meson's tests and counts the cases inside each executable."""
    log_base = re.sub(r"\W+", "-", label)
    for stale in glob.glob(f"{folder}/meson-logs/{log_base}*.json"):
        os.unlink(stale)
    status, output = run([*prefix, "meson", "test", "-C", folder, "--no-rebuild", "--logbase", log_base,
                          *extra], env=env, timeout=UNIT_TIMEOUT)
    # With a wrapper, meson puts the wrapper's name behind ours.
    log = next(iter(glob.glob(f"{folder}/meson-logs/{log_base}*.json")), None)
    if log is None:
        if "No suitable tests defined" in output or "No tests defined" in output:
            tally.skip(label, "no tests defined yet")
        else:
            tally.fail(label, output)
        return
    seen = 0
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            record = json.loads(line)
            name = f"{label}: {record['name'].split(' / ')[-1]}"
            seen += 1
            passed, failed, skipped = count_cmocka(record)
            if failed:
                tally.passed += passed
                tally.fail(name, f"{record['result']}, status {record['returncode']}\n"
                           + (record.get("stdout") or "") + (record.get("stderr") or ""), failed)
            elif passed:
                tally.ok(name, passed)
            if skipped:
                text = (record.get("stdout") or "") + (record.get("stderr") or "")
                reason = re.findall(r"skip(?:ped)?: (.*)", text)
                tally.skip(name, "; ".join(sorted(set(reason))) or "says not what is missing", skipped)
    if status == 124 or (status != 0 and seen == 0):
        tally.fail(label, output)


def pytest_jobs(folder):
    """Most tests wait for timers and disks, so several files run at a time where pytest-xdist is there; of the peers,
    which are heavier, two. A file stays together, in its order: its tests share signers."""
    jobs = os.environ.get("HF_TEST_JOBS", "4")
    status, _ = run(["/usr/bin/python3", "-c", "import xdist"])
    if status != 0 or jobs == "1":
        return []
    return ["-n", jobs if folder == "tests/e2e" else "2", "--dist", "loadfile"]


def pytest_folder(build, folder, label, env=None, only=(), prefix=()):
    """Runs pytest over one folder, or some files of it, against one build."""
    if not glob.glob(f"{folder}/**/test_*.py", recursive=True):
        tally.skip(label, "no tests written yet")
        return
    work = tempfile.mkdtemp(prefix="holdfast-e2e-")
    report = f"{work}/report.xml"
    status, output = run(
        [*prefix, "/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=long", "-ra",
         f"--basetemp={work}/tmp", f"--junitxml={report}", "--durations=8",
         *pytest_jobs(folder),
         *([f"{folder}/{name}" for name in only] or [folder])],
        env={"HF_BUILD": os.path.abspath(build), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        timeout=PYTEST_TIMEOUT)
    cases = list(ElementTree.parse(report).iter("testcase")) if os.path.exists(report) else []
    shutil.rmtree(work, ignore_errors=True)
    if not cases:
        tally.fail(label, output)
        return
    passed = 0
    bad = 0
    for case in cases:
        name = f"{label}: {case.get('classname', '').split('.')[-1]}.{case.get('name')}"
        broken = case.findall("failure") + case.findall("error")
        if broken:
            bad += 1
            tally.fail(name, "\n".join(part.text or part.get("message", "") for part in broken))
        elif case.find("skipped") is not None:
            tally.skip(name, case.find("skipped").get("message", ""))
        else:
            passed += 1
    if passed:
        tally.ok(label, passed)
    print("\n".join("        " + line for line in output.splitlines() if re.match(r"\d+\.\d+s ", line)))
    if status not in (0, 5) and bad == 0:
        tally.fail(label, output)


def stage_unit(build):
    meson_tests(build, "unit")


def stage_e2e(build):
    pytest_folder(build, "tests/e2e", "e2e")
    pytest_folder(build, "tests/peers", "peers")


def stage_model(_build):
    """The lock protocol, by spin: it holds, and without any of its guards it does not."""
    status, output = run(["/usr/bin/python3", "tools/gates/model.py"], timeout=900)
    lines = output.splitlines()
    if status == 77:
        tally.skip("model", "spin is not installed")
        return
    for line in lines:
        if line.startswith("ok: "):
            tally.ok("model: " + line[len("ok: "):])
    if status != 0:
        tally.fail("model", "\n".join(line for line in lines if not line.startswith("ok: ")) or output)


def stage_bench(build):
    """That every row of the benchmark can be measured; what it measured is not looked at."""
    if not os.path.exists(f"{build}/holdfast-front"):
        tally.skip("bench", "no front to be measured yet")
        return
    status, output = run(["tools/bench.sh", build, "--smoke"], timeout=300)
    if status == 0:
        tally.ok("bench, smoke form")
    else:
        tally.fail("bench, smoke form", output)


def stage_asan(_build):
    folder = "build-asan"
    if configure(folder, ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dbuildtype=debugoptimized"]):
        meson_tests(folder, "asan unit", env=ASAN_ENV)
        pytest_folder(folder, "tests/e2e", "asan e2e", env={**ASAN_ENV, "HF_SANITIZED": "1"})


def stage_tsan(_build):
    folder = "build-tsan"
    if configure(folder, ["-Db_sanitize=thread", "-Db_lundef=false", "-Dbuildtype=debugoptimized"]):
        # TSan's shadow does not fit beside every randomised layout of newer kernels.
        prefix = ("setarch", "-R")
        meson_tests(folder, "tsan keeper", ["--suite", "keeper", "--suite", "fault"], env=TSAN_ENV, prefix=prefix)
        pytest_folder(folder, "tests/e2e", "tsan e2e", env={**TSAN_ENV, "HF_SANITIZED": "1"}, only=TSAN_E2E, prefix=prefix)


def stage_valgrind(build):
    if not shutil.which("valgrind"):
        tally.skip("valgrind", "valgrind is not installed")
        return
    wrap = ("valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect "
            "--child-silent-after-fork=yes")
    excluded = [f"--no-suite={suite}" for suite in VALGRIND_EXCLUDED_SUITES]
    meson_tests(build, "valgrind unit", ["--suite", "unit", *excluded, f"--wrap={wrap}", "-t", "20"])


def stage_fuzz(_build):
    if not shutil.which("clang"):
        tally.skip("fuzz", "clang is not installed")
        return
    folder = "build-fuzz"
    if not configure(folder, ["-Dfuzzers=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                              "-Dbuildtype=debugoptimized"], env={"CC": "clang"}):
        return
    runs = os.environ.get("HF_FUZZ_RUNS", "20000")
    targets = sorted(path for path in glob.glob(f"{folder}/fuzz/fuzz_*")
                     if os.path.isfile(path) and os.access(path, os.X_OK))
    if not targets:
        tally.skip("fuzz", "no fuzzers written yet")
    for target in targets:
        name = os.path.basename(target)
        fuzz_one(target, name, f"fuzz/corpus/{name[len('fuzz_'):]}", runs)


def fuzz_one(target, name, kept, runs):
    """Over a copy of the kept corpus, so that the tree stays as it was; a crash is kept in build-fuzz."""
    work = tempfile.mkdtemp(prefix="holdfast-fuzz-")
    try:
        if os.path.isdir(kept):
            shutil.copytree(kept, work, dirs_exist_ok=True)
        status, output = run([target, f"-runs={runs}", "-seed=1", "-max_total_time=60", "-timeout=10",
                              "-rss_limit_mb=2048", "-close_fd_mask=1", f"-artifact_prefix=build-fuzz/{name}-",
                              work], env=ASAN_ENV, timeout=180)
        if status == 0:
            tally.ok(f"{name}: {runs} runs over {kept}")
        else:
            tally.fail(name, output)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def stage_soak(build):
    if not os.path.exists("tools/soak.sh"):
        tally.skip("soak", "not written yet")
        return
    seconds = os.environ.get("HF_SOAK_SECONDS", "20")
    status, output = run(["tools/soak.sh", build], env={"HF_SOAK_SECONDS": seconds}, timeout=300)
    if status == 0:
        tally.ok(f"soak, {seconds} seconds")
    else:
        tally.fail("soak", output)


def stage_tree(build):
    """The tests leave nothing behind: no process of this build, no file that git would show."""
    folders = [os.path.realpath(folder) for folder in (build, "build-asan", "build-tsan")]
    left = []
    for link in glob.glob("/proc/[0-9]*/exe"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if any(target.startswith(folder + "/") for folder in folders):
            left.append(f"process {link.split('/')[2]}: {target}")
    _, after = run(["git", "status", "--porcelain"])
    left += sorted(set(after.splitlines()) - set(TREE_BEFORE.splitlines()))
    if left:
        tally.fail("nothing left behind", "\n".join(left))
    else:
        tally.ok("nothing left behind")


STAGES = {
    "unit": stage_unit,
    "e2e": stage_e2e,
    "model": stage_model,
    "bench": stage_bench,
    "asan": stage_asan,
    "tsan": stage_tsan,
    "valgrind": stage_valgrind,
    "fuzz": stage_fuzz,
    "soak": stage_soak,
    "tree": stage_tree,
}


def main(build):
    wanted = os.environ.get("HF_TEST_STAGES", "").replace(",", " ").split() or list(STAGES)
    unknown = [name for name in wanted if name not in STAGES]
    if unknown:
        sys.exit(f"HF_TEST_STAGES: no stage named {', '.join(unknown)}; there are: {', '.join(STAGES)}")
    tally.section(f"build ({build})")
    if configure(build, []):
        for name in wanted:
            tally.section(name)
            STAGES[name](build)
    tally.close()


TREE_BEFORE = run(["git", "status", "--porcelain"])[1]

if __name__ == "__main__":
    main(sys.argv[1])
