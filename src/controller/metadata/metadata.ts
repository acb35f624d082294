/**
 * All metadata, in memory as it is on disk.
 *
 * It is loaded once; every change goes to the database first and into the maps when it is durable,
 * so a reader of the maps never sees what a restart could forget. Who changes something does it
 * within `Serial`, reads the maps, and commits.
 *
 * A commit that fails leaves unknown what is stored: the controller must stop, and after a restart
 * the database says what holds. `failed` is called for that, and no commit is tried again.
 */

import { assertNever } from '../../base/assert.js';
import type { RegionIndex, SpaceId } from '../../base/brands.js';
import { regionKey } from '../../base/region-key.js';
import type { Clock } from '../../runtime/clock.js';
import type { Change, Database, Databases, Row } from '../../runtime/database.js';
import { controllerFaults } from '../planted.js';
import { SortedKeys } from '../sorted-keys.js';
import type { MetadataChange, Place } from './change.js';
import { History, type Telling } from './history.js';
import {
  COUNTER_NAMES,
  type CounterName,
  type CutRow,
  type DeviceRow,
  type DiskRow,
  type DoubtfulFileRow,
  type DrainRow,
  type EventRow,
  type FileRow,
  type GarbageRow,
  type KeptRow,
  type LeaseRow,
  type MoveRow,
  type NodeRow,
  type Numbers,
  type RegionRow,
  type RemovedDeviceRow,
  SCHEMA,
  type SlabSetRow,
  type SpaceRow,
  type StartRow,
} from './schema.js';
import { SlabSets } from './slab-sets.js';

const DATABASE_NAME = 'controller';

export type { MetadataChange, Place };

export interface MetadataOptions {
  /** Undefined: nothing is kept over a restart. */
  readonly folder: string | undefined;
  /** Where numbering begins in an empty database. */
  readonly firstNumbers: Readonly<Record<CounterName, number>>;
  readonly clock: Pick<Clock, 'wall'>;
  /** Random, of this process. */
  readonly instance: number;
  /** A commit failed: ends the process. */
  readonly failed: (reason: unknown) => void;
}

export class Metadata {
  readonly nodes = new Map<string, NodeRow>();
  /** By node. */
  readonly disks = new Map<string, DiskRow>();
  /** By `regionKey`. */
  readonly kept = new Map<number, KeptRow>();
  readonly spaces = new Map<SpaceId, SpaceRow>();
  /** Of active spaces only: the name of a space that is being removed is free again. */
  readonly spaceIds = new Map<string, SpaceId>();
  /** By space, then by region index. */
  readonly regions = new Map<SpaceId, Map<RegionIndex, RegionRow>>();
  /** The same rows by node, then by `regionKey`. */
  readonly regionsByNode = new Map<string, Map<number, RegionRow>>();
  readonly files = new Map<string, FileRow>();
  fileKeys = new SortedKeys();
  /** By `placeKey`. */
  readonly garbage = new Map<string, GarbageRow>();
  /** By name. */
  readonly leases = new Map<string, LeaseRow>();
  /** Keys of files whose places may be others' by now. */
  readonly doubtfulFiles = new Set<string>();
  /** By `regionKey`. */
  readonly moves = new Map<number, MoveRow>();
  /** By the id of the node. */
  readonly drains = new Map<string, DrainRow>();
  /** By name. */
  readonly devices = new Map<string, DeviceRow>();
  /** Their names by their numbers. */
  readonly deviceNames = new Map<number, string>();
  readonly slabSets = new SlabSets();
  /** By the number of the device, the longest ago first. */
  readonly removedDevices = new Map<number, RemovedDeviceRow>();
  /** By the number of the device. */
  readonly cuts = new Map<number, CutRow>();
  /** By their first commit, the oldest first. */
  readonly starts = new Map<number, StartRow>();
  readonly history: History;
  /** Of this process, in the marks that nodes are told. */
  readonly instance: number;
  readonly #counters: Record<CounterName, number>;
  readonly #database: Database;
  readonly #failed: (reason: unknown) => void;
  #isFailed = false;
  #isClosed = false;
  #commits = 0;
  #opened: Readonly<Record<CounterName, number>>;
  #openedStarts: readonly StartRow[] = [];

  private constructor(database: Database, options: MetadataOptions) {
    this.#database = database;
    this.#failed = options.failed;
    this.instance = options.instance;
    this.#counters = { ...options.firstNumbers };
    this.#opened = this.#counters;
    this.history = new History(this, options.clock);
  }

  /** Rejects (`DiskError`) when the database cannot be opened or read. */
  static async open(databases: Databases, options: MetadataOptions): Promise<Metadata> {
    const database = await databases.open(options.folder, DATABASE_NAME, SCHEMA);
    const metadata = new Metadata(database, options);
    metadata.#load();
    metadata.#opened = { ...metadata.#counters };
    metadata.#openedStarts = [...metadata.starts.values()];
    return metadata;
  }

  /** The next number of this kind; taken by committing the counter with the row that uses it. */
  next<Name extends CounterName>(name: Name): Numbers[Name] {
    return this.#counters[name] as Numbers[Name];
  }

  /** A counter as it was found when the database was opened. */
  opened(name: CounterName): number {
    return this.#opened[name];
  }

  /** The last commit of which it is known that it is part of the truth, when it was opened. */
  get openedTrue(): number {
    return (this.#openedStarts[0]?.commit ?? this.#opened.commit + 1) - 1;
  }

  /**
   * The last commit of a process of the controller that this database has, when it was opened. Of
   * one that is not written down it was made before all that are.
   */
  openedLast(instance: number): number {
    const at = this.#openedStarts.findIndex((start) => start.instance === instance);
    const next = this.#openedStarts[at + 1];
    return next === undefined ? this.#opened.commit : next.commit - 1;
  }

  /** From here on the database is as new as the truth: nodes have told what it did not know. */
  believe(): void {
    this.#opened = { ...this.#counters };
    this.#openedStarts = [];
  }

  get commits(): number {
    return this.#commits;
  }

  regionsOf(space: SpaceId): ReadonlyMap<RegionIndex, RegionRow> {
    return this.regions.get(space) ?? (EMPTY as ReadonlyMap<RegionIndex, RegionRow>);
  }

  regionsOfNode(node: string): ReadonlyMap<number, RegionRow> {
    return this.regionsByNode.get(node) ?? (EMPTY as ReadonlyMap<number, RegionRow>);
  }

  /** The move that is under way of a region. */
  moveOf(row: { readonly space: SpaceId; readonly region: RegionIndex }): MoveRow | undefined {
    return this.moves.get(regionKey(row.space, row.region));
  }

  /** By its number. */
  device(device: number): DeviceRow | undefined {
    const name = this.deviceNames.get(device);
    return name === undefined ? undefined : this.devices.get(name);
  }

  activeSpace(id: SpaceId): SpaceRow | undefined {
    const space = this.spaces.get(id);
    return space?.state === 'active' ? space : undefined;
  }

  /**
   * All or none, durable when it resolves. Never resolves after a failure. What the changes mean
   * goes into the history with them; `telling`: what they do not show. Where nothing changes,
   * events wait for the next commit: nobody waits for a flush for their sake.
   */
  async commit(changes: readonly MetadataChange[], telling: Telling = {}): Promise<void> {
    if (changes.length === 0) {
      this.history.note(telling.events ?? []);
      return;
    }
    await this.#commit(changes, telling);
  }

  /** Events that wait for a commit get one of their own. */
  async commitEvents(): Promise<void> {
    if (this.history.waiting > 0) await this.#commit([], {});
  }

  async #commit(changes: readonly MetadataChange[], telling: Telling): Promise<void> {
    if (this.#isFailed || this.#isClosed) return never();
    if (controllerFaults.filesToldBeforeDurable && changes.every(isOfFiles)) {
      void this.commitLate(changes, Promise.resolve());
      return;
    }
    const numbered = this.#numbered([...changes, ...this.history.changesFor(changes, telling)]);
    try {
      await this.#database.commit(numbered.map(databaseChange));
    } catch (reason) {
      if (!controllerFaults.failedCommitTold) {
        this.#isFailed = true;
        this.#failed(reason);
        return never();
      }
    }
    this.#commits++;
    for (const change of numbered) this.#apply(change);
  }

  /** Every commit carries its number, so that a copy of the database shows how old it is. */
  #numbered(changes: readonly MetadataChange[]): readonly MetadataChange[] {
    const isGiven = changes.some(
      (one) => one.table === 'counters' && 'put' in one && one.put.name === 'commit',
    );
    if (isGiven) return changes;
    return [
      ...changes,
      { table: 'counters', put: { name: 'commit', next: this.#counters.commit + 1 } },
    ];
  }

  /** Of all that is durable, for a back-up. */
  copy(): Promise<Uint8Array> {
    return this.#database.copy();
  }

  /** The planted bug of `planted.ts`: it can be told before it is durable. */
  async commitLate(changes: readonly MetadataChange[], delay: Promise<void>): Promise<void> {
    for (const change of changes) this.#apply(change);
    await delay;
    if (!this.#isClosed) await this.#database.commit(changes.map(databaseChange));
  }

  /** Nothing is committed after it, and whoever tries is never answered. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#database.close();
  }

  #load(): void {
    for (const row of this.#database.select('counters')) {
      const name = COUNTER_NAMES.find((known) => known === row['name']);
      if (name !== undefined) this.#counters[name] = row['next'] as number;
    }
    // The schema is checked when the database is opened, so the rows have these columns.
    for (const row of this.#database.select('nodes')) this.#putNode(row as NodeRow);
    for (const row of this.#database.select('disks')) this.#putDisk(row as DiskRow);
    for (const row of this.#database.select('kept')) this.#putKept(row as KeptRow);
    for (const row of this.#database.select('spaces')) this.#putSpace(row as SpaceRow);
    for (const row of this.#database.select('regions')) this.#putRegion(row as RegionRow);
    for (const row of this.#database.select('files')) {
      const file = row as FileRow;
      this.files.set(file.key, file);
    }
    this.fileKeys = new SortedKeys(this.files.keys());
    for (const row of this.#database.select('garbage')) this.#putGarbage(row as GarbageRow);
    for (const row of this.#database.select('leases')) this.#putLease(row as LeaseRow);
    for (const row of this.#database.select('doubtfulFiles')) {
      this.doubtfulFiles.add((row as DoubtfulFileRow).key);
    }
    for (const row of this.#database.select('moves')) this.#putMove(row as MoveRow);
    this.#loadDevices();
    const starts = this.#database.select('starts') as StartRow[];
    for (const row of starts.sort((a, b) => a.commit - b.commit)) this.starts.set(row.commit, row);
    if (controllerFaults.drainsForgotten) return;
    for (const row of this.#database.select('drains')) this.#putDrain(row as DrainRow);
    const events = this.#database.select('events') as EventRow[];
    for (const row of events.sort((a, b) => a.sequence - b.sequence)) this.history.put(row);
  }

  #loadDevices(): void {
    for (const row of this.#database.select('devices')) this.#putDevice(row as DeviceRow);
    for (const row of this.#database.select('slabSets')) this.slabSets.put(row as SlabSetRow);
    const removed = this.#database.select('removedDevices') as RemovedDeviceRow[];
    for (const row of removed.sort((a, b) => a.sinceMs - b.sinceMs)) {
      this.removedDevices.set(row.device, row);
    }
    const cuts = this.#database.select('cuts') as CutRow[];
    for (const row of cuts) this.cuts.set(row.device, row);
  }

  #apply(change: MetadataChange): void {
    switch (change.table) {
      case 'counters':
        this.#counters[change.put.name] = change.put.next;
        return;
      case 'nodes':
        if ('put' in change) this.#putNode(change.put);
        else this.nodes.delete(change.remove);
        return;
      case 'disks':
        if ('put' in change) this.#putDisk(change.put);
        else this.disks.delete(change.remove);
        return;
      case 'kept':
        if ('put' in change) this.#putKept(change.put);
        else this.kept.delete(regionKey(change.remove.space, change.remove.region));
        return;
      case 'spaces':
        if ('put' in change) this.#putSpace(change.put);
        else this.#removeSpace(change.remove);
        return;
      case 'regions':
        if ('put' in change) this.#putRegion(change.put);
        else this.#removeRegion(change.remove);
        return;
      case 'files':
        if ('put' in change) this.#putFile(change.put);
        else this.#removeFile(change.remove);
        return;
      case 'garbage':
        if ('put' in change) this.#putGarbage(change.put);
        else this.garbage.delete(placeKey(change.remove));
        return;
      case 'leases':
        if ('put' in change) this.#putLease(change.put);
        else this.leases.delete(change.remove);
        return;
      case 'doubtfulFiles':
        if ('put' in change) this.doubtfulFiles.add(change.put.key);
        else this.doubtfulFiles.delete(change.remove);
        return;
      case 'moves':
        if ('put' in change) this.#putMove(change.put);
        else this.moves.delete(regionKey(change.remove.space, change.remove.region));
        return;
      case 'drains':
        if ('put' in change) this.#putDrain(change.put);
        else this.drains.delete(change.remove);
        return;
      case 'devices':
      case 'slabSets':
      case 'removedDevices':
      case 'cuts':
        this.#applyToDevices(change);
        return;
      case 'starts':
        if ('put' in change) this.starts.set(change.put.commit, change.put);
        else this.starts.delete(change.remove);
        return;
      case 'events':
        if ('put' in change) this.history.put(change.put);
        else this.history.remove(change.remove);
        return;
      default:
        assertNever(change);
    }
  }

  #applyToDevices(change: ChangeOfDevices): void {
    switch (change.table) {
      case 'devices':
        if ('put' in change) this.#putDevice(change.put);
        else this.#removeDevice(change.remove);
        return;
      case 'slabSets':
        if ('put' in change) this.slabSets.put(change.put);
        else this.slabSets.remove(change.remove);
        return;
      case 'removedDevices':
        if ('put' in change) this.removedDevices.set(change.put.device, change.put);
        else this.removedDevices.delete(change.remove);
        return;
      case 'cuts':
        if ('put' in change) this.cuts.set(change.put.device, change.put);
        else this.cuts.delete(change.remove);
        return;
      default:
        assertNever(change);
    }
  }

  #putNode(row: NodeRow): void {
    this.nodes.set(row.id, row);
  }

  #putDisk(row: DiskRow): void {
    this.disks.set(row.node, row);
  }

  #putKept(row: KeptRow): void {
    this.kept.set(regionKey(row.space, row.region), row);
  }

  #putSpace(row: SpaceRow): void {
    this.spaces.set(row.id, row);
    if (row.state === 'active') this.spaceIds.set(row.name, row.id);
    else if (this.spaceIds.get(row.name) === row.id) this.spaceIds.delete(row.name);
  }

  #removeSpace(id: SpaceId): void {
    const row = this.spaces.get(id);
    if (row !== undefined && this.spaceIds.get(row.name) === id) this.spaceIds.delete(row.name);
    this.spaces.delete(id);
  }

  #putRegion(row: RegionRow): void {
    const before = this.regions.get(row.space)?.get(row.region);
    if (before !== undefined) this.#removeRegion(before);
    groupOf(this.regions, row.space).set(row.region, row);
    groupOf(this.regionsByNode, row.node).set(regionKey(row.space, row.region), row);
  }

  #removeRegion(row: RegionRow): void {
    const ofSpace = this.regions.get(row.space);
    ofSpace?.delete(row.region);
    if (ofSpace?.size === 0) this.regions.delete(row.space);
    const ofNode = this.regionsByNode.get(row.node);
    ofNode?.delete(regionKey(row.space, row.region));
    if (ofNode?.size === 0) this.regionsByNode.delete(row.node);
  }

  #putFile(row: FileRow): void {
    this.files.set(row.key, row);
    this.fileKeys.add(row.key);
  }

  #putGarbage(row: GarbageRow): void {
    this.garbage.set(placeKey(row), row);
  }

  #putLease(row: LeaseRow): void {
    this.leases.set(row.name, row);
  }

  #putMove(row: MoveRow): void {
    this.moves.set(regionKey(row.space, row.region), row);
  }

  #putDrain(row: DrainRow): void {
    this.drains.set(row.node, row);
  }

  #putDevice(row: DeviceRow): void {
    this.devices.set(row.name, row);
    this.deviceNames.set(row.device, row.name);
  }

  #removeDevice(name: string): void {
    const row = this.devices.get(name);
    if (row !== undefined) this.deviceNames.delete(row.device);
    this.devices.delete(name);
  }

  #removeFile(key: string): void {
    this.files.delete(key);
    this.fileKeys.remove(key);
  }
}

export function placeKey({ space, address }: Place): string {
  return `${space}/${address}`;
}

function groupOf<Key, Inner>(
  groups: Map<Key, Map<Inner, RegionRow>>,
  key: Key,
): Map<Inner, RegionRow> {
  let group = groups.get(key);
  if (group === undefined) groups.set(key, (group = new Map()));
  return group;
}

const EMPTY: ReadonlyMap<never, RegionRow> = new Map<never, RegionRow>();

/**
 * What a caller waits for whose change can no longer be told anything about: the end. A new one
 * each time, because a shared one remembers for ever who waits for it.
 */
function never(): Promise<never> {
  return new Promise<never>(() => undefined);
}

function isOfFiles({ table }: MetadataChange): boolean {
  return table === 'files' || table === 'garbage';
}

function databaseChange(change: MetadataChange): Change {
  if ('put' in change) return { put: change.table, row: change.put };
  return { remove: change.table, key: removedKey(change) };
}

type ChangeOfDevices = Extract<
  MetadataChange,
  { readonly table: 'devices' | 'slabSets' | 'removedDevices' | 'cuts' }
>;

function removedKey(change: Extract<MetadataChange, { readonly remove: unknown }>): Row {
  switch (change.table) {
    case 'nodes':
    case 'spaces':
      return { id: change.remove };
    case 'disks':
    case 'drains':
      return { node: change.remove };
    case 'kept':
    case 'regions':
      return { space: change.remove.space, region: change.remove.region };
    case 'files':
    case 'doubtfulFiles':
      return { key: change.remove };
    case 'garbage':
      return { space: change.remove.space, address: change.remove.address };
    case 'leases':
    case 'devices':
      return { name: change.remove };
    case 'slabSets':
      return { device: change.remove.device, slab: change.remove.slab };
    case 'removedDevices':
    case 'cuts':
      return { device: change.remove };
    case 'moves':
      return { space: change.remove.space, region: change.remove.region };
    case 'starts':
      return { commit: change.remove };
    case 'events':
      return { sequence: change.remove };
    default:
      return assertNever(change);
  }
}
