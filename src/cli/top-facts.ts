/** What `memrack top` shows, from two looks at the rack: what is, and what goes by a second. */

import type { Member, NodeNumbers } from '../apps/library.js';
import { quantileOf } from '../base/histogram.js';
import type { SeenDevice } from './device-table.js';

/** One look. */
export interface Look {
  readonly atMs: number;
  /** As `rack.status()` tells it. */
  readonly status: TopStatus;
  readonly members: readonly Member[];
  readonly spaces: readonly TopSpace[];
  readonly numbers: readonly NodeNumbers[];
  readonly devices: readonly SeenDevice[];
}

export interface TopStatus {
  readonly state: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly moves: readonly TopMove[];
  readonly findings: readonly {
    readonly code: string;
    readonly severity: string;
    readonly subject: string;
  }[];
}

/** A region on its way. */
export interface TopMove {
  readonly space: string;
  readonly region: number;
  readonly from: string;
  readonly to: string;
  readonly ms: number;
}

export interface TopSpace {
  readonly name: string;
  readonly kind: string;
  readonly regions: number;
  readonly state: string;
}

/** These names are what `-o json` prints: they are kept. Rates are of a second. */
export interface TopNode {
  readonly id: string;
  readonly state: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  /** The rest is missing where the node did not answer both times. */
  readonly reads?: number;
  readonly writes?: number;
  readonly atomics?: number;
  readonly refusals?: number;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  /** Used, and more than it lends now: it has to move away. */
  readonly bytesToGive?: number;
  /** Of requests at the node, queues left out; missing where none was timed meanwhile. */
  readonly serviceP50Us?: number;
  readonly serviceP99Us?: number;
  /** Of the node to this program's question. */
  readonly answerMs?: number;
  readonly streams?: number;
  readonly threads?: number;
  readonly threadsStopped?: number;
  readonly windows?: number;
  readonly framesResting?: number;
  readonly datagramsReceived?: number;
  readonly datagramsSent?: number;
  readonly datagramsDropped?: number;
  /** Of changes that are remembered, 0 to 1. */
  readonly recordFill?: number;
}

export interface TopFacts {
  readonly at: string;
  readonly state: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly findings: TopStatus['findings'];
  readonly moves: readonly TopMove[];
  readonly nodes: readonly TopNode[];
  readonly hosts: readonly { readonly id: string; readonly state: string }[];
  readonly spaces: readonly TopSpace[];
  /** What goes by there the controller tells: hosts tell it every other second. */
  readonly devices: readonly SeenDevice[];
}

type Numbers = Readonly<Record<string, unknown>>;

export function topFacts(before: Look, after: Look, wallMs: number): TopFacts {
  const { status, members, spaces, devices } = after;
  const { state, bytesLent, bytesUsed, bytesCommitted, findings, moves } = status;
  const seconds = (after.atMs - before.atMs) / 1000;
  return {
    at: new Date(wallMs).toISOString(),
    state,
    bytesLent,
    bytesUsed,
    bytesCommitted,
    findings,
    moves,
    nodes: members
      .filter(({ kind }) => kind === 'memory-node')
      .map((member) => nodeFacts(member, before, after, seconds)),
    hosts: members
      .filter(({ kind }) => kind === 'host')
      .map((host) => ({ id: host.id, state: host.state })),
    spaces,
    devices,
  };
}

function nodeFacts(member: Member, before: Look, after: Look, seconds: number): TopNode {
  const { id, state, bytesLent, bytesUsed, bytesCommitted } = member;
  const plain = { id, state, bytesLent, bytesUsed, bytesCommitted };
  const of = (look: Look): NodeNumbers | undefined => look.numbers.find(({ node }) => node === id);
  const now = of(after);
  const from = of(before)?.counters;
  const to = now?.counters;
  if (from === undefined || to === undefined || now === undefined) return plain;
  const isSame = from['incarnation'] === to['incarnation'];
  // A process that was started anew has counted from 0.
  const first = isSame ? from : {};
  const rate = (...path: string[]): number =>
    Math.max(0, (numberAt(to, path) - numberAt(first, path)) / seconds);
  const rowsMax = numberAt(to, ['datagrams', 'recordRowsMax']);
  return {
    ...plain,
    reads: rate('operations', 'Read'),
    writes: rate('operations', 'Write'),
    atomics: rate('operations', 'CompareAndSwap') + rate('operations', 'FetchAndAdd'),
    refusals: total(to['refusals'], first['refusals']) / seconds,
    bytesRead: rate('bytesRead'),
    bytesWritten: rate('bytesWritten'),
    bytesToGive: numberAt(to, ['bytesToGive']),
    ...serviceTimes(first, to),
    answerMs: now.tookMs,
    streams: numberAt(to, ['sessions']),
    threads: numberAt(to, ['slotsAttached']),
    threadsStopped: numberAt(to, ['slotsHeldBack']),
    windows: numberAt(to, ['windows']),
    framesResting: numberAt(to, ['framesResting']),
    datagramsReceived: rate('datagrams', 'datagramsReceived'),
    datagramsSent: rate('datagrams', 'datagramsSent'),
    datagramsDropped: rate('datagrams', 'dropped'),
    recordFill: rowsMax === 0 ? 0 : numberAt(to, ['datagrams', 'recordRows']) / rowsMax,
  };
}

function asNumbers(value: unknown): Numbers {
  return typeof value === 'object' && value !== null ? (value as Numbers) : {};
}

/** 0 where there is none. */
function numberAt(numbers: Numbers, path: readonly string[]): number {
  let value: unknown = numbers;
  for (const key of path) value = asNumbers(value)[key];
  return typeof value === 'number' ? value : 0;
}

function total(to: unknown, from: unknown): number {
  const sum = (numbers: unknown): number =>
    Object.keys(asNumbers(numbers)).reduce(
      (all, key) => all + numberAt(asNumbers(numbers), [key]),
      0,
    );
  return Math.max(0, sum(to) - sum(from));
}

/** Of all requests but pings; the bound of the bucket, so at most twice too much. */
function serviceTimes(
  from: Numbers,
  to: Numbers,
): { readonly serviceP50Us?: number; readonly serviceP99Us?: number } {
  let bounds: readonly number[] = [];
  const counts: number[] = [];
  for (const kind of ['read', 'write', 'atomic']) {
    const after = asNumbers(asNumbers(to['service'])[kind]);
    const before = asNumbers(asNumbers(from['service'])[kind]);
    if (!Array.isArray(after['bounds']) || !Array.isArray(after['counts'])) return {};
    bounds = after['bounds'] as number[];
    (after['counts'] as number[]).forEach((count, i) => {
      const earlier = (before['counts'] as number[] | undefined)?.[i] ?? 0;
      counts[i] = (counts[i] ?? 0) + count - earlier;
    });
  }
  const quantile = (share: number): number => quantileOf({ bounds, counts }, share) * 1e6;
  const p50 = quantile(0.5);
  return Number.isNaN(p50) ? {} : { serviceP50Us: p50, serviceP99Us: quantile(0.99) };
}
