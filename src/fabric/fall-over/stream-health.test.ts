import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { OVERDUE_MS, StreamHealth } from './stream-health.js';

class Stream {
  nowMs = 1000;
  losses = 0;
  silentMs = 0;
  pings = 0;
  readonly health = new StreamHealth(this, () => this.nowMs);

  overdueMs(): number {
    return this.silentMs;
  }

  add(): number {
    this.pings++;
    return 0;
  }

  /** Looks every 20 ms for so long, each ping being answered at once; when it was well first. */
  wellAfter(forMs: number, status: Status = Status.Ok): number | undefined {
    const start = this.nowMs;
    for (; this.nowMs - start <= forMs; this.nowMs += 20) {
      const before = this.pings;
      this.health.ping(this.nowMs);
      if (this.pings > before) this.health.completed(0, status);
      if (this.health.isWell(this.nowMs)) return this.nowMs - start;
    }
    return undefined;
  }
}

test('a stream fails when answers are overdue, or when it is lost again and again', () => {
  const stream = new Stream();
  expect(stream.health.isFailing(stream.nowMs)).toBe(false);
  stream.silentMs = OVERDUE_MS + 1;
  expect(stream.health.isFailing(stream.nowMs)).toBe(true);
  stream.silentMs = 0;
  const fails = [1, 2, 3].map((losses) => {
    stream.losses = losses;
    stream.nowMs += 500;
    return stream.health.isFailing(stream.nowMs);
  });
  expect(fails).toEqual([false, false, true]);
  stream.nowMs += 3_000;
  expect(stream.health.isFailing(stream.nowMs)).toBe(false);
});

test('it is used again when it has answered for a while, each time longer if it fails soon', () => {
  const stream = new Stream();
  const holds: (number | undefined)[] = [];
  for (let i = 0; i < 7; i++) {
    stream.health.left(stream.nowMs);
    holds.push(stream.wellAfter(60_000));
    stream.health.back(stream.nowMs);
    stream.nowMs += 1_000;
  }
  expect(holds).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  stream.nowMs += 60_000;
  stream.health.left(stream.nowMs);
  expect(stream.wellAfter(60_000)).toBe(1_000);
});

test('a ping that fails, a loss or silence begin the while anew', () => {
  const stream = new Stream();
  stream.health.left(stream.nowMs);
  expect(stream.wellAfter(5_000, Status.Unavailable)).toBeUndefined();
  expect(stream.wellAfter(900)).toBeUndefined();
  stream.losses++;
  expect(stream.wellAfter(900)).toBeUndefined();
  const asked = stream.nowMs;
  stream.silentMs = OVERDUE_MS + 1;
  stream.health.ping(stream.nowMs);
  expect(stream.health.hasAnsweredSince(asked - 500)).toBe(false);
  stream.silentMs = 0;
  expect(stream.wellAfter(5_000)).toBeGreaterThanOrEqual(1_000);
  expect(stream.health.hasAnsweredSince(asked)).toBe(true);
});
