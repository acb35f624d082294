/**
 * Random operations of one client that are not awaited, over nodes that answer when they like:
 * every read must give what the same operations give one after the other. Seed printed on failure.
 */
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { KiB } from '../base/units.js';
import { Connections } from './connections.js';
import { Control } from './control.js';
import { RemoteSpace } from './space.js';
import { FakeRack, settle } from './testing/fake-rack.js';

const PAGE = 64 * KiB;
const PAGES = 5;
const RUNS = 60;
const STEPS = 120;

interface Rig {
  readonly rack: FakeRack;
  readonly at: number;
  readonly model: Uint8Array;
  readonly prng: Prng;
  readonly wrong: string[];
  readonly open: Promise<unknown>[];
}

function client(rack: FakeRack): RemoteSpace {
  const { runtime } = rack.world;
  const control = new Control(runtime, rack.peer(), 'memrack://fake');
  const parts = { runtime, control, name: 'test', id: 7, pageBytes: PAGE, timeoutMs: 10_000 };
  return new RemoteSpace({ ...parts, connections: new Connections(rack) });
}

/** A place near the start of some page, so that many meet, and a length that may cross pages. */
function place({ prng }: Rig): { offset: number; bytes: number } {
  const offset = prng.below(PAGES) * PAGE + prng.below(4) * 8;
  const most = PAGES * PAGE - offset;
  const bytes = prng.below(4) === 0 ? PAGE + prng.below(2 * PAGE) : 1 + prng.below(40);
  return { offset, bytes: Math.min(bytes, most) };
}

function expectBytes(rig: Rig, what: string, got: Uint8Array, expected: Uint8Array): void {
  if (got.some((byte, i) => byte !== expected[i])) rig.wrong.push(what);
}

function read(rig: Rig, space: RemoteSpace, step: number): void {
  const { offset, bytes } = place(rig);
  const expected = rig.model.slice(offset, offset + bytes);
  const what = `step ${step}: read of ${bytes} at ${offset}`;
  rig.open.push(
    space.read(rig.at + offset, bytes).then((got) => expectBytes(rig, what, got, expected)),
  );
}

function write(rig: Rig, space: RemoteSpace, step: number): void {
  const { offset, bytes } = place(rig);
  const from = new Uint8Array(bytes).fill(1 + (step % 255));
  rig.model.set(from, offset);
  rig.open.push(space.write(rig.at + offset, from));
}

function add(rig: Rig, space: RemoteSpace, step: number): void {
  const offset = rig.prng.below(PAGES) * PAGE;
  const view = new DataView(rig.model.buffer);
  const old = view.getBigUint64(offset, true);
  view.setBigUint64(offset, BigInt.asUintN(64, old + 3n), true);
  const check = (got: bigint) => {
    if (got !== old) rig.wrong.push(`step ${step}: add at ${offset} gave ${got}, not ${old}`);
  };
  rig.open.push(space.fetchAndAdd(rig.at + offset, 3n).then(check));
}

function many(rig: Rig, space: RemoteSpace, step: number): void {
  const places = Array.from({ length: 1 + rig.prng.below(20) }, () => place(rig));
  if (rig.prng.below(2) === 0) {
    const reads = places.map(({ offset, bytes }) => {
      const expected = rig.model.slice(offset, offset + bytes);
      return { at: rig.at + offset, into: new Uint8Array(bytes), expected };
    });
    const check = () => {
      for (const { into, expected } of reads)
        expectBytes(rig, `step ${step}: many`, into, expected);
    };
    rig.open.push(space.readMany(reads).then(check));
    return;
  }
  const writes = places.map(({ offset, bytes }, i) => {
    const from = new Uint8Array(bytes).fill(1 + ((step * 7 + i) % 255));
    rig.model.set(from, offset);
    return { at: rig.at + offset, from };
  });
  rig.open.push(space.writeMany(writes));
}

async function run(seed: number): Promise<string[]> {
  const prng = new Prng(seed);
  const rack = new FakeRack(2);
  const at = await client(rack).alloc(PAGES * PAGE);
  // One that knows no region yet.
  const space = client(rack);
  const model = new Uint8Array(PAGES * PAGE);
  const rig: Rig = { rack, at, model, prng, wrong: [], open: [] };
  for (const node of rack.nodes) node.isPrompt = false;
  for (let step = 1; step <= STEPS; step++) {
    const verb = [read, read, write, write, add, many][prng.below(6)] ?? read;
    verb(rig, space, step);
    if (prng.below(3) === 0) await settle();
    if (prng.below(3) === 0) for (const node of rack.nodes) node.execute(prng.below(6));
    // Some nodes can be reached without a message, now and then.
    if (prng.below(8) === 0) for (const node of rack.nodes) node.isAtOnce = prng.below(2) === 0;
  }
  for (const node of rack.nodes) node.isPrompt = true;
  for (let i = 0; i < 1000 && space.isBusy; i++) {
    for (const node of rack.nodes) node.execute();
    await settle();
  }
  await Promise.all(rig.open);
  await space.release();
  return rig.wrong;
}

test(`${RUNS} random runs read as if each operation had been awaited`, async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const wrong = await run(seed);
    if (wrong.length > 0) expect.fail(`seed ${seed}: ${wrong.slice(0, 5).join('; ')}`);
  }
});
