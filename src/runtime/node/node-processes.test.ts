import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRuntime, type NodeRuntime } from './create-runtime.js';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';

let compiled: Compiled;
let runtime: NodeRuntime;

beforeAll(() => {
  compiled = compileRuntime();
  runtime = createRuntime({ rolesEntry: compiled.path('runtime/node/testing/roles.js') });
});
afterAll(() => compiled.remove());

/** Not even a zombie, which waits only for somebody to read its exit code. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function eventually(holds: () => boolean): Promise<void> {
  const start = Date.now();
  while (!holds() && Date.now() - start < 5000) await new Promise((done) => setTimeout(done, 10));
  expect(holds()).toBe(true);
}

test('a child gets its configuration, tells that it is ready, and ends when told', async () => {
  const config = { text: 'ü', list: [1, 2] };
  const child = runtime.processes.spawn({ role: 'sleeper', config });
  expect(await child.ready).toEqual({ pid: child.pid, config });
  child.end('term');
  expect(await child.exited).toEqual({ code: 0, signal: undefined });
});

test('what a terminal sends to the whole group is left to the parent', async () => {
  const child = runtime.processes.spawn({ role: 'sleeper', config: null });
  await child.ready;
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.kill(child.pid, signal);
  await new Promise((done) => setTimeout(done, 200));
  expect(isAlive(child.pid)).toBe(true);
  child.end('term');
  expect((await child.exited).code).toBe(0);
});

test('a killed child is told of by its signal', async () => {
  const child = runtime.processes.spawn({ role: 'sleeper', config: null });
  await child.ready;
  child.end('kill');
  expect(await child.exited).toEqual({ code: undefined, signal: 'SIGKILL' });
});

test('a child that ends before it is ready says so', async () => {
  const child = runtime.processes.spawn({ role: 'failing', config: null });
  await expect(child.ready).rejects.toThrow('failing ended before it was ready: code 7');
  expect((await child.exited).code).toBe(7);
});

test('children end with their parent, also by kill -9', async () => {
  const parent = runtime.processes.spawn({ role: 'parent', config: null });
  const { pid } = (await parent.ready) as { pid: number };
  expect(isAlive(pid)).toBe(true);
  parent.end('kill');
  await parent.exited;
  await eventually(() => !isAlive(pid));
});

test('memory goes to a child under the same handle, and outlives it', async () => {
  const unused = runtime.memory.create('memrack unused', 4096);
  const file = runtime.memory.create('memrack test', 8192);
  const { wide } = file.map(0, 8192);
  wide[0] = 41n;
  for (let i = 1; i <= 2; i++) {
    const config = { handle: file.handle };
    const memory = [unused.handle, file.handle];
    const child = runtime.processes.spawn({ role: 'adder', config, memory });
    expect(await child.ready).toEqual({ name: 'memrack test', bytes: 8192 });
    expect(wide[0]).toBe(41n + BigInt(i));
    child.end('kill');
    await child.exited;
  }
});

test('what cannot be a process is none whose end could be known', () => {
  const { processes } = runtime;
  const place = processes.identity.split('/').slice(0, 2).join('/');
  expect(processes.canTell(`${place}/1/1`)).toBe(true);
  for (const wrong of ['99999999/1', `${2 ** 40}/1`, '0/1', '-1/1', '1', '1/', '1/x', '1/1/1']) {
    expect(processes.canTell(`${place}/${wrong}`), wrong).toBe(false);
  }
  expect(processes.hasEnded(`${place}/9999999/1`)).toBe(true);
});
