/**
 * The controller's own numbers for Prometheus. Few series: one per member or space, and of spaces
 * the largest ones only; none per key. Names are kept, because boards and alerts have them.
 */
import type { HistogramCounts } from '../base/histogram.js';
import {
  counter,
  gauge,
  histogram,
  type Metric,
  type MetricSample,
  snakeCase,
} from '../base/metric.js';
import type { FabricCounters } from '../fabric/counters.js';
import { VERSION_MAX, VERSION_MIN } from '../wire/limits.js';
import type { MemberFacts, RackStatus } from './api.js';
import type { Controller } from './controller.js';
import { deviceFacts } from './device-facts.js';
import { deviceMetrics } from './device-metrics.js';
import { FINDINGS, type FindingCode } from './findings.js';
import { GARBAGE_SHOWN_MS } from './limits.js';
import { memberFacts, moveFacts, rackStatus, spaceFacts, type ReportContext } from './report.js';

/** Series per metric of spaces. */
const SPACES_MAX = 100;

export function rackMetrics(controller: Controller, context: ReportContext): Metric[] {
  const status = rackStatus(controller, context);
  return [
    ...wholeRack(status),
    ...memberMetrics(controller, context.nowMs),
    ...spaceMetrics(controller),
    ...deviceMetrics(deviceFacts(controller)),
    ...ownMetrics(controller, context),
    gauge('memrack_uptime_seconds', 'Since the start.', status.uptimeMs / 1000),
  ];
}

/** Of commits to the database; see `timed-databases.ts`. */
export function commitMetrics(commits: HistogramCounts): Metric[] {
  const help = 'Until a change of metadata is durable.';
  return [histogram('memrack_metadata_commit_seconds', help, [{ labels: {}, ...commits }])];
}

/** Of the controller's own connections. */
export function fabricMetrics({ malformed, ...counters }: FabricCounters): Metric[] {
  const plain = Object.entries(counters).map(([key, value]) =>
    counter(
      `memrack_fabric_${snakeCase(key)}_total`,
      'Of the connections of the controller.',
      value,
    ),
  );
  const kinds = Object.entries(malformed).map(([kind, value]) => ({ labels: { kind }, value }));
  const help = 'Connections closed because of what came over them.';
  return [...plain, counter('memrack_fabric_malformed_total', help, kinds)];
}

function wholeRack(status: RackStatus): Metric[] {
  const found = (code: FindingCode): number =>
    status.findings.filter((finding) => finding.code === code).length;
  const codes = Object.keys(FINDINGS) as FindingCode[];
  return [
    gauge('memrack_up', 'Whether the rack serves: 1 or 0.', status.state === 'down' ? 0 : 1),
    gauge('memrack_nodes', 'Memory nodes by state.', byState(status.nodes)),
    gauge('memrack_hosts', 'Hosts that were heard of.', status.hosts),
    gauge('memrack_spaces', 'Address spaces.', status.spaces),
    gauge('memrack_regions', 'Regions by state.', byState(status.regions)),
    gauge('memrack_files', 'Entries of the directory of files.', status.files),
    gauge('memrack_leases', 'Names of leases that are known.', status.leases),
    gauge(
      'memrack_findings',
      'Findings of status by code and severity.',
      codes.map((code) => {
        const { severity } = FINDINGS[code];
        return { labels: { code, severity }, value: found(code) };
      }),
    ),
  ];
}

function memberMetrics(controller: Controller, nowMs: number): Metric[] {
  const members = memberFacts(controller);
  const nodes = members.filter(({ kind }) => kind === 'memory-node');
  const hosts = members.filter(({ kind }) => kind === 'host');
  const perNode = (of: (node: MemberFacts) => number): MetricSample[] =>
    nodes.map((node) => ({ labels: { node: node.id }, value: of(node) }));
  return [
    gauge('memrack_node_up', 'Whether the node serves: 1 or 0.', perNode(isServing)),
    gauge(
      'memrack_node_lent_bytes',
      'Memory lent.',
      perNode(({ bytesLent }) => bytesLent),
    ),
    gauge(
      'memrack_node_used_bytes',
      'Memory in use.',
      perNode(({ bytesUsed }) => bytesUsed),
    ),
    gauge(
      'memrack_node_committed_bytes',
      'Memory promised by allocations.',
      perNode(({ bytesCommitted }) => bytesCommitted),
    ),
    gauge(
      'memrack_node_regions',
      'Regions owned.',
      perNode(({ regions }) => regions),
    ),
    gauge(
      'memrack_node_page_bytes',
      'Page size.',
      perNode(({ pageBytes }) => pageBytes),
    ),
    gauge(
      'memrack_node_silence_seconds',
      'Since the node was heard of.',
      silences(controller, nowMs),
    ),
    gauge(
      'memrack_host_up',
      'Whether the host is heard of: 1 or 0.',
      hosts.map((host) => ({ labels: { host: host.id }, value: isServing(host) })),
    ),
  ];
}

/** Of nodes that were heard of since the controller started, and whose memory is not gone. */
function silences({ membership }: Controller, nowMs: number): MetricSample[] {
  return [...membership.members.values()]
    .filter((member) => member.isJoined && membership.state(member) !== 'ended')
    .map(({ row, seenMs }) => ({
      labels: { node: row.id },
      value: Math.max(0, nowMs - seenMs) / 1000,
    }));
}

function spaceMetrics(controller: Controller): Metric[] {
  const spaces = controller.spaces
    .list()
    .filter(({ state }) => state === 'active')
    .map((space) => spaceFacts(controller, space))
    .sort((a, b) => b.regions - a.regions)
    .slice(0, SPACES_MAX);
  const samples = spaces.flatMap(({ name, regions, regionsLost }) => [
    { labels: { space: name, state: 'granted' }, value: regions - regionsLost },
    { labels: { space: name, state: 'lost' }, value: regionsLost },
  ]);
  const help = `Regions by space and state; the ${SPACES_MAX} largest spaces.`;
  return samples.length === 0 ? [] : [gauge('memrack_space_regions', help, samples)];
}

function ownMetrics(controller: Controller, { wallMs, nowMs }: ReportContext): Metric[] {
  const { metadata, regions, leases, changes, membership } = controller;
  const garbage = [...metadata.garbage.values()];
  const old = garbage.filter(({ sinceMs }) => wallMs - sinceMs >= GARBAGE_SHOWN_MS);
  return [
    counter('memrack_regions_granted_total', 'Regions granted.', regions.granted),
    counter('memrack_leases_taken_total', 'Leases given to a holder.', leases.taken),
    counter('memrack_metadata_commits_total', 'Durable changes.', metadata.commits),
    gauge('memrack_metadata_changes_waiting', 'Changes that wait for their turn.', changes.waiting),
    gauge('memrack_garbage_places', 'Places of former files, not freed yet.', garbage.length),
    gauge('memrack_garbage_old_places', 'Those of ten minutes ago and before.', old.length),
    gauge(
      'memrack_nodes_refused',
      'Processes that were not let in as memory nodes, in the last minute.',
      membership.recentRefusals().length,
    ),
    ...moveMetrics(controller, nowMs),
    ...restorationMetrics(controller),
    gauge('memrack_wire_info', 'Versions of the protocol that the controller speaks.', [
      { labels: { oldest: String(VERSION_MIN), newest: String(VERSION_MAX) }, value: 1 },
    ]),
  ];
}

function moveMetrics(controller: Controller, nowMs: number): Metric[] {
  const { done, refused, cancelled } = controller.moves;
  const underWay = moveFacts(controller, nowMs);
  const oldestMs = underWay.reduce((most, { ms }) => Math.max(most, ms), 0);
  const drains = controller.drains.list();
  const draining = drains.filter(({ state }) => state === 'draining');
  const drained = drains.filter(({ state }) => state === 'drained').length;
  const left = draining.reduce((sum, { regionsLeft }) => sum + regionsLeft, 0);
  const ended = drains.length - draining.length - drained;
  return [
    counter(
      'memrack_moves_total',
      'Moves of regions that ended, by outcome; refused: not begun, or the target would not.',
      outcomes({ done, refused, cancelled }),
    ),
    gauge('memrack_moves_under_way', 'Regions on their way.', underWay.length),
    gauge('memrack_move_oldest_seconds', 'Since the oldest of them began.', oldestMs / 1000),
    gauge(
      'memrack_drains',
      'Nodes that are to be emptied, by state.',
      byState({ draining: draining.length, drained, ended }),
    ),
    gauge('memrack_drain_regions_left', 'Regions that are to leave these nodes.', left),
    counter(
      'memrack_regions_given_back_total',
      'Regions that moved because their nodes were short of memory.',
      controller.giveBack.moved,
    ),
    counter(
      'memrack_copies_dropped_total',
      "Copies of slabs that were nobody's, and were given back by the word of the controller.",
      controller.orphans.dropped,
    ),
  ];
}

function restorationMetrics({ restoration, metadata }: Controller): Metric[] {
  const { phase } = restoration;
  return [
    gauge(
      'memrack_restoring',
      'Whether the database is an older copy and nothing is decided: 1 or 0.',
      phase === 'restoring' ? 1 : 0,
    ),
    gauge(
      'memrack_restoration_nodes_awaited',
      'Nodes that have not told what they hold; until then nothing is decided.',
      phase === 'over' ? 0 : restoration.awaited().length,
    ),
    counter(
      'memrack_restorations_total',
      'Older copies of the database that were brought up to date, ever.',
      metadata.next('restores'),
    ),
    counter('memrack_events_total', 'Events of the history, ever.', metadata.next('event') - 1),
  ];
}

function outcomes(counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([outcome, value]) => ({ labels: { outcome }, value }));
}

function isServing({ state }: { readonly state: string }): number {
  return state === 'serving' ? 1 : 0;
}

function byState(counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }));
}
