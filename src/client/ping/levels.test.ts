import { expect, test } from 'vitest';
import { newMeasured, type PingRow, quantile, rowsOf } from './levels.js';

const times = (us: number) => ({
  requests: 100,
  meanUs: { check: us, record: 0, translate: us, access: us, reply: us, send: us },
});

function measured() {
  const made = newMeasured();
  for (let i = 0; i < 100; i++) {
    made.read.ms.push(0.09 + i / 100_000);
    made.call.ms.push(0.2);
    made.worker.ms.push(0.05);
  }
  return made;
}

const rowOf = (rows: readonly PingRow[], level: string, station: string) =>
  rows.find((row) => row.level === level && row.station === station);

test('over datagrams the network is measured, and the library is a difference', () => {
  const made = measured();
  for (let i = 0; i < 100; i++) {
    made.ping.ms.push(0.05);
    made.pingNetwork.ms.push(0.04);
    made.pingNode.ms.push(0.01);
    made.bareRead.ms.push(0.06);
    made.readNetwork.ms.push(0.045);
    made.readNode.ms.push(0.015);
  }
  made.ping.lost = 3;
  const rows = rowsOf({ ...made, nodeRead: times(2), nodePing: times(1) });
  expect(rowOf(rows, 'network', 'total')).toMatchObject({ how: 'measured', p50Us: 50, lost: 3 });
  expect(rowOf(rows, 'network', 'network, out and back')).toMatchObject({ how: 'measured' });
  expect(rowOf(rows, 'fast', 'total')).toMatchObject({ minUs: 90, p50Us: 90.5, p99Us: 90.99 });
  expect(rowOf(rows, 'fast', 'client library')).toMatchObject({ how: 'difference', p50Us: 30.5 });
  expect(rowOf(rows, 'fast', 'node: translate')).toMatchObject({ how: 'mean', p50Us: 2 });
  // Reads have no record: a station at which nothing was spent is no row.
  expect(rowOf(rows, 'fast', 'node: record')).toBeUndefined();
  expect(rowOf(rows, 'slow', 'network, library and node')).toMatchObject({ p50Us: 150 });
});

test('over streams the stopwatch says what is the network, if the difference says anything', () => {
  const made = measured();
  made.ping.ms.push(0.05);
  const rows = rowsOf({ ...made, nodePing: times(2), nodeRead: times(2) });
  const network = rowOf(rows, 'network', 'network, out and back');
  expect(network).toMatchObject({ how: 'difference', p50Us: 40 });
  expect(rowOf(rows, 'network', 'node')).toMatchObject({ how: 'mean', p50Us: 10 });
  const slow = rowsOf({ ...made, nodePing: times(20), nodeRead: times(20) });
  expect(rowOf(slow, 'network', 'network, out and back')?.p50Us).toBeUndefined();
});

test('what was never answered is a row without times, what was not tried is none', () => {
  const made = newMeasured();
  made.ping.lost = 9;
  const row = { level: 'network', station: 'total', how: 'measured', samples: 0, lost: 9 };
  expect(rowsOf(made)).toEqual([row]);
});

test('quantiles are of the samples themselves', () => {
  expect(quantile([3, 1, 2], 0)).toBe(1);
  expect(quantile([3, 1, 2], 0.5)).toBe(2);
  expect(quantile([3, 1, 2], 0.99)).toBe(3);
  expect(quantile([7], 0.5)).toBe(7);
});
