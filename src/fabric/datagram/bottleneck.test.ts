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
    const network = settled(options, 4000, 3000);
    const late = network.senders[others] as Sender;
    expect(late.goodput).toBeGreaterThan(0);
    expect(share(network, late), `beside ${others}`).toBeGreaterThan(0.8);
    expect(share(network, late), `beside ${others}`).toBeLessThan(1.25);
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
  const options = { senders: 8, bytesPerMs: 10 * MB_PER_S, baseMs: 0.2, bufferBytes: 15_000 };
  const network = settled(options, 2000, 5000);
  expect(network.overflows).toBeGreaterThan(0);
  expect(network.utilization).toBeGreaterThan(0.9);
  expect(network.fairness()).toBeGreaterThan(0.95);
});
