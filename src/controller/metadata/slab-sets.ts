/**
 * The sets of all slabs (docs/internals/replication.md), as they are on disk, and by what else they
 * are looked for: by the region that a copy lies in, and by the memory that it lies in.
 */
import type { RegionIndex, SpaceId } from '../../base/brands.js';
import { regionKey } from '../../base/region-key.js';
import { BACKUP_SPACE, REGION_BYTES } from '../../wire/limits.js';
import type { SlabSetRow } from './schema.js';

/** Where a copy is. The number is its own: another copy at the same place has another one. */
export interface SetCopy {
  readonly copy: number;
  readonly node: string;
  readonly memoryId: number;
  readonly space: SpaceId;
  readonly address: number;
}

type CopyText = [copy: number, node: string, memoryId: number, space: number, address: number];

export function copiesText(copies: readonly SetCopy[]): string {
  return JSON.stringify(
    copies.map(({ copy, node, memoryId, space, address }): CopyText => {
      return [copy, node, memoryId, space, address];
    }),
  );
}

export function copiesOf(text: string): SetCopy[] {
  return (JSON.parse(text) as CopyText[]).map(([copy, node, memoryId, space, address]) => {
    return { copy, node, memoryId, space: space as SpaceId, address };
  });
}

export function regionOfCopy({ address }: SetCopy): RegionIndex {
  return Math.floor(address / REGION_BYTES) as RegionIndex;
}

/** It is in the file of a host, and no node has anything of it. */
export function isBackup({ space }: Pick<SetCopy, 'space'>): boolean {
  return (space as number) === BACKUP_SPACE;
}

/** How often each key stands in rows; one that does not is not in the map. */
class Counts<Key> {
  readonly #counts = new Map<Key, number>();

  get size(): number {
    return this.#counts.size;
  }

  keys(): Key[] {
    return [...this.#counts.keys()];
  }

  entries(): [Key, number][] {
    return [...this.#counts];
  }

  add(key: Key, count: 1 | -1): void {
    const now = (this.#counts.get(key) ?? 0) + count;
    if (now > 0) this.#counts.set(key, now);
    else this.#counts.delete(key);
  }
}

interface OfDevice {
  /** By slab. */
  readonly rows: Map<number, SlabSetRow>;
  /** By node and memory. */
  readonly memories: Counts<string>;
}

/** Names of nodes have no spaces. */
const memoryKey = (node: string, memoryId: number): string => `${node} ${memoryId}`;

export class SlabSets {
  readonly #devices = new Map<number, OfDevice>();
  /** By `regionKey`: the devices with copies there. */
  readonly #regions = new Map<number, Counts<number>>();
  #size = 0;

  /** Rows of all devices. */
  get size(): number {
    return this.#size;
  }

  /** Numbers of those that have rows. */
  devices(): number[] {
    return [...this.#devices.keys()];
  }

  ofDevice(device: number): ReadonlyMap<number, SlabSetRow> {
    return this.#devices.get(device)?.rows ?? NONE;
  }

  /** The memories in which sets of the device have copies, each with its node. */
  memoriesOf(device: number): { readonly id: string; readonly memoryId: number }[] {
    const keys = this.#devices.get(device)?.memories.keys() ?? [];
    return keys.map((key) => {
      const [id = '', memoryId] = key.split(' ');
      return { id, memoryId: Number(memoryId) };
    });
  }

  /** Numbers of the devices that have a set with a copy in the region. */
  devicesIn(space: SpaceId, region: RegionIndex): number[] {
    return this.#regions.get(regionKey(space, region))?.keys() ?? [];
  }

  /** The same, each with how many copies it has there. */
  copiesIn(space: SpaceId, region: RegionIndex): [device: number, copies: number][] {
    return this.#regions.get(regionKey(space, region))?.entries() ?? [];
  }

  put(row: SlabSetRow): void {
    this.remove(row);
    let of = this.#devices.get(row.device);
    if (of === undefined) {
      of = { rows: new Map(), memories: new Counts() };
      this.#devices.set(row.device, of);
    }
    of.rows.set(row.slab, row);
    this.#size += 1;
    this.#count(of, row, 1);
  }

  remove({ device, slab }: Pick<SlabSetRow, 'device' | 'slab'>): void {
    const of = this.#devices.get(device);
    const row = of?.rows.get(slab);
    if (of === undefined || row === undefined) return;
    of.rows.delete(slab);
    this.#size -= 1;
    this.#count(of, row, -1);
    if (of.rows.size === 0) this.#devices.delete(device);
  }

  #count({ memories }: OfDevice, row: SlabSetRow, by: 1 | -1): void {
    for (const copy of copiesOf(row.copies)) {
      if (isBackup(copy)) continue;
      memories.add(memoryKey(copy.node, copy.memoryId), by);
      const key = regionKey(copy.space, regionOfCopy(copy));
      const devices = this.#regions.get(key) ?? new Counts();
      devices.add(row.device, by);
      if (devices.size > 0) this.#regions.set(key, devices);
      else this.#regions.delete(key);
    }
  }
}

const NONE: ReadonlyMap<number, SlabSetRow> = new Map<number, SlabSetRow>();
