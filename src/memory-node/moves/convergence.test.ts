import { describe, expect, it } from 'vitest';
import { Convergence, type Next } from './convergence.js';

const MIB = 2 ** 20;

/**
 * A region of so many bytes, copied and written to at these paces; pages are dirtied whole, in the
 * time in which nobody has to wait.
 */
function move(bytes: number, copied: number, dirtied: (ms: number) => number) {
  const convergence = new Convergence();
  let left = bytes;
  for (;;) {
    const ms = left / copied;
    const round = left;
    left = Math.min(bytes, dirtied(ms * (1 - convergence.slowing)));
    const next: Next = convergence.after(round, ms, left);
    if (next !== 'again')
      return {
        next,
        rounds: convergence.rounds,
        pauseMs: left / copied,
        slowing: convergence.slowing,
      };
  }
}

describe('a region is paused', () => {
  it('at once where nobody writes', () => {
    expect(move(1024 * MIB, MIB, () => 0)).toMatchObject({ next: 'pause', rounds: 1, pauseMs: 0 });
  });

  it('when rounds that become smaller leave little', () => {
    const { next, rounds, pauseMs } = move(1024 * MIB, MIB, (ms) => ms * 0.5 * MIB);
    expect(next).toBe('pause');
    expect(rounds).toBe(8);
    expect(pauseMs).toBeLessThanOrEqual(4);
  });

  it('after a few rounds where all of it is written to and that is not too much', () => {
    const { next, rounds, pauseMs } = move(256 * MIB, MIB, () => 256 * MIB);
    expect([next, rounds]).toEqual(['pause', 3]);
    expect(pauseMs).toBe(256);
  });

  it('never for longer than can be planned: then it is given up, after all its rounds', () => {
    expect(move(1024 * MIB, MIB, () => 1024 * MIB)).toMatchObject({ next: 'hopeless', rounds: 16 });
    expect(move(1024 * MIB, MIB, () => 1024 * MIB).slowing).toBe(0.95);
    // The same region on a quicker network.
    expect(move(1024 * MIB, 3 * MIB, () => 1024 * MIB)).toMatchObject({ next: 'pause' });
  });

  it('after those who write have been slowed, where they write quicker than it is copied', () => {
    const { next, pauseMs, slowing } = move(1024 * MIB, MIB, (ms) => ms * 2 * MIB);
    expect([next, slowing]).toEqual(['pause', 0.8]);
    expect(pauseMs).toBeLessThanOrEqual(500);
  });

  it('without slowing anybody, where it can be', () => {
    expect(move(1024 * MIB, MIB, (ms) => ms * 0.7 * MIB)).toMatchObject({ slowing: 0 });
    expect(move(256 * MIB, MIB, () => 256 * MIB)).toMatchObject({ slowing: 0 });
  });

  it('where no clock tells how long a round took', () => {
    expect(new Convergence().after(0, 0, MIB)).toBe('pause');
  });
});
