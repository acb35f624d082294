// The library's contract on a rack of real processes, from several client processes, over every
// link.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  type ConnectOptions,
  type MemrackError,
  type Rack,
} from '../../src/apps/library.js';
import { Prng } from '../../src/base/prng.js';
import { runNode } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const PAGE = 64 * KiB;

type Link = NonNullable<ConnectOptions['link']>;
const LINKS: readonly Link[] = ['tcp', 'shm', 'udp'];

let rack: TestRack;
let client: Rack;

beforeAll(async () => {
  rack = await startRack({ nodes: 3 });
});

afterAll(async () => {
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
async function elsewhere(link: Link, program: string): Promise<unknown> {
  const text = `
    import { connect } from 'memrack';
    const rack = await connect(${JSON.stringify(rack.url)}, { link: ${JSON.stringify(link)} });
    const result = await (async () => {${program}})();
    await rack.close();
    console.log(JSON.stringify(result ?? null));
  `;
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', text]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

/** Connects before the tests of a group. */
function withClient(link: Link): void {
  beforeAll(async () => {
    client = await connect(rack.url, { link });
  });
  afterAll(async () => {
    await client?.close();
  });
}

describe.each(LINKS)('one client over %s', (link) => {
  withClient(link);

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

  test('moves many at once, in the order in which they were named', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(8 * PAGE);
    const writes = Array.from({ length: 500 }, (_, i) => {
      return { at: at + ((i * 4093) % (7 * PAGE)), from: pattern(1 + (i % 200), i) };
    });
    writes.push(
      { at: at + 100, from: pattern(3 * PAGE, 1) },
      { at: at + 90, from: pattern(20, 2) },
    );
    await space.writeMany(writes);
    const model = new Uint8Array(8 * PAGE);
    for (const write of writes) model.set(write.from, write.at - at);
    const reads = writes.map((write) => {
      return { at: write.at, into: new Uint8Array(write.from.length) };
    });
    await space.readMany(reads);
    for (const read of reads) {
      const expected = model.subarray(read.at - at, read.at - at + read.into.length);
      expect(Buffer.compare(read.into, expected)).toBe(0);
    }
    await space.free(at);
  });

  test('changes words in full width', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(PAGE);
    const huge = 2n ** 64n - 1n;
    expect(await space.compareAndSwap(at + 8, 0n, huge)).toBe(0n);
    expect(await space.compareAndSwap(at + 8, 0n, 7n)).toBe(huge);
    expect(await space.fetchAndAdd(at + 8, 2n)).toBe(huge);
    expect(await space.fetchAndAdd(at + 8, -2n)).toBe(1n);
    expect(await space.read(at + 8, 8)).toEqual(new Uint8Array(8).fill(255));
    expect(await codeOf(space.fetchAndAdd(at + 4, 1n))).toBe('Invalid');
    await space.free(at);
  });

  test('sees at once what was freed and protected, and zeros in what comes next', async () => {
    const space = await client.space('contract', { create: true });
    for (let round = 0; round < 20; round++) {
      const at = await space.alloc(2 * PAGE);
      await space.write(at, pattern(2 * PAGE, round));
      await space.protect(at, PAGE, 'r');
      expect(await codeOf(space.write(at, pattern(8, 1)))).toBe('Denied');
      expect(Buffer.compare(await space.read(at, 8), pattern(8, round))).toBe(0);
      await space.free(at);
      expect(await codeOf(space.read(at, 8))).toBe('NotAllocated');
      const next = await space.alloc(2 * PAGE);
      expect((await space.read(next, 2 * PAGE)).every((byte) => byte === 0)).toBe(true);
      await space.free(next);
    }
  });

  test('settles everything before its release does, one failure or none', async () => {
    const space = await client.space('settling', { create: true });
    const at = await space.alloc(4 * PAGE);
    let settled = 0;
    const settle = () => (settled += 1);
    for (let i = 0; i < 3000; i++) {
      const where = at + ((i * 777) % (3 * PAGE));
      void space.write(where, pattern(64, i)).then(settle);
      void space.read(where, 64).then(settle);
    }
    await space.release();
    expect(settled).toBe(6000);
    void space.read(at + 50 * MiB, 8);
    expect(await codeOf(space.fence())).toBe('NotAllocated');
    await space.fence();
    await space.free(at);
  });

  test('has the world go on while it waits for another', async () => {
    const space = await client.space('contract', { create: true });
    const at = await space.alloc(PAGE);
    setTimeout(() => void space.fetchAndAdd(at, 1n), 20);
    const target = new Uint8Array(8);
    while ((await space.read(at, target))[0] === 0);
    await space.free(at);
  });

  test('reads what it would read if each of its calls had been awaited', async () => {
    const space = await client.space('order', { create: true });
    const model = new Uint8Array(6 * PAGE);
    const at = await space.alloc(model.length);
    const prng = new Prng(link.length);
    const wrong: string[] = [];
    for (let step = 1; step <= 4000; step++) {
      const offset = prng.below(5) * PAGE + 8 * prng.below(4);
      const bytes = prng.below(20) === 0 ? PAGE + prng.below(4096) : 1 + prng.below(40);
      const expected = model.slice(offset, offset + bytes);
      const check = (back: Uint8Array) => {
        if (Buffer.compare(back, expected) !== 0) wrong.push(`step ${step}: ${bytes} at ${offset}`);
      };
      const verb = prng.below(5);
      if (verb < 2) {
        void space.read(at + offset, bytes).then(check);
      } else if (verb < 4) {
        const from = new Uint8Array(bytes).fill(step);
        model.set(from, offset);
        void (verb === 2
          ? space.write(at + offset, from)
          : space.writeMany([{ at: at + offset, from }]));
      } else {
        const into = new Uint8Array(bytes);
        void space.readMany([{ at: at + offset, into }]).then(() => check(into));
      }
      // Also while nothing is under way, so that what can be done at once is.
      if (prng.below(50) === 0) await space.fence();
      else if (prng.below(10) === 0) await space.read(at, 1);
    }
    await space.release();
    expect(wrong).toEqual([]);
    await space.free(at);
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
    const kind = 'tape' as 'dram';
    expect(await codeOf(client.space('x', { create: true, kind }))).toBe('Invalid');
    expect(await codeOf(connect(rack.url, { link: 'rdma' as Link }))).toBe('Invalid');
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

describe.each(LINKS)('several processes, one of them over %s', (link) => {
  withClient(link);

  test('share a space by its name, and memory outlives its client', async () => {
    const at = (await elsewhere(
      link,
      `
      const space = await rack.space('shared', { create: true });
      const at = await space.alloc(${MiB});
      await space.write(at + 5, new TextEncoder().encode('from another process'));
      return at;
    `,
    )) as number;
    const space = await client.space('shared');
    const back = await space.read(at + 5, 20);
    expect(new TextDecoder().decode(back)).toBe('from another process');
    await space.write(at, pattern(MiB, 9));
    const sum = await elsewhere(
      link,
      `
      const space = await rack.space('shared');
      const back = await space.read(${at}, ${MiB});
      return back.reduce((sum, byte) => sum + byte, 0);
    `,
    );
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
    const won = await Promise.all([link, ...LINKS].map((each) => elsewhere(each, program)));
    expect(await space.fetchAndAdd(at, 0n)).toBe(2000n * BigInt(won.length));
    const total = (won as number[]).reduce((sum, each) => sum + each, 0);
    expect(await space.fetchAndAdd(at + 8, 0n)).toBe(BigInt(total));
    await space.free(at);
  });

  test('remove a space for everybody', async () => {
    const space = await client.space('gone', { create: true });
    const at = await space.alloc(PAGE);
    await space.write(at, pattern(8, 1));
    await elsewhere(link, `await rack.removeSpace('gone');`);
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

describe.each(LINKS)('a window, opened over %s', (link) => {
  withClient(link);

  test('is used, narrowed and taken back over every link', async () => {
    const space = await client.space('windows', { create: true });
    const at = await space.alloc(4 * PAGE);
    const window = await space.window(at + 100, 2 * PAGE, 'rw');
    await window.write(at + PAGE - 4, pattern(8, 1));
    for (const other of LINKS) {
      const found = await elsewhere(
        other,
        `
        const codeOf = (promise) => promise.then(() => 'none', ({ code }) => code);
        const window = await rack.window(${JSON.stringify(window.token)});
        const back = [...(await window.read(${at + PAGE - 4}, 8))];
        await window.write(${at + 200}, Uint8Array.of(5));
        const narrow = await window.narrow(${at + 104}, 8, 'r');
        await narrow.read(${at + 104}, 8);
        const codes = [
          await codeOf(window.read(${at}, 8)),
          await codeOf(narrow.write(${at + 104}, new Uint8Array(8))),
          await codeOf(narrow.read(${at + 112}, 1)),
          await codeOf(window.revoke()),
          await codeOf(rack.window('mw1-00')),
        ];
        await narrow.revoke();
        codes.push(await codeOf(narrow.read(${at + 104}, 8)));
        return { back, codes, added: String(await window.fetchAndAdd(${at + 104}, 1n)) };
      `,
      );
      expect(found).toEqual({
        back: [...pattern(8, 1)],
        codes: ['Invalid', 'Denied', 'Invalid', 'Denied', 'Invalid', 'Stale'],
        added: String(LINKS.indexOf(other)),
      });
    }
    expect((await space.read(at + 200, 1))[0]).toBe(5);
    await window.revoke();
    expect(await codeOf(window.read(at + 104, 8))).toBe('Stale');
    for (const other of LINKS) {
      const code = await elsewhere(
        other,
        `
        const window = await rack.window(${JSON.stringify(window.token)});
        return window.write(${at + 104}, new Uint8Array(8)).then(() => 'none', ({ code }) => code);
      `,
      );
      expect(code).toBe('Stale');
    }
    await space.free(at);
  });

  test('ends nobody by being taken back from who works through it', async () => {
    const space = await client.space('windows', { create: true });
    const at = await space.alloc(PAGE);
    const window = await space.window(at, PAGE, 'rw');
    const program = `
      const window = await rack.window(${JSON.stringify(window.token)});
      let done = 0;
      let unknown = 0;
      for (;;) {
        try {
          await window.fetchAndAdd(${at}, 1n);
          done += 1;
        } catch ({ code, outcome }) {
          if (outcome !== 'unknown') return { done, unknown, code };
          unknown += 1;
        }
      }
    `;
    const working = LINKS.map((other) => elsewhere(other, program));
    const target = new Uint8Array(8);
    const view = new DataView(target.buffer);
    while ((await space.read(at, target)) && view.getBigUint64(0, true) < 5000n);
    await window.revoke();
    const counted = await space.fetchAndAdd(at, 0n);
    const ended = (await Promise.all(working)) as { done: number; unknown: number; code: string }[];
    expect(ended.map(({ code }) => code)).toEqual(LINKS.map(() => 'Stale'));
    // Nothing came after the revocation was told, and nothing that was acknowledged is missing. Who
    // was in the middle of a change then may not know of that one.
    expect(await space.fetchAndAdd(at, 0n)).toBe(counted);
    const done = ended.reduce((sum, each) => sum + each.done, 0);
    const unknown = ended.reduce((sum, each) => sum + each.unknown, 0);
    expect(unknown).toBeLessThanOrEqual(ended.length);
    expect(Number(counted)).toBeGreaterThanOrEqual(done);
    expect(Number(counted)).toBeLessThanOrEqual(done + unknown);
    await space.free(at);
  });
});
