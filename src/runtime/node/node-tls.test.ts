// TLS between two of our streams over real sockets: who is let in, and who is not.
import { afterEach, expect, test } from 'vitest';
import { Authority } from '../../../test/support/certificates.js';
import { sleep } from '../clock.js';
import type { Listener, Stream, StreamHandler } from '../network.js';
import type { SecureStream, TlsClientSecrets, TlsServerSecrets } from '../tls.js';
import { createRuntime } from './create-runtime.js';

const runtime = createRuntime({ logLevel: 'error' });
const authority = new Authority('an authority');
const stranger = new Authority('another authority');
const own = authority.issue('localhost');
const CERTIFICATE: TlsServerSecrets = { kind: 'certificate', ...own };
const PROVEN: TlsServerSecrets = { ...CERTIFICATE, clientCa: authority.certificate };
const TRUST = { kind: 'certificate', ca: authority.certificate, server: 'localhost' } as const;
const KEY = Buffer.alloc(32, 9);
const PSK: TlsServerSecrets = { kind: 'psk', keys: new Map([['ann', KEY]]) };

const listeners: Listener[] = [];
afterEach(async () => {
  for (const listener of listeners.splice(0)) await listener.close();
});

/** One end of a secured connection, or of a plain one. */
class End implements StreamHandler {
  below: StreamHandler | undefined;
  stream!: Stream;
  read = '';
  closedBecause: string | undefined;
  plainClosed = 0;

  over(plain: Stream, secure?: SecureStream): void {
    this.stream = plain;
    if (secure === undefined) return;
    const secured = secure(plain, {
      received: (_stream, { bytes }, start, end) => this.#note(bytes, start, end),
      drained: () => undefined,
      closed: (_stream, reason) => (this.closedBecause = reason),
    });
    this.stream = secured.stream;
    this.below = secured.below;
  }

  #note(bytes: Uint8Array, start: number, end: number): number {
    this.read += Buffer.from(bytes.subarray(start, end)).toString('latin1');
    return end - start;
  }

  received: StreamHandler['received'] = (stream, input, start, end) =>
    this.below?.received(stream, input, start, end) ?? this.#note(input.bytes, start, end);

  drained: StreamHandler['drained'] = (stream) => this.below?.drained(stream);

  closed: StreamHandler['closed'] = (stream, reason) => {
    this.plainClosed++;
    if (this.below === undefined) this.closedBecause = reason;
    else this.below.closed(stream, reason);
  };

  write(bytes: string | Uint8Array): void {
    const all = Buffer.from(bytes);
    const at = this.stream.reserve((all.length + 7) & ~7);
    this.stream.output.bytes.set(all, at);
    this.stream.commit(all.length);
    this.stream.flush();
  }
}

/** A server, and a client; without secrets that one speaks plain text. */
async function pair(server: TlsServerSecrets, client?: TlsClientSecrets) {
  const far = new End();
  const near = new End();
  const secure = runtime.tls.server(server);
  const listener = await runtime.network.listen('tcp://127.0.0.1:0', (stream) => {
    far.over(stream, secure);
    return far;
  });
  listeners.push(listener);
  const stream = await runtime.network.connect(listener.address, near, 5000);
  near.over(stream, client === undefined ? undefined : runtime.tls.client(client));
  return { near, far };
}

async function speaks(server: TlsServerSecrets, client: TlsClientSecrets): Promise<void> {
  const { near, far } = await pair(server, client);
  near.write('question');
  await expect.poll(() => far.read).toBe('question');
  far.write('answer');
  await expect.poll(() => near.read).toBe('answer');
  far.stream.close('done');
  await expect.poll(() => [near.plainClosed, far.plainClosed]).toEqual([1, 1]);
  await expect.poll(() => near.closedBecause).toBeDefined();
  expect(far.closedBecause).toBe('done');
}

/** Both are told of the end, nobody twice, and the server shows nothing to its user. */
async function isRefused(server: TlsServerSecrets, client: TlsClientSecrets): Promise<string> {
  const { near, far } = await pair(server, client);
  near.write('question');
  await expect.poll(() => far.closedBecause).toBeDefined();
  await expect.poll(() => near.closedBecause).toBeDefined();
  await expect.poll(() => [near.plainClosed, far.plainClosed]).toEqual([1, 1]);
  expect([near.read, far.read]).toEqual(['', '']);
  expect(far.closedBecause?.trim()).not.toBe('');
  return far.closedBecause ?? '';
}

test('a client that trusts the authority of the server is served', () =>
  speaks(CERTIFICATE, TRUST));

test('a client that shows the certificate it is asked for is served', () =>
  speaks(PROVEN, { ...TRUST, own: authority.issue('a client') }));

test('a client that knows a key is served', () =>
  speaks(PSK, { kind: 'psk', identity: 'ann', key: KEY }));

test('a client without the certificate it is asked for is refused', async () => {
  await isRefused(PROVEN, TRUST);
});

test.each([
  ['of another authority', stranger.issue('a client')],
  ['that has expired', authority.issue('a client', -1)],
])('a client with a certificate %s is refused', async (_what, certificate) => {
  const reason = await isRefused(PROVEN, { ...TRUST, own: certificate });
  expect(reason).toContain("the client's certificate is not accepted");
});

test('a client that does not trust the server goes', async () => {
  await isRefused(CERTIFICATE, { ...TRUST, ca: stranger.certificate });
  await isRefused(CERTIFICATE, { ...TRUST, server: 'elsewhere' });
});

test('a client with a wrong key, or a name that is not known, is refused', async () => {
  await isRefused(PSK, { kind: 'psk', identity: 'ann', key: Buffer.alloc(32, 8) });
  await isRefused(PSK, { kind: 'psk', identity: 'bob', key: KEY });
});

test('certificates and keys do not speak with each other', async () => {
  await isRefused(PSK, TRUST);
  await isRefused(CERTIFICATE, { kind: 'psk', identity: 'ann', key: KEY });
});

test.each([
  ['plain text', 'GET / HTTP/1.0\r\n\r\n'],
  ['noise', Uint8Array.from({ length: 5000 }, (_, i) => (i * 40_503) >> 3)],
  ['a handshake of garbage', Uint8Array.of(22, 3, 1, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9)],
])('%s ends the connection', async (_what, bytes) => {
  const { near, far } = await pair(CERTIFICATE);
  near.write(bytes);
  await expect.poll(() => far.closedBecause).toBeDefined();
  await expect.poll(() => near.closedBecause).toBeDefined();
  expect(far.read).toBe('');
});

test('a client that stops in the middle of the handshake is waited for, and may go', async () => {
  const { near, far } = await pair(CERTIFICATE);
  // The first bytes of a record that never becomes whole.
  near.write(Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3));
  await sleep(runtime.timers, 100);
  expect(far.closedBecause).toBeUndefined();
  near.stream.close('gone');
  await expect.poll(() => far.closedBecause).toBeDefined();
  expect(far.plainClosed).toBe(1);
});

test('who waits for the handshake no longer closes, and is told', async () => {
  const { near, far } = await pair(CERTIFICATE);
  await expect.poll(() => far.stream).toBeDefined();
  far.stream.close('too slow');
  await expect.poll(() => far.closedBecause).toBe('too slow');
  await expect.poll(() => near.closedBecause).toBeDefined();
  expect(far.plainClosed).toBe(1);
});

test('a client that goes while answers wait is noticed by a server that stands still', async () => {
  const { near, far } = await pair(CERTIFICATE, TRUST);
  near.write('question');
  await expect.poll(() => far.read).toBe('question');
  near.stream.pause();
  far.stream.pause();
  // More than all buffers on the way hold.
  const piece = new Uint8Array(256 * 1024);
  for (let i = 0; i < 200; i++) {
    while (far.stream.reserve(piece.length) >= 0) far.stream.commit(piece.length);
    far.stream.flush();
    await sleep(runtime.timers, 2);
  }
  near.stream.close('gone');
  await expect.poll(() => far.closedBecause, { timeout: 5000 }).toBeDefined();
});

test('what cannot be used is told, and which of them', () => {
  const { tls } = runtime;
  const about = (secrets: TlsServerSecrets): unknown => {
    try {
      tls.server(secrets);
    } catch (error) {
      return (error as { about?: string }).about;
    }
    return undefined;
  };
  const base = { kind: 'certificate', ...own } as const;
  expect(about({ ...base, certificate: 'x' })).toBe('certificate');
  expect(about({ ...base, key: 'x' })).toBe('key');
  expect(about({ ...base, key: authority.issue('other').key })).toBe('key');
  expect(about({ ...base, clientCa: 'x' })).toBe('clientCa');
  expect(about({ ...base, clientCa: '' })).toBe('clientCa');
});
