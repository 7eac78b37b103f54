#!/usr/bin/env python3
"""Rules of the code that no other tool checks: comments, lengths, banned functions, names of files."""

import os
import re
import subprocess
import sys

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 600
BANNED_FILE_WORDS = ("utils", "util", "misc", "helpers", "helper", "common")

# "path" or "path:function" -> why it may be longer.
LENGTH_EXCEPTIONS = {}


def strip_literals(line):
    """Without strings and characters, so that "https://" is no comment."""
    return re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'', '""', line)


def check_comments(path, lines):
    """No // comments: the project writes one kind."""
    findings = []
    inside = False
    for number, line in enumerate(lines, 1):
        text = strip_literals(line)
        # Block comments are cut out first; a URL inside one is no finding.
        out = ""
        while text:
            if inside:
                end = text.find("*/")
                if end < 0:
                    text = ""
                else:
                    text, inside = text[end + 2:], False
            else:
                start = text.find("/*")
                slashes = text.find("//")
                if slashes >= 0 and (start < 0 or slashes < start):
                    findings.append(f"{path}:{number}: a // comment; write /* */")
                    break
                if start < 0:
                    out, text = out + text, ""
                else:
                    text, inside = text[start + 2:], True
    return findings


def check_lengths(path, lines):
    findings = []
    if len(lines) > MAX_FILE_LINES and path not in LENGTH_EXCEPTIONS:
        findings.append(f"{path}: {len(lines)} lines; {MAX_FILE_LINES} is the most")
    opened, name = None, ""
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            opened = number
            name = function_name(lines, number - 2)
        elif line.startswith("}") and opened is not None:
            length = number - opened - 1
            if length > MAX_FUNCTION_LINES and f"{path}:{name}" not in LENGTH_EXCEPTIONS:
                findings.append(f"{path}:{opened}: {name} has {length} lines; {MAX_FUNCTION_LINES} is the most")
            opened = None
    return findings


def function_name(lines, index):
    """The name before the first parenthesis of the declaration that ends at index."""
    start = index
    while start > 0 and lines[start - 1].strip() and not lines[start - 1].rstrip().endswith((";", "}", "*/")):
        start -= 1
    match = re.search(r"(\w+)\s*\(", " ".join(lines[start:index + 1]))
    return match.group(1) if match else "?"


def check_banned(path, lines):
    """Every file reaches base/banned.h: through base/base.h, or a header that includes it."""
    if path.endswith(".h") or not path.startswith("src/"):
        return []
    if any(re.match(r'\s*#\s*include\s*"', line) for line in lines) and includes_base(path, set()):
        return []
    return [f'{path}: does not include "base/base.h", so the banned functions would compile']


def includes_base(path, seen):
    if path in seen or not os.path.exists(path):
        return False
    seen.add(path)
    if path == "src/base/banned.h":
        return True
    with open(path, encoding="utf-8") as text:
        headers = re.findall(r'^\s*#\s*include\s*"([^"]+)"', text.read(), re.M)
    folder = os.path.dirname(path)
    return any(includes_base(candidate, seen) for header in headers
               for candidate in (f"src/{header}", f"{folder}/{header}"))


def check_undef(path, lines):
    """Nobody takes a ban back, except with a sentence on the same line or the one before."""
    findings = []
    with open("src/base/banned.h", encoding="utf-8") as text:
        banned = set(re.findall(r"^#undef (\w+)", text.read(), re.M))
    for number, line in enumerate(lines, 1):
        match = re.match(r"#\s*undef\s+(\w+)", line)
        if match and match.group(1) in banned and path != "src/base/banned.h":
            before = lines[number - 2] if number > 1 else ""
            if "*/" not in line + before:
                findings.append(f"{path}:{number}: takes back the ban on {match.group(1)} without a reason")
    return findings


def check_suppressions(path, lines):
    """NOLINT and cppcheck-suppress carry a reason on their line."""
    findings = []
    for number, line in enumerate(lines, 1):
        match = re.search(r"(NOLINT\w*(\([^)]*\))?|cppcheck-suppress\s+\S+)(.*)", line)
        if match and "NOLINTEND" not in line and len(re.sub(r"[\W_]+", "", match.group(3))) < 10:
            findings.append(f"{path}:{number}: a suppression without its sentence")
    return findings


def main():
    output = subprocess.run(["git", "ls-files", "src", "bench", "fuzz", "tests", "include"], check=True,
                            capture_output=True, text=True).stdout
    findings = []
    for path in output.splitlines():
        if not path.endswith((".c", ".h")) or not os.path.exists(path):
            continue
        if os.path.splitext(os.path.basename(path))[0] in BANNED_FILE_WORDS:
            findings.append(f"{path}: a name that says nothing")
        with open(path, encoding="utf-8") as text:
            lines = text.read().splitlines()
        findings += check_comments(path, lines) + check_lengths(path, lines) + check_banned(path, lines)
        findings += check_undef(path, lines) + check_suppressions(path, lines)
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
