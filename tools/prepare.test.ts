// Preparing a checkout, with a compiler that is told how to end.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';

/** Writes its notes and its output, errors or not, as the real one does. */
const COMPILER = `
  const { mkdirSync, writeFileSync } = require('node:fs');
  mkdirSync('dist', { recursive: true });
  mkdirSync('node_modules/.cache/typescript', { recursive: true });
  writeFileSync('node_modules/.cache/typescript/build.tsbuildinfo', '{}');
  process.exit(2);
`;

it('builds again after a build that failed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-prepare-'));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  try {
    write('package-lock.json', '{ "packages": {} }');
    write('node_modules/.package-lock.json', '{ "packages": {} }');
    write('node_modules/typescript/bin/tsc', COMPILER);
    write('tsconfig.build.json', '{}');
    write('src/main.ts', '');
    const script = join(folder, 'tools/prepare.mjs');
    cpSync(join(import.meta.dirname, 'prepare.mjs'), script);
    for (let i = 0; i < 2; i++) expect(spawnSync(process.execPath, [script]).status).toBe(1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
