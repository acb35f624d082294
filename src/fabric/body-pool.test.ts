import { expect, test } from 'vitest';
import { PIECE_BYTES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { BodyPool } from './body-pool.js';
import { encodeRequest } from './call-codec.js';

const piece = (bytes: number, fill: number) => ({
  epoch: 3,
  page: 7,
  offset: 0,
  data: new Uint8Array(bytes).fill(fill),
});

function encoded(pool: BodyPool | undefined, bytes: number, fill: number): Uint8Array {
  return encodeRequest(MessageType.MovePages, piece(bytes, fill), pool) as Uint8Array;
}

test('what a body held before is not in the next one, of whatever length', () => {
  const pool = new BodyPool();
  for (const bytes of [PIECE_BYTES_MAX, 5_001, PIECE_BYTES_MAX - 3, 4_096, 10]) {
    pool.giveBack(encoded(pool, PIECE_BYTES_MAX, 0xff));
    expect(encoded(pool, bytes, 1)).toEqual(encoded(undefined, bytes, 1));
  }
});

test('bodies under way at the same time have memory of their own', () => {
  const pool = new BodyPool();
  const first = encoded(pool, PIECE_BYTES_MAX, 1);
  const second = encoded(pool, PIECE_BYTES_MAX, 2);
  expect(first.buffer).not.toBe(second.buffer);
  expect(first).toEqual(encoded(undefined, PIECE_BYTES_MAX, 1));
});

test('memory is used again, and no more of it is kept than can be under way', () => {
  const pool = new BodyPool();
  const bodies = Array.from({ length: 40 }, () => encoded(pool, PIECE_BYTES_MAX, 1));
  for (const body of bodies) pool.giveBack(body);
  const known = new Set(bodies.map(({ buffer }) => buffer));
  const again = bodies.map(() => encoded(pool, PIECE_BYTES_MAX, 2));
  expect(again.filter(({ buffer }) => known.has(buffer))).toHaveLength(16);
});

test('bodies that are short, or longer than a piece, are no part of it', () => {
  const pool = new BodyPool();
  const short = pool.take(100);
  const long = pool.take(PIECE_BYTES_MAX * 2);
  for (const { bytes } of [short, long]) pool.giveBack(bytes);
  expect(pool.take(100).bytes.buffer).not.toBe(short.bytes.buffer);
  expect(long.bytes).toHaveLength(PIECE_BYTES_MAX * 2);
});
