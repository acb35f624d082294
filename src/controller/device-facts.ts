/** What the controller tells people of block devices: what it knows, and what their hosts told. */
import { formatBytes } from '../base/units.js';
import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { type HistogramCounts, quantileOf } from '../base/histogram.js';
import { layoutOf } from '../replication/layout.js';
import { DEVICE_TIME_BUCKETS, DEVICE_TIME_LEAST_S } from '../wire/limits.js';
import type { DeviceFacts, OperationFacts } from './api.js';
import type { Controller } from './controller.js';
import { finding, type Finding } from './findings.js';
import type { DeviceNote, Note } from './hosts.js';
import type { DeviceRow, RegionRow } from './metadata/schema.js';

/** By name. */
export function deviceFacts(controller: Controller): DeviceFacts[] {
  const notes = controller.hosts.devices();
  return controller.devices.list().map((row) => factsOf(controller, row, notes.get(row.device)));
}

/** Those that have copies in the regions. */
export function devicesIn(
  { metadata }: Controller,
  regions: Iterable<Pick<RegionRow, 'space' | 'region'>>,
  facts: readonly DeviceFacts[],
): DeviceFacts[] {
  const there = new Set<string | undefined>();
  for (const { space, region } of regions) {
    for (const device of metadata.slabSets.devicesIn(space, region)) {
      there.add(metadata.deviceNames.get(device));
    }
  }
  return facts.filter(({ name }) => there.has(name));
}

function factsOf(
  { metadata }: Controller,
  row: DeviceRow,
  note: DeviceNote | undefined,
): DeviceFacts {
  const { name, bytes, copies, slabBytes } = row;
  const { dataBytes } = layoutOf(slabBytes - OWNER_BLOCK_BYTES);
  const kept = metadata.slabSets.ofDevice(row.device).size;
  const plain = {
    ...{ name, bytes, replicas: copies, slabBytes },
    bytesMapped: Math.min(kept * dataBytes, bytes),
    slabsAbsent: Math.max(0, Math.ceil(bytes / dataBytes) - kept),
    slabsKept: kept,
  };
  if (note === undefined) return { ...plain, state: 'idle' };
  const { host, isThere, told } = note;
  if (!isThere) return { ...plain, state: 'away', host };
  const { waiting, copiesMade, copiesLost, blocksRepaired, blocksDamaged } = told;
  const activity = {
    read: operationsOf(readsOf(told), note.before && readsOf(note.before.told), note.before?.ms),
    write: operationsOf(writesOf(told), note.before && writesOf(note.before.told), note.before?.ms),
    ...{ waiting, copiesMade, copiesLost, blocksRepaired, blocksDamaged },
  };
  if (told.epoch === 0) return { ...plain, state: 'waiting', host, activity };
  return {
    ...plain,
    state: 'served',
    host,
    slabs: slabsOf(kept, told),
    slabsHot: told.hot,
    activity,
  };
}

type SlabFacts = NonNullable<DeviceFacts['slabs']>;

/** What a host told a moment ago is held against the rows of now. */
function slabsOf(kept: number, { degraded, away, lost, inFile, inDoubt }: Note): SlabFacts {
  const whole = Math.max(0, kept - degraded - away - lost - inFile);
  return { whole, degraded, away, lost, inFile, inDoubt };
}

type Counted = Pick<OperationFacts, 'done' | 'bytes' | 'errors' | 'times' | 'timesUs'>;

function readsOf({ reads, bytesRead, readErrors, readTimes, readUs }: Note): Counted {
  const times = readTimes.map(({ count }) => count);
  return { done: reads, bytes: bytesRead, errors: readErrors, times, timesUs: readUs };
}

function writesOf({ writes, bytesWritten, writeErrors, writeTimes, writeUs }: Note): Counted {
  const times = writeTimes.map(({ count }) => count);
  return { done: writes, bytes: bytesWritten, errors: writeErrors, times, timesUs: writeUs };
}

/** With what went by in the `ms` since `before`. */
function operationsOf(now: Counted, before: Counted | undefined, ms = 1): OperationFacts {
  if (before === undefined) return now;
  const since = (to: number, from: number): number => Math.max(0, to - from);
  const perSecond = {
    done: (since(now.done, before.done) * 1000) / ms,
    bytes: (since(now.bytes, before.bytes) * 1000) / ms,
  };
  const counts = now.times.map((count, i) => since(count, before.times[i] ?? 0));
  const timed = counts.reduce((sum, count) => sum + count, 0);
  if (timed === 0) return { ...now, perSecond };
  const meanUs = Math.round(since(now.timesUs, before.timesUs) / timed);
  // Above all bounds: it is at least the last one.
  const p99 = Math.min(quantileOf({ bounds: BOUNDS, counts }, 0.99), BOUNDS.at(-1) as number);
  return { ...now, perSecond, meanUs, p99Us: Math.round(p99 * 1e6) };
}

const BOUNDS = Array.from({ length: DEVICE_TIME_BUCKETS }, (_, i) => DEVICE_TIME_LEAST_S * 2 ** i);

export function deviceTimes(facts: Pick<OperationFacts, 'times' | 'timesUs'>): HistogramCounts {
  return { bounds: BOUNDS, counts: facts.times, sum: facts.timesUs / 1e6 };
}

/** The worst first, and then those that are served. */
export function byNeed(facts: readonly DeviceFacts[]): DeviceFacts[] {
  const need = ({ state, slabs }: DeviceFacts): number => {
    if (slabs === undefined) return state === 'idle' ? 0 : 2;
    if (slabs.lost > 0) return 5;
    if (slabs.away > 0) return 4;
    return slabs.degraded > 0 || slabs.inDoubt > 0 ? 3 : 1;
  };
  return [...facts].sort((a, b) => need(b) - need(a));
}

export function deviceFindings(facts: readonly DeviceFacts[]): Finding[] {
  return facts.flatMap(({ name, slabs, slabsKept, replicas, slabBytes, host }) => {
    if (slabs === undefined) return [];
    const of = (count: number): string => `${count} of ${slabsKept} slabs`;
    const findings: Finding[] = [];
    if (slabs.lost > 0) {
      const message = `${of(slabs.lost)} are gone with all their copies: what is there fails`;
      findings.push(finding('DEVICE_LOST', name, message));
    }
    if (slabs.away > 0) {
      const message = `no node that has a copy of ${of(slabs.away)} is there: ${host} waits`;
      findings.push(finding('DEVICE_AWAY', name, message));
    }
    if (slabs.degraded > 0) {
      const message =
        `${of(slabs.degraded)} have fewer than ${replicas} copies; ` +
        `each one that is made takes ${formatBytes(slabBytes)}`;
      findings.push(finding('DEVICE_DEGRADED', name, message));
    }
    if (slabs.inDoubt > 0) {
      const message = `of ${slabs.inDoubt} slabs nodes have later copies than the metadata knows`;
      findings.push(finding('DEVICE_IN_DOUBT', name, message));
    }
    return findings;
  });
}
