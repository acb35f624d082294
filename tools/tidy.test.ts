import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  FUNCTION_LINES_MAX,
  formatBreach,
  longFunctions,
  lowerRatchet,
  tidy,
  tidyFile,
  tidyRatchet,
} from './tidy.js';
import { SYNTAX_BANS, TEXT_BANS } from './tidy-bans.js';

const CORE = 'src/fabric/link.ts';
const PAGES = 'src/memory-node/store/frames.ts';

/** Ban, file, text that must be caught. Every ban appears at least once (checked below). */
const CAUGHT: [ban: string, path: string, text: string][] = [
  ['wall-clock', CORE, 'const t = Date.now();'],
  ['wall-clock', 'src/sim/main.ts', 'const t = Date.now();'],
  ['new-date', CORE, 'const t = new Date();'],
  ['random', CORE, 'const r = Math.random();'],
  ['random', 'src/sim/main.ts', 'const r = Math.random();'],
  ['random', 'src/pager/pager.fuzz.ts', 'const r = Math.random();'],
  ['timer', CORE, 'setTimeout(f, 1);'],
  ['timer', CORE, 'setInterval(f, 1);'],
  ['timer', CORE, 'setImmediate(f);'],
  ['timer', CORE, 'queueMicrotask(f);'],
  ['process', CORE, 'const e = process.env;'],
  ['performance-now', CORE, 'const t = performance.now();'],
  ['crypto-random', CORE, 'const b = crypto.randomBytes(8);'],
  ['byte-loop', PAGES, 'for (let i = 0; i < n; i++) a[i] = b[i];'],
  ['byte-loop', PAGES, 'for (let i = 0; i < n; i++) { a[at + i] = b[i] ?? 0; }'],
  ['byte-loop', PAGES, 'while (i < n) { a[i] = b[from + i]!; i += 1; }'],
  ['slice-of-bytes', CORE, 'kept.push(request.slice());'],
  ['slice-of-bytes', CORE, 'const body = input.bytes.slice(at, end);'],
  ['console-log', CORE, 'console.log(1);'],
  ['console-log', 'test/e2e/rack.test.ts', 'console.log(1);'],
  ['any', CORE, 'const a = b as any;'],
  ['any', 'tools/x.ts', 'function f(a: any) {}'],
  ['focused-or-skipped-test', 'src/base/ring.test.ts', 'it.only("a", f);'],
  ['focused-or-skipped-test', 'src/base/ring.test.ts', 'describe.only("a", f);'],
  ['focused-or-skipped-test', 'src/base/ring.test.ts', 'it.skip("a", f);'],
  ['default-export', CORE, 'export default 1;'],
  ['default-export', CORE, 'export default function f() {}'],
  ['leftover', CORE, '// TODO: later'],
  ['leftover', 'docs/a.md', 'A FIXME here'],
  ['leftover', CORE, '// XXX'],
  ['leftover', CORE, '// HACK around it'],
  ['lint-disabled-without-reason', CORE, '// eslint-disable-next-line some-rule'],
  ['types-silenced', CORE, '// @ts-ignore'],
  ['types-silenced', CORE, '// @ts-expect-error'],
  ['tidy-ignored-without-reason', CORE, '// tidy-ignore byte-loop'],
  ['machine-path', 'docs/a.md', 'see /home/someone/notes'],
  ['machine-path', CORE, "const p = '/work/tree';"],
  ['machine-path', '.ci/run', 'cd /root/tree'],
  ['registry-host', 'package-lock.json', '"resolved": "https://a.registry/x.tgz"'],
  ['long-line', CORE, `// ${'x'.repeat(100)}`],
  ['long-line', 'docs/a.md', 'word '.repeat(30)],
  ['long-file', CORE, '\n'.repeat(1001)],
  ['barrel', 'src/fabric/index.ts', '// All of it.'],
  ['no-purpose', CORE, "import { a } from './a.js';\nexport const b = a;"],
];

/** The same words where they are right. */
const ALLOWED: [why: string, path: string, text: string][] = [
  ['the edge has a clock', 'src/runtime/node/clock.ts', '// Edge.\nconst t = Date.now();'],
  ['a program has a process', 'src/cli/main.ts', '// Edge.\nprocess.exit(setTimeout(f, 1));'],
  ['tools measure', 'tools/x.ts', 'performance.now(); Math.random(); console.log(1);'],
  ['a test may wait', 'src/base/ring.test.ts', 'setTimeout(f, 1);'],
  ['a date from a number', CORE, '// Why.\nconst t = new Date(12);'],
  ['a word in a comment', CORE, '// Never Date.now() or Math.random() here.'],
  ['a field of that name', CORE, '// Why.\nconst a = rack.process.id;'],
  ['a fill', PAGES, '// Why.\nfor (let i = 0; i < n; i++) a[i] = 0;'],
  ['a copy that is excused', PAGES, '// tidy-ignore byte-loop -- words\nfor (;;) a[i] = b[i];'],
  ['a reasoned exception', CORE, '// eslint-disable-next-line some-rule -- because'],
  ['a long address', CORE, `// https://example.org/${'x'.repeat(100)}`],
  ['a long table row', 'docs/a.md', `| ${'x'.repeat(100)} |`],
  ['a purpose after imports', CORE, "import { a } from './a.js';\n\n// Why.\nexport const b = a;"],
  ['a relative folder', 'docs/a.md', 'test/work/x and ./home/x'],
  ['a configuration file', 'vitest.config.ts', 'export default {};'],
];

describe('the bans', () => {
  it.each(CAUGHT)('catches %s in %s: %s', (ban, path, text) => {
    expect(tidyFile(path, text).map((breach) => breach.ban)).toContain(ban);
  });

  it.each(ALLOWED)('allows %s', (_why, path, text) => {
    expect(tidyFile(path, text)).toEqual([]);
  });

  it('shows every ban caught', () => {
    const shown = new Set(CAUGHT.map(([ban]) => ban));
    const names = [...SYNTAX_BANS, ...TEXT_BANS].map((ban) => ban.name);
    expect(names.filter((name) => !shown.has(name))).toEqual([]);
  });

  it('names the line, the replacement and the reason', () => {
    const [breach] = tidyFile(CORE, '// Why.\n\nconst t = Date.now();');
    expect(breach && formatBreach(breach)).toMatch(
      /^src\/fabric\/link\.ts:3: wall-clock: write clock\.now\(\) .*: a run must be repeatable/,
    );
  });
});

describe('the ratchet', () => {
  const long = (name: string) => `function ${name}() {${'\n'.repeat(FUNCTION_LINES_MAX)}}`;

  it('measures functions, and not the chapters of a test', () => {
    expect([...longFunctions('a.ts', long('f'))]).toEqual([['a.ts#f', FUNCTION_LINES_MAX + 1]]);
    const method = `class A { f() {${'\n'.repeat(80)}} }`;
    expect([...longFunctions('a.ts', method).keys()]).toEqual(['a.ts#A.f']);
    expect([...longFunctions('a.ts', `describe('x', () => {${'\n'.repeat(80)}});`)]).toEqual([]);
  });

  it('refuses a new long function and a longer old one', () => {
    const found = new Map([['a.ts#f', 90]]);
    expect(tidyRatchet(found, {})).toHaveLength(1);
    expect(tidyRatchet(found, { 'a.ts#f': 89 })).toHaveLength(1);
    expect(tidyRatchet(found, { 'a.ts#f': 90 })).toEqual([]);
  });

  it('asks for a lower list when a function shrank or went', () => {
    expect(tidyRatchet(new Map([['a.ts#f', 80]]), { 'a.ts#f': 90 })).toHaveLength(1);
    expect(tidyRatchet(new Map(), { 'a.ts#f': 90 })).toHaveLength(1);
  });

  it('only ever lowers the list', () => {
    const found = new Map([
      ['a.ts#f', 80],
      ['a.ts#g', 99],
      ['a.ts#h', 75],
    ]);
    const lowered = lowerRatchet(found, { 'a.ts#f': 90, 'a.ts#g': 90, 'a.ts#gone': 90 });
    expect(lowered).toEqual({ 'a.ts#f': 80, 'a.ts#g': 90 });
  });
});

describe('the repository', () => {
  it('is tidy', () => {
    const root = join(import.meta.dirname, '..');
    expect(tidy(root).map(formatBreach)).toEqual([]);
  });
});
