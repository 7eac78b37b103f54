/* Plugs Holdfast (POST /api/v1/duty/sign) into an Aztec validator. index.d.ts is the documentation. */
import { EthAddress } from '@aztec/foundation/eth-address';
import { Signature } from '@aztec/foundation/eth-signature';
import { DutyAlreadySignedError, SlashingProtectionError } from '@aztec/validator-ha-signer/errors';
import { randomBytes } from 'node:crypto';

const VOTES = new Set(['GOVERNANCE_VOTE', 'SLASHING_VOTE']);
const UNPROTECTED = new Set(['AUTH_REQUEST', 'TXS']);
const NO_INDEX = -1;
/* Longer than Holdfast itself takes to say that it cannot. */
const DEFAULT_TIMEOUT_MS = 8000;
/* Grants that the package never completed; it has one for each duty under way. */
const GRANTS_MAX = 10000;

export class HoldfastError extends Error {
    constructor(message, { status, code, signedBy } = {}) {
        super(message);
        this.name = 'HoldfastError';
        this.status = status;
        this.code = code;
        this.signedBy = signedBy;
    }
}

export class HoldfastClient {
    constructor({ url, rollupAddress, timeoutMs = DEFAULT_TIMEOUT_MS, fetch = globalThis.fetch, headers = {} }) {
        if (!url || !rollupAddress) {
            throw new TypeError('HoldfastClient needs url and rollupAddress');
        }
        this.endpoint = new URL('/api/v1/duty/sign', url).href;
        this.rollupAddress = rollupAddress.toString();
        this.timeoutMs = timeoutMs;
        this.fetch = fetch;
        this.headers = headers;
    }

    async sign({ validatorAddress, messageHash, dutyType, slot, blockNumber, blockIndexWithinCheckpoint, checkpointNumber,
                 hashing = VOTES.has(dutyType) ? 'raw' : 'eip191' }) {
        const body = { validatorAddress: validatorAddress.toString(), messageHash: messageHash.toString(), dutyType, hashing };
        if (!UNPROTECTED.has(dutyType)) {
            body.rollupAddress = this.rollupAddress;
            body.slot = String(slot);
            if (!VOTES.has(dutyType)) {
                body.blockNumber = String(blockNumber);
            }
            if (dutyType === 'BLOCK_PROPOSAL') {
                body.blockIndexWithinCheckpoint = blockIndexWithinCheckpoint;
            }
            if (checkpointNumber !== undefined) {
                body.checkpointNumber = String(checkpointNumber);
            }
        }
        return await this.#post(body);
    }

    async #post(body) {
        let response, text;
        try {
            response = await this.fetch(this.endpoint, {
                method: 'POST', body: JSON.stringify(body), signal: AbortSignal.timeout(this.timeoutMs),
                headers: { ...this.headers, 'content-type': 'application/json', accept: 'application/json' },
            });
            text = await response.text();
        } catch (cause) {
            /* Whatever Holdfast did, asking again for the same message is safe and gets the same signature. */
            throw new HoldfastError(`Holdfast did not answer: ${cause?.message ?? cause}`, { code: 'NO_ANSWER' });
        }
        let answer;
        try {
            answer = JSON.parse(text);
        } catch {
            answer = {};
        }
        if (response.status === 200 && /^0x[0-9a-f]{130}$/.test(answer.signature ?? '')) {
            return { signature: answer.signature, signedBy: answer.signedBy, stored: answer.stored };
        }
        throw new HoldfastError(answer.error ?? `Holdfast answered ${response.status}`,
                                { status: response.status, code: answer.code, signedBy: answer.signedBy });
    }
}

/* What Holdfast refused, in the words that the validator client knows. */
function translated(error, context, messageHash) {
    const { slot, dutyType, blockIndexWithinCheckpoint = NO_INDEX } = context;
    const by = error.signedBy || 'unknown';
    if (error.status === 409) {
        return new DutyAlreadySignedError(slot, dutyType, blockIndexWithinCheckpoint, by);
    }
    if (error.status === 412) {
        return new SlashingProtectionError(slot, dutyType, blockIndexWithinCheckpoint, 'unknown', messageHash.toString(), by);
    }
    return error;
}

/* Everything but signing is the base store's business. */
export class HoldfastKeyStore {
    constructor({ client, base, hashTypedData }) {
        this.client = client;
        this.base = base;
        this.hashTypedData = hashTypedData;
    }

    getAddress(index) { return this.base.getAddress(index); }
    getAddresses() { return this.base.getAddresses(); }
    getAttesterAddresses() { return this.base.getAttesterAddresses(); }
    getCoinbaseAddress(attester) { return this.base.getCoinbaseAddress(attester); }
    getPublisherAddresses(attester) { return this.base.getPublisherAddresses(attester); }
    getFeeRecipient(attester) { return this.base.getFeeRecipient(attester); }
    getRemoteSignerConfig(attester) { return this.base.getRemoteSignerConfig(attester); }
    async start() { await this.base.start?.(); }
    async stop() { await this.base.stop?.(); }

    async signMessageWithAddress(address, message, context) {
        return await this.#sign(address, message.toString(), context, 'eip191');
    }

    async signTypedDataWithAddress(address, typedData, context) {
        if (!this.hashTypedData) {
            throw new TypeError('HoldfastKeyStore needs hashTypedData (that of viem) for typed data');
        }
        return await this.#sign(address, this.hashTypedData(typedData), context, 'raw');
    }

    async signMessage(message, context) {
        return await this.#forAll((address) => this.signMessageWithAddress(address, message, context));
    }

    async signTypedData(typedData, context) {
        return await this.#forAll((address) => this.signTypedDataWithAddress(address, typedData, context));
    }

    async #sign(validatorAddress, messageHash, context, hashing) {
        try {
            const { signature } = await this.client.sign({ ...context, validatorAddress, messageHash, hashing });
            return Signature.fromString(signature);
        } catch (error) {
            throw error instanceof HoldfastError ? translated(error, context, messageHash) : error;
        }
    }

    /* One key's refusal does not discard the signatures of the others. */
    async #forAll(sign) {
        const results = await Promise.allSettled(this.getAddresses().map(sign));
        const failed = results.find((result) => result.status === 'rejected'
            && !(result.reason instanceof DutyAlreadySignedError) && !(result.reason instanceof SlashingProtectionError));
        const signatures = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
        if (failed && signatures.length === 0) {
            throw failed.reason;
        }
        return signatures;
    }
}

/* SlashingProtectionDatabase: the duty is locked, signed and recorded by Holdfast before the package's own callback
 * runs, so a grant is already the end of the story; the token only says which. */
export class HoldfastSlashingProtectionDatabase {
    #grants = new Map();

    constructor(client) {
        this.client = client;
    }

    async tryInsertOrGetExisting(params) {
        try {
            const answer = await this.client.sign(params);
            const lockToken = randomBytes(16).toString('hex');
            if (this.#grants.size >= GRANTS_MAX) {
                this.#grants.delete(this.#grants.keys().next().value);
            }
            this.#grants.set(lockToken, answer.signature);
            return { isNew: true, record: this.#record(params, 'signing', params.messageHash, params.nodeId, lockToken) };
        } catch (error) {
            if (error.status === 409) {
                return { isNew: false, record: this.#record(params, 'signing', params.messageHash, error.signedBy ?? '', '') };
            }
            if (error.status === 412) {
                /* Which message it was Holdfast does not tell; that it was another it does. */
                return { isNew: false, record: this.#record(params, 'signed', 'unknown', error.signedBy ?? '', '') };
            }
            throw error;
        }
    }

    /* The signature that Holdfast recorded, for a callback that has no key of its own. */
    signatureOf(lockToken) {
        return this.#grants.get(lockToken);
    }

    async updateDutySigned(rollupAddress, validatorAddress, slot, dutyType, signature, lockToken) {
        const recorded = this.#grants.get(lockToken);
        if (recorded === undefined) {
            return false;
        }
        this.#grants.delete(lockToken);
        if (recorded !== signature.toString().toLowerCase()) {
            /* Thrown, because the package hands out the signature when it is only told false. */
            throw new HoldfastError(`the signature for ${dutyType} at slot ${slot} is not the one that Holdfast recorded: `
                                    + 'the node signs with another key or another scheme');
        }
        return true;
    }

    /* Nothing is freed: Holdfast has signed, and gives that signature to whoever asks again. */
    async deleteDuty(rollupAddress, validatorAddress, slot, dutyType, lockToken) {
        return this.#grants.delete(lockToken);
    }

    /* Holdfast cleans by itself, and leaves a watermark where it does. */
    async cleanupOwnStuckDuties() { return 0; }
    async cleanupOutdatedRollupDuties() { return 0; }
    async cleanupOldDuties() { return 0; }
    async close() { this.#grants.clear(); }

    #record(params, status, messageHash, nodeId, lockToken) {
        return {
            rollupAddress: EthAddress.fromString(params.rollupAddress.toString()),
            validatorAddress: EthAddress.fromString(params.validatorAddress.toString()),
            slot: params.slot, blockNumber: params.blockNumber,
            blockIndexWithinCheckpoint: params.blockIndexWithinCheckpoint ?? NO_INDEX,
            dutyType: params.dutyType, status, messageHash, nodeId, lockToken, startedAt: new Date(),
        };
    }
}
