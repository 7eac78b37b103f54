"""What packaging/ asks of a running signer is there: each metric, with each label value it names."""

import json
import os
import re

import harness

PACKAGING = os.path.join(harness.ROOT, "packaging")


def expressions():
    """(where, PromQL) of all alerts and panels."""
    with open(os.path.join(PACKAGING, "prometheus", "holdfast.rules.yml"), encoding="utf-8") as text:
        # One rule a block; an expression is one line or a folded block below `expr: >-`.
        for rule in re.split(r"^\s+- alert: ", text.read(), flags=re.M)[1:]:
            expr = re.search(r"expr: (?:>-\n)?(.*?)(?=\n\s+(?:for|labels|annotations):)", rule, re.S)
            yield rule.split()[0], expr.group(1)
    with open(os.path.join(PACKAGING, "grafana", "holdfast.json"), encoding="utf-8") as text:
        for panel in json.load(text)["panels"]:
            for target in panel.get("targets", []):
                yield panel["title"], target["expr"]


def selectors(expression):
    """(metric, [(label, operator, value)]) in a PromQL expression."""
    for name, labels in re.findall(r"(holdfast_\w+)(\{[^}]*\})?", expression):
        yield name, re.findall(r'(\w+)\s*(=~|=)\s*"([^"]*)"', labels)


def samples(text):
    """(metric, {label: value}) of an exposition."""
    for line in text.splitlines():
        match = re.match(r"(\w+)(\{.*\})? \S+$", line)
        if match:
            yield match.group(1), dict(re.findall(r'(\w+)="([^"]*)"', match.group(2) or ""))


def matches(labels, wanted):
    for label, operator, value in wanted:
        if label == "instance":  # Prometheus itself adds it
            continue
        # Each alternative of a =~ "A|B" has to exist, so the caller passes them one by one.
        if operator == "=" and labels.get(label) != value:
            return False
        if operator == "=~" and not re.fullmatch(value, labels.get(label, "")):
            return False
    return True


def alternatives(wanted):
    """The matchers once for each alternative of a regular expression: none may be a spelling mistake."""
    cases = [[]]
    for label, operator, value in wanted:
        values = value.split("|") if operator == "=~" and label != "instance" else [value]
        cases = [case + [(label, operator, one)] for case in cases for one in values]
    return cases


def entry_of_a_vault_that_is_away(folder):
    """Back ends of custody have metrics where there is one."""
    token = os.path.join(str(folder), "vault-token")
    harness.write_private(token, "none\n")
    return (f"  - backend: vault\n    address: http://127.0.0.1:{harness.free_port()}\n    path: secret/keys\n"
            f"    auth: {{method: token, token_file: {token}}}\n")


def test_every_metric_and_label_in_packaging_exists(tmp_path):
    with harness.Signer(tmp_path, config=entry_of_a_vault_that_is_away(tmp_path)) as signer:
        assert signer.sign(signer.pubkeys[0], harness.attestation(400000, 400001))[0] == 200
        known = list(samples(signer.metrics()))
    wanted = [(where, name, case) for where, expression in expressions()
              for name, labels in selectors(expression) for case in alternatives(labels)]
    assert len(wanted) > 40
    missing = [f"{where}: {name} {case}" for where, name, case in wanted
               if not any(metric == name and matches(labels, case) for metric, labels in known)]
    assert not missing, "\n".join(missing)


def test_every_metric_of_shared_databases_and_back_ends_has_a_place():
    """On the dashboard or in an alert: what is counted of several machines and devices, somebody sees."""
    with open(os.path.join(harness.ROOT, "docs", "metrics.md"), encoding="utf-8") as text:
        counted = set(re.findall(r"^\| `(holdfast_(?:store|duty|custody)_\w+)`", text.read(), re.M))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for _, expression in expressions() for name, _ in selectors(expression)}
    assert len(counted) > 21 and not counted - shown, counted - shown


def test_every_metric_has_help_and_type(tmp_path):
    with harness.Signer(tmp_path) as signer:
        text = signer.metrics()
    described = set(re.findall(r"^# HELP (\w+) \S", text, re.M)) & set(
        re.findall(r"^# TYPE (\w+) (?:counter|gauge|histogram)$", text, re.M))
    names = {metric for metric, _ in samples(text)}
    bare = [name for name in sorted(names) if name not in described
            and re.sub(r"_(bucket|sum|count)$", "", name) not in described]
    assert names and not bare
    for name in sorted(names):
        if re.search(r"_total$", name):
            assert f"# TYPE {name} counter" in text
