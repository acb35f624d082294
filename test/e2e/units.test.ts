// What is shipped for systemd is accepted by systemd, and starts commands and flags that there are.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../support/cli.js';
import { requires } from '../support/requires.js';

const FOLDER = join(import.meta.dirname, '../../deploy/systemd');
const units = readdirSync(FOLDER).map((name) => ({
  name,
  text: readFileSync(join(FOLDER, name), 'utf8').replaceAll('\\\n', ''),
}));

test('each role has a unit, with flags that its command has', async () => {
  expect(units.map(({ name }) => name).sort()).toEqual(
    ['controller', 'host', 'memory-node'].map((role) => `memrack-${role}.service`),
  );
  for (const { name, text } of units) {
    const words = /^ExecStart=(.*)$/m.exec(text)?.[1]?.split(/\s+/) ?? [];
    expect(words[0]).toBe('/usr/bin/memrack');
    const { code, stdout } = await runCli([words[1] ?? '', '--help']);
    expect(code).toBe(0);
    const known = [...stdout.matchAll(/--[a-z-]+/g)].map(([flag]) => flag);
    for (const flag of words.filter((word) => word.startsWith('--'))) {
      expect(known, `${name} ${flag}`).toContain(flag);
    }
    expect(text).toMatch(/^Restart=always$/m);
    expect(text).toMatch(/^LimitNOFILE=\d+$/m);
  }
});

test.runIf(requires('systemd-analyze'))('systemd accepts the units', () => {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-units-'));
  try {
    const paths = units.map(({ name, text }) => {
      const path = join(folder, name);
      // What it starts, and whom as, are not installed here.
      const here = text.replace('/usr/bin/memrack', process.execPath);
      writeFileSync(path, here.replace(/^(User|Group)=.*$/gm, '$1=root'));
      return path;
    });
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...paths], {
      encoding: 'utf8',
    });
    const ours = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('memrack-'));
    expect([status, ours]).toEqual([0, []]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
