// A node in a control group that is short of memory has lent and written to nearly all of its
// memory: used regions move to a node outside before the group is full, nothing is ended, every
// byte is there afterwards, and a program in the group takes about as long as alone.
import { afterEach, expect, test } from 'vitest';
import { connect, type Rack, type Space } from '../../src/apps/library.js';
import { CLI } from '../support/cli.js';
import { endProgram, GroupPrograms, takeMemory, type Taking } from '../support/group-programs.js';
import { MemoryGroup } from '../support/memory-group.js';
import { startRack, type TestRack } from '../support/rack.js';

const MIB = 1024 * 1024;
const DONOR = 'donor';

interface Sizes extends Taking {
  readonly groupMib: number;
  readonly spaces: number;
  readonly spaceMib: number;
  /** The marks; undefined: those of the node. */
  readonly marks: readonly string[];
}

const SMALL: Sizes = {
  groupMib: 384,
  spaces: 4,
  spaceMib: 40,
  takenMib: 170,
  rounds: 6,
  marks: ['--lend-above', '64MiB', '--give-back-below', '32MiB'],
};
/** What the product promises: 700 MiB lent in 1 GiB, and a program that touches 600. */
const WHOLE: Sizes = {
  groupMib: 1024,
  spaces: 7,
  spaceMib: 100,
  takenMib: 600,
  rounds: 6,
  marks: [],
};
/** How often what is promised is tried, in place of the small case once. */
const ROUNDS = Number(process.env['MEMRACK_DONOR_ROUNDS'] ?? 0);
const IS_WHOLE = ROUNDS > 0;
/** Promised are 5 s, on a machine that does nothing else. */
const GIVEN_BACK_MS = 20_000;

const programs = new GroupPrograms();
let rack: TestRack | undefined;
let client: Rack | undefined;
let group: MemoryGroup | undefined;

afterEach(async () => {
  await client?.close();
  client = undefined;
  await programs.end();
  await rack?.stop();
  rack = undefined;
  group?.remove();
  group = undefined;
});

async function until<T>(what: string, ms: number, look: () => Promise<T | undefined>): Promise<T> {
  const endMs = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Donor {
  readonly bytesLent: number;
  readonly bytesUsed: number;
}

async function nodeOf(of: Rack, id: string): Promise<Donor | undefined> {
  return (await of.nodes()).find((node) => node.id === id);
}

function pattern(space: number, at: number): Uint8Array {
  const unit = Uint8Array.from({ length: 4093 }, (_, i) => (i * 7 + at * 3 + space * 11) & 255);
  return Buffer.alloc(MIB, unit);
}

interface Filled {
  readonly space: Space;
  readonly at: number;
}

async function fill(of: Rack, { spaces, spaceMib }: Sizes): Promise<Filled[]> {
  const filled: Filled[] = [];
  for (let i = 0; i < spaces; i++) {
    const space = await of.space(`lent-${i}`, { create: true });
    const at = await space.alloc(spaceMib * MIB);
    for (let mib = 0; mib < spaceMib; mib++) await space.write(at + mib * MIB, pattern(i, mib));
    filled.push({ space, at });
  }
  return filled;
}

async function verify(filled: readonly Filled[], { spaceMib }: Sizes): Promise<void> {
  for (const [i, { space, at }] of filled.entries()) {
    for (let mib = 0; mib < spaceMib; mib++) {
      const seen = await space.read(at + mib * MIB, MIB);
      expect(Buffer.compare(seen, pattern(i, mib)), `space ${i}, MiB ${mib}`).toBe(0);
    }
  }
}

const rounds = Array.from({ length: Math.max(1, ROUNDS) }, (_, i) => i + 1);

test.each(rounds)(
  'used memory moves out before a group is full, %i',
  async () => {
    const sizes = IS_WHOLE ? WHOLE : SMALL;
    const lentMib = sizes.spaces * sizes.spaceMib;
    group = MemoryGroup.make();
    if (group === undefined) return;
    group.limit(sizes.groupMib * MIB);
    const alone = IS_WHOLE ? await takeMemory(programs, sizes, group) : undefined;
    if (alone !== undefined) await endProgram(alone.by);
    rack = await startRack({ nodes: 1, memory: '1MiB' });
    const join = ['--join', rack.url.replace('memrack://', ''), '--page-bytes', '64KiB'];
    const node = ['memory-node', ...join, '--memory', `${lentMib}MiB`];
    const donor = await programs.start(
      'lends',
      [CLI, ...node, '--id', DONOR, ...sizes.marks],
      group,
    );
    client = await connect(rack.url, { link: 'tcp', timeoutMs: 30_000 });
    const all = client;
    await until('all is lent', 30_000, async () =>
      (await nodeOf(all, DONOR))?.bytesLent === lentMib * MIB ? true : undefined,
    );
    const filled = await fill(all, sizes);
    await programs.start('lends', [CLI, ...node, '--id', 'outside']);
    await until('there is room outside', 30_000, () => nodeOf(all, 'outside'));
    const shared = group.sharedBytes();
    const begunMs = Date.now();
    const { ms, by } = await takeMemory(programs, sizes, group);
    // What the heartbeat of a moment after it says; by then nothing more is to be given.
    await until('it is given back', GIVEN_BACK_MS, async () => {
      const seen = await nodeOf(all, DONOR);
      const isLess = seen !== undefined && seen.bytesLent < lentMib * MIB;
      return isLess && seen.bytesUsed <= seen.bytesLent ? true : undefined;
    });
    const allMs = Date.now() - begunMs;
    const given = Math.round((shared - group.sharedBytes()) / MIB);
    expect([donor.exitCode, by.exitCode, donor.signalCode, by.signalCode]).toEqual(
      Array.from({ length: 4 }, () => null),
    );
    await verify(filled, sizes);
    const ratio = alone === undefined ? '' : `, ${(ms / alone.ms).toFixed(2)} x its time alone`;
    process.stdout.write(
      `${given} MiB given back ${allMs - ms} ms after a program had taken ${sizes.takenMib} MiB ` +
        `in ${ms} ms${ratio}\n`,
    );
    expect(given).toBeGreaterThanOrEqual(sizes.spaceMib);
  },
  300_000,
);
