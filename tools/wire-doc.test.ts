import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { STRUCTS } from '../src/wire/testing/samples.js';
import { OTHERS, PAGE, readDocument, readLimits, readStructs } from './wire-doc.js';

/** Limits that need no comment, or share the one above them. */
const SELF_EVIDENT =
  /^(VERSION|(FRAME|MESSAGE|REQUEST|REPLY)_HEADER|REPLY_MAGIC|RECONNECT_MS_MAX|REGIONS_PER_SPACE)/;

const root = new URL('..', import.meta.url).pathname;
const source = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('docs/wire.md is what the declarations say; if not: npm run wire-doc', () => {
  expect(readFileSync(new URL(`../${PAGE}`, import.meta.url), 'utf8')).toBe(readDocument(root));
});

test('what is read from the text is what is loaded', async () => {
  const files = ['src/wire/messages.ts', ...OTHERS, 'src/wire/datagram.ts'];
  const structs = files.flatMap((path) => readStructs(source(path)));
  const documented = new Map(structs.map((s) => [s.name, s]));
  expect([...documented.keys()].sort()).toEqual([...STRUCTS.keys()].sort());
  for (const [name, struct] of STRUCTS) {
    const fields = documented.get(name)?.fields ?? [];
    expect(
      fields.map((field) => field.name),
      name,
    ).toEqual(Object.keys(struct.declaration));
    for (const { name: key, offset } of fields) {
      const known: Readonly<Record<string, number>> = struct.offsets;
      if (known[key] !== undefined) expect(offset, `${name}.${key}`).toBe(String(known[key]));
    }
  }
  const limits: Record<string, unknown> = {
    ...(await import('../src/wire/limits.js')),
    ...(await import('../src/wire/datagram.js')),
  };
  const paths = ['src/wire/limits.ts', 'src/wire/datagram.ts'];
  for (const { name, value, comment } of paths.flatMap((path) => readLimits(source(path)))) {
    expect(limits[name], name).toBe(value);
    if (!SELF_EVIDENT.test(name)) {
      if (!name.startsWith('PAGE_BYTES_M')) expect(comment, name).not.toBe('');
    }
  }
});
