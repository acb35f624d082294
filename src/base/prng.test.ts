import { expect, test } from 'vitest';
import { hashText, Prng } from './prng.js';

test('a seed keeps its numbers for ever: they are what a replay is made of', () => {
  const prng = new Prng(7);
  expect([prng.u32(), prng.u32(), prng.u53(), prng.below(1_000)]).toMatchInlineSnapshot(`
    [
      3689981075,
      2491986233,
      996405987926821,
      841,
    ]
  `);
  expect(hashText('memrack')).toMatchInlineSnapshot(`1252451655`);
  expect(new Prng(2 ** 53 - 1).fork('disk').u32()).toMatchInlineSnapshot(`1045766929`);
});

test('numbers stay in their ranges and are spread evenly', () => {
  const prng = new Prng(1);
  const counts = new Array<number>(10).fill(0);
  let chances = 0;
  for (let i = 0; i < 100_000; i++) {
    const digit = prng.below(10);
    counts[digit] = (counts[digit] ?? 0) + 1;
    if (prng.chance(250_000)) chances += 1;
    const between = prng.between(-3, 3);
    if (between < -3 || between > 3 || !Number.isInteger(between)) throw new Error(`${between}`);
  }
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  expect(Math.abs(chances - 25_000)).toBeLessThan(700);
});

test('seeds and labels give sequences of their own', () => {
  const firsts = new Set<number>();
  for (let seed = 0; seed < 1_000; seed++) {
    firsts.add(new Prng(seed).u32());
    firsts.add(new Prng(seed * 2 ** 32).fork('a').u32());
    firsts.add(new Prng(seed * 2 ** 32).fork('b').u32());
  }
  expect(firsts.size).toBe(3_000);
});
