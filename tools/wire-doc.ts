// Writes docs/wire.md from the declarations: `npm run wire-doc`. It reads the sources as text with
// the compiler's parser, so the comments there are the documentation. A test fails when the page is
// stale.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

export const PAGE = 'docs/wire.md';
const MESSAGES = 'src/wire/messages.ts';
/** Of one matter each, behind those of messages.ts. */
export const OTHERS = [
  'src/wire/move-messages.ts',
  'src/wire/lease-messages.ts',
  'src/wire/device-messages.ts',
  'src/wire/slab-messages.ts',
  'src/wire/device-report-messages.ts',
  'src/wire/door-messages.ts',
  'src/wire/file-messages.ts',
  'src/wire/memory-messages.ts',
];
const DATAGRAMS = 'src/wire/datagram.ts';
const LIMITS = 'src/wire/limits.ts';

const FIXED_BYTES: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u53: 8, u64: 8 };
const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

interface Field {
  readonly name: string;
  readonly type: string;
  readonly offset: string;
  readonly comment: string;
}

interface Struct {
  readonly name: string;
  readonly comment: string;
  readonly fields: readonly Field[];
}

interface Entry {
  readonly name: string;
  readonly comment: string;
  readonly value: number;
}

/** The text of the comments in front of a node, without their marks. */
function commentBefore(text: string, node: ts.Node): string {
  const ranges = ts.getLeadingCommentRanges(text, node.getFullStart()) ?? [];
  const last = ranges.at(-1);
  if (last?.kind !== ts.SyntaxKind.MultiLineCommentTrivia) return '';
  return plain(text.slice(last.pos, last.end));
}

function commentBehind(text: string, node: ts.Node): string {
  const comma = text.indexOf(',', node.end) + 1;
  const ranges = ts.getTrailingCommentRanges(text, comma) ?? [];
  return ranges.map((range) => plain(text.slice(range.pos, range.end))).join(' ');
}

function plain(comment: string): string {
  return comment
    .replace(/^\/\*\*?|\*\/$|^\/\//g, '')
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
}

function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

function* declarations(file: ts.SourceFile): Generator<[ts.VariableDeclaration, ts.Statement]> {
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const declaration of statement.declarationList.declarations) {
      yield [declaration, statement];
    }
  }
}

/** The object literal in `x = {...}` or `x = {...} as const`. */
function literalOf(node: ts.Node | undefined): ts.ObjectLiteralExpression | undefined {
  if (node === undefined) return undefined;
  if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node)) return literalOf(node.expression);
  return ts.isObjectLiteralExpression(node) ? node : undefined;
}

/** The value of an expression of numbers, units and constants that are known already. */
export function evaluate(node: ts.Expression, known: ReadonlyMap<string, number>): number {
  if (ts.isNumericLiteral(node)) return Number(node.text.replaceAll('_', ''));
  if (ts.isParenthesizedExpression(node)) return evaluate(node.expression, known);
  if (ts.isIdentifier(node)) return UNITS[node.text] ?? known.get(node.text) ?? Number.NaN;
  if (!ts.isBinaryExpression(node)) return Number.NaN;
  const left = evaluate(node.left, known);
  const right = evaluate(node.right, known);
  switch (node.operatorToken.kind) {
    case ts.SyntaxKind.PlusToken:
      return left + right;
    case ts.SyntaxKind.MinusToken:
      return left - right;
    case ts.SyntaxKind.AsteriskToken:
      return left * right;
    case ts.SyntaxKind.SlashToken:
      return left / right;
    case ts.SyntaxKind.AsteriskAsteriskToken:
      return left ** right;
    default:
      return Number.NaN;
  }
}

export function readLimits(text: string): Entry[] {
  const known = new Map<string, number>();
  const entries: Entry[] = [];
  let comment = '';
  for (const [declaration, statement] of declarations(parse(LIMITS, text))) {
    if (!ts.isIdentifier(declaration.name) || declaration.initializer === undefined) continue;
    const name = declaration.name.text;
    // What else stands beside the declarations of datagrams is no limit.
    if (!/^[A-Z0-9_]+$/.test(name) || !statement.getText().startsWith('export')) continue;
    const value = evaluate(declaration.initializer, known);
    if (Number.isNaN(value)) throw new Error(`${LIMITS}: ${name}: not a constant that I can read`);
    known.set(name, value);
    comment = commentBefore(text, statement);
    entries.push({ name, value, comment });
  }
  return entries;
}

/** Reads every `struct('Name', size, { ... })`, and what its literal spreads. */
export function readStructs(text: string): Struct[] {
  const structs: Struct[] = [];
  const shared = new Map<string, ts.ObjectLiteralExpression>();
  for (const [declaration, statement] of declarations(parse(MESSAGES, text))) {
    const { initializer } = declaration;
    const literal = literalOf(initializer);
    if (literal !== undefined && ts.isIdentifier(declaration.name)) {
      shared.set(declaration.name.text, literal);
    }
    if (initializer === undefined || !ts.isCallExpression(initializer)) continue;
    if (initializer.expression.getText() !== 'struct') continue;
    const [name, , body] = initializer.arguments;
    if (name === undefined || !ts.isStringLiteral(name)) continue;
    const fields = readFields(text, literalOf(body), shared);
    structs.push({ name: name.text, comment: commentBefore(text, statement), fields });
  }
  return structs;
}

function readFields(
  text: string,
  body: ts.ObjectLiteralExpression | undefined,
  shared: ReadonlyMap<string, ts.ObjectLiteralExpression>,
): Field[] {
  const fields: Field[] = [];
  let offset = 0;
  let isVariable = false;
  for (const property of membersOf(body, shared)) {
    const type = property.value.replace(/limits\./g, '');
    const padding = /^pad\((\d+)\)$/.exec(type)?.[1];
    const bytes = padding === undefined ? FIXED_BYTES[type] : Number(padding);
    const at = isVariable || bytes === undefined ? (isVariable ? '' : String(offset)) : `${offset}`;
    if (bytes === undefined) isVariable = true;
    else offset += bytes;
    const meaning = padding === undefined ? commentBehind(text, property.node) : 'Zero.';
    fields.push({ name: property.name, type: typeText(type), offset: at, comment: meaning });
  }
  return fields;
}

interface Member {
  readonly name: string;
  readonly value: string;
  readonly node: ts.Node;
}

function membersOf(
  body: ts.ObjectLiteralExpression | undefined,
  shared: ReadonlyMap<string, ts.ObjectLiteralExpression>,
): Member[] {
  const members: Member[] = [];
  for (const node of body?.properties ?? []) {
    if (ts.isSpreadAssignment(node)) {
      members.push(...membersOf(shared.get(node.expression.getText()), shared));
    } else if (ts.isPropertyAssignment(node)) {
      const value = node.initializer.getText().replace(/\s+/g, ' ');
      members.push({ name: node.name.getText(), value: value === 'name' ? NAME : value, node });
    } else if (ts.isShorthandPropertyAssignment(node)) {
      members.push({ name: node.name.text, value: NAME, node });
    }
  }
  return members;
}

/** The one field type that messages.ts has a name for. */
const NAME = 'text(NAME_BYTES_MAX)';

function typeText(type: string): string {
  const list = /^list\((\w+), (.+)\)$/.exec(type);
  if (list !== null) return `list of ${list[1]}, at most ${list[2]}`;
  const variable = /^(text|bytes|viewed)\((.+)\)$/.exec(type);
  const kind = variable?.[1] === 'viewed' ? 'bytes' : variable?.[1];
  if (variable !== null) return `${kind}, at most ${variable[2]}`;
  const padding = /^pad\((\d+)\)$/.exec(type);
  return padding === null ? type : `${padding[1]} bytes`;
}

interface Call {
  readonly type: string;
  readonly request: string;
  readonly reply: string;
  readonly repeatable: string;
}

function readNumbers(file: ts.SourceFile): [string, string][] {
  for (const [declaration] of declarations(file)) {
    if (declaration.name.getText() !== 'MessageType') continue;
    return membersOf(literalOf(declaration.initializer), new Map()).map(({ name, value }) => [
      name,
      value,
    ]);
  }
  return [];
}

function readCalls(file: ts.SourceFile): Call[] {
  for (const [declaration] of declarations(file)) {
    if (declaration.name.getText() !== 'CALLS') continue;
    const literal = literalOf(declaration.initializer);
    const properties = [...(literal?.properties ?? [])];
    return properties.filter(ts.isPropertyAssignment).map((property) => {
      const facts = new Map(
        membersOf(literalOf(property.initializer), new Map()).map(({ name, value }) => [
          name,
          value,
        ]),
      );
      const type = property.name.getText().replace(/^\[M\.|\]$/g, '');
      const get = (key: string) => (facts.get(key) ?? '').replace(/^Empty$/, '-');
      return { type, request: get('request'), reply: get('reply'), repeatable: get('repeatable') };
    });
  }
  return [];
}

/** Lines of at most 100 columns. */
function wrapped(text: string): string[] {
  return text.match(/.{1,100}(?:\s|$)/g)?.map((line) => line.trimEnd()) ?? [];
}

const cell = (text: string) => text.replaceAll('|', '\\|');
const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [row(head), row(head.map(() => '---')), ...rows.map(row), ''];
}

const DATA = new Set(['Read', 'Write', 'CompareAndSwap', 'FetchAndAdd', 'Reserve']);
const BARE = new Set(['Unreserve', 'Fence', 'Ping', 'Goodbye']);

function messageRows(file: ts.SourceFile): string[][] {
  const calls = new Map(readCalls(file).map((call) => [call.type, call]));
  return readNumbers(file).map(([name, value]) => {
    const call = calls.get(name);
    if (call !== undefined) {
      return [value, name, call.request, call.reply, call.repeatable === 'true' ? 'yes' : ''];
    }
    const request = BARE.has(name) ? '-' : `${name}Request`;
    const reply = name === 'Hello' ? 'HelloReply' : /Swap|Add/.test(name) ? 'OldValue' : '-';
    return [value, name, request, DATA.has(name) && name === 'Read' ? 'data' : reply, ''];
  });
}

const INTRODUCTION = `# The wire protocol

Generated from \`messages.ts\`, \`datagram.ts\` and \`limits.ts\` of \`src/wire\` by
\`npm run wire-doc\`; do not edit. How connections, records and windows work together is in
[ARCHITECTURE.md](../ARCHITECTURE.md#the-protocol).

Everything is little-endian. A frame is a FrameHeader and its messages; a message is a MessageHeader
and its body; both are multiples of 8 long. u53 is eight bytes and below 2^53. A text is UTF-8 and,
like bytes, a length (u32), the bytes, and zeros up to the next multiple of 8. A list is a count
(u32), four zeros, and its elements. Variable fields follow the fixed part in the table's order.

A frame is refused, and its connection closed, in this order of checks: magic, length, checksum,
version, then the messages' lengths, count and flags; a message by its sequence, then its form.
Nothing of a refused frame is executed. The data behind a Write, and in the reply to a Read, follows
the fixed part and is padded with zeros, which the reader does not look at. A reply whose status is
not Ok has a Refusal for its body if it answers a call, and none otherwise. "Repeatable" calls are
sent again when their reply was lost; results of the others are kept for that case.
`;

const DATAGRAMS_TOLD = `## Datagrams

A datagram from a client is a DatagramRequestHeader and its parts; a part is a MessageHeader, a
DatagramPart, and the body that the data message of its type has in a frame. Types are Read, Write,
CompareAndSwap, FetchAndAdd, Ping and Hello. A datagram to a client is a DatagramReplyHeader and the
replies to parts: each a MessageHeader with the part's id for its sequence, then the body as in a
frame. The lower 24 bits of its \`extra\` are the bytes of data of a Read or a Ping, the upper 8 the
attempt that is answered. A Ping may have a body; its reply has zeros of the same length, or none
without a good cookie. A Hello has a DatagramHelloRequest, and its reply a DatagramHelloReply.

Checked in this order: magic, length (a multiple of 8), checksum, version, tag, then the messages'
lengths, count, flags. What fails is dropped; a wrong checksum is answered by a refusal. Who may
believe what, and when, is told in [internals/datagrams.md](internals/datagrams.md).
`;

function structLines(structs: readonly Struct[]): string[] {
  const lines: string[] = [];
  for (const { name, comment, fields } of structs) {
    lines.push(`### ${name}`, '');
    if (comment !== '') lines.push(...wrapped(comment), '');
    if (fields.length === 0) lines.push('Has no fields.', '');
    else {
      const rows = fields.map((field) => [field.offset, field.name, field.type, field.comment]);
      lines.push(...table(['offset', 'field', 'type', 'meaning'], rows));
    }
  }
  return lines;
}

/** Values with one bit or number each, as `DatagramRefusal`: name, value, meaning. */
function valueRows(text: string, names: readonly string[]): string[][] {
  const rows: string[][] = [];
  for (const [declaration] of declarations(parse(DATAGRAMS, text))) {
    if (!names.includes(declaration.name.getText())) continue;
    for (const { name, value, node } of membersOf(literalOf(declaration.initializer), new Map())) {
      rows.push([declaration.name.getText(), name, value, commentBehind(text, node)]);
    }
  }
  return rows;
}

function limitRows(text: string): string[][] {
  return readLimits(text).map(({ name, value, comment }) => [
    name,
    name.endsWith('_MAGIC') ? `0x${value.toString(16)}` : value.toLocaleString('en-US'),
    comment,
  ]);
}

export function wireDocument(
  messages: string,
  datagrams: string,
  limits: string,
  others: readonly string[] = [],
): string {
  const file = parse(MESSAGES, messages);
  const lines = [INTRODUCTION, '## Message types', ''];
  lines.push(...table(['type', 'name', 'request', 'reply', 'repeatable'], messageRows(file)));
  lines.push('## Structs', '', ...structLines(readStructs(messages)));
  for (const other of others) lines.push(...structLines(readStructs(other)));
  lines.push(DATAGRAMS_TOLD, ...structLines(readStructs(datagrams)));
  const values = valueRows(datagrams, ['DatagramRefusal', 'RequestFlag', 'PartFlag']);
  lines.push(...table(['of', 'name', 'value', 'meaning'], values));
  lines.push('## Limits', '');
  const limitsOfAll = [...limitRows(limits), ...limitRows(datagrams)];
  lines.push(...table(['limit', 'value', 'why'], limitsOfAll));
  return `${lines.join('\n').trimEnd()}\n`;
}

export function readDocument(root: string): string {
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  return wireDocument(read(MESSAGES), read(DATAGRAMS), read(LIMITS), OTHERS.map(read));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(PAGE, readDocument(process.cwd()));
}
