/** What `device list`, `status` and `top` show of block devices. */

import { z } from 'zod';
import { bytesASecond, type Column, formatDuration, short } from '../apps/terminal.js';
import { formatBytes } from '../base/units.js';

const OPERATIONS = z.looseObject({
  ...{ done: z.number(), bytes: z.number(), errors: z.number() },
  perSecond: z.looseObject({ done: z.number(), bytes: z.number() }).optional(),
  meanUs: z.number().optional(),
  p99Us: z.number().optional(),
});

/** As the controller tells it. */
export const SEEN_DEVICE = z.looseObject({
  ...{ name: z.string(), state: z.string(), host: z.string().optional() },
  ...{ bytes: z.number(), bytesMapped: z.number(), replicas: z.number(), slabBytes: z.number() },
  ...{ slabsAbsent: z.number(), slabsKept: z.number() },
  ...{ bytesPerS: z.number().optional(), requestsPerS: z.number().optional() },
  weight: z.number().optional(),
  slabs: z.record(z.string(), z.number()).optional(),
  activity: z
    .looseObject({
      ...{ read: OPERATIONS, write: OPERATIONS, waiting: z.number() },
      ...{ copiesMade: z.number(), copiesLost: z.number() },
      ...{ blocksRepaired: z.number(), blocksDamaged: z.number() },
    })
    .optional(),
});
export type SeenDevice = z.infer<typeof SEEN_DEVICE>;
type Operations = z.infer<typeof OPERATIONS>;

const WORDS: Readonly<Record<string, string>> = { inDoubt: 'in doubt', inFile: 'in a file' };

/** `served by host-1`, `away: host-1`, `idle`. */
function stateText({ state, host }: SeenDevice): string {
  if (host === undefined) return state;
  return state === 'served' ? `served by ${host}` : `${state}: ${host}`;
}

/** `3 whole, 1 degraded, 12 absent`. */
function slabsText({ slabs, slabsKept, slabsAbsent }: SeenDevice): string {
  const kept = Object.entries(slabs ?? { kept: slabsKept }).map(([state, count]) => {
    return [WORDS[state] ?? state, count] as const;
  });
  const there = [...kept, ['absent', slabsAbsent] as const].filter(([, count]) => count > 0);
  return there.map(([state, count]) => `${count} ${state}`).join(', ');
}

/** `1.2k/s, 4.8 MiB/s, mean 21 us, p99 128 us`. */
function operationsText(of: Operations | undefined): string {
  if (of?.perSecond === undefined) return '-';
  const { done, bytes } = of.perSecond;
  const rates = `${short(done)}/s, ${bytesASecond(bytes)}`;
  if (of.meanUs === undefined) return rates;
  const [mean, p99] = [of.meanUs, of.p99Us ?? 0].map((us) => formatDuration(us / 1000));
  return `${rates}, mean ${mean}, p99 ${p99}`;
}

/** `200 MiB/s, 10k requests/s, weight 4`. */
export function allowanceText(
  of: Pick<SeenDevice, 'bytesPerS' | 'requestsPerS' | 'weight'>,
): string {
  const parts = [
    ...(of.bytesPerS === undefined ? [] : [bytesASecond(of.bytesPerS)]),
    ...(of.requestsPerS === undefined ? [] : [`${short(of.requestsPerS)} requests/s`]),
    ...(of.weight === undefined ? [] : [`weight ${of.weight}`]),
  ];
  return parts.length === 0 ? 'no limits' : parts.join(', ');
}

type DeviceColumn = Column<SeenDevice>;

function number(title: string, value: (device: SeenDevice) => string): DeviceColumn {
  return { title, value, isNumber: true };
}

export const DEVICE_COLUMNS: readonly DeviceColumn[] = [
  { title: 'device', value: ({ name }) => name },
  number('size', ({ bytes }) => formatBytes(bytes)),
  number('replicas', ({ replicas }) => String(replicas)),
  number('mapped', ({ bytesMapped }) => formatBytes(bytesMapped)),
  { title: 'slabs', value: slabsText },
  { title: 'state', value: stateText },
  { title: 'reads', value: ({ activity }) => operationsText(activity?.read) },
  { title: 'writes', value: ({ activity }) => operationsText(activity?.write) },
  count('errors', ({ read, write }) => read.errors + write.errors),
  count('waiting', ({ waiting }) => waiting),
  pair('copies lost/made', ({ copiesLost, copiesMade }) => [copiesLost, copiesMade]),
  pair('blocks damaged/repaired', (of) => [of.blocksDamaged, of.blocksRepaired]),
];

type Activity = NonNullable<SeenDevice['activity']>;

function count(title: string, of: (activity: Activity) => number): DeviceColumn {
  return number(title, ({ activity }) => (activity === undefined ? '-' : String(of(activity))));
}

function pair(title: string, of: (activity: Activity) => readonly number[]): DeviceColumn {
  return number(title, ({ activity }) => (activity === undefined ? '-' : of(activity).join('/')));
}

/** Only where the devices are asked for: their hosts do not tell it. */
export const LIMITS_COLUMN: DeviceColumn = { title: 'limits', value: allowanceText };
