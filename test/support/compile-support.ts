/**
 * Makes programs of this folder runnable as processes of their own, with `src` as it was built:
 * Node runs JavaScript, and the test runner translates for itself alone.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { makeSweptFolder } from './swept-folder.js';

const ROOT = join(import.meta.dirname, '../..');
const OPTIONS = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };

let folder: string | undefined;

/** The path of the JavaScript of a file of this folder, such as `fault-proxy-main.js`. */
export function compiledSupport(file: string): string {
  folder ??= compileAll();
  return join(folder, 'test/support', file);
}

/** What was compiled, after the last test of a file. */
export function removeCompiledSupport(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
}

function compileAll(): string {
  // Below node_modules, so that packages are found from there.
  const out = makeSweptFolder(join(ROOT, 'node_modules/.cache'), 'memrack-support-');
  process.on('exit', removeCompiledSupport);
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(join(ROOT, 'dist'), join(out, 'src'));
  const target = join(out, 'test/support');
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(import.meta.dirname)) {
    if (!name.endsWith('.ts') || name.endsWith('.d.mts')) continue;
    const text = readFileSync(join(import.meta.dirname, name), 'utf8');
    const { outputText } = ts.transpileModule(text, { compilerOptions: OPTIONS });
    writeFileSync(join(target, name.replace(/\.ts$/, '.js')), outputText);
  }
  return out;
}
