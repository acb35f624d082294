// Locks between real processes, some of which are killed or stopped for longer than their lease.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { connect, type Rack, type Space } from '../../src/apps/library.js';
import { ROOT } from '../support/cli.js';
import { isAlive, startRack, until } from '../support/rack.js';

const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

class Counter {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  /** What a kill may have cut short. */
  #rest = '';

  constructor(url: string, space: string, at: number, rounds: number) {
    const script = join(ROOT, 'test/support/lock-client.mjs');
    const args = [script, url, space, String(at), String(rounds)];
    this.child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (bytes: Buffer) => {
      const lines = (this.#rest + bytes.toString()).split('\n');
      this.#rest = lines.pop() ?? '';
      this.lines.push(...lines);
    });
  }

  get isDone(): boolean {
    return this.lines.at(-1) === 'd';
  }

  told(what: string): string[][] {
    return this.lines.map((line) => line.split(' ')).filter(([first]) => first === what);
  }
}

async function setUp(): Promise<{ client: Rack; space: Space; url: string; at: number }> {
  const rack = await startRack({ nodes: 1 });
  opened.push(() => rack.stop());
  const client = await connect(rack.url);
  opened.push(() => client.close());
  const space = await client.space('locks', { create: true });
  return { client, space, url: rack.url, at: await space.alloc(64 * 1024) };
}

function startAll(url: string, at: number, rounds: number): Counter[] {
  const all = Array.from({ length: 8 }, () => new Counter(url, 'locks', at, rounds));
  opened.push(async () => {
    for (const { child } of all) child.kill('SIGKILL');
    await Promise.resolve();
  });
  return all;
}

const wordAt = async (space: Space, at: number): Promise<bigint> =>
  Buffer.from(await space.read(at, 8)).readBigUInt64LE();

test('eight processes count together, and nobody starves', async () => {
  const { space, url, at } = await setUp();
  const all = startAll(url, at, 40);
  await until(120_000, () => (all.every(({ isDone }) => isDone) ? true : undefined));
  // With nobody lost the lock alone is enough for the counter that is read and then written.
  expect(all.flatMap((one) => one.told('l'))).toEqual([]);
  expect(await wordAt(space, at + 8)).toBe(320n);
  expect((await wordAt(space, at + 16)) & 0xffff_ffffn).toBe(320n);
});

test('what is published under the epoch is exact, whoever is killed or stopped', async () => {
  const { space, url, at } = await setUp();
  const all = startAll(url, at, Infinity);
  const victims = all.slice(0, 3);
  const stopped = all.slice(3, 5);
  // In the middle of holding it, as far as that can be told from outside.
  for (const victim of [...victims, ...stopped]) {
    const before = victim.told('h').length;
    await until(60_000, () => (victim.told('h').length > before + 2 ? true : undefined));
    const isToDie = victims.includes(victim);
    victim.child.kill(isToDie ? 'SIGKILL' : 'SIGSTOP');
    if (isToDie) continue;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    victim.child.kill('SIGCONT');
  }
  const rest = all.filter((one) => !victims.includes(one));
  for (const { child } of rest) child.stdin?.end();
  await until(150_000, () => (rest.every(({ isDone }) => isDone) ? true : undefined));
  for (const { child } of victims) expect(isAlive(child.pid ?? 0)).toBe(false);
  const published = all.flatMap((one) => one.told('p')).map(([, , value]) => Number(value));
  const unknown = all.flatMap((one) => one.told('u')).length;
  const count = Number((await wordAt(space, at + 16)) & 0xffff_ffffn);
  // Every number once; those that nobody told are of the killed, one each, or unknown.
  expect(new Set(published).size).toBe(published.length);
  expect(Math.max(...published)).toBeLessThanOrEqual(count);
  expect(count - published.length).toBeGreaterThanOrEqual(0);
  expect(count - published.length).toBeLessThanOrEqual(victims.length + unknown);
  const epochs = all.flatMap((one) => one.told('h')).map(([, epoch]) => Number(epoch));
  expect(new Set(epochs).size).toBe(epochs.length);
});
