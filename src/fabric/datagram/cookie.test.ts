import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Cookies, KEY_MS, sipHash } from './cookie.js';

function hashOf(length: number): string {
  const key = new Int32Array(Uint8Array.from({ length: 16 }, (_, i) => i).buffer);
  // Not at the start of its buffer, and with other bytes behind it.
  const bytes = Uint8Array.from({ length: length + 9 }, (_, i) => i - 3);
  const result = new Int32Array(2);
  sipHash(key, bytes, 3, 3 + length, result);
  return [result[1], result[0]]
    .map((half) => ((half ?? 0) >>> 0).toString(16).padStart(8, '0'))
    .join('');
}

test('the hash is that of its paper, and of the table that its authors publish', () => {
  expect(hashOf(15)).toBe('a129ca6149be45e5');
  expect(hashOf(0)).toBe('726fdb47dd0e0e31');
  expect(hashOf(1)).toBe('74f839c593dc67fd');
  expect(hashOf(2)).toBe('0d6c8009d9a94f5a');
  expect(hashOf(3)).toBe('85676696d7fb7e2d');
  expect(hashOf(8)).toBe('93f5f5799a932462');
});

function cookies(seed = 1): Cookies {
  const prng = new Prng(seed);
  const entropy = { u32: () => prng.u32(), u53: () => prng.u53(), fraction: () => prng.fraction() };
  return new Cookies(entropy, 32);
}

/** Three senders. */
const PEERS = Uint8Array.from({ length: 96 }, (_, i) => (i % 32 === 0 ? i : 7));

/** Makes a cookie at one time, and says whether it is good at others. */
function goodAt(madeAt: number, ...times: number[]): boolean[] {
  const jar = cookies();
  jar.make(0, PEERS, 0, 1, 2);
  jar.make(madeAt, PEERS, 0, 1, 2);
  const { low, high } = jar;
  return times.map((now) => jar.isGood(now, PEERS, 0, 1, 2, low, high));
}

test('a cookie is good for a minute at least, and never for two', () => {
  expect(goodAt(0, 0, KEY_MS - 1, KEY_MS, 2 * KEY_MS - 1, 2 * KEY_MS)).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
  expect(goodAt(KEY_MS - 1, 2 * KEY_MS - 1, 2 * KEY_MS)).toEqual([true, false]);
});

test('an old key is not good when nobody has asked for long', () => {
  expect(goodAt(0, 2 * KEY_MS)).toEqual([false]);
  expect(goodAt(0, 100 * KEY_MS)).toEqual([false]);
  // The key before was drawn, and the time passed without anybody asking.
  expect(goodAt(KEY_MS, 3 * KEY_MS - 1)).toEqual([true]);
  expect(goodAt(KEY_MS, 3 * KEY_MS)).toEqual([false]);
});

test('a cookie is of one sender, one port and one client', () => {
  const jar = cookies();
  jar.make(5, PEERS, 32, 10, 20);
  const { low, high } = jar;
  const asked = (at: number, clientLow: number, clientHigh: number, l = low, h = high) =>
    jar.isGood(6, PEERS, at, clientLow, clientHigh, l, h);
  for (let again = 0; again < 3; again++) {
    expect(asked(32, 10, 20)).toBe(true);
    // As it stands in a header.
    expect(asked(32, 10, 20, low >>> 0, high >>> 0)).toBe(true);
    expect(asked(64, 10, 20)).toBe(false);
    expect(asked(32, 11, 20)).toBe(false);
    expect(asked(32, 10, 21)).toBe(false);
    expect(asked(32, 10, 20, low ^ 1)).toBe(false);
    expect(asked(32, 10, 20, low, high ^ 1)).toBe(false);
    expect(asked(32, 10, 20, 0, 0)).toBe(false);
  }
});

test('the sender before is known again only by its own cookie', () => {
  const jar = cookies();
  jar.make(5, PEERS, 0, 1, 0);
  const first = [jar.low, jar.high] as const;
  expect(jar.isGood(5, PEERS, 0, 1, 0, ...first)).toBe(true);
  // Made for another one: that one is hashed now, and the first one's cookie is not its.
  jar.make(5, PEERS, 32, 1, 0);
  expect(jar.isGood(5, PEERS, 32, 1, 0, ...first)).toBe(false);
  expect(jar.isGood(5, PEERS, 0, 1, 0, ...first)).toBe(true);
});

test('two processes make different cookies', () => {
  const a = cookies(1);
  const b = cookies(2);
  a.make(0, PEERS, 0, 1, 2);
  b.make(0, PEERS, 0, 1, 2);
  expect([a.low, a.high]).not.toEqual([b.low, b.high]);
});
