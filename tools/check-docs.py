#!/usr/bin/env python3
"""What the documents name exists: files, links, and options of the programs."""

import os
import re
import subprocess
import sys

# Paths that only a running system or another build has.
PATH_PREFIXES = ("src/", "tests/", "tools/", "docs/", "bench/", "fuzz/", "packaging/", "third_party/", "include/",
                 ".ci/")
# Options of other programs that documents mention.
FOREIGN_OPTIONS = {"--suite", "--wrap", "--help", "--version", "--record"}


def tracked(*patterns):
    return subprocess.run(["git", "ls-files", "--", *patterns], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def known_options():
    """Every "--option" and every "option" of a getopt table in the sources, and of the scripts."""
    options = set(FOREIGN_OPTIONS)
    for path in tracked("src/*.c", "src/*.h", "tools/*", "bench/*"):
        with open(path, encoding="utf-8") as text:
            content = text.read()
        options |= set(re.findall(r"--[a-z][a-z0-9-]+", content))
        if path.endswith(".c"):
            options |= {"--" + name for name in re.findall(r'"([a-z][a-z0-9-]+)"', content)}
    return options


def check(path, options):
    findings = []
    with open(path, encoding="utf-8") as text:
        content = text.read()
    for number, line in enumerate(content.splitlines(), 1):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in target and not target.startswith("mailto:"):
                if not os.path.exists(os.path.join(os.path.dirname(path), target)):
                    findings.append(f"{path}:{number}: a link to {target}, which does not exist")
        for name in re.findall(r"`([^`\s]+)`", line):
            name = name.rstrip("/:,")
            # A pattern or a placeholder (<name>, NAME, *) names no one file.
            if name.startswith(PATH_PREFIXES) and not re.search(r"[*<>{}…|]|[A-Z]{3,}|\.\.\.", name):
                if not os.path.exists(name):
                    findings.append(f"{path}:{number}: names {name}, which does not exist")
        command = re.search(r"\bholdfast [a-z]+ .*", line)
        if command:
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", command.group(0)):
                if option not in options:
                    findings.append(f"{path}:{number}: names the option {option}, which no source knows")
    return findings


def main():
    options = known_options()
    findings = [finding for path in tracked("*.md")
                if not path.startswith("tests/vectors/")  # pages that speak of somebody else's files
                for finding in check(path, options)]
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
