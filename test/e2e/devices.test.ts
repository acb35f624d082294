// Block devices of a rack of real processes: made and removed on the command line, written to over
// NBD, while nodes and the host are killed. Every byte is looked at.
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.js';
import { KiB, MiB } from '../../src/base/units.js';
import { NbdClient } from '../../src/doors/nbd/testing/client.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { runCli } from '../support/cli.js';
import { startRack, supervisorOf, type TestRack, until } from '../support/rack.js';

const runtime = createRuntime({ logLevel: 'error' });
const BYTES = 80 * MiB;
const PART = 256 * KiB;
/** Some in both slabs. */
const PARTS = Array.from({ length: 40 }, (_, i) => (i < 20 ? i * PART : 64 * MiB + i * PART));
const ENOSPC = 28;
let rack: TestRack;

beforeAll(async () => {
  rack = await startRack({ nodes: 3, memory: '64MiB', extra: ['--nbd-port', '0'] });
});

afterAll(async () => {
  await rack?.stop();
});

async function memrack(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli([...args, '--rack', rack.url]);
  expect([args, code, stderr]).toEqual([args, 0, '']);
  return stdout.trim();
}

function partOf(seed: number): Uint8Array {
  const prng = new Prng(seed);
  const words = new Uint32Array(PART / 4);
  for (let i = 0; i < words.length; i++) words[i] = prng.u32();
  return new Uint8Array(words.buffer);
}

/** A connection to the device, which may have to wait for the end of another host's lease. */
async function use(name: string): Promise<NbdClient> {
  const uri = new URL(await memrack('device', 'uri', name));
  return until(40_000, async () => {
    const client = await NbdClient.connect(runtime.network, `tcp://${uri.host}`).catch(() => null);
    if (client === null) return undefined;
    await client.structured();
    if (typeof (await client.go(name)) !== 'number') return client;
    client.disconnect();
    return undefined;
  });
}

async function verify(client: NbdClient, seeds: readonly number[]): Promise<void> {
  const reads = PARTS.map(async (at, i) => {
    const { error, data } = await client.read(at, PART);
    expect([at, error]).toEqual([at, 0]);
    expect([at, Buffer.compare(data, partOf(seeds[i] as number))]).toEqual([at, 0]);
  });
  await Promise.all(reads);
}

/** What its host has told of the device shows wherever people look. */
async function seeWork(): Promise<void> {
  const shown = await until(10_000, async () => {
    const { stdout } = await runCli(['device', 'list', '-o', 'json', '--rack', rack.url]);
    const [seen] = JSON.parse(stdout) as { activity?: { write: { done: number } } }[];
    return (seen?.activity?.write.done ?? 0) >= PARTS.length ? seen : undefined;
  });
  expect(shown).toMatchObject({ state: 'served', slabsAbsent: 0, slabs: { whole: 2, lost: 0 } });
  const metrics = await (await fetch(`${rack.url.replace('memrack:', 'http:')}/metrics`)).text();
  expect(metrics).toMatch(/^memrack_device_served\{device="disk"\} 1$/m);
  expect(metrics).toMatch(/^memrack_device_operations_total\{.*kind="write"\} [1-9]/m);
  const [status, top] = await Promise.all([memrack('status'), memrack('top', '--once')]);
  for (const text of [status, top]) expect(text).toMatch(/disk +80 MiB +2 .*2 whole.*served by/);
}

test('a device is made, listed and named, and wrong wishes are refused', async () => {
  await memrack('device', 'create', 'disk', '--size', '80MiB', '--replicas', '2');
  const [row] = JSON.parse(await memrack('device', 'list', '-o', 'json')) as unknown[];
  expect(row).toMatchObject({ name: 'disk', bytes: BYTES, replicas: 2 });
  expect(await memrack('device', 'uri', 'disk')).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+\/disk$/);
  for (const [args, code, words] of [
    [['create', 'disk', '--size', '1GiB'], 3, 'disk'],
    [['create', 'odd', '--size', '1000'], 2, '512'],
    [['create', 'x', '--size', '1GiB', '--replicas', '4'], 2, 'replicas'],
    [['remove', 'none'], 3, 'none'],
    [['uri', 'none'], 3, 'none'],
  ] as const) {
    const result = await runCli(['device', ...args, '--rack', rack.url]);
    expect([args, result.code]).toEqual([args, code]);
    expect(result.stderr).toContain(words);
  }
});

test('every byte is there after nodes, their memory and the host were killed', async () => {
  const client = await use('disk');
  const seeds = PARTS.map((_, i) => i + 1);
  expect((await client.read(BYTES - 512, 512)).data).toEqual(new Uint8Array(512));
  const write = async (from: number, count: number): Promise<void> => {
    for (let i = from; i < from + count; i++) {
      seeds[i % PARTS.length] = i + 1;
      const { error } = await client.write(PARTS[i % PARTS.length] as number, partOf(i + 1));
      expect([i, error]).toEqual([i, 0]);
    }
  };
  await write(0, PARTS.length);
  await seeWork();
  const victim = await supervisorOf(rack, 'node-2');
  const writing = write(PARTS.length, PARTS.length);
  // Its memory is gone with it; an empty node takes its place.
  process.kill(victim, 'SIGKILL');
  await writing;
  await verify(client, seeds);
  const pid = (await rack.nodes()).find(({ id }) => id === 'node-1')?.pid as number;
  const again = write(2 * PARTS.length, PARTS.length);
  process.kill(pid, 'SIGKILL');
  await again;
  await verify(client, seeds);
  const taken = await runCli(['device', 'remove', 'disk', '--rack', rack.url]);
  expect([taken.code, taken.stderr]).toEqual([3, expect.stringContaining('held')]);
  const host = (await rack.nodes()).find(({ kind }) => kind === 'host')?.pid as number;
  process.kill(host, 'SIGKILL');
  const next = await use('disk');
  await verify(next, seeds);
  expect((await next.write(512, new Uint8Array(1024).fill(7))).error).toBe(0);
  const { data } = await next.read(0, 2048);
  const wanted = partOf(seeds[0] as number).slice(0, 2048);
  expect(Buffer.compare(data, wanted.fill(7, 512, 1536))).toBe(0);
  next.disconnect();
});

test('a device grows while it is used, and shrinks where nothing is lost by it', async () => {
  const resize = (size: string, ...more: string[]) =>
    runCli(['device', 'resize', 'disk', '--size', size, ...more, '--rack', rack.url]);
  const client = await use('disk');
  const data = new Uint8Array(PART).fill(9);
  expect((await resize('160MiB')).code).toBe(0);
  expect((await client.write(BYTES, data)).error).toBe(ENOSPC);
  const other = await use('disk');
  expect((await other.write(150 * MiB, data)).error).toBe(0);
  const taken = await resize('80MiB', '--force');
  expect([taken.code, taken.stderr]).toEqual([3, expect.stringContaining('grow')]);
  client.disconnect();
  other.disconnect();
  const shrunk = await until(20_000, async () => {
    const result = await resize('80MiB');
    return result.stderr.includes('serves it') ? undefined : result;
  });
  expect([shrunk.code, shrunk.stderr]).toEqual([3, expect.stringContaining('--force')]);
  expect(await resize('80MiB', '--force')).toMatchObject({ code: 0, stderr: '' });
  expect((await resize('160MiB')).code).toBe(0);
  const last = await use('disk');
  const read = await last.read(150 * MiB, PART);
  expect([read.error, read.data.every((byte) => byte === 0)]).toEqual([0, true]);
  last.disconnect();
});

test('a device that is limited does no more, until it is not', async () => {
  const limit = (rate: string) => memrack('device', 'limit', 'disk', '--rate', rate, '-o', 'json');
  expect(JSON.parse(await limit('100'))).toEqual({ name: 'disk', requestsPerS: 100 });
  const client = await use('disk');
  const readFor = async (ms: number): Promise<number> => {
    const end = performance.now() + ms;
    let reads = 0;
    for (; performance.now() < end; reads++) expect((await client.read(0, 512)).error).toBe(0);
    return reads;
  };
  expect(await readFor(600)).toBeLessThan(100);
  expect(await limit('none')).toContain('disk');
  await until(10_000, async () => ((await readFor(100)) > 20 ? true : undefined));
  client.disconnect();
});

/** What is trimmed gives its memory back, but for the ends of pages: then there is room again. */
const bytesUsed = async (): Promise<number> => {
  return (await rack.nodes()).reduce((sum, { bytesUsed }) => sum + bytesUsed, 0);
};

/** Nodes tell about once a second: both what was written, and that it is gone, is waited for. */
async function trimAll(
  client: NbdClient,
  bytes: number,
  { written, before }: Record<'written' | 'before', number>,
): Promise<void> {
  const isUsed = async (): Promise<boolean> => (await bytesUsed()) > before + 0.75 * written;
  await until(10_000, async () => ((await isUsed()) ? true : undefined));
  const kept = (await client.read(0, PART)).data;
  expect((await client.trim(PART, bytes - PART)).error).toBe(0);
  const most = before + 0.25 * written;
  await until(10_000, async () => ((await bytesUsed()) < most ? true : undefined));
  const [first, rest] = [await client.read(0, PART), await client.read(PART, 4 * PART)];
  expect([first.error, Buffer.compare(first.data, kept)]).toEqual([0, 0]);
  expect([rest.error, rest.data.every((byte) => byte === 0)]).toEqual([0, true]);
  expect((await client.write(8 * MiB, partOf(5))).error).toBe(0);
  expect(Buffer.compare((await client.read(8 * MiB, PART)).data, partOf(5))).toBe(0);
}

test('a full rack says so, and gives everything back with the device', async () => {
  await memrack('device', 'create', 'large', '--size', '1GiB', '--replicas', '1');
  const client = await use('large');
  const before = await bytesUsed();
  let [error, written] = [0, 0];
  for (; error === 0 && written < 1024 * MiB; written += error === 0 ? MiB : 0) {
    ({ error } = await client.write(written, new Uint8Array(MiB).fill(1)));
  }
  expect(error).toBe(ENOSPC);
  await trimAll(client, 1024 * MiB, { written, before });
  client.disconnect();
  for (const name of ['large', 'disk']) {
    await until(20_000, async () => {
      const { code } = await runCli(['device', 'remove', name, '--rack', rack.url]);
      return code === 0 ? true : undefined;
    });
  }
  await until(20_000, async () => {
    const nodes = await rack.nodes();
    return nodes.every(({ bytesUsed }) => bytesUsed === 0) ? true : undefined;
  });
});

/** Which a host has open, and a copy of it, which is damaged. */
async function verifyFile(file: string): Promise<void> {
  const whole = await runCli(['doctor', '--verify', file]);
  expect([whole.code, whole.stdout]).toEqual([0, expect.stringContaining('a host has it open')]);
  expect(whole.stdout).toMatch(/areas: \d+ clean, \d+ dirty, 0 lost/);
  const copy = `${file}.copy`;
  copyFileSync(file, copy);
  const descriptor = openSync(copy, 'r+');
  writeSync(descriptor, 'damage', 4096 + 16);
  closeSync(descriptor);
  const damaged = await runCli(['doctor', '--verify', copy]);
  rmSync(copy);
  expect([damaged.code, damaged.stdout]).toEqual([1, expect.stringContaining('bad     heads:')]);
  expect(damaged.stdout).toContain('no host has it open');
}

// The last one: all memory nodes are replaced.
test('a device with a backup goes on when all memory is gone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-device-'));
  const file = join(folder, 'kept.backup');
  const made = ['--size', '80MiB', '--backup', file, '--rack', rack.url];
  try {
    expect((await runCli(['device', 'create', 'kept', ...made])).code).toBe(0);
    const again = await runCli(['device', 'create', 'other', ...made]);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('exists')]);
    const client = await use('kept');
    const seeds = PARTS.map((_, i) => 1000 + i);
    for (const [i, at] of PARTS.entries()) {
      expect([i, (await client.write(at, partOf(1000 + i))).error]).toEqual([i, 0]);
    }
    expect((await client.flush()).error).toBe(0);
    await verifyFile(file);
    for (const id of ['node-1', 'node-2', 'node-3']) {
      process.kill(await supervisorOf(rack, id), 'SIGKILL');
    }
    await verify(client, seeds);
    const host = (await rack.nodes()).find(({ kind }) => kind === 'host')?.pid as number;
    process.kill(host, 'SIGKILL');
    const next = await use('kept');
    await verify(next, seeds);
    next.disconnect();
    await until(20_000, async () => {
      const removed = await runCli(['device', 'remove', 'kept', '--rack', rack.url]);
      return removed.code === 0 ? true : undefined;
    });
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
