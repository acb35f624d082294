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
import { FINDINGS, type FindingCode } from './findings.js';
import { GARBAGE_SHOWN_MS } from './limits.js';
import { memberFacts, rackStatus, spaceFacts, type ReportContext } from './report.js';

/** Series per metric of spaces. */
const SPACES_MAX = 100;

export function rackMetrics(controller: Controller, context: ReportContext): Metric[] {
  const status = rackStatus(controller, context);
  return [
    ...wholeRack(status),
    ...memberMetrics(controller, context.nowMs),
    ...spaceMetrics(controller),
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

function ownMetrics(controller: Controller, { wallMs }: ReportContext): Metric[] {
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
    gauge('memrack_wire_info', 'Versions of the protocol that the controller speaks.', [
      { labels: { oldest: String(VERSION_MIN), newest: String(VERSION_MAX) }, value: 1 },
    ]),
  ];
}

function isServing({ state }: { readonly state: string }): number {
  return state === 'serving' ? 1 : 0;
}

function byState(counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }));
}
