/* A node that runs @aztec/validator-ha-signer, driven by lines of JSON.
 *
 *   driver.mjs migrate --url URL                     the package's own migrations
 *   driver.mjs serve --url URL --node ID [...]       requests on stdin, answers on stdout
 *   driver.mjs bench --url URL --node ID --seconds S --at-once N
 *
 * A request is {"id","slot","dutyType","blockIndex"?,"messageHash","signMs"?,"fail"?}; {"id","event":"signing"} is
 * told when the package calls for the signature, and then one of
 *   {"id","outcome":"signed","signature"} {"id","outcome":"already","signedBy"} {"id","outcome":"conflict","signedBy"}
 *   {"id","outcome":"error","message"}, each with "ms".
 */
import { Buffer32 } from '@aztec/foundation/buffer';
import { Secp256k1Signer } from '@aztec/foundation/crypto/secp256k1-signer';
import { EthAddress } from '@aztec/foundation/eth-address';
import { DutyAlreadySignedError, SlashingProtectionError } from '@aztec/validator-ha-signer/errors';
import { createHASigner } from '@aztec/validator-ha-signer/factory';
import { runMigrations } from '@aztec/validator-ha-signer/migrations';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { positionals, values: options } = parseArgs({
    allowPositionals: true,
    options: {
        url: { type: 'string' },
        node: { type: 'string', default: 'package' },
        rollup: { type: 'string', default: '0x' + '11'.repeat(20) },
        key: { type: 'string', default: '0x' + '42'.repeat(32) },
        polling: { type: 'string', default: '100' },
        timeout: { type: 'string', default: '3000' },
        pool: { type: 'string', default: '10' },
        'max-stuck-ms': { type: 'string', default: '144000' },
        'first-slot': { type: 'string', default: '1' },
        seconds: { type: 'string', default: '5' },
        'at-once': { type: 'string', default: '16' },
    },
});

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function context(request) {
    const common = { slot: Number(request.slot), dutyType: request.dutyType };
    if (request.dutyType.endsWith('_VOTE')) {
        return common;
    }
    const withBlock = { ...common, blockNumber: Number(request.blockNumber ?? 0) };
    return request.dutyType === 'BLOCK_PROPOSAL' ? { ...withBlock, blockIndexWithinCheckpoint: request.blockIndex } : withBlock;
}

function outcome(error) {
    if (error instanceof SlashingProtectionError) {
        return { outcome: 'conflict', signedBy: error.signedByNode };
    }
    if (error instanceof DutyAlreadySignedError) {
        return { outcome: 'already', signedBy: error.signedByNode };
    }
    return { outcome: 'error', message: String(error?.message ?? error) };
}

async function answer(signer, key, request) {
    const started = performance.now();
    const ms = () => Number((performance.now() - started).toFixed(3));
    try {
        const signature = await signer.signWithProtection(
            key.address, Buffer32.fromString(request.messageHash), context(request), async (hash) => {
                say({ id: request.id, event: 'signing' });
                if (request.signMs) {
                    await sleep(request.signMs);
                }
                if (request.fail) {
                    throw new Error('told to fail');
                }
                return key.signMessage(hash);
            });
        say({ id: request.id, outcome: 'signed', signature: signature.toString(), ms: ms() });
    } catch (error) {
        say({ id: request.id, ...outcome(error), ms: ms() });
    }
}

async function serve(signer, key) {
    say({ event: 'ready', address: key.address.toString() });
    const running = new Set();
    for await (const line of createInterface({ input: process.stdin })) {
        const request = JSON.parse(line);
        const task = answer(signer, key, request).finally(() => running.delete(task));
        running.add(task);
    }
    await Promise.all(running);
}

async function bench(signer, key) {
    const times = [];
    let slot = Number(options['first-slot']);
    const one = async () => {
        const started = performance.now();
        const request = { slot: slot++, dutyType: 'ATTESTATION', messageHash: '0x' + randomBytes(32).toString('hex') };
        await signer.signWithProtection(key.address, Buffer32.fromString(request.messageHash), context(request),
                                        (hash) => Promise.resolve(key.signMessage(hash)));
        times.push(performance.now() - started);
    };
    const load = async (seconds) => {
        const until = performance.now() + seconds * 1000;
        const lane = async () => {
            while (performance.now() < until) {
                await one();
            }
        };
        await Promise.all(Array.from({ length: Number(options['at-once']) }, lane));
    };
    await load(1); // what V8 and the pool need to be themselves
    times.length = 0;
    const started = performance.now();
    await load(Number(options.seconds));
    const wall = (performance.now() - started) / 1000;
    times.sort((a, b) => a - b);
    say({ signed: times.length, wall_seconds: wall, p50_ms: times[Math.floor(times.length / 2)],
          p99_ms: times[Math.floor(times.length * 0.99)], next_slot: slot });
}

if (positionals[0] === 'migrate') {
    say({ applied: await runMigrations(options.url) });
    process.exit(0);
}
const { signer } = await createHASigner({
    databaseUrl: options.url,
    haSigningEnabled: true,
    nodeId: options.node,
    l1Contracts: { rollupAddress: EthAddress.fromString(options.rollup) },
    pollingIntervalMs: Number(options.polling),
    signingTimeoutMs: Number(options.timeout),
    maxStuckDutiesAgeMs: Number(options['max-stuck-ms']),
    poolMaxCount: Number(options.pool),
});
const key = new Secp256k1Signer(Buffer32.fromString(options.key));
await (positionals[0] === 'bench' ? bench : serve)(signer, key);
await signer.stop();
