"""Every gate that reads the code instead of running it. Usage: lint.py BUILD.

HF_LINT_CHECKS picks checks by name. Each suppression, here and in the tools' own files, carries a
sentence that says why.
"""

import concurrent.futures
import glob
import json
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import Tally, run  # noqa: E402

CLANG_FORMAT_MAJOR = "14"  # Other releases break lines elsewhere: the gate holds one of them.
JOBS = os.cpu_count() or 1

tally = Tally()


def c_files(*folders, suffixes=(".c", ".h")):
    """Tracked C files of our own."""
    _, output = run(["git", "ls-files", "--", *folders])
    return [name for name in output.splitlines() if name.endswith(suffixes) and os.path.exists(name)]


def outcome(name, status, output):
    if status == 0:
        tally.ok(name)
    else:
        tally.fail(name, output)


def build(name, folder, options, cc):
    """One build with warnings as errors; True when it built."""
    if not shutil.which(cc):
        tally.skip(name, f"{cc} is not installed")
        return False
    if not os.path.exists(f"{folder}/build.ninja"):
        status, output = run(["meson", "setup", folder, *options], env={"CC": cc})
        if status != 0:
            tally.fail(name, output)
            return False
    status, output = run(["ninja", "-C", folder, "-k", "0"])
    outcome(name, status, output)
    return status == 0


def check_builds(folder):
    build("gcc, release: no warning", folder, [], "gcc")
    build("clang, release: no warning", "build-clang", [], "clang")
    build("clang, debug: no warning", "build-clang-debug", ["-Dbuildtype=debug"], "clang")


def check_analyzer(_folder):
    build("gcc -fanalyzer: no finding", "build-analyzer", ["-Dc_args=-fanalyzer", "-Dbuildtype=debugoptimized"], "gcc")


def check_format(_folder):
    if not shutil.which("clang-format"):
        tally.skip("clang-format", "clang-format is not installed")
        return
    _, version = run(["clang-format", "--version"])
    if f"version {CLANG_FORMAT_MAJOR}." not in version:
        tally.skip("clang-format", f"clang-format {CLANG_FORMAT_MAJOR} (this is: {version.strip()})")
        return
    files = c_files("src", "tests", "bench", "fuzz", "include")
    bad = []
    for name in files:
        status, output = run(["clang-format", "--dry-run", "--Werror", name])
        if status != 0:
            bad.append(f"{name}: {output.count('error:')} places; clang-format -i {name}")
    outcome("clang-format", 1 if bad else 0, "\n".join(bad))


def check_tidy(_folder):
    """clang-tidy over every compiled file of src, bench and fuzz, with .clang-tidy."""
    if not shutil.which("clang-tidy"):
        tally.skip("clang-tidy", "clang-tidy is not installed")
        return
    database = "build-clang/compile_commands.json"
    if not os.path.exists(database):
        tally.fail("clang-tidy", "the clang build is missing: run the check `builds` first")
        return
    with open(database, encoding="utf-8") as commands:
        entries = json.load(commands)
    files = sorted({os.path.relpath(os.path.join(entry["directory"], entry["file"])) for entry in entries})
    files = [name for name in files if name.startswith(("src/", "bench/"))]

    def one(name):
        return name, run(["clang-tidy", "--quiet", "-p", "build-clang", name], timeout=300)

    bad = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for _name, (status, output) in pool.map(one, files):
            if status != 0:
                bad.append(re.sub(r"^\d+ warnings.*\n|^Suppressed .*\n|^Use -header.*\n", "", output, flags=re.M))
    outcome(f"clang-tidy ({len(files)} files)", 1 if bad else 0, "\n".join(bad))


def check_cppcheck(_folder):
    if not shutil.which("cppcheck"):
        tally.skip("cppcheck", "cppcheck is not installed")
        return
    status, output = run(
        ["cppcheck", "--quiet", "--std=c11", "--language=c", "--enable=warning,performance,portability",
         "--inline-suppr", "--error-exitcode=1", f"-j{JOBS}", "-Isrc", "-D_GNU_SOURCE", "--library=posix",
         "--suppressions-list=tools/gates/cppcheck.txt", "src", "bench"], timeout=900)
    outcome("cppcheck", status, output)


def check_shell(_folder):
    if not shutil.which("shellcheck"):
        tally.skip("shellcheck", "shellcheck is not installed")
        return
    _, output = run(["git", "ls-files", "--", "*.sh", ".ci/run"])
    status, output = run(["shellcheck", *output.split()])
    outcome("shellcheck", status, output)


def check_scripts(folder):
    """The project's own rules, each a script that prints its findings."""
    for path in sorted(glob.glob("tools/check-*.py")):
        status, output = run(["/usr/bin/python3", path, folder])
        if status == 77:
            tally.skip(os.path.basename(path), output.strip())
        else:
            outcome(os.path.basename(path), status, output)


CHECKS = {
    "format": check_format,
    "shell": check_shell,
    "builds": check_builds,
    "scripts": check_scripts,
    "analyzer": check_analyzer,
    "cppcheck": check_cppcheck,
    "tidy": check_tidy,
}


def main(folder):
    wanted = os.environ.get("HF_LINT_CHECKS", "").replace(",", " ").split() or list(CHECKS)
    unknown = [name for name in wanted if name not in CHECKS]
    if unknown:
        sys.exit(f"HF_LINT_CHECKS: no check named {', '.join(unknown)}; there are: {', '.join(CHECKS)}")
    for name in wanted:
        tally.section(name)
        CHECKS[name](folder)
    tally.close()


if __name__ == "__main__":
    main(sys.argv[1])
