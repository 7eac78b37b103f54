/* The keystore of Aztec's node, whose remote signer is a running Holdfast.
 *   driver.mjs URL KEYSTORE_FILE SECRET [messages]      one line of JSON a check: {"name","ok","detail"?}
 */
import { Buffer32 } from '@aztec/foundation/buffer';
import { KeystoreManager, LocalSigner, RemoteSigner, SignerError, loadKeystoreFile } from '@aztec/node-keystore';
import assert from 'node:assert/strict';

const [url, file, secret, only] = process.argv.slice(2);
const local = new LocalSigner(Buffer32.fromString(secret));
const manager = new KeystoreManager(loadKeystoreFile(file));
const [attester] = manager.createAttesterSigners(0);
const [publisher] = manager.createPublisherSigners(0);
const PATIENCE_MS = only === undefined ? 60000 : 5000;
const hash = (n) => Buffer32.fromString('0x' + n.toString(16).padStart(64, '0'));
const contract = '0x' + 'aa'.repeat(20);
const EIP712Domain = [{ name: 'name', type: 'string' }, { name: 'version', type: 'string' },
                      { name: 'chainId', type: 'uint256' }, { name: 'verifyingContract', type: 'address' }];
const typed = (name, primaryType, members, message) => ({
    domain: { name, version: '1', chainId: 11155111, verifyingContract: contract },
    types: { EIP712Domain, [primaryType]: members.map(([type, member]) => ({ name: member, type })) },
    primaryType, message,
});
const vote = (slot, votes) => typed('TallySlashingProposer', 'Vote', [['bytes', 'votes'], ['uint256', 'slot']], { votes, slot });
const signal = (slot, payload) => typed('EmpireBase', 'Signal',
    [['address', 'payload'], ['uint256', 'slot'], ['address', 'instance']], { payload, slot, instance: '0x' + 'bb'.repeat(20) });
const transaction = { type: 'eip1559', chainId: 11155111, to: contract, data: '0x1234', value: 5n, nonce: 3, gas: 100000n,
                      maxFeePerGas: 20000000000n, maxPriorityFeePerGas: 1000000000n };
const rs = (signature) => [signature.r.toString(), signature.s.toString()];

const checks = {
    'the signer has the addresses of the keystore': async () => {
        assert.ok(attester instanceof RemoteSigner);
        assert.equal(attester.address.toString(), local.address.toString());
        await manager.validateSigners();
    },
    'an address that is not there is named': async () => {
        await assert.rejects(RemoteSigner.validateAccess(url, ['0x' + '99'.repeat(20)]), /not available.*0x99/);
    },
    'messages': async () => {
        for (const n of [1n, 2n ** 255n]) {
            assert.equal(String(await attester.signMessage(hash(n))), String(await local.signMessage(hash(n))));
        }
    },
    'votes, and the same again': async () => {
        for (const document of [vote(77n, '0x0102'), signal(77n, contract)]) {
            const wanted = String(await local.signTypedData(document));
            assert.equal(String(await attester.signTypedData(document)), wanted);
            assert.equal(String(await manager.signTypedData(attester, document)), wanted);
        }
    },
    'another vote of the slot is refused': async () => {
        for (const document of [vote(77n, '0x0103'), signal(77n, '0x' + 'cc'.repeat(20))]) {
            await assert.rejects(attester.signTypedData(document), SignerError);
        }
        const document = vote(78n, '0x0103');
        assert.equal(String(await attester.signTypedData(document)), String(await local.signTypedData(document)));
    },
    'other typed data': async () => {
        const document = typed('Rollup', 'Order', [['uint256[]', 'amounts'], ['string', 'note']],
                               { amounts: [1n, 2n ** 256n - 1n], note: '"ö"\n' });
        assert.equal(String(await attester.signTypedData(document)), String(await local.signTypedData(document)));
    },
    'transactions': async () => {
        assert.deepEqual(rs(await publisher.signTransaction(transaction)), rs(await local.signTransaction(transaction)));
        const creation = { ...transaction, to: undefined };
        assert.deepEqual(rs(await publisher.signTransaction(creation)), rs(await local.signTransaction(creation)));
    },
    'transactions with blobs': async () => {
        const blobs = { ...transaction, type: 'eip4844', maxFeePerBlobGas: 7n, blobVersionedHashes: ['0x01' + '22'.repeat(31)] };
        assert.deepEqual(rs(await publisher.signTransaction({ ...blobs, blobs: [new Uint8Array(131072)] })),
                         rs(await local.signTransaction(blobs)));
    },
    'a key that is not there': async () => {
        const { EthAddress } = await import('@aztec/foundation/eth-address');
        const stranger = new RemoteSigner(EthAddress.fromString('0x' + '99'.repeat(20)), url);
        await assert.rejects(stranger.signMessage(hash(1n)), SignerError);
    },
};

for (const [name, check] of Object.entries(checks).filter(([name]) => only === undefined || name === only)) {
    let line = { name, ok: true };
    let timer;
    /* A connection that is refused in the middle of TLS may leave fetch waiting for ever. */
    const patience = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no end')), PATIENCE_MS); });
    try {
        await Promise.race([check(), patience]);
    } catch (error) {
        line = { name, ok: false, detail: String(error?.stack ?? error) };
    }
    clearTimeout(timer);
    process.stdout.write(JSON.stringify(line) + '\n');
}
process.exit(0);
