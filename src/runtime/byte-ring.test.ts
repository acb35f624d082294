import { expect, test, vi } from 'vitest';
import { Prng } from '../base/prng.js';
import { BYTE_RING_BYTES, BYTE_RING_WORDS, ByteRingReader, ByteRingWriter } from './byte-ring.js';
import type { Bytes } from './network.js';

const [TAIL, HEAD] = [0, 16];

function bytesOf(buffer: ArrayBuffer): Bytes {
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

/** Both ends over one memory, with the positions beginning at `at`. */
function ring(at = 0) {
  const words = new Int32Array(BYTE_RING_WORDS);
  words[TAIL] = at;
  words[HEAD] = at;
  const twice = bytesOf(new ArrayBuffer(2 * BYTE_RING_BYTES));
  const once = bytesOf(new ArrayBuffer(BYTE_RING_BYTES));
  const writer = new ByteRingWriter(words, 0, twice);
  const copy = (target: Uint8Array, to: number, source: Uint8Array, from: number, n: number) =>
    target.set(source.subarray(from, from + n), to);
  const reader = new ByteRingReader(words, 0, once, copy);
  /** What the doubled mapping does by itself. */
  const mirror = (place: number, bytes: number): void => {
    for (let i = place; i < place + bytes; i++) {
      once.bytes[i % BYTE_RING_BYTES] = twice.bytes[i] as number;
    }
  };
  const write = (content: Uint8Array): boolean => {
    const place = writer.reserve(content.length);
    if (place < 0) return false;
    twice.bytes.set(content, place);
    mirror(place, content.length);
    writer.commit(content.length);
    return true;
  };
  return { words, writer, reader, write };
}

test('bytes of all sizes come through, over the edge of the ring and of the counters', () => {
  const { writer, reader, write } = ring(-3 * BYTE_RING_BYTES);
  const prng = new Prng(5);
  const input = bytesOf(new ArrayBuffer(BYTE_RING_BYTES + 64));
  let sent = 0;
  let received = 0;
  while (sent < 8 * BYTE_RING_BYTES) {
    const bytes = 8 * prng.between(1, prng.below(3) === 0 ? 20_000 : 30);
    const content = Uint8Array.from({ length: bytes }, (_, i) => (sent + i) % 251);
    if (write(content)) sent += bytes;
    if (prng.below(3) > 0) writer.publish();
    const start = prng.below(9);
    const taken = reader.take(input, start, prng.between(8, 40_000));
    for (let i = 0; i < taken; i++) {
      if (input.bytes[start + i] !== (received + i) % 251) throw new Error(`at ${received + i}`);
    }
    received += taken;
  }
  expect(received).toBeGreaterThan(6 * BYTE_RING_BYTES);
  expect(writer.broken || reader.broken).toBe(false);
});

test('a full ring refuses until enough was taken; nothing is shown before it is published', () => {
  const { writer, reader, write } = ring(16);
  const input = bytesOf(new ArrayBuffer(BYTE_RING_BYTES));
  const quarter = new Uint8Array(BYTE_RING_BYTES / 4);
  for (let i = 0; i < 4; i++) expect(write(quarter)).toBe(true);
  expect(writer.reserve(8)).toBe(-1);
  expect(writer.pending).toBe(BYTE_RING_BYTES);
  expect(reader.waiting()).toBe(0);
  writer.publish();
  expect(writer.pending).toBe(0);
  expect(reader.take(input, 0, 64)).toBe(64);
  expect(write(new Uint8Array(72))).toBe(false);
  expect(write(new Uint8Array(64))).toBe(true);
  expect(writer.isHalfFree).toBe(false);
});

test('who sleeps is woken once, a writer only when half is free', () => {
  const { writer, reader, write } = ring();
  const input = bytesOf(new ArrayBuffer(BYTE_RING_BYTES));
  const eight = new Uint8Array(8);
  write(eight);
  // Until it is used the first time a reader counts as asleep.
  expect(writer.publish()).toBe(true);
  write(eight);
  expect(writer.publish()).toBe(false);
  expect(reader.sleep()).toBe(false);
  reader.take(input, 0, 16);
  expect(reader.sleep()).toBe(true);
  while (write(new Uint8Array(BYTE_RING_BYTES / 8)));
  expect(writer.publish()).toBe(true);
  expect(writer.sleep()).toBe(true);
  reader.take(input, 0, BYTE_RING_BYTES / 8);
  expect(reader.wakesWriter()).toBe(false);
  reader.take(input, 0, BYTE_RING_BYTES);
  expect(reader.wakesWriter()).toBe(true);
  expect(reader.wakesWriter()).toBe(false);
  expect(writer.sleep()).toBe(false);
});

/** Runs `act` with `between` called once, before the access of shared words with this number. */
function interrupted<T>(number: number, act: () => T, between: () => void): T {
  let accesses = 0;
  const real = { load: Atomics.load, store: Atomics.store, exchange: Atomics.exchange };
  const before = <F>(f: F): F =>
    ((...args: unknown[]) => {
      if (accesses++ === number) between();
      return (f as (...args: unknown[]) => unknown)(...args);
    }) as F;
  vi.spyOn(Atomics, 'load').mockImplementation(before(real.load) as typeof Atomics.load);
  vi.spyOn(Atomics, 'store').mockImplementation(before(real.store) as typeof Atomics.store);
  vi.spyOn(Atomics, 'exchange').mockImplementation(
    before(real.exchange) as typeof Atomics.exchange,
  );
  try {
    return act();
  } finally {
    vi.restoreAllMocks();
  }
}

test('whatever comes in between, a reader sees the bytes or is woken', () => {
  for (let number = 0; number < 5; number++) {
    const first = ring();
    first.reader.wake();
    first.write(new Uint8Array(8));
    let rings = false;
    const sleeps = interrupted(
      number,
      () => first.reader.sleep(),
      () => (rings = first.writer.publish()),
    );
    rings ||= first.writer.publish();
    expect(sleeps && !rings, `publishing before access ${number} of going to sleep`).toBe(false);

    const second = ring();
    second.reader.wake();
    second.write(new Uint8Array(8));
    let asleep = false;
    const woken = interrupted(
      number,
      () => second.writer.publish(),
      () => (asleep = second.reader.sleep()),
    );
    expect(asleep && !woken, `going to sleep before access ${number} of publishing`).toBe(false);
  }
});

test('whatever comes in between, a writer sees the room or is woken', () => {
  const full = () => {
    const made = ring();
    while (made.write(new Uint8Array(BYTE_RING_BYTES / 8)));
    made.writer.publish();
    const input = bytesOf(new ArrayBuffer(BYTE_RING_BYTES));
    const free = () => {
      made.reader.take(input, 0, BYTE_RING_BYTES);
      return made.reader.wakesWriter();
    };
    return { ...made, free };
  };
  for (let number = 0; number < 6; number++) {
    const first = full();
    let rings = false;
    const sleeps = interrupted(
      number,
      () => first.writer.sleep(),
      () => (rings = first.free()),
    );
    rings ||= first.free();
    expect(sleeps && !rings, `taking before access ${number} of going to sleep`).toBe(false);

    const second = full();
    let asleep = false;
    const woken = interrupted(number, second.free, () => (asleep = second.writer.sleep()));
    expect(asleep && !woken, `going to sleep before access ${number} of taking`).toBe(false);
  }
});

test.each([8 - 2 * BYTE_RING_BYTES, -8, 4, BYTE_RING_BYTES + 8, 2 ** 31 - 8])(
  'a tail moved by %s is impossible, and breaks the reader for good',
  (by) => {
    const { words, reader, writer, write } = ring(1024);
    const input = bytesOf(new ArrayBuffer(BYTE_RING_BYTES));
    words[TAIL] = 1024 + by;
    expect(reader.waiting()).toBe(0);
    expect(reader.take(input, 0, 4096)).toBe(0);
    expect(reader.broken).toBe(true);
    // It goes on looking awake, so that somebody notices.
    expect(reader.sleep()).toBe(false);
    write(new Uint8Array(8));
    writer.publish();
    expect(reader.take(input, 0, 4096)).toBe(0);
  },
);

test.each([-8, 3, 72, BYTE_RING_BYTES, 2 ** 31 - 8])(
  'a head moved by %s is impossible, and breaks the writer for good',
  (by) => {
    const { words, writer, write } = ring(1024);
    write(new Uint8Array(64));
    writer.publish();
    words[HEAD] = 1024 + by;
    expect(writer.room()).toBe(0);
    expect(writer.broken).toBe(true);
    expect(writer.sleep()).toBe(false);
  },
);
