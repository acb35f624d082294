import { expect, test } from 'vitest';
import { Histogram } from '../base/histogram.js';
import type { Metric } from '../base/metric.js';
import { Status } from '../base/status.js';
import { NodeMetrics } from './node-metrics.js';

const COUNTERS = {
  operations: { Read: 7 },
  refusals: {},
  bytesRead: 512,
  datagrams: {
    datagramsReceived: 9,
    partsExecuted: 4,
    partsRecorded: 3,
    nacks: 2,
    recordRows: 11,
    dropped: 1,
    malformed: { checksum: 2, tag: 0 },
  },
};

function valueOf(metrics: readonly Metric[], name: string, labels: object): number | undefined {
  const metric = metrics.find((each) => each.name === name);
  const wanted = JSON.stringify(labels);
  const found = metric?.samples.find(({ labels: given }) => JSON.stringify(given) === wanted);
  return found !== undefined && 'value' in found ? found.value : undefined;
}

test('the numbers of every node that answers, under names that are kept', async () => {
  const good = {
    id: 'a',
    ask: async () => ({ status: Status.Ok, json: JSON.stringify(COUNTERS) }),
  };
  const silent = { id: 'b', ask: async () => ({ status: Status.Timeout }) };
  const strange = { id: 'c', ask: async () => ({ status: Status.Ok, json: '{"datagrams":[' }) };
  const odd = { id: 'd', ask: async () => ({ status: Status.Ok, json: '{"bytesRead":"many"}' }) };
  const clock = { now: () => 5, wall: () => 5 };
  const metrics = await new NodeMetrics({
    clock,
    nodes: () => [good, silent, strange, odd],
  }).read();
  const answered = ['a', 'b', 'c', 'd'].map((node) =>
    valueOf(metrics, 'memrack_node_answered', { node }),
  );
  expect(answered).toEqual([1, 0, 0, 1]);
  const of = (name: string, labels = {}) =>
    valueOf(metrics, `memrack_node_${name}`, { node: 'a', ...labels });
  expect(of('operations_total', { type: 'Read' })).toBe(7);
  expect(of('read_bytes_total')).toBe(512);
  expect(of('datagrams_received_total')).toBe(9);
  expect(of('datagrams_dropped_total')).toBe(1);
  expect(of('datagram_parts_total', { outcome: 'recorded' })).toBe(3);
  expect(of('datagrams_refused_total', { reason: 'checksum' })).toBe(2);
  expect(of('datagrams_malformed_total', { kind: 'tag' })).toBe(0);
  expect(of('datagram_record_rows')).toBe(11);
  // What a node does not tell, or tells as no number, is no sample.
  expect(of('written_bytes_total')).toBeUndefined();
  expect(valueOf(metrics, 'memrack_node_read_bytes_total', { node: 'd' })).toBeUndefined();
  for (const { name, kind, help } of metrics) {
    expect(name.endsWith('_total'), name).toBe(kind === 'counter');
    expect(help).not.toBe('');
  }
});

test('histograms and sums by station, and none of a node that tells nonsense', async () => {
  const reads = new Histogram(1e-6, 4);
  reads.add(3e-6, 5);
  const service = { read: reads.counts(), write: { bounds: [1], counts: [1], sum: 1 } };
  const stationSeconds = { read: { check: 0.5, send: 1 } };
  const json = JSON.stringify({ service, stationSeconds });
  const ask = async () => ({ status: Status.Ok, json });
  const clock = { now: () => 5, wall: () => 5 };
  const metrics = await new NodeMetrics({ clock, nodes: () => [{ id: 'a', ask }] }).read();
  const histogram = metrics.find(({ kind }) => kind === 'histogram');
  expect(histogram?.name).toBe('memrack_node_service_seconds');
  expect(histogram?.samples).toEqual([{ labels: { node: 'a', kind: 'read' }, ...reads.counts() }]);
  const labels = { node: 'a', kind: 'read', station: 'send' };
  expect(valueOf(metrics, 'memrack_node_station_seconds_total', labels)).toBe(1);
});

test('of moves, lending and a disk, as far as there are any', async () => {
  const flushes = new Histogram(1, 2).counts();
  const told = {
    ...{ regionsGiven: 2, regionMovePauseSeconds: flushes, regionsGoing: 1 },
    ...{ bytesToGive: 4096, donorOn: true, donorUnmeasured: false, stalledShare: 0.25 },
    ...{ limitLowered: 3, limitRaised: 1, disk: { flushSeconds: flushes, logBytesUsed: 9 } },
  };
  const ask = (json: object) => async () => ({ status: Status.Ok, json: JSON.stringify(json) });
  const nodes = () => [
    { id: 'a', ask: ask(told) },
    { id: 'b', ask: ask({ donorOn: 'yes', disk: 7 }) },
  ];
  const metrics = await new NodeMetrics({ clock: { now: () => 5, wall: () => 5 }, nodes }).read();
  const of = (name: string, labels = {}) =>
    valueOf(metrics, `memrack_node_${name}`, { node: 'a', ...labels });
  expect(of('regions_given_total')).toBe(2);
  expect(of('regions_going')).toBe(1);
  expect(of('to_give_bytes')).toBe(4096);
  expect(of('memory_stalled_ratio')).toBe(0.25);
  expect([of('lends_with_care'), of('unmeasured')]).toEqual([1, 0]);
  expect(of('limit_changes_total', { direction: 'lowered' })).toBe(3);
  expect(of('disk_log_used_bytes')).toBe(9);
  const histograms = metrics.filter(({ kind }) => kind === 'histogram');
  expect(histograms.map(({ name, samples }) => [name, samples.length])).toEqual([
    ['memrack_node_region_move_pause_seconds', 1],
    ['memrack_node_flush_seconds', 1],
  ]);
  expect(valueOf(metrics, 'memrack_node_lends_with_care', { node: 'b' })).toBeUndefined();
});

test('who looks often asks no node again', async () => {
  let nowMs = 0;
  let asked = 0;
  const ask = async () => {
    asked++;
    return { status: Status.Ok, json: '{}' };
  };
  const clock = { now: () => nowMs, wall: () => nowMs };
  const metrics = new NodeMetrics({ clock, nodes: () => [{ id: 'a', ask }] });
  await Promise.all([metrics.read(), metrics.read()]);
  nowMs = 400;
  await metrics.read();
  expect(asked).toBe(1);
  nowMs = 2000;
  await metrics.read();
  expect(asked).toBe(2);
});
