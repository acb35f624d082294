/**
 * Where an allocation is tried first: at the node with the most room, in a region that the space
 * already has there; or nowhere, which asks for a new region near that node.
 *
 * What it knows of the nodes' room is some seconds old, so it only chooses the order: whether an
 * allocation fits is the node's answer.
 */

import type { Runtime } from '../runtime/runtime.js';
import type { Control, Member } from './control.js';
import { MemrackError } from './error.js';
import { REGION_BYTES } from '../wire/limits.js';
import type { RegionMap } from './region-map.js';

/** How long what the controller says about its nodes is good enough. */
const LOAD_KEEP_MS = 1000;
/** Longer than between two heartbeats: after it the controller has heard of an allocation. */
const HEARD_MS = 2500;
/** How long a region that had no room is not tried again for as much. */
const FULL_KEEP_MS = 1000;
/** A node promises pages up to this multiple of its memory. */
const OVERCOMMIT = 2;
const LOADS_WITHIN_MS = 2000;

export interface Choice {
  /** 0: ask for a new one, */
  readonly region: number;
  /** near this node, */
  readonly near: string;
  /** or do not: no node has room for it by what is known. */
  readonly isHopeless: boolean;
}

interface Taken {
  readonly nodeId: string;
  readonly bytes: number;
  readonly at: number;
}

interface Full {
  readonly bytes: number;
  readonly until: number;
}

export class Placement {
  readonly #runtime: Runtime;
  readonly #control: Control;
  readonly #regions: RegionMap;
  #members: readonly Member[] = [];
  #membersUntil = 0;
  /** What was taken (given back: negative) here and the controller may not have heard of yet. */
  #taken: Taken[] = [];
  readonly #full = new Map<number, Full>();
  /** Regions of which a part as long as they are was freed here. */
  readonly #emptied = new Set<number>();
  /** Where the search for empty regions goes on. */
  #cursor = 0;

  constructor(runtime: Runtime, control: Control, regions: RegionMap) {
    this.#runtime = runtime;
    this.#control = control;
    this.#regions = regions;
  }

  took(region: number, bytes: number): void {
    if (bytes > 0) this.#emptied.delete(region);
    const nodeId = this.#regions.nodeId(region);
    if (nodeId !== undefined) this.#taken.push({ nodeId, bytes, at: this.#runtime.clock.now() });
  }

  freed(region: number, bytes: number): void {
    this.#full.delete(region);
    if (bytes === REGION_BYTES) this.#emptied.add(region);
    this.took(region, -bytes);
  }

  /**
   * First ones of `count` regions side by side that may be empty, those that were emptied here
   * before all others; at most `most` of them. Those that `isFull` tells of on the way are skipped.
   */
  *runs(count: number, most: number): Generator<number> {
    const serving = new Set<number>();
    for (const { region, state } of this.#regions.entries()) {
      if (state === 'serving') serving.add(region);
    }
    const all = [...serving].sort((a, b) => a - b);
    const behind = all.filter((region) => region > this.#cursor);
    const before = all.filter((region) => region <= this.#cursor);
    let tries = 0;
    for (const first of new Set([...this.#emptied, ...behind, ...before])) {
      if (!this.#isRun(serving, first, count)) continue;
      if (tries === most) return;
      tries += 1;
      this.#cursor = first;
      yield first;
    }
  }

  #isRun(serving: ReadonlySet<number>, first: number, count: number): boolean {
    for (let region = first; region < first + count; region++) {
      if (!serving.has(region) || this.#isKnownFull(region, REGION_BYTES)) return false;
    }
    return true;
  }

  isFull(region: number, bytes: number): void {
    this.#emptied.delete(region);
    this.#full.set(region, { bytes, until: this.#runtime.clock.now() + FULL_KEEP_MS });
  }

  /** `first` is a region to begin with, or 0; those in `tried` are not chosen again. */
  async choose(
    bytes: number,
    tried: ReadonlySet<number>,
    first: number,
    deadline: number,
  ): Promise<Choice> {
    if (first !== 0) return { region: first, near: '', isHopeless: false };
    await this.#lookAtLoads(deadline);
    let best = { region: 0, room: -Infinity };
    let full = 0;
    const withRegion = new Set<string>();
    for (const { region, state, nodeId } of this.#regions.entries()) {
      if (state !== 'serving' || tried.has(region)) continue;
      // A region that is full for this size says nothing about the rest of its node.
      if (this.#isKnownFull(region, bytes)) {
        full = region;
        continue;
      }
      withRegion.add(nodeId);
      const room = this.#room(nodeId);
      if (room > best.room) best = { region, room };
    }
    const near = this.#roomiest(bytes, withRegion, best.room);
    if (near !== '') return { region: 0, near, isHopeless: false };
    // It may have room again: somebody else may have freed something.
    const region = best.region === 0 ? full : best.region;
    return { region, near: '', isHopeless: region === 0 && this.#isEverybodyThere() };
  }

  /** A controller that has just started knows of nodes, and not yet what they have. */
  #isEverybodyThere(): boolean {
    return this.#members.length > 0 && this.#members.every(({ state }) => state === 'serving');
  }

  /** The next choice is made by what the controller knows then. */
  forgetLoads(): void {
    this.#membersUntil = 0;
  }

  /** Whether every memory node that serves has one of these regions. */
  haveAllAnswered(tried: ReadonlySet<number>): boolean {
    const answered = new Set([...tried].map((region) => this.#regions.nodeId(region)));
    return this.#members.every(
      ({ id, kind, state }) => kind === 'host' || state !== 'serving' || answered.has(id),
    );
  }

  /** The serving node with clearly more room than `room` and no usable region here; else ''. */
  #roomiest(bytes: number, withRegion: ReadonlySet<string>, room: number): string {
    let near = '';
    let most = room;
    for (const { id, kind, state, bytesLent } of this.#members) {
      if (kind !== 'memory-node' || state !== 'serving' || withRegion.has(id)) continue;
      const here = this.#room(id);
      const isClearlyMore = room === -Infinity || here > room + bytesLent / 8;
      if (isClearlyMore && here > most && here + bytesLent * (OVERCOMMIT - 1) >= bytes) {
        near = id;
        most = here;
      }
    }
    return near;
  }

  #room(nodeId: string): number {
    const member = this.#members.find(({ id }) => id === nodeId);
    if (member === undefined) return 0;
    let room = member.bytesLent - member.bytesCommitted;
    for (const taken of this.#taken) if (taken.nodeId === nodeId) room -= taken.bytes;
    return room;
  }

  #isKnownFull(region: number, bytes: number): boolean {
    const full = this.#full.get(region);
    return full !== undefined && bytes >= full.bytes && this.#runtime.clock.now() < full.until;
  }

  async #lookAtLoads(deadline: number): Promise<void> {
    const now = this.#runtime.clock.now();
    this.#taken = this.#taken.filter(({ at }) => now - at < HEARD_MS);
    if (now < this.#membersUntil) return;
    try {
      this.#members = await this.#control.members(Math.min(deadline, now + LOADS_WITHIN_MS));
    } catch (error) {
      // Without the controller the regions that are known still serve, in any order.
      if (!(error instanceof MemrackError)) throw error;
    }
    this.#membersUntil = this.#runtime.clock.now() + LOAD_KEEP_MS;
  }
}
