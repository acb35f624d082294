// Preparing a checkout, with a compiler that is told how to end.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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

interface Checkout {
  readonly folder: string;
  write(path: string, text: string): void;
  /** How `prepare.mjs` ends there, and what it says. */
  prepare(): { status: number | null; stderr: string };
}

/** A folder with the script in it, for as long as `work` takes. */
function inCheckout(work: (checkout: Checkout) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-prepare-'));
  const script = join(folder, 'tools/prepare.mjs');
  try {
    cpSync(join(import.meta.dirname, 'prepare.mjs'), script);
    work({
      folder,
      write: (path, text) => {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), text);
      },
      prepare: () => spawnSync(process.execPath, [script], { encoding: 'utf8' }),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

it('builds again after a build that failed', () => {
  inCheckout(({ write, prepare }) => {
    write('package-lock.json', '{ "packages": {} }');
    write('node_modules/.package-lock.json', '{ "packages": {} }');
    write('node_modules/typescript/bin/tsc', COMPILER);
    write('tsconfig.build.json', '{}');
    write('src/main.ts', '');
    for (let i = 0; i < 2; i++) expect(prepare().status).toBe(1);
  });
});

it('does not install through a link, which would empty a folder of others', () => {
  inCheckout(({ folder, write, prepare }) => {
    write('package-lock.json', '{ "packages": { "node_modules/a": { "version": "1.0.0" } } }');
    write('elsewhere/.package-lock.json', '{ "packages": {} }');
    symlinkSync('elsewhere', join(folder, 'node_modules'));
    const { status, stderr } = prepare();
    expect(status).toBe(1);
    expect(stderr).toContain('node_modules is a link');
    expect(existsSync(join(folder, 'elsewhere/.package-lock.json'))).toBe(true);
  });
});
