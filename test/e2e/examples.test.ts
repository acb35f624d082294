// The programs that the documentation shows run as they stand.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT, runCli, runNode } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

let rack: TestRack;
let folder: string;

beforeAll(async () => {
  // As in a user's project: this package is one of its dependencies.
  folder = mkdtempSync(join(tmpdir(), 'memrack-examples-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/memrack'));
  const kept = ['--data', join(folder, 'data'), '--persistent-nodes', '1'];
  rack = await startRack({
    nodes: 2,
    memory: '128MiB',
    pageBytes: '2MiB',
    extra: [...kept, '--unproven-file-system'],
  });
});

afterAll(async () => {
  await rack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function run(name: string, program: string): Promise<string> {
  const path = join(folder, name);
  writeFileSync(path, program);
  const { code, stdout, stderr } = await runNode([path], { env: { MEMRACK_URL: rack.url } });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return stdout;
}

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

test('the first program of the README', async () => {
  const program = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  expect(program.trim().split('\n').length).toBeLessThanOrEqual(11);
  expect(await run('first.mjs', program)).toBe('hello, other machine\n0n\n');
});

/** By what a program of the README calls: what it prints. */
const README_SAYS: Record<string, string> = {
  'space.window(': '8\nStale\n',
  'lease.window(': 'Closed\n1 2 3\n',
  'space.lock(': '1 1\n',
  'space.flush(': 'still here\n',
};

test.each(Object.entries(README_SAYS))('the program of the README with %s', async (call, says) => {
  const program = [...readme.matchAll(/```js\n([\s\S]*?)```/g)]
    .map((match) => match[1] ?? '')
    .find((text) => text.includes(call));
  expect(await run('readme.mjs', program ?? '')).toBe(says);
});

test('the program of the page about locks', async () => {
  const page = readFileSync(join(ROOT, 'docs/internals/locks.md'), 'utf8');
  const program = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  expect(await run('locks.mjs', program)).toBe('published epoch 1\n');
});

test('the program of the page about what can be seen', async () => {
  const page = readFileSync(join(ROOT, 'docs/seeing.md'), 'utf8');
  const program = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  expect(await run('seeing.mjs', program)).toMatch(
    /^1 part answered by node-\d, window \d+ bytes\n$/,
  );
});

const SAID: Record<string, RegExp> = {
  'blocking.ts': /^20000 steps by 2 threads\n$/,
  'counter.ts': /10000 steps by all/,
  'many.ts': /1000 of 1000 records came back\nNotAllocated: /,
};

test.each(readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts')))(
  'examples/%s',
  async (name) => {
    const source = readFileSync(join(ROOT, 'examples', name), 'utf8');
    // Without a type in it, so that a version of Node that knows none can run a copy.
    const stdout = await run(name.replace('.ts', '.mjs'), source);
    expect(stdout).toMatch(SAID[name] as RegExp);
  },
);

test('the commands that the README shows exist', async () => {
  const { stdout } = await runCli(['--help']);
  const commands = [...readme.matchAll(/memrack ([a-z][a-z-]*)/g)].map((match) => match[1] ?? '');
  expect(commands.length).toBeGreaterThan(10);
  for (const command of new Set(commands))
    expect(stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
});
