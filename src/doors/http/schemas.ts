/** What the API takes and gives, as schemas: the checks, the types and the document follow. */
import { z } from 'zod';
import { Status, type StatusName } from '../../base/status.js';
import { PAGE_BYTES_MAX, PAGE_BYTES_MIN } from '../../wire/limits.js';
import { FINDINGS, type FindingCode } from '../../controller/findings.js';

const count = z.int().min(0);
const bytes = count.describe('Bytes.');
const drainState = z
  .enum(['draining', 'drained', 'ended'])
  .describe('ended: its memory was gone before everything had moved away.');

export const findingSchema = z.strictObject({
  code: z
    .enum(Object.keys(FINDINGS) as [FindingCode, ...FindingCode[]])
    .describe('Stable; see docs/status-codes.md.'),
  severity: z.enum(['info', 'warning', 'error']),
  subject: z.string().describe('A node, a host, the name of a space or device, an address.'),
  message: z.string(),
  remedy: z.string(),
});

const operationsSchema = z.strictObject({
  done: count,
  bytes,
  errors: count,
  times: z.array(count).describe('By buckets whose bounds double, from 4 microseconds on.'),
  timesUs: count.describe('What is counted there took in all.'),
  perSecond: z
    .strictObject({ done: z.number(), bytes: z.number() })
    .optional()
    .describe('Between what its host told last and before.'),
  meanUs: count.optional().describe('Of that time, in microseconds.'),
  p99Us: count.optional(),
});

export const deviceSchema = z.strictObject({
  name: z.string(),
  bytes,
  replicas: count.describe('Copies that each slab is to have.'),
  slabBytes: bytes,
  bytesMapped: bytes.describe('Of the device, in slabs that have copies.'),
  slabsAbsent: count,
  slabsKept: count,
  state: z
    .enum(['served', 'waiting', 'away', 'idle'])
    .describe('waiting: its host has no lease; away: the host is silent; idle: nobody uses it.'),
  host: z.string().optional(),
  slabs: z
    .strictObject({
      whole: count,
      degraded: count,
      away: count,
      lost: count,
      inFile: count,
      inDoubt: count,
    })
    .optional()
    .describe('Only of a device that is served.'),
  slabsHot: count.optional().describe('Slabs that are used much.'),
  activity: z
    .strictObject({
      read: operationsSchema,
      write: operationsSchema,
      waiting: count,
      ...{ copiesMade: count, copiesLost: count, blocksRepaired: count, blocksDamaged: count },
    })
    .optional()
    .describe('Counted since the process of the host began.'),
});

export const statusSchema = z.strictObject({
  state: z
    .enum(['serving', 'degraded', 'down'])
    .describe('down: nothing can be read or written. degraded: a finding is an error.'),
  findings: z.array(findingSchema),
  findingsOmitted: count.describe('Findings beyond those listed.'),
  nodes: z.strictObject({ serving: count, away: count, ended: count }),
  hosts: count,
  drains: z
    .array(z.strictObject({ node: z.string(), state: drainState }))
    .describe('Memory nodes that are to be emptied, or have been.'),
  moves: z
    .array(
      z.strictObject({
        space: z.string(),
        region: count,
        from: z.string(),
        to: z.string(),
        ms: count,
      }),
    )
    .describe('Regions on their way; ms: since that began, or since the controller started.'),
  movesOmitted: count.describe('Moves beyond those listed.'),
  spaces: count,
  regions: z.strictObject({ granted: count, lost: count }),
  files: count,
  leases: count.describe('Names of leases that were ever acquired and are not forgotten.'),
  devices: z.array(deviceSchema).describe('Block devices, those in need first.'),
  devicesOmitted: count.describe('Devices beyond those listed.'),
  bytesLent: bytes,
  bytesUsed: bytes,
  bytesCommitted: bytes.describe('Bytes promised by allocations; may exceed what is lent.'),
  uptimeMs: count,
});

export const nodeSchema = z.strictObject({
  id: z.string(),
  kind: z.enum(['memory-node', 'host']),
  address: z.string(),
  state: z.enum(['serving', 'away', 'ended']),
  bytesLent: bytes,
  bytesUsed: bytes,
  bytesCommitted: bytes,
  regions: count,
  pageBytes: count.describe('0 for hosts.'),
  incarnation: count.describe('Rises whenever the process that serves the memory is restarted.'),
  machine: z.string(),
  pid: count.optional().describe("Only of processes on the controller's machine."),
  drain: drainState.optional(),
});

export const newDrainSchema = z.strictObject({
  node: z.string(),
  force: z.boolean().default(false).describe('Also what clients would hold up.'),
});

export const drainSchema = z.strictObject({
  node: z.string(),
  state: drainState,
  isForced: z.boolean(),
  regionsLeft: count,
  bytesLeft: bytes.describe('As of its last heartbeat.'),
  waits: z.array(
    z.strictObject({
      what: z.string().describe('A region of a space, or a node.'),
      reason: z.string(),
      remedy: z.string(),
    }),
  ),
});

export const removedNodeQuerySchema = z.strictObject({
  lost: z
    .enum(['true', 'false'])
    .default('false')
    .describe('true: the word of an operator that its memory is gone for certain.'),
});

export const removedNodeSchema = z.strictObject({
  id: z.string(),
  regionsLost: count.describe('Regions whose only copy is gone: DataLost from now on.'),
});

export const spaceSchema = z.strictObject({
  id: count,
  name: z.string(),
  kind: z.string(),
  pageBytes: count.describe('0 until the first region is granted.'),
  regions: count,
  regionsLost: count,
  state: z.enum(['active', 'removing']),
});

export const newSpaceSchema = z.strictObject({
  name: z.string(),
  kind: z.string().default('dram').describe("'dram', or 'persistent': on disks."),
  pageBytes: z
    .union([z.literal(0), z.int().min(PAGE_BYTES_MIN).max(PAGE_BYTES_MAX)])
    .default(0)
    .describe('A power of two; 0: that of most of the memory of the rack.'),
});

export const adoptedSpaceSchema = z.strictObject({
  id: z.int().min(1).describe('As status names it.'),
  name: z.string().default('').describe('Empty: recovered-ID.'),
});

export const regionsQuerySchema = z.strictObject({ space: z.string().describe('Its name.') });

export const regionSchema = z.strictObject({
  region: count.describe('Its number: the address of its first byte, in GiB.'),
  node: z.string(),
  epoch: count,
  state: z
    .enum(['serving', 'away', 'lost', 'moving'])
    .describe('moving: on its way from this node to another one.'),
});

export const newMoveSchema = z.strictObject({
  space: z.string().describe('The name of the space.'),
  region: z.int().min(0),
  to: z.string().describe('The id of a memory node.'),
});

export const fileSchema = z.strictObject({
  key: z.string(),
  space: count.describe('The id of the space that holds it.'),
  address: count,
  length: bytes,
  sha256: z.string().describe('Hexadecimal, or empty.'),
});

export const filesQuerySchema = z.strictObject({
  prefix: z.string().default(''),
  after: z.string().default('').describe('Keys greater than this one.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

export const filesSchema = z.strictObject({
  files: z.array(fileSchema),
  more: z.boolean().describe('Ask again with `after` set to the last key.'),
});

export const eventsQuerySchema = z.strictObject({
  after: z.coerce.number().int().min(0).default(0).describe('Sequences above this one.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  lastMs: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Of the last so many ms, by the clock of the controller; 0: ever.'),
  space: z.string().default('').describe('The name of a space; empty: any.'),
  node: z
    .string()
    .default('')
    .describe('The id of a node, also of one that a region came from or goes to; empty: any.'),
});

export const eventSchema = z.strictObject({
  sequence: count.describe('The order of events: clocks may be set back.'),
  at: z.string().describe('ISO 8601, UTC.'),
  kind: z.string().describe('See docs/seeing.md; new ones may come.'),
  node: z.string().optional(),
  space: z.string().optional().describe('Its name.'),
  spaceId: count.optional(),
  region: count.optional(),
  epoch: count.optional(),
  details: z.record(z.string(), z.union([z.string(), z.number()])),
});

export const eventsSchema = z.strictObject({
  events: z.array(eventSchema),
  more: z.boolean().describe('Ask again with `after` set to the last sequence.'),
  oldest: count.describe('The oldest sequence that is kept; 0: none.'),
  newest: count.describe('Lower than one that was shown before: the database is an older copy.'),
});

export const healthSchema = z.strictObject({ state: z.enum(['serving', 'degraded', 'down']) });

const codes = Object.keys(Status).filter((name) => name !== 'Ok') as Exclude<StatusName, 'Ok'>[];

export const errorSchema = z.strictObject({
  code: z.enum([...codes, 'Internal']),
  message: z.string(),
  remedy: z.string(),
});

export const noQuerySchema = z.strictObject({});
