// The controller of real processes, killed and put back on an older copy of its metadata, while
// nodes and a client go on.
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, type Rack, type Space } from '../../src/apps/library.js';
import { CLI, ROOT, runCli } from '../support/cli.js';
import { until } from '../support/rack.js';

const WITHIN_MS = 40_000;
const children: ChildProcess[] = [];
let folder = '';
let url = '';
let client: Rack | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-restore-'));
  url = `memrack://127.0.0.1:${await freePort()}`;
});

afterEach(async () => {
  await client?.close();
  client = undefined;
  await Promise.all(children.splice(0).map(end));
  rmSync(folder, { recursive: true });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

function start(...words: string[]): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...words], { cwd: ROOT, stdio: 'ignore' });
  children.push(child);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

const port = () => url.split(':').at(-1) ?? '';
const startController = (data: string) => start('controller', '--port', port(), '--data', data);

interface Status {
  readonly findings: readonly { readonly code: string; readonly subject: string }[];
  readonly nodes: { readonly serving: number };
}

async function status(): Promise<Status | undefined> {
  const { code, stdout } = await runCli(['status', '-o', 'json', '--rack', url]);
  return code === 0 || stdout.startsWith('{') ? (JSON.parse(stdout) as Status) : undefined;
}

const codes = async () => (await status())?.findings.map(({ code }) => code) ?? ['NOT_THERE'];

async function untilServing(count: number): Promise<void> {
  await until(WITHIN_MS, async () =>
    (await status())?.nodes.serving === count ? true : undefined,
  );
}

async function make(name: string, byte: number): Promise<{ space: Space; at: number }> {
  const space = (await client?.space(name, { create: true })) as Space;
  const at = await space.alloc(1024);
  await space.write(at, new Uint8Array(1024).fill(byte));
  return { space, at };
}

async function startRack(): Promise<ChildProcess> {
  const controller = startController(join(folder, 'data'));
  for (const id of ['n1', 'n2']) {
    const size = ['--memory', '16MiB', '--page-bytes', '64KiB'];
    start('memory-node', '--join', url.replace('memrack://', ''), '--id', id, ...size);
  }
  await untilServing(2);
  client = await connect(url, { timeoutMs: 20_000 });
  return controller;
}

test.each(['memrack backup', 'a copy by hand'])('put back by %s', async (way) => {
  const controller = await startRack();
  const before = await make('before', 1);
  const data = join(folder, 'restored');
  const file = join(folder, 'backup');
  if (way === 'memrack backup') {
    expect(await runCli(['backup', file, '--rack', url])).toMatchObject({ code: 0 });
    expect(await runCli(['backup', file, '--rack', url])).toMatchObject({ code: 3 });
    const live = await runCli(['restore', file, '--data', join(folder, 'data')]);
    expect(live).toMatchObject({ code: 3 });
    expect(live.stderr).toContain('exists already');
  } else cpSync(join(folder, 'data'), data, { recursive: true });
  const since = await make('since', 2);
  await end(controller);
  if (way === 'memrack backup') {
    expect(await runCli(['restore', file, '--data', data])).toMatchObject({ code: 0 });
  }
  startController(data);
  // The data path asks nobody.
  expect((await before.space.read(before.at, 1)).at(0)).toBe(1);
  expect((await since.space.read(since.at, 1)).at(0)).toBe(2);
  await untilServing(2);
  const found = await until(WITHIN_MS, async () => {
    const { findings = [] } = (await status()) ?? {};
    if (findings.some(({ code }) => code === 'CONTROLLER_RESTORED')) return undefined;
    return findings.find(({ code }) => code === 'SPACE_UNKNOWN');
  });
  expect(found.subject).toBe(String(since.space.id));
  const other = await make('other', 3);
  expect([since.space.id, before.space.id]).not.toContain(other.space.id);
  expect(await runCli(['space', 'adopt', found.subject, 'since', '--rack', url])).toMatchObject({
    code: 0,
  });
  expect(await codes()).not.toContain('SPACE_UNKNOWN');
  const newcomer = await connect(url, { timeoutMs: 20_000 });
  try {
    const again = await newcomer.space('since');
    expect(again.id).toBe(since.space.id);
    expect((await again.read(since.at, 1024)).every((byte) => byte === 2)).toBe(true);
  } finally {
    await newcomer.close();
  }
});

test('nothing is decided before all nodes have answered, or are said to be gone', async () => {
  const controller = await startRack();
  const before = await make('before', 1);
  const file = join(folder, 'backup');
  expect(await runCli(['backup', file, '--rack', url])).toMatchObject({ code: 0 });
  await end(controller);
  const nodes = children.filter(({ exitCode, signalCode }) => exitCode === null && !signalCode);
  const gone = nodes.at(-1);
  if (gone !== undefined) await end(gone);
  const data = join(folder, 'restored');
  expect(await runCli(['restore', file, '--data', data])).toMatchObject({ code: 0 });
  startController(data);
  await untilServing(1);
  expect(await codes()).toContain('CONTROLLER_RESTORED');
  const create = ['space', 'create', 'new', '--rack', url];
  expect(await runCli(create)).toMatchObject({ code: 4 });
  expect(before.space.id).toBeGreaterThan(0);
  const remove = ['node', 'remove', 'n2', '--rack', url];
  expect((await runCli([...remove, '--lost'])).code).toBe(0);
  await until(WITHIN_MS, async () => {
    return (await codes()).includes('CONTROLLER_RESTORED') ? undefined : true;
  });
  expect(await runCli(create)).toMatchObject({ code: 0 });
});
