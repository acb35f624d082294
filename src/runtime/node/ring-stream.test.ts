import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';
import { BYTE_RING_BYTES } from '../byte-ring.js';
import type { Stream, StreamHandler } from '../network.js';
import { createRuntime } from './create-runtime.js';
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

/** Both ends in this process, and what the accepting one is told. */
async function ends(poll: boolean) {
  const { network } = createRuntime({ poll });
  const told = { bytes: 0, reasons: [] as string[] };
  let far: Stream | undefined;
  const listener = await network.listen(place(), (stream) => {
    far = stream;
    return {
      ...quiet,
      received: (_stream, _input, start, end) => {
        told.bytes += end - start;
        return end - start;
      },
      closed: (_stream, reason) => told.reasons.push(reason),
    };
  });
  const drains = { count: 0 };
  const near = await network.connect(
    listener.address,
    { ...quiet, drained: () => (drains.count += 1) },
    1000,
  );
  await eventually(() => far !== undefined, 'accepted');
  await listener.close();
  return { near, far: far as unknown as Stream, told, drains };
}

/** Fills the ring; how many bytes that takes. */
function fill(stream: Stream): number {
  let bytes = 0;
  for (; stream.reserve(65536) >= 0; bytes += 65536) stream.commit(65536);
  stream.flush();
  return bytes;
}

test.each([true, false])(
  'what is left in the ring is read before the end, polling %s',
  async (poll) => {
    const { near, far, told } = await ends(poll);
    far.pause();
    const bytes = fill(near);
    near.close('leaves');
    await rest(30);
    expect(told).toEqual({ bytes: 0, reasons: [] });
    far.resume();
    await eventually(() => told.reasons.length > 0, 'told');
    expect(told).toEqual({ bytes, reasons: ['closed by the other side'] });
  },
);

test.each([true, false])('a sender that is full hears of room, polling %s', async (poll) => {
  const { near, far, told, drains } = await ends(poll);
  let sent = 0;
  for (let round = 1; round <= 5; round++) {
    far.pause();
    await rest(5);
    sent += fill(near);
    // By now it sleeps.
    await rest(20);
    expect(drains.count).toBe(round - 1);
    far.resume();
    await eventually(() => drains.count === round, 'room');
  }
  await eventually(() => told.bytes === sent, 'everything arrives');
  near.close('done');
});

test('who pauses and sends to a side that is gone learns of the end', async () => {
  const { near, far, told } = await ends(true);
  far.pause();
  near.close('leaves');
  await rest(20);
  expect(told.reasons).toEqual([]);
  expect(far.reserve(8)).toBeGreaterThanOrEqual(0);
  far.commit(8);
  far.flush();
  expect(told.reasons).toEqual([]);
  await eventually(() => told.reasons.length > 0, 'told');
});

test('a reader that pauses until there is room learns of the end', async () => {
  const { near, far, told } = await ends(true);
  near.pause();
  far.pause();
  fill(far);
  near.close('leaves');
  await eventually(() => told.reasons.length > 0, 'told');
});
