import { expect, test } from 'vitest';
import { PATH_BYTES, PathSize } from './path-size.js';

const TIMEOUT_MS = 10;
const SURE = PATH_BYTES[0] as number;
const LONGEST = PATH_BYTES.at(-1) as number;

/** A path that takes datagrams of so many bytes, and somebody who has traffic all the time. */
class Traffic {
  readonly size = new PathSize();
  readonly pings: number[] = [];
  pathBytes = Infinity;
  /** Small datagrams are answered, too. */
  isThere = true;
  now = 0;
  #heardAt = 0;
  #number = 0;

  /** Lets `ms` pass, a millisecond at a time. */
  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.now++;
      if (this.isThere) this.#heardAt = this.now;
      const bytes = this.size.due(this.now, TIMEOUT_MS, this.#heardAt);
      if (bytes === 0) continue;
      this.pings.push(bytes);
      this.size.sent(++this.#number, this.now);
      if (this.isThere && bytes <= this.pathBytes) this.size.answered(this.#number, this.now);
    }
  }
}

test('a path that takes all is known after one round trip for each size', () => {
  const traffic = new Traffic();
  traffic.pass(PATH_BYTES.length + 2);
  expect(traffic.pings).toEqual(PATH_BYTES.slice(1));
  expect(traffic.size.bytes).toBe(LONGEST);
});

test('what is not answered is tried three times, and ever more rarely again', () => {
  const traffic = new Traffic();
  traffic.pathBytes = 1_472;
  traffic.pass(1_000);
  expect(traffic.pings).toEqual([1_408, 4_040, 4_040, 4_040]);
  expect(traffic.size.bytes).toBe(1_408);
  traffic.pathBytes = 8_972;
  traffic.pass(500);
  expect(traffic.pings.slice(4)).toEqual([4_040, 8_848, 32_856, 32_856, 32_856]);
  expect(traffic.size.bytes).toBe(8_848);
  traffic.pings.length = 0;
  // After 1, 2, 4, 8, 16 and 32 seconds, then each minute.
  traffic.pass(70_000);
  expect(traffic.pings.length).toBe(3 * 6);
  traffic.pass(600_000);
  expect(traffic.pings.length).toBe(3 * 16);
});

test('lost datagrams alone change nothing: a ping of their size decides', () => {
  const traffic = new Traffic();
  traffic.pass(10);
  traffic.pings.length = 0;
  traffic.size.lost(100);
  traffic.pass(100);
  expect(traffic.pings).toEqual([LONGEST]);
  expect(traffic.size.bytes).toBe(LONGEST);
  traffic.size.lost(2);
  traffic.pass(100);
  expect(traffic.pings.length).toBe(1);
});

test('a path that shrank has the sure size until pings say more', () => {
  const traffic = new Traffic();
  traffic.pass(10);
  traffic.pings.length = 0;
  traffic.pathBytes = 1_472;
  traffic.size.lost(3);
  traffic.pass(3 * TIMEOUT_MS);
  expect([traffic.pings, traffic.size.isChecking]).toEqual([[LONGEST, LONGEST, LONGEST], true]);
  expect(traffic.size.bytes).toBe(LONGEST);
  traffic.pass(1);
  expect(traffic.pings.slice(3)).toEqual([1_408]);
  traffic.pass(1_000);
  expect(traffic.size.bytes).toBe(1_408);
});

test('of a node that is silent nothing is learned', () => {
  const traffic = new Traffic();
  traffic.pathBytes = 8_972;
  traffic.pass(10);
  expect(traffic.size.bytes).toBe(8_848);
  traffic.isThere = false;
  traffic.size.lost(100);
  traffic.pass(10_000);
  expect(traffic.size.bytes).toBe(8_848);
  traffic.isThere = true;
  traffic.pass(100);
  expect(traffic.size.bytes).toBe(8_848);
});

test('what the own system refuses is given up at once', () => {
  const size = new PathSize();
  size.sent(1, size.due(0, TIMEOUT_MS, 0));
  size.answered(1, 0);
  expect([size.bytes, size.due(0, TIMEOUT_MS, 0)]).toEqual([1_408, 4_040]);
  size.sent(2, 0);
  size.refused(0);
  expect(size.due(900, TIMEOUT_MS, 900)).toBe(0);
  size.lost(3);
  expect(size.due(900, TIMEOUT_MS, 900)).toBe(1_408);
  size.sent(3, 900);
  size.refused(900);
  expect(size.bytes).toBe(SURE);
});

test('a late answer, and one to another datagram, say nothing; the node may set a limit', () => {
  const size = new PathSize();
  size.limit(4_000);
  size.due(0, TIMEOUT_MS, 0);
  size.sent(1, 0);
  expect(size.answered(2, 1)).toBe(false);
  size.due(20, TIMEOUT_MS, 20);
  size.sent(3, 20);
  expect([size.answered(1, 21), size.bytes]).toEqual([false, SURE]);
  expect([size.answered(3, 21), size.bytes]).toEqual([true, 1_408]);
  expect(size.due(1e9, TIMEOUT_MS, 1e9)).toBe(0);
});
