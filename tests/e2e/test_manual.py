"""The manual pages and `--help` name the same options of the same commands."""

import os
import re

import pytest

from harness import ROOT, run

MAN = os.path.join(ROOT, "docs", "man")


def commands():
    """Every command that takes options, as `holdfast --help` and its nouns tell."""
    found = []
    for name in re.findall(r"^  (\w+) ", run("--help").stdout, re.M):
        text = run(name, "--help").stdout
        if text.startswith(f"usage: holdfast {name} VERB"):
            found += [f"{name} {verb}" for verb in re.findall(r"^  (\S+) ", text, re.M)]
        else:
            found.append(name)
    return found


def page_of(command):
    noun = command.split()[0]
    return "holdfast.1" if noun == "check" else f"holdfast-{noun}.1"


def plain(text):
    """Without the fonts and escapes of the manual's language."""
    return re.sub(r"\\f[BRI]", "", text).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def manual_options(command):
    """The heads of the option items: in the command's own section, or of the whole page of serve."""
    with open(os.path.join(MAN, page_of(command)), encoding="utf-8") as page:
        text = plain(page.read())
    if command == "serve":
        section = text.split("\n.SH OPTIONS\n")[1].split("\n.SH ")[0]
    else:
        sections = text.split(f"\n.SS holdfast {command}\n")
        assert len(sections) == 2, f"{page_of(command)} has no section `holdfast {command}`"
        section = re.split(r"\n\.S[SH] ", sections[1])[0]
    return set(re.findall(r"^\.TP\n((?:-\w, )?--.*)$", section, re.M))


def help_options(command):
    text = run(*command.split(), "--help").stdout
    options = text.split("\noptions:\n")[1].split("\n\n")[0]
    heads = re.findall(r"^  (?:    |(-\w, ))(--.*?)(?:  .*)?$", options, re.M)
    return {letter + option.strip() for letter, option in heads}


@pytest.mark.parametrize("command", commands())
def test_manual_and_help_agree(command):
    assert manual_options(command) == help_options(command)


def test_every_section_of_a_page_is_a_command():
    known = set(commands())
    for name in os.listdir(MAN):
        with open(os.path.join(MAN, name), encoding="utf-8") as page:
            headings = re.findall(r"^\.SS holdfast (.*)$", plain(page.read()), re.M)
        nouns = {command.split()[0] for command in known}
        assert {h for h in headings if h.split()[0] in nouns} <= known, name


@pytest.mark.parametrize("command", commands())
def test_help_says_what_the_command_does(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"usage: holdfast {command}")
    assert lines[2].endswith(".")
    assert all(len(line) <= 100 for line in lines), "fits a terminal of 100 columns"
    short = run(*command.split(), "-h")
    assert short.stdout == done.stdout
