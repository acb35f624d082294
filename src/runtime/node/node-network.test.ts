import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bytes, Listener, Stream, StreamHandler } from '../network.js';
import { NetworkError, STREAM_INPUT_BYTES_MAX, STREAM_OUTPUT_BYTES } from '../network.js';
import { createRuntime } from './create-runtime.js';
import { STREAM_MAGIC } from './node-network.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-network-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(holds: () => boolean): Promise<void> {
  const start = Date.now();
  while (!holds() && Date.now() - start < 5000) await pause(1);
  expect(holds()).toBe(true);
}

/** Collects what it is told; consumes all, or what `take` says. */
class Recorder implements StreamHandler {
  bytes: number[] = [];
  reasons: string[] = [];
  drains = 0;
  inside = 0;
  take = (available: number): number => available;
  received(_stream: Stream, input: Bytes, start: number, end: number): number {
    expect(this.inside++).toBe(0);
    expect(this.reasons).toEqual([]);
    const taken = this.take(end - start);
    for (const byte of input.bytes.subarray(start, start + taken)) this.bytes.push(byte);
    this.inside--;
    return taken;
  }
  drained(): void {
    this.drains++;
  }
  closed(_stream: Stream, reason: string): void {
    this.reasons.push(reason);
  }
}

function send(stream: Stream, bytes: Uint8Array): boolean {
  const at = stream.reserve(bytes.length);
  if (at < 0) return false;
  stream.output.bytes.set(bytes, at);
  stream.commit(bytes.length);
  return true;
}

function sink(take: (end: number, start: number) => number = (end, start) => end - start) {
  return { received: (_s: Stream, _i: Bytes, start: number, end: number) => take(end, start) };
}

describe.each([
  ['polling', { poll: true }],
  ['libuv alone', { poll: false }],
])('%s', (_name, options) => {
  const { network } = createRuntime(options);

  async function pair(address = 'tcp://127.0.0.1:0') {
    const accepted = new Recorder();
    let server: Stream | undefined;
    const listener = await network.listen(address, (stream) => {
      server = stream;
      return accepted;
    });
    const handler = new Recorder();
    const client = await network.connect(listener.address, handler, 1000);
    await eventually(() => server !== undefined);
    return { client, handler, server: server as Stream, accepted, listener };
  }

  async function end(listener: Listener, ...streams: Stream[]) {
    for (const stream of streams) stream.close('test is over');
    await listener.close();
  }

  test.each(['tcp', 'unix', 'ring'])('bytes arrive in order, both ways, over %s', async (kind) => {
    const address = kind === 'tcp' ? undefined : `${kind}://${folder}/echo-${kind}-${options.poll}`;
    const { client, handler, server, accepted, listener } = await pair(address);
    const sent = { client: 0, server: 0 };
    for (let round = 0; round < 300; round++) {
      for (const [side, stream] of [
        ['client', client],
        ['server', server],
      ] as const) {
        const bytes = 8 * (1 + ((round * 7 + side.length) % 50));
        const piece = Uint8Array.from({ length: bytes }, (_, i) => (sent[side] + i) & 0xff);
        expect(send(stream, piece)).toBe(true);
        sent[side] += bytes;
        if (round % 3 !== 1) stream.flush();
      }
      if (round % 40 === 0) await pause(2);
      else if (round % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    client.flush();
    server.flush();
    await eventually(() => accepted.bytes.length === sent.client);
    await eventually(() => handler.bytes.length === sent.server);
    for (const { bytes } of [accepted, handler]) {
      expect(bytes.every((byte, i) => byte === (i & 0xff))).toBe(true);
    }
    await end(listener, client, server);
  });

  test('what is not consumed is shown again, aligned as before', async () => {
    const { client, server, accepted, listener } = await pair();
    const starts: number[] = [];
    accepted.received = (_stream, input, start, end) => {
      starts.push(start % 8);
      const taken = Math.max(0, end - start - 24) & ~7;
      for (let at = start; at < start + taken; at++) accepted.bytes.push(input.bytes[at] as number);
      return taken;
    };
    for (let i = 0; i < 2000; i++) {
      send(client, new Uint8Array(1000).fill(i));
      client.flush();
      if (i % 100 === 0) await pause(1);
    }
    await eventually(() => accepted.bytes.length >= 2000 * 1000 - 24);
    expect(accepted.bytes.every((byte, i) => byte === (Math.floor(i / 1000) & 0xff))).toBe(true);
    expect(starts.every((start) => start === 0)).toBe(true);
    await end(listener, client, server);
  });

  test('a paused reader stops the writer, and both go on after', async () => {
    const { client, handler, server, accepted, listener } = await pair();
    server.pause();
    const piece = new Uint8Array(64 * 1024);
    let sent = 0;
    for (let full = 0; full < 3; ) {
      piece.fill(sent / piece.length);
      if (send(client, piece)) sent += piece.length;
      else full++;
      client.flush();
      await pause(5);
    }
    expect(accepted.bytes.length).toBe(0);
    expect(client.pending).toBeGreaterThan(STREAM_OUTPUT_BYTES / 2);
    expect(handler.drains).toBe(0);
    let received = 0;
    let inOrder = true;
    accepted.received = (_stream, input, start, end) => {
      for (let at = start; at < end; at += 4096) {
        const expected = Math.floor((received + at - start) / piece.length) & 0xff;
        inOrder &&= input.bytes[at] === expected;
      }
      received += end - start;
      return end - start;
    };
    server.resume();
    await eventually(() => received === sent);
    expect(inOrder).toBe(true);
    expect(client.pending).toBe(0);
    await eventually(() => handler.drains > 0);
    await end(listener, client, server);
  });

  test('leftovers come again after a pause within the call', async () => {
    const { client, server, accepted, listener } = await pair();
    let calls = 0;
    accepted.received = (stream, _input, start, end) => {
      calls++;
      if (calls === 1) {
        stream.pause();
        return 0;
      }
      return end - start;
    };
    send(client, new Uint8Array(16));
    client.flush();
    await eventually(() => calls === 1);
    await pause(10);
    expect(calls).toBe(1);
    server.resume();
    expect(calls).toBe(1);
    await eventually(() => calls === 2);
    await end(listener, client, server);
  });

  test('closing tells both sides once, later, and nothing after', async () => {
    const { client, handler, server, accepted, listener } = await pair();
    send(client, new Uint8Array(8));
    client.flush();
    await eventually(() => accepted.bytes.length === 8);
    client.close('enough');
    client.close('again');
    expect(handler.reasons).toEqual([]);
    expect(client.reserve(8)).toBe(-1);
    await eventually(() => accepted.reasons.length === 1 && handler.reasons.length === 1);
    expect(handler.reasons).toEqual(['enough']);
    server.close('too late');
    await pause(5);
    expect(accepted.reasons).toHaveLength(1);
    expect(handler.reasons).toHaveLength(1);
    await end(listener);
  });

  test('a stream may be closed by its own handler', async () => {
    const { client, server, accepted, listener } = await pair();
    accepted.received = (stream, _input, start, end) => {
      stream.close('bad input');
      return end - start;
    };
    send(client, new Uint8Array(8));
    client.flush();
    await eventually(() => accepted.reasons[0] === 'bad input');
    await end(listener, client, server);
  });

  test('a handler that keeps everything and does not pause is a bug', async () => {
    const { client, server, accepted, listener } = await pair();
    accepted.received = () => 0;
    const caught = new Promise<Error>((resolve) => {
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const other of others) process.on('uncaughtException', other);
        resolve(error);
      });
    });
    for (let sent = 0; sent < STREAM_INPUT_BYTES_MAX; sent += 65536) {
      send(client, new Uint8Array(65536));
      client.flush();
    }
    expect((await caught).message).toContain('did not pause');
    await end(listener, client, server);
  });

  test('many streams at once, also more than are asked one by one', async () => {
    const count = 40;
    const handler = (): StreamHandler => ({
      ...sink(),
      received(stream, input, start, end) {
        send(stream, input.bytes.slice(start, end));
        stream.flush();
        return end - start;
      },
      drained() {},
      closed() {},
    });
    const listener = await network.listen('tcp://127.0.0.1:0', handler);
    const clients = await Promise.all(
      Array.from({ length: count }, async () => {
        const recorder = new Recorder();
        return { recorder, stream: await network.connect(listener.address, recorder, 1000) };
      }),
    );
    for (let round = 1; round <= 50; round++) {
      for (const { stream } of clients) {
        send(stream, new Uint8Array(8).fill(round));
        stream.expect(true);
        stream.flush();
      }
      await eventually(() => clients.every(({ recorder }) => recorder.bytes.length === round * 8));
      if (round === 25) for (const { stream } of clients.splice(0, 37)) stream.close('leaves');
    }
    for (const { stream } of clients) stream.close('test is over');
    await listener.close();
  });

  test('a socket file that nobody serves any more is taken over, a served one is not', async () => {
    const address = `unix://${folder}/stale-${options.poll}`;
    const path = address.slice('unix://'.length);
    const left = net.createServer().listen(path);
    await pause(10);
    await expect(network.listen(address, () => new Recorder())).rejects.toMatchObject({
      kind: 'in-use',
    });
    // As after a kill: the file stays, and nobody answers.
    renameSync(path, `${path}.kept`);
    left.close();
    await pause(10);
    renameSync(`${path}.kept`, path);
    const listener = await network.listen(address, () => new Recorder());
    expect(listener.address).toBe(address);
    await listener.close();
    writeFileSync(path, 'somebody wrote this');
    await expect(network.listen(address, () => new Recorder())).rejects.toMatchObject({
      kind: 'in-use',
    });
    expect(readFileSync(path, 'utf8')).toBe('somebody wrote this');
  });
});

describe('errors have a kind and a remedy', () => {
  const { network } = createRuntime();
  const errorOf = (promise: Promise<unknown>): Promise<NetworkError> =>
    promise.then(
      () => expect.unreachable(),
      (error: unknown) => {
        expect(error).toBeInstanceOf(NetworkError);
        return error as NetworkError;
      },
    );

  test('when listening and connecting', async () => {
    const listener = await network.listen('tcp://127.0.0.1:0', () => new Recorder());
    const { address } = listener;
    expect(await errorOf(network.listen(address, () => new Recorder()))).toMatchObject({
      kind: 'in-use',
      message: expect.stringContaining('choose another port'),
    });
    await listener.close();
    const connect = (to: string) => errorOf(network.connect(to, new Recorder(), 300));
    expect(await connect(address)).toMatchObject({ kind: 'refused' });
    expect(await connect(`unix://${folder}/none`)).toMatchObject({ kind: 'refused' });
    expect(await connect('tcp://127.0.0.1')).toMatchObject({ kind: 'invalid' });
    expect(await connect('udp://127.0.0.1:1')).toMatchObject({ kind: 'invalid' });
    expect(await connect('tcp://127.0.0.1:99999')).toMatchObject({ kind: 'invalid' });
  });
});

test('one port serves streams and HTTP', async () => {
  const { network } = createRuntime();
  const web = http.createServer((request, response) => {
    request.on('data', () => {});
    request.on('end', () => response.end(`you asked for ${request.url}`));
  });
  network.serveHttp(web);
  const accepted = new Recorder();
  const listener = await network.listen('tcp://127.0.0.1:0', () => accepted);
  const url = listener.address.replace('tcp:', 'http:');
  for (let i = 0; i < 3; i++) {
    const answer = await fetch(`${url}/status`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect(await answer.text()).toBe('you asked for /status');
  }
  const stream = await network.connect(listener.address, new Recorder(), 1000);
  const hello = Uint8Array.of(...STREAM_MAGIC, 0, 0, 0, 1);
  send(stream, hello);
  stream.flush();
  await eventually(() => accepted.bytes.length === 8);
  expect(accepted.bytes).toEqual([...hello]);
  stream.close('done');
  web.closeAllConnections();
  await listener.close();
});
