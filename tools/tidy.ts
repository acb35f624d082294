// The repository's own lint: `npm run tidy`, and as a unit test in tools/tidy.test.ts. It reads all
// files that git tracks or would track. The bans stand in tools/tidy-bans.ts; here are the walk,
// the exceptions and the ratchet on function length.
//
// An exception is one comment on the line or the line above, with its reason:
//   // tidy-ignore byte-loop -- words of a bitmap, which no other thread maps
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { type Ban, SYNTAX_BANS, TEXT_BANS } from './tidy-bans.js';

export interface Breach {
  readonly path: string;
  readonly line: number;
  readonly ban: string;
  readonly message: string;
}

/** Functions beyond the limit today, `path#name` to lines. May shrink, never grow. */
export type Ratchet = Readonly<Record<string, number>>;

export const FUNCTION_LINES_MAX = 70;
const RATCHET_PATH = 'tools/tidy-ratchet.json';

function isParsed(path: string): boolean {
  return /\.(ts|mjs|cjs|js)$/.test(path);
}

function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => visit(child, look));
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
  }
  return line;
}

/** All breaches of the bans in one file. The path decides which bans hold. */
export function tidyFile(path: string, text: string): Breach[] {
  const lines = text.split('\n');
  const breaches: Breach[] = [];
  const report = (ban: Ban, offset: number) => {
    const line = lineAt(text, offset);
    const excuse = `tidy-ignore ${ban.name} -- `;
    const isExcused = [lines[line - 1], lines[line - 2]].some((near) => near?.includes(excuse));
    if (isExcused) return;
    const message = `write ${ban.instead}: ${ban.reason}`;
    breaches.push({ path, line, ban: ban.name, message });
  };
  for (const ban of TEXT_BANS) {
    if (ban.holdsIn(path)) for (const offset of ban.find(text, path)) report(ban, offset);
  }
  const bans = isParsed(path) ? SYNTAX_BANS.filter((ban) => ban.holdsIn(path)) : [];
  if (bans.length > 0) {
    const file = parse(path, text);
    visit(file, (node) => {
      for (const ban of bans) if (ban.matches(node)) report(ban, node.getStart(file));
    });
  }
  return breaches;
}

/** The name a reader would use: `Pager.evict`, `evict`, or `(line 12)` for a nameless one. */
function functionName(node: ts.SignatureDeclaration, file: ts.SourceFile): string {
  const holder =
    node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined);
  const own = ts.isConstructorDeclaration(node)
    ? 'constructor'
    : (holder?.getText(file) ??
      (ts.isPropertyAssignment(node.parent) ? node.parent.name.getText(file) : '(nameless)'));
  const isInClass = ts.isClassLike(node.parent) && node.parent.name !== undefined;
  return isInClass ? `${(node.parent as ts.ClassLikeDeclaration).name?.text}.${own}` : own;
}

/** The callback of a `describe`: a chapter of tests, which nobody must grasp as a whole. */
function isChapter(node: ts.Node): boolean {
  return ts.isCallExpression(node.parent) && /^describe\b/.test(node.parent.expression.getText());
}

/** Every function longer than the limit, by `path#name`; of two with one name the longer. */
export function longFunctions(path: string, text: string): Map<string, number> {
  const found = new Map<string, number>();
  if (!isParsed(path)) return found;
  const file = parse(path, text);
  visit(file, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return;
    if (isChapter(node)) return;
    const from = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
    const lines = file.getLineAndCharacterOfPosition(node.getEnd()).line - from + 1;
    const key = `${path}#${functionName(node, file)}`;
    if (lines > FUNCTION_LINES_MAX) found.set(key, Math.max(lines, found.get(key) ?? 0));
  });
  return found;
}

/** Compares today's long functions with the list, in both directions. */
export function tidyRatchet(found: ReadonlyMap<string, number>, ratchet: Ratchet): Breach[] {
  const breaches: Breach[] = [];
  const report = (key: string, message: string) =>
    breaches.push({ path: key.split('#')[0] ?? key, line: 1, ban: 'long-function', message });
  for (const [key, lines] of found) {
    const allowed = ratchet[key] ?? FUNCTION_LINES_MAX;
    if (lines > allowed) {
      report(key, `${key} has ${lines} lines, at most ${allowed}: split it where a comment would`);
    }
  }
  for (const [key, allowed] of Object.entries(ratchet)) {
    if ((found.get(key) ?? 0) < allowed) {
      report(key, `${key} is shorter than listed, good: npm run tidy -- --ratchet lowers the list`);
    }
  }
  return breaches;
}

/** The list with every entry lowered to today's length and the cured ones gone. Never grows. */
export function lowerRatchet(found: ReadonlyMap<string, number>, ratchet: Ratchet): Ratchet {
  const lowered: Record<string, number> = {};
  for (const [key, allowed] of Object.entries(ratchet)) {
    const lines = found.get(key);
    if (lines !== undefined) lowered[key] = Math.min(lines, allowed);
  }
  return lowered;
}

function listFiles(root: string): string[] {
  const flags = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const output = execFileSync('git', flags, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  const paths = output.split('\0').filter((path) => path !== '' && existsSync(join(root, path)));
  return [...new Set(paths)].sort();
}

/** Text of a file, or nothing for one that is not text. */
function readText(path: string): string | null {
  const bytes = readFileSync(path);
  return bytes.includes(0) ? null : bytes.toString('utf8');
}

/** The whole repository at `root`. */
export function tidy(root: string, options: { lower?: boolean } = {}): Breach[] {
  const breaches: Breach[] = [];
  const found = new Map<string, number>();
  for (const path of listFiles(root)) {
    const text = readText(join(root, path));
    if (text === null) continue;
    breaches.push(...tidyFile(path, text));
    for (const [key, lines] of longFunctions(path, text)) found.set(key, lines);
  }
  let ratchet = JSON.parse(readFileSync(join(root, RATCHET_PATH), 'utf8')) as Ratchet;
  if (options.lower === true) {
    ratchet = lowerRatchet(found, ratchet);
    writeFileSync(join(root, RATCHET_PATH), `${JSON.stringify(ratchet, null, 2)}\n`);
  }
  return [...breaches, ...tidyRatchet(found, ratchet)];
}

export function formatBreach(breach: Breach): string {
  return `${breach.path}:${breach.line}: ${breach.ban}: ${breach.message}`;
}

function main(): void {
  const breaches = tidy(process.cwd(), { lower: process.argv.includes('--ratchet') });
  for (const breach of breaches) console.log(formatBreach(breach));
  console.log(breaches.length === 0 ? 'tidy' : `${breaches.length} breaches`);
  process.exitCode = breaches.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
