/** One seed must give one history: here, again here, and in another process. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { traceOf } from './testing/everything.js';

const SOURCE = fileURLToPath(new URL('../../', import.meta.url));
const SEEDS = [1, 2, 3, 2 ** 40 + 17];
const WORKLOAD = 'runtime/simulated/testing/everything.js';
let folder = '';

/** Another process has no translator, so it gets JavaScript. */
beforeAll(() => {
  const cache = join(SOURCE, '../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, 'memrack-replay-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  for (const part of ['base', 'runtime', 'runtime/simulated', 'runtime/simulated/testing']) {
    mkdirSync(join(folder, part));
    for (const name of readdirSync(join(SOURCE, part))) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const text = readFileSync(join(SOURCE, part, name), 'utf8');
      const { outputText } = ts.transpileModule(text, {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
      });
      writeFileSync(join(folder, part, name.replace(/\.ts$/, '.js')), outputText);
    }
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** MEMRACK_OTHER_NODES names further executables of Node, other versions for example. */
const executables = [process.execPath, ...(process.env['MEMRACK_OTHER_NODES'] ?? '').split(':')];

for (const executable of executables.filter((path) => path !== '')) {
  test(`the same seeds have the same hashes in another process (${executable})`, async () => {
    const script = `
      import { traceOf } from ${JSON.stringify(join(folder, WORKLOAD))};
      const seeds = ${JSON.stringify(SEEDS)};
      const hashes = [];
      for (const seed of seeds) hashes.push(await traceOf(seed, setImmediate));
      process.stdout.write(JSON.stringify(hashes));`;
    const args = ['--input-type=module', '-e', script];
    const there: unknown = JSON.parse(execFileSync(executable, args, { encoding: 'utf8' }));
    const here: unknown[] = [];
    for (const seed of SEEDS) here.push(await traceOf(seed, setImmediate));
    expect(there).toEqual(here);
    expect(new Set(here.map((one) => JSON.stringify(one))).size).toBe(SEEDS.length);
  });
}

test('and again in this one', async () => {
  expect(await traceOf(5, setImmediate)).toEqual(await traceOf(5, setImmediate));
});
