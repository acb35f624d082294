// Memory that is reached without its node, in real processes: what a window does not cover is not
// read or overwritten, who stops in the middle of a step holds back one frame, and whose memory it
// is in the machine's books.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { connect, type MemrackError, type Rack, type Space } from '../../src/apps/library.js';
import { Prng } from '../../src/base/prng.js';
import { decodeToken, encodeToken, type WindowFacts } from '../../src/client/window-token.js';
import { MiB } from '../../src/base/units.js';
import { ROOT } from '../support/cli.js';
import { pidsOf, startRack, type TestRack, until } from '../support/rack.js';
import { MemoryGroup } from '../support/memory-group.js';
import { CountersOfNodes } from '../support/stop/node-counters.js';
import { SlotWatch } from '../support/stop/slot-watch.js';
import { stateOf } from '../support/stop/what-is-open.js';

const PAGE = 64 * 1024;
const PAGES = 4;
const OWN = 0x11;
const FOREIGN = 0xee;
const FORGERIES = 300;
const WITHIN_MS = 20_000;
let rack: TestRack;
let counters: CountersOfNodes;
const closing: (() => Promise<unknown> | void)[] = [];

beforeAll(async () => {
  rack = await startRack({ nodes: 1, memory: '96MiB', pageBytes: '64KiB' });
  counters = new CountersOfNodes(rack);
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

afterAll(async () => {
  await counters?.close();
  await rack?.stop();
});

async function connected(link: 'auto' | 'shm' | 'tcp'): Promise<Rack> {
  const made = await connect(rack.url, { link, timeoutMs: 10_000 });
  closing.push(() => made.close());
  return made;
}

async function filled(space: Space, byte: number): Promise<number> {
  const at = await space.alloc(PAGES * PAGE);
  await space.write(at, new Uint8Array(PAGES * PAGE).fill(byte));
  return at;
}

/** A token with something else in it, and a checksum that fits. */
function forgery(facts: WindowFacts, foreign: number, prng: Prng): string {
  const [part] = facts.parts as [WindowFacts['parts'][number]];
  const window = prng.chance(500_000) ? prng.below(64) : prng.below(65_536);
  const changed = prng.pick<Partial<WindowFacts>>([
    { space: foreign, parts: [{ ...part, epoch: prng.u32() || 1 }] },
    { space: 1 + prng.below(1000) },
    { parts: [{ ...part, epoch: part.epoch > 1 ? part.epoch - 1 : 7 }] },
    { parts: [{ ...part, epoch: prng.below(100) + 1 }] },
    { parts: [{ ...part, window }] },
    { parts: [{ window, epoch: prng.below(100) + 1 }] },
    { space: foreign, parts: [{ window, epoch: prng.below(100) + 1 }] },
  ]);
  return encodeToken({ ...facts, ...changed });
}

const isAll = (bytes: Uint8Array, byte: number): boolean => bytes.every((one) => one === byte);

const codeOf = (error: unknown): string => (error as MemrackError).code;

test.each(['shm', 'tcp'] as const)(
  'a forged window, or one of another space, reaches no foreign byte: %s',
  async (link) => {
    const owner = await connected('auto');
    const own = await owner.space('own', { create: true });
    const foreign = await owner.space('foreign', { create: true });
    const at = await filled(own, OWN);
    const foreignAt = await filled(foreign, FOREIGN);
    const { token } = await own.window(at + PAGE, PAGE, 'rw');
    const facts = decodeToken(token) as WindowFacts;
    const forger = await connected(link);
    const prng = new Prng(7);
    const codes = new Map<string, number>();
    for (let i = 0; i < FORGERIES; i++) {
      const text = forgery(facts, foreign.id, prng);
      if (text === token) continue;
      const reach = async (): Promise<void> => {
        const window = await forger.window(text);
        if (prng.chance(300_000)) await window.fetchAndAdd(window.at, 1n);
        else if (prng.chance(500_000)) await window.write(window.at, new Uint8Array(100));
        else await window.read(window.at, 100);
      };
      const code = await reach().then(() => 'done', codeOf);
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect([...codes.keys()].filter((code) => !['Stale', 'NotFound'].includes(code))).toEqual([]);
    // Who calls it a window of another space has the window that it is, and no other.
    const renamed = await forger.window(encodeToken({ ...facts, space: foreign.id }));
    expect(isAll(await renamed.read(renamed.at, PAGE), OWN)).toBe(true);
    // Wider than the node knows it, or with more rights.
    const wide = await forger.window(encodeToken({ ...facts, at, bytes: PAGES * PAGE }));
    for (const place of [at, at + PAGE - 8, at + 2 * PAGE]) {
      await expect(wide.read(place, 16)).rejects.toMatchObject({ code: 'Denied' });
      await expect(wide.write(place, new Uint8Array(16))).rejects.toMatchObject({ code: 'Denied' });
    }
    const narrow = await own.window(at + PAGE, PAGE, 'r');
    const rights = { ...(decodeToken(narrow.token) as WindowFacts), rights: 'rw' as const };
    const write = (await forger.window(encodeToken(rights))).write(at + PAGE, new Uint8Array(8));
    await expect(write).rejects.toMatchObject({ code: 'Denied' });
    expect(isAll(await own.read(at, PAGES * PAGE), OWN)).toBe(true);
    expect(isAll(await foreign.read(foreignAt, PAGES * PAGE), FOREIGN)).toBe(true);
  },
);

test.each(['shm', 'tcp'] as const)(
  'an old epoch is Stale, also where its window has been opened for another space: %s',
  async (link) => {
    const owner = await connected('auto');
    const own = await owner.space('own', { create: true });
    const foreign = await owner.space('foreign', { create: true });
    const at = await filled(own, OWN);
    const foreignAt = await filled(foreign, FOREIGN);
    const window = await own.window(at, PAGE, 'rw');
    const holder = await (await connected(link)).window(window.token);
    expect((await holder.read(at, 8))[0]).toBe(OWN);
    await window.revoke();
    // As many as make it likely that its number is used again.
    const again = await Promise.all(
      Array.from({ length: 40 }, () => foreign.window(foreignAt, PAGE, 'rw')),
    );
    await expect(holder.read(at, 8)).rejects.toMatchObject({ code: 'Stale' });
    await expect(holder.write(at, new Uint8Array(8))).rejects.toMatchObject({ code: 'Stale' });
    await expect(holder.fetchAndAdd(at, 1n)).rejects.toMatchObject({ code: 'Stale' });
    const [one] = again as [(typeof again)[number]];
    const late = await (await connected(link)).window(one.token);
    expect((await late.read(foreignAt, 8))[0]).toBe(FOREIGN);
    process.kill(pidsOf(rack, 'memory-node')[0] ?? 0, 'SIGKILL');
    await expect(
      until(WITHIN_MS, () => late.read(foreignAt, 8).then(() => undefined)),
    ).rejects.toMatchObject({ code: expect.stringMatching(/^(Stale|Unavailable)$/) as string });
    // Over a restart, too.
    const seen = await until(WITHIN_MS, () =>
      late.read(foreignAt, 8).then(
        () => 'done',
        (error: unknown) => (codeOf(error) === 'Unavailable' ? undefined : codeOf(error)),
      ),
    );
    expect(seen).toBe('Stale');
    expect((await own.read(at, 8))[0]).toBe(OWN);
  },
);

/** In a process of its own: writes the range for ever. */
async function writer(
  space: Space,
  at: number,
  bytes: number,
  group?: MemoryGroup,
): Promise<ChildProcess> {
  const args = [join(ROOT, 'test/support/shm-client.mjs'), rack.url, space.name];
  const child = spawn(process.execPath, [...args, `${at}`, `${bytes}`], {
    cwd: ROOT,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // Long before it has come so far as to touch anything.
  group?.add(child.pid ?? 0);
  closing.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

/** Stops it in the middle of a step. */
async function stopInStep(child: ChildProcess, watch: SlotWatch): Promise<void> {
  const pid = child.pid ?? 0;
  await until(WITHIN_MS, () => (watch.slotsOf(pid).length > 0 ? true : undefined));
  const slots = watch.slotsOf(pid);
  await until(
    WITHIN_MS,
    async () => {
      child.kill('SIGSTOP');
      await until(WITHIN_MS, () => stateOf(pid) === 'T' || undefined, 0);
      if (slots.some((slot) => watch.isInStep(slot))) return true;
      child.kill('SIGCONT');
      return undefined;
    },
    1,
  );
}

async function held(): Promise<{ framesResting: number; slotsHeldBack: number }> {
  const [{ framesResting = -1, slotsHeldBack = -1 } = {}] = await counters.now();
  return { framesResting, slotsHeldBack };
}

test('a thread that stays in the middle of a step holds back one frame, and no more', async () => {
  const watch = new SlotWatch(rack);
  closing.push(() => watch.close());
  const owner = await connected('auto');
  const space = await owner.space('stopped', { create: true });
  const at = await filled(space, OWN);
  const child = await writer(space, at, PAGES * PAGE);
  await stopInStep(child, watch);
  await space.free(at);
  expect((await held()).framesResting).toBe(1);
  // Whatever comes and goes meanwhile.
  for (let i = 0; i < 100; i++) {
    const other = await space.alloc(16 * PAGE);
    await space.write(other, new Uint8Array(16 * PAGE).fill(i));
    await space.free(other);
  }
  expect((await held()).framesResting).toBe(1);
  child.kill('SIGCONT');
  await until(WITHIN_MS, async () => ((await held()).framesResting === 0 ? true : undefined));
  expect(await held()).toEqual({ framesResting: 0, slotsHeldBack: 0 });
});

test('one that is taken rights from is seen to be waited for, until its process ends', async () => {
  const watch = new SlotWatch(rack);
  closing.push(() => watch.close());
  const owner = await connected('auto');
  const space = await owner.space('stopped', { create: true });
  const at = await filled(space, OWN);
  const child = await writer(space, at, PAGES * PAGE);
  await stopInStep(child, watch);
  await space.protect(at, PAGES * PAGE, 'r');
  const before = await space.read(at, PAGES * PAGE);
  expect(await held()).toMatchObject({ framesResting: 1 });
  child.kill('SIGKILL');
  await until(WITHIN_MS, async () => ((await held()).framesResting === 0 ? true : undefined));
  expect(Buffer.compare(await space.read(at, PAGES * PAGE), before)).toBe(0);
});

/** Bytes of physical memory behind the frames of the node. */
function frameBytes(): number {
  const [pid = 0] = pidsOf(rack, 'memory-node');
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    if (readlinkSync(path).includes('memfd:memrack-frames')) return statSync(path).blocks * 512;
  }
  throw new Error('the node has no frames');
}

test('the memory that a client writes was touched by the node before', async () => {
  const bytes = 8 * MiB;
  const group = MemoryGroup.make();
  closing.push(() => group?.remove());
  const owner = await connected('auto');
  const space = await owner.space('charged', { create: true });
  const at = await space.alloc(bytes);
  await writer(space, at, bytes, group);
  // Its writes go on while the node stands still, and need nothing of the machine.
  const [node = 0] = pidsOf(rack, 'memory-node');
  process.kill(node, 'SIGSTOP');
  try {
    const before = frameBytes();
    expect(before).toBeGreaterThanOrEqual(bytes);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(frameBytes()).toBe(before);
  } finally {
    process.kill(node, 'SIGCONT');
  }
  if (group !== undefined) expect(group.sharedBytes()).toBeLessThan(bytes / 4);
});
