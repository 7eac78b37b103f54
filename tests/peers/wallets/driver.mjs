/* Three libraries judge what a running Holdfast signs for a key of the execution layer.
 *   driver.mjs URL SECRET SEED VECTORS      one line of JSON a check: {"name","ok","detail"?}
 */
import { SignTypedDataVersion, recoverPersonalSignature, recoverTypedSignature } from '@metamask/eth-sig-util';
import { Transaction, TypedDataEncoder, Wallet, getAddress, verifyMessage, verifyTypedData } from 'ethers';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { getTypesForEIP712Domain, hashTypedData, parseTransaction, recoverAddress, recoverMessageAddress, recoverTransactionAddress, serializeTypedData } from 'viem';

const [url, secret, seed, vectors] = process.argv.slice(2);
const wallet = new Wallet(secret);
const address = wallet.address;
const ROUNDS = 60;
let id = 0;

async function call(method, ...params) {
    id += 1;
    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' },
                                      body: JSON.stringify({ jsonrpc: '2.0', id, method, params }) });
    const { result, error, id: told } = await answer.json();
    assert.equal(told, id);
    if (error !== undefined) {
        throw new Error(`${error.data.code}: ${error.message}`);
    }
    return result;
}

/* A small generator of numbers, the same for the same seed (mulberry32). */
let state = Number(seed) >>> 0;
function random(n) {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
}
const hex = (bytes) => '0x' + Array.from({ length: bytes }, () => random(256).toString(16).padStart(2, '0')).join('');
const big = (bits) => BigInt(hex(32)) & ((1n << BigInt(bits)) - 1n);
const pick = (list) => list[random(list.length)];

/* ---- random typed data ---- */

function atom() {
    const bits = 8 * (1 + random(32));
    return pick(['bool', 'string', 'bytes', 'address', `bytes${1 + random(32)}`, `uint${bits}`, `int${bits}`]);
}

/* Names of structs are in the order of their making, so that there is no circle, which two of the libraries refuse. */
function makeTypes() {
    const names = ['Msg', 'Alpha', 'beta_2', 'Zed'].slice(0, 1 + random(4));
    const types = {};
    names.forEach((name, i) => {
        const inner = names.slice(i + 1);
        types[name] = Array.from({ length: 1 + random(4) }, (_, k) => {
            const base = inner.length > 0 && random(3) === 0 ? pick(inner) : atom();
            return { name: `m${k}`, type: base + pick(['', '', '', '[]', '[2]', '[][]', '[2][]']) };
        });
        for (const [k, name_] of inner.slice(0, 1).entries()) {
            types[name].push({ name: `used${k}`, type: name_ });
        }
    });
    return types;
}

function makeValue(types, type) {
    const array = /^(.*)\[(\d*)\]$/.exec(type);
    if (array) {
        const length = array[2] === '' ? random(3) : Number(array[2]);
        return Array.from({ length }, () => makeValue(types, array[1]));
    }
    if (types[type]) {
        return Object.fromEntries(types[type].map(({ name, type: inner }) => [name, makeValue(types, inner)]));
    }
    const sized = /^(bytes|uint|int)(\d+)$/.exec(type);
    if (sized?.[1] === 'bytes') {
        return hex(Number(sized[2]));
    }
    if (sized) {
        const bits = Number(sized[2]);
        const value = sized[1] === 'uint' ? big(bits) : big(bits - 1) - (random(2) === 0 ? 0n : 1n << BigInt(bits - 1));
        return pick([value.toString(), value >= 0n ? '0x' + value.toString(16) : value.toString()]);
    }
    return { bool: () => random(2) === 0, address: () => getAddress(hex(20)), bytes: () => hex(random(70)),
             string: () => pick(['', 'plain', '"quoted" \\ \n\t', 'äö€𐍈', '\u0000\u007f'.repeat(random(4))]) }[type]();
}

function makeDomain() {
    const all = { name: 'Holdfast ' + random(100), version: '1', chainId: random(1000000), verifyingContract: getAddress(hex(20)), salt: hex(32) };
    return Object.fromEntries(Object.entries(all).filter(() => random(3) !== 0));
}

/* ---- transactions ---- */

const from = { from: address };
const quantities = (tx) => Object.fromEntries(Object.entries(tx).map(([name, value]) => [name, typeof value === 'bigint' ? '0x' + value.toString(16) : value]));
const base = () => ({ nonce: big(40), gas: 21000n + big(20), value: big(90), data: hex(random(100)), to: getAddress(hex(20)), chainId: 1n + big(30) });
const accessList = () => [{ address: getAddress(hex(20)), storageKeys: [hex(32), hex(32)] }, { address: getAddress(hex(20)), storageKeys: [] }];
const tips = () => ({ maxPriorityFeePerGas: 7n, maxFeePerGas: 7n + big(60) });
const makers = {
    legacy: () => ({ ...base(), gasPrice: big(60) }),
    creation: () => ({ ...base(), ...tips(), to: null, data: hex(40) }),
    accessList: () => ({ ...base(), gasPrice: big(60), accessList: accessList() }),
    dynamicFee: () => ({ ...base(), ...tips(), accessList: accessList() }),
    blob: () => ({ ...base(), ...tips(), maxFeePerBlobGas: big(60), blobVersionedHashes: ['0x01' + hex(31).slice(2), '0x01' + hex(31).slice(2)] }),
};

async function checkTransaction(tx) {
    const raw = await call('eth_signTransaction', quantities({ ...tx, ...from }));
    const read = Transaction.from(raw);
    assert.equal(read.from, address);
    assert.equal(await recoverTransactionAddress({ serializedTransaction: raw }), address);
    const other = parseTransaction(raw);
    const told = { nonce: BigInt(read.nonce), gas: read.gasLimit, value: read.value, data: read.data, to: read.to, chainId: read.chainId };
    const viem = { nonce: BigInt(other.nonce ?? 0), gas: other.gas, value: other.value ?? 0n, data: other.data ?? '0x',
                   to: other.to ? getAddress(other.to) : null, chainId: BigInt(other.chainId) };
    const wanted = Object.fromEntries(Object.keys(told).map((name) => [name, tx[name]]));
    assert.deepEqual(told, wanted);
    assert.deepEqual(viem, wanted);
    for (const name of ['gasPrice', 'maxFeePerGas', 'maxPriorityFeePerGas', 'maxFeePerBlobGas', 'blobVersionedHashes']) {
        if (tx[name] !== undefined) {
            assert.deepEqual(read[name], tx[name], name);
            assert.deepEqual(other[name], tx[name], name);
        }
    }
    if (tx.accessList) {
        assert.deepEqual(read.accessList, tx.accessList);
    }
    return read;
}

const checks = {
    'eth_accounts': async () => {
        assert.deepEqual((await call('eth_accounts')).map(getAddress), [address]);
    },
    'messages': async () => {
        for (let i = 0; i < ROUNDS; i += 1) {
            const bytes = hex(1 + random(i === 0 ? 3000 : 80));
            const raw = Buffer.from(bytes.slice(2), 'hex');
            if (raw.length === 32) {
                continue;
            }
            const signature = await call('eth_sign', address, bytes);
            assert.equal(await call('personal_sign', bytes, address), signature);
            assert.equal(verifyMessage(raw, signature), address);
            assert.equal(getAddress(recoverPersonalSignature({ data: bytes, signature })), address);
            assert.equal(await recoverMessageAddress({ message: { raw }, signature }), address);
            assert.equal(signature, await wallet.signMessage(raw));
        }
    },
    'random typed data, as object and as string': async () => {
        for (let i = 0; i < ROUNDS; i += 1) {
            const types = makeTypes();
            const document = { domain: makeDomain(), types, primaryType: 'Msg', message: makeValue(types, 'Msg') };
            const payload = TypedDataEncoder.getPayload(document.domain, types, document.message);
            const method = pick(['eth_signTypedData', 'eth_signTypedData_v4']);
            const given = pick([document, JSON.stringify(document), payload, JSON.stringify(payload, null, 2)]);
            const signature = await call(method, address, given);
            assert.equal(verifyTypedData(document.domain, types, document.message, signature), address, JSON.stringify(document));
            assert.equal(getAddress(recoverTypedSignature({ data: payload, signature, version: SignTypedDataVersion.V4 })), address);
        }
    },
    'what viem sends': async () => {
        const domain = { name: 'x', chainId: 5, verifyingContract: getAddress(hex(20)) };
        const types = { EIP712Domain: getTypesForEIP712Domain({ domain }), Order: [
            { name: 'maker', type: 'address' }, { name: 'amounts', type: 'uint256[]' }, { name: 'note', type: 'string' }] };
        const document = { domain, types, primaryType: 'Order',
                           message: { maker: address, amounts: [1n, 2n ** 256n - 1n], note: 'ö' } };
        const signature = await call('eth_signTypedData_v4', address, serializeTypedData(document));
        assert.equal(await recoverAddress({ hash: hashTypedData(document), signature }), address);
    },
    'published typed data': async () => {
        const lines = readFileSync(vectors, 'utf8').trimEnd().split('\n');
        for (let i = random(10); i < lines.length; i += 10) {
            const [digest, text] = [lines[i].slice(0, 66), lines[i].slice(67)];
            const signature = await call('eth_signTypedData', address, text);
            assert.equal(await recoverAddress({ hash: digest, signature }), address, text);
        }
    },
    'transactions of every type': async () => {
        for (const [name, make] of Object.entries(makers)) {
            for (let i = 0; i < 8; i += 1) {
                const read = await checkTransaction(make());
                assert.equal(read.type, { legacy: 0, accessList: 1, creation: 2, dynamicFee: 2, blob: 3 }[name]);
            }
        }
    },
    'an authorization list': async () => {
        const code = getAddress(hex(20));
        const grant = await new Wallet('0x' + '77'.repeat(32)).authorize({ address: code, nonce: 3, chainId: 9 });
        const tx = { ...base(), ...tips(), chainId: 9n, authorizationList: [{
            chainId: '0x9', address: code, nonce: '0x3', yParity: '0x' + grant.signature.yParity.toString(16), r: grant.signature.r, s: grant.signature.s }] };
        const { authorizationList, ...rest } = tx;
        const raw = await call('eth_signTransaction', { ...quantities({ ...rest, ...from }), authorizationList });
        const read = Transaction.from(raw);
        assert.deepEqual([read.type, read.from, read.authorizationList.length], [4, address, 1]);
        assert.equal(read.authorizationList[0].address, code);
        assert.equal(read.authorizationList[0].signature.r, grant.signature.r);
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
