import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { SortedKeys } from './sorted-keys.js';

test('lists by prefix, page by page, in order', () => {
  const keys = new SortedKeys(['b', 'a/2', 'a/1', 'a', 'a0']);
  expect(keys.list('', '', 10)).toEqual(['a', 'a/1', 'a/2', 'a0', 'b']);
  expect(keys.list('a/', '', 10)).toEqual(['a/1', 'a/2']);
  expect(keys.list('a/', 'a/1', 10)).toEqual(['a/2']);
  expect(keys.list('a', 'a', 2)).toEqual(['a/1', 'a/2']);
  expect(keys.list('c', '', 10)).toEqual([]);
  expect(keys.list('a', 'b', 10)).toEqual([]);
  expect(keys.list('b', 'a', 10)).toEqual(['b']);
  expect(keys.list('', '', 0)).toEqual([]);
});

test('behaves like a sorted set, whatever is added, removed and listed', () => {
  const key = fc.string({ maxLength: 3, unit: fc.constantFrom('a', 'b', '/', 'é') });
  const change = fc.tuple(fc.boolean(), key);
  const listing = fc.tuple(key, key, fc.nat(20));
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 200 }),
      listing,
      (changes, [prefix, after, limit]) => {
        const keys = new SortedKeys();
        const model = new Set<string>();
        for (const [isAdded, text] of changes) {
          if (isAdded) keys.add(text);
          else keys.remove(text);
          if (isAdded) model.add(text);
          else model.delete(text);
        }
        const sorted = [...model].sort((a, b) => (a < b ? -1 : 1));
        const wanted = sorted.filter(
          (text) => text.startsWith(prefix) && (after === '' || text > after),
        );
        expect(keys.count).toBe(model.size);
        expect(keys.list(prefix, after, limit)).toEqual(wanted.slice(0, limit));
      },
    ),
  );
});

test('blocks split and vanish without losing a key', () => {
  const prng = new Prng(3);
  const keys = new SortedKeys();
  const model = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const key = `k${prng.below(8_000)}`;
    if (prng.chance(0.6)) {
      keys.add(key);
      model.add(key);
    } else {
      keys.remove(key);
      model.delete(key);
    }
  }
  expect(keys.list('', '', 1e6)).toEqual([...model].sort((a, b) => (a < b ? -1 : 1)));
  for (const key of model) keys.remove(key);
  expect(keys.list('', '', 10)).toEqual([]);
  expect(keys.count).toBe(0);
});
