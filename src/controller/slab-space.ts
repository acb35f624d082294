/**
 * The space in which devices have their slabs. It is made when it is first needed, and each of its
 * regions is at the node that was asked for: where copies are is chosen by who makes them. A region
 * is room for addresses and no memory, so one is had before it is needed, and devices share it.
 *
 * What is lost there with a node's memory is remembered for as long as a set names a copy in it.
 */
import type { RegionIndex } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import { formatBytes } from '../base/units.js';
import type { Timer, Timers } from '../runtime/clock.js';
import { REGION_BYTES } from '../wire/limits.js';
import { isOnDisk } from './kept.js';
import { PURGE_ROWS_MAX, SLAB_TIDY_MS } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { RegionRow, SpaceRow } from './metadata/schema.js';
import { quote, slabSpaceOf } from './names.js';
import { isLeaving } from './places.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';
import type { Regions } from './regions.js';
import type { Spaces } from './spaces.js';

export interface SlabRegion {
  readonly row: RegionRow;
  readonly pageBytes: number;
  /** Where its node listens. */
  readonly address: string;
}

interface Room {
  /** In a region above this one. */
  readonly after: RegionIndex;
  readonly bytes: number;
}

export interface SlabSpaceOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly timers: Timers;
  readonly spaces: Pick<Spaces, 'slabs'>;
  readonly regions: Pick<Regions, 'grant' | 'settle'>;
  /** The least memory of a slab. */
  readonly slabBytesMin: number;
}

export class SlabSpace {
  readonly #options: SlabSpaceOptions;
  /** By node: one grant at a time, so that who asks meanwhile gets the same region. */
  readonly #granting = new Map<string, Promise<unknown>>();
  #timer: Timer | undefined;

  constructor(options: SlabSpaceOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.timers.after(SLAB_TIDY_MS, () => {
      void this.tidy().then(() => {
        if (this.#timer !== undefined) this.start();
      });
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /**
   * The first region above `after` that the node has and that has room for a slab of so many bytes,
   * or a new one. Asked again, the same.
   */
  async grant(node: string, after: number, bytes = 0): Promise<Result<SlabRegion>> {
    for (let running; (running = this.#granting.get(node)) !== undefined; ) await running;
    const granting = this.#grant(node, { after: after as RegionIndex, bytes });
    this.#granting.set(node, granting);
    const result = await granting;
    this.#granting.delete(node);
    return result;
  }

  async #grant(node: string, room: Room): Promise<Result<SlabRegion>> {
    const { membership, spaces, regions } = this.#options;
    const member = membership.members.get(node);
    const refusal = this.#refuseNode(node, member);
    if (refusal !== undefined || member === undefined) return refusal as Refusal;
    const opened = await spaces.slabs();
    if (isRefusal(opened)) return opened;
    const { space } = opened;
    const known = this.#knownAt(member, space, room);
    if (known !== undefined) return this.#confirmed(member, space, known);
    const { pageBytes } = space;
    if (pageBytes !== 0 && pageBytes !== member.row.pageBytes) {
      const has = formatBytes(member.row.pageBytes);
      const message = `memory node ${quote(node)} has pages of ${has}, and slabs have pages of`;
      return refuse(Status.Unsupported, `${message} ${formatBytes(pageBytes)}`);
    }
    const wish = { space: space.id, count: 1, bytes: 0, near: '', only: node };
    const granted = await regions.grant(wish);
    if (isRefusal(granted)) return granted;
    const row = this.#knownAt(member, space, room);
    if (row !== undefined) return this.#confirmed(member, space, row);
    return refuse(Status.Unavailable, `memory node ${quote(node)} has other memory: ask again`);
  }

  #refuseNode(node: string, member: Member | undefined): Refusal | undefined {
    const { metadata, membership } = this.#options;
    const called = `memory node ${quote(node)}`;
    if (member === undefined) return refuse(Status.NotFound, `there is no ${called}`);
    if (membership.state(member) !== 'serving') {
      return refuse(Status.Unavailable, `${called} is not serving: take another one`);
    }
    if (isLeaving(metadata, node)) {
      return refuse(Status.Denied, `${called} is being drained: take another one`);
    }
    if (!isOnDisk(metadata, member)) return undefined;
    return refuse(Status.Unsupported, `${called} lends a file: slabs are in memory alone`);
  }

  #knownAt({ row }: Member, space: SpaceRow, { after, bytes }: Room): RegionRow | undefined {
    const { metadata } = this.#options;
    let found: RegionRow | undefined;
    for (const one of metadata.regionsOfNode(row.id).values()) {
      const isIts = one.memoryId === row.memoryId && one.state === 'granted';
      if (one.space !== space.id || !isIts || one.region <= after) continue;
      const isLater = one.region >= (found?.region ?? Infinity);
      if (isLater || metadata.moveOf(one) !== undefined || this.#isFull(one, bytes)) continue;
      found = one;
    }
    return found;
  }

  /** As far as sets tell: there may be copies that are in none yet. */
  #isFull({ space, region }: RegionRow, bytes: number): boolean {
    const { metadata } = this.#options;
    let left = REGION_BYTES;
    for (const [device, copies] of metadata.slabSets.copiesIn(space, region)) {
      left -= copies * (metadata.device(device)?.slabBytes ?? 0);
    }
    return left < Math.max(bytes, this.#options.slabBytesMin);
  }

  /** A grant before may have been lost on its way. */
  async #confirmed(member: Member, space: SpaceRow, row: RegionRow): Promise<Result<SlabRegion>> {
    const key = regionKey(row.space, row.region);
    if (!member.confirmed.has(key)) await this.#options.regions.settle(member);
    if (!member.confirmed.has(key)) {
      const message = `memory node ${quote(row.node)} has not taken region ${row.region} yet`;
      return refuse(Status.Unavailable, `${message}: ask again`);
    }
    const { pageBytes = 0 } = this.#options.metadata.activeSpace(space.id) ?? {};
    return ok({ row, pageBytes, address: member.row.address });
  }

  /** What is lost and in no set goes; and its node, when nothing else is left of it. */
  async tidy(): Promise<void> {
    if (this.#lostInVain().length === 0) return;
    const { metadata, membership, changes } = this.#options;
    await changes.run(async () => {
      const rows = this.#lostInVain().slice(0, PURGE_ROWS_MAX);
      await metadata.commit(rows.map((remove) => ({ table: 'regions', remove }) as const));
      for (const node of new Set(rows.map((row) => row.node))) {
        await membership.forgetIfNothingIsLeft(node);
      }
    });
  }

  #lostInVain(): RegionRow[] {
    const { metadata } = this.#options;
    const space = slabSpaceOf(metadata);
    if (space === undefined) return [];
    return [...metadata.regionsOf(space.id).values()].filter((row) => {
      const isNamed = metadata.slabSets.devicesIn(row.space, row.region).length > 0;
      return row.state === 'lost' && !isNamed && metadata.moveOf(row) === undefined;
    });
  }
}
