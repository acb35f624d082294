import { expect, test } from 'vitest';
import { RingReader, RingWriter, ringBytes } from './ring.js';

const options = { records: 4, recordWords: 2 };

function pair(startAt = 0) {
  const shared = new SharedArrayBuffer(64 + ringBytes(options));
  // Both counters stand where a long-lived ring's would.
  const words = new Int32Array(shared, 64);
  words[0] = startAt;
  words[16] = startAt;
  let woken = 0;
  const writer = new RingWriter(shared, 64, options, () => woken++);
  const reader = new RingReader(shared, 64, options);
  return { writer, reader, woken: () => woken };
}

test('keeps order and refuses what does not fit', () => {
  const { writer, reader } = pair();
  const record = new Int32Array(2);
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) expect(writer.submit(Int32Array.of(round, i))).toBe(true);
    expect(writer.submit(record)).toBe(false);
    expect(writer.room()).toBe(0);
    expect(reader.waiting()).toBe(4);
    for (let i = 0; i < 4; i++) {
      expect(reader.take(record)).toBe(true);
      expect([...record]).toEqual([round, i]);
    }
    expect(reader.take(record)).toBe(false);
    expect(writer.room()).toBe(4);
  }
});

test('the counters may wrap', () => {
  const { writer, reader } = pair(0x7ffffffe);
  const record = new Int32Array(2);
  for (let i = 0; i < 20; i++) {
    expect(writer.submit(Int32Array.of(i, 0))).toBe(true);
    expect(reader.take(record)).toBe(true);
    expect(record[0]).toBe(i);
  }
});

test('only a sleeping consumer is woken, and it never sleeps beside a record', () => {
  const { writer, reader, woken } = pair();
  writer.submit(Int32Array.of(1, 2));
  writer.ring();
  expect(woken()).toBe(0);
  expect(reader.markAsleep()).toBe(false);
  reader.take(new Int32Array(2));
  expect(reader.markAsleep()).toBe(true);
  writer.submit(Int32Array.of(3, 4));
  writer.ring();
  expect(woken()).toBe(1);
  reader.markAwake();
  writer.ring();
  expect(woken()).toBe(1);
});
