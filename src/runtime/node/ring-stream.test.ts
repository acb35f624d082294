import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';
import { BYTE_RING_BYTES } from '../byte-ring.js';
import { type Listener, NetworkError, type Stream, type StreamHandler } from '../network.js';
import { createRuntime } from './create-runtime.js';
import { descriptorOf, nodeMemory } from './node-memory.js';
import { identityOf } from './process-identity.js';
import { createRingFile, openRingFile } from './ring-file.js';
import { mapShared } from './system.js';
import { Words } from './testing/words.js';

const SEED = Number(process.env['MEMRACK_SEED'] ?? Date.now() % 100_000);
/** `MEMRACK_FUZZ` sets the words of the long exchanges. */
const WORDS = 2 * Number(process.env['MEMRACK_FUZZ'] ?? 2_000_000);

let compiled: Compiled;
let folder: string;
beforeAll(() => {
  compiled = compileRuntime();
  folder = mkdtempSync(join(tmpdir(), 'memrack-rings-'));
});
afterAll(() => {
  compiled.remove();
  rmSync(folder, { recursive: true });
});

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(holds: () => boolean, what: string, ms = 10_000): Promise<void> {
  const start = Date.now();
  while (!holds() && Date.now() - start < ms) await rest(2);
  expect(holds(), what).toBe(true);
}

let places = 0;
const place = (): string => `ring://${folder}/${++places}`;
const quiet: StreamHandler = {
  received: (_stream, _input, start, end) => end - start,
  drained() {},
  closed() {},
};

/** A child that exchanges words with us: numbers of words, and who polls. */
async function exchange(wanted: { words: number; poll: boolean; childPolls: boolean }) {
  const roles = { rolesEntry: compiled.path('runtime/node/testing/roles.js') };
  const runtime = createRuntime({ ...roles, poll: wanted.poll });
  const ours = new Words({ seed: SEED, words: wanted.words, pauses: true });
  let accepted: Stream | undefined;
  const listener = await runtime.network.listen(place(), (stream) => {
    accepted = stream;
    setImmediate(() => ours.push(stream));
    return ours;
  });
  const { address } = listener;
  const words = wanted.words === Infinity ? 0 : wanted.words;
  const config = { address, words, seed: SEED + 1, pauses: true, poll: wanted.childPolls };
  const child = runtime.processes.spawn({ role: 'exchanger', config });
  await child.ready;
  return { ours, child, listener, stream: accepted as unknown as Stream };
}

describe.each([
  [true, true],
  [true, false],
  [false, true],
  [false, false],
])('polling %s, the other process %s', (poll, childPolls) => {
  test('millions of words in pieces of all sizes come through, both ways', async () => {
    const { ours, child, listener } = await exchange({ words: WORDS, poll, childPolls });
    const { code } = await child.exited;
    await eventually(() => ours.reason !== '', 'told that the other side left');
    expect([ours.wrong, code, ours.isDone], `seed ${SEED}`).toEqual(['', 0, true]);
    await listener.close();
  });

  test('a process that is killed is noticed at once, after what it had sent', async () => {
    const { ours, child, listener } = await exchange({ words: Infinity, poll, childPolls });
    await eventually(() => ours.received_ > 100_000, 'words');
    child.end('kill');
    await child.exited;
    await eventually(() => ours.reason !== '', 'told of it', 1000);
    expect(ours.wrong, `seed ${SEED}`).toBe('');
    await listener.close();
  });

  test('one that is stopped fills the ring, and goes on where it was', async () => {
    const { ours, child, listener, stream } = await exchange({
      words: Infinity,
      poll,
      childPolls,
    });
    await eventually(() => ours.received_ > 100_000, 'words');
    process.kill(child.pid, 'SIGSTOP');
    await rest(100);
    const { refusals } = ours;
    const { sent } = ours;
    await rest(200);
    expect([ours.sent - sent, refusals > 0, ours.reason]).toEqual([0, true, '']);
    expect(stream.pending).toBeLessThanOrEqual(BYTE_RING_BYTES);
    process.kill(child.pid, 'SIGCONT');
    const { received_ } = ours;
    await eventually(() => ours.received_ > received_ + 1_000_000, 'more words');
    expect(ours.sent).toBeGreaterThan(sent);
    stream.close('enough');
    expect((await child.exited).code).toBe(4);
    expect(ours.wrong, `seed ${SEED}`).toBe('');
    await listener.close();
  });
});

/** Open descriptors, and mappings of rings. */
function held(): { descriptors: number; mappings: number } {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: maps.split('\n').filter((line) => line.includes('memrack stream')).length,
  };
}

test('nothing is left of streams that are gone, nor of connections that failed', async () => {
  const { network } = createRuntime({ poll: false });
  const streams: Stream[] = [];
  const open = async (count: number): Promise<void> => {
    const listener = await network.listen(place(), (stream) => {
      streams.push(stream);
      return quiet;
    });
    for (let i = 0; i < count; i++) {
      const stream = await network.connect(listener.address, quiet, 1000);
      const at = stream.reserve(4096);
      stream.output.bytes.fill(i, at, at + 4096);
      stream.commit(4096);
      stream.flush();
      streams.push(stream);
    }
    await listener.close();
  };
  const closeAll = async (): Promise<void> => {
    streams.splice(0).forEach((stream, i) => i % 3 !== 0 && stream.close('done'));
    await rest(50);
  };
  await open(1);
  for (const stream of streams.splice(0)) stream.close('done');
  await rest(50);
  const before = held();
  expect(before.mappings).toBe(0);
  await open(30);
  const during = held();
  expect(during.mappings).toBeGreaterThan(30 * 2 * 3);
  // Nothing but the sockets: nobody holds a descriptor of memory.
  expect(during.descriptors).toBeLessThanOrEqual(before.descriptors + 2 * 30 + 1);
  await closeAll();
  for (let i = 0; i < 20; i++) {
    await network.connect(`ring://${folder}/nobody`, quiet, 100).catch(() => {});
  }
  await eventually(() => held().descriptors <= before.descriptors, 'descriptors are closed');
  expect(held()).toEqual(before);
});

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
    const unsealed = nodeMemory.create('memrack unsealed', 4096 + 2 * BYTE_RING_BYTES);
    const small = nodeMemory.create('memrack small', 4096);
    const name = (file: { handle: number }) => nodeMemory.nameOf(file.handle);
    for (const [bytes, text] of [
      [hello(7, ''), 'version 1 of rings, not 7'],
      [hello(1, '', 'GET '), 'no hello'],
      [hello(1, 'nonsense'), 'cannot open a memory file'],
      [hello(1, '/etc/passwd'), 'cannot open a memory file'],
      [hello(1, name(unsealed)), 'is not one of a stream'],
      [hello(1, name(small)), 'is not one of a stream'],
      [hello(1, name(small).replace(/\d+$/, '0')), 'memory file'],
    ] as const) {
      const { code, text: answer, socket } = await greet(listener, bytes);
      expect(code, text).toBeGreaterThan(0);
      expect(answer).toContain(text);
      await eventually(() => socket.destroyed, 'closed');
    }
    unsealed.release();
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

test('a reader that pauses until there is room learns of the end', async () => {
  const { network } = createRuntime();
  const reasons: string[] = [];
  let far: Stream | undefined;
  const listener = await network.listen(place(), (stream) => {
    far = stream;
    return { ...quiet, closed: (_stream, reason) => reasons.push(reason) };
  });
  const near = await network.connect(listener.address, quiet, 1000);
  near.pause();
  await eventually(() => far !== undefined, 'accepted');
  const stream = far as unknown as Stream;
  stream.pause();
  while (stream.reserve(65536) >= 0) stream.commit(65536);
  stream.flush();
  near.close('leaves');
  await eventually(() => reasons.length > 0, 'told');
  await listener.close();
});
