import { spawn } from 'node:child_process';
import { chmodSync, closeSync, ftruncateSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BYTE_RING_BYTES } from '../byte-ring.js';
import { type Listener, NetworkError, type Stream, type StreamHandler } from '../network.js';
import { createRuntime } from './create-runtime.js';
import { descriptorOf, nodeMemory } from './node-memory.js';
import { identityOf } from './process-identity.js';
import { createRingFile, openRingFile } from './ring-file.js';
import { MFD_ALLOW_SEALING, MFD_CLOEXEC, mapShared, memfdCreate } from './system.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-rings-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(holds: () => boolean, what: string): Promise<void> {
  const start = Date.now();
  while (!holds() && Date.now() - start < 10_000) await rest(2);
  expect(holds(), what).toBe(true);
}

let places = 0;
const place = (): string => `ring://${folder}/${++places}`;
const quiet: StreamHandler = {
  received: (_stream, _input, start, end) => end - start,
  drained() {},
  closed() {},
};

describe('a side that is not as it should be', () => {
  const { network } = createRuntime({ logLevel: 'error' });

  const failure = (promise: Promise<unknown>): Promise<NetworkError> =>
    promise.then(
      () => expect.unreachable(),
      (error: unknown) => {
        expect(error).toBeInstanceOf(NetworkError);
        return error as NetworkError;
      },
    );

  /** A hello as any version may write it. */
  function hello(version: number, name: string, magic = 'MRR1'): Buffer {
    const bytes = Buffer.alloc(256);
    bytes.write(magic, 0, 'latin1');
    bytes.writeUInt32LE(version, 4);
    bytes.writeUInt32LE(BYTE_RING_BYTES, 8);
    bytes.writeUInt32LE(bytes.write(name, 16, 'latin1'), 12);
    return bytes;
  }

  /** Says a hello of its own making; the answer, or nothing. */
  async function greet(listener: Listener, bytes: Buffer) {
    const socket = net.connect({ path: listener.address.slice('ring://'.length) });
    let answer = Buffer.alloc(0);
    let isClosed = false;
    socket.on('data', (chunk) => (answer = Buffer.concat([answer, chunk])));
    socket.on('error', () => {});
    socket.on('close', () => (isClosed = true));
    socket.write(bytes);
    await eventually(() => answer.length >= 256 || isClosed, 'an answer');
    return { socket, code: answer.readUInt32LE(8), text: answer.toString('latin1', 16) };
  }

  test('another version, no hello, or memory that is none: refused with a reason', async () => {
    let accepted = 0;
    const listener = await network.listen(place(), () => {
      accepted += 1;
      return quiet;
    });
    const unsealed = memfdCreate('memrack unsealed', MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ftruncateSync(unsealed, 4096 + 2 * BYTE_RING_BYTES);
    const small = nodeMemory.create('memrack small', 4096);
    const name = (file: { handle: number }) => nodeMemory.nameOf(file.handle);
    for (const [bytes, text] of [
      [hello(7, ''), 'version 1 of rings, not 7'],
      [hello(1, '', 'GET '), 'no hello'],
      [hello(1, 'nonsense'), 'cannot open a memory file'],
      [hello(1, '/etc/passwd'), 'cannot open a memory file'],
      [hello(1, name(small).replace(/\d+$/, String(unsealed))), 'is not one of a stream'],
      [hello(1, name(small)), 'is not one of a stream'],
      [hello(1, name(small).replace(/\d+$/, '0')), 'memory file'],
    ] as const) {
      const { code, text: answer, socket } = await greet(listener, bytes);
      expect(code, text).toBeGreaterThan(0);
      expect(answer).toContain(text);
      await eventually(() => socket.destroyed, 'closed');
    }
    closeSync(unsealed);
    small.release();
    const garbage = net.connect({ path: listener.address.slice('ring://'.length) });
    garbage.end('\u0001');
    await rest(20);
    expect(accepted).toBe(0);
    expect(() => openRingFile('')).toThrow('memory file');
    await listener.close();
  });

  test('positions that are impossible end the stream with a reason, and nothing else', async () => {
    for (const [word, value] of [
      [64, 2 * BYTE_RING_BYTES],
      [64, 12],
      [64, -8],
      [128 + 16, 8],
      [128 + 16, -64],
    ] as const) {
      const reasons: string[] = [];
      let accepted: Stream | undefined;
      const listener = await network.listen(place(), (stream) => {
        accepted = stream;
        return { ...quiet, closed: (_stream, reason) => reasons.push(reason) };
      });
      const file = createRingFile();
      const { socket, code } = await greet(listener, hello(1, nodeMemory.nameOf(file.handle)));
      expect(code).toBe(0);
      const words = new Int32Array(mapShared(descriptorOf(file.handle), 0, 4096));
      Atomics.store(words, word, value);
      // So that it looks at what the other side has taken.
      while ((accepted as unknown as Stream).reserve(65536) >= 0) {
        (accepted as unknown as Stream).commit(65536);
      }
      socket.write('x');
      await eventually(() => reasons.length > 0, `told of ${value} in word ${word}`);
      expect(reasons).toEqual(['the other side broke the shared rings']);
      file.release();
      socket.destroy();
      await listener.close();
    }
  });

  test('who opens a file that is cut short finds that it cannot be', () => {
    const file = createRingFile();
    const same = openRingFile(nodeMemory.nameOf(file.handle));
    const path = `/proc/self/fd/${descriptorOf(same.handle)}`;
    expect(() => truncateSync(path, 4096)).toThrow('EPERM');
    same.release();
    file.release();
  });

  test('a listener that answers wrongly or not at all fails the connection', async () => {
    const path = `${folder}/strange`;
    for (const [answer, kind, text] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', 'failed', 'does not listen with ring://'],
      ['', 'timeout', 'no answer'],
    ] as const) {
      const server = net.createServer((socket) => {
        socket.on('data', () => {});
        socket.on('error', () => {});
        if (answer !== '') socket.write(answer);
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      const error = await failure(network.connect(`ring://${path}`, quiet, 200));
      expect(error.kind).toBe(kind);
      expect(error.message).toContain(text);
      server.close();
    }
    const missing = await failure(network.connect(`ring://${folder}/none`, quiet, 200));
    expect(missing.kind).toBe('refused');
    const long = await failure(network.connect(`ring:///${'x'.repeat(200)}`, quiet, 200));
    expect(long.kind).toBe('invalid');
  });

  describe.skipIf(process.getuid?.() !== 0)('another user', () => {
    const asNobody = async <T>(act: () => Promise<T>): Promise<T> => {
      process.seteuid?.(65534);
      try {
        return await act();
      } finally {
        process.seteuid?.(0);
      }
    };

    test('is denied by the socket', async () => {
      const listener = await network.listen(place(), () => quiet);
      chmodSync(folder, 0o755);
      chmodSync(listener.address.slice('ring://'.length), 0o700);
      const connect = () => failure(network.connect(listener.address, quiet, 500));
      expect((await asNobody(connect)).kind).toBe('denied');
      await listener.close();
    });

    test('whose memory may not be opened is denied by the listener', async () => {
      const listener = await network.listen(place(), () => quiet);
      chmodSync(folder, 0o755);
      chmodSync(listener.address.slice('ring://'.length), 0o777);
      const other = spawn('sleep', ['5']);
      const name = `${identityOf(other.pid ?? 0)}/0`;
      const { code, text } = await asNobody(() => greet(listener, hello(1, name)));
      expect([code, text.includes('processes of one user')]).toEqual([2, true]);
      other.kill();
      await listener.close();
    });
  });
});
