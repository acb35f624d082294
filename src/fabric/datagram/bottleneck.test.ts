/**
 * Senders in a model of a network: what is used of it, how it is shared, how long its queue is.
 * Goodput is that of the time measured, after a while to settle.
 */
import { expect, test } from 'vitest';
import { Bottleneck, type BottleneckOptions, type Sender } from './testing/bottleneck.js';

const DATAGRAM = 1514;
const MB_PER_S = 1000;
const ROOMY = 1_000_000;

function settled(options: BottleneckOptions, settleMs: number, measuredMs: number): Bottleneck {
  const network = new Bottleneck(options);
  network.run(settleMs);
  network.measure();
  network.run(settleMs + measuredMs);
  return network;
}

/** What a sender has, as a multiple of its fair share. */
function share(network: Bottleneck, sender: Sender): number {
  const all = network.senders.reduce((sum, { goodput }) => sum + goodput, 0);
  return (sender.goodput / all) * network.senders.length;
}

test('one sender uses at least 0.9 of the path, and its queue is short', () => {
  for (const [rate, baseMs] of [
    [100, 0.2],
    [100, 5],
    [10, 1],
    [10, 10],
  ] as const) {
    const bytesPerMs = rate * MB_PER_S;
    const options = { senders: 1, bytesPerMs, baseMs, bufferBytes: ROOMY };
    const network = settled(options, 1000, 3000);
    const label = `${rate} MB/s, ${baseMs} ms`;
    expect(network.utilization, label).toBeGreaterThan(0.9);
    const allowedMs = Math.max(1, baseMs / 4);
    expect(network.queueQuantile(0.99), label).toBeLessThan(2 * allowedMs);
  }
});

test('64 senders below one datagram share a narrow path, and nothing piles up', () => {
  // A fiftieth of a datagram for each sender and round trip.
  const options = { senders: 64, bytesPerMs: 10 * MB_PER_S, baseMs: 0.2, bufferBytes: ROOMY };
  for (const seed of [1, 2, 3]) {
    const network = settled({ ...options, seed }, 2000, 10_000);
    expect(network.fairness()).toBeGreaterThan(0.98);
    expect(network.utilization).toBeGreaterThan(0.95);
    for (const { window } of network.senders) expect(window.window).toBeLessThan(DATAGRAM);
    // A datagram of each sender would be 9.7 ms.
    expect(network.queueQuantile(0.5)).toBeLessThan(3);
    expect(network.queueQuantile(0.99)).toBeLessThan(6);
    expect(network.queueQuantile(1)).toBeLessThan(9);
  }
});

/** What 64 senders have, at least, and how long the queue is, at most, in milliseconds. */
const SHARED = [
  { rate: 0.3, baseMs: 1, buffer: 64_000, settle: 15, run: 30, fair: 0.85, used: 0.65, half: 15 },
  { rate: 1, baseMs: 5, buffer: ROOMY, settle: 8, run: 20, fair: 0.93, used: 0.78, half: 8 },
  { rate: 3, baseMs: 0.05, buffer: ROOMY, settle: 6, run: 8, fair: 0.94, used: 0.88, half: 4 },
  { rate: 3, baseMs: 1, buffer: 32_000, settle: 6, run: 8, fair: 0.94, used: 0.85, half: 4 },
  { rate: 10, baseMs: 0.5, buffer: 32_000, settle: 6, run: 4, fair: 0.95, used: 0.95, half: 3 },
  { rate: 10, baseMs: 20, buffer: 256_000, settle: 6, run: 4, fair: 0.97, used: 0.93, half: 7 },
  { rate: 30, baseMs: 0.05, buffer: 256_000, settle: 6, run: 2, fair: 0.96, used: 0.97, half: 3 },
  { rate: 30, baseMs: 5, buffer: 32_000, settle: 6, run: 2, fair: 0.95, used: 0.95, half: 1.1 },
  { rate: 100, baseMs: 0.2, buffer: 256_000, settle: 3, run: 0.5, fair: 0.93, used: 0.97, half: 2 },
  { rate: 100, baseMs: 20, buffer: ROOMY, settle: 2, run: 0.5, fair: 0.95, used: 0.9, half: 6 },
] as const;

test.each(SHARED)('64 begin at once at $rate MB/s, $baseMs ms, buffer of $buffer', (path) => {
  const { rate, baseMs, buffer: bufferBytes } = path;
  for (const seed of rate < 100 ? [1, 2] : [1]) {
    const options = { senders: 64, bytesPerMs: rate * MB_PER_S, baseMs, bufferBytes, seed };
    const network = settled(options, 1000 * path.settle, 1000 * path.run);
    expect(network.fairness(), `seed ${seed}`).toBeGreaterThan(path.fair);
    expect(network.utilization, `seed ${seed}`).toBeGreaterThan(path.used);
    expect(network.queueQuantile(0.5), `seed ${seed}`).toBeLessThan(path.half);
    for (const { window } of network.senders) {
      if (rate <= 1) expect(window.window).toBeLessThan(DATAGRAM);
    }
  }
});

test('64 that begin while nothing gets through share alike soon after', () => {
  for (const seed of [1, 2, 3]) {
    const options = { senders: 64, bytesPerMs: 3 * MB_PER_S, baseMs: 0.2, bufferBytes: ROOMY };
    const network = settled({ ...options, seed, stoppedUntilMs: 80 }, 3500, 6000);
    expect(network.fairness(), `seed ${seed}`).toBeGreaterThan(0.93);
    expect(network.utilization, `seed ${seed}`).toBeGreaterThan(0.85);
  }
});

test('those that come late find the best delay, although the queue was never empty', () => {
  for (const seed of [1, 2]) {
    const startMs = (i: number): number => (i % 2 === 0 ? i : 3000 + 10 * i);
    const options = { senders: 64, bytesPerMs: 10 * MB_PER_S, baseMs: 0.2, bufferBytes: ROOMY };
    const network = settled({ ...options, startMs, seed }, 9000, 4000);
    expect(network.fairness(), `seed ${seed}`).toBeGreaterThan(0.96);
    for (const { window } of network.senders) expect(window.bestMs).toBeLessThan(1);
  }
});

test('the queue of many does not creep up: all find the best delay again and again', () => {
  const options = { senders: 8, bytesPerMs: 10 * MB_PER_S, baseMs: 0.2, bufferBytes: ROOMY };
  const network = settled(options, 60_000, 5000);
  expect(network.fairness()).toBeGreaterThan(0.98);
  expect(network.queueQuantile(0.99)).toBeLessThan(4);
  for (const { window } of network.senders) expect(window.bestMs).toBeLessThan(1);
});

test('who comes late gets its share within a second, and no more', () => {
  for (const [others, rate, baseMs] of [
    [1, 100, 0.2],
    [1, 10, 1],
    [7, 10, 1],
    [63, 10, 0.2],
  ] as const) {
    const startMs = (i: number): number => (i === others ? 3000 : i);
    const bytesPerMs = rate * MB_PER_S;
    const options = { senders: others + 1, bytesPerMs, baseMs, bufferBytes: ROOMY, startMs };
    const shares = (rate > 50 ? [1] : [1, 2, 3]).map((seed) => {
      const network = settled({ ...options, seed }, 4000, 3000);
      return share(network, network.senders[others] as Sender);
    });
    // Of one alone chance is a large part: it sends a few hundred.
    const mean = shares.reduce((sum, one) => sum + one, 0) / shares.length;
    expect(Math.min(...shares), `beside ${others}`).toBeGreaterThan(0.7);
    expect(Math.max(...shares), `beside ${others}`).toBeLessThan(1.35);
    expect(mean, `beside ${others}`).toBeGreaterThan(0.85);
    expect(mean, `beside ${others}`).toBeLessThan(1.2);
  }
});

test('loss of 1 in 100, and garbage collection, cost less than a tenth', () => {
  for (const [senders, rate, baseMs] of [
    [1, 100, 0.2],
    [1, 10, 10],
    [8, 10, 1],
    [64, 10, 0.2],
  ] as const) {
    const options = { senders, bytesPerMs: rate * MB_PER_S, baseMs, bufferBytes: ROOMY };
    const label = `${senders} senders, ${rate} MB/s, ${baseMs} ms`;
    const plain = settled(options, 1500, 2000);
    const lossy = settled({ ...options, lostPerMillion: 10_000 }, 1500, 2000);
    expect(lossy.utilization / plain.utilization, label).toBeGreaterThan(0.9);
    const noise = { noisyPerMillion: 50_000, noiseMs: 4 };
    const noisy = settled({ ...options, ...noise }, 1500, 2000);
    expect(noisy.utilization / plain.utilization, label).toBeGreaterThan(0.9);
    const both = settled({ ...options, ...noise, lostPerMillion: 10_000 }, 1500, 2000);
    expect(both.utilization / plain.utilization, label).toBeGreaterThan(0.9);
    expect(both.fairness(), label).toBeGreaterThan(0.9);
  }
});

test('a buffer that is full before the delay is too long: nobody is shut out', () => {
  for (const seed of [1, 2, 3]) {
    const options = { senders: 8, bytesPerMs: 10 * MB_PER_S, baseMs: 0.2, bufferBytes: 15_000 };
    const network = settled({ ...options, seed }, 6000, 5000);
    expect(network.overflows, `seed ${seed}`).toBeGreaterThan(0);
    expect(network.utilization, `seed ${seed}`).toBeGreaterThan(0.9);
    expect(network.fairness(), `seed ${seed}`).toBeGreaterThan(0.95);
  }
});
