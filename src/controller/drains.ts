/**
 * Empties memory nodes by the word of an operator (docs/internals/drains.md): everything that a
 * node holds moves to others, one region after the other, and nothing new comes to it.
 *
 * The row says that a node is to be emptied, and is durable before anything is done. What is left
 * to do is read from the tables each time anew, so that there is nothing to be brought back after a
 * restart. A region that does not go is named with its reason, and tried again later.
 */

import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import { type Clock, sleep, type Timers } from '../runtime/clock.js';
import type { DrainFacts, DrainWait } from './api.js';
import { DRAIN_LOOK_MS, DRAIN_RETRY_MS_MAX, DRAIN_RETRY_MS_MIN } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { DrainRow, DrainState, RegionRow } from './metadata/schema.js';
import type { AwayEnd, MoveTargets } from './move-targets.js';
import { quote } from './names.js';
import { controllerFaults } from './planted.js';
import { ok, type Refusal, type Result, refuse } from './refusal.js';

export interface DrainsOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly targets: Pick<MoveTargets, 'moveAway'>;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
  readonly noted: (node: string, what: DrainState | 'cancelled') => void;
}

/** Why a region has not gone, and when it is tried again. */
interface Obstacle extends DrainWait {
  readonly againMs: number;
  readonly pauseMs: number;
}

export class Drains {
  readonly #options: DrainsOptions;
  /** Nodes from which a region is on its way just now. */
  readonly #moving = new Set<string>();
  /** By `regionKey`. */
  readonly #obstacles = new Map<number, Obstacle>();
  #isRunning = false;
  #isStopped = false;

  constructor(options: DrainsOptions) {
    this.#options = options;
  }

  /** Goes on with what an earlier life of the controller had begun. */
  resume(): void {
    void this.#run();
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Idempotent. From its answer on nothing new is placed there. */
  async start(node: string, isForced: boolean): Promise<Result<{ drain: DrainFacts }>> {
    const { metadata, changes, clock } = this.#options;
    const result = await changes.run(async () => {
      const refusal = this.#refuseStart(node);
      if (refusal !== undefined) return refusal;
      const before = metadata.drains.get(node);
      const { state = 'draining', sinceMs = Math.floor(clock.wall()) } = before ?? {};
      const force = isForced ? 1 : (before?.isForced ?? 0);
      const row: DrainRow = { node, state, isForced: force, sinceMs };
      if (before?.isForced !== force) await metadata.commit([{ table: 'drains', put: row }]);
      if (before === undefined) this.#options.noted(node, state);
      return ok({ drain: this.#facts(row) });
    });
    for (const key of metadata.regionsOfNode(node).keys()) this.#obstacles.delete(key);
    void this.#run();
    return result;
  }

  #refuseStart(node: string): Refusal | undefined {
    const { metadata, membership } = this.#options;
    if (metadata.drains.has(node)) return undefined;
    const member = membership.members.get(node);
    if (member === undefined) return refuse(Status.NotFound, `no memory node ${quote(node)}`);
    if (member.row.state !== 'ended') return undefined;
    return refuse(Status.Conflict, `the memory of ${quote(node)} is gone: nothing can move away`);
  }

  /** What is on its way comes to its end; the node is used again. */
  cancel(node: string): Promise<Result<object>> {
    const { metadata, changes, noted } = this.#options;
    return changes.run(async () => {
      if (!metadata.drains.has(node)) {
        return refuse(Status.NotFound, `memory node ${quote(node)} is not being drained`);
      }
      await metadata.commit([{ table: 'drains', remove: node }]);
      noted(node, 'cancelled');
      return ok({});
    });
  }

  /** By node. */
  list(): DrainFacts[] {
    const rows = [...this.#options.metadata.drains.values()];
    rows.sort((a, b) => (a.node < b.node ? -1 : 1));
    return rows.map((row) => this.#facts(row));
  }

  facts(node: string): Result<{ drain: DrainFacts }> {
    const row = this.#options.metadata.drains.get(node);
    if (row !== undefined) return ok({ drain: this.#facts(row) });
    return refuse(Status.NotFound, `memory node ${quote(node)} is not being drained`);
  }

  #facts(row: DrainRow): DrainFacts {
    const { node, state, isForced } = row;
    const member = this.#options.membership.members.get(node);
    const isKnown = member?.isJoined === true && member.row.state === 'member';
    const waits = state === 'draining' ? this.#waits(node, member) : [];
    return {
      node,
      state,
      isForced: isForced === 1,
      regionsLeft: this.#grantedTo(node).length,
      bytesLeft: isKnown ? member.bytesUsed : 0,
      waits,
    };
  }

  #waits(node: string, member: Member | undefined): DrainWait[] {
    const waits: DrainWait[] = [];
    const refusal = this.#options.refusal();
    const isServing = member !== undefined && this.#options.membership.state(member) === 'serving';
    if (refusal !== undefined) {
      const remedy = 'start the nodes that it waits for';
      waits.push({ what: 'the controller', reason: refusal.message, remedy });
    } else if (!isServing) {
      const remedy = 'start it again, or repair the network to it';
      const reason = 'it is away, and nobody else has what it holds';
      waits.push({ what: node, reason, remedy });
    } else if (member.unknown.length > 0) {
      const reason = `it holds ${member.unknown.length} regions that the metadata does not know`;
      const remedy = 'see memrack status';
      waits.push({ what: node, reason, remedy });
    }
    for (const { space, region } of this.#grantedTo(node)) {
      const obstacle = this.#obstacles.get(regionKey(space, region));
      if (obstacle === undefined) continue;
      const { what, reason, remedy } = obstacle;
      waits.push({ what, reason, remedy });
    }
    return waits;
  }

  #grantedTo(node: string): RegionRow[] {
    const rows = [...this.#options.metadata.regionsOfNode(node).values()];
    return rows.filter(({ state }) => state === 'granted');
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (!this.#isStopped && this.#options.metadata.drains.size > 0) {
      for (const node of [...this.#options.metadata.drains.keys()]) await this.#look(node);
      await sleep(this.#options.timers, DRAIN_LOOK_MS);
    }
    this.#isRunning = false;
    this.#obstacles.clear();
  }

  /** What is so by now, and one region more on its way. */
  async #look(node: string): Promise<void> {
    const { metadata, changes, noted } = this.#options;
    if (this.#stateOf(node) !== metadata.drains.get(node)?.state) {
      await changes.run(async () => {
        const row = metadata.drains.get(node);
        const now = this.#stateOf(node);
        if (row === undefined || now === undefined || row.state === now) return;
        await metadata.commit([{ table: 'drains', put: { ...row, state: now } }]);
        noted(node, now);
      });
    }
    const isDraining = metadata.drains.get(node)?.state === 'draining';
    if (isDraining && !this.#isStopped) this.#moveOne(node);
  }

  /** What the row should say, from what there is. */
  #stateOf(node: string): DrainState | undefined {
    const { metadata, membership, refusal } = this.#options;
    const state = metadata.drains.get(node)?.state;
    if (state === undefined || refusal() !== undefined) return state;
    const isMoving = !controllerFaults.drainedBeforeEmpty && this.#hasMoves(node);
    const member = membership.members.get(node);
    if (member === undefined || member.row.state === 'ended') {
      if (state !== 'draining' || isMoving) return state;
      return metadata.regionsOfNode(node).size > 0 ? 'ended' : 'drained';
    }
    const left = this.#grantedTo(node).filter((row) => {
      return !controllerFaults.drainedBeforeEmpty || metadata.moveOf(row) === undefined;
    });
    if (left.length > 0 || isMoving || member.unknown.length > 0) return 'draining';
    // Of a node that has not told what it holds nothing is said.
    return member.isJoined ? 'drained' : state;
  }

  /** It is one of the two ends of a move that both do not know the end of. */
  #hasMoves(node: string): boolean {
    const moves = [...this.#options.metadata.moves.values()];
    return moves.some(({ fromNode, toNode }) => fromNode === node || toNode === node);
  }

  #moveOne(node: string): void {
    const { metadata, membership, refusal, targets } = this.#options;
    const member = membership.members.get(node);
    if (member === undefined || membership.state(member) !== 'serving') return;
    if (refusal() !== undefined || this.#moving.has(node)) return;
    if ([...metadata.moves.values()].some(({ fromNode }) => fromNode === node)) return;
    const row = this.#next(node, member);
    if (row === undefined) return;
    const { space, region } = row;
    // Of all that the node uses it is known how much is there, of one region alone when it is one.
    const bytes = this.#grantedTo(node).length === 1 ? member.bytesUsed : 0;
    this.#moving.add(node);
    const isForced = metadata.drains.get(node)?.isForced === 1;
    void targets.moveAway({ space, region, bytes, isForced }).then((end) => {
      this.#moving.delete(node);
      this.#note(row, end);
      if (end.end === 'done') void this.#look(node);
    });
  }

  /** The region that is to go next: of those that may, the one that has waited longest. */
  #next(node: string, member: Member): RegionRow | undefined {
    const { metadata, clock } = this.#options;
    const nowMs = clock.now();
    let next: RegionRow | undefined;
    let nextMs = Infinity;
    for (const row of this.#grantedTo(node)) {
      const key = regionKey(row.space, row.region);
      const againMs = this.#obstacles.get(key)?.againMs ?? 0;
      const space = metadata.activeSpace(row.space);
      // A node that is not known to hold it yet is told first.
      if (space === undefined || !member.confirmed.has(key)) continue;
      if (againMs <= nowMs && againMs < nextMs) [next, nextMs] = [row, againMs];
    }
    return next;
  }

  #note(row: RegionRow, end: AwayEnd): void {
    const key = regionKey(row.space, row.region);
    if (end.end === 'done') {
      this.#obstacles.delete(key);
      return;
    }
    const before = this.#obstacles.get(key)?.pauseMs ?? DRAIN_RETRY_MS_MIN / 2;
    // Targets that are busy with others are soon free.
    const isShort = end.status === Status.Busy && end.to === '';
    const pauseMs = isShort ? DRAIN_RETRY_MS_MIN : Math.min(2 * before, DRAIN_RETRY_MS_MAX);
    const remedy = remedyOf(end);
    this.#block(row, { reason: end.reason, remedy }, pauseMs);
  }

  #block(row: RegionRow, why: Omit<DrainWait, 'what'>, pauseMs: number): void {
    const { metadata, clock } = this.#options;
    const name = metadata.spaces.get(row.space)?.name ?? String(row.space);
    const what = `region ${row.region} of ${name}`;
    const againMs = clock.now() + pauseMs;
    this.#obstacles.set(regionKey(row.space, row.region), { ...why, what, pauseMs, againMs });
  }
}

const REMEDY_NONE = 'nothing: it is tried again by itself';

function remedyOf(end: Exclude<AwayEnd, { readonly end: 'done' }>): string {
  const { status, reason, holders } = end;
  if (holders !== undefined)
    return 'serve the device if nobody does: it moves when all copies are away';
  if (status === Status.Busy && /thread/.test(reason)) {
    return 'let that program go on (kill -CONT PID), or end it; --force goes on without it';
  }
  return REMEDIES[status] ?? REMEDY_NONE;
}

const REMEDIES: Readonly<Partial<Record<Status, string>>> = {
  [Status.Conflict]: 'close the window in the program that has it, or end it; --force closes it',
  [Status.NoSpace]: 'add a memory node, or free memory',
  [Status.Unsupported]: 'add a memory node with pages of that size (--page-bytes)',
};
