/**
 * Moves regions between memory nodes, while clients go on (docs/internals/moves.md).
 *
 * `move` is the whole of it for others in the controller: it asks for a move of one region, and
 * resolves with its end:
 *
 *   done        the target holds the region, and the source knows that
 *   refused     a node would not (with its status and reason): another target may be tried
 *   cancelled   it was begun, and the region is where it was; or it is lost with its memory
 *
 * The row of a move is durable before any node hears of it, and goes when both ends are known to
 * know what became of the region. The controller commits nothing: the source decides that it lets
 * go, the target whether it takes; here the answers are waited for, and the region's row follows
 * them. So a controller that dies in the middle goes on from its rows (`resume`), and one move of a
 * region begins only when the one before has ended.
 */

import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { isNoAnswer, Status, statusName } from '../base/status.js';
import { type Clock, sleep, type Timers } from '../runtime/clock.js';
import { MoveState } from '../wire/messages.js';
import { isMissing, isOnDisk, keptChange } from './kept.js';
import { EPOCH_END, MOVE_DOUBT_MS, MOVE_LOOK_MS_MAX, MOVE_LOOK_MS_MIN } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Details } from './metadata/history.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { MoveRow, RegionRow } from './metadata/schema.js';
import { quote } from './names.js';
import type { MoveProgress, NodeCalls } from './node-calls.js';
import { isLeaving } from './places.js';
import { controllerFaults } from './planted.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';
import { slabHolders } from './slab-holders.js';

export interface MoveWish {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  /** The id of the target. */
  readonly to: string;
  /** Also what clients would hold up: their windows are closed, stopped threads left behind. */
  readonly isForced?: boolean;
}

export type MoveEnd =
  | { readonly end: 'done' }
  | {
      readonly end: 'refused' | 'cancelled';
      readonly status: Refusal['status'];
      readonly reason: string;
      /** They are waited for, until they have left. */
      readonly holders?: readonly string[];
    };

export interface UnderWay {
  readonly row: MoveRow;
  /** It began in this life of the controller. */
  readonly isNew: boolean;
  /** When it began, or when this life did. */
  readonly sinceMs: number;
}

export interface MovesOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly calls: NodeCalls;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** A region came to a node: it may owe it something (a removal of its space). */
  readonly arrived: (member: Member) => void;
  /** Why nothing may be decided now: rows may be older than the truth. */
  readonly refusal: () => Refusal | undefined;
}

export class RegionMoves {
  /** Since the start, for metrics. */
  done = 0;
  refused = 0;
  cancelled = 0;
  readonly #options: MovesOptions;
  /** By `regionKey`: each row has one driver. */
  readonly #underWay = new Map<number, UnderWay>();
  #isStopped = false;

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** Goes on with what an earlier life of the controller had begun. */
  resume(): void {
    for (const row of this.#options.metadata.moves.values()) {
      if (!this.#underWay.has(regionKey(row.space, row.region))) void this.#begin(row, false);
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /**
   * Whether a region of the space may be the target's already, by a move that an earlier life had
   * begun: that may have come to its end after this database was copied.
   */
  mayHaveGone(space: SpaceId): boolean {
    return this.underWay().some(({ row, isNew }) => {
      return !isNew && row.space === space && (this.#owner(row)?.epoch ?? 0) < row.epoch;
    });
  }

  /** Those that are under way, the oldest first. */
  underWay(): readonly UnderWay[] {
    return [...this.#underWay.values()];
  }

  /** Never rejects. Resolves late when a node is away whose word is needed. */
  async move(wish: MoveWish): Promise<MoveEnd> {
    const decided = await this.#options.changes.run(() => this.#decide(wish));
    if (!('end' in decided)) return this.#begin(decided.row, true, wish.isForced);
    this.refused += 1;
    return decided;
  }

  /** Within a change: a set that names a copy there is before it or after it. */
  async #decide(wish: MoveWish): Promise<{ row: MoveRow } | MoveEnd> {
    const holders = slabHolders(this.#options.metadata, wish);
    if (holders.length > 0) {
      const reason = `${holders.join(', ')} has copies there: who serves it is to copy them away`;
      return { end: 'refused', status: Status.Conflict, reason, holders };
    }
    const decided = await this.#decideNew(wish);
    if (!isRefusal(decided)) return decided;
    return { end: 'refused', status: decided.status, reason: decided.message };
  }

  async #decideNew({ space, region, to }: MoveWish): Promise<Result<{ row: MoveRow }>> {
    const { metadata, membership, refusal } = this.#options;
    const unsure = refusal();
    if (unsure !== undefined) return unsure;
    const row = metadata.regionsOf(space).get(region);
    if (metadata.activeSpace(space) === undefined || row === undefined) {
      return refuse(Status.NotFound, `there is no region ${region} in space ${space}`);
    }
    const problem = this.#problem(row, membership.members.get(to), to);
    if (problem !== undefined) return problem;
    const target = membership.members.get(to) as Member;
    const epoch = metadata.next('epoch');
    if (epoch + 1 > EPOCH_END) return refuse(Status.NoSpace, 'all epochs are used up');
    const move: MoveRow = {
      space,
      region,
      epoch,
      fromNode: row.node,
      fromMemory: row.memoryId,
      fromEpoch: row.epoch,
      toNode: to,
      toMemory: target.row.memoryId,
    };
    await metadata.commit([
      { table: 'counters', put: { name: 'epoch', next: epoch + 1 } },
      { table: 'moves', put: move },
    ]);
    return ok({ row: move });
  }

  #problem(row: RegionRow, target: Member | undefined, to: string): Refusal | undefined {
    const { metadata, membership } = this.#options;
    const isServing = (member: Member | undefined): boolean =>
      member !== undefined && membership.state(member) === 'serving';
    if (target === undefined) return refuse(Status.NotFound, `no memory node ${quote(to)}`);
    if (row.node === to) return refuse(Status.Exists, `${quote(to)} holds it already`);
    if (isLeaving(metadata, to)) {
      return refuse(Status.Conflict, `everything is to move away from ${quote(to)}: it is drained`);
    }
    if (row.state === 'lost') return refuse(Status.DataLost, 'its memory is gone');
    if (metadata.moveOf(row) !== undefined) {
      return refuse(Status.Busy, 'the region is on its way already: try again when it is there');
    }
    if (!isServing(membership.members.get(row.node)) || !isServing(target)) {
      return refuse(Status.Unavailable, 'one of the two nodes is away');
    }
    for (const other of metadata.moves.values()) {
      if (other.fromNode === row.node) {
        return refuse(Status.Busy, `another region leaves ${quote(row.node)} now: try again`);
      }
      if (other.toNode === to) {
        return refuse(Status.Busy, `another region is on its way to ${quote(to)}: try again`);
      }
    }
    const { pageBytes, kind } = metadata.activeSpace(row.space) ?? {};
    if (isOnDisk(metadata, target) !== (kind === 'persistent')) {
      const message = `the memory of ${quote(to)} is not of the kind of the space, ${kind}`;
      return refuse(Status.Unsupported, message);
    }
    if (pageBytes !== target.row.pageBytes) {
      const message = `${quote(to)} has pages of ${target.row.pageBytes} bytes`;
      return refuse(Status.Unsupported, message);
    }
    return undefined;
  }

  #begin(row: MoveRow, isNew: boolean, isForced = false): Promise<MoveEnd> {
    const key = regionKey(row.space, row.region);
    this.#underWay.set(key, { row, isNew, sinceMs: this.#options.clock.now() });
    return this.#drive(row, isNew, isForced).then((end) => {
      // Its row has gone: another move of the region may have begun.
      if (this.#underWay.get(key)?.row.epoch === row.epoch) this.#underWay.delete(key);
      if (end.end === 'done') this.done += 1;
      else if (end.end === 'refused') this.refused += 1;
      else this.cancelled += 1;
      return end;
    });
  }

  /** For the history. How long one took that an earlier controller began is not known. */
  #endOf(row: MoveRow, reason: string): Details {
    const { isNew = false, sinceMs = 0 } =
      this.#underWay.get(regionKey(row.space, row.region)) ?? {};
    const ms = isNew ? { ms: Math.round(this.#options.clock.now() - sinceMs) } : {};
    return { ...ms, ...(reason === '' ? {} : { reason }) };
  }

  async #drive(row: MoveRow, isNew: boolean, isForced: boolean): Promise<MoveEnd> {
    if (isNew) {
      const refused = await this.#order(row, isForced);
      if (refused !== undefined) return refused;
    }
    let lookMs = MOVE_LOOK_MS_MIN;
    const doubt = { sinceMs: 0 };
    for (;;) {
      const mayLook = this.#options.refusal() === undefined;
      if (mayLook && !this.#isStanding(row)) return cancelled('the database was an older copy');
      const end = mayLook ? await this.#look(row, doubt) : undefined;
      if (end !== undefined) return end;
      if (this.#isStopped) return cancelled('the controller ends');
      await sleep(this.#options.timers, lookMs);
      lookMs = Math.min(2 * lookMs, MOVE_LOOK_MS_MAX);
    }
  }

  /** The end, if the source certainly does not begin. */
  async #order(row: MoveRow, isForced: boolean): Promise<MoveEnd | undefined> {
    const { calls } = this.#options;
    const source = this.#memberOf(row.fromNode, row.fromMemory);
    const target = this.#memberOf(row.toNode, row.toMemory);
    if (source === undefined || target === undefined) return undefined;
    const { space, region, epoch, fromEpoch } = row;
    const { id, address, memoryId } = target.row;
    const order = { space, region, epoch, held: fromEpoch, id, address, memoryId };
    const { status, reason } = await calls.moveOut(source.row, order, isForced);
    if (status === Status.Ok || isNoAnswer(status)) return undefined;
    // A process before this one may have been asked, too, and have given the region away since.
    if (status === Status.Stale) return undefined;
    await this.#drop(row, reason);
    return { end: 'refused', status, reason };
  }

  /** One look at both ends; what there is to do. Undefined: it is to be looked at again. */
  async #look(row: MoveRow, doubt: { sinceMs: number }): Promise<MoveEnd | undefined> {
    const source = this.#memberOf(row.fromNode, row.fromMemory);
    if (source === undefined) return this.#sourceEnded(row);
    const epoch = this.#owner(row)?.epoch;
    if (epoch === row.epoch) return this.#tellSource(row, source);
    if (epoch !== undefined && epoch > row.epoch) return this.#wentOn(row, source, epoch);
    const progress = await this.#options.calls.moveProgress(source.row, row);
    switch (progress?.state) {
      case MoveState.COPYING:
        return undefined;
      case MoveState.CANCELLED:
      case MoveState.NONE:
        return this.#notMoved(row, progress);
      case MoveState.GONE:
        return this.#switch(row);
      default:
        // In doubt, or silent: the target knows.
        return this.#askTarget(row, source, {
          isInDoubt: this.#lasts(doubt, progress?.state),
          isUnsure: progress?.state === MoveState.UNSURE,
        });
    }
  }

  /** The source is in doubt, and has been for longer than it takes the target to answer. */
  #lasts(doubt: { sinceMs: number }, state: number | undefined): boolean {
    const nowMs = this.#options.clock.now();
    if (state !== MoveState.HANDING) doubt.sinceMs = 0;
    else if (doubt.sinceMs === 0) doubt.sinceMs = nowMs;
    return doubt.sinceMs > 0 && nowMs - doubt.sinceMs >= MOVE_DOUBT_MS;
  }

  #owner(row: MoveRow): RegionRow | undefined {
    return this.#options.metadata.regionsOf(row.space).get(row.region);
  }

  /** Undefined: its memory is proved to be gone. */
  #memberOf(id: string, memoryId: number): Member | undefined {
    const member = this.#options.membership.members.get(id);
    if (member === undefined || member.row.memoryId !== memoryId) return undefined;
    return member.row.state === 'ended' ? undefined : member;
  }

  /** The source serves the region on. The target is told, so that it drops what has come. */
  async #notMoved(
    row: MoveRow,
    { why, reason, state }: MoveProgress,
  ): Promise<MoveEnd | undefined> {
    const target = this.#memberOf(row.toNode, row.toMemory);
    if (target !== undefined) {
      const answer = await this.#options.calls.moveCancel(target.row, row);
      // A source that serves the region has not asked the target to take it under this epoch, or
      // knows that it will not; one that was started again never asks any more.
      if (answer === undefined && state === MoveState.NONE) return undefined;
      // Its space was removed while it was handed over: the target owes the removal now.
      if (answer?.state === MoveState.HELD) return this.#switch(row);
      if (answer !== undefined && (await this.#isMissing(row))) return this.#lose(row);
    }
    const isRefusal = state === MoveState.CANCELLED && REFUSALS.includes(why as Status);
    const status = (why === 0 ? Status.Unavailable : why) as Refusal['status'];
    const text = reason === '' ? (statusName(status) ?? '') : reason;
    await this.#drop(row, text);
    return { end: isRefusal ? 'refused' : 'cancelled', status, reason: text };
  }

  async #askTarget(
    row: MoveRow,
    source: Member,
    { isInDoubt, isUnsure }: { readonly isInDoubt: boolean; readonly isUnsure: boolean },
  ): Promise<MoveEnd | undefined> {
    const { calls } = this.#options;
    const target = this.#memberOf(row.toNode, row.toMemory);
    if (target === undefined) {
      // Nobody has it there; the source goes on, if it still has it.
      if (isInDoubt) await calls.moveEnd(source.row, row, false);
      else if (await this.#isGoneAtSource(row, source)) return this.#lose(row);
      return undefined;
    }
    if (isInDoubt && controllerFaults.moveCommittedByController) return this.#switch(row);
    // Asking it to cancel settles it either way; but only when the source cannot ask itself.
    const isCancelled = isInDoubt || (isUnsure && (await this.#isMissing(row)));
    const answer = isCancelled
      ? await calls.moveCancel(target.row, row)
      : await calls.moveProgress(target.row, row);
    if (answer?.state === MoveState.HELD) return this.#switch(row);
    // Unsure before it was asked to cancel it may still take the region.
    const isUnsureNow = answer?.state === MoveState.UNSURE && isCancelled;
    if (answer?.state !== MoveState.NEVER && !isUnsureNow) return undefined;
    if (isInDoubt) await calls.moveEnd(source.row, row, false);
    return (await this.#isMissing(row)) ? this.#lose(row) : undefined;
  }

  /** An older copy of the source's file is served, which never had the region. */
  async #isMissing(row: MoveRow): Promise<boolean> {
    const { metadata, calls } = this.#options;
    const source = this.#memberOf(row.fromNode, row.fromMemory);
    const owner = this.#owner(row);
    const isSource = owner?.epoch === row.fromEpoch && source !== undefined;
    if (!isSource || !isMissing(metadata, source, owner)) return false;
    // It may have said what it has before it had this one.
    const held = await calls.heldRegions(source.row);
    const { space, region } = row;
    return held !== undefined && !held.some((one) => one.space === space && one.region === region);
  }

  async #isGoneAtSource(row: MoveRow, source: Member): Promise<boolean> {
    const progress = await this.#options.calls.moveProgress(source.row, row);
    return progress?.state === MoveState.UNSURE;
  }

  /** The target has said that it holds the region. */
  async #switch(row: MoveRow): Promise<undefined> {
    const { metadata, changes, membership, arrived } = this.#options;
    const target = this.#memberOf(row.toNode, row.toMemory);
    await changes.run(async () => {
      const before = this.#owner(row);
      if (before === undefined || before.epoch >= row.epoch) return;
      // It took the region and has ended since.
      const state = this.#memberOf(row.toNode, row.toMemory) === undefined ? 'lost' : 'granted';
      const { epoch, toNode: node, toMemory: memoryId } = row;
      const now: RegionRow = { ...before, epoch, node, memoryId, state };
      // On a disk it is durable by now: missing there later, it is lost.
      const kept = target !== undefined && isOnDisk(metadata, target) ? [keptChange(now)] : [];
      await metadata.commit([{ table: 'regions', put: now }, ...kept]);
    });
    const key = regionKey(row.space, row.region);
    membership.members.get(row.fromNode)?.confirmed.delete(key);
    if (target === undefined) return undefined;
    target.confirmed.add(key);
    arrived(target);
    return undefined;
  }

  /** The region's row says the target: the source has to know, before anything else is begun. */
  async #tellSource(row: MoveRow, source: Member): Promise<MoveEnd | undefined> {
    const status = await this.#options.calls.moveEnd(source.row, row, true);
    if (status !== Status.Ok) return undefined;
    const progress = await this.#options.calls.moveProgress(source.row, row);
    const isGone = progress?.state === MoveState.GONE || progress?.state === MoveState.UNSURE;
    // Of a space that is being removed the source may have let go before.
    const isRemoved = this.#options.metadata.activeSpace(row.space) === undefined;
    if (!isGone && (!isRemoved || progress === undefined)) return undefined;
    await this.#drop(row);
    return { end: 'done' };
  }

  /** The database is an older copy: the region was moved, and moved on since. */
  async #wentOn(row: MoveRow, source: Member, epoch: Epoch): Promise<MoveEnd | undefined> {
    const { calls } = this.#options;
    const status = await calls.moveEnd(source.row, { ...row, epoch }, true);
    if (status !== Status.Ok) return undefined;
    const { state } = (await calls.moveProgress(source.row, row)) ?? {};
    // Killed in between it is in doubt again.
    const isAtRest = state !== MoveState.COPYING && state !== MoveState.HANDING;
    if (state === undefined || !isAtRest) return undefined;
    await this.#drop(row);
    return { end: 'done' };
  }

  /** The source's memory is gone: the target has the region, or nobody has. */
  async #sourceEnded(row: MoveRow): Promise<MoveEnd | undefined> {
    const target = this.#memberOf(row.toNode, row.toMemory);
    if ((this.#owner(row)?.epoch ?? 0) >= row.epoch) {
      await this.#drop(row);
      return { end: 'done' };
    }
    if (target === undefined) return this.#lose(row);
    const answer = await this.#options.calls.moveCancel(target.row, row);
    if (answer === undefined) return undefined;
    if (answer.state !== MoveState.HELD) return this.#lose(row);
    return this.#switch(row);
  }

  async #lose(row: MoveRow): Promise<MoveEnd> {
    const { metadata, changes, membership } = this.#options;
    await changes.run(async () => {
      if (!this.#isStanding(row)) return;
      const before = this.#owner(row);
      const moves: MetadataChange[] = [{ table: 'moves', remove: row }];
      // Under another epoch it is somebody else's.
      if (before?.epoch === row.fromEpoch) {
        moves.push({ table: 'regions', put: { ...before, state: 'lost' } });
      }
      const reason = 'the memory that held it is gone';
      await metadata.commit(moves, { details: this.#endOf(row, reason) });
      await membership.forgetIfNothingIsLeft(row.fromNode);
    });
    return { end: 'cancelled', status: Status.DataLost, reason: 'the memory that held it is gone' };
  }

  /** By the key of a row alone that of the region's next move would go. */
  #isStanding(row: MoveRow): boolean {
    return this.#options.metadata.moveOf(row)?.epoch === row.epoch;
  }

  async #drop(row: MoveRow, reason = ''): Promise<void> {
    const { metadata, changes, membership, arrived } = this.#options;
    await changes.run(async () => {
      if (!this.#isStanding(row)) return;
      const details = this.#endOf(row, reason);
      await metadata.commit([{ table: 'moves', remove: row }], { details });
      await membership.forgetIfNothingIsLeft(row.fromNode);
    });
    for (const id of [row.fromNode, row.toNode]) {
      const member = membership.members.get(id);
      // What waited for the end of the move: a removal of its space, a grant.
      if (member?.isJoined === true) arrived(member);
    }
  }
}

/** Why a target does not take a region that another one may take. */
const REFUSALS: readonly Status[] = [
  Status.NoSpace,
  Status.Unsupported,
  Status.Busy,
  Status.Conflict,
];

function cancelled(reason: string): MoveEnd {
  return { end: 'cancelled', status: Status.Unavailable, reason };
}
