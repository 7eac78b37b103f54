/*
 * Lodestar's own slashing protection, for histories that go from one signer to the other.
 *
 *   interchange.mjs --root ROOT --import FILE [--export FILE] [--ask FILE]
 *
 * Imports an EIP-3076 file into a fresh database of Lodestar's, then decides the messages of the ask file
 * (an array of {pubkey, slot, signing_root} or {pubkey, source_epoch, target_epoch, signing_root}) in order,
 * recording what it allows, and exports. Writes one JSON object a line: {ok} for each message.
 */
import {parseArgs} from "node:util";
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {fromHexString} from "@chainsafe/ssz";
import {createIBeaconConfig} from "@lodestar/config";
import {networksChainConfig} from "@lodestar/config/networks";
import {LevelDbController} from "@lodestar/db";
import {SlashingProtection} from "@lodestar/validator";

const {values} = parseArgs({options: {root: {type: "string"}, import: {type: "string"}, export: {type: "string"},
  ask: {type: "string"}}});
const root = fromHexString(values.root);
const folder = mkdtempSync(join(tmpdir(), "lodestar-"));
const quiet = {error: console.error, warn() {}, info() {}, debug() {}, verbose() {}, trace() {}};
const controller = new LevelDbController({name: join(folder, "db")}, {metrics: null, logger: quiet});

try {
  await controller.start();
  const protection = new SlashingProtection({config: createIBeaconConfig(networksChainConfig.mainnet, root), controller});
  const json = (path) => JSON.parse(readFileSync(path, "utf8"));
  await protection.importInterchange(json(values.import), root, quiet);
  for (const message of values.ask ? json(values.ask) : []) {
    const pubkey = fromHexString(message.pubkey);
    const signingRoot = fromHexString(message.signing_root);
    let ok = true;
    try {
      if (message.slot !== undefined) {
        await protection.checkAndInsertBlockProposal(pubkey, {slot: Number(message.slot), signingRoot});
      } else {
        await protection.checkAndInsertAttestation(pubkey, {sourceEpoch: Number(message.source_epoch),
          targetEpoch: Number(message.target_epoch), signingRoot});
      }
    } catch (error) {
      if (error.type === undefined) {
        throw error; /* not a refusal */
      }
      ok = false;
    }
    console.log(JSON.stringify({ok}));
  }
  if (values.export) {
    const known = await protection.listPubkeys();
    writeFileSync(values.export, JSON.stringify(await protection.exportInterchange(root, known, {version: "5"})));
  }
} finally {
  await controller.stop();
  rmSync(folder, {recursive: true});
}
