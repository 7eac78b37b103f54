/* @holdfast/aztec-signer against a running Holdfast, with the package's own classes around it.
 *   adapter.mjs HOLDFAST_URL DATABASE_URL      one line of JSON a check: {"name","ok","detail"?}
 */
import { Buffer32 } from '@aztec/foundation/buffer';
import { Secp256k1Signer } from '@aztec/foundation/crypto/secp256k1-signer';
import { EthAddress } from '@aztec/foundation/eth-address';
import { DutyAlreadySignedError, SlashingProtectionError } from '@aztec/validator-ha-signer/errors';
import { createHASigner } from '@aztec/validator-ha-signer/factory';
import { ValidatorHASigner } from '@aztec/validator-ha-signer/validator-ha-signer';
import { HoldfastClient, HoldfastError, HoldfastKeyStore, HoldfastSlashingProtectionDatabase } from '@holdfast/aztec-signer';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, databaseUrl] = process.argv.slice(2);
const rollupAddress = EthAddress.fromString('0x' + '11'.repeat(20));
const key = new Secp256k1Signer(Buffer32.fromString('0x' + '42'.repeat(32)));
const message = (n) => Buffer32.fromString('0x' + n.toString(16).padStart(64, '0'));
const attestation = (slot) => ({ slot, blockNumber: 0, dutyType: 'ATTESTATION' });
const config = { haSigningEnabled: true, nodeId: 'adapter', l1Contracts: { rollupAddress }, pollingIntervalMs: 50,
                 signingTimeoutMs: 3000, maxStuckDutiesAgeMs: 144000 };

const client = new HoldfastClient({ url, rollupAddress });
const base = {
    getAddress: () => key.address, getAddresses: () => [key.address], getAttesterAddresses: () => [key.address],
    getFeeRecipient: () => 'fees', getCoinbaseAddress: () => key.address, getPublisherAddresses: () => [key.address],
    getRemoteSignerConfig: () => undefined,
};
const typedDigest = message(0xd16e57n);
const store = new HoldfastKeyStore({ client, base, hashTypedData: () => typedDigest.toString() });
const db = new HoldfastSlashingProtectionDatabase(client);
const signer = new ValidatorHASigner(db, config);
const local = async (hash) => key.signMessage(hash);
const { signer: theirs } = await createHASigner({ ...config, nodeId: 'the-package', databaseUrl });

const checks = {
    'a duty through the key store is what the key itself would sign': async () => {
        const signature = await store.signMessageWithAddress(key.address, message(1n), attestation(1));
        assert.equal(signature.toString(), key.signMessage(message(1n)).toString());
    },
    'the same message again gets the same signature': async () => {
        const again = await store.signMessage(message(1n), attestation(1));
        assert.deepEqual(again.map(String), [key.signMessage(message(1n)).toString()]);
    },
    'another message for the duty is refused in the package\'s words': async () => {
        await assert.rejects(store.signMessageWithAddress(key.address, message(2n), attestation(1)), SlashingProtectionError);
        assert.deepEqual(await store.signMessage(message(2n), attestation(1)), []);
    },
    'every duty type': async () => {
        for (const dutyType of ['BLOCK_PROPOSAL', 'CHECKPOINT_PROPOSAL', 'ATTESTATION', 'ATTESTATIONS_AND_SIGNERS']) {
            const context = { slot: 2, blockNumber: 5, blockIndexWithinCheckpoint: 1, dutyType };
            const signature = await store.signMessageWithAddress(key.address, message(3n), context);
            assert.equal(signature.toString(), key.signMessage(message(3n)).toString());
        }
    },
    'votes are signed as the digest of typed data': async () => {
        for (const dutyType of ['GOVERNANCE_VOTE', 'SLASHING_VOTE']) {
            const signature = await store.signTypedDataWithAddress(key.address, {}, { slot: 3, dutyType });
            assert.equal(signature.toString(), key.sign(typedDigest).toString());
        }
    },
    'AUTH_REQUEST and TXS pass as often as asked for': async () => {
        for (const dutyType of ['AUTH_REQUEST', 'TXS']) {
            for (const n of [4n, 5n]) {
                const signature = await store.signMessageWithAddress(key.address, message(n), { dutyType });
                assert.equal(signature.toString(), key.signMessage(message(n)).toString());
            }
        }
    },
    'what belongs to an address is the base store\'s': async () => {
        assert.deepEqual([store.getFeeRecipient(key.address), store.getAddresses()], ['fees', [key.address]]);
    },
    'the package\'s signer on the adapter\'s store': async () => {
        const signature = await signer.signWithProtection(key.address, message(6n), attestation(6), local);
        assert.equal(signature.toString(), key.signMessage(message(6n)).toString());
        const again = await signer.signWithProtection(key.address, message(6n), attestation(6), local);
        assert.equal(again.toString(), signature.toString());
        await assert.rejects(signer.signWithProtection(key.address, message(7n), attestation(6), local), SlashingProtectionError);
    },
    'a callback that fails loses nothing: the next one gets the signature': async () => {
        const failing = async () => { throw new Error('no key here'); };
        await assert.rejects(signer.signWithProtection(key.address, message(8n), attestation(8), failing), /no key here/);
        const signature = await signer.signWithProtection(key.address, message(8n), attestation(8), local);
        assert.equal(signature.toString(), key.signMessage(message(8n)).toString());
    },
    'a callback with another key hands nothing out': async () => {
        const stranger = Secp256k1Signer.random();
        await assert.rejects(signer.signWithProtection(key.address, message(9n), attestation(9),
                                                       async (hash) => stranger.signMessage(hash)), HoldfastError);
    },
    'the package\'s node in the same database was first': async () => {
        await theirs.signWithProtection(key.address, message(10n), attestation(10), local);
        await assert.rejects(signer.signWithProtection(key.address, message(11n), attestation(10), local),
                             (error) => error instanceof SlashingProtectionError && error.signedByNode === 'the-package');
        const signature = await store.signMessageWithAddress(key.address, message(10n), attestation(10));
        assert.equal(signature.toString(), key.signMessage(message(10n)).toString());
    },
    'the adapter was first': async () => {
        await store.signMessageWithAddress(key.address, message(12n), attestation(12));
        await assert.rejects(theirs.signWithProtection(key.address, message(12n), attestation(12), local), DutyAlreadySignedError);
        await assert.rejects(theirs.signWithProtection(key.address, message(13n), attestation(12), local), SlashingProtectionError);
    },
    'the package\'s node is signing the same: its signature is waited for': async () => {
        const slow = async (hash) => { await sleep(400); return key.signMessage(hash); };
        const first = theirs.signWithProtection(key.address, message(14n), attestation(14), slow);
        await sleep(100);
        const second = await store.signMessageWithAddress(key.address, message(14n), attestation(14));
        assert.equal(second.toString(), (await first).toString());
    },
    'an unknown key and a signer that is away are told apart': async () => {
        const other = Secp256k1Signer.random();
        await assert.rejects(store.signMessageWithAddress(other.address, message(1n), attestation(15)),
                             (error) => error instanceof HoldfastError && error.status === 404);
        const nobody = new HoldfastClient({ url: 'http://127.0.0.1:9', rollupAddress });
        await assert.rejects(nobody.sign({ ...attestation(15), validatorAddress: key.address, messageHash: message(1n) }),
                             (error) => error instanceof HoldfastError && error.code === 'NO_ANSWER');
    },
};

for (const [name, check] of Object.entries(checks)) {
    let line = { name, ok: true };
    try {
        await check();
    } catch (error) {
        line = { name, ok: false, detail: String(error?.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(line) + '\n');
}
await theirs.stop();
