/**
 * A slab that has copies: keeps as many of them as the device wants, where it wants them.
 *
 *   a copy does not answer -> a generation without it
 *   too few, or one that has to go elsewhere -> take one, fill it, a generation with it
 *   one that has to go, and no node has room -> a generation without it, if a file has it all
 *
 * A file of the host may be one of the copies (docs/internals/block-devices.md, "Backup").
 *
 * One generation is asked for at a time, and asked for until the answer is known.
 */

import { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { Copy, Paced } from '../replication/copy.js';
import type { SlabLayout } from '../replication/layout.js';
import { ReplicaSet } from '../replication/replica-set.js';
import type { SetKeeper } from '../replication/slab.js';
import { type Clock, sleep, type Timers } from '../runtime/clock.js';
import type { Checksum, Entropy } from '../runtime/runtime.js';
import type { BackupSlab } from './backup/backup-slab.js';
import { changeSet } from './change-set.js';
import { blockFaults } from './planted.js';
import {
  backupPlace,
  type CopyPlace,
  type DeviceBackup,
  type DeviceRack,
  isBackup,
  type SetRow,
  type SlabNode,
} from './ports.js';

/** A copy that has not done what it was asked for so long leaves, if another one answers. */
export const GRACE_MS = 1_000;
/** The same, where only the file would be left: all that is in it would have to be copied back. */
const LAST_GRACE_MS = 3_000;
/** Between attempts to make a copy. */
const MAKE_AGAIN_MS_MIN = 250;
const MAKE_AGAIN_MS_MAX = 10_000;
/** What so many nodes have needs no disk to be safe. */
const SAFE_COPIES = 2;

/** What the slabs of a device have in common. */
export interface SlabParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly checksum: Checksum;
  readonly entropy: Entropy;
  readonly layout: SlabLayout;
  readonly rack: DeviceRack;
  /** How many copies a slab is to have. */
  readonly copies: number;
  /** Whether it is to be in a file, too. */
  readonly isBackedUp: boolean;
  /** That file; undefined: this host does not have it. */
  readonly backup: DeviceBackup | undefined;
  /** Whether a node says, after this was asked, that the lease is held still. */
  confirm(): Promise<boolean>;
  /** How often it was begun to ask for the nodes. */
  looks(): number;
  /**
   * A node for one more copy, beside those, and not where that one is; undefined: none. `isSpare`:
   * a copy that the slab can do without.
   */
  choose(
    beside: readonly CopyPlace[],
    not: CopyPlace | undefined,
    isSpare: boolean,
  ): Promise<SlabNode | undefined>;
  /** Whether no node but those has room, as they have said a moment ago. */
  areFull(beside: readonly CopyPlace[]): boolean;
  /** Whether a slab is used much, by its row. */
  isHot(activityRow: number): boolean;
  /** Whether the node of the copy wants it to go elsewhere. */
  isToGo(copy: number): boolean;
  /** Not the node to choose for a while. */
  avoid(node: string, isFull: boolean): void;
  /** Resolves when so many bytes may be copied. */
  readonly paced: Paced;
  readonly counts: SlabCounts;
}

export interface SlabCounts {
  copiesMade: number;
  copiesLost: number;
  blocksRepaired: number;
  blocksDamaged: number;
}

export function newSlabCounts(): SlabCounts {
  return { copiesMade: 0, copiesLost: 0, blocksRepaired: 0, blocksDamaged: 0 };
}

export class KeptSlab implements SetKeeper {
  readonly set: ReplicaSet;
  /** Where its use is counted. */
  readonly activityRow: number;
  /** The database is older than what the file says of the slab. */
  isDoubtful = false;
  /** What the file says of the slab was asked for in vain. */
  #isUnreadable = false;
  readonly #parts: SlabParts;
  readonly #backup: BackupSlab | undefined;
  /** The last generation that is known. */
  #row: SetRow;
  /** Copies that may be in the row by now: it was asked for, and not answered yet. */
  #asked: readonly CopyPlace[] = [];
  readonly #changes = new Serial(Infinity);
  /** Copies that are being left. */
  readonly #leaving = new Set<number>();
  /** Copies whose nodes have no room for what is written to them. */
  readonly #full = new Set<number>();
  #isMaking = false;
  /** The copy that is being filled. */
  #made: CopyPlace | undefined;
  /** The copy whose place one takes that is being made; 0: none. */
  #sending = 0;
  /** As they were looked at last; undefined: not yet. */
  #nodes: readonly SlabNode[] | undefined;
  #look = 0;
  /** Looks that began before the row was known: they may not know the memory of its copies. */
  #oldLooks = 0;
  #makeAgainMs = MAKE_AGAIN_MS_MIN;
  /** A copy was given up for want of room, and has not been made again. */
  #isSpared = false;

  constructor(parts: SlabParts, row: SetRow, isNew: boolean, activityRow: number) {
    const { clock, timers, checksum, layout, rack } = parts;
    this.#parts = parts;
    this.#row = row;
    this.activityRow = activityRow;
    this.#backup = parts.backup?.slab(row.slab);
    const copies: Copy[] = this.#remote.map((place) => rack.copyAt(place));
    if (this.#hasBackup && this.#backup !== undefined) copies.push(this.#backup);
    this.set = new ReplicaSet({ clock, timers, checksum, layout, copies, keeper: this, isNew });
    this.#noteRow(row);
    // Of before any look.
    if (!isNew) this.#oldLooks = 0;
    if (!isNew && copies.length > 0) void this.#begin();
  }

  async #begin(): Promise<void> {
    // Until its map is read, or it has left.
    while (this.#hasBackup && (await this.#backup?.load()) !== Status.Ok) {
      if (this.set.isOver) return;
      this.#isUnreadable = true;
      if (this.#remote.length > 0) void this.#leave(this.#backup?.id ?? 0);
      await sleep(this.#parts.timers, MAKE_AGAIN_MS_MIN);
    }
    this.#isUnreadable = false;
    if (this.#hasBackup) {
      this.isDoubtful = (this.#backup?.generation ?? 0) > this.#row.generation;
    }
    if (!this.set.isOver && !this.isDoubtful) await this.set.upkeep.begin();
  }

  get #remote(): CopyPlace[] {
    return this.#row.copies.filter((place) => !isBackup(place));
  }

  /** The file of this host is one of its copies. */
  get #hasBackup(): boolean {
    return this.#row.copies.some((place) => isBackup(place) && this.#isOwn(place));
  }

  #isOwn({ copy }: CopyPlace): boolean {
    return copy === this.#parts.backup?.id;
  }

  /** Of those that this host can reach there is none: it is in the file of another one. */
  get isAway(): boolean {
    if (this.isDoubtful) return true;
    const remote = this.#remote;
    const isInFile = remote.length < this.#row.copies.length;
    return isInFile && !this.#hasBackup && remote.every((place) => this.#isGone(place));
  }

  /** Nodes may have marks of this generation, and of none above it. */
  get lastGeneration(): number {
    return this.#row.generation + (this.#asked.length > 0 ? 1 : 0);
  }

  /** What was acknowledged is safe only when the file has it. */
  get isUnsafe(): boolean {
    return isUnsafe(this.#row, this.#parts.backup, (place) => this.#isGone(place));
  }

  /** `Ok`; or why nobody can say now that the file has what was acknowledged. */
  get fileFailure(): Status {
    if (this.isDoubtful || (this.#isUnreadable && this.isInFileAlone)) return Status.Unavailable;
    return this.isInFileAlone ? (this.#parts.backup?.failure ?? Status.Ok) : Status.Ok;
  }

  /** A copy of it may go because it is used little. */
  get maySpare(): boolean {
    return this.isWhole || (this.#hasBackup && !this.isBehind);
  }

  get isInFileAlone(): boolean {
    return this.#hasBackup && this.#remote.length === 0;
  }

  /** Areas of which the file may lack what was acknowledged; undefined: nobody can say. */
  get behindInFile(): ReadonlySet<number> | undefined {
    if (this.isDoubtful || this.#backup === undefined || !this.#hasBackup) return undefined;
    const { upkeep, areas } = this.set;
    if (!upkeep.isBegun) return this.#backup.behindBefore;
    return new Set(areas.behind().filter((area) => this.#backup?.isComplete(area) !== true));
  }

  /** The file may have less of it than was acknowledged. */
  get isBehind(): boolean {
    return !this.set.upkeep.isBegun || this.set.areas.areBehind;
  }

  #noteRow(row: SetRow): void {
    this.#row = row;
    this.#oldLooks = this.#parts.looks();
    if (this.#backup === undefined || !this.#hasBackup) return;
    this.#noteSole();
    const { generation } = row;
    // Of one that is in doubt the file says more already.
    void this.#backup.load().then((status) => {
      return status === Status.Ok ? this.#backup?.mark(generation) : status;
    });
  }

  get row(): SetRow {
    return this.#row;
  }

  /** All its copies are gone with their memory, as the nodes were looked at last. */
  get isLost(): boolean {
    return this.set.isGone;
  }

  /** It has all the copies that it is to have. */
  get isWhole(): boolean {
    const { copies, isBackedUp } = this.#parts;
    return this.#remote.length >= copies && (!isBackedUp || this.#hasBackup);
  }

  /** Whether another one is being made in the place of this copy. */
  isSending(copy: number): boolean {
    return this.#sending === copy;
  }

  stop(): void {
    this.set.stop();
  }

  /** As the nodes are now: what is gone leaves, what is missing is made. */
  tend(nodes: readonly SlabNode[], look: number): void {
    if (this.set.isOver) return;
    this.#nodes = nodes;
    this.#look = look;
    if (look <= this.#oldLooks) return;
    const remote = this.#remote;
    if (!this.#isNowhere(nodes)) this.set.isGone = false;
    else if (!this.isLost) void this.#noteLost();
    if (this.isAway) return;
    for (const place of remote) if (isGone(place, nodes)) void this.#leave(place.copy);
    if (this.#parts.backup?.failure !== Status.Ok && this.#hasBackup) {
      void this.#leave(this.#backup?.id ?? 0);
    }
    this.#adjust(nodes);
  }

  /** One more copy, or one less, or as it is. */
  #adjust(nodes: readonly SlabNode[]): void {
    const remote = this.#remote;
    const isSurplus = remote.length > this.#parts.copies;
    // Nobody may remember why there is one more: the writer before made it.
    const surplus = isSurplus ? (this.#misplaced(nodes) ?? remote[0]) : undefined;
    if (surplus !== undefined) {
      // One at a time: there may be none too many any more.
      if (this.#leaving.size === 0) void this.#leave(surplus.copy);
    } else if (this.#isWanting(nodes)) void this.#makeWhole(nodes);
  }

  /** What is asked for may have been given, in memory that is not known yet. */
  #isNowhere(nodes: readonly SlabNode[]): boolean {
    const isThere = (place: CopyPlace): boolean => isBackup(place) || !isGone(place, nodes);
    return this.#asked.length === 0 && !this.#row.copies.some(isThere);
  }

  /** Whoever is the writer since may have made copies elsewhere before these were gone. */
  async #noteLost(): Promise<void> {
    const isWriter = await this.#parts.confirm();
    const isNew = this.#look > this.#oldLooks;
    this.set.isGone = isWriter && isNew && this.#isNowhere(this.#nodes ?? []);
  }

  // ------------------------------------------------------------------------------ set keeper

  failing(id: number, status: Status, sinceMs: number): void {
    if (id === this.#parts.backup?.id) {
      this.#backupFailing(id, status);
      return;
    }
    // One that is full keeps what it has: fewer copies would be worse than no more room.
    if (status === Status.NoSpace) this.#noteFull(id);
    else if (this.#parts.clock.now() - sinceMs >= this.#graceMs) void this.#leave(id);
  }

  get #graceMs(): number {
    return this.#hasBackup && this.#remote.length === 1 ? LAST_GRACE_MS : GRACE_MS;
  }

  /** A full buffer is no failure: writes wait for the disk. What cannot be read is one. */
  #backupFailing(id: number, status: Status): void {
    const isBroken = status === Status.Unavailable && this.#remote.length > 0;
    if (this.#parts.backup?.failure === Status.Ok && !isBroken) return;
    this.set.isFull = status === Status.NoSpace && this.#remote.length === 0;
    void this.#leave(id);
  }

  /** The file of another host has what was written until now, and nothing of what is to come. */
  async mayWrite(): Promise<void> {
    const isOther = (place: CopyPlace): boolean => isBackup(place) && !this.#isOwn(place);
    while (this.#row.copies.some(isOther) && !this.set.isOver) {
      const isDone = await this.#changes.run(() => this.#leaveOthers(isOther));
      if (!isDone) await sleep(this.#parts.timers, MAKE_AGAIN_MS_MIN);
    }
  }

  /** If a copy answers: else that file may be the only one that is left. */
  async #leaveOthers(isOther: (place: CopyPlace) => boolean): Promise<boolean> {
    const other = this.#row.copies.find(isOther);
    if (other === undefined) return true;
    const canSpare = (): Promise<boolean> => this.set.upkeep.canSpare(other.copy);
    if (!(await canSpare())) return false;
    return this.#change(
      this.#row.copies.filter((place) => !isOther(place)),
      canSpare,
    );
  }

  /** Another node is to take its place, or has. */
  #noteFull(id: number): void {
    this.#full.add(id);
    const known = [...this.#row.copies, ...(this.#made === undefined ? [] : [this.#made])];
    const place = known.find(({ copy }) => copy === id);
    if (place !== undefined) this.#parts.avoid(place.node, true);
    if (this.#nodes === undefined || this.set.isOver || this.isAway) return;
    this.#adjust(this.#nodes);
  }

  confirm(): Promise<boolean> {
    return this.#parts.confirm();
  }

  damaged(_id: number, _block: number, isRepaired: boolean): void {
    const { counts } = this.#parts;
    if (isRepaired) counts.blocksRepaired += 1;
    else counts.blocksDamaged += 1;
  }

  // ------------------------------------------------------------------------------ generations

  /** The generation with these copies. False: the one that stands is another one. */
  async #change(copies: readonly CopyPlace[], mayStill?: () => Promise<boolean>): Promise<boolean> {
    const { slab, generation } = this.#row;
    const wish = { slab, generation: generation + 1, copies };
    const otherwise = { ...wish, copies: this.#row.copies };
    const { rack, timers } = this.#parts;
    const isOver = (): boolean => this.set.isOver;
    this.#asked = copies;
    const row = await changeSet({ rack, timers, wish, otherwise, mayStill, isOver });
    this.#asked = [];
    if (row !== undefined) this.#noteRow(row);
    return row === wish;
  }

  /** Goes on without this copy, as soon as another one is sure to answer. */
  async #leave(id: number): Promise<void> {
    if (this.#leaving.has(id) || this.set.isOver) return;
    this.#leaving.add(id);
    await this.#changes.run(() => this.#leaveNow(id));
    this.#leaving.delete(id);
  }

  async #leaveNow(id: number): Promise<void> {
    const { copies } = this.#row;
    if (!copies.some(({ copy }) => copy === id)) return;
    // All that are gone go with it: a row that names one is refused, under a lease without it.
    const isToLeave = (one: CopyPlace): boolean => one.copy === id || this.#isGone(one);
    const leaving = copies.filter(isToLeave);
    const others = copies.filter((one) => !isToLeave(one));
    if (others.length === 0) return;
    const isFileLeft = others.every(isBackup);
    // What the file of another host has is for that host to say.
    if (isFileLeft && !(await this.#isKnownHere())) return;
    // Then nobody is left to ask, before it is known what the file has.
    const isForGood = isFileLeft && leaving.every((one) => this.#isGone(one));
    const maySpare = async (): Promise<boolean> => isForGood || this.#canSpare(id);
    const isReady = (await maySpare()) && (!isFileLeft || (await this.#readyBackup(isForGood)));
    if (!isReady || !(await this.#change(others, maySpare))) {
      this.#noteSole();
      return;
    }
    this.#parts.counts.copiesLost += leaving.length;
    for (const place of leaving) this.#drop(place);
  }

  /** Where the file alone answers it has to be on the disk: what is silent may be gone. */
  async #canSpare(id: number): Promise<boolean> {
    const { upkeep } = this.set;
    if (await upkeep.canSpare(id, true)) return true;
    if (!this.#hasBackup || !(await upkeep.canSpare(id))) return false;
    return (await this.#parts.backup?.flush()) === Status.Ok;
  }

  /** No row names it any more. */
  #drop(place: CopyPlace): void {
    this.set.drop(place.copy);
    this.#full.delete(place.copy);
    if (!isBackup(place)) this.#parts.rack.give(place);
  }

  /** The file is of this host, and knows no later row than this. */
  async #isKnownHere(): Promise<boolean> {
    if (!this.#hasBackup || this.#backup === undefined) return false;
    if ((await this.#backup.load()) !== Status.Ok) return false;
    return !this.isDoubtful && this.#backup.generation <= this.#row.generation;
  }

  #noteSole(): void {
    if (this.#backup !== undefined) this.#backup.isSole = this.#remote.length === 0;
  }

  /** Only the file would be left: it has to have all that there is. */
  async #readyBackup(isForGood: boolean): Promise<boolean> {
    const { backup } = this.#parts;
    const { upkeep, areas } = this.set;
    if (backup === undefined || this.#backup === undefined) return false;
    // What is written from now on is told when the file has it: the row may be there any moment.
    this.#backup.isSole = true;
    if ((await backup.flush()) !== Status.Ok) return false;
    if (!isForGood) return true;
    // What it has of these was older before this began, and is nowhere else.
    const lost = await this.#backup.lose(upkeep.isBegun ? areas.behind() : undefined);
    if (typeof lost === 'number') return false;
    this.set.lose(lost);
    this.set.trustFile();
    return true;
  }

  // ----------------------------------------------------------------------------- making copies

  /** A copy that is to be somewhere else. */
  #misplaced(nodes: readonly SlabNode[]): CopyPlace | undefined {
    return this.#remote.find(({ node, copy }) => {
      if (this.#full.has(copy) || this.#parts.isToGo(copy)) return true;
      return nodes.some(({ id, isLeaving }) => isLeaving && id === node);
    });
  }

  #isWanting(nodes: readonly SlabNode[]): boolean {
    return this.#wantsMemory(nodes) || this.#wantsBackup;
  }

  #wantsMemory(nodes: readonly SlabNode[]): boolean {
    return this.#remote.length < this.#parts.copies || this.#misplaced(nodes) !== undefined;
  }

  get #wantsBackup(): boolean {
    const { isBackedUp, backup } = this.#parts;
    return isBackedUp && backup?.failure === Status.Ok && !this.#hasBackup;
  }

  async #makeWhole(nodes: readonly SlabNode[]): Promise<void> {
    if (this.#isMaking) return;
    this.#isMaking = true;
    const isEnough = this.#remote.length >= this.#parts.copies;
    this.#sending = isEnough ? (this.#misplaced(nodes)?.copy ?? 0) : 0;
    const isMade =
      (this.#wantsMemory(nodes) &&
        ((await this.#makeOne(nodes)) || (await this.#spareOne(nodes)))) ||
      (this.#wantsBackup && (await this.#makeBackup()));
    this.#sending = 0;
    if (this.isWhole) this.#isSpared = false;
    const isNoRoom = !isMade && this.#full.size > 0 && this.#parts.areFull(this.#remote);
    if (this.#remote.length > 0) this.set.isFull = isNoRoom;
    this.#makeAgainMs = isMade
      ? MAKE_AGAIN_MS_MIN
      : Math.min(2 * this.#makeAgainMs, MAKE_AGAIN_MS_MAX);
    if (!isMade) await sleep(this.#parts.timers, this.#makeAgainMs);
    this.#isMaking = false;
  }

  /** One more copy, which takes the place of one that has to go, if there is one. */
  async #makeOne(nodes: readonly SlabNode[]): Promise<boolean> {
    const { rack, paced } = this.#parts;
    const place = await this.#takeOne(nodes);
    if (place === undefined) return false;
    const { copy } = place;
    // Somebody has room: writes wait for it.
    this.set.isFull = false;
    this.#made = place;
    const isFilled = await this.set.upkeep.learn(rack.copyAt(place), paced);
    this.#made = undefined;
    const isIn = isFilled && (await this.#changes.run(() => this.#join(place, nodes)));
    if (isIn) {
      this.#parts.counts.copiesMade += 1;
      return true;
    }
    this.set.drop(copy);
    this.#full.delete(copy);
    // Whoever asked and is over does not know what the row says.
    if (!this.set.isOver) rack.give(place);
    return false;
  }

  /** Memory for it, at whichever node has some. */
  async #takeOne(nodes: readonly SlabNode[]): Promise<CopyPlace | undefined> {
    const { rack, entropy, choose, avoid } = this.#parts;
    const sent = this.#row.copies.find((place) => this.isSending(place.copy));
    const beside = this.#remote.filter((place) => place !== sent);
    for (;;) {
      const node = await choose(beside, sent, this.#canWait(nodes));
      if (node === undefined || this.set.isOver) return undefined;
      const place = await rack.take(node.id, this.#row.slab, entropy.u53());
      if (typeof place !== 'number') return place;
      avoid(node.id, place === Status.NoSpace);
    }
  }

  /** The file has it, and nobody uses it much: memory is for others, while there is not plenty. */
  #canWait(nodes: readonly SlabNode[]): boolean {
    if (!this.#hasBackup || this.#parts.isHot(this.activityRow)) return false;
    if (this.#misplaced(nodes) !== undefined) return false;
    return this.#isSpared || this.isInFileAlone;
  }

  /** A copy that has to go, and has nowhere to go to: the file has all of it. */
  async #spareOne(nodes: readonly SlabNode[]): Promise<boolean> {
    const { backup, areFull } = this.#parts;
    const going = this.#misplaced(nodes);
    if (going === undefined || !this.#hasBackup || backup?.failure !== Status.Ok) return false;
    if (!areFull(this.#remote)) return false;
    this.#sending = going.copy;
    await this.#leave(going.copy);
    if (this.#row.copies.some(({ copy }) => copy === going.copy)) return false;
    this.#isSpared = true;
    this.set.isFull = this.#full.size > 0;
    return true;
  }

  /** The file learns what the slab has; what it had of it counts no more. */
  async #makeBackup(): Promise<boolean> {
    const { backup, paced } = this.#parts;
    if (backup === undefined || this.#backup === undefined) return false;
    if ((await this.#backup.wipe()) !== Status.Ok || this.set.isOver) return false;
    const isFilled = await this.set.upkeep.learn(this.#backup, paced);
    const isIn = isFilled && (await this.#changes.run(() => this.#joinBackup(backup.id)));
    if (!isIn) this.set.drop(backup.id);
    return isIn;
  }

  async #joinBackup(id: number): Promise<boolean> {
    // What it has learned from may be gone: then the file of another host is all that counts.
    if (this.#remote.length === 0 || !this.set.ask(id)) return false;
    if (!(await this.#change([...this.#remote, backupPlace(id)]))) return false;
    this.set.joined();
    return true;
  }

  #isGone(place: CopyPlace): boolean {
    if (isBackup(place) || this.#nodes === undefined || this.#look <= this.#oldLooks) return false;
    return isGone(place, this.#nodes);
  }

  /** As the nodes were looked at last. */
  #isUsable({ node, memoryId }: CopyPlace): boolean {
    const isThere = this.#nodes?.some((one) => {
      return one.id === node && one.memoryId === memoryId && !one.isLeaving;
    });
    return isThere === true;
  }

  async #join(place: CopyPlace, nodes: readonly SlabNode[]): Promise<boolean> {
    const { set } = this;
    // A set has a copy of the one before: the only one leaves later.
    const isEnough = this.#remote.length >= this.#parts.copies;
    const maySwap = isEnough && this.#row.copies.length > 1;
    const sent = this.#row.copies.find(({ copy }) => copy === this.#sending);
    const leaving = maySwap ? (sent ?? this.#misplaced(nodes)) : undefined;
    const copies = this.#row.copies.filter((one) => one !== leaving);
    const isAsked = blockFaults.joinedUnasked || set.ask(place.copy);
    const mayStill = (): Promise<boolean> => Promise.resolve(this.#isUsable(place));
    if (!isAsked || !(await this.#change([...copies, place], mayStill))) return false;
    set.joined();
    if (leaving !== undefined) this.#drop(leaving);
    return true;
  }
}

/** What was acknowledged of the slab is safe only when the file of this host has it. */
export function isUnsafe(
  { copies }: SetRow,
  backup: DeviceBackup | undefined,
  isLost: (place: CopyPlace) => boolean,
): boolean {
  const isHere = copies.some((place) => isBackup(place) && place.copy === backup?.id);
  const there = copies.filter((place) => !isBackup(place) && !isLost(place));
  return isHere && there.length < SAFE_COPIES;
}

/** Its node has other memory by now, or was removed: what was there never comes back. */
export function isGone({ node, memoryId }: CopyPlace, nodes: readonly SlabNode[]): boolean {
  return !nodes.some((one) => one.id === node && one.memoryId === memoryId);
}
