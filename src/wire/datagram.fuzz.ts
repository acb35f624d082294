/**
 * Mutated and random datagrams: their check never throws, never takes one whose checksum is wrong,
 * and what it takes lies in bounds. `MEMRACK_FUZZ=1000000` sets the number, `MEMRACK_SEED` the
 * first seed.
 */

import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import type { Bytes } from '../runtime/network.js';
import {
  checkDatagram,
  PART_HEADER_BYTES,
  REPLY_HEADER_BYTES,
  REPLY_MAGIC,
  ReplyWriter,
  REQUEST_HEADER_BYTES,
  REQUEST_MAGIC,
  RequestWriter,
} from './datagram.js';
import { messageLength } from './frame.js';
import { MESSAGE_HEADER_BYTES } from './limits.js';
import { CHECKSUM, place } from './testing/frames.js';

const COUNT = Number(process.env['MEMRACK_FUZZ'] ?? 20_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const ROOM = 2048;
const input = place(ROOM);
const requests = new RequestWriter(CHECKSUM, 77);
const replies = new ReplyWriter(CHECKSUM);

/** A datagram at 0 of `input`; returns its length. */
function sample(prng: Prng, isReply: boolean): number {
  const parts = 1 + prng.below(4);
  const writer = isReply ? replies : requests;
  writer.begin(input, 0);
  for (let i = 0; i < parts; i++) {
    const bytes = prng.below(40);
    const type = 16 + prng.below(4);
    input.bytes.fill(prng.below(256), writer.bodyAt, writer.bodyAt + bytes);
    if (isReply) replies.append(type, [0, 2, 4, 8][prng.below(4)] as number, 3, i, bytes, bytes);
    else requests.append(type, i, 7, prng.u32(), prng.below(256), bytes);
  }
  return isReply ? replies.seal(prng.u32(), 9) : requests.seal(prng.u32());
}

function mutate(prng: Prng, length: number): number {
  const { bytes, words } = input;
  for (let i = 0; i <= prng.below(3); i++) {
    const at = prng.below(length);
    const kind = prng.below(5);
    if (kind === 0) bytes[at] = prng.below(256);
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
    else if (kind === 2) words[at >> 2] = prng.below(2) === 0 ? prng.u32() : prng.below(64) * 8;
    else if (kind === 3) bytes.copyWithin(at, prng.below(length), length);
    else length = prng.below(length + 1);
  }
  return length;
}

function sealAgain(bytes: Bytes, length: number): void {
  bytes.words[1] = 0;
  bytes.words[1] = CHECKSUM.crc32c(bytes.bytes, 0, length);
}

/** Walks what was taken: the messages fill the datagram exactly, and there are as many as said. */
function expectWhole(count: number, length: number, isReply: boolean): void {
  let at = isReply ? REPLY_HEADER_BYTES : REQUEST_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const bytes = messageLength(input, at);
    expect(bytes).toBeGreaterThanOrEqual(isReply ? MESSAGE_HEADER_BYTES : PART_HEADER_BYTES);
    at += bytes;
  }
  expect(at).toBe(length);
}

test('a mutated datagram is refused, or it is the old one', () => {
  let refused = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const isReply = prng.below(2) === 0;
    const length = sample(prng, isReply);
    const before = input.bytes.slice(0, length);
    const left = mutate(prng, length);
    const count = checkDatagram(input, 0, left, { checksum: CHECKSUM, isReply });
    if (count >= 0) expect(input.bytes.slice(0, left), `seed ${SEED + i}`).toEqual(before);
    else refused++;
  }
  expect(refused).toBeGreaterThan(COUNT * 0.8);
});

test('a mutated datagram with a right checksum is refused, or lies in bounds', () => {
  let accepted = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const isReply = prng.below(2) === 0;
    const length = mutate(prng, sample(prng, isReply));
    if (length >= 8) sealAgain(input, length);
    const count = checkDatagram(input, 0, length, { checksum: CHECKSUM, isReply });
    if (count < 0) continue;
    accepted++;
    expectWhole(count, length, isReply);
  }
  expect(accepted).toBeGreaterThan(COUNT * 0.1);
});

test('random bytes are refused, with or without a magic number', () => {
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const isReply = prng.below(2) === 0;
    for (let word = 0; word < 50; word++) input.words[word] = prng.u32();
    if (prng.below(4) > 0) input.words[0] = isReply ? REPLY_MAGIC : REQUEST_MAGIC;
    const length = prng.below(200);
    expect(checkDatagram(input, 0, length, { checksum: CHECKSUM, isReply })).toBeLessThan(0);
  }
});
