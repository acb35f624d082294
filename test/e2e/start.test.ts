// `npm start`: the rack, the main job, the table, the exit code.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT, runCli, runNode } from '../support/cli.js';
import { everyPid, family, isAlive, memoryFiles, until } from '../support/rack.js';
import { requires, requiresAccess } from '../support/requires.js';

const START = join(ROOT, 'dist/apps/start.js');
const SWAP_JOB_MS = 240_000;
const hasSwap =
  process.getuid?.() === 0 && requiresAccess('/dev/fuse', '/dev/loop-control') && requires('sort');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-start-'));
  mkdirSync(join(folder, 'deep/er'), { recursive: true });
  for (let i = 0; i < 60; i++) {
    const place = i % 2 === 0 ? folder : join(folder, 'deep/er');
    writeFileSync(join(place, `file-${i}`), Buffer.alloc(i * i * 997, `${i} `));
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('--once verifies every file and leaves nothing behind', async () => {
  const args = [START, '--once', '--port', '0', '--files', folder];
  // Without programs of others: our own client moves the image.
  const { code, stdout, stderr } = await runNode(args, { env: { PATH: '/nowhere' } });
  expect(stderr).not.toContain('NOT verified');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^phase +files +bytes/m);
  expect(stdout).toMatch(/^write +60 /m);
  expect(stdout).toMatch(/^read +60 /m);
  expect(stdout).toContain('verified: every file');
  expect(stdout).toMatch(/^device: .*moved by the client of our own tests/m);
  expect(stdout).toMatch(/^ +node-[123] was lost/m);
  expect(stdout).toContain('verified: every byte of the device');
  expect(stdout).toMatch(/^left out: a program with remote memory: say --host-swap/m);
  expect(readdirSync(folder).length).toBe(31);
});

test.runIf(hasSwap)(
  'a program with remote memory has the same output as without',
  async () => {
    const args = [START, '--once', '--port', '0', '--files', folder, '--host-swap'];
    const { code, stdout, stderr } = await runNode(args, { timeoutMs: SWAP_JOB_MS });
    expect(stderr).not.toContain('NOT verified');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^local +in the rack +swap file +zram/m);
    // The kernel may end the others: the rack's own column has a figure.
    expect(stdout).toMatch(/^25 % +[0-9.]+ x +/m);
    expect(stdout).toContain('verified: its output is the same each time');
  },
  SWAP_JOB_MS,
);

test('without --once it stays up with the files in it, until it is asked to end', async () => {
  const args = [START, '--port', '0', '--files', folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  try {
    await until(60_000, () => (output.includes('Ctrl-C') ? true : undefined));
    expect(output).toContain('verified: every byte of the device');
    const url = /memrack:\/\/\S+/.exec(output)?.[0] ?? '';
    const copy = join(tmpdir(), `memrack-start-copy-${process.pid}`);
    const got = await runCli(['get', 'tree/deep/er/file-59', copy, '--rack', url]);
    rmSync(copy, { force: true });
    expect(got.stderr).toBe('');
    expect(got.code).toBe(0);
    const pids = family(child.pid ?? 0);
    const files = memoryFiles(pids);
    expect(files.size).toBe(9);
    child.kill('SIGINT');
    await until(20_000, () => (pids.some(isAlive) ? undefined : true));
    expect([...memoryFiles(everyPid())].filter((inode) => files.has(inode))).toEqual([]);
  } finally {
    child.kill('SIGKILL');
  }
});

test('killed by force it leaves no process behind', async () => {
  const args = [join(ROOT, 'tools/start.mjs'), '--port', '0', '--files', folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  let pids: number[] = [];
  try {
    await until(60_000, () => (output.includes('every byte of the device') ? true : undefined));
    pids = family(child.pid ?? 0);
  } finally {
    child.kill('SIGKILL');
  }
  await until(10_000, () => (pids.some(isAlive) ? undefined : true));
});

test('wrong flags end with 2', async () => {
  for (const args of [['--nonsense'], ['--files', '/nowhere-at-all'], ['--limit', 'much']]) {
    expect((await runNode([START, ...args])).code).toBe(2);
  }
});
