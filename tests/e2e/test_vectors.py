"""Every vector of tests/vectors/signing through the running signer: the exact signature, whatever
style of request a client has, and a refusal of whatever contradicts it.
"""

import copy
import json
import re

import interop
import pytest
from vectors import NETWORKS, block_of, vectors_of

OTHER_ROOT = "0x" + "5c" * 32


# ---- how clients ask


def without_root(request):
    return {name: value for name, value in request.items() if name != "signingRoot"}


def json_client(vector):
    """Lighthouse, Lodestar, Nimbus"""
    return vector["pubkey"], vector["request"], {"Accept": "application/json"}


def silent_client(vector):
    """Teku, Prysm: no Accept"""
    return vector["pubkey"], vector["request"], {}


def rootless_client(vector):
    """Vero"""
    return vector["pubkey"], without_root(vector["request"]), {"Accept": "text/plain"}


def snake_client(vector):
    """The spelling of the first drafts."""
    request = {**without_root(vector["request"]), "signing_root": vector["signing_root"]}
    return vector["pubkey"], request, {"Accept": "application/json"}


def bare_key_client(vector):
    return vector["pubkey"][2:], vector["request"], {"Accept": "*/*"}


def loud_client(vector):
    """Upper case in the key and the root, and the content type as Java's clients have it."""
    request = {**vector["request"], "signingRoot": "0x" + vector["signing_root"][2:].upper()}
    return "0x" + vector["pubkey"][2:].upper(), request, {"Accept": "application/json, text/plain",
                                                          "Content-Type": "application/json; charset=utf-8"}


JSON_STYLES = (json_client, snake_client, bare_key_client, loud_client)
TEXT_STYLES = (silent_client, rootless_client)
STYLES = JSON_STYLES + TEXT_STYLES


def ask(connection, vector, style):
    """(status, content type, bytes) of the answer."""
    pubkey, request, headers = style(vector)
    connection.request("POST", f"/api/v1/eth2/sign/{pubkey}", json.dumps(request),
                       {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read()


def is_exact(vector, style, status, content_type, body):
    if status != 200:
        return False
    if style in TEXT_STYLES:
        return content_type.startswith("text/plain") and body == vector["signature"].encode()
    return content_type.startswith("application/json") and json.loads(body) == {"signature": vector["signature"]}


def wrong_answers(connection, vectors, style):
    wrong = []
    for vector in vectors:
        answer = ask(connection, vector, style)
        if not is_exact(vector, style, *answer):
            wrong.append((vector["name"], *answer))
    return wrong


# ---- the tests


@pytest.mark.parametrize("network", NETWORKS)
def test_the_vectors_are_all_there(network):
    vectors = vectors_of(network)
    assert len(vectors) == NETWORKS[network]
    for vector in vectors:
        assert vector["pubkey"] in interop.PUBKEYS and re.fullmatch("0x[0-9a-f]{192}", vector["signature"])


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_signature_is_exact(signers, tmp_path, network, style):
    """Each vector twice: a repetition, as after a lost answer, gets the same signature."""
    vectors = vectors_of(network)
    connection = interop.signer_with_keys(signers, tmp_path, network).start().connect()
    assert wrong_answers(connection, vectors, style) == []
    assert wrong_answers(connection, vectors, style) == []
    connection.close()


@pytest.mark.parametrize("network", NETWORKS)
def test_one_store_serves_every_style(signers, tmp_path, network):
    """What one client style signed, all others may sign again, on a signer that was restarted between them."""
    vectors = vectors_of(network)
    signer = interop.signer_with_keys(signers, tmp_path, network)
    for style in STYLES:
        signer.start()
        connection = signer.connect()
        assert wrong_answers(connection, vectors, style) == []
        connection.close()
        signer.stop()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_wrong_root_is_refused(signers, tmp_path, network):
    """With each vector's root off by one bit; nothing is recorded by it, so the right one is signed after."""
    vectors = vectors_of(network)
    connection = interop.signer_with_keys(signers, tmp_path, network).start().connect()
    for vector in vectors:
        wrong = f"0x{int(vector['signing_root'], 16) ^ 1:064x}"
        request = {**vector["request"], "signingRoot": wrong}
        status, _, body = ask(connection, {**vector, "request": request}, json_client)
        assert (status, json.loads(body)["code"]) == (400, "SIGNING_ROOT_MISMATCH"), (vector["name"], body)
    assert wrong_answers(connection, vectors, json_client) == []
    connection.close()


@pytest.mark.parametrize("network", NETWORKS)
def test_what_contradicts_a_vector_is_refused(signers, tmp_path, network):
    """Each block and vote with another root in it, in every style; without its signature in the answer."""
    vectors = vectors_of(network)
    connection = interop.signer_with_keys(signers, tmp_path, network).start().connect()
    assert wrong_answers(connection, vectors, json_client) == []
    seen = set()
    for vector in vectors:
        request = copy.deepcopy(without_root(vector["request"]))
        if request["type"] == "ATTESTATION":
            request["attestation"]["beacon_block_root"] = OTHER_ROOT
        elif request["type"] in ("BLOCK", "BLOCK_V2"):
            block_of(request)["state_root"] = OTHER_ROOT
        else:
            continue
        for style in (json_client, silent_client, rootless_client, bare_key_client):
            status, _, body = ask(connection, {**vector, "request": request}, style)
            assert status == 412 and not re.search(rb"[0-9a-f]{192}", body), (vector["name"], body)
            seen.add(json.loads(body)["code"])
    assert seen == {"DOUBLE_VOTE", "DOUBLE_BLOCK"}
    assert wrong_answers(connection, vectors, json_client) == []
    connection.close()
