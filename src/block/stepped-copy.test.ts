import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { BackgroundWindow, STEP_BYTES_MIN } from '../fabric/background-window.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { SteppedCopy } from './stepped-copy.js';

const PIECE = 16 * STEP_BYTES_MIN;

/** Steps are answered by hand, in the order in which they were asked for. */
function rigOf() {
  const clock = { ms: 0, now: () => clock.ms };
  const asked: { at: number; start: number; bytes: number; end(status: Status): void }[] = [];
  const deadlines: number[] = [];
  const ask = (
    at: number,
    _buffer: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void => {
    const end = (status: Status): void => sink.completed(token, status, outcomeOf(status), 0, 0);
    asked.push({ at, start, bytes, end });
    deadlines.push(deadline);
  };
  const now = { readNow: () => NOT_NOW, writeNow: () => NOT_NOW, mayWriteNow: () => false };
  const copy = { id: 1, failed: () => undefined, ...now };
  const window = new BackgroundWindow(clock);
  const stepped = new SteppedCopy({ ...copy, read: ask, write: ask }, window, clock);
  const ends: [number, Status][] = [];
  const sink = { completed: (token: number, status: Status) => ends.push([token, status]) };
  const answer = async (ms: number, status: Status = Status.Ok): Promise<void> => {
    clock.ms += ms;
    asked.shift()?.end(status);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, asked, deadlines, window, stepped, ends, sink, answer };
}

test('a piece is moved as a whole, a step at a time, and told once', async () => {
  const { stepped, asked, ends, sink, answer } = rigOf();
  stepped.read(4 * PIECE, new Uint8Array(2 * PIECE), PIECE, PIECE, sink, 7, 1_000);
  let next = 0;
  while (ends.length === 0) {
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ at: 4 * PIECE + next, start: PIECE + next });
    next += asked[0]?.bytes ?? 0;
    await answer(1);
  }
  expect([next, ends]).toEqual([PIECE, [[7, Status.Ok]]]);
});

test('a step that fails ends it, and the next one has its turn', async () => {
  const { stepped, asked, ends, sink, answer } = rigOf();
  const bytes = new Uint8Array(PIECE);
  stepped.write(0, bytes, 0, PIECE, sink, 1, 1_000);
  stepped.write(0, bytes, 0, PIECE, sink, 2, 1_000);
  expect(asked).toHaveLength(1);
  await answer(1, Status.OutcomeUnknown);
  expect(ends).toEqual([[1, Status.OutcomeUnknown]]);
  expect(asked).toHaveLength(1);
});

test('who waits for a turn has as long as anybody when it comes', async () => {
  const { stepped, deadlines, sink, answer } = rigOf();
  const bytes = new Uint8Array(STEP_BYTES_MIN);
  stepped.read(0, bytes, 0, STEP_BYTES_MIN, sink, 1, 1_000);
  stepped.read(0, bytes, 0, STEP_BYTES_MIN, sink, 2, 1_000);
  await answer(5_000, Status.Timeout);
  expect(deadlines).toEqual([1_000, 6_000]);
});

test('the window grows while steps are fast, halves when they are slow, and forgets', async () => {
  const { stepped, window, asked, sink, answer, clock } = rigOf();
  const bytes = new Uint8Array(PIECE);
  const move = async (steps: number, ms: number): Promise<void> => {
    for (let i = 0; i < steps; i++) {
      if (asked.length === 0) stepped.read(0, bytes, 0, PIECE, sink, 0, 1_000);
      await answer(ms);
    }
  };
  await move(200, 1);
  const grown = window.bytes;
  expect(grown).toBeGreaterThan(8 * STEP_BYTES_MIN);
  await move(1, 4);
  expect(window.bytes).toBe(grown / 2);
  await move(20, 4);
  expect(window.bytes).toBeLessThan(STEP_BYTES_MIN + 256);
  clock.ms += 20_000;
  await move(30, 4);
  expect(window.bytes).toBeGreaterThan(2 * STEP_BYTES_MIN);
});

test('however slow all is a least rate stays', async () => {
  const { stepped, window, asked, sink, answer } = rigOf();
  const bytes = new Uint8Array(PIECE);
  for (let i = 0; i < 2_000; i++) {
    if (asked.length === 0) stepped.read(0, bytes, 0, PIECE, sink, 0, 1_000);
    await answer(i < 5 ? 0.1 : 50);
  }
  expect(window.bytes / 50).toBeGreaterThan(500);
});
