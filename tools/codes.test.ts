// The codes of events, and of what `memrack doctor` finds, are those that the docs tell, and no
// other. Those of `memrack status` are held in src/doors/http/app.test.ts.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

/** A call of a log, up to its end, and a line before it that names its code. */
const CALL = /(?:const code = .*\n)?.*(?:log\.write|#log)\([\s\S]*?\);/g;

/** Also one that is not deleted. */
function isSource(path: string): boolean {
  return path.endsWith('.ts') && !path.endsWith('.test.ts') && existsSync(join(ROOT, path));
}

/** Of the tables whose first column is a code. */
function codesTold(page: string): string[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  return [...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1] ?? '').sort();
}

it('every code of an event is told, and there is every code that is told', () => {
  const flags = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', 'src'];
  const paths = execFileSync('git', flags, { cwd: ROOT, encoding: 'utf8' }).split('\0');
  const used = new Set<string>();
  for (const path of paths.filter(isSource)) {
    const text = readFileSync(join(ROOT, path), 'utf8');
    for (const [call] of text.matchAll(CALL)) {
      const code = /\bcode(?:: | = )'([A-Z_]+)'/.exec(call)?.[1];
      if (code !== undefined) used.add(code);
    }
  }
  expect(used.size).toBeGreaterThan(20);
  expect([...used].sort()).toEqual(codesTold('docs/logs.md'));
});

it('every code of what doctor finds is told, and there is every code that is told', () => {
  const used = ['doctor-network.ts', 'doctor-rack.ts', 'doctor.ts'].flatMap((file) => {
    const text = readFileSync(join(ROOT, 'src/cli', file), 'utf8');
    return [...text.matchAll(/\bcode: '([A-Z_]+)'/g)].map((match) => match[1] ?? '');
  });
  expect(used.length).toBeGreaterThan(8);
  expect([...new Set(used)].sort()).toEqual(codesTold('docs/seeing.md'));
});
