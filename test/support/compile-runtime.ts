/**
 * Compiles the runtime for tests that start real processes and threads: those begin with a file of
 * JavaScript, which the test runner's own translation does not give them.
 */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const SOURCE = fileURLToPath(new URL('../../src/', import.meta.url));
const FOLDERS = ['base', 'runtime', 'runtime/conformance', 'runtime/node', 'runtime/node/testing'];

export interface Compiled {
  /** The path of the JavaScript of a file of `src`, such as `runtime/node/testing/roles.js`. */
  path(file: string): string;
  remove(): void;
}

export function compileRuntime(): Compiled {
  // Below node_modules, so that packages are found from there.
  const cache = join(SOURCE, '../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const out = mkdtempSync(join(cache, 'memrack-runtime-'));
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  for (const folder of FOLDERS) {
    mkdirSync(join(out, folder), { recursive: true });
    for (const name of readdirSync(join(SOURCE, folder))) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const text = readFileSync(join(SOURCE, folder, name), 'utf8');
      const { outputText } = ts.transpileModule(text, {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
      });
      writeFileSync(join(out, folder, name.replace(/\.ts$/, '.js')), outputText);
    }
  }
  return {
    path: (file) => join(out, file),
    remove: () => rmSync(out, { recursive: true, force: true }),
  };
}
