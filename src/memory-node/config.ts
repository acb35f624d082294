/**
 * The configuration of a memory node, checked before anything is created: every wrong key is listed
 * with its value and what is allowed, all at once.
 */

import { ConfigError } from '../base/config-error.js';
import { formatBytes, MiB } from '../base/units.js';
import { BLOCK_BYTES } from '../disk/durable-layout.js';
import { tableEntriesFor, tableFileBytes, type TableFacts } from '../disk/table-file.js';
import { MAPPING_BYTES_MAX } from '../runtime/memory.js';
import {
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  REGION_BYTES,
  WINDOWS_END,
  REGIONS_PER_MESSAGE_MAX,
} from '../wire/limits.js';
import { RECORD_ROWS } from '../fabric/datagram/record.js';
import { checkDonorConfig, DONOR_KEYS, type DonorConfig } from './donor-config.js';
import type { DonorOptions } from './node.js';
import type { DurableOptions } from './durable/open-journal.js';
import type { NodeFiles } from './sharing.js';
import { REVOKE_MS_DEFAULT } from './store/revocation.js';

/** Lent memory may be allocated twice over, because much of it is never written (Clio, 4.4.7). */
const OVERCOMMIT = 2;
/** All regions of a node are named in one message when it joins. */
export const REGION_ENTRIES = REGIONS_PER_MESSAGE_MAX;
const FRAMES_MIN = 2;
const WINDOWS_MIN = 64;
const RECORD_MIN = 1_024;
/** A few hundred commits between two checkpoints. */
const LOG_BYTES_DEFAULT = 4 * MiB;
const LOG_BYTES_MIN = 4 * BLOCK_BYTES;
const PERSISTENT_DEFAULTS: PersistentConfig = {
  path: '',
  create: false,
  unprovenFileSystem: false,
  trustCopy: false,
  logBytes: LOG_BYTES_DEFAULT,
};
/** Who waits for the answer hears nothing for some ten times as long at most. */
const REVOKE_MS_MAX = 1_000;

export interface SupervisorConfig extends DonorConfig {
  /** The node's name in the rack. */
  readonly id: string;
  /** Where data and calls are served: `tcp://HOST:PORT`; port 0: any free one. */
  readonly listen: string;
  /** Addresses of the controller; none: the node serves whoever knows its address. */
  readonly join?: readonly string[];
  /** Name of this machine. */
  readonly machine?: string;
  /**
   * The word of an operator that the memory known under this id is gone, where that cannot be
   * proved. It is not believed while that memory is being served.
   */
  readonly replace?: boolean;
  /** Bytes to lend; rounded down to whole pages. */
  readonly memoryBytes: number;
  readonly pageBytes?: number;
  /** Pages that may be allocated in all. */
  readonly commitPages?: number;
  /** Entries of the page table, a power of two. */
  readonly tableEntries?: number;
  /** Windows that may be open at the same time. */
  readonly windowEntries?: number;
  /** Changes that came as datagrams and are remembered, a power of two. */
  readonly recordRows?: number;
  /** Zeroed frames that are kept ready. */
  readonly zeroedFrames?: number;
  /**
   * How long, in milliseconds, a thread that reads and writes without the node may take for a step
   * before its page is copied away from under it.
   */
  readonly revokeMs?: number;
  /** Of memory on a disk; its sizes are those that its file was made with. */
  readonly persistent?: Partial<PersistentConfig>;
}

/** Memory that is a file on a disk, and outlives processes and machines as far as it is flushed. */
export interface PersistentConfig {
  readonly path: string;
  /** Makes the file; refused where there is one. Without it there must be one. */
  readonly create: boolean;
  /** The word of an operator that a file system will do of which nothing is known. */
  readonly unprovenFileSystem: boolean;
  /**
   * The word of an operator that an older copy of a file is to be served: what was stored since is
   * lost then.
   */
  readonly trustCopy: boolean;
  /** Of a file that is made: a multiple of 4,096. */
  readonly logBytes: number;
}

export interface CheckedSupervisorConfig
  extends Required<Omit<SupervisorConfig, keyof DonorConfig | 'persistent'>> {
  readonly frames: number;
  readonly donor: DonorOptions | undefined;
  readonly persistent: PersistentConfig | undefined;
}

/** What a supervisor tells of the file that it has opened. */
export interface DurableFacts extends DurableOptions {
  /** The name of a file system of which nothing is known; empty: it is known to do. */
  readonly unprovenFileSystem: string;
  readonly isTrusted: boolean;
}

/** What a supervisor gives to the process that serves. */
export interface MemoryNodeConfig extends NodeFiles {
  readonly durable?: DurableFacts;
  readonly id: string;
  readonly join: readonly string[];
  readonly listen: string;
  /** Where to listen when `listen` is taken by somebody else meanwhile. */
  readonly listenElse: string;
  readonly machine: string;
  /** Identity of the supervisor. */
  readonly keeper: string;
  readonly commitPages: number;
  readonly zeroedFrames: number;
  readonly revokeMs: number;
  readonly recordRows: number;
  readonly donor?: DonorOptions | undefined;
}

const KEYS: readonly (keyof SupervisorConfig)[] = [
  'id',
  'listen',
  'join',
  'machine',
  'replace',
  'memoryBytes',
  'pageBytes',
  'commitPages',
  'tableEntries',
  'windowEntries',
  'recordRows',
  'zeroedFrames',
  'revokeMs',
  ...DONOR_KEYS,
  'persistent',
];

/** Throws a `ConfigError`. Takes anything: it came from a file or another process. */
export function checkSupervisorConfig(config: unknown): CheckedSupervisorConfig {
  if (typeof config !== 'object' || config === null) {
    throw new ConfigError('memory node', ['it is not an object']);
  }
  const given = config as Record<string, unknown>;
  const problems = Object.keys(given)
    .filter((key) => !KEYS.some((known) => known === key))
    .map((key) => `${key}: there is no such key; there are ${KEYS.join(', ')}`);
  const check = (key: string, isGood: boolean, allowed: string): boolean => {
    if (!isGood) problems.push(`${key}: ${JSON.stringify(given[key])} is not ${allowed}`);
    return isGood;
  };
  checkPlaces(given, check);
  const donor = checkDonorConfig(given, check);
  const persistent = checkPersistent(given, check);
  const sizes = checkSizes(given, check);
  if (problems.length > 0 || sizes === undefined) throw new ConfigError('memory node', problems);
  return {
    id: given['id'] as string,
    listen: given['listen'] as string,
    join: (given['join'] ?? []) as readonly string[],
    machine: (given['machine'] ?? 'localhost') as string,
    replace: (given['replace'] ?? false) as boolean,
    revokeMs: (given['revokeMs'] ?? revokeMsDefault(persistent)) as number,
    windowEntries: (given['windowEntries'] ?? WINDOWS_END) as number,
    recordRows: (given['recordRows'] ?? RECORD_ROWS) as number,
    // What is on a disk the kernel takes back by itself.
    donor: persistent === undefined ? donor : undefined,
    persistent,
    ...sizes,
  };
}

/** A step on memory of a disk may wait for that. */
function revokeMsDefault(persistent: PersistentConfig | undefined): number {
  return persistent === undefined ? REVOKE_MS_DEFAULT : REVOKE_MS_MAX;
}

type Check = (key: string, isGood: boolean, allowed: string) => boolean;

function checkPlaces(given: Record<string, unknown>, check: Check): void {
  const { id, listen, join = [], machine = 'localhost', replace = false } = given;
  const { revokeMs = REVOKE_MS_DEFAULT } = given;
  const isId = typeof id === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(id);
  check('id', isId, 'a name of 1 to 63 letters, digits, dots, dashes and underscores');
  check('listen', isAddress(listen), 'tcp://HOST:PORT, unix://PATH or ring://PATH');
  const isJoin = Array.isArray(join) && join.every(isAddress);
  check('join', isJoin, 'a list of tcp://HOST:PORT, unix://PATH or ring://PATH');
  const isMachine = typeof machine === 'string' && /^[ -~]{1,255}$/.test(machine);
  check('machine', isMachine, 'a name of 1 to 255 printable characters');
  check('replace', typeof replace === 'boolean', 'true or false');
  const isRevoke = isCount(revokeMs) && revokeMs >= 1 && revokeMs <= REVOKE_MS_MAX;
  check('revokeMs', isRevoke, `an integer from 1 to ${REVOKE_MS_MAX}`);
  const { windowEntries = WINDOWS_END } = given;
  const isWindows = isPowerOfTwo(windowEntries) && windowEntries >= WINDOWS_MIN;
  const fits = isWindows && windowEntries <= WINDOWS_END;
  const { recordRows = RECORD_ROWS } = given;
  const isRecord = isPowerOfTwo(recordRows) && recordRows >= RECORD_MIN;
  const recordAllowed = `a power of two from ${RECORD_MIN} to ${RECORD_ROWS}`;
  check('recordRows', isRecord && recordRows <= RECORD_ROWS, recordAllowed);
  check('windowEntries', fits, `a power of two from ${WINDOWS_MIN} to ${WINDOWS_END}`);
}

function checkPersistent(
  given: Record<string, unknown>,
  check: Check,
): PersistentConfig | undefined {
  const persistent = given['persistent'];
  if (persistent === undefined) return undefined;
  const chosen = { ...PERSISTENT_DEFAULTS, ...(persistent as object) };
  const { path, create, unprovenFileSystem, trustCopy, logBytes } = chosen;
  const isLog = isCount(logBytes) && logBytes >= LOG_BYTES_MIN && logBytes % BLOCK_BYTES === 0;
  const isGood =
    typeof persistent === 'object' &&
    Object.keys(chosen).every((key) => key in PERSISTENT_DEFAULTS) &&
    typeof path === 'string' &&
    path !== '' &&
    [create, unprovenFileSystem, trustCopy].every((value) => typeof value === 'boolean');
  const least = `logBytes a multiple of ${BLOCK_BYTES} from ${LOG_BYTES_MIN} on`;
  check('persistent', isGood && isLog, `a path, create, and so on; ${least}`);
  return chosen;
}

function isAddress(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  const port = /^tcp:\/\/[!-~]+:(\d{1,5})$/.exec(value)?.[1];
  return port === undefined ? /^(unix|ring):\/\/[!-~]+$/.test(value) : Number(port) < 65536;
}

type Sizes = Pick<
  CheckedSupervisorConfig,
  'memoryBytes' | 'pageBytes' | 'frames' | 'commitPages' | 'tableEntries' | 'zeroedFrames'
>;

function checkSizes(given: Record<string, unknown>, check: Check): Sizes | undefined {
  const pageBytes = given['pageBytes'] ?? PAGE_BYTES_DEFAULT;
  const isPage =
    isPowerOfTwo(pageBytes) && pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX;
  const pageAllowed = `a power of two from ${PAGE_BYTES_MIN} to ${PAGE_BYTES_MAX}`;
  if (!check('pageBytes', isPage, pageAllowed) || !isPage) return undefined;
  const memory = given['memoryBytes'];
  const most = framesMax() * pageBytes;
  const isMemory = isCount(memory) && memory >= FRAMES_MIN * pageBytes && memory <= most;
  const least = `${FRAMES_MIN} pages of ${formatBytes(pageBytes)}`;
  const memoryAllowed = `at least ${least}, at most ${formatBytes(most)} (more: larger pages)`;
  if (!check('memoryBytes', isMemory, memoryAllowed) || !isMemory) return undefined;
  const frames = Math.floor(memory / pageBytes);
  const tableEntries = given['tableEntries'] ?? tableEntriesFor(frames);
  const isTable = isPowerOfTwo(tableEntries) && tableEntries >= tableEntriesFor(1);
  const fits = isTable && tableEntries <= tableEntriesFor(framesMax());
  if (!check('tableEntries', fits, 'a power of two from 16 on') || !isTable) return undefined;
  const commitPages = given['commitPages'] ?? OVERCOMMIT * frames;
  const isCommit = isCount(commitPages) && commitPages >= 1 && commitPages <= tableEntries;
  check('commitPages', isCommit, `an integer from 1 to ${tableEntries}`);
  const zeroedFrames = given['zeroedFrames'] ?? zeroedFramesFor(frames, pageBytes);
  const isZeroed = isCount(zeroedFrames) && zeroedFrames >= 1 && zeroedFrames <= frames;
  check('zeroedFrames', isZeroed, `an integer from 1 to ${frames}`);
  if (!isCommit || !isZeroed) return undefined;
  const memoryBytes = frames * pageBytes;
  return { memoryBytes, pageBytes, frames, commitPages, tableEntries, zeroedFrames };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value);

function isPowerOfTwo(value: unknown): value is number {
  return isCount(value) && value > 0 && Number.isInteger(Math.log2(value));
}

/** The table file is one mapping. */
function framesMax(): number {
  let frames = 1;
  const bytesFor = (count: number): number =>
    tableFileBytes({ ...NO_FACTS, tableEntries: tableEntriesFor(count) });
  while (bytesFor(2 * frames) <= MAPPING_BYTES_MAX) frames *= 2;
  return frames;
}

const NO_FACTS: TableFacts = {
  nodeId: '-',
  memoryId: 0,
  pageBytes: PAGE_BYTES_DEFAULT,
  frames: 1,
  tableEntries: 16,
  regionEntries: REGION_ENTRIES,
  regionBytes: REGION_BYTES,
  windowEntries: WINDOWS_END,
};

/** About 128 MiB, so that a burst of first writes finds frames; at most an eighth of all. */
function zeroedFramesFor(frames: number, pageBytes: number): number {
  const wanted = Math.max(2, Math.min(4096, Math.floor((128 * 1024 * 1024) / pageBytes)));
  return Math.max(1, Math.min(wanted, Math.ceil(frames / 8)));
}
