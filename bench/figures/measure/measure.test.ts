import { describe, expect, it } from 'vitest';
import { Curves } from './curves.js';
import { loneLatencies, median, p99, pacedLatencies, scattered } from './latency.js';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('latencies', () => {
  it('counts an operation that was held up from when it was due', async () => {
    // Due every millisecond; the third one stands still for 40 of them.
    const latencies = await pacedLatencies(100, 1000, (i) =>
      i === 2 ? pause(40) : Promise.resolve(),
    );
    // Had they counted from their start, as a closed loop counts, they would have taken a moment.
    expect(latencies[3]).toBeGreaterThan(30_000);
    expect(latencies[20]).toBeGreaterThan(10_000);
    expect(latencies[20]).toBeLessThan(latencies[3] as number);
  });

  it('gives up pacing what cannot be paced, and counts what never began', async () => {
    let done = 0;
    const latencies = await pacedLatencies(50, 1000, () => {
      done += 1;
      return pause(20);
    });
    expect(done).toBeLessThan(50);
    expect(latencies.length).toBe(50);
    expect(latencies[49]).toBeGreaterThan(40_000);
  });

  it('sorts those of lone operations, as many as were asked for or fit into a turn', async () => {
    const all = await loneLatencies(20, () => Promise.resolve());
    expect(all.length).toBe(20);
    expect([...all]).toEqual([...all].sort((a, b) => a - b));
    const some = await loneLatencies(1000, () => pause(15));
    expect(some.length).toBeGreaterThan(0);
    expect(some.length).toBeLessThan(1000);
  });

  it('takes medians and the hundredth from above', () => {
    const sorted = Float64Array.from({ length: 1000 }, (_, i) => i);
    expect([median(sorted), p99(sorted)]).toEqual([500, 990]);
  });

  it('scatters places the same way each time, over all of them', () => {
    const [one, other] = [scattered(), scattered()];
    const drawn = Array.from({ length: 4000 }, () => one(16));
    expect(drawn).toEqual(Array.from({ length: 4000 }, () => other(16)));
    expect(new Set(drawn).size).toBe(16);
  });
});

describe('curves', () => {
  it('are medians of rounds with their spread, x rising', () => {
    const curves = new Curves('4.4');
    for (const [x, value] of [
      [10, 7],
      [1, 5],
      [10, 9],
      [1, 6],
      [10, 8],
      [1, 4],
    ] as const) {
      curves.add('read', 'a', x, value);
    }
    curves.add('write', 'a', 1, 1);
    const [read, write] = curves.series('why');
    expect(read).toEqual({
      figure: '4.4',
      panel: 'read',
      system: 'a',
      kind: 'measured',
      x: [1, 10],
      y: [5, 8],
      yLow: [4, 7],
      yHigh: [6, 9],
      xUnit: 'processes',
      yUnit: 'us',
      note: 'why',
    });
    expect(write?.panel).toBe('write');
  });

  it('refuses a panel that the figure does not have', () => {
    const curves = new Curves('4.4');
    curves.add('atomics', 'a', 1, 1);
    expect(() => curves.series('')).toThrow('no panel atomics');
  });
});
