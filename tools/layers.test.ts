import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// One throw-away tree with every kind of breach, and the same config as the repository's own.
const ROOT = join(import.meta.dirname, '..');

/** Rule that must speak, file that breaks it, what the file imports. */
const BREACHES: [rule: string, from: string, to: string][] = [
  ['no-upward-from-base', 'base/ring', '../fabric/link.js'],
  ['no-upward-from-wire-disk', 'wire/read', '../fabric/link.js'],
  ['no-upward-from-fabric', 'fabric/upward', '../sim/main.js'],
  ['no-upward-from-apps', 'apps/upward', '../cli/main.js'],
  ['strangers-wire-disk', 'disk/page', '../wire/message.js'],
  ['strangers-memory-node-controller-client', 'client/space', '../controller/members.js'],
  ['doors-are-siblings', 'doors/nbd/session', '../redis/backend.js'],
  ['no-backward-from-store', 'memory-node/store/frames', '../access/check.js'],
  ['no-backward-from-access', 'memory-node/access/back', '../translate/table.js'],
  ['no-backward-from-translate', 'memory-node/translate/back', '../network/serve.js'],
  ['node-builtins-only-at-the-edge', 'pager/file', 'node:fs'],
  ['natives-only-in-runtime-node', 'apps/native', 'koffi'],
  ['natives-only-in-runtime-node', 'fabric/sum', '@node-rs/crc32'],
  ['natives-only-in-runtime-node', 'controller/sql', '@photostructure/sqlite'],
  ['real-runtime-is-chosen-only-in-apps', 'cli/real', '../runtime/node/clock.js'],
  ['simulation-is-never-shipped', 'apps/simulated', '../runtime/simulated/clock.js'],
  ['two-runtimes-are-strangers', 'runtime/simulated/borrowed', '../node/clock.js'],
  ['no-development-package-is-shipped', 'base/random', 'fast-check'],
  ['no-circular', 'leases/a', './b.js'],
  ['no-unresolvable', 'kv/lost', './nowhere.js'],
  ['no-orphans', 'base/alone', ''],
];

/** Files that only go the right way: no rule may name them. */
const CLEAN: [from: string, to: string[]][] = [
  ['fabric/link', ['../wire/message.js', '../base/assert.js']],
  ['wire/message', ['../base/assert.js']],
  ['base/assert', []],
  ['memory-node/network/serve', ['../translate/table.js', '../store/pages.js']],
  ['memory-node/translate/table', ['../access/check.js']],
  ['memory-node/access/check', ['../store/pages.js']],
  ['memory-node/store/pages', ['../../base/assert.js']],
  ['controller/members', ['../base/assert.js']],
  ['doors/redis/backend', ['../../base/assert.js']],
  ['leases/b', ['../base/assert.js', './a.js']],
  ['runtime/node/clock', ['node:fs', 'koffi']],
  ['runtime/simulated/clock', ['../../base/assert.js']],
  ['apps/start', ['../runtime/node/clock.js']],
  ['cli/main', ['../apps/start.js', 'node:fs']],
  ['sim/main', ['../runtime/simulated/clock.js', '../apps/start.js', 'node:fs', 'fast-check']],
];

interface Violation {
  rule: { name: string };
  from: string;
  to: string;
}

let tree = '';
let violations: Violation[] = [];

function plant(from: string, imports: string[]): void {
  const path = join(tree, 'src', `${from}.ts`);
  mkdirSync(dirname(path), { recursive: true });
  const lines = imports.map((to, i) => `import * as m${i} from '${to}';\nexport { m${i} };\n`);
  writeFileSync(path, lines.join('') || 'export const nothing = 0;\n');
}

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'memrack-layers-'));
  for (const [from, to] of CLEAN) plant(from, to);
  for (const [, from, to] of BREACHES) plant(from, to === '' ? [] : [to]);
  for (const name of ['package.json', 'tsconfig.json', 'tsconfig.base.json']) {
    cpSync(join(ROOT, name), join(tree, name));
  }
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const program = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = join(ROOT, '.dependency-cruiser.cjs');
  const args = [program, '--config', config, '--output-type', 'json', 'src'];
  const run = spawnSync(process.execPath, args, { cwd: tree, encoding: 'utf8' });
  violations = (JSON.parse(run.stdout) as { summary: { violations: Violation[] } }).summary
    .violations;
});

afterAll(() => rmSync(tree, { recursive: true, force: true }));

describe('the layer rules', () => {
  it.each(BREACHES)('%s catches %s importing %s', (rule, from) => {
    const named = violations.filter((violation) => violation.from === `src/${from}.ts`);
    expect(named.map((violation) => violation.rule.name)).toContain(rule);
  });

  it('leaves every right import alone', () => {
    // The partner of a planted cycle is named by that cycle, rightly.
    const clean = CLEAN.map(([from]) => `src/${from}.ts`).filter(
      (path) => path !== 'src/leases/b.ts',
    );
    expect(violations.filter((violation) => clean.includes(violation.from))).toEqual([]);
  });
});
