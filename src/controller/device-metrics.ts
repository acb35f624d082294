/** The numbers of block devices for Prometheus; of the neediest and busiest ones only. */
import {
  counter,
  gauge,
  histogram,
  type HistogramSample,
  type Labels,
  type Metric,
  type MetricSample,
  snakeCase,
} from '../base/metric.js';
import type { DeviceFacts, OperationFacts } from './api.js';
import { byNeed, deviceTimes } from './device-facts.js';

/** Series per metric, times those of the other labels. */
const DEVICES_MAX = 100;
const STATES = ['served', 'waiting', 'idle', 'away'] as const;
const KINDS = ['read', 'write'] as const;

export function deviceMetrics(all: readonly DeviceFacts[]): Metric[] {
  const states = STATES.map((state) => {
    return { labels: { state }, value: all.filter((device) => device.state === state).length };
  });
  const help =
    'Block devices by state: served; waiting: for a lease; away: the host is silent; idle: unused.';
  const devices = byNeed(all).slice(0, DEVICES_MAX);
  const shown = [...ofEach(devices), ...slabMetrics(devices), ...workOf(devices)];
  return [
    gauge('memrack_devices', help, states),
    ...shown.filter(({ samples }) => samples.length > 0),
  ];
}

function ofEach(devices: readonly DeviceFacts[]): Metric[] {
  const each = (of: (device: DeviceFacts) => number): MetricSample[] =>
    devices.map((device) => ({ labels: { device: device.name }, value: of(device) }));
  const served = each(({ state }) => (state === 'served' ? 1 : 0));
  return [
    gauge('memrack_device_served', 'Whether a host serves it: 1 or 0.', served),
    gauge(
      'memrack_device_size_bytes',
      `What it holds; of this and the rest, the ${DEVICES_MAX} that need looking at most.`,
      each(({ bytes }) => bytes),
    ),
    gauge(
      'memrack_device_mapped_bytes',
      'Those in slabs that have copies.',
      each(({ bytesMapped }) => bytesMapped),
    ),
    gauge(
      'memrack_device_replicas',
      'Copies that each slab is to have.',
      each(({ replicas }) => replicas),
    ),
  ];
}

function slabMetrics(devices: readonly DeviceFacts[]): Metric[] {
  const samples = devices.flatMap(({ name: device, slabs, slabsAbsent }) => {
    if (slabs === undefined) return [];
    return Object.entries({ absent: slabsAbsent, ...slabs }).map(([state, value]) => {
      return { labels: { device, state: snakeCase(state) }, value };
    });
  });
  const help = 'Slabs of devices that are served, by state.';
  const hot = devices.flatMap(({ name: device, slabsHot }) =>
    slabsHot === undefined ? [] : [{ labels: { device }, value: slabsHot }],
  );
  return [
    gauge('memrack_device_slabs', help, samples),
    gauge('memrack_device_hot_slabs', 'Those that are used much.', hot),
  ];
}

/** What the host counts, which is named: counts begin anew with its process. */
function workOf(devices: readonly DeviceFacts[]): Metric[] {
  const busy = devices.flatMap(({ name: device, host = '', activity }) =>
    activity === undefined ? [] : [{ labels: { device, host }, activity }],
  );
  const byKind = (of: (facts: OperationFacts) => number): MetricSample[] =>
    busy.flatMap(({ labels, activity }) =>
      KINDS.map((kind) => ({ labels: { ...labels, kind }, value: of(activity[kind]) })),
    );
  const two = (
    label: string,
    of: (activity: Activity) => Readonly<Record<string, number>>,
  ): MetricSample[] =>
    busy.flatMap(({ labels, activity }) =>
      Object.entries(of(activity)).map(([what, value]) => {
        return { labels: { ...labels, [label]: what } satisfies Labels, value };
      }),
    );
  const times = busy.flatMap(({ labels, activity }): HistogramSample[] =>
    KINDS.map((kind) => ({ labels: { ...labels, kind }, ...deviceTimes(activity[kind]) })),
  );
  return [
    counter(
      'memrack_device_operations_total',
      'Reads and writes that its host has done.',
      byKind(({ done }) => done),
    ),
    counter(
      'memrack_device_operation_bytes_total',
      'What they have read and written.',
      byKind(({ bytes }) => bytes),
    ),
    counter(
      'memrack_device_errors_total',
      'Reads and writes that ended with an error.',
      byKind(({ errors }) => errors),
    ),
    histogram(
      'memrack_device_operation_seconds',
      'What they took at the host; of those that are done at once one in 64.',
      times,
    ),
    counter(
      'memrack_device_copies_total',
      'Copies of slabs that were made again, and that were lost.',
      two('event', ({ copiesMade: made, copiesLost: lost }) => ({ made, lost })),
    ),
    counter(
      'memrack_device_blocks_total',
      'Blocks whose checksum was wrong: repaired from another copy, or damaged at all of them.',
      two('event', ({ blocksRepaired: repaired, blocksDamaged: damaged }) => {
        return { repaired, damaged };
      }),
    ),
    gauge(
      'memrack_device_waiting',
      'Writes that wait for memory, and all that waits for the lease.',
      busy.map(({ labels, activity }) => ({ labels, value: activity.waiting })),
    ),
  ];
}

type Activity = NonNullable<DeviceFacts['activity']>;
