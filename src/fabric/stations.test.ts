import { expect, test } from 'vitest';
import { MessageType } from '../wire/messages.js';
import { Station, Stations } from './stations.js';

const { CHECK, TRANSLATE, SEND } = Station;
const [READ, WRITE, ATOMIC, PING] = [0, 1, 2, 3];

/** Reading the clock takes a microsecond; `pass` lets more go by. */
function timed() {
  let ms = 100;
  const clock = { now: () => (ms += 0.001), wall: () => 0 };
  return { stations: new Stations(clock), pass: (us: number) => (ms += us / 1000) };
}

test('nothing is measured before somebody asks for it', () => {
  const { stations } = timed();
  stations.begin();
  expect([stations.isOn, stations.clockNs]).toEqual([false, 0]);
  stations.end();
  expect(stations.requests(READ)).toBe(0);
});

test('each lap is charged to its station, without what the clock takes', () => {
  const { stations, pass } = timed();
  stations.measure(1, 1000);
  expect(stations.clockNs).toBe(1000);
  for (let i = 0; i < 3; i++) {
    stations.begin();
    pass(5);
    stations.lap(CHECK);
    pass(7);
    stations.lap(TRANSLATE);
    stations.count(MessageType.Read);
    stations.end();
  }
  expect(stations.requests(READ)).toBe(3);
  expect(stations.sumNs(READ, CHECK)).toBe(15_000);
  expect(stations.sumNs(READ, TRANSLATE)).toBe(21_000);
  expect([stations.sumNs(READ, SEND), stations.sumNs(WRITE, CHECK)]).toEqual([0, 0]);
});

test('a look at several kinds is shared out among its requests', () => {
  const { stations, pass } = timed();
  stations.measure(1, 1000);
  stations.begin();
  pass(40);
  stations.lap(SEND);
  stations.count(MessageType.Write);
  stations.count(MessageType.Write);
  stations.count(MessageType.CompareAndSwap);
  stations.count(MessageType.Ping);
  stations.end();
  const sums = [READ, WRITE, ATOMIC, PING].map((kind) => stations.sumNs(kind as number, SEND));
  expect(sums).toEqual([0, 20_000, 10_000, 10_000]);
});

test('what is dropped, or serves nobody, counts for nothing', () => {
  const { stations, pass } = timed();
  stations.measure(1, 1000);
  stations.begin();
  pass(40);
  stations.lap(CHECK);
  stations.end();
  stations.begin();
  stations.count(MessageType.Read);
  stations.drop();
  stations.end();
  expect([stations.requests(READ), stations.sumNs(READ, CHECK)]).toEqual([0, 0]);
});

test('one look in so many is measured, and none when the time is over', () => {
  const { stations, pass } = timed();
  const looks = (): boolean[] =>
    Array.from({ length: 6 }, () => {
      stations.begin();
      const { isOn } = stations;
      stations.end();
      return isOn;
    });
  stations.measure(3, 50);
  expect(looks()).toEqual([false, false, true, false, false, true]);
  pass(60_000);
  expect(looks()).toEqual([false, false, false, false, false, false]);
  stations.measure(1, 50);
  expect(looks()[0]).toBe(true);
  stations.measure(0, 0);
  expect(looks()).not.toContain(true);
});

test('where nobody asks one look in so many is timed, before and after', () => {
  let ms = 100;
  const stations = new Stations({ now: () => (ms += 0.001), wall: () => 0 }, 2);
  const look = (): void => {
    stations.begin();
    if (stations.isOn) {
      ms += 0.005;
      stations.lap(CHECK);
      stations.count(MessageType.Read);
      stations.count(MessageType.Read);
    }
    stations.end();
  };
  for (let i = 0; i < 4; i++) look();
  expect(stations.requests(READ)).toBe(4);
  stations.measure(1, 1000);
  look();
  stations.measure(0, 0);
  for (let i = 0; i < 2; i++) look();
  expect(stations.requests(READ)).toBe(8);
  // Half of the look's 5 us each: above the bounds 1 and 2, below 4.
  const { bounds, counts } = stations.service.read;
  expect([bounds[2], counts[2]]).toEqual([expect.closeTo(4e-6, 9), 8]);
  expect(stations.seconds.read.check).toBeCloseTo(20e-6, 9);
});
