/*
 * Lodestar's own validator client code against a signer that runs.
 *
 *   driver.mjs --url URL --network NAME
 *
 * Every duty of every fork that this Lodestar knows goes through the ValidatorStore, or through
 * externalSignerPostSignature where the store has no call for it. Each signature is verified by two BLS
 * libraries over a signing root that Lodestar's SSZ computed. The client's own slashing protection lets
 * everything through, so that whatever is refused is refused by the signer.
 *
 * Writes one JSON object a line for each check: {name, ok, detail}.
 */
import {parseArgs} from "node:util";
import {createHash} from "node:crypto";
import {BitArray, fromHexString, toHexString} from "@chainsafe/ssz";
import {PublicKey, Signature, verify as blstVerify} from "@chainsafe/blst";
import herumi from "bls-eth-wasm";
import {createIBeaconConfig} from "@lodestar/config";
import {genesisData, networksChainConfig} from "@lodestar/config/networks";
import * as params from "@lodestar/params";
import {
  blindedOrFullBlockHashTreeRoot, computeDomain, computeSigningRoot, computeStartSlotAtEpoch, ZERO_HASH,
} from "@lodestar/state-transition";
import {ssz} from "@lodestar/types";
import {SignerType, ValidatorStore, externalSignerGetKeys, externalSignerPostSignature} from "@lodestar/validator";

const {values: {url, network}} = parseArgs({options: {url: {type: "string"}, network: {type: "string"}}});

/* This release left Capella unscheduled on the networks that had not voted on it yet. */
const CAPELLA_EPOCHS = {mainnet: 194048, sepolia: 56832, gnosis: 648704};
const GENESIS_VERSIONS = {mainnet: "0x00000000", sepolia: "0x90000069", gnosis: "0x00000064"};

const chain = {...networksChainConfig[network], CAPELLA_FORK_EPOCH: CAPELLA_EPOCHS[network]};
const genesisRoot = fromHexString(genesisData[network].genesisValidatorsRoot);
const config = createIBeaconConfig(chain, genesisRoot);

/* ---- counting ---------------------------------------------------------------------------- */

let failures = 0;

async function check(name, work) {
  let ok = true;
  let detail = "";
  try {
    detail = (await work()) ?? "";
  } catch (error) {
    ok = false;
    detail = String(error?.stack ?? error);
  }
  failures += ok ? 0 : 1;
  console.log(JSON.stringify({name, ok, detail}));
}

function must(condition, sentence) {
  if (!condition) {
    throw Error(sentence);
  }
}

/* The refusal has to be the signer's, with this code in its body. */
async function mustRefuse(code, work) {
  let answer;
  try {
    answer = await work();
  } catch (error) {
    must(error.message.includes(`"code":"${code}"`), `refused otherwise: ${error.message}`);
    must(!/[0-9a-f]{192}/.test(error.message), "a refusal holds a signature");
    return;
  }
  throw Error(`signed: ${JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? String(value) : value))}`);
}

/* ---- verifying --------------------------------------------------------------------------- */

function verifyBoth(pubkey, signingRoot, signature) {
  must(blstVerify(signingRoot, PublicKey.fromBytes(pubkey, true), Signature.fromBytes(signature, true), true, true),
    "blst does not verify the signature");
  const key = new herumi.PublicKey();
  key.deserialize(pubkey);
  const sig = new herumi.Signature();
  sig.deserialize(signature);
  must(key.verify(sig, signingRoot), "herumi does not verify the signature");
  const wrong = Uint8Array.from(signingRoot);
  wrong[31] ^= 1;
  must(!key.verify(sig, wrong), "herumi verifies anything");
}

function verifyAt(slot, domainType, type, message, pubkey, signature) {
  verifyBoth(pubkey, computeSigningRoot(type, message, config.getDomain(slot, domainType)), signature);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* Bytes that follow from the words, so that a second run makes the same messages. */
function bytes(length, ...words) {
  const parts = [];
  for (let i = 0; i * 32 < length; i++) {
    parts.push(createHash("sha256").update(`${words.join("/")}/${i}`).digest());
  }
  return Uint8Array.from(Buffer.concat(parts).subarray(0, length));
}

const root = (...words) => bytes(32, ...words);
const bits = (length, ...words) => BitArray.fromBoolArray(
  Array.from({length}, (_, i) => (bytes(32, ...words)[i % 32] >> (i % 8)) % 2 === 1));

function attestationData(slot, index, mark = 0) {
  const epoch = Math.floor(slot / params.SLOTS_PER_EPOCH);
  return {slot, index, beaconBlockRoot: root("block", slot, mark), source: {epoch: epoch - 1, root: root("cp", epoch - 1)},
    target: {epoch, root: root("cp", epoch)}};
}

function attestation(slot) {
  return {aggregationBits: bits(100, "bits", slot), data: attestationData(slot, 3), signature: bytes(96, "aggregate", slot)};
}

function header(slot, mark) {
  return {slot: BigInt(slot), proposerIndex: 5, parentRoot: root("parent", slot), stateRoot: root("state", slot, mark),
    bodyRoot: root("body", slot, mark)};
}

/* A block with at least one of everything that the old forks have. */
function fill(block, slot, mark) {
  Object.assign(block, {slot, proposerIndex: 77, parentRoot: root("parent", slot), stateRoot: root("state", slot, mark)});
  const body = block.body;
  body.randaoReveal = bytes(96, "randao", slot);
  body.eth1Data = {depositRoot: root("deposits"), depositCount: 12345, blockHash: root("eth1")};
  body.graffiti = root("graffiti", mark);
  body.proposerSlashings = [{
    signedHeader1: {message: header(slot - 1, 1), signature: bytes(96, "one")},
    signedHeader2: {message: header(slot - 1, 2), signature: bytes(96, "two")},
  }];
  const indexed = (which) => ({attestingIndices: [1, 5, 70000], data: bigintData(slot - 1, which),
    signature: bytes(96, "indexed", which)});
  body.attesterSlashings = [{attestation1: indexed(1), attestation2: indexed(2)}];
  body.attestations = [attestation(slot - 1), attestation(slot - 2)];
  body.deposits = [{proof: Array.from({length: 33}, (_, i) => root("proof", i)), data: {pubkey: bytes(48, "depositor"),
    withdrawalCredentials: root("credentials"), amount: 32e9, signature: bytes(96, "deposit")}}];
  body.voluntaryExits = [{message: {epoch: 3, validatorIndex: 9}, signature: bytes(96, "exit")}];
  if (body.syncAggregate) {
    body.syncAggregate = {syncCommitteeBits: bits(params.SYNC_COMMITTEE_SIZE, "sync", slot),
      syncCommitteeSignature: bytes(96, "sync", slot)};
  }
  return block;
}

function bigintData(slot, mark) {
  const data = attestationData(slot, 1, mark);
  const wide = (checkpoint) => ({...checkpoint, epoch: BigInt(checkpoint.epoch)});
  return {...data, slot: BigInt(slot), index: 1n, source: wide(data.source), target: wide(data.target)};
}

const fullBlock = (slot, mark = 0) => fill(config.getForkTypes(slot).BeaconBlock.defaultValue(), slot, mark);
const blindedBlock = (slot, mark = 0) => fill(config.getBlindedForkTypes(slot).BeaconBlock.defaultValue(), slot, mark);

/* ---- duties ------------------------------------------------------------------------------ */

function duty(pubkey, slot, index) {
  return {pubkey, slot, committeeIndex: index, validatorIndex: 77, committeeLength: 128, committeesAtSlot: 64,
    validatorCommitteeIndex: 11};
}

async function signBlock(store, pubkey, block) {
  const signed = await store.signBlock(pubkey, block, block.slot);
  const domain = config.getDomain(block.slot, params.DOMAIN_BEACON_PROPOSER);
  const objectRoot = blindedOrFullBlockHashTreeRoot(config, block);
  verifyBoth(pubkey, ssz.phase0.SigningData.hashTreeRoot({objectRoot, domain}), signed.signature);
  return signed.signature;
}

async function signAttestation(store, pubkey, data) {
  const epoch = data.target.epoch;
  const signed = await store.signAttestation(duty(toHexString(pubkey), data.slot, data.index), data, epoch);
  verifyAt(computeStartSlotAtEpoch(epoch), params.DOMAIN_BEACON_ATTESTER, ssz.phase0.AttestationData, data, pubkey,
    signed.signature);
  return signed.signature;
}

/* What every fork has. */
function dutiesOf(store, key, slot, epoch) {
  return {
    randao: async () => verifyAt(slot, params.DOMAIN_RANDAO, ssz.Epoch, epoch, key, await store.signRandao(key, slot)),
    attestation: async () => void (await signAttestation(store, key, attestationData(slot, 3))),
    selection: async () => verifyAt(slot, params.DOMAIN_SELECTION_PROOF, ssz.Slot, slot, key,
      await store.signAttestationSelectionProof(key, slot)),
    aggregate: async () => {
      const signed = await store.signAggregateAndProof(duty(toHexString(key), slot, 3), bytes(96, "proof"), attestation(slot));
      verifyAt(slot, params.DOMAIN_AGGREGATE_AND_PROOF, ssz.phase0.AggregateAndProof, signed.message, key, signed.signature);
    },
    "full block": async () => void (await signBlock(store, key, fullBlock(slot))),
    exit: async () => {
      const signed = await store.signVoluntaryExit(key, 77, epoch);
      verifyAt(computeStartSlotAtEpoch(epoch), params.DOMAIN_VOLUNTARY_EXIT, ssz.phase0.VoluntaryExit, signed.message, key,
        signed.signature);
    },
  };
}

function syncDutiesOf(store, key, slot) {
  return {
    "sync message": async () => {
      const signed = await store.signSyncCommitteeSignature(key, 77, slot, root("head", slot));
      verifyAt(slot, params.DOMAIN_SYNC_COMMITTEE, ssz.Root, signed.beaconBlockRoot, key, signed.signature);
    },
    "sync selection": async () => verifyAt(slot, params.DOMAIN_SYNC_COMMITTEE_SELECTION_PROOF,
      ssz.altair.SyncAggregatorSelectionData, {slot, subcommitteeIndex: 2}, key,
      await store.signSyncCommitteeSelectionProof(key, slot, 2)),
    "sync contribution": async () => {
      const contribution = {slot, beaconBlockRoot: root("head", slot), subcommitteeIndex: 2,
        aggregationBits: bits(params.SYNC_COMMITTEE_SIZE / params.SYNC_COMMITTEE_SUBNET_COUNT, "sub", slot),
        signature: bytes(96, "contribution")};
      const signed = await store.signContributionAndProof({pubkey: key, validatorIndex: 77}, bytes(96, "proof"), contribution);
      verifyAt(slot, params.DOMAIN_CONTRIBUTION_AND_PROOF, ssz.altair.ContributionAndProof, signed.message, key,
        signed.signature);
    },
  };
}

async function signFork(store, keys, fork) {
  const epoch = Math.max(fork.epoch, 2);
  for (const [where, at] of [["first epoch", epoch], ["later", epoch + 40]]) {
    const slot = computeStartSlotAtEpoch(at) + 5;
    for (const [index, key] of keys.entries()) {
      const duties = {...dutiesOf(store, key, slot, at),
        ...(fork.seq >= params.ForkSeq.altair ? syncDutiesOf(store, key, slot) : {}),
        ...(fork.seq >= params.ForkSeq.bellatrix
          ? {"blinded block": async () => void (await signBlock(store, key, blindedBlock(slot + 1)))} : {})};
      for (const [name, work] of Object.entries(duties)) {
        await check(`${fork.name} ${where}: ${name}, key ${index}`, work);
      }
    }
  }
}

async function signForkless(store, key) {
  await check("registration", async () => {
    const signed = await store.signValidatorRegistration(key, {feeRecipient: "0x" + "ab".repeat(20), gasLimit: 30000000}, 0);
    const domain = computeDomain(params.DOMAIN_APPLICATION_BUILDER, fromHexString(GENESIS_VERSIONS[network]), ZERO_HASH);
    verifyBoth(key, computeSigningRoot(ssz.bellatrix.ValidatorRegistrationV1, signed.message, domain), signed.signature);
  });
  await check("deposit", async () => {
    const version = fromHexString(GENESIS_VERSIONS[network]);
    const message = {pubkey: key, withdrawalCredentials: root("credentials"), amount: 32e9};
    const signingRoot = computeSigningRoot(ssz.phase0.DepositMessage, message, computeDomain(params.DOMAIN_DEPOSIT, version,
      ZERO_HASH));
    const signature = await externalSignerPostSignature(config, url, toHexString(key), signingRoot, 0,
      {type: "DEPOSIT", data: {...message, genesisForkVersion: version}});
    verifyBoth(key, signingRoot, fromHexString(signature));
  });
}

/* ---- refusals ---------------------------------------------------------------------------- */

async function checkRefusals(store, keys, forks) {
  const [key] = keys;
  const at = Math.max(forks.at(-1).epoch, 2) + 100;
  const slot = computeStartSlotAtEpoch(at) + 5;
  const data = attestationData(slot, 3);
  await check("refused: a second vote for the target", async () => {
    const first = await signAttestation(store, key, data);
    await mustRefuse("DOUBLE_VOTE", () => signAttestation(store, key, attestationData(slot, 3, 1)));
    must(toHexString(first) === toHexString(await signAttestation(store, key, data)), "the same vote again differs");
  });
  await check("refused: votes that surround or are surrounded", async () => {
    const next = (source, target) => ({...attestationData(computeStartSlotAtEpoch(target) + 5, 3),
      source: {epoch: source, root: root("cp", source)}});
    await signAttestation(store, key, next(at + 3, at + 8));
    await mustRefuse("SURROUNDED_VOTE", () => signAttestation(store, key, next(at + 4, at + 7)));
    await mustRefuse("SURROUNDING_VOTE", () => signAttestation(store, key, next(at + 2, at + 9)));
  });
  await check("refused: a second block of the slot, full or blinded", async () => {
    const first = await signBlock(store, key, fullBlock(slot));
    await mustRefuse("DOUBLE_BLOCK", () => signBlock(store, key, fullBlock(slot, 1)));
    await mustRefuse("DOUBLE_BLOCK", () => signBlock(store, key, blindedBlock(slot, 2)));
    must(toHexString(first) === toHexString(await signBlock(store, key, fullBlock(slot))), "the same block again differs");
  });
  await check("refused: a key that the signer has not", () =>
    mustRefuse("UNKNOWN_KEY", () => store.signRandao(STRANGER, slot)));
  await check("refused: another chain", () => {
    const other = storeFor(createIBeaconConfig(chain, root("another genesis")), [key]);
    return mustRefuse("WRONG_NETWORK", () => other.signRandao(key, slot));
  });
  await check("refused: a root that is not the message's", () => mustRefuse("SIGNING_ROOT_MISMATCH", () =>
    externalSignerPostSignature(config, url, toHexString(key), root("some other"), slot,
      {type: "RANDAO_REVEAL", data: {epoch: at}})));
}

/* ---- all of it --------------------------------------------------------------------------- */

/* A well-formed key that is nobody's here: the generator of the group. */
const STRANGER = fromHexString(
  "0x97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb");

function storeFor(beaconConfig, keys) {
  const letsAllThrough = {checkAndInsertBlockProposal: async () => {}, checkAndInsertAttestation: async () => {}};
  const signers = keys.map((key) => ({type: SignerType.Remote, url, pubkey: toHexString(key)}));
  return new ValidatorStore(beaconConfig, letsAllThrough, null, null, null, signers, undefined,
    beaconConfig.genesisValidatorsRoot);
}

await herumi.init(herumi.BLS12_381);
const keys = [];
await check("public keys", async () => {
  const listed = await externalSignerGetKeys(url);
  must(listed.length === 4, `listed: ${listed}`);
  keys.push(...listed.sort().map((key) => fromHexString(key)));
});
const store = storeFor(config, [...keys, STRANGER]);
const forks = config.forksAscendingEpochOrder.filter((fork) => fork.epoch !== Infinity);
await check("forks", () => {
  must(forks.map((fork) => fork.name).join() === "phase0,altair,bellatrix,capella", `scheduled: ${forks.map((f) => f.name)}`);
});
for (const fork of forks) {
  await signFork(store, keys, fork);
}
await signForkless(store, keys[0]);
await checkRefusals(store, keys, forks);
process.exitCode = failures === 0 ? 0 : 1;
