#!/usr/bin/env python3
"""Requests whose containers are full, with roots recomputed by hashlib alone: lines of JSON.

The kept vectors leave the lists of block bodies and payloads empty. Here every list has elements. The
types are written down from the consensus specifications' Python (phase0, altair, electra, gloas of
v1.7.0-alpha.13), and hashed by the text of simple-serialize.md, EIP-7916 and EIP-7495; nothing is
shared with src/front.
"""
import hashlib
import json
import random

rng = random.Random(20260721)


def H(a, b):
    return hashlib.sha256(a + b).digest()


ZERO = [bytes(32)]
for _ in range(64):
    ZERO.append(H(ZERO[-1], ZERO[-1]))


def merkleize(chunks, limit):
    depth = max(limit - 1, 0).bit_length()
    layer = list(chunks)
    assert len(layer) <= max(limit, 1)
    for level in range(depth):
        if len(layer) % 2:
            layer.append(ZERO[level])
        layer = [H(layer[i], layer[i + 1]) for i in range(0, len(layer), 2)]
    return layer[0] if layer else ZERO[depth]


def merkleize_progressive(chunks, leaves=1):
    if not chunks:
        return bytes(32)
    return H(merkleize(chunks[:leaves], leaves), merkleize_progressive(chunks[leaves:], leaves * 4))


def pack(data):
    return [data[i:i + 32].ljust(32, b"\0") for i in range(0, len(data), 32)]


def with_length(root, length):
    return H(root, length.to_bytes(32, "little"))


def size():
    return rng.choice([1, 2, 3, 5, 6])


class Uint:
    def __init__(self, bits):
        self.bits = bits

    def make(self):
        value = rng.choice([0, 1, 2**self.bits - 1, rng.getrandbits(self.bits), rng.getrandbits(20)])
        return str(value), value.to_bytes(32, "little")


class Fixed:
    def __init__(self, value):
        self.value = value

    def make(self):
        return str(self.value), self.value.to_bytes(32, "little")


class Bytes:
    def __init__(self, length):
        self.length = length

    def make(self):
        value = rng.randbytes(self.length)
        return "0x" + value.hex(), merkleize(pack(value), (self.length + 31) // 32)


class ByteList:
    def __init__(self, limit):
        self.limit = limit

    def make(self):
        value = rng.randbytes(rng.choice([0, 1, 31, 32, 33, 200, 700]) if self.limit is None
                              else rng.randrange(self.limit + 1))
        root = (merkleize_progressive(pack(value)) if self.limit is None
                else merkleize(pack(value), (self.limit + 31) // 32))
        return "0x" + value.hex(), with_length(root, len(value))


class Bitvector:
    def __init__(self, length):
        self.length = length

    def make(self):
        value = rng.randbytes(self.length // 8)
        return "0x" + value.hex(), merkleize(pack(value), (self.length + 255) // 256)


class Bitlist:
    def __init__(self, limit):
        self.limit = limit

    def make(self):
        count = rng.choice([0, 1, 7, 8, 9, 255, 256, 257, 1023, 2047, 2048])
        bits = [rng.randrange(2) for _ in range(count)]
        number = sum(bit << i for i, bit in enumerate(bits))
        sent = (number | 1 << count).to_bytes(count // 8 + 1, "little")
        chunks = pack(number.to_bytes((count + 7) // 8, "little"))
        root = (merkleize_progressive(chunks) if self.limit is None
                else merkleize(chunks, (self.limit + 255) // 256))
        return "0x" + sent.hex(), with_length(root, count)


class List:
    def __init__(self, element, limit, count=None):
        self.element, self.limit, self.count = element, limit, count

    def make(self):
        count = self.count if self.count is not None else min(size(), self.limit or 6)
        items = [self.element.make() for _ in range(count)]
        values = [value for value, _ in items]
        roots = [root for _, root in items]
        limit = self.limit
        if isinstance(self.element, Uint):
            roots = pack(b"".join(root[:8] for root in roots))
            limit = limit and (limit + 3) // 4
        root = merkleize_progressive(roots) if limit is None else merkleize(roots, limit)
        return values, with_length(root, count)


class Vector:
    def __init__(self, element, length):
        self.element, self.length = element, length

    def make(self):
        items = [self.element.make() for _ in range(self.length)]
        return [v for v, _ in items], merkleize([r for _, r in items], self.length)


class Container:
    progressive = False

    def __init__(self, **fields):
        self.fields = fields

    def make(self, **fixed):
        made = {name: fixed.get(name) or kind.make() for name, kind in self.fields.items()}
        values = {name: value for name, (value, _) in made.items()}
        roots = [root for _, root in made.values()]
        if self.progressive:
            active = (2**len(roots) - 1).to_bytes(32, "little")
            return values, H(merkleize_progressive(roots), active)
        return values, merkleize(roots, len(roots))


class ProgressiveContainer(Container):
    progressive = True


u64, root, signature, pubkey, address = Uint(64), Bytes(32), Bytes(96), Bytes(48), Bytes(20)
checkpoint = Container(epoch=u64, root=root)
attestation_data = Container(slot=u64, index=u64, beacon_block_root=root, source=checkpoint,
                             target=checkpoint)
attestation = Container(aggregation_bits=Bitlist(2048), data=attestation_data, signature=signature)
header = Container(slot=u64, proposer_index=u64, parent_root=root, state_root=root, body_root=root)
signed_header = Container(message=header, signature=signature)
indexed = Container(attesting_indices=List(u64, 2048), data=attestation_data, signature=signature)
deposit_data = Container(pubkey=pubkey, withdrawal_credentials=root, amount=u64, signature=signature)
exit_message = Container(epoch=u64, validator_index=u64)
phase0_body = dict(
    randao_reveal=signature,
    eth1_data=Container(deposit_root=root, deposit_count=u64, block_hash=root), graffiti=root,
    proposer_slashings=List(Container(signed_header_1=signed_header, signed_header_2=signed_header), 16),
    attester_slashings=List(Container(attestation_1=indexed, attestation_2=indexed), 2),
    attestations=List(attestation, 128),
    deposits=List(Container(proof=Vector(root, 33), data=deposit_data), 16),
    voluntary_exits=List(Container(message=exit_message, signature=signature), 16))
altair_body = dict(phase0_body, sync_aggregate=Container(sync_committee_bits=Bitvector(512),
                                                         sync_committee_signature=signature))


def block(body):
    return Container(slot=u64, proposer_index=u64, parent_root=root, state_root=root,
                     body=Container(**body))


payload = ProgressiveContainer(
    parent_hash=root, fee_recipient=address, state_root=root, receipts_root=root,
    logs_bloom=Bytes(256), prev_randao=root, block_number=u64, gas_limit=u64, gas_used=u64,
    timestamp=u64, extra_data=ByteList(32), base_fee_per_gas=Uint(256), block_hash=root,
    transactions=List(ByteList(None), None, count=23),
    withdrawals=List(Container(index=u64, validator_index=u64, address=address, amount=u64), None),
    blob_gas_used=u64, excess_blob_gas=u64, block_access_list=ByteList(None), slot_number=u64)
requests = ProgressiveContainer(
    deposits=List(Container(pubkey=pubkey, withdrawal_credentials=root, amount=u64,
                            signature=signature, index=u64), None),
    withdrawals=List(Container(source_address=address, validator_pubkey=pubkey, amount=u64), None),
    consolidations=List(Container(source_address=address, source_pubkey=pubkey,
                                  target_pubkey=pubkey), None),
    builder_deposits=List(deposit_data, None),
    builder_exits=List(Container(source_address=address, pubkey=pubkey), None))
envelope = ProgressiveContainer(payload=payload, execution_requests=requests, builder_index=u64,
                                beacon_block_root=root, parent_beacon_block_root=root)
bid = ProgressiveContainer(
    parent_block_hash=root, parent_block_root=root, block_hash=root, prev_randao=root,
    fee_recipient=address, gas_limit=u64, builder_index=u64, slot=u64, value=u64,
    execution_payment=u64, blob_kzg_commitments=List(pubkey, None), execution_requests_root=root)
auth = Container(data=ByteList(4096), slot=u64)
aggregate = {
    "DENEB": attestation,
    "FULU": Container(aggregation_bits=Bitlist(131072), data=attestation_data, signature=signature,
                      committee_bits=Bitvector(64)),
    "GLOAS": ProgressiveContainer(aggregation_bits=Bitlist(None), data=attestation_data,
                                  signature=signature, committee_bits=Bitvector(64))}
contribution = Container(aggregator_index=u64, selection_proof=signature,
                         contribution=Container(slot=u64, beacon_block_root=root,
                                                subcommittee_index=u64,
                                                aggregation_bits=Bitvector(128),
                                                signature=signature))
# The order of the fields on the wire is free; that of the specification gives the root.
contribution.fields = {name: contribution.fields[name]
                       for name in ("aggregator_index", "contribution", "selection_proof")}


# From the networks' configuration files: slots per epoch, GENESIS and CAPELLA versions, DENEB epoch.
NETWORKS = {
    "mainnet": (32, "00000000", "03000000", 269568), "sepolia": (32, "90000069", "90000072", 132608),
    "holesky": (32, "01017000", "04017000", 29696), "hoodi": (32, "10000910", "40000910", 0),
    "gnosis": (16, "00000064", "03000064", 889856), "chiado": (16, "0000006f", "0300006f", 516608)}


def write(name, network, request, version, validators_root, object_root, domain_type):
    domain = domain_type + H(version.ljust(32, b"\0"), validators_root)[:28]
    print(json.dumps({"name": network + " " + name, "network": network,
                      "pubkey": "0x" + rng.randbytes(48).hex(), "request": request,
                      "signing_root": "0x" + H(object_root, domain).hex()}))


def fork_info(previous, current, epoch, validators_root):
    return {"fork": {"previous_version": "0x" + previous.hex(), "current_version": "0x" + current.hex(),
                     "epoch": str(epoch)},
            "genesis_validators_root": "0x" + validators_root.hex()}


def line(name, kind, body, slot, object_root, domain_type):
    """The fork is at times at the slot's epoch exactly, so that either version is used."""
    network = rng.choice(list(NETWORKS))
    previous, current, validators_root = rng.randbytes(4), rng.randbytes(4), rng.randbytes(32)
    epoch = slot // NETWORKS[network][0]
    fork_epoch = rng.choice([0, epoch, min(epoch + 1, 2**64 - 1)])
    request = {"type": kind, "fork_info": fork_info(previous, current, fork_epoch, validators_root)}
    request.update(body)
    write(name, network, request, previous if epoch < fork_epoch else current, validators_root,
          object_root, domain_type)


def lines_of_networks():
    """What depends on a network's own constants: registrations, builder authorisations, exits."""
    registration = Container(fee_recipient=address, gas_limit=u64, timestamp=u64, pubkey=pubkey)
    for network, (_, genesis, capella, deneb) in NETWORKS.items():
        genesis, capella = bytes.fromhex(genesis), bytes.fromhex(capella)
        value, object_root = registration.make()
        write("registration", network, {"type": "VALIDATOR_REGISTRATION", "validator_registration": value},
              genesis, bytes(32), object_root, bytes([0, 0, 0, 1]))
        value, object_root = auth.make()
        write("auth", network, {"type": "BUILDER_REQUEST_AUTH", "builder_request_auth": value},
              genesis, bytes(32), object_root, bytes([11, 0, 0, 1]))
        validators_root, older = rng.randbytes(32), rng.randbytes(4)
        # EIP-7044: the current fork is Deneb or later, or it is Capella's own; then neither.
        cases = [(older, rng.randbytes(4), deneb, capella), (older, capella, 7, capella)]
        if deneb > 0:
            cases.append((older, rng.randbytes(4), deneb - 1, older))
        for previous, current, fork_epoch, version in cases:
            value, object_root = Container(epoch=Fixed(0), validator_index=u64).make()
            write("exit", network, {"type": "VOLUNTARY_EXIT", "voluntary_exit": value,
                                    "fork_info": fork_info(previous, current, fork_epoch, validators_root)},
                  version, validators_root, object_root, bytes([4, 0, 0, 0]))


def main():
    domain = lambda n: bytes([n, 0, 0, 0])
    lines_of_networks()
    for turn in range(12):
        value, object_root = block(phase0_body).make()
        slot = int(value["slot"])
        line("phase0 block", "BLOCK", {"block": value}, slot, object_root, domain(0))
        line("phase0 block, V2", "BLOCK_V2", {"beacon_block": {"version": "PHASE0", "block": value}},
             slot, object_root, domain(0))
        value, object_root = block(altair_body).make()
        line("altair block", "BLOCK_V2", {"beacon_block": {"version": "ALTAIR", "block": value}},
             int(value["slot"]), object_root, domain(0))
        value, object_root = envelope.make()
        line("envelope", "EXECUTION_PAYLOAD_ENVELOPE",
             {"execution_payload_envelope": {"version": "GLOAS", "data": value}},
             int(value["payload"]["slot_number"]), object_root, domain(11))
        value, object_root = bid.make()
        line("bid", "EXECUTION_PAYLOAD_BID", {"execution_payload_bid": value}, int(value["slot"]),
             object_root, domain(11))
        for version, kind in aggregate.items():
            value, object_root = Container(aggregator_index=u64, aggregate=kind,
                                           selection_proof=signature).make()
            line(version + " aggregate", "AGGREGATE_AND_PROOF_V2",
                 {"aggregate_and_proof": {"version": version, "data": value}},
                 int(value["aggregate"]["data"]["slot"]), object_root, domain(6))
        value, object_root = contribution.make()
        line("contribution", "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
             {"contribution_and_proof": value}, int(value["contribution"]["slot"]), object_root,
             domain(9))


main()
