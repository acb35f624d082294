/**
 * What was measured at three levels, as rows that say where the time goes. A number is measured
 * itself, or a difference of two medians, or a mean that the node has told: `how` says which.
 */

import type { StationTimes } from '../../fabric/station-times.js';
import { STATION_NAMES } from '../../fabric/stations.js';

export interface PingRow {
  /** `network`: answered by the network layer. `fast`: a read. `slow`: answered by the worker. */
  readonly level: 'network' | 'fast' | 'slow';
  /** `total`, or what part of it. Names are kept. */
  readonly station: string;
  readonly how: 'measured' | 'difference' | 'mean';
  /** How many it is of; of a difference the fewer ones. */
  readonly samples: number;
  /** Those that were not answered in time. */
  readonly lost: number;
  /** Microseconds; undefined where that cannot be said. */
  readonly minUs?: number;
  readonly p50Us?: number;
  readonly p99Us?: number;
}

/** In milliseconds, in the order in which they were measured. */
export interface Samples {
  readonly ms: number[];
  lost: number;
}

export interface Measured {
  /** Pings, whole and without the node's residence; that is told over datagrams alone. */
  readonly ping: Samples;
  readonly pingNetwork: Samples;
  readonly pingNode: Samples;
  /** Reads of one datagram each, by nothing but a socket. */
  readonly bareRead: Samples;
  readonly readNetwork: Samples;
  readonly readNode: Samples;
  /** Reads by the library. */
  readonly read: Samples;
  readonly call: Samples;
  /** The part that the node waited for its worker. */
  readonly worker: Samples;
  /** By the node's stopwatch; undefined where nobody asked it. */
  readonly nodePing?: StationTimes | undefined;
  readonly nodeRead?: StationTimes | undefined;
}

export function newMeasured(): Measured {
  const none = (): Samples => ({ ms: [], lost: 0 });
  return {
    ...{ ping: none(), pingNetwork: none(), pingNode: none() },
    ...{ bareRead: none(), readNetwork: none(), readNode: none() },
    ...{ read: none(), call: none(), worker: none() },
  };
}

export function rowsOf(measured: Measured): PingRow[] {
  const { ping, pingNetwork, pingNode, bareRead, readNetwork, readNode, read } = measured;
  const { call, worker, nodePing, nodeRead } = measured;
  return [
    ...measuredRow('network', 'total', ping),
    ...measuredRow('network', 'network, out and back', pingNetwork),
    ...measuredRow('network', 'node', pingNode),
    ...(pingNode.ms.length === 0 ? networkLeft(ping, nodePing) : []),
    ...measuredRow('fast', 'total', read),
    ...differenceRow('fast', 'client library', read, bareRead),
    ...measuredRow('fast', 'network, out and back', readNetwork),
    ...measuredRow('fast', 'node', readNode),
    ...stopwatchRows('fast', nodeRead),
    ...measuredRow('slow', 'total', call),
    ...measuredRow('slow', 'worker, until it answers', worker),
    ...differenceRow('slow', 'network, library and node', call, worker),
  ];
}

function measuredRow(level: PingRow['level'], station: string, samples: Samples): PingRow[] {
  const { ms, lost } = samples;
  if (ms.length === 0 && lost === 0) return [];
  const row = { level, station, how: 'measured', samples: ms.length, lost } as const;
  if (ms.length === 0) return [row];
  const minUs = micros(quantile(ms, 0));
  return [{ ...row, minUs, p50Us: micros(quantile(ms, 0.5)), p99Us: micros(quantile(ms, 0.99)) }];
}

function differenceRow(
  level: PingRow['level'],
  station: string,
  whole: Samples,
  part: Samples,
): PingRow[] {
  if (whole.ms.length === 0 || part.ms.length === 0) return [];
  const us = 1000 * (quantile(whole.ms, 0.5) - quantile(part.ms, 0.5));
  const samples = Math.min(whole.ms.length, part.ms.length);
  return [{ level, station, how: 'difference', samples, lost: 0, ...estimate(us) }];
}

/** Over streams a reply does not tell how long it was at the node: its stopwatch does. */
function networkLeft(ping: Samples, node: StationTimes | undefined): PingRow[] {
  if (ping.ms.length === 0 || node === undefined || node.requests === 0) return [];
  const nodeUs = STATION_NAMES.reduce((sum, name) => sum + node.meanUs[name], 0);
  const row = { level: 'network', lost: 0 } as const;
  const station = 'network, out and back';
  const leftUs = quantile(ping.ms, 0.5) * 1000 - nodeUs;
  return [
    { ...row, station, how: 'difference', samples: ping.ms.length, ...estimate(leftUs) },
    { ...row, station: 'node', how: 'mean', samples: node.requests, p50Us: round(nodeUs) },
  ];
}

function stopwatchRows(level: PingRow['level'], times: StationTimes | undefined): PingRow[] {
  if (times === undefined || times.requests === 0) return [];
  const { requests, meanUs } = times;
  return STATION_NAMES.filter((name) => meanUs[name] > 0).map((name) => ({
    level,
    station: `node: ${name}`,
    how: 'mean',
    samples: requests,
    lost: 0,
    p50Us: round(meanUs[name]),
  }));
}

/** The value that this share of the samples lies below; there is at least one. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** A difference below nothing says that the two are too much alike, or too restless, to be told. */
function estimate(us: number): { readonly p50Us?: number } {
  return us < 0 ? {} : { p50Us: round(us) };
}

const micros = (ms: number): number => round(ms * 1000);
const round = (us: number): number => Math.round(us * 100) / 100;
