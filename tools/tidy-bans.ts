// The bans of the repository lint, one entry each: where it holds, what to write instead, and why.
// Syntax bans look at one node of the parsed file, so a comment or a string never trips them; text
// bans look at the raw file. tools/tidy.test.ts shows each of them caught.
import ts from 'typescript';

export interface Ban {
  readonly name: string;
  /** What to write in its place. */
  readonly instead: string;
  readonly reason: string;
  readonly holdsIn: (path: string) => boolean;
}

export interface SyntaxBan extends Ban {
  readonly matches: (node: ts.Node) => boolean;
}

export interface TextBan extends Ban {
  /** Offsets of every breach. */
  readonly find: (text: string, path: string) => number[];
}

const FILE_LINES_MAX = 1000;
const COLUMNS_MAX = 100;

const isTest = (path: string) => /\.(test|fuzz|bench)\.ts$/.test(path);
const isScript = (path: string) => /\.(ts|mjs|cjs|js)$/.test(path);
const isSource = (path: string) => /^src\/.*\.ts$/.test(path);
const isEdge = (path: string) => /^src\/(runtime\/node|apps|cli)\//.test(path);
const isSimulator = (path: string) => path.startsWith('src/sim/');
/** The code that must run unchanged inside the simulator. */
const isCore = (path: string) =>
  isSource(path) && !isEdge(path) && !isSimulator(path) && !isTest(path);
/** Code whose every run must be repeatable from its seed: the core, the simulator, their tests. */
const isSeeded = (path: string) => isSource(path) && !isEdge(path);
const speaksToPeople = (path: string) =>
  /^(src\/(cli|apps|sim)|tools|bench|examples)\//.test(path) || /\.bench\.ts$/.test(path);
const touchesPages = (path: string) =>
  /^src\/(memory-node\/(access|store)|disk|fabric)\//.test(path) && !isTest(path);
/** The lint names what it bans, so its own two files are exempt from the bans on words. */
const isLint = (path: string) => /^tools\/tidy(-bans|\.test)\.ts$/.test(path);

/** `object.name`, written out. */
function isMember(node: ts.Node, object: string, names?: readonly string[]): boolean {
  return (
    ts.isPropertyAccessExpression(node) &&
    ts.isIdentifier(node.expression) &&
    node.expression.text === object &&
    (names === undefined || names.includes(node.name.text))
  );
}

function isCallOf(node: ts.Node, names: readonly string[]): boolean {
  return (
    ts.isCallExpression(node) &&
    ts.isIdentifier(node.expression) &&
    names.includes(node.expression.text)
  );
}

const WORLD: readonly SyntaxBan[] = [
  {
    name: 'wall-clock',
    instead: 'clock.now() of the runtime that was passed in',
    reason: 'a run must be repeatable from its seed, and the wall clock jumps',
    holdsIn: isSeeded,
    matches: (node) => isMember(node, 'Date', ['now']),
  },
  {
    name: 'new-date',
    instead: 'clock.wallTime() of the runtime, or new Date(milliseconds)',
    reason: 'without an argument it reads the wall clock',
    holdsIn: isSeeded,
    matches: (node) =>
      (ts.isNewExpression(node) && (node.arguments?.length ?? 0) === 0 && isNamed(node, 'Date')) ||
      isCallOf(node, ['Date']),
  },
  {
    name: 'random',
    instead: 'the seeded generator of src/base, or entropy of the runtime for secrets',
    reason: 'a failure that cannot be replayed cannot be repaired',
    holdsIn: isSeeded,
    matches: (node) => isMember(node, 'Math', ['random']),
  },
  {
    name: 'timer',
    instead: 'timers of the runtime that was passed in',
    reason: 'simulated time must be able to pass without waiting',
    holdsIn: isCore,
    matches: (node) =>
      isCallOf(node, ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']),
  },
  {
    name: 'process',
    instead: 'an argument or an option, filled in by src/apps or src/cli',
    reason: 'the core runs many to a process in the simulator',
    holdsIn: isCore,
    matches: (node) => isMember(node, 'process'),
  },
  {
    name: 'performance-now',
    instead: 'clock.now() of the runtime that was passed in',
    reason: 'measured time differs from run to run',
    holdsIn: isCore,
    matches: (node) => isMember(node, 'performance', ['now']),
  },
  {
    name: 'crypto-random',
    instead: 'entropy of the runtime that was passed in',
    reason: 'the simulator draws its secrets from the seed too',
    holdsIn: isCore,
    matches: (node) =>
      isMember(node, 'crypto', ['randomBytes', 'getRandomValues', 'randomUUID', 'randomInt']) ||
      isCallOf(node, ['randomBytes', 'randomUUID', 'randomInt']),
  },
];

function isNamed(node: ts.NewExpression | ts.CallExpression, name: string): boolean {
  return ts.isIdentifier(node.expression) && node.expression.text === name;
}

/** `x[i]`, with anything but a literal as its index. */
function isVaryingElement(node: ts.Node): boolean {
  const inner = ts.isNonNullExpression(node) || ts.isAsExpression(node) ? node.expression : node;
  if (ts.isBinaryExpression(inner)) {
    const isFallback = inner.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken;
    return isFallback && isVaryingElement(inner.left);
  }
  return ts.isElementAccessExpression(inner) && !ts.isLiteralExpression(inner.argumentExpression);
}

/** `x[i] = y[j]` directly inside a loop: a copy by hand. */
function isByteCopyInLoop(node: ts.Node): boolean {
  if (!ts.isBinaryExpression(node)) return false;
  if (node.operatorToken.kind !== ts.SyntaxKind.EqualsToken) return false;
  if (!isVaryingElement(node.left) || !isVaryingElement(node.right)) return false;
  for (let at: ts.Node = node.parent; at !== undefined; at = at.parent) {
    if (ts.isFunctionLike(at)) return false;
    if (ts.isForStatement(at) || ts.isWhileStatement(at) || ts.isDoStatement(at)) return true;
  }
  return false;
}

/** `x.slice()`, or `bytes.slice(a, b)`; a copy of an array is `[...x]`. */
function isSliceOfBytes(node: ts.Node): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const { name, expression } = node.expression;
  if (name.text !== 'slice') return false;
  if (node.arguments.length === 0) return true;
  const of = ts.isPropertyAccessExpression(expression) ? expression.name : expression;
  return ts.isIdentifier(of) && /bytes$/i.test(of.text);
}

const CODE: readonly SyntaxBan[] = [
  {
    name: 'slice-of-bytes',
    instead: 'new Uint8Array(bytes.subarray(from, to))',
    reason: 'bytes may be a Buffer, and its slice is no copy: it changes with the original',
    holdsIn: (path) => isCore(path) && !path.includes('/testing/'),
    matches: isSliceOfBytes,
  },
  {
    name: 'byte-loop',
    instead: 'target.set(source.subarray(from, to), at), or copyWithin',
    reason: 'a loop copies a page a hundred times slower, with a gap for a writer at every byte',
    holdsIn: touchesPages,
    matches: isByteCopyInLoop,
  },
  {
    name: 'console-log',
    instead: 'a counter or the event log; in a test an assertion',
    reason: 'only programs for people write to standard output, and that must stay parseable',
    holdsIn: (path) => isScript(path) && !speaksToPeople(path),
    matches: (node) => isMember(node, 'console', ['log', 'info', 'debug', 'dir', 'table', 'trace']),
  },
  {
    name: 'any',
    instead: 'unknown and a check, or the true type',
    reason: 'one any switches the compiler off for everything that it touches',
    holdsIn: isScript,
    matches: (node) => node.kind === ts.SyntaxKind.AnyKeyword,
  },
  {
    name: 'focused-or-skipped-test',
    instead: "describe.runIf(requires('program')) of test/support/requires.ts",
    reason: 'a focused test silences its neighbours, a skipped one is forgotten',
    holdsIn: isScript,
    matches: (node) =>
      ['it', 'test', 'describe', 'suite'].some((name) =>
        isMember(node, name, ['only', 'skip', 'todo']),
      ),
  },
  {
    name: 'default-export',
    instead: 'a named export',
    reason: 'one thing keeps one name wherever it is imported',
    holdsIn: (path) => /^(src|tools|test|bench|examples)\//.test(path) && isScript(path),
    matches: (node) =>
      (ts.isExportAssignment(node) && node.isExportEquals !== true) ||
      (ts.canHaveModifiers(node) &&
        (ts.getModifiers(node) ?? []).some((m) => m.kind === ts.SyntaxKind.DefaultKeyword)),
  },
];

export const SYNTAX_BANS: readonly SyntaxBan[] = [...WORLD, ...CODE];

function offsets(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => match.index);
}

/** Tables, addresses and rows of data may run long: wrapping them would cost more than it gives. */
function mayRunLong(line: string): boolean {
  return /^\s*\|/.test(line) || /https?:\/\//.test(line) || /^\s*(\[.*\]|\{.*\}),?;?$/.test(line);
}

function longLines(text: string, path: string): number[] {
  const found: number[] = [];
  let offset = 0;
  let isFenced = false;
  for (const line of text.split('\n')) {
    if (path.endsWith('.md') && /^\s*```/.test(line)) isFenced = !isFenced;
    if (line.length > COLUMNS_MAX && !isFenced && !mayRunLong(line)) found.push(offset);
    offset += line.length + 1;
  }
  return found;
}

/** A comment at the very top, or before the first statement that is not an import. */
function lacksPurpose(text: string): boolean {
  const file = ts.createSourceFile('f.ts', text, ts.ScriptTarget.Latest);
  const first = file.statements.find((statement) => !ts.isImportDeclaration(statement));
  const isCommented = (at: number) => (ts.getLeadingCommentRanges(text, at) ?? []).length > 0;
  return !isCommented(0) && !(first !== undefined && isCommented(first.getFullStart()));
}

const COMMENT_BANS: readonly TextBan[] = [
  {
    name: 'leftover',
    instead: 'the work itself, or a sentence on what is missing in the docs',
    reason: 'a note to oneself in the code is read by nobody',
    holdsIn: (path) => !isLint(path),
    find: (text) => offsets(text, /\b(TODO|FIXME|XXX|HACK)\b/g),
  },
  {
    name: 'lint-disabled-without-reason',
    instead: '// eslint-disable-next-line rule -- why it is right here',
    reason: 'the next reader must be able to judge whether the exception still holds',
    holdsIn: (path) => isScript(path) && !isLint(path),
    find: (text) => offsets(text, /eslint-disable(?!.*--\s*\S)/g),
  },
  {
    name: 'types-silenced',
    instead: '// @ts-expect-error -- reason',
    reason: 'an expected error fails the build once it is gone; an ignored one hides the next',
    holdsIn: (path) => isScript(path) && !isLint(path),
    find: (text) => offsets(text, /@ts-(ignore|nocheck)|@ts-expect-error(?!.*--\s*\S)/g),
  },
  {
    name: 'tidy-ignored-without-reason',
    instead: '// tidy-ignore name -- why it is right here',
    reason: 'the next reader must be able to judge whether the exception still holds',
    holdsIn: (path) => isScript(path) && !isLint(path),
    find: (text) => offsets(text, /\/\/ tidy-ignore(?! [\w-]+ -- \S)/g),
  },
];

const SHAPE_BANS: readonly TextBan[] = [
  {
    name: 'machine-path',
    instead: 'a path relative to the file or the current folder, or a temporary folder',
    reason: 'it exists on one machine only',
    holdsIn: (path) => !isLint(path),
    find: (text) => offsets(text, /(?<![\w.~}*-])\/(work|home|root)\//g),
  },
  {
    name: 'registry-host',
    instead: 'npm install with the .npmrc of this repository',
    reason: 'a lock file that names a host can be installed only where that host is reachable',
    holdsIn: (path) => /(^|\/)package-lock\.json$/.test(path),
    find: (text) => offsets(text, /"resolved": "http/g),
  },
  {
    name: 'long-line',
    instead: `a line of at most ${COLUMNS_MAX} columns`,
    reason: 'two files fit side by side',
    holdsIn: (path) => /\.(ts|mjs|md)$/.test(path),
    find: longLines,
  },
  {
    name: 'long-file',
    instead: 'two files with one idea each',
    reason: `nobody holds more than ${FILE_LINES_MAX} lines in the head`,
    holdsIn: isScript,
    find: (text) => (text.split('\n').length > FILE_LINES_MAX + 1 ? [0] : []),
  },
  {
    name: 'barrel',
    instead: 'imports of the files themselves',
    reason: 'an index.ts makes cycles and hides where a thing lives',
    holdsIn: (path) => /^src\/(.*\/)?index\.ts$/.test(path),
    find: () => [0],
  },
  {
    name: 'no-purpose',
    instead: 'one to three sentences at the top: what this file is for, what a caller may assume',
    reason: 'a reader decides there whether to read on',
    holdsIn: (path) => isSource(path) && !/\.test\.ts$/.test(path) && !/\.d\.ts$/.test(path),
    find: (text) => (lacksPurpose(text) ? [0] : []),
  },
];

export const TEXT_BANS: readonly TextBan[] = [...COMMENT_BANS, ...SHAPE_BANS];
