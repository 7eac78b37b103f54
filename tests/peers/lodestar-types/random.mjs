/*
 * Messages of every type and fork up to the newest, filled at random by Lodestar's SSZ types, signed by a
 * signer that runs, and verified by another BLS library over the root that Lodestar computes.
 *
 *   random.mjs --url URL --seed TEXT --rounds N
 *
 * Lengths of lists, byte strings and bit lists come most from around the boundaries of their trees. Writes
 * one JSON object a line: {name, ok, detail}.
 */
import {parseArgs} from "node:util";
import {createHash} from "node:crypto";
import {BitArray} from "@chainsafe/ssz";
import {ssz} from "@lodestar/types";
import herumi from "bls-eth-wasm";

const {values} = parseArgs({options: {url: {type: "string"}, seed: {type: "string"}, rounds: {type: "string"}}});
const SLOTS_PER_EPOCH = 32;
const GENESIS_ROOT = Buffer.from("4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95", "hex");
/* Mainnet's schedule; Gloas has no epoch yet, and any fork_info may name one. */
const FORKS = [["phase0", 0, 0], ["altair", 1, 74240], ["bellatrix", 2, 144896], ["capella", 3, 194048],
  ["deneb", 4, 269568], ["electra", 5, 364032], ["fulu", 6, 411392], ["gloas", 7, 2000000]];

/* ---- randomness, the same for the same seed ---------------------------------------------- */

let counter = 0;

function bytes(length) {
  const parts = [];
  for (let have = 0; have < length; have += 32) {
    parts.push(createHash("sha256").update(`${values.seed}/${counter++}`).digest());
  }
  return Uint8Array.from(Buffer.concat(parts).subarray(0, length));
}

const below = (limit) => Number(Buffer.from(bytes(6)).readUIntBE(0, 6) % limit);
const among = (list) => list[below(list.length)];
const LIST_LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 20, 21, 22];
const BYTE_LENGTHS = [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 159, 160, 161, 671, 672, 673, 1024, 1025];
const BIT_LENGTHS = [0, 1, 7, 8, 9, 255, 256, 257, 511, 512, 513, 1279, 1280, 1281, 2047, 2048, 5375, 5376, 5377, 131071, 131072];

/* One of the lengths that the type allows; ssz's progressive types have no limit. */
const lengthOf = (lengths, limit) => among(lengths.filter((length) => length <= (limit ?? Infinity)));

function bits(length) {
  const raw = bytes(Math.ceil(length / 8));
  return BitArray.fromBoolArray(Array.from({length}, (_, i) => ((raw[i >> 3] >> (i & 7)) & 1) === 1));
}

function random(type) {
  const name = type.constructor.name;
  switch (name) {
    case "BooleanType": return below(2) === 1;
    case "UintNumberType": return below(among([2, 1000, 2 ** Math.min(48, 8 * type.byteLength)]));
    case "UintBigintType": return BigInt("0x" + Buffer.from(bytes(type.byteLength)).toString("hex"));
    case "ByteVectorType": case "ExecutionAddressType": return bytes(type.lengthBytes);
    case "ByteListType": case "ProgressiveByteListType": return bytes(lengthOf(BYTE_LENGTHS, type.limitBytes));
    case "BitVectorType": return bits(type.lengthBits);
    case "BitListType": case "ProgressiveBitListType": return bits(lengthOf(BIT_LENGTHS, type.limitBits));
    case "ContainerType": case "ProgressiveContainerType":
      return Object.fromEntries(Object.entries(type.fields).map(([field, of]) => [field, random(of)]));
    case "VectorCompositeType": case "VectorBasicType": return Array.from({length: type.length}, () => random(type.elementType));
    case "ListCompositeType": case "ProgressiveListCompositeType": case "ListBasicType": case "ProgressiveListBasicType":
    case "ListUintNum64Type":
      return Array.from({length: lengthOf(LIST_LENGTHS, type.limit)}, () => random(type.elementType));
    default: throw Error(`no random value for ${name}`);
  }
}

/* ---- domains ------------------------------------------------------------------------------ */

const version = (number) => Uint8Array.of(number, 0, 0, 0);
const hex = (data) => "0x" + Buffer.from(data).toString("hex");

function signingRoot(type, message, domainType, forkVersion, genesisValidatorsRoot) {
  const forkData = ssz.phase0.ForkData.hashTreeRoot({currentVersion: forkVersion, genesisValidatorsRoot});
  const domain = Uint8Array.from([...domainType, ...forkData.subarray(0, 28)]);
  return ssz.phase0.SigningData.hashTreeRoot({objectRoot: type.hashTreeRoot(message), domain});
}

/* ---- messages: {type, ssz, message, domain, member(json)} of a fork at a slot --------------- */

function everyFork(types, fork, slot, epoch) {
  const name = fork.toUpperCase();
  const data = {...random(ssz.phase0.AttestationData), slot, source: {epoch: epoch - 1, root: bytes(32)},
    target: {epoch, root: bytes(32)}};
  const aggregate = random(types.AggregateAndProof);
  aggregate.aggregate.data = {...data, index: fork === "electra" || fork === "fulu" ? 0 : data.index % 2};
  const header = {...random(ssz.phase0.BeaconBlockHeader), slot: slot + 1};
  return [
    {type: "ATTESTATION", ssz: ssz.phase0.AttestationData, message: data, domain: 1, member: (json) => ({attestation: json})},
    {type: "RANDAO_REVEAL", ssz: ssz.Epoch, message: epoch, domain: 2, member: () => ({randao_reveal: {epoch: String(epoch)}})},
    {type: "AGGREGATION_SLOT", ssz: ssz.Slot, message: slot, domain: 5,
      member: () => ({aggregation_slot: {slot: String(slot)}})},
    {type: "AGGREGATE_AND_PROOF_V2", ssz: types.AggregateAndProof, message: aggregate, domain: 6,
      member: (json) => ({aggregate_and_proof: {version: name, data: json}})},
    ["phase0", "altair"].includes(fork)
      ? {type: "BLOCK_V2", ssz: types.BeaconBlock, message: {...random(types.BeaconBlock), slot: slot + 1}, domain: 0,
          member: (json) => ({beacon_block: {version: name, block: json}})}
      : {type: "BLOCK_V2", ssz: ssz.phase0.BeaconBlockHeader, message: header, domain: 0,
          member: (json) => ({beacon_block: {version: name, block_header: json}})},
  ];
}

function syncTypes(slot) {
  const root = bytes(32);
  const contribution = random(ssz.altair.ContributionAndProof);
  contribution.contribution.slot = slot;
  const selection = {...random(ssz.altair.SyncAggregatorSelectionData), slot};
  return [
    {type: "SYNC_COMMITTEE_MESSAGE", ssz: ssz.Root, message: root, domain: 7,
      member: (json) => ({sync_committee_message: {beacon_block_root: json, slot: String(slot)}})},
    {type: "SYNC_COMMITTEE_SELECTION_PROOF", ssz: ssz.altair.SyncAggregatorSelectionData, message: selection, domain: 8,
      member: (json) => ({sync_aggregator_selection_data: json})},
    {type: "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", ssz: ssz.altair.ContributionAndProof, message: contribution, domain: 9,
      member: (json) => ({contribution_and_proof: json})},
  ];
}

function gloasTypes(types, slot) {
  const own = (type, member, of, domain, fixed) => ({type, ssz: of, message: {...random(of), ...fixed}, domain,
    member: (json) => ({[member]: {version: "GLOAS", data: json}})});
  const envelope = own("EXECUTION_PAYLOAD_ENVELOPE", "execution_payload_envelope", types.ExecutionPayloadEnvelope, 0x0b, {});
  envelope.message.payload.slotNumber = slot; /* the slot of its epoch */
  return [
    envelope,
    own("EXECUTION_PAYLOAD_BID", "execution_payload_bid", types.ExecutionPayloadBid, 0x0b, {slot}),
    own("PAYLOAD_ATTESTATION_MESSAGE", "payload_attestation_message", types.PayloadAttestationData, 0x0c, {slot}),
    own("PROPOSER_PREFERENCES", "proposer_preferences", types.ProposerPreferences, 0x0d, {proposalSlot: slot}),
  ];
}

/* ---- asking ------------------------------------------------------------------------------- */

async function post(pubkey, body) {
  const response = await fetch(`${values.url}/api/v1/eth2/sign/${pubkey}`, {method: "POST", body: JSON.stringify(body),
    headers: {"Content-Type": "application/json", Accept: "application/json"}});
  const text = await response.text();
  if (response.status !== 200) {
    throw Error(`${response.status} ${text} for ${JSON.stringify(body).slice(0, 4000)}`);
  }
  return JSON.parse(text).signature;
}

function verify(pubkey, root, signature) {
  const key = new herumi.PublicKey();
  key.deserialize(Buffer.from(pubkey.slice(2), "hex"));
  const sig = new herumi.Signature();
  sig.deserialize(Buffer.from(signature.slice(2), "hex"));
  if (!key.verify(sig, root)) {
    throw Error("the signature is of something else");
  }
}

let failures = 0;

async function check(name, pubkey, body, root) {
  let ok = true;
  let detail = "";
  try {
    /* Without the root first, so that it is the signer's own that counts. */
    const signature = await post(pubkey, body);
    verify(pubkey, root, signature);
    if (await post(pubkey, {...body, signingRoot: hex(root)}) !== signature) {
      throw Error("the same again is signed otherwise");
    }
  } catch (error) {
    ok = false;
    detail = String(error.message);
    failures++;
  }
  console.log(JSON.stringify({name, ok, detail}));
}

async function signFork([fork, number, forkEpoch], round, pubkey) {
  const epoch = Math.max(forkEpoch, 2) + 3 * round + below(3);
  const slot = epoch * SLOTS_PER_EPOCH + below(SLOTS_PER_EPOCH - 1);
  const types = ssz[fork];
  const previous = Math.max(number - 1, 0);
  const messages = [...everyFork(types, fork, slot, epoch), ...(number >= 1 ? syncTypes(slot) : []),
    ...(number >= 7 ? gloasTypes(types, slot) : [])];
  for (const m of messages) {
    const body = {type: m.type, ...m.member(m.ssz.toJson(m.message)), fork_info: {
      fork: {previous_version: hex(version(previous)), current_version: hex(version(number)), epoch: String(forkEpoch)},
      genesis_validators_root: hex(GENESIS_ROOT)}};
    const root = signingRoot(m.ssz, m.message, [m.domain, 0, 0, 0], version(number), GENESIS_ROOT);
    await check(`${fork} ${m.type}`, pubkey, body, root);
  }
}

async function signForkless(pubkey) {
  const zero = new Uint8Array(32);
  const registration = {...random(ssz.bellatrix.ValidatorRegistrationV1), pubkey: Buffer.from(pubkey.slice(2), "hex")};
  await check("VALIDATOR_REGISTRATION", pubkey, {type: "VALIDATOR_REGISTRATION",
    validator_registration: ssz.bellatrix.ValidatorRegistrationV1.toJson(registration)},
  signingRoot(ssz.bellatrix.ValidatorRegistrationV1, registration, [0, 0, 0, 1], version(0), zero));
  const auth = random(ssz.gloas.BuilderRequestAuth);
  await check("BUILDER_REQUEST_AUTH", pubkey, {type: "BUILDER_REQUEST_AUTH",
    builder_request_auth: {version: "GLOAS", data: ssz.gloas.BuilderRequestAuth.toJson(auth)}},
  signingRoot(ssz.gloas.BuilderRequestAuth, auth, [0x0b, 0, 0, 1], version(0), zero));
  const deposit = {...random(ssz.phase0.DepositMessage), pubkey: Buffer.from(pubkey.slice(2), "hex")};
  await check("DEPOSIT", pubkey, {type: "DEPOSIT",
    deposit: {...ssz.phase0.DepositMessage.toJson(deposit), genesis_fork_version: "0x00000000"}},
  signingRoot(ssz.phase0.DepositMessage, deposit, [3, 0, 0, 0], version(0), zero));
}

await herumi.init(herumi.BLS12_381);
const keys = (await (await fetch(`${values.url}/api/v1/eth2/publicKeys`)).json()).sort();
const rounds = Array.from({length: Number(values.rounds)}, (_, round) => round);
/* Forward in time only: what is far behind the newest is pruned, and signed no more. */
for (const fork of FORKS) {
  for (const round of rounds) {
    await signFork(fork, round, keys[round % keys.length]);
  }
}
for (const round of rounds) {
  await signForkless(keys[round % keys.length]);
}
process.exitCode = failures === 0 ? 0 : 1;
