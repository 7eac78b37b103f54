"""Every gate that reads the code instead of running it. Usage: lint.py BUILD.

HF_LINT_CHECKS picks checks by name. Each suppression, here and in the tools' own files, carries a
sentence that says why.
"""

import concurrent.futures
import glob
import json
import os
import re
import shlex
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import Tally, build_findings, run  # noqa: E402

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
    status, output = run(["ninja", "--quiet", "-C", folder, "-k", "0"])
    outcome(name, status, build_findings(output))
    return status == 0


def compile_commands(folder):
    """{file: entry} of src and bench from a build's compile_commands.json, or None."""
    if not os.path.exists(f"{folder}/compile_commands.json"):
        return None
    with open(f"{folder}/compile_commands.json", encoding="utf-8") as text:
        entries = json.load(text)
    named = {os.path.relpath(os.path.join(entry["directory"], entry["file"])): entry for entry in entries}
    return {name: entry for name, entry in named.items() if name.startswith(("src/", "bench/"))}


def check_builds(folder):
    build("gcc, release: no warning", folder, [], "gcc")
    build("clang, release: no warning", "build-clang", [], "clang")
    build("clang, debug: no warning", "build-clang-debug", ["-Dbuildtype=debug"], "clang")


def known_findings(path):
    """Lines of "FILE WARNING" in a file of accepted findings, each below a comment that says why."""
    with open(path, encoding="utf-8") as text:
        return {tuple(line.split()) for line in text if line.strip() and not line.startswith("#")}


def check_analyzer(folder):
    """gcc -fanalyzer over src and bench, one run a file; only findings on record are accepted."""
    commands = compile_commands(folder)
    if commands is None:
        tally.fail("gcc -fanalyzer", f"{folder} is not built: run the check `builds` first")
        return
    known = known_findings("tools/gates/analyzer.txt")

    def one(item):
        name, entry = item
        command = [word for word in shlex.split(entry["command"]) if not word.startswith("-Werror")]
        command[command.index("-o") + 1] = "/dev/null"
        for word in ("-MD", "-MQ", "-MF"):
            at = command.index(word)
            del command[at:at + (1 if word == "-MD" else 2)]
        # gcc 12 loses sight of hf_status, a structure in a register, where a function that returns one is
        # inlined, and takes it for uninitialised; clang-tidy and valgrind look for the same.
        command += ["-fanalyzer", "-Wno-analyzer-use-of-uninitialized-value", "-fdiagnostics-path-format=none", "-fdiagnostics-color=never"]
        return name, run(command, timeout=600, cwd=entry["directory"])[1]

    new = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, output in pool.map(one, sorted(commands.items())):
            for line in output.splitlines():
                match = re.search(r":\d+: warning: .*\[-W(analyzer-[\w-]+)\]", line)
                if match and (name, match.group(1)) not in known:
                    new.append(line if name in line else f"{name}: {line}")
    outcome(f"gcc -fanalyzer ({len(commands)} files): no finding that is not on record", 1 if new else 0,
            "\n".join(new))


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


def findings_of(output):
    """The findings with their source lines, without the notes that lead there."""
    kept, keep = [], False
    for line in output.splitlines():
        if re.search(r":\d+:\d+: \w+: ", line):
            keep = ": note: " not in line
        if keep and not re.match(r"\d+ warnings|Suppressed |Use -header", line):
            kept.append(line)
    return "\n".join(kept)


def check_tidy(_folder):
    """clang-tidy over every compiled file of src, bench and fuzz, with .clang-tidy."""
    if not shutil.which("clang-tidy"):
        tally.skip("clang-tidy", "clang-tidy is not installed")
        return
    commands = compile_commands("build-clang")
    if commands is None:
        tally.fail("clang-tidy", "the clang build is missing: run the check `builds` first")
        return
    files = sorted(commands)

    def one(name):
        return name, run(["clang-tidy", "--quiet", "-p", "build-clang", name], timeout=300)

    bad = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for _name, (status, output) in pool.map(one, files):
            if status != 0:
                bad.append(findings_of(output))
    outcome(f"clang-tidy ({len(files)} files)", 1 if bad else 0, "\n".join(bad))


def check_cppcheck(folder):
    if not shutil.which("cppcheck"):
        tally.skip("cppcheck", "cppcheck is not installed")
        return
    status, output = run(
        ["cppcheck", "--quiet", "--std=c11", "--language=c", "--enable=warning,performance,portability",
         "--inline-suppr", "--error-exitcode=1", f"-j{JOBS}", "-Isrc", f"-I{folder}/third_party", "-D_GNU_SOURCE", "--library=posix",
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
