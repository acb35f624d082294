import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { FREE, Parts, PARTS_MAX } from './parts.js';

/** A part that is ready. */
function made(parts: Parts): number {
  const row = parts.take();
  parts.makeReady(row);
  return row;
}

test('a row is found by its id until it is freed, and never by an id before', () => {
  const parts = new Parts(2 ** 32 - 2);
  const ids: number[] = [];
  for (let i = 0; i < 5; i++) {
    const row = made(parts);
    ids.push(parts.id[row] as number);
    expect(parts.rowOf(ids[i] as number)).toBe(row);
    parts.free(row);
    expect(parts.rowOf(ids[i] as number)).toBe(-1);
  }
  expect(ids).toEqual([2 ** 32 - 2, 2 ** 32 - 1, 0, 1, 2]);
});

test('as many as there are rows are under way; then there is no room until one ends', () => {
  const parts = new Parts();
  for (let i = 0; i < PARTS_MAX; i++) made(parts);
  expect(parts.hasRoom).toBe(false);
  parts.free(17);
  const row = made(parts);
  expect([row, parts.id[row]]).toEqual([17, PARTS_MAX + 17]);
  expect(parts.rowOf(17)).toBe(-1);
});

test('what was sent before is sent again first, and the oldest is found', () => {
  const parts = new Parts();
  const [a, b, c] = [made(parts), made(parts), made(parts)];
  parts.sent(parts.firstReady(), 1, 10);
  parts.sent(parts.firstReady(), 1, 10);
  expect(parts.oldestSent()).toBe(a);
  parts.makeReady(b);
  expect([parts.firstReady(), parts.ready]).toEqual([b, 2]);
  parts.sent(b, 2, 20);
  parts.free(a);
  expect(parts.oldestSent()).toBe(b);
  parts.sent(c, 2, 20);
  parts.makeReady(b);
  expect(parts.oldestSent()).toBe(c);
  parts.free(b);
  parts.free(c);
  expect([parts.oldestSent(), parts.firstReady(), parts.count, parts.ready]).toEqual([
    -1, -1, 0, 0,
  ]);
});

test('one that is stuck does not fill the queues with what became of the others', () => {
  const parts = new Parts();
  const stuck = made(parts);
  for (let i = 0; i < 10 * PARTS_MAX; i++) parts.free(made(parts));
  expect(parts.firstReady()).toBe(stuck);
  parts.sent(stuck, 0, 0);
  const other = made(parts);
  for (let i = 1; i < 10 * PARTS_MAX; i++) {
    parts.sent(parts.firstReady(), i, i);
    parts.makeReady(other);
  }
  expect([parts.oldestSent(), parts.firstReady()]).toEqual([stuck, other]);
});

/** The same by lists. */
class Model {
  again: number[] = [];
  ready: number[] = [];
  sent: number[] = [];

  forget(id: number): void {
    for (const list of [this.again, this.ready, this.sent]) {
      const at = list.indexOf(id);
      if (at >= 0) list.splice(at, 1);
    }
  }
}

test('any course of parts is as lists have it', () => {
  const prng = new Prng(7);
  const parts = new Parts(prng.u32());
  const model = new Model();
  const attempts = new Map<number, number>();
  for (let step = 0; step < 30_000; step++) {
    const what = prng.below(10);
    if (what < 4 && parts.hasRoom) {
      const row = made(parts);
      const id = parts.id[row] as number;
      model.ready.push(id);
      attempts.set(id, 0);
    } else if (what < 7) {
      const row = parts.firstReady();
      const id = model.again[0] ?? model.ready[0];
      expect(row < 0 ? undefined : parts.id[row]).toBe(id);
      if (id === undefined) continue;
      model.forget(id);
      model.sent.push(id);
      attempts.set(id, (attempts.get(id) as number) + 1);
      parts.sent(row, step, step);
    } else if (what < 9) {
      const row = parts.oldestSent();
      const id = model.sent[0];
      expect(row < 0 ? undefined : parts.id[row]).toBe(id);
      if (id === undefined || prng.below(4) === 0) continue;
      model.forget(id);
      if (prng.below(3) === 0) parts.free(row);
      else {
        parts.makeReady(row);
        model.again.push(id);
      }
    } else {
      const row = prng.below(parts.rows);
      const state = parts.state[row] as number;
      if (state === FREE) continue;
      const id = parts.id[row] as number;
      expect(parts.rowOf(id)).toBe(row);
      model.forget(id);
      parts.free(row);
    }
    expect(parts.count).toBe(model.again.length + model.ready.length + model.sent.length);
    expect(parts.ready).toBe(model.again.length + model.ready.length);
  }
  // So it grew several times, with parts in every state.
  expect(parts.rows).toBeGreaterThan(64);
});
