// What holds when processes of a rack are killed: kill -9, real processes, one fault at a time.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { afterEach, expect, test } from 'vitest';
import { connect, type MemrackError, type Rack } from '../../src/apps/library.js';
import { spawn } from 'node:child_process';
import { ROOT, runCli } from '../support/cli.js';
import {
  everyPid,
  family,
  isAlive,
  memoryFiles,
  parentOf,
  pidsOf,
  startRack,
  type TestRack,
  until,
} from '../support/rack.js';

const PAGE = 64 * 1024;
const MiB = 1024 * 1024;

const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function rackWith(
  extra: readonly string[] = [],
  nodes = 1,
  link: 'auto' | 'shm' | 'tcp' = 'auto',
): Promise<[TestRack, Rack]> {
  const rack = await startRack({ nodes, extra });
  opened.push(() => rack.stop());
  const client = await connect(rack.url, { link });
  opened.push(() => client.close());
  return [rack, client];
}

async function nodePid(rack: TestRack): Promise<number> {
  const node = (await rack.nodes()).find(
    ({ kind, state }) => kind !== 'host' && state === 'serving',
  );
  expect(node).toBeDefined();
  return node?.pid ?? 0;
}

const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 17 + seed) & 0xff);

const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error.code,
  );

/** Waits for a process that lives: the rack hears of a new one a little later. */
async function killNode(rack: TestRack): Promise<void> {
  const pid = await until(20_000, async () => {
    const nodes = await rack.nodes();
    const node = nodes.find(({ kind, state }) => kind !== 'host' && state === 'serving');
    return node !== undefined && isAlive(node.pid) ? node.pid : undefined;
  });
  process.kill(pid, 'SIGKILL');
}

test.each(['tcp', 'shm'] as const)(
  'a killed memory node comes back with all that was acknowledged over %s',
  async (link) => {
    const [rack, client] = await rackWith([], 1, link);
    const space = await client.space('kept', { create: true });
    const at = await space.alloc(4 * MiB);
    await space.write(at, pattern(4 * MiB, 1));
    const counter = await space.alloc(PAGE);
    let acknowledged = 0;
    let unknown = 0;
    for (let round = 0; round < 3; round++) {
      const steps: Promise<void>[] = [];
      for (let i = 0; i < 2000; i++) {
        steps.push(
          space.fetchAndAdd(counter, 1n).then(
            () => {
              acknowledged += 1;
            },
            (error: MemrackError) => {
              if (error.outcome === 'unknown') unknown += 1;
            },
          ),
        );
        if (i === 1000) await killNode(rack);
      }
      await Promise.all(steps);
    }
    const total = Number(await space.fetchAndAdd(counter, 0n));
    expect(total).toBeGreaterThanOrEqual(acknowledged);
    expect(total).toBeLessThanOrEqual(acknowledged + unknown);
    expect(acknowledged).toBeGreaterThan(3000);
    expect(Buffer.compare(await space.read(at, 4 * MiB), pattern(4 * MiB, 1))).toBe(0);
    const fresh = await space.alloc(MiB);
    expect((await space.read(fresh, MiB)).every((byte) => byte === 0)).toBe(true);
    for (const each of [at, counter, fresh]) await space.free(each);
  },
);

test('a killed supervisor loses its memory, and that is said', async () => {
  const [rack, client] = await rackWith();
  const space = await client.space('lost', { create: true });
  const at = await space.alloc(MiB);
  await space.write(at, pattern(MiB, 1));
  const before = await nodePid(rack);
  process.kill(parentOf(before), 'SIGKILL');
  await until(10_000, () => (isAlive(before) ? undefined : true));
  const code = await until(30_000, async () => {
    // Never zeros, never other bytes. Away for a moment is allowed, and so is that who has the
    // memory open reads on until it hears of the end.
    const read = space.read(at, 64);
    const failure = await codeOf(read);
    if (failure === undefined) {
      expect(Buffer.compare(await read, pattern(MiB, 1).subarray(0, 64))).toBe(0);
      return undefined;
    }
    expect(['Unavailable', 'DataLost', 'Timeout']).toContain(failure);
    return failure === 'DataLost' ? failure : undefined;
  });
  expect(code).toBe('DataLost');
  expect(await codeOf(space.write(at, pattern(8, 1)))).toBe('DataLost');
  expect(rack.output()).toContain('is lost');
  const fresh = await until(20_000, () => space.alloc(MiB).catch(() => undefined));
  await space.write(fresh, pattern(MiB, 2));
  expect(Buffer.compare(await space.read(fresh, MiB), pattern(MiB, 2))).toBe(0);
  const { stdout } = await runCli(['status', '-o', 'json', '--rack', rack.url]);
  expect(stdout).toContain('DATA_LOST');
});

test('with a killed controller the data path goes on; with --data it comes back', async () => {
  const data = mkdtempSync(join(tmpdir(), 'memrack-data-'));
  opened.push(async () => rmSync(data, { recursive: true, force: true }));
  const [rack, client] = await rackWith(['--data', data]);
  const space = await client.space('steady', { create: true });
  const at = await space.alloc(MiB);
  await space.write(at, pattern(MiB, 1));
  const [controller] = pidsOf(rack, 'controller');
  process.kill(controller ?? 0, 'SIGKILL');
  for (let i = 0; i < 200; i++) await space.write(at + i * 8, pattern(8, i));
  expect(Buffer.compare(await space.read(at + 199 * 8, 8), pattern(8, 199))).toBe(0);
  const more = await space.alloc(MiB);
  await space.write(more, pattern(8, 2));
  const other = await until(20_000, () =>
    client.space('later', { create: true }).catch(() => undefined),
  );
  expect(other.name).toBe('later');
  const names = (await client.spaces()).map(({ name }) => name);
  expect(names.sort()).toEqual(['later', 'steady']);
  expect(Buffer.compare(await space.read(more, 8), pattern(8, 2))).toBe(0);
});

test('a rack that was ended keeps its metadata with --data, and lists what was lost', async () => {
  const data = mkdtempSync(join(tmpdir(), 'memrack-data-'));
  opened.push(async () => rmSync(data, { recursive: true, force: true }));
  const first = await startRack({ nodes: 1, extra: ['--data', data] });
  let at: number;
  try {
    const client = await connect(first.url);
    const space = await client.space('album', { create: true });
    at = await space.alloc(MiB);
    await space.write(at, pattern(MiB, 1));
    const entry = { key: 'a/b', space: space.id, address: at, length: MiB, sha256: '0'.repeat(64) };
    await client.files.put([entry]);
    await client.close();
  } finally {
    const began = performance.now();
    await first.stop();
    // In order, and not by the force that follows after some seconds.
    expect(performance.now() - began).toBeLessThan(4000);
  }
  const [rack, client] = await rackWith(['--data', data]);
  const space = await client.space('album');
  expect((await client.files.get('a/b')).address).toBe(at);
  expect(await codeOf(space.read(at, 8))).toBe('DataLost');
  const { stdout } = await runCli(['status', '-o', 'json', '--rack', rack.url]);
  expect(stdout).toContain('DATA_LOST');
  const fresh = await space.alloc(MiB);
  expect((await space.read(fresh, MiB)).every((byte) => byte === 0)).toBe(true);
  await client.removeSpace('album');
  expect((await client.spaces()).map(({ name }) => name)).not.toContain('album');
});

test('without --data a killed controller ends nothing that is open', async () => {
  const [rack, client] = await rackWith();
  const space = await client.space('steady', { create: true });
  const at = await space.alloc(MiB);
  await space.write(at, pattern(MiB, 1));
  const [controller] = pidsOf(rack, 'controller');
  process.kill(controller ?? 0, 'SIGKILL');
  await until(5_000, () => (rack.output().includes('the controller has ended') ? true : undefined));
  expect(Buffer.compare(await space.read(at, MiB), pattern(MiB, 1))).toBe(0);
  const { code, stderr } = await runCli(['status', '--rack', rack.url, '--config', quick()]);
  expect(code).toBe(4);
  expect(stderr).toContain('memrack up');
});

/** A configuration with a short timeout. */
function quick(): string {
  return join(ROOT, 'test/e2e/quick.json');
}

test('a killed client leaves the rack and other clients alone', async () => {
  const [, client] = await rackWith();
  const space = await client.space('busy', { create: true });
  const at = await space.alloc(8 * MiB);
  const program = `
    import { connect } from 'memrack';
    const rack = await connect(${JSON.stringify(client.url)});
    const space = await rack.space('busy');
    console.log('going');
    for (;;) {
      const bytes = new Uint8Array(4 * 1024 * 1024).fill(7);
      await Promise.all([space.write(${at}, bytes), space.alloc(65536)]);
    }
  `;
  for (let round = 0; round < 3; round++) {
    const args = ['--input-type=module', '-e', program];
    const victim = spawn(process.execPath, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => victim.stdout.once('data', resolve));
    await new Promise((resolve) => setTimeout(resolve, 100 + 50 * round));
    victim.kill('SIGKILL');
    const mine = pattern(2 * MiB, round);
    await space.write(at + 5 * MiB, mine);
    expect(Buffer.compare(await space.read(at + 5 * MiB, 2 * MiB), mine)).toBe(0);
  }
  const torn = await space.read(at, 4 * MiB);
  expect(torn.every((byte) => byte === 7 || byte === 0)).toBe(true);
});

test('the name of a removed space is free while a node that held it is away', async () => {
  // The other one will remember the number of the new space.
  const [rack, client] = await rackWith([], 2);
  const space = await client.space('again', { create: true });
  await space.alloc(MiB);
  const words = ['space', 'regions', 'again', '-o', 'json', '--rack', rack.url];
  const [region] = JSON.parse((await runCli(words)).stdout) as { node: string }[];
  const pid = (await rack.nodes()).find(({ id }) => id === region?.node)?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  try {
    await client.removeSpace('again');
    expect((await client.spaces()).map(({ state }) => state)).toEqual(['removing']);
    const { code, stderr } = await runCli(['space', 'create', 'again', '--rack', rack.url]);
    expect([code, stderr]).toEqual([0, '']);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

test('an up that is killed leaves no process and no memory file behind', async () => {
  const rack = await startRack({ nodes: 3 });
  const pids = family(rack.child.pid ?? 0);
  const files = memoryFiles(pids);
  expect(pids.length).toBeGreaterThanOrEqual(9);
  expect(files.size).toBe(9);
  rack.child.kill('SIGKILL');
  await until(10_000, () => (pids.some(isAlive) ? undefined : true));
  const left = [...memoryFiles(everyPid())].filter((inode) => files.has(inode));
  expect(left).toEqual([]);
});

/** Makes the metadata that of a rack that ran in another boot, as after a loss of power. */
function reboot(data: string): void {
  const path = join(data, 'controller.sqlite');
  const database = new DatabaseSync(path);
  database.exec("UPDATE nodes SET keeper = 'other/1/2/3', process = 'other/1/3/3'");
  database.close();
}

test.each([
  ['a kill of everything', () => undefined],
  ['a loss of power', reboot],
])('after %s, --data comes up again and tells what was lost', async (_, meanwhile) => {
  const data = mkdtempSync(join(tmpdir(), 'memrack-data-'));
  opened.push(async () => rmSync(data, { recursive: true, force: true }));
  const [rack, client] = await rackWith(['--data', data], 2);
  const space = await client.space('gone', { create: true });
  const at = await space.alloc(MiB);
  await space.write(at, pattern(MiB, 1));
  const pids = family(rack.child.pid ?? 0);
  for (const pid of pids) {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
  await until(10_000, () => (pids.some(isAlive) ? undefined : true));
  meanwhile(data);
  const [again, fresh] = await rackWith(['--data', data], 2);
  await until(10_000, () => (/space gone: .*DataLost/.test(again.output()) ? true : undefined));
  const reopened = await fresh.space('gone');
  expect(await codeOf(reopened.read(at, 64))).toBe('DataLost');
  const other = await reopened.alloc(MiB);
  await reopened.write(other, pattern(MiB, 2));
  expect(Buffer.compare(await reopened.read(other, MiB), pattern(MiB, 2))).toBe(0);
});
