import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { DeviceReport } from '../wire/messages.js';
import { DeviceCounters, READ, WRITE } from './device-counters.js';

const sum = (counts: readonly { readonly count: number }[]): number =>
  counts.reduce((all, { count }) => all + count, 0);
const NOW = { device: undefined, epoch: 0, waiting: 3 };

test('what ended is counted by its kind, with the time that it took', () => {
  const counters = new DeviceCounters();
  counters.ended(READ, Status.Ok, 4096, 0.5);
  counters.ended(READ, Status.Unavailable, 4096, 60_000);
  counters.ended(WRITE, Status.Ok, 512, 0);
  counters.slabs.copiesMade += 1;
  const report = counters.report(7, NOW);
  expect(report).toMatchObject({
    ...{ device: 7, reads: 1, bytesRead: 4096, readErrors: 1, writes: 1, bytesWritten: 512 },
    ...{ writeErrors: 0, readUs: 60_000_500, copiesMade: 1, copiesLost: 0, waiting: 3, epoch: 0 },
  });
  // 512 us is the first bound that is not below; a minute is above all of them.
  expect(report.readTimes[7]).toEqual({ count: 1 });
  expect(report.readTimes.at(-1)).toEqual({ count: 1 });
  expect(report.writeTimes[0]).toEqual({ count: 1 });
  expect(DeviceReport.invalid(report)).toBeNull();
});

test('of what is done at once one in 64 is timed, and counts for all of them', () => {
  const counters = new DeviceCounters();
  let timed = 0;
  for (let i = 0; i < 640; i++) {
    const isTimed = counters.isTimed(WRITE);
    if (isTimed) timed += 1;
    counters.doneAtOnce(WRITE, 512, isTimed ? 0.01 : -1);
  }
  const report = counters.report(1, NOW);
  expect([timed, report.writes, sum(report.writeTimes)]).toEqual([10, 640, 640]);
  expect([report.bytesWritten, report.writeUs]).toEqual([640 * 512, 6400]);
});
