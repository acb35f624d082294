import { expect, test } from 'vitest';
import { crc32c } from './crc32c.js';

const text = (value: string) => new TextEncoder().encode(value);
const whole = (bytes: Uint8Array) => crc32c(bytes, 0, bytes.length);

/** Vectors of RFC 3720, appendix B.4, and the usual check value. */
test('gives the published values', () => {
  expect(whole(text('123456789'))).toBe(0xe3069283);
  expect(whole(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(whole(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(whole(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(whole(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  expect(whole(new Uint8Array(0))).toBe(0);
});

test('is the same over parts, at any start and length', () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => (i * 37) & 0xff);
  for (let start = 0; start < 20; start++) {
    for (let end = start; end <= bytes.length; end++) {
      const alone = crc32c(bytes.slice(start, end), 0, end - start);
      expect(crc32c(bytes, start, end)).toBe(alone);
      const middle = (start + end) >> 1;
      expect(crc32c(bytes, middle, end, crc32c(bytes, start, middle))).toBe(alone);
    }
  }
});
