import { expect, test } from 'vitest';
import { Histogram } from '../base/histogram.js';
import type { Metric } from '../base/metric.js';
import { Status } from '../base/status.js';
import { createCounters } from '../fabric/counters.js';
import { SpaceKind } from '../wire/messages.js';
import { commitMetrics, fabricMetrics, rackMetrics } from './metrics.js';
import { NODE_METRICS } from './node-metric-list.js';
import { NodeMetrics } from './node-metrics.js';
import { noteOf } from './testing/device-note.js';
import { FakeRack } from './testing/fake-rack.js';

interface Described {
  readonly name: string;
  readonly kind: string;
  readonly help: string;
  readonly labels: readonly string[];
}

const clock = { now: () => 0, wall: () => 0 };

function described({ name, kind, help, samples }: Metric): Described {
  return { name, kind, help, labels: Object.keys(samples[0]?.labels ?? {}) };
}

/** Every metric that `/metrics` can show. */
async function everyMetric(): Promise<Described[]> {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const host = { id: 'h1', address: 'tcp://127.0.0.1:1', pid: 1, machine: 'm' };
  controller.hosts.join(host);
  const disk = { name: 'd', device: 1, bytes: 2 ** 30, slabBytes: 2 ** 26, copies: 1, options: '' };
  await controller.devices.create(disk);
  controller.hosts.noteDevices('h1', { after: 0, upTo: 1, devices: [noteOf(1)] });
  await controller.spaces.open({
    name: 's',
    create: true,
    kind: SpaceKind.DRAM,
    pageBytes: 65_536,
  });
  const context = { nowMs: 0, wallMs: 0, address: 'tcp://127.0.0.1:1', isDurable: true };
  const nodes = () => [{ id: 'n1', ask: async () => ({ status: Status.Ok, json: '{}' }) }];
  const ofNodes = await new NodeMetrics({ clock, nodes }).read();
  const own = [
    ...rackMetrics(controller, context),
    ...commitMetrics(new Histogram(1, 1).counts()),
    ...fabricMetrics(createCounters()),
    ...ofNodes,
  ];
  const told = NODE_METRICS.map((wanted) => ({ ...wanted, labels: ['node', ...wanted.labels] }));
  return [...own.map(described), ...told];
}

const PAGE_HEAD = `# Metrics

What \`/metrics\` of the controller shows, in the format of Prometheus. Made from the code; what the
words mean is told in [what can be seen](seeing.md) and in the pages that it names. Names and labels
are kept; new ones may come. A metric of which there is nothing to tell is left out. Histograms have
series \`_bucket\`, \`_sum\` and \`_count\`.

| name | kind | says |
|---|---|---|
`;

function rowOf({ name, kind, help, labels }: Described): string {
  const shown = labels.length === 0 ? name : `${name}{${labels.join(',')}}`;
  return `| \`${shown}\` | ${kind} | ${help} |\n`;
}

/** After a change of a metric: npm test -- metrics-page -u */
test('docs/metrics.md is what the code says', async () => {
  const page = PAGE_HEAD + (await everyMetric()).map(rowOf).join('');
  await expect(page).toMatchFileSnapshot('../../docs/metrics.md');
});

test('every metric has one meaning', async () => {
  const metrics = await everyMetric();
  const names = metrics.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { name, kind, help } of metrics) {
    expect(name.endsWith('_total'), name).toBe(kind === 'counter');
    expect(help, name).toMatch(/^[^|]+\.$/);
  }
});
