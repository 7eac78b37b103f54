// How many messages a second the package's own signer signs, with nothing around it: signer.mjs SECONDS
import { Buffer32 } from '@aztec/foundation/buffer';
import { Secp256k1Signer } from '@aztec/foundation/crypto/secp256k1-signer';

const seconds = Number(process.argv[2]);
const signer = Secp256k1Signer.random();
const message = Buffer32.random();
for (let i = 0; i < 200; i++) signer.signMessage(message); // its code is compiled by then
const before = process.cpuUsage();
const start = performance.now();
let signatures = 0;
while (performance.now() - start < seconds * 1000) {
  signer.signMessage(Buffer32.random());
  signatures++;
}
const wall = (performance.now() - start) / 1000;
const used = process.cpuUsage(before);
console.log(JSON.stringify({ signatures, cpu_seconds: (used.user + used.system) / 1e6, wall_seconds: wall }));
