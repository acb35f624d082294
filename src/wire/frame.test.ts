import { expect, test } from 'vitest';
import { checkFrame, Malformed, messageExtra, messageLength, messageSequence } from './frame.js';
import { messageStatus, messageType, padded } from './frame.js';
import { FRAME_BYTES_MAX, PIECE_BYTES_MAX } from './limits.js';
import { MessageFlag, MessageType } from './messages.js';
import { CHECKSUM, framesOf, place, sealAgain } from './testing/frames.js';

const RULES = { checksum: CHECKSUM, version: 1, flags: MessageFlag.REPLY };
const three = () =>
  framesOf(true, [
    { type: MessageType.Read, sequence: 7, extra: 3, body: Uint8Array.of(1, 2, 3) },
    { type: MessageType.Write, sequence: 8, status: 5, body: new Uint8Array(0) },
    { type: MessageType.Ping, sequence: 0xffffffff, extra: 0xfffffff0, body: new Uint8Array(0) },
  ]);

test('messages go in and come out, padded with zeros', () => {
  const frame = three();
  const length = frame.bytes.length;
  expect(length).toBe(16 + 24 + 16 + 16);
  expect(checkFrame(frame, 0, length, RULES)).toBe(length);
  expect(messageType(frame, 16)).toBe(MessageType.Read);
  expect(messageLength(frame, 16)).toBe(24);
  expect(messageExtra(frame, 16)).toBe(3);
  expect([...frame.bytes.subarray(32, 40)]).toEqual([1, 2, 3, 0, 0, 0, 0, 0]);
  expect(messageStatus(frame, 40)).toBe(5);
  expect(messageSequence(frame, 56)).toBe(0xffffffff);
  expect(messageExtra(frame, 56)).toBe(0xfffffff0);
  expect(String.fromCharCode(...frame.bytes.subarray(0, 4))).toBe('MRK1');
});

test('a frame that is not all there is waited for, at any place', () => {
  const frame = three();
  const length = frame.bytes.length;
  for (let end = 0; end < length; end++) expect(checkFrame(frame, 0, end, RULES)).toBe(0);
  const moved = place(64 + length);
  moved.bytes.set(frame.bytes, 64);
  expect(checkFrame(moved, 64, 64 + length, RULES)).toBe(length);
});

test('every kind of breach has its code', () => {
  const refused = (change: (frame: ReturnType<typeof three>) => void, reseal = true) => {
    const frame = three();
    change(frame);
    if (reseal) sealAgain(frame, 0, frame.bytes.length);
    return checkFrame(frame, 0, frame.bytes.length, RULES);
  };
  expect(refused((f) => void (f.bytes[0] = 0))).toBe(Malformed.MAGIC);
  for (const length of [0, 24, 31, 33, -8, FRAME_BYTES_MAX + 8, 0x7ffffff8]) {
    expect(refused((f) => void (f.words[1] = length))).toBe(Malformed.LENGTH);
  }
  expect(refused((f) => void (f.bytes[32] = 9), false)).toBe(Malformed.CHECKSUM);
  expect(refused((f) => f.view.setUint16(14, 2, true))).toBe(Malformed.VERSION);
  for (const count of [0, 1, 2, 4, 65535]) {
    expect(refused((f) => f.view.setUint16(12, count, true))).toBe(Malformed.MESSAGE);
  }
  for (const length of [0, 8, 15, 20, 48, 0x7ffffff8, -8]) {
    expect(refused((f) => void (f.words[5] = length))).toBe(Malformed.MESSAGE);
  }
  expect(refused((f) => void (f.bytes[17] = 0))).toBe(Malformed.MESSAGE);
  expect(refused((f) => void (f.bytes[17] = 3))).toBe(Malformed.MESSAGE);
  expect(refused(() => undefined)).toBeGreaterThan(0);
});

test('a length that can never be right is refused before the rest has arrived', () => {
  const frame = three();
  frame.words[1] = FRAME_BYTES_MAX + 8;
  expect(checkFrame(frame, 0, 8, RULES)).toBe(Malformed.LENGTH);
});

test('what does not fit into one frame goes into the next', () => {
  const body = new Uint8Array(PIECE_BYTES_MAX).fill(3);
  const pieces = framesOf(
    true,
    Array.from({ length: 5 }, (_, i) => ({ type: MessageType.Read, sequence: i, body })),
  );
  let at = 0;
  let frames = 0;
  while (at < pieces.bytes.length) {
    const length = checkFrame(pieces, at, pieces.bytes.length, RULES);
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThanOrEqual(FRAME_BYTES_MAX);
    at += length;
    frames++;
  }
  expect(frames).toBe(5);
  expect(padded(1)).toBe(8);
});
