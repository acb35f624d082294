// The library's contract on a rack of real processes, from several client processes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type MemrackError, type Rack } from '../../src/apps/library.js';
import { runNode } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const PAGE = 64 * KiB;

let rack: TestRack;
let client: Rack;

beforeAll(async () => {
  rack = await startRack({ nodes: 3 });
  client = await connect(rack.url);
});

afterAll(async () => {
  await client?.close();
  await rack?.stop();
});

const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error.code,
  );

const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff);

/** Runs a program against the rack in a process of its own; it prints its result as JSON. */
async function elsewhere(program: string): Promise<unknown> {
  const text = `
    import { connect } from 'memrack';
    const rack = await connect(${JSON.stringify(rack.url)});
    const result = await (async () => {${program}})();
    await rack.close();
    console.log(JSON.stringify(result ?? null));
  `;
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', text]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

describe('one client', () => {
  test('reads what it wrote, at any address and length', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(8 * MiB);
    for (const [offset, length] of [
      [0, 1],
      [7, 9],
      [PAGE - 3, 6],
      [PAGE + 1, 3 * PAGE],
      [123_457, 5 * MiB],
    ] as const) {
      const bytes = pattern(length, offset);
      await space.write(at + offset, bytes);
      expect(Buffer.compare(await space.read(at + offset, length), bytes)).toBe(0);
    }
    await space.free(at);
  });

  test('gets zeros, also where other bytes were freed', async () => {
    const space = await client.space('zeros', { create: true });
    for (let round = 0; round < 5; round++) {
      const at = await space.alloc(2 * MiB);
      const back = await space.read(at, 2 * MiB);
      expect(back.every((byte) => byte === 0)).toBe(true);
      await space.write(at, pattern(2 * MiB, round));
      await space.free(at);
    }
  });

  test('keeps the order of calls on one page that it does not wait for', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(4 * PAGE);
    for (let i = 0; i < 500; i++) void space.write(at + 8, pattern(16, i));
    const read = space.read(at + 8, 16);
    for (let i = 0; i < 100; i++) void space.fetchAndAdd(at, 1n);
    const sum = space.fetchAndAdd(at, 0n);
    void space.write(at, pattern(4 * PAGE, 7));
    const after = space.read(at + PAGE - 8, 16);
    expect(Buffer.compare(await read, pattern(16, 499))).toBe(0);
    expect(await sum).toBe(100n);
    expect(Buffer.compare(await after, pattern(4 * PAGE, 7).subarray(PAGE - 8, PAGE + 8))).toBe(0);
    void space.protect(at, PAGE, 'r');
    void space.write(at, pattern(8, 1)).catch(() => {});
    void space.protect(at, PAGE, 'rw');
    void space.free(at);
    const failure = await space.release().catch((error: MemrackError) => error);
    expect((failure as MemrackError).failures?.map(({ code }) => code)).toEqual(['Denied']);
  });

  test('is refused with a code where it must be', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(2 * PAGE);
    expect(await codeOf(space.read(at + 50 * MiB, 8))).toBe('NotAllocated');
    expect(await codeOf(space.free(at + PAGE))).toBe('NotAllocated');
    await space.protect(at, PAGE, 'none');
    expect(await codeOf(space.read(at, 8))).toBe('Denied');
    expect(await codeOf(space.read(at + PAGE - 4, 8))).toBe('Denied');
    await space.protect(at, PAGE, 'r');
    expect(await codeOf(space.write(at, pattern(8, 1)))).toBe('Denied');
    expect(await codeOf(space.fetchAndAdd(at, 1n))).toBe('Denied');
    await space.read(at, 8);
    await space.free(at);
    expect(await codeOf(space.free(at))).toBe('NotAllocated');
    expect(await codeOf(space.read(at, 8))).toBe('NotAllocated');
    expect(await codeOf(client.space('nowhere'))).toBe('NotFound');
    expect(await codeOf(client.space('x', { create: true, kind: 'persistent' }))).toBe(
      'Unsupported',
    );
    expect(await codeOf(connect(rack.url, { link: 'shm' }))).toBe('Unsupported');
    expect(await codeOf(connect('http://x'))).toBe('Invalid');
  });

  test('meets NoSpace with nothing changed, and can go on', async () => {
    const space = await client.space('full', { create: true });
    const taken: number[] = [];
    let failure: string | undefined;
    for (let i = 0; i < 100 && failure === undefined; i++) {
      failure = await codeOf(space.alloc(8 * MiB).then((at) => void taken.push(at)));
    }
    expect(failure).toBe('NoSpace');
    // Nodes promise twice their memory: writing it all meets the end of the frames.
    const codes = new Set<string | undefined>();
    const bytes = pattern(8 * MiB, 3);
    const zeros = new Uint8Array(8 * MiB);
    for (const at of taken) {
      const code = await codeOf(space.write(at, bytes));
      codes.add(code);
      if (code !== 'NoSpace') continue;
      expect(Buffer.compare(await space.read(at, 8 * MiB), zeros)).toBe(0);
    }
    expect([...codes].sort()).toEqual(['NoSpace', undefined]);
    for (const at of taken) await space.free(at);
    const again = await space.alloc(32 * MiB);
    await space.write(again, pattern(32 * MiB, 1));
    await space.free(again);
  });
});

describe('several processes', () => {
  test('share a space by its name, and memory outlives its client', async () => {
    const at = (await elsewhere(`
      const space = await rack.space('shared', { create: true });
      const at = await space.alloc(${MiB});
      await space.write(at + 5, new TextEncoder().encode('from another process'));
      return at;
    `)) as number;
    const space = await client.space('shared');
    const back = await space.read(at + 5, 20);
    expect(new TextDecoder().decode(back)).toBe('from another process');
    await space.write(at, pattern(MiB, 9));
    const sum = await elsewhere(`
      const space = await rack.space('shared');
      const back = await space.read(${at}, ${MiB});
      return back.reduce((sum, byte) => sum + byte, 0);
    `);
    expect(sum).toBe(pattern(MiB, 9).reduce((total, byte) => total + byte, 0));
    await space.free(at);
  });

  test('count together without a lost step', async () => {
    const space = await client.space('counting', { create: true });
    const at = await space.alloc(PAGE);
    const program = `
      const space = await rack.space('counting');
      for (let i = 0; i < 20; i++) {
        const steps = [];
        for (let j = 0; j < 100; j++) steps.push(space.fetchAndAdd(${at}, 1n));
        await Promise.all(steps);
      }
      let won = 0;
      for (let i = 0; i < 300; i++) {
        const seen = await space.fetchAndAdd(${at + 8}, 0n);
        if ((await space.compareAndSwap(${at + 8}, seen, seen + 1n)) === seen) won += 1;
      }
      return won;
    `;
    const won = await Promise.all([elsewhere(program), elsewhere(program), elsewhere(program)]);
    expect(await space.fetchAndAdd(at, 0n)).toBe(6000n);
    const total = (won as number[]).reduce((sum, each) => sum + each, 0);
    expect(await space.fetchAndAdd(at + 8, 0n)).toBe(BigInt(total));
    await space.free(at);
  });

  test('remove a space for everybody', async () => {
    const space = await client.space('gone', { create: true });
    const at = await space.alloc(PAGE);
    await space.write(at, pattern(8, 1));
    await elsewhere(`await rack.removeSpace('gone');`);
    expect(await codeOf(client.space('gone'))).toBe('NotFound');
    expect(await codeOf(space.read(at, 8))).toMatch(/^(NotFound|NotAllocated|Unavailable)$/);
  });
});

test('an allocation may span regions and nodes', async () => {
  const large = await startRack({ nodes: 3, memory: '700MiB', pageBytes: '2MiB' });
  const other = await connect(large.url);
  try {
    const space = await other.space('large', { create: true });
    const bytes = 1024 * MiB + 10 * MiB;
    const at = await space.alloc(bytes);
    const border = Math.ceil(at / 2 ** 30) * 2 ** 30;
    const middle = border > at && border < at + bytes ? border : at + 1024 * MiB;
    await space.write(middle - 3 * MiB, pattern(6 * MiB, 5));
    const back = await space.read(middle - 3 * MiB, 6 * MiB);
    expect(Buffer.compare(back, pattern(6 * MiB, 5))).toBe(0);
    await space.protect(middle - 2 * MiB, 4 * MiB, 'r');
    expect(await codeOf(space.write(middle, pattern(8, 1)))).toBe('Denied');
    await space.free(at);
    expect(await codeOf(space.read(middle, 8))).toBe('NotAllocated');
    expect(await codeOf(space.read(at, 8))).toBe('NotAllocated');
  } finally {
    await other.close();
    await large.stop();
  }
});
