"""docs/metrics.md lists what /metrics says, and /metrics counts what was done."""

import os
import re

import harness


def names_of(text):
    return set(re.findall(r"^# TYPE (\w+)", text, re.M))


def value(text, series):
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)
    assert match, f"no {series}"
    return float(match.group(1))


def test_the_document_lists_every_name_and_no_other(signer):
    with open(os.path.join(harness.ROOT, "docs", "metrics.md"), encoding="utf-8") as page:
        text = page.read()
    listed = dict(re.findall(r"^\| `(holdfast_\w+)` \| (\w+) \|", text, re.M))
    served = dict(re.findall(r"^# TYPE (\w+) (\w+)$", signer.metrics(), re.M))
    assert listed == served
    mentioned = set(re.findall(r"holdfast_\w+", text))
    assert mentioned <= set(served)


def test_it_counts_what_was_done(signer):
    key = signer.pubkeys[0]
    assert signer.attest(key, 1, 2)[0] == 200
    assert signer.attest(key, 1, 2)[0] == 200
    assert signer.attest(key, 1, 2, mark=1)[0] == 412
    assert signer.propose(key, 9)[0] == 200
    assert signer.attest("0x" + "ab" * 48, 1, 2)[0] == 404
    assert signer.sign(key, "{")[0] == 400
    assert signer.get("/upcheck", headers={"Origin": "http://example.org"})[0] == 403
    text = signer.metrics()
    assert value(text, 'holdfast_signing_requests_total{operation="ATTESTATION",result="signed"}') == 2
    assert value(text, 'holdfast_signing_requests_total{operation="BLOCK_V2",result="signed"}') == 1
    assert value(text, 'holdfast_slashing_permitted_total') == 3
    assert value(text, 'holdfast_slashing_prevented_total') == 1
    assert value(text, 'holdfast_refusals_total{reason="DOUBLE_VOTE"}') == 1
    assert value(text, 'holdfast_refusals_total{reason="UNKNOWN_KEY"}') == 1
    assert value(text, 'holdfast_refusals_total{reason="MALFORMED"}') == 1
    assert value(text, 'holdfast_auth_rejections_total{reason="CROSS_ORIGIN"}') == 1
    assert value(text, 'holdfast_missing_keys_total') == 1
    assert value(text, 'holdfast_malformed_requests_total') == 2
    assert value(text, 'holdfast_keys_loaded{backend="local-keystore"}') == len(signer.pubkeys)
    assert value(text, 'holdfast_healthy') == 1
    assert value(text, 'holdfast_store_batch_size_sum') >= 3
    total = 'holdfast_signing_duration_seconds_count{operation="ATTESTATION",stage="total"}'
    assert value(text, total) == 2
    assert value(text, 'holdfast_signing_duration_seconds_bucket{operation="ATTESTATION",stage="total",le="+Inf"}') == 2


def test_buckets_only_grow(signer):
    signer.attest(signer.pubkeys[0], 1, 2)
    last = {}
    for name, labels, count in re.findall(r"^(\w+)_bucket\{(.*)\} (\d+)$", signer.metrics(), re.M):
        series = name, re.sub(r'le="[^"]*"', "", labels)
        assert int(count) >= last.get(series, 0)
        last[series] = int(count)
    assert last


def test_health_is_on_the_metrics_listener_and_nothing_else(signer):
    assert signer.get("/healthcheck", port=signer.metrics_port)[0] == 200
    assert signer.get("/upcheck", port=signer.metrics_port) == (200, "OK")
    assert signer.get("/api/v1/eth2/publicKeys", port=signer.metrics_port)[0] == 404
    assert signer.get("/metrics")[0] == 404
