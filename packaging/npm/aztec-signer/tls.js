/*
 * Client certificates for a node whose remote signer shows none: @aztec/node-keystore reads certPath
 * and certPass and calls plain fetch. A fetch that shows a certificate to Holdfast, and to nobody else.
 *
 *   node --import @holdfast/aztec-signer/tls ...      with HOLDFAST_URL, HOLDFAST_TLS_CERT and so on: README.md
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

const TIMEOUT_MS = 10000;
/* Far more than any answer. */
const ANSWER_MAX = 64 << 20;

async function bodyOf(init) {
    const { body } = init;
    if (body === undefined || body === null || typeof body === 'string' || body instanceof Uint8Array) {
        return body ?? undefined;
    }
    return Buffer.from(await new Response(body).arrayBuffer());
}

function send(url, options, body) {
    return new Promise((resolve, reject) => {
        const call = request(url, options, (answer) => {
            const parts = [];
            let length = 0;
            answer.on('data', (part) => {
                parts.push(part);
                length += part.length;
                if (length > ANSWER_MAX) {
                    call.destroy(new Error('the answer is too long'));
                }
            });
            answer.on('end', () => resolve({ answer, body: Buffer.concat(parts) }));
            answer.on('error', reject);
        });
        call.on('timeout', () => call.destroy(new Error(`no answer within ${options.timeout} ms`)));
        call.on('error', reject);
        call.end(body);
    });
}

/*
 * { url, cert, key, ca, pfx, passphrase, timeoutMs, otherwise }: what node:tls takes of these; url is Holdfast's, and
 * otherwise (globalThis.fetch by default) gets the requests to all other origins.
 */
export function clientFetch({ url, timeoutMs = TIMEOUT_MS, otherwise = globalThis.fetch, ...credentials }) {
    const { origin, protocol } = new URL(url);
    if (protocol !== 'https:') {
        throw new TypeError('a client certificate needs an https URL');
    }
    const agent = new Agent({ ...credentials, keepAlive: true, minVersion: 'TLSv1.2' });
    return async function fetch(input, init = {}) {
        const target = new URL(input instanceof Request ? input.url : String(input));
        if (target.origin !== origin || input instanceof Request) {
            return otherwise(input, init);
        }
        const headers = Object.fromEntries(new Headers(init.headers));
        const options = { agent, headers, method: init.method ?? 'GET', timeout: timeoutMs, signal: init.signal ?? undefined };
        let done;
        try {
            done = await send(target, options, await bodyOf(init));
        } catch (error) {
            throw new TypeError('fetch failed', { cause: error });
        }
        return new Response(done.body, {
            status: done.answer.statusCode,
            statusText: done.answer.statusMessage,
            headers: { 'content-type': done.answer.headers['content-type'] ?? 'application/octet-stream' },
        });
    };
}

/* What the variables say; undefined when there is no certificate among them. */
export function fetchFromEnvironment(environment = process.env) {
    const file = (name) => (environment[name] ? readFileSync(environment[name]) : undefined);
    const options = { cert: file('HOLDFAST_TLS_CERT'), key: file('HOLDFAST_TLS_KEY'), ca: file('HOLDFAST_TLS_CA'),
                      pfx: file('HOLDFAST_TLS_P12') };
    if (options.cert === undefined && options.pfx === undefined) {
        return undefined;
    }
    if (!environment.HOLDFAST_URL) {
        throw new Error('HOLDFAST_URL: a client certificate is given, and not for whom');
    }
    return clientFetch({ ...options, url: environment.HOLDFAST_URL,
                         passphrase: file('HOLDFAST_TLS_PASSWORD')?.toString().trimEnd() });
}

const installed = fetchFromEnvironment();
if (installed !== undefined) {
    globalThis.fetch = installed;
}
