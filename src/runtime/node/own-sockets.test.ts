import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRuntime } from './create-runtime.js';
import { ownFolder } from './own-sockets.js';

const user = process.getuid?.() ?? -1;
const before = process.env['XDG_RUNTIME_DIR'];
const accept = () => ({ received: () => 0, drained: () => {}, closed: () => {} });
let parent = '';

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'own-'));
  process.env['XDG_RUNTIME_DIR'] = parent;
});

afterEach(() => {
  if (before === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = before;
  rmSync(parent, { recursive: true, force: true });
});

/** The socket of a process that was killed. */
function leave(path: string, ageMs: number): void {
  const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () =>
    process.kill(process.pid, 'SIGKILL'));`;
  spawnSync(process.execPath, ['-e', code]);
  const at = (Date.now() - ageMs) / 1000;
  utimesSync(path, at, at);
}

test('the folder is for this user alone', () => {
  const folder = ownFolder(parent);
  expect(folder).toBe(join(parent, `memrack-${user}`));
  expect(statSync(folder ?? '').mode & 0o777).toBe(0o700);
  expect(ownFolder(parent)).toBe(folder);
});

test('a folder that others can enter, replace or have made up is none', () => {
  const folder = join(parent, `memrack-${user}`);
  mkdirSync(folder, { mode: 0o700 });
  chmodSync(folder, 0o770);
  expect(ownFolder(parent)).toBeUndefined();
  rmSync(folder, { recursive: true });
  mkdirSync(join(parent, 'elsewhere'), { mode: 0o700 });
  symlinkSync(join(parent, 'elsewhere'), folder);
  expect(ownFolder(parent)).toBeUndefined();
  rmSync(folder);
  chmodSync(parent, 0o777);
  expect(ownFolder(parent)).toBeUndefined();
  chmodSync(parent, 0o1777);
  expect(ownFolder(parent)).toBe(folder);
  expect(ownFolder(join(parent, 'missing'))).toBeUndefined();
  expect(ownFolder('')).toBeUndefined();
});

test('where the first place is none, it is below the folder for temporary files', async () => {
  process.env['XDG_RUNTIME_DIR'] = join(parent, 'missing');
  const address = await createRuntime().network.ownAddress('x-1');
  expect(address).toBe(`ring://${join(tmpdir(), `memrack-${user}`, 'x-1.ring')}`);
});

test('what was left is cleared away, and what is served or young stays', async () => {
  const folder = ownFolder(parent) ?? '';
  const [old, young] = [join(folder, 'old.ring'), join(folder, 'young.ring')];
  leave(old, 60_000);
  leave(young, 0);
  const { network } = createRuntime();
  const address = (await network.ownAddress('served')) ?? '';
  const path = address.slice('ring://'.length);
  const listener = await network.listen(address, accept);
  utimesSync(path, 1, 1);
  expect([existsSync(old), existsSync(young)]).toEqual([false, true]);
  expect(await network.ownAddress('served')).toBe(address);
  expect(existsSync(path)).toBe(true);
  await listener.close();
  expect(existsSync(path)).toBe(false);
});

test('a socket that is served again while it is looked at stays', async () => {
  const folder = ownFolder(parent) ?? '';
  const path = join(folder, 'again.ring');
  leave(path, 60_000);
  const { network } = createRuntime();
  const looking = network.ownAddress('other');
  unlinkSync(path);
  const listener = await network.listen(`ring://${path}`, accept);
  await looking;
  expect(existsSync(path)).toBe(true);
  await listener.close();
});

test('what another process clears away first is taken over all the same', async () => {
  const path = join(ownFolder(parent) ?? '', 'left.ring');
  leave(path, 0);
  const listening = createRuntime().network.listen(`ring://${path}`, accept);
  unlinkSync(path);
  const listener = await listening;
  expect(existsSync(path)).toBe(true);
  await listener.close();
});
