import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { MiB } from '../../base/units.js';
import { CongestionWindow, ExpectedReplies } from './congestion.js';

const UNIT = 1000;
const RTT = 2;

class Rig {
  now = 0;
  readonly window: CongestionWindow;

  constructor(windowBytesMax?: number, fraction = 0.5) {
    const more = windowBytesMax === undefined ? {} : { windowBytesMax };
    this.window = new CongestionWindow({ fraction: () => fraction, datagramBytes: UNIT, ...more });
  }

  get datagrams(): number {
    return this.window.window / UNIT;
  }

  /** Sends all that may be sent at once. */
  send(): number {
    let count = 0;
    for (; this.window.mayTake(UNIT, this.now); count++) this.window.sent(UNIT, this.now);
    return count;
  }

  /** One round: what may be sent is sent; of it `lost` are lost, the others take `ms`. */
  round(ms = RTT, lost = 0): number {
    this.now += Math.max(0, this.window.waitMs(this.now));
    const sentAt = this.now;
    const count = this.send();
    this.now += ms;
    for (let i = 0; i < count; i++) {
      if (i < lost) this.window.lost(UNIT, this.now, sentAt);
      else {
        this.window.delay(this.now - sentAt, 0, this.now, this.now);
        this.window.ended(UNIT, this.now);
      }
    }
    return count;
  }

  rounds(count: number, ms = RTT): void {
    for (let i = 0; i < count; i++) this.round(ms);
  }
}

test('doubles each round until the first delay, then grows by a datagram, up to a ceiling', () => {
  const rig = new Rig(40 * UNIT);
  expect([rig.round(), rig.round(), rig.round()]).toEqual([1, 2, 4]);
  expect([rig.round(), rig.round()]).toEqual([8, 16]);
  expect(rig.round(20)).toBe(32);
  // The queue is let run empty: 0.8 of what fills the path, at a delay ten times the best.
  expect(rig.datagrams).toBe(4);
  rig.round();
  expect(rig.datagrams).toBe(4.5);
  rig.rounds(24);
  expect(rig.datagrams).toBeGreaterThan(16);
  const before = rig.datagrams;
  rig.rounds(2);
  expect(rig.datagrams).toBe(before + 2);
  rig.rounds(100);
  expect(rig.datagrams).toBe(40);
  const plain = new Rig();
  plain.rounds(20);
  expect(plain.window.window).toBe(MiB);
});

test('of a window of 1.25 datagrams two are under way a quarter of the time', () => {
  const prng = new Prng(1);
  let two = 0;
  for (let i = 0; i < 1000; i++) {
    const window = new CongestionWindow({ fraction: () => prng.fraction(), datagramBytes: UNIT });
    window.window = 1.25 * UNIT;
    window.sent(UNIT, 0);
    if (window.mayTake(UNIT, 0)) two++;
    expect(window.waitMs(0)).toBe(Infinity);
  }
  expect(two).toBeGreaterThan(200);
  expect(two).toBeLessThan(300);
});

test('below one datagram a full one goes alone, then a pause as long as its bytes ask for', () => {
  const rig = new Rig();
  rig.rounds(2);
  while (rig.datagrams > 0.5) rig.round(50);
  rig.now += rig.window.waitMs(rig.now);
  const { window } = rig;
  window.sent(100, rig.now);
  expect(window.mayTake(600, rig.now)).toBe(false);
  expect(window.mayAdd(600)).toBe(true);
  window.added(600);
  expect(window.mayAdd(300)).toBe(true);
  expect(window.mayAdd(301)).toBe(false);
  const sentAt = rig.now;
  rig.now += RTT;
  window.delay(RTT, 0, rig.now, rig.now);
  const before = window.window;
  window.ended(100, rig.now);
  expect(window.waitMs(rig.now)).toBe(Number.POSITIVE_INFINITY);
  window.ended(600, rig.now);
  // One round, although it is short of a full datagram.
  expect(window.window).toBeCloseTo(before * 1.125);
  const gapMs = rig.now + window.waitMs(rig.now) - sentAt;
  expect(gapMs).toBeGreaterThan(RTT);
  expect(window.mayTake(100, sentAt + gapMs - 0.1)).toBe(false);
  expect(window.mayTake(100, sentAt + gapMs)).toBe(true);
});

test('the least delay of a round is what counts', () => {
  const rig = new Rig();
  rig.rounds(4);
  const sentAt = rig.now;
  const count = rig.send();
  for (let i = 0; i < count; i++) {
    rig.now = sentAt + RTT + i * 3;
    rig.window.delay(rig.now - sentAt, 0, rig.now, rig.now);
    rig.window.ended(UNIT, rig.now);
  }
  expect(rig.datagrams).toBe(32);
});

test('the time at the node is no delay of the network', () => {
  const rig = new Rig();
  rig.rounds(3);
  for (let i = 0; i < 3; i++) {
    const sentAt = rig.now;
    const count = rig.send();
    rig.now += 50;
    for (let j = 0; j < count; j++) {
      rig.window.delay(rig.now - sentAt, 48, rig.now, rig.now);
      rig.window.ended(UNIT, rig.now);
    }
  }
  expect([rig.datagrams, rig.window.bestMs]).toEqual([64, RTT]);
});

test('one lost datagram does not shrink it, a twentieth does, silence halves it', () => {
  const rig = new Rig(64 * UNIT);
  rig.rounds(6);
  expect(rig.datagrams).toBe(64);
  rig.round(RTT, 1);
  rig.round(RTT, 2);
  expect(rig.datagrams).toBe(64);
  rig.round(RTT, 4);
  expect(rig.datagrams).toBeCloseTo(44.8);
  rig.round(RTT, Infinity);
  expect(rig.datagrams).toBeCloseTo(22.4);
  rig.round(RTT, Infinity);
  expect(rig.datagrams).toBeCloseTo(11.2);
  // Half of what there was before the silence is regained by doubling.
  rig.round();
  expect(rig.datagrams).toBeCloseTo(22.2);
  rig.round();
  expect(rig.datagrams).toBeCloseTo(22.4);
  rig.round();
  expect(rig.datagrams).toBeCloseTo(23.4, 1);
});

test('loss alone leaves two datagrams, whatever the network loses', () => {
  const rig = new Rig(64 * UNIT);
  rig.rounds(6);
  for (let i = 0; i < 300; i++) {
    rig.round(RTT, Math.ceil(rig.datagrams / 4));
    if (i > 50) expect(rig.datagrams).toBeLessThan(6);
    expect(rig.datagrams).toBeGreaterThanOrEqual(2);
  }
});

test('a long delay now and then does not keep a few datagrams from growing', () => {
  const rig = new Rig();
  rig.rounds(1);
  while (rig.datagrams > 1) rig.round(100);
  const before = rig.datagrams;
  for (let i = 0; i < 5; i++) {
    rig.round(20);
    rig.rounds(9);
  }
  expect(rig.datagrams).toBeGreaterThan(2 * before);
});

test('an operation at a time that is lost now and then keeps its window', () => {
  const rig = new Rig();
  rig.rounds(6);
  for (let i = 0; i < 1000; i++) {
    rig.window.sent(100, rig.now);
    rig.now += RTT;
    if (i % 100 === 50) rig.window.lost(100, rig.now);
    else {
      rig.window.delay(RTT, 0, rig.now, rig.now);
      rig.window.ended(100, rig.now);
    }
  }
  // It was not in use either: no reason to grow.
  expect(rig.datagrams).toBe(64);
});

test('shrinks once for what was sent before it shrank, however late its loss is noticed', () => {
  const rig = new Rig(64 * UNIT);
  rig.rounds(6);
  const { window } = rig;
  const sentAt = rig.now;
  expect(rig.send()).toBe(64);
  rig.now += RTT;
  window.delay(RTT, 0, rig.now, rig.now);
  for (let i = 0; i < 54; i++) window.ended(UNIT, rig.now);
  for (let i = 0; i < 4; i++) window.lost(UNIT, rig.now, sentAt);
  expect(rig.send()).toBe(58);
  for (let i = 0; i < 6; i++) window.ended(UNIT, rig.now);
  expect(rig.datagrams).toBeCloseTo(44.8);
  // Six of the first ones are still open, and 52 of the others.
  rig.now += 5;
  for (let i = 0; i < 6; i++) window.lost(UNIT, rig.now, sentAt);
  for (let i = 0; i < 52; i++) window.ended(UNIT, rig.now);
  expect(window.underWay).toBe(0);
  expect(rig.datagrams).toBeCloseTo(44.8);
});

test('below one datagram: an eighth up, 0.7 down, each paced with jitter', () => {
  const gaps = [0, 0.5, 1 - 1e-9].map((fraction) => {
    const rig = new Rig(undefined, fraction);
    rig.rounds(1);
    for (let i = 0; rig.datagrams > 0.5; i++) {
      expect(i).toBeLessThan(100);
      rig.round(100);
    }
    const before = rig.datagrams;
    expect(rig.round(100)).toBe(1);
    expect(rig.datagrams).toBeCloseTo(before * 0.7);
    rig.round();
    const { window } = rig;
    expect(rig.datagrams).toBeCloseTo(before * 0.7 * 1.125);
    rig.now += window.waitMs(rig.now);
    window.sent(UNIT, rig.now);
    expect([window.mayTake(1, rig.now), window.waitMs(rig.now)]).toEqual([false, Infinity]);
    rig.now += RTT;
    window.delay(RTT, 0, rig.now, rig.now);
    window.ended(UNIT, rig.now);
    const wait = window.waitMs(rig.now);
    expect(window.mayTake(UNIT, rig.now)).toBe(false);
    expect(window.mayTake(UNIT, rig.now + 0.99 * wait)).toBe(false);
    expect(window.mayTake(UNIT, rig.now + wait)).toBe(true);
    return RTT + wait;
  });
  const [short, plain, long] = gaps as [number, number, number];
  // The datagram is larger than what is left of the window, which is below a half.
  expect(plain).toBeGreaterThan(2 * RTT);
  expect(short / plain).toBeCloseTo(0.75);
  expect(long / plain).toBeCloseTo(1.25);
});

test('has a floor, and never waits for more than a second', () => {
  const waits = [0.5, 1 - 1e-9].map((fraction) => {
    const rig = new Rig(undefined, fraction);
    rig.rounds(1);
    for (let i = 0; rig.datagrams > 1 / 256; i++) {
      expect(i).toBeLessThan(60);
      rig.round(100);
    }
    rig.round(30);
    expect(rig.datagrams).toBe(1 / 256);
    const wait = rig.window.waitMs(rig.now);
    // And it comes back.
    for (let i = 0; i < 100; i++) rig.round();
    expect(rig.datagrams).toBeGreaterThan(8);
    return wait;
  });
  expect(waits[0]).toBeCloseTo(770);
  expect(waits[1]).toBeCloseTo(970);
});

test('a path that has become longer is the best one there is after 20 s', () => {
  const rig = new Rig(64 * UNIT);
  rig.rounds(10);
  while (rig.now < 25_000) rig.round(40);
  expect(rig.window.bestMs).toBe(40);
  rig.rounds(200, 40);
  expect(rig.datagrams).toBe(64);
  rig.round(1);
  expect(rig.window.bestMs).toBe(1);
});

test('expected replies: limited, but one alone may be asked for always', () => {
  const replies = new ExpectedReplies(1000);
  expect(replies.mayTake(5000)).toBe(true);
  replies.expected(600);
  expect([replies.mayTake(400), replies.mayTake(401)]).toEqual([true, false]);
  replies.ended(600);
  expect(replies.mayTake(5000)).toBe(true);
  expect(() => replies.ended(1)).toThrow('more replies');
});

test('whatever happens, it stays in its bounds and time or an answer opens it', () => {
  const prng = new Prng(7);
  const fraction = (): number => prng.fraction();
  for (let run = 0; run < 10; run++) {
    const window = new CongestionWindow({ fraction, datagramBytes: UNIT });
    const open: number[] = [];
    let now = 0;
    for (let step = 0; step < 3000; step++) {
      const bytes = 1 + prng.below(2 * UNIT);
      // A pause of all may begin while it waits for the next.
      for (let i = 0; i < 3 && open.length === 0; i++) now += window.waitMs(now);
      if (window.mayTake(bytes, now)) {
        window.sent(bytes, now);
        open.push(bytes);
      } else {
        expect(open.length).toBeGreaterThan(0);
      }
      now += prng.fraction() * (run % 3 === 0 ? 20 : 1);
      if (open.length === 0 || prng.below(2) === 0) continue;
      const ended = open.splice(prng.below(open.length), 1)[0] as number;
      const fate = prng.below(8 + (run % 5));
      if (fate === 0) window.lost(ended, now, now - prng.fraction() * 10);
      else if (fate === 1) window.dropped(ended, now);
      else {
        window.delay(prng.fraction() * 30, prng.fraction() * 5, now, prng.below(1e6));
        window.ended(ended, now);
      }
      expect(window.window).toBeGreaterThanOrEqual(UNIT / 256);
      expect(window.window).toBeLessThanOrEqual(MiB);
      expect(window.underWay).toBe(open.reduce((sum, one) => sum + one, 0));
    }
  }
});
