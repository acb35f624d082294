// Memory on a disk, with real processes: killed one by one and all at once, damaged, and full.
import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { connect } from '../../src/apps/library.js';
import { runCli } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

const SIZE = 3_000_000;
/** Numbers that are written and flushed while their region moves. */
const COUNTED = 64;
const ends: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'memrack-persistent-'));
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const EXTRA = ['--persistent-nodes', '2', '--unproven-file-system'];

async function rackOn(data: string): Promise<TestRack> {
  const rack = await startRack({ nodes: 1, extra: ['--data', data, ...EXTRA] });
  ends.push(() => rack.stop());
  return rack;
}

const isWhole = (bytes: Uint8Array): boolean => bytes.every((byte, i) => byte === i % 251);
const content = (): Uint8Array => Uint8Array.from({ length: SIZE }, (_, i) => i % 251);

async function opened(rack: TestRack) {
  const client = await connect(rack.url, { timeoutMs: 30_000 });
  const space = await client.space('kept', { create: true, kind: 'persistent' });
  return { client, space };
}

/** Every process that was started by it, and itself. */
function killAll(rack: TestRack): Promise<void> {
  const pid = rack.child.pid ?? 0;
  const gone = new Promise<void>((resolve) => rack.child.once('exit', () => resolve()));
  process.kill(pid, 'SIGKILL');
  return gone;
}

const parentOf = (pid: number): number =>
  Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

const pidOf = async (rack: TestRack, id: string): Promise<number> =>
  (await rack.nodes()).find((node) => node.id === id)?.pid ?? 0;

/** Where the only region of the space is. */
async function placeOf(rack: TestRack): Promise<{ region: number; node: string }> {
  const words = ['space', 'regions', 'kept', '-o', 'json', '--rack', rack.url];
  const rows = JSON.parse((await runCli(words)).stdout) as { region: number; node: string }[];
  expect(rows).toHaveLength(1);
  return rows[0] as { region: number; node: string };
}

/** Moves it to the other file while `step` goes on; returns the process that serves it then. */
async function moveWhile(rack: TestRack, step: () => Promise<void>): Promise<number> {
  const { region, node } = await placeOf(rack);
  const to = node === 'persistent-1' ? 'persistent-2' : 'persistent-1';
  const words = ['space', 'move', 'kept', String(region), to, '--rack', rack.url];
  let isMoved = false;
  const moved = runCli(words, { timeoutMs: 60_000 }).finally(() => {
    isMoved = true;
  });
  while (!isMoved) await step();
  expect(await moved).toMatchObject({ code: 0, stderr: '' });
  expect(await placeOf(rack)).toEqual(expect.objectContaining({ region, node: to }));
  return pidOf(rack, to);
}

test('what was flushed outlives moves, node, supervisor and rack', {
  timeout: 180_000,
}, async () => {
  const data = folder();
  let rack = await rackOn(data);
  const { client, space } = await opened(rack);
  const at = await space.alloc(SIZE);
  await space.write(at, content());
  await space.flush(at, SIZE);
  const written = new Float64Array(COUNTED);
  const numbers = await space.alloc(8 * COUNTED);
  const node = await moveWhile(rack, async () => {
    const count = 1 + (written[0] as number);
    written[count % COUNTED] = count;
    written[0] = count;
    await space.write(numbers, new Uint8Array(written.buffer));
    await space.flush(numbers, 8 * COUNTED);
  });
  const supervisor = parentOf(node);
  for (const pid of [node, supervisor]) {
    process.kill(pid, 'SIGKILL');
    expect(isWhole(await space.read(at, SIZE))).toBe(true);
    expect(await space.read(numbers, 8 * COUNTED)).toEqual(new Uint8Array(written.buffer));
  }
  await client.close();
  await killAll(rack);
  rack = await rackOn(data);
  const again = await opened(rack);
  expect(isWhole(await again.space.read(at, SIZE))).toBe(true);
  expect(await again.space.read(numbers, 8 * COUNTED)).toEqual(new Uint8Array(written.buffer));
  await again.space.write(at, Uint8Array.of(0, 1));
  await again.space.flush(at, 2);
  await expect(again.client.space('kept', { kind: 'dram' })).rejects.toMatchObject({
    code: 'Conflict',
  });
  await again.client.close();
  const file = join(data, 'persistent-1.mem');
  expect((await runCli(['doctor', '--verify', file])).code).toBe(3);
  await rack.stop();
  const verified = await runCli(['doctor', '--verify', file]);
  expect(verified.stdout).toContain('its node ended in order');
  expect(verified.code).toBe(0);
  damage(file);
  const damaged = await runCli(['doctor', '--verify', file]);
  expect([damaged.code, damaged.stdout.includes('damaged')]).toEqual([1, true]);
  await expect(rackOn(data)).rejects.toThrow('is damaged');
});

/** One byte of each block between the frames and the log: both images. */
function damage(path: string): void {
  const fd = openSync(path, 'r+');
  const { size } = statSync(path);
  for (let at = 64 * 2 ** 20 + 7; at < size - 5 * 2 ** 20; at += 4096) {
    writeSync(fd, Uint8Array.of(0x5a), 0, 1, at);
  }
  closeSync(fd);
}

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('skipping a test: a small disk is mounted by root alone\n');

test.runIf(isRoot)('a disk that has no room refuses the file, and keeps nothing', async () => {
  const place = folder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'memrack-test', place]);
  ends.push(() => void execFileSync('umount', [place]));
  const path = join(place, 'd1.mem');
  const words = ['memory-node', '--join', '127.0.0.1:1', '--id', 'd1', '--memory', '64MiB'];
  const file = ['--persistent', path, '--create', '--unproven-file-system'];
  const refused = await runCli([...words, '--page-bytes', '64KiB', ...file]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('has no');
  expect(() => statSync(path)).toThrow();
  expect(() => statSync(`${path}.new`)).toThrow();
});

test.runIf(isRoot)('metadata that has no room is refused, and memory goes on', async () => {
  const place = folder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'memrack-test', place]);
  ends.push(() => void execFileSync('umount', [place]));
  const rack = await startRack({ nodes: 1, extra: ['--data', join(place, 'data')] });
  ends.push(() => rack.stop());
  const client = await connect(rack.url, { timeoutMs: 30_000 });
  const space = await client.space('before', { create: true });
  const at = await space.alloc(8);
  const taken = join(place, 'taken');
  execFileSync('sh', ['-c', `cat /dev/zero > ${taken} 2> /dev/null || true`]);
  const hasty = await connect(rack.url, { timeoutMs: 300 });
  await expect(hasty.space('meanwhile', { create: true })).rejects.toMatchObject({
    code: expect.stringMatching(/Unavailable|Timeout|OutcomeUnknown/) as string,
  });
  await hasty.close();
  await space.write(at, Uint8Array.of(7));
  expect(await space.read(at, 1)).toEqual(Uint8Array.of(7));
  expect(rack.output()).toContain('make room on that disk');
  rmSync(taken);
  const after = await client.space('after', { create: true });
  expect(after.id).not.toBe(space.id);
  expect((await client.spaces()).map(({ name }) => name)).toContain('before');
  await client.close();
});
