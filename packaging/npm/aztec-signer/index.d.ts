import type { Buffer32 } from '@aztec/foundation/buffer';
import type { EthAddress } from '@aztec/foundation/eth-address';
import type { Signature } from '@aztec/foundation/eth-signature';
import type { CheckAndRecordParams, SigningContext, SlashingProtectionDatabase, TryInsertOrGetResult } from '@aztec/validator-ha-signer/types';

export interface HoldfastClientConfig {
    /** Where Holdfast listens, for instance http://127.0.0.1:9000 */
    url: string;
    rollupAddress: EthAddress | string;
    /** One request; 8000 where not given. A request may be repeated without danger. */
    timeoutMs?: number;
    /** One that presents a client certificate, for Holdfast behind TLS. */
    fetch?: typeof globalThis.fetch;
    headers?: Record<string, string>;
}

export interface HoldfastDuty {
    validatorAddress: { toString(): string };
    messageHash: { toString(): string };
    dutyType: string;
    slot?: { toString(): string };
    blockNumber?: { toString(): string };
    blockIndexWithinCheckpoint?: number;
    checkpointNumber?: { toString(): string };
    /** eip191 is eth_sign, raw a digest of typed data; by the duty type where not given. */
    hashing?: 'eip191' | 'raw';
}

export interface HoldfastSignature {
    /** 0x and 130 digits: r, s, v. */
    signature: `0x${string}`;
    /** The node that signed. */
    signedBy: string;
    /** True when this very message was signed before. */
    stored: boolean;
}

/** Anything but a signature: status 409 held by another, 412 other data, 503 try again, undefined no answer. */
export declare class HoldfastError extends Error {
    status?: number;
    code?: string;
    signedBy?: string;
}

export declare class HoldfastClient {
    constructor(config: HoldfastClientConfig);
    sign(duty: HoldfastDuty): Promise<HoldfastSignature>;
}

/** What HoldfastKeyStore leaves to another store: which addresses there are and what belongs to them. */
export interface BaseKeyStore {
    getAddress(index: number): EthAddress;
    getAddresses(): EthAddress[];
}

/**
 * A validator's key store (ExtendedValidatorKeyStore) that signs through Holdfast. Refusals are the package's own
 * errors: DutyAlreadySignedError and SlashingProtectionError. No HA signer is needed around it.
 */
export declare class HoldfastKeyStore<B extends BaseKeyStore = BaseKeyStore> {
    constructor(options: {
        client: HoldfastClient;
        base: B;
        /** viem's; needed for votes and other typed data. */
        hashTypedData?: (typedData: any) => string;
    });
    getAddress(index: number): EthAddress;
    getAddresses(): EthAddress[];
    getAttesterAddresses(): EthAddress[];
    getCoinbaseAddress(attesterAddress: EthAddress): EthAddress;
    getPublisherAddresses(attesterAddress: EthAddress): EthAddress[];
    getFeeRecipient(attesterAddress: EthAddress): any;
    getRemoteSignerConfig(attesterAddress: EthAddress): any;
    start(): Promise<void>;
    stop(): Promise<void>;
    signMessage(message: Buffer32, context: SigningContext): Promise<Signature[]>;
    signMessageWithAddress(address: EthAddress, message: Buffer32, context: SigningContext): Promise<Signature>;
    signTypedData(typedData: any, context: SigningContext): Promise<Signature[]>;
    signTypedDataWithAddress(address: EthAddress, typedData: any, context: SigningContext): Promise<Signature>;
}

/** The storage interface of @aztec/validator-ha-signer, for `new ValidatorHASigner(db, config)`. */
export declare class HoldfastSlashingProtectionDatabase implements SlashingProtectionDatabase {
    constructor(client: HoldfastClient);
    tryInsertOrGetExisting(params: CheckAndRecordParams): Promise<TryInsertOrGetResult>;
    /** The signature behind a lock token, until it is completed. */
    signatureOf(lockToken: string): `0x${string}` | undefined;
    updateDutySigned: SlashingProtectionDatabase['updateDutySigned'];
    deleteDuty: SlashingProtectionDatabase['deleteDuty'];
    cleanupOwnStuckDuties: SlashingProtectionDatabase['cleanupOwnStuckDuties'];
    cleanupOutdatedRollupDuties: SlashingProtectionDatabase['cleanupOutdatedRollupDuties'];
    cleanupOldDuties: SlashingProtectionDatabase['cleanupOldDuties'];
    close(): Promise<void>;
}
