import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { MessageType } from './messages.js';
import { framesOf } from './testing/frames.js';
import { type AnyValue, bytesOf, sampleOf, STRUCTS } from './testing/samples.js';

/**
 * The bytes of version 1. They never change: a released peer sends them. A struct that is new is
 * added with `MEMRACK_GOLDEN=add`; an entry that is there is never written again. (Until the first
 * release a struct may still change: remove its entry by hand, then add it.)
 */
const FILE = new URL('../../test/golden/wire-v1.json', import.meta.url);

interface Golden {
  readonly value: unknown;
  readonly bytes: string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Byte strings as text, because JSON has none. */
const asJson = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_key, part: unknown) =>
      part instanceof Uint8Array ? `hex:${hex(part)}` : part,
    ),
  );

function fromJson(value: unknown): unknown {
  if (typeof value === 'string' && value.startsWith('hex:')) {
    return Uint8Array.from(Buffer.from(value.slice(4), 'hex'));
  }
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, fromJson(part)]));
}

function readGolden(): Record<string, Golden> {
  const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Golden>;
  if (process.env['MEMRACK_GOLDEN'] !== 'add') return golden;
  for (const [name, struct] of STRUCTS) {
    const value = sampleOf(struct, new Prng(name.length), 8);
    golden[name] ??= { value: asJson(value), bytes: hex(bytesOf(struct, value)) };
  }
  golden['frame'] ??= { value: 'see the test', bytes: hex(sampleFrame()) };
  const lines = Object.entries(golden).map(
    ([name, entry]) => `  ${JSON.stringify(name)}: ${JSON.stringify(entry)}`,
  );
  writeFileSync(FILE, `{\n${lines.join(',\n')}\n}\n`);
  return golden;
}

function sampleFrame(): Uint8Array {
  const body = Uint8Array.from({ length: 21 }, (_, i) => i + 1);
  const messages = [
    { type: MessageType.Read, sequence: 2, extra: 7, body: body.subarray(0, 16) },
    { type: MessageType.Write, sequence: 3, extra: 9, body },
  ];
  return framesOf(false, messages).bytes;
}

const golden = readGolden();

test('the bytes of every struct are those of version 1', () => {
  for (const [name, struct] of STRUCTS) {
    const entry = golden[name];
    expect(entry, `${name} has no golden bytes: run with MEMRACK_GOLDEN=add`).toBeDefined();
    if (entry === undefined) continue;
    const value = fromJson(entry.value) as AnyValue;
    const changed = `${name} was changed: remove its entry from wire-v1.json, then add it anew`;
    expect(struct.invalid(value), changed).toBeNull();
    expect(hex(bytesOf(struct, value)), changed).toBe(entry.bytes);
    const bytes = Uint8Array.from(Buffer.from(entry.bytes, 'hex'));
    const read = struct.decode({ bytes, view: new DataView(bytes.buffer) }, 0, bytes.length);
    expect(read, name).toEqual(value);
  }
});

test('the bytes of a frame are those of version 1', () => {
  expect(hex(sampleFrame())).toBe(golden['frame']?.bytes);
});
