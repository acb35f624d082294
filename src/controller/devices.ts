/**
 * Block devices, as the controller knows them (docs/internals/block-devices.md): their names and
 * facts, and a row for each slab that has copies, which says which of them count.
 *
 * A row changes by one generation at a time, and only for the holder of the last epoch of the
 * device's lease. That epoch stands in the lease's row before any node hears of it, and the next
 * holder reads the rows after that: so whatever the holder before asks for is refused, or was seen.
 *
 * Removing begins with one commit that takes the name, and keeps the number. Rows go after it, a
 * bounded number at a time, after a restart too.
 */
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import { formatBytes } from '../base/units.js';
import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { deviceLeaseName, deviceOfLease } from '../leases/device-lease.js';
import { LEASES_PER_RACK_MAX } from '../leases/limits.js';
import { layoutOf } from '../replication/layout.js';
import type { Clock } from '../runtime/clock.js';
import {
  DEVICE_BYTES_MAX,
  REGION_BYTES,
  SECTOR_BYTES,
  SLAB_BYTES_MAX,
  SLAB_COPIES_MAX,
} from '../wire/limits.js';
import { type LeaseNode, nodesOf } from './lease-sets.js';
import { DEVICES_REMOVED_MAX, PURGE_ROWS_MAX, SLAB_SETS_MAX } from './limits.js';
import type { Membership } from './membership.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { DeviceRow, LeaseRow, SlabSetRow } from './metadata/schema.js';
import {
  copiesOf,
  copiesText,
  isBackup,
  regionOfCopy,
  type SetCopy,
} from './metadata/slab-sets.js';
import { quote, refuseName } from './names.js';
import type { Orphans } from './orphans.js';
import { isLeaving } from './places.js';
import { controllerFaults } from './planted.js';
import { ok, type Refusal, type Result, refuse } from './refusal.js';

export interface DeviceWish {
  readonly name: string;
  /** Random, chosen by who makes it. */
  readonly device: number;
  readonly bytes: number;
  /** Memory of one slab. */
  readonly slabBytes: number;
  /** Of each slab, as many as are wanted. */
  readonly copies: number;
  readonly options: string;
}

export interface ResizeWish {
  readonly name: string;
  readonly device: number;
  /** As who asks knows it. */
  readonly bytesBefore: number;
  readonly bytes: number;
  /** Of the device's lease; to grow it is not looked at. */
  readonly epoch: number;
  /** Slabs beyond the new end go, though they were written. */
  readonly isForced: boolean;
}

export interface OptionsWish {
  readonly name: string;
  readonly device: number;
  /** As who asks knows them. */
  readonly before: string;
  readonly options: string;
}

export interface SetWish {
  readonly device: number;
  /** Of the device's lease. */
  readonly epoch: number;
  readonly slab: number;
  readonly generation: number;
  readonly copies: readonly SetCopy[];
}

/** What stands there now; generation 0: nothing. */
export interface SetNow {
  /** It is what was asked for. */
  readonly isTaken: boolean;
  readonly generation: number;
  readonly copies: readonly SetCopy[];
}

export interface SetsPage {
  readonly rows: readonly SlabSetRow[];
  /** The slab to go on with; 0: these are all. */
  readonly next: number;
}

export interface DevicesOptions {
  readonly metadata: Metadata;
  readonly membership: Pick<Membership, 'members' | 'state'>;
  readonly changes: Serial;
  readonly clock: Pick<Clock, 'wall'>;
  /** The least memory of a slab. */
  readonly slabBytesMin: number;
  readonly orphans: Pick<Orphans, 'made' | 'awaited'>;
}

/** In a refusal. */
const NODES_TOLD_MAX = 8;

/** Some pages of sets. */
const SETS_SORTED_MAX = 8_192;

/** One for each that is served: who serves it holds its lease. */
const DEVICES_MAX = LEASES_PER_RACK_MAX;

export class Devices {
  readonly #options: DevicesOptions;
  #isSweeping = false;
  /** Devices that may have rows beyond their end. */
  readonly #cut = new Set<number>();

  constructor(options: DevicesOptions) {
    this.#options = options;
  }

  /** After a start: goes on with removals that were under way. */
  resume(): void {
    for (const { device } of this.#options.metadata.devices.values()) this.#cut.add(device);
    void this.#sweep();
  }

  /** Idempotent. */
  create(wish: DeviceWish): Promise<Result<object>> {
    const { metadata, changes, clock, slabBytesMin } = this.#options;
    const wrong = refuseFacts(wish, slabBytesMin);
    if (wrong !== undefined) return Promise.resolve(wrong);
    return changes.run(async () => {
      const known = metadata.devices.get(wish.name);
      if (known !== undefined && isSame(known, wish)) return ok({});
      const refusal = this.#refuseNew(wish);
      if (refusal !== undefined) return refusal;
      const { name, device, bytes, slabBytes, copies, options } = wish;
      const sinceMs = Math.floor(clock.wall());
      const put: DeviceRow = { name, device, bytes, slabBytes, copies, options, sinceMs };
      await metadata.commit([{ table: 'devices', put }]);
      return ok({});
    });
  }

  #refuseNew({ name, device }: DeviceWish): Refusal | undefined {
    const { devices, deviceNames, removedDevices } = this.#options.metadata;
    if (devices.has(name)) {
      return refuse(Status.Exists, `there is a device ${quote(name)} already: choose another name`);
    }
    if (deviceNames.has(device) || removedDevices.has(device)) {
      return refuse(Status.Exists, `the number ${device} was another device's: choose another one`);
    }
    if (devices.size < DEVICES_MAX) return undefined;
    return refuse(Status.NoSpace, `there are ${devices.size} devices already: remove some`);
  }

  open(name: string): Result<{ device: DeviceRow }> {
    const device = this.#options.metadata.devices.get(name);
    return device === undefined ? refuseUnknown(name) : ok({ device });
  }

  /** By name. */
  list(): DeviceRow[] {
    const rows = [...this.#options.metadata.devices.values()];
    return rows.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * By the holder of the lease's last epoch. `Ok` once it is durable; idempotent. Nobody waits for
   * its rows to go: there may be a million.
   */
  async remove(name: string, device: number, epoch: number): Promise<Result<object>> {
    const { metadata, changes, orphans } = this.#options;
    const result = await changes.run(async () => {
      if (metadata.removedDevices.has(device)) return ok({});
      if (metadata.devices.get(name)?.device !== device) return refuseUnknown(name);
      const stale = this.#refuseEpoch(device, epoch);
      if (stale !== undefined) return stale;
      await metadata.commit([{ table: 'devices', remove: name }, ...this.#tombstone(device)]);
      orphans.made();
      return ok({});
    });
    void this.#sweep();
    return result;
  }

  /**
   * `Ok` once it is durable; idempotent. Whoever serves a device that grows is not harmed: it knows
   * fewer sectors. It shrinks by the holder of the lease's last epoch alone.
   */
  async resize(wish: ResizeWish): Promise<Result<object>> {
    const { metadata, changes, orphans } = this.#options;
    const result = await changes.run(async () => {
      const { name, device, bytes } = wish;
      const row = metadata.devices.get(name);
      if (row?.device !== device) return refuseUnknown(name);
      const wrong = refuseBytes(bytes);
      if (wrong !== undefined || row.bytes === bytes) return wrong ?? ok({});
      if (row.bytes !== wish.bytesBefore) {
        const message = `device ${quote(name)} has ${row.bytes} bytes by now: look at it again`;
        return refuse(Status.Conflict, message);
      }
      const refusal = bytes > row.bytes ? this.#refuseGrowth(row) : this.#refuseCut(row, wish);
      if (refusal !== undefined) return refusal;
      const put = { ...row, bytes };
      await metadata.commit([{ table: 'devices', put }, ...this.#cutChanges(row, put, wish)]);
      if (bytes < row.bytes) this.#cut.add(device);
      if (metadata.cuts.has(device)) orphans.made();
      return ok({});
    });
    void this.#sweep();
    return result;
  }

  /** What was beyond the end of before is all gone, where the device grows. */
  #cutChanges(row: DeviceRow, put: DeviceRow, { epoch, isForced }: ResizeWish): MetadataChange[] {
    const { device } = row;
    if (put.bytes > row.bytes) {
      const isCut = this.#options.metadata.cuts.has(device);
      return isCut ? [{ table: 'cuts', remove: device }] : [];
    }
    const slab = slabsEnd(put);
    const isCut = isForced && slab < slabsEnd(row) && !controllerFaults.cutsForgotten;
    return isCut ? [{ table: 'cuts', put: { device, slab, epoch } }] : [];
  }

  /** `Ok` once it is durable; idempotent. Hosts look at it by themselves. */
  setOptions({ name, device, before, options }: OptionsWish): Promise<Result<object>> {
    const { metadata, changes } = this.#options;
    return changes.run(async () => {
      const row = metadata.devices.get(name);
      if (row?.device !== device) return refuseUnknown(name);
      if (row.options === options) return ok({});
      if (row.options !== before) {
        const message = `somebody else has changed device ${quote(name)}: look at it again`;
        return refuse(Status.Conflict, message);
      }
      await metadata.commit([{ table: 'devices', put: { ...row, options } }]);
      return ok({});
    });
  }

  /** Sets and copies of before would be those of slabs that were never written. */
  #refuseGrowth(row: DeviceRow): Refusal | undefined {
    const cut = this.#options.metadata.cuts.get(row.device);
    const awaited = cut === undefined ? [] : this.#options.orphans.awaited(cut);
    const rows = this.#rowsFrom(row.device, slabsEnd(row));
    if (awaited.length + rows.length === 0) return undefined;
    const where = awaited.length === 0 ? '' : ` at ${awaited.slice(0, NODES_TOLD_MAX).join(', ')}`;
    const remedy = 'see `memrack nodes`: start what is away, and try again';
    const message = `what device ${quote(row.name)} had beyond its end is not all gone${where}`;
    return refuse(Status.Busy, `${message}: ${awaited.length === 0 ? 'try again' : remedy}`);
  }

  #refuseCut(row: DeviceRow, { device, bytes, epoch, isForced }: ResizeWish): Refusal | undefined {
    const stale = this.#refuseEpoch(device, epoch);
    if (stale !== undefined || isForced) return stale;
    // Of the slab that stays in part nobody knows how far it was written.
    const from = Math.floor(bytes / dataBytesOf(row));
    const written = this.#rowsFrom(device, from).length;
    if (written === 0) return undefined;
    const message = `device ${quote(row.name)}: ${written} slabs beyond ${bytes} were written`;
    return refuse(Status.Conflict, `${message}; say --force to lose what is there`);
  }

  #rowsFrom(device: number, from: number): SlabSetRow[] {
    const rows = this.#options.metadata.slabSets.ofDevice(device).values();
    return [...rows].filter(({ slab }) => slab >= from);
  }

  /** A number that is forgotten does no harm: what a node still has of it by then stays there. */
  #tombstone(device: number): MetadataChange[] {
    const { metadata, clock } = this.#options;
    const { removedDevices } = metadata;
    const sinceMs = Math.floor(clock.wall());
    const changes: MetadataChange[] = [{ table: 'removedDevices', put: { device, sinceMs } }];
    if (metadata.cuts.has(device)) changes.push({ table: 'cuts', remove: device });
    const [longest] = removedDevices.keys();
    const isFull = removedDevices.size >= DEVICES_REMOVED_MAX;
    if (isFull && longest !== undefined) changes.push({ table: 'removedDevices', remove: longest });
    return changes;
  }

  /** Drops rows of devices, and of ends, that there are no more, one commit after the other. */
  async #sweep(): Promise<void> {
    const { metadata, changes } = this.#options;
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    for (let rows; (rows = this.#leftovers()).length > 0; ) {
      const removals = rows.map((remove) => ({ table: 'slabSets', remove }) as const);
      await changes.run(() => metadata.commit(removals));
    }
    this.#isSweeping = false;
  }

  /** Some rows that belong to nothing any more. */
  #leftovers(): readonly SlabSetRow[] {
    const { metadata } = this.#options;
    const { slabSets } = metadata;
    const gone = slabSets.devices().find((device) => metadata.device(device) === undefined);
    if (gone !== undefined) return firstOf(slabSets.ofDevice(gone).values(), PURGE_ROWS_MAX);
    for (const device of this.#cut) {
      const facts = metadata.device(device);
      const rows = facts === undefined ? [] : this.#rowsFrom(device, slabsEnd(facts));
      if (rows.length > 0) return rows.slice(0, PURGE_ROWS_MAX);
      this.#cut.delete(device);
    }
    return [];
  }

  /** Of the device, from slab `from` on, at most `limit`. */
  sets(device: number, from: number, limit: number): Result<SetsPage> {
    const { metadata } = this.#options;
    const facts = metadata.device(device);
    if (facts === undefined) return refuseUnknownNumber(device);
    const known = metadata.slabSets.ofDevice(device);
    const rows: SlabSetRow[] = [];
    for (const slab of slabsFrom(known, from, slabsEnd(facts))) {
      const row = known.get(slab);
      if (row === undefined) continue;
      if (rows.length === limit) return ok({ rows, next: slab });
      rows.push(row);
    }
    return ok({ rows, next: 0 });
  }

  /** Idempotent. `Ok` too where another set stands there: then nothing was changed. */
  putSet(wish: SetWish): Promise<Result<SetNow>> {
    const { metadata, changes } = this.#options;
    return changes.run(async () => {
      const { device, slab, generation } = wish;
      const facts = metadata.device(device);
      if (facts === undefined) return refuseUnknownNumber(device);
      const stale = this.#refuseEpoch(device, wish.epoch);
      if (stale !== undefined) return stale;
      const row = metadata.slabSets.ofDevice(device).get(slab);
      const copies = copiesText(wish.copies);
      const isThere = row?.generation === generation && row.copies === copies;
      const isNext = generation === (row?.generation ?? 0) + 1;
      if (isThere || !isNext) return ok(setNow(row, isThere));
      const wrong = this.#refuseSet(facts, wish, row);
      if (wrong !== undefined) return wrong;
      const put: SlabSetRow = { device, slab, generation, copies };
      await metadata.commit([{ table: 'slabSets', put }]);
      return ok(setNow(put, true));
    });
  }

  /** Where sets of the device have copies whose lease this is; undefined: it is no device's. */
  nodesOfLease(name: string): readonly LeaseNode[] | undefined {
    const { metadata } = this.#options;
    const device = deviceOfLease(name);
    if (device === undefined || metadata.device(device) === undefined) return undefined;
    return metadata.slabSets.memoriesOf(device);
  }

  #leaseOf(device: number): LeaseRow | undefined {
    return this.#options.metadata.leases.get(deviceLeaseName(device));
  }

  #refuseEpoch(device: number, epoch: number): Refusal | undefined {
    const last = this.#leaseOf(device)?.epoch ?? 0;
    if (last === epoch) return undefined;
    if (last < epoch) {
      const message = `the database does not know epoch ${epoch} of the lease of device ${device}`;
      return refuse(Status.Unavailable, `${message}: it may be older; take the lease anew`);
    }
    const message = `the lease of device ${device} has passed on since epoch ${epoch}: take it`;
    return refuse(Status.Stale, message);
  }

  #refuseSet(
    facts: DeviceRow,
    { device, slab, copies }: SetWish,
    before: SlabSetRow | undefined,
  ): Refusal | undefined {
    if (slab >= slabsEnd(facts)) {
      return refuse(Status.Invalid, `device ${quote(facts.name)} has no slab ${slab}`);
    }
    const members = refuseMembers(copies);
    if (members !== undefined) return members;
    if (before === undefined) {
      if (this.#options.metadata.slabSets.size >= SLAB_SETS_MAX) {
        const message = `the rack keeps ${SLAB_SETS_MAX} slabs: use larger ones, or remove devices`;
        return refuse(Status.NoSpace, message);
      }
    } else if (!copiesOf(before.copies).some((one) => copies.some((other) => isCopy(one, other)))) {
      const message = `slab ${slab}: a set keeps at least one copy of the set before it`;
      return refuse(Status.Invalid, message);
    }
    for (const copy of copies) {
      if (isBackup(copy)) continue;
      const wrong = this.#refuseCopy(device, facts, copy);
      if (wrong !== undefined) return wrong;
    }
    return this.#refuseNodes(slab, copies, copiesOf(before?.copies ?? '[]'));
  }

  /** A set that nobody can read now may still become one that can be: a file's host can, always. */
  #refuseNodes(
    slab: number,
    copies: readonly SetCopy[],
    before: readonly SetCopy[],
  ): Refusal | undefined {
    const { metadata, membership } = this.#options;
    const isServing = ({ node, memoryId }: SetCopy): boolean => {
      const member = membership.members.get(node);
      return member?.row.memoryId === memoryId && membership.state(member) === 'serving';
    };
    if (!copies.some((copy) => isBackup(copy) || isServing(copy))) {
      return refuse(Status.Unavailable, `slab ${slab}: no node of the set is serving`);
    }
    const remote = copies.filter((one) => !isBackup(one));
    const added = remote.filter((one) => !before.some((other) => isCopy(one, other)));
    const leaving = added.find(({ node }) => isLeaving(metadata, node));
    if (leaving === undefined) return undefined;
    const message = `slab ${slab}: ${quote(leaving.node)} is being drained: choose another node`;
    return refuse(Status.Unavailable, message);
  }

  #refuseCopy(device: number, facts: DeviceRow, copy: SetCopy): Refusal | undefined {
    const { metadata } = this.#options;
    const { node, memoryId, space, address } = copy;
    const of = `copy ${copy.copy} at ${quote(node)}`;
    const nodes = nodesOf(this.#leaseOf(device)?.nodes ?? '[]');
    if (!nodes.some((one) => one.id === node && one.memoryId === memoryId)) {
      const message = `${of}: the lease of the device is not over that node: extend it before`;
      return refuse(Status.Invalid, message);
    }
    if ((address % REGION_BYTES) + facts.slabBytes > REGION_BYTES) {
      return refuse(Status.Invalid, `${of}: at ${address} it does not lie within one region`);
    }
    const region = metadata.regionsOf(space).get(regionOfCopy(copy));
    if (region?.node !== node || region.memoryId !== memoryId || region.state !== 'granted') {
      return refuse(Status.Invalid, `${of}: address ${address} is none of that node's`);
    }
    // Before the set was asked for, nothing held it there.
    if (metadata.moveOf(region) === undefined) return undefined;
    return refuse(Status.Conflict, `${of}: its region is on its way to another node`);
  }
}

/** In order, also some that have no row: of a large device all of them are not sorted each time. */
function* slabsFrom(known: ReadonlyMap<number, unknown>, from: number, end: number) {
  if (known.size <= SETS_SORTED_MAX) {
    const slabs = [...known.keys()].filter((slab) => slab >= from && slab < end);
    yield* slabs.sort((a, b) => a - b);
    return;
  }
  for (let slab = from; slab < end; slab++) yield slab;
}

function dataBytesOf({ slabBytes }: DeviceRow): number {
  return layoutOf(slabBytes - OWNER_BLOCK_BYTES).dataBytes;
}

/** Slabs are below this. */
function slabsEnd(row: DeviceRow): number {
  return Math.ceil(row.bytes / dataBytesOf(row));
}

function firstOf<T>(values: Iterable<T>, count: number): T[] {
  const first: T[] = [];
  for (const value of values) {
    if (first.length === count) break;
    first.push(value);
  }
  return first;
}

function setNow(row: SlabSetRow | undefined, isTaken: boolean): SetNow {
  return { isTaken, generation: row?.generation ?? 0, copies: copiesOf(row?.copies ?? '[]') };
}

function refuseMembers(copies: readonly SetCopy[]): Refusal | undefined {
  const numbers = new Set(copies.map(({ copy }) => copy));
  const files = copies.filter(isBackup);
  const isTooMany = copies.length - files.length > SLAB_COPIES_MAX || files.length > 1;
  if (copies.length < 1 || isTooMany || numbers.size < copies.length) {
    const allowed = `1 to ${SLAB_COPIES_MAX} different copies, and one in a file`;
    return refuse(Status.Invalid, `a slab has ${allowed}: name each of them once`);
  }
  const isSomewhere = files.some(({ node, memoryId, address }) => {
    return node !== '' || memoryId !== 0 || address !== 0;
  });
  if (!isSomewhere) return undefined;
  return refuse(Status.Invalid, 'a copy in a file has no node, no memory and no address');
}

function isCopy(a: SetCopy, b: SetCopy): boolean {
  return copiesText([a]) === copiesText([b]);
}

function isSame(row: DeviceRow, { device, bytes, slabBytes, copies, options }: DeviceWish) {
  return (
    row.device === device &&
    row.bytes === bytes &&
    row.slabBytes === slabBytes &&
    row.copies === copies &&
    row.options === options
  );
}

function refuseUnknown(name: string): Refusal {
  return refuse(Status.NotFound, `there is no device ${quote(name)}`);
}

function refuseUnknownNumber(device: number): Refusal {
  return refuse(Status.NotFound, `there is no device of the number ${device}: was it removed?`);
}

function refuseBytes(bytes: number): Refusal | undefined {
  const isWhole = bytes % SECTOR_BYTES === 0;
  if (bytes >= SECTOR_BYTES && bytes <= DEVICE_BYTES_MAX && isWhole) return undefined;
  const allowed = `${SECTOR_BYTES} bytes to ${formatBytes(DEVICE_BYTES_MAX)}`;
  const message = `a device has ${allowed}, in sectors of ${SECTOR_BYTES}: not ${bytes}`;
  return refuse(Status.Invalid, message);
}

function refuseFacts(
  { name, device, bytes, slabBytes, copies }: DeviceWish,
  slabBytesMin: number,
): Refusal | undefined {
  const wrong = refuseName('device name', name);
  if (wrong !== undefined) return wrong;
  const invalid = (message: string): Refusal => refuse(Status.Invalid, message);
  if (device < 1) return invalid('the number of a device is above 0: choose one by chance');
  const wrongBytes = refuseBytes(bytes);
  if (wrongBytes !== undefined) return wrongBytes;
  const isPower = (slabBytes & (slabBytes - 1)) === 0;
  if (slabBytes < slabBytesMin || slabBytes > SLAB_BYTES_MAX || !isPower) {
    const allowed = `${formatBytes(slabBytesMin)} to ${formatBytes(SLAB_BYTES_MAX)}`;
    return invalid(`slabs have a power of two of bytes, ${allowed}: not ${slabBytes}`);
  }
  if (copies >= 1 && copies <= SLAB_COPIES_MAX) return undefined;
  return invalid(`a device has 1 to ${SLAB_COPIES_MAX} copies of its slabs, not ${copies}`);
}
