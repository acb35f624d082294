/** The controller's numbers for Prometheus. Few series: one per node at most, none per key. */
import type { Metric, MetricSample } from './api.js';
import type { Controller } from './controller.js';
import { FINDINGS, type FindingCode } from './findings.js';
import { memberFacts, rackStatus, type ReportContext } from './report.js';

export function rackMetrics(controller: Controller, context: ReportContext): Metric[] {
  const status = rackStatus(controller, context);
  const found = (code: FindingCode): number =>
    status.findings.filter((finding) => finding.code === code).length;
  const codes = Object.keys(FINDINGS) as FindingCode[];
  return [
    gauge('memrack_up', 'Whether the rack serves: 1 or 0.', one(status.state === 'down' ? 0 : 1)),
    gauge('memrack_nodes', 'Memory nodes by state.', byState(status.nodes)),
    gauge('memrack_hosts', 'Hosts that were heard of.', one(status.hosts)),
    gauge('memrack_spaces', 'Address spaces.', one(status.spaces)),
    gauge('memrack_regions', 'Regions by state.', byState(status.regions)),
    gauge('memrack_files', 'Entries of the directory of files.', one(status.files)),
    gauge('memrack_leases', 'Names of leases that are known.', one(status.leases)),
    gauge(
      'memrack_findings',
      'Findings of status by code.',
      codes.map((code) => ({ labels: { code }, value: found(code) })),
    ),
    ...nodeMetrics(controller),
    counter('memrack_regions_granted_total', 'Regions granted.', controller.regions.granted),
    counter('memrack_leases_taken_total', 'Leases given to a holder.', controller.leases.taken),
    counter('memrack_metadata_commits_total', 'Durable changes.', controller.metadata.commits),
    gauge(
      'memrack_metadata_changes_waiting',
      'Changes that wait for their turn.',
      one(controller.changes.waiting),
    ),
    gauge('memrack_uptime_seconds', 'Since the start.', one(status.uptimeMs / 1000)),
  ];
}

function nodeMetrics(controller: Controller): Metric[] {
  const nodes = memberFacts(controller).filter(({ kind }) => kind === 'memory-node');
  const perNode = (of: (node: (typeof nodes)[number]) => number): MetricSample[] =>
    nodes.map((node) => ({ labels: { node: node.id }, value: of(node) }));
  return [
    gauge('memrack_node_up', 'Whether the node serves.', perNode(isServing)),
    gauge(
      'memrack_node_lent_bytes',
      'Memory lent.',
      perNode((node) => node.bytesLent),
    ),
    gauge(
      'memrack_node_used_bytes',
      'Memory in use.',
      perNode((node) => node.bytesUsed),
    ),
    gauge(
      'memrack_node_committed_bytes',
      'Memory promised by allocations.',
      perNode((node) => node.bytesCommitted),
    ),
    gauge(
      'memrack_node_regions',
      'Regions owned.',
      perNode((node) => node.regions),
    ),
  ];
}

function isServing({ state }: { readonly state: string }): number {
  return state === 'serving' ? 1 : 0;
}

function gauge(name: string, help: string, samples: readonly MetricSample[]): Metric {
  return { name, kind: 'gauge', help, samples };
}

function counter(name: string, help: string, value: number): Metric {
  return { name, kind: 'counter', help, samples: one(value) };
}

function one(value: number): MetricSample[] {
  return [{ labels: {}, value }];
}

function byState(counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }));
}
