/* The adapter's declarations are what the package's own say. Compiled, not run. */
import type { SlashingProtectionDatabase } from '@aztec/validator-ha-signer/types';
import { ValidatorHASigner } from '@aztec/validator-ha-signer/validator-ha-signer';
import { HoldfastClient, HoldfastSlashingProtectionDatabase } from '@holdfast/aztec-signer';

const client = new HoldfastClient({ url: 'http://127.0.0.1:9000', rollupAddress: '0x' + '11'.repeat(20) });
const db: SlashingProtectionDatabase = new HoldfastSlashingProtectionDatabase(client);
export const make = (config: ConstructorParameters<typeof ValidatorHASigner>[1]) => new ValidatorHASigner(db, config);
