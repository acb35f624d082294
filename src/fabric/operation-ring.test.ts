import { expect, test } from 'vitest';
import { DROPPED, OperationRing } from './operation-ring.js';

test('it grows in any position and keeps what is in it', () => {
  const ring = new OperationRing();
  let taken = 0;
  let added = 0;
  const add = () => {
    const place = ring.push();
    ring.token[place] = added;
    ring.operands[place * 4 + 3] = added;
    ring.buffer[place] = Uint8Array.of(added & 0xff);
    added++;
  };
  const take = () => {
    const place = ring.place(ring.head);
    expect(ring.token[place]).toBe(taken);
    expect(ring.operands[place * 4 + 3]).toBe(taken);
    expect(ring.buffer[place]?.[0]).toBe(taken & 0xff);
    ring.clear(place);
    ring.head++;
    taken++;
  };
  for (let i = 0; i < 200; i++) add();
  for (let i = 0; i < 150; i++) take();
  for (let i = 0; i < 5000; i++) add();
  while (ring.head < ring.tail) take();
  expect(taken).toBe(5200);
  // What was let go of is not kept alive by a copy.
  expect(ring.buffer.some((buffer) => buffer !== undefined)).toBe(false);
});

test('what was dropped is skipped, and nothing else', () => {
  const ring = new OperationRing();
  for (let i = 0; i < 4; i++) ring.push();
  ring.state[ring.place(0)] = DROPPED;
  ring.state[ring.place(1)] = DROPPED;
  ring.state[ring.place(3)] = DROPPED;
  ring.skipDropped();
  expect([ring.head, ring.sent, ring.tail]).toEqual([2, 2, 4]);
});
