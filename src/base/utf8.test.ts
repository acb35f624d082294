import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readUtf8, utf8Bytes, writeUtf8 } from './utf8.js';

test('writes and reads what the platform does', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const expected = new TextEncoder().encode(text);
      const target = new Uint8Array(expected.length + 2).fill(0xaa);
      expect(utf8Bytes(text)).toBe(expected.length);
      expect(writeUtf8(target, 1, text)).toBe(1 + expected.length);
      expect(target.subarray(1, -1)).toEqual(expected);
      expect(readUtf8(target, 1, 1 + expected.length)).toBe(text);
    }),
  );
});

test('accepts exactly what a strict decoder accepts', () => {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decoded = (bytes: Uint8Array) => {
    try {
      return strict.decode(bytes);
    } catch {
      return undefined;
    }
  };
  const byte = fc.oneof(
    fc.constantFrom(0xc0, 0xc1, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0x80, 0x9f, 0xa0, 0xbf),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 6 }), (array) => {
      const bytes = Uint8Array.from(array);
      expect(readUtf8(bytes, 0, bytes.length)).toBe(decoded(bytes));
    }),
    { numRuns: 20_000 },
  );
});

test('a lone surrogate has no encoding', () => {
  for (const text of ['\ud800', 'a\udc00', '\ud800\ud800', '\udc00\ud800']) {
    expect(utf8Bytes(text)).toBe(-1);
  }
});
