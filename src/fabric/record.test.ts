import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { RECORD_BODY_BYTES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { ResultRecord } from './record.js';

test('a body that is too large to be kept costs no other body', () => {
  const record = new ResultRecord(1);
  const { Counters, Free } = MessageType;
  record.noteCall(1, Free, Status.Ok, Uint8Array.of(7));
  record.noteCall(2, Counters, Status.Ok, new Uint8Array(RECORD_BODY_BYTES_MAX + 8));
  record.noteCall(3, Free, Status.Ok, Uint8Array.of(8));
  record.executed = 3;
  expect(record.missedSince(0).map(({ bodyKept, body }) => [bodyKept, body[0]])).toEqual([
    [1, 7],
    [0, undefined],
    [1, 8],
  ]);
});

test('of many bodies the last ones are kept', () => {
  const record = new ResultRecord(1);
  const half = new Uint8Array(RECORD_BODY_BYTES_MAX / 2 - 8);
  for (let sequence = 1; sequence <= 3; sequence++) {
    record.noteCall(sequence, MessageType.Free, Status.Ok, half);
  }
  record.executed = 3;
  expect(record.missedSince(0).map(({ bodyKept }) => bodyKept)).toEqual([0, 1, 1]);
});
