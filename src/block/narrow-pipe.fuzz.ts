/**
 * Somebody reads from a device through a narrow pipe while slabs are copied through it: how much
 * longer he waits, in pipes of many widths and lengths, beside one program that copies or some.
 */

import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { backgroundFaults } from '../fabric/planted.js';
import { World } from '../replication/testing/slab-world.js';
import { CopyPace } from './copy-pace.js';
import { failsWith } from './testing/fails-with.js';
import { CopyBehindPipe, Pipe, type Way } from './testing/narrow-pipe.js';

const AREA = 256 * 1024;
const PIECE = 64 * 1024;
const BLOCK = 4096;
const PATIENCE_MS = 1_000;
const WARM_MS = 500;

interface Shape {
  /** Of the pipe, in each direction. */
  readonly bytesPerS: number;
  readonly tripMs: number;
  /** Of who uses a device. */
  readonly depth: number;
  readonly thinkMs: number;
  /** Programs that copy, each with a few lanes. */
  readonly hosts: number;
  readonly isStepped: boolean;
}

interface Seen {
  readonly p99Ms: number;
  readonly reads: number;
  readonly copiedBytes: number;
}

async function play(shape: Shape, seed: number, forMs: number, isCopied: boolean): Promise<Seen> {
  const world = new World(seed, () => new Promise((resolve) => setImmediate(resolve)));
  const pipeOf = (): Pipe => new Pipe(world, shape.bytesPerS / 1000);
  const way: Way = { up: pipeOf(), down: pipeOf(), tripMs: shape.tripMs };
  const rig = { uses: 0, copied: 0 };
  const buffer = new Uint8Array(PIECE);
  const times: number[] = [];
  const device = new CopyBehindPipe(world, way);
  const use = async (): Promise<void> => {
    for (;;) {
      const began = world.nowMs;
      await new Promise<void>((done) => {
        device.read(0, buffer, 0, BLOCK, { completed: () => done() }, 0);
      });
      rig.uses += 1;
      if (began >= WARM_MS) times.push(world.nowMs - began);
      if (shape.thinkMs > 0) await world.sleep(2 * shape.thinkMs * world.prng.fraction());
    }
  };
  for (let i = 0; i < shape.depth; i++) void use();
  const host = (): void => {
    // It is another program's device where there are more: nobody tells this one of its use.
    const uses = (): number => (shape.hosts > 1 ? 0 : rig.uses);
    const pace = new CopyPace({ clock: world, timers: world, uses });
    const source = new CopyBehindPipe(world, way, pace.windowTo('source'));
    const learner = new CopyBehindPipe(world, way, pace.windowTo('learner'));
    const [from, to] = shape.isStepped
      ? [source.inBackground, learner.inBackground]
      : [source, learner];
    const moved = (begin: (ended: () => void) => void): Promise<void> => new Promise(begin);
    const lane = async (): Promise<void> => {
      for (;;) {
        await pace.run(AREA, async () => {
          for (let at = 0; at < AREA; at += PIECE) {
            const until = world.nowMs + PATIENCE_MS;
            await moved((ended) => from.read(0, buffer, 0, PIECE, { completed: ended }, 0, until));
            await moved((ended) => to.write(0, buffer, 0, PIECE, { completed: ended }, 0, until));
            if (world.nowMs >= WARM_MS) rig.copied += PIECE;
          }
        });
      }
    };
    for (let i = 0; i < 4; i++) void lane();
  };
  if (isCopied) for (let i = 0; i < shape.hosts; i++) host();
  await world.run(() => false, forMs);
  times.sort((a, b) => a - b);
  const p99Ms = times[Math.floor(times.length * 0.99)] ?? Number.NaN;
  return { p99Ms, reads: times.length, copiedBytes: rig.copied };
}

const FOR_MS = 900;
const narrow = { bytesPerS: 25e6, tripMs: 0.1, depth: 1, thinkMs: 0, hosts: 1, isStepped: true };

async function costOf(shape: Shape, seed: number) {
  const alone = await play(shape, seed, FOR_MS, false);
  const beside = await play(shape, seed, FOR_MS, true);
  const copiedPerS = (beside.copiedBytes / (FOR_MS - WARM_MS)) * 1000;
  return { times: beside.p99Ms / alone.p99Ms, copied: copiedPerS / shape.bytesPerS };
}

async function waitsTwiceAtMost(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const shape = {
    ...narrow,
    bytesPerS: prng.pick([12.5e6, 25e6, 60e6, 125e6]),
    tripMs: prng.pick([0.05, 0.1, 0.3]),
    depth: prng.pick([1, 1, 2, 6]),
    thinkMs: prng.pick([0, 0.5, 2]),
  };
  const { times, copied } = await costOf(shape, seed);
  const seen = `seed ${seed}: ${JSON.stringify(shape)}, copied ${copied}`;
  expect(times, seen).toBeLessThan(2);
  expect(copied, seen).toBeGreaterThan(0.03);
}

test('who uses a device through a narrow pipe waits twice as long at most', async () => {
  for (let seed = 1; seed <= 12; seed++) await waitsTwiceAtMost(seed);
}, 60_000);

test.each(Object.keys(backgroundFaults) as (keyof typeof backgroundFaults)[])(
  '%s is found',
  async (bug) => {
    let seed = 1;
    while (!(await failsWith(backgroundFaults, bug, () => waitsTwiceAtMost(seed)))) {
      expect(seed).toBeLessThan(12);
      seed += 1;
    }
    process.stdout.write(`${bug}: seed ${seed}\n`);
  },
  60_000,
);

test('without steps they would wait far longer', async () => {
  const { times } = await costOf({ ...narrow, isStepped: false }, 1);
  expect(times).toBeGreaterThan(10);
});

test('each program that copies beside it costs no more than the first', async () => {
  const { times, copied } = await costOf({ ...narrow, hosts: 3 }, 1);
  expect(times).toBeLessThan(1 + 3);
  expect(copied).toBeGreaterThan(0.2);
});

test('while nobody uses the pipe a good part of it is used', async () => {
  for (const bytesPerS of [12.5e6, 125e6]) {
    const { copied } = await costOf({ ...narrow, bytesPerS, depth: 0 }, 1);
    expect(copied, `${bytesPerS}`).toBeGreaterThan(0.12);
  }
});
