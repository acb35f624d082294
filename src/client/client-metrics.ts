/** What a client counts, as metrics: for programs that Prometheus looks at. */

import { counter, gauge, type Metric, type MetricSample, snakeCase } from '../base/metric.js';
import type { DatagramLinkState } from '../fabric/datagram/datagram-counters.js';
import type { RackCounters } from './counters.js';

export function clientMetrics(counters: RackCounters): Metric[] {
  const { streams, memory, datagrams, fallOver, links } = counters;
  return [
    ...sums('stream', streams, 'Of connections: see src/fabric/counters.ts.'),
    ...sums(
      'memory',
      memory,
      'Of memory that is used in place: see src/fabric/shm/shm-counters.ts.',
    ),
    // A size, and told of each link below.
    ...sums('datagram', without(datagrams, 'pathBytes'), 'Of links over datagrams.'),
    ...sums('fall_over', fallOver, 'Of links that go over to another way.'),
    ...linkMetrics(links),
  ];
}

function without(given: object | undefined, key: string): object | undefined {
  if (given === undefined) return undefined;
  return Object.fromEntries(Object.entries(given).filter(([name]) => name !== key));
}

/** Numbers as they are, groups of them with a label. */
function sums(group: string, counts: object | undefined, help: string): Metric[] {
  return Object.entries(counts ?? {}).map(([key, value]: [string, unknown]) => {
    const name = `memrack_client_${group}_${snakeCase(key)}_total`;
    if (typeof value === 'number') return counter(name, help, value);
    const samples = Object.entries(value as Record<string, number>).map(
      ([kind, count]): MetricSample => ({ labels: { kind: snakeCase(kind) }, value: count }),
    );
    return counter(name, help, samples);
  });
}

type Links = RackCounters['links'];

function linkMetrics(links: Links): Metric[] {
  const plain = (name: string, help: string, of: (link: Links[number]) => number | undefined) =>
    gauge(
      `memrack_client_link_${name}`,
      help,
      links.flatMap((link) => {
        const value = of(link);
        return value === undefined ? [] : [{ labels: { node: link.node }, value }];
      }),
    );
  const ofDatagrams = (
    name: string,
    help: string,
    of: (state: DatagramLinkState) => number | undefined,
  ): Metric =>
    plain(name, help, ({ datagrams }) => (datagrams === undefined ? undefined : of(datagrams)));
  const seconds = (ms: number | undefined): number | undefined =>
    ms === undefined ? undefined : ms / 1000;
  return [
    plain('attached', "Whether the node's memory is used in place: 1 or 0.", ({ isAttached }) =>
      isAttached === undefined ? undefined : Number(isAttached),
    ),
    ofDatagrams('window_bytes', 'Congestion window.', (state) => state.windowBytes),
    ofDatagrams('under_way_bytes', 'Under way.', (state) => state.underWayBytes),
    ofDatagrams('below_one_datagram', 'Whether the window is so small: 1 or 0.', (state) =>
      Number(state.isBelowOneDatagram),
    ),
    ofDatagrams('expected_reply_bytes', 'Replies that are expected.', (state) => {
      return state.expectedReplyBytes;
    }),
    ofDatagrams('expected_reply_bytes_max', 'How many may be (incast).', (state) => {
      return state.expectedReplyBytesMax;
    }),
    ofDatagrams('path_bytes', 'The longest datagram that is sent.', (state) => state.pathBytes),
    ofDatagrams('best_delay_seconds', 'Best delay of late.', (state) => {
      return seconds(state.bestDelayMs);
    }),
    ofDatagrams('target_delay_seconds', 'Above it the window shrinks.', (state) => {
      return seconds(state.targetDelayMs);
    }),
    ofDatagrams('mean_delay_seconds', 'Mean of late.', (state) => seconds(state.meanDelayMs)),
    ofDatagrams('timeout_seconds', 'After it an attempt is taken for lost.', (state) => {
      return seconds(state.timeoutMs);
    }),
  ].filter(({ samples }) => samples.length > 0);
}
