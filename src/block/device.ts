/**
 * A block device, as its writer serves it: under one epoch of its lease, from the rows that were
 * read then, until the lease is lost.
 *
 *   read, write -> slab -> absent: zeros, or copies are taken and the writes wait
 *                          kept: its ReplicaSet
 *                          lost: DataLost
 */

import { Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { Copy, Paced } from '../replication/copy.js';
import { BLOCK_BYTES } from '../replication/layout.js';
import { fileFaults } from '../replication/planted.js';
import { type Clock, sleep, type Timer, type Timers } from '../runtime/clock.js';
import type { Checksum, Entropy } from '../runtime/runtime.js';
import { Activity, HOTTEST } from './activity.js';
import type { Behind, Unwritten } from './backup/slab-file.js';
import { changeSet } from './change-set.js';
import { chooseNode } from './choose-node.js';
import { DonorWishes } from './donor-wishes.js';
import {
  isGone,
  isUnsafe,
  KeptSlab,
  newSlabCounts,
  type SlabCounts,
  type SlabParts,
} from './kept-slab.js';
import { blockFaults } from './planted.js';
import {
  backupPlace,
  type CopyPlace,
  type CopyUse,
  type DeviceBackup,
  type DeviceRack,
  type DonorWish,
  isBackup,
  type SetAnswer,
  type SetRow,
  type SlabNode,
  type UseTold,
} from './ports.js';
import { countStates, type SlabStates } from './slab-states.js';
import { planOf, type SlabPlan } from './slabs.js';
import { WaitingWrites } from './waiting-writes.js';

export interface DeviceFacts {
  /** A multiple of 512. */
  readonly bytes: number;
  /** Of memory that a copy of a slab takes. */
  readonly slabBytes: number;
  /** 1 to 3. */
  readonly copies: number;
  /** Whether its host keeps it in a file, too. */
  readonly isBackedUp?: boolean;
}

export interface DeviceParts {
  readonly facts: DeviceFacts;
  /** Of the slabs that have copies, read after the lease was granted. */
  readonly rows: readonly SetRow[];
  readonly rack: DeviceRack;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly checksum: Checksum;
  readonly policy: PlacementPolicy;
  /** The file behind it, which this host alone has open. */
  readonly backup?: DeviceBackup | undefined;
  /**
   * Where that is not to be had: whether what this host wrote to it may not be on the disk.
   * Missing: it has written nothing.
   */
  readonly unwritten?: () => Unwritten | undefined;
  /** What a read or write may take before it is given up. */
  readonly patienceMs: number;
  /** Counted on; missing: from nothing. */
  readonly counts?: SlabCounts;
  /** Nodes have been asked whether they know more than the rows; missing: nobody does. */
  readonly swept?: Promise<unknown>;
  /** Copies in the background. */
  readonly paced: Paced;
}

interface Avoided {
  readonly untilMs: number;
  readonly isFull: boolean;
}

const TEND_MS = 1_000;
/** Slabs of an earlier writer that are looked after at a time, though nobody uses them. */
const OPENED_AT_ONCE = 8;
/** Attempts to take the first copies of a slab, while writes wait. */
const TAKE_AGAIN_MS = 200;
/** As long a first set is asked for that is refused; then other nodes are tried. */
const BEGIN_MS = 2_000;
const CONFIRM_AGAIN_MS = 50;
const FLUSH_AGAIN_MS = 20;
/** Slabs that are looked after at a time, where a flush has to know what the file has. */
const FLUSHED_AT_ONCE = 32;
const AVOID_MS = 5_000;
/** So long nodes are waited for that do not say what they know of slabs that have no row. */
const SWEPT_MS = 3_000;
/** Part of what a node lends that is free where there is plenty. */
const PLENTY = 1 / 4;

export class Device {
  readonly counts: SlabCounts;
  readonly #parts: DeviceParts;
  readonly #plan: SlabPlan;
  readonly #slabParts: SlabParts;
  readonly #slabs = new Map<number, KeptSlab>();
  readonly #activity: Activity;
  readonly #wishes: DonorWishes;
  /** Of the writer before; not opened yet. */
  readonly #rows: Map<number, SetRow>;
  readonly #waiting = new WaitingWrites();
  #nodes: readonly SlabNode[] | undefined;
  /** How often they were asked for, and with which time these were. */
  #looks = 0;
  #look = 0;
  #timer: Timer | undefined;
  #confirming: Promise<unknown> = Promise.resolve();
  #nextConfirm: Promise<boolean> | undefined;
  /** Nodes that had no room, or did not answer, and until when they are not chosen. */
  readonly #avoided = new Map<string, Avoided>();
  readonly #inDoubt = new Set<number>();
  /** Or it has taken too long: what is absent is zeros, where no node has said otherwise. */
  #isSwept = false;
  #isOver = false;

  constructor(parts: DeviceParts) {
    const { facts, rack, clock, timers, checksum, entropy } = parts;
    this.#parts = parts;
    this.counts = parts.counts ?? newSlabCounts();
    this.#plan = planOf(facts.bytes, facts.slabBytes);
    this.#activity = new Activity(this.#plan.layout.blocks, clock.now());
    this.#rows = new Map(parts.rows.map((row) => [row.slab, row]));
    this.#slabParts = {
      clock,
      timers,
      checksum,
      entropy,
      layout: this.#plan.layout,
      rack: new LosingRack(rack, (why) => this.#lose(why)),
      copies: facts.copies,
      isBackedUp: facts.isBackedUp === true,
      backup: parts.backup,
      confirm: () => this.#confirmed(),
      looks: () => this.#looks,
      choose: (beside, not, isSpare) => {
        return this.#choose(beside, new Set(not === undefined ? [] : [not.node]), isSpare);
      },
      areFull: (beside) => this.#areFull(beside),
      isHot: (row) => this.#activity.isHot(row),
      isToGo: (copy) => this.#wishes.isToGo(copy),
      avoid: (node, isFull) => this.#avoid(node, isFull),
      paced: parts.paced,
      counts: this.counts,
    };
    this.#wishes = new DonorWishes({
      ...{ clock, rack },
      copiesAt: (node, memoryId) => this.#copiesAt(node, memoryId),
      isShort: (node) => this.#avoid(node, true),
    });
    void this.#swept().then(() => (this.#isSwept = true));
    void this.#tend();
  }

  #swept(): Promise<unknown> {
    const { swept, timers } = this.#parts;
    if (this.#isSwept || swept === undefined) return Promise.resolve();
    return Promise.race([swept, sleep(timers, SWEPT_MS)]);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Before `stop`, while the lease is held: the file is to say that it has what nobody writes to
   * just then. Those who write are waited for so long at most.
   */
  async finish(withinMs: number): Promise<void> {
    if (this.#parts.backup === undefined || this.#isOver) return;
    const closing = [...this.#slabs.values()].map(({ set }) => set.upkeep.closeInFile());
    await Promise.race([Promise.all(closing), sleep(this.#parts.timers, withinMs)]);
  }

  /** For the writer that comes next, if that has the same file; before `stop`. */
  behindInFile(): Behind {
    const known = new Map<number, ReadonlySet<number>>();
    const note = (slab: number, behind: ReadonlySet<number> | undefined): void => {
      if (behind !== undefined) known.set(slab, behind);
    };
    // Of what was not opened nobody has written anything since.
    for (const slab of this.#rows.keys()) note(slab, this.#parts.backup?.slab(slab).behindBefore);
    for (const [slab, kept] of this.#slabs) note(slab, kept.behindInFile);
    return known;
  }

  /** No more is done: what has not begun ends as `Stale`, a write that has as unknown. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    for (const slab of this.#slabs.values()) slab.stop();
    for (const { sink, token } of this.#waiting.takeAll()) this.#tell(sink, token, Status.Stale);
  }

  #lose(why: string): void {
    this.stop();
    this.#parts.rack.lose(why);
  }

  /** At most a piece, within one: whole sectors. `into` belongs to the device until told. */
  read(
    offset: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    const slab = Math.floor(offset / this.#plan.layout.dataBytes);
    const kept = this.#opened(slab);
    if (kept === undefined) {
      into.fill(0, start, start + bytes);
      void this.#tellZeros(slab, sink, token);
      return;
    }
    if (kept.isLost || kept.isAway) {
      this.#tell(sink, token, kept.isLost ? Status.DataLost : Status.Unavailable);
      return;
    }
    this.#activity.read(kept.activityRow, blocksOf(bytes));
    const at = offset - slab * this.#plan.layout.dataBytes;
    const deadline = this.#deadline();
    if (isWhole(at, bytes)) {
      kept.set.read(at / BLOCK_BYTES, bytes / BLOCK_BYTES, into, start, sink, token, deadline);
      return;
    }
    kept.set.readPart(at, bytes, into, start, sink, token, deadline);
  }

  /** As `read`, of whole blocks that are kept: `Ok`, or `NOT_NOW`. */
  readNow(offset: number, into: Uint8Array, start: number, bytes: number): number {
    const slab = Math.floor(offset / this.#plan.layout.dataBytes);
    const at = offset - slab * this.#plan.layout.dataBytes;
    const kept = this.#slabs.get(slab);
    if (kept === undefined || !isWhole(at, bytes) || kept.isLost || kept.isDoubtful) return NOT_NOW;
    const status = kept.set.readNow(at / BLOCK_BYTES, bytes / BLOCK_BYTES, into, start);
    if (status !== NOT_NOW) this.#activity.read(kept.activityRow, bytes / BLOCK_BYTES);
    return status;
  }

  /** As `write`, in the same way. */
  writeNow(offset: number, from: Uint8Array, start: number, bytes: number): number {
    const slab = Math.floor(offset / this.#plan.layout.dataBytes);
    const at = offset - slab * this.#plan.layout.dataBytes;
    const kept = this.#slabs.get(slab);
    if (kept === undefined || !isWhole(at, bytes) || kept.isLost || kept.isDoubtful) return NOT_NOW;
    const status = kept.set.writeNow(at / BLOCK_BYTES, bytes / BLOCK_BYTES, from, start);
    if (status !== NOT_NOW) this.#activity.written(kept.activityRow, bytes / BLOCK_BYTES);
    return status;
  }

  /** Nobody else has written there, as long as this was the writer when it was asked. */
  async #tellZeros(slab: number, sink: CompletionSink, token: number): Promise<void> {
    const { clock, timers } = this.#parts;
    const deadline = this.#deadline();
    await this.#swept();
    while (!this.#isOver && !this.#inDoubt.has(slab)) {
      if (blockFaults.zerosUnconfirmed || (await this.#confirmed())) {
        this.#tell(sink, token, Status.Ok);
        return;
      }
      if (clock.now() >= deadline) break;
      await sleep(timers, CONFIRM_AGAIN_MS);
    }
    this.#tell(sink, token, this.#isOver ? Status.Stale : Status.Unavailable);
  }

  /** One question for all that wait; one that was under way before says nothing of them. */
  #confirmed(): Promise<boolean> {
    this.#nextConfirm ??= this.#confirming.then(() => {
      this.#nextConfirm = undefined;
      const asked = this.#parts.rack.confirm();
      this.#confirming = asked;
      return asked;
    });
    return this.#nextConfirm;
  }

  /** As `read`. A failure leaves the blocks as they were, or as they were to be, or in doubt. */
  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#write(offset, from, start, bytes, sink, token, this.#deadline());
  }

  /** Whole blocks within a piece are zeros then, and take no memory where that can be. */
  trim(offset: number, bytes: number, sink: CompletionSink, token: number): void {
    const slab = Math.floor(offset / this.#plan.layout.dataBytes);
    const kept = this.#opened(slab);
    if (kept === undefined) {
      void this.#tellZeros(slab, sink, token);
      return;
    }
    if (kept.isLost || kept.isAway) {
      this.#tell(sink, token, kept.isLost ? Status.DataLost : Status.Unavailable);
      return;
    }
    const first = (offset - slab * this.#plan.layout.dataBytes) / BLOCK_BYTES;
    kept.set.trim(first, bytes / BLOCK_BYTES, sink, token, this.#deadline());
  }

  #write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const slab = Math.floor(offset / this.#plan.layout.dataBytes);
    const kept = this.#opened(slab);
    if (kept === undefined) {
      if (this.#isOver) this.#tell(sink, token, Status.Stale);
      else if (this.#waiting.isFull) this.#tell(sink, token, Status.Busy);
      else {
        const write = { offset, from, start, bytes, sink, token, deadline };
        if (this.#waiting.add(slab, write)) void this.#take(slab, deadline);
      }
      return;
    }
    if (kept.isLost || kept.isAway) {
      this.#tell(sink, token, kept.isLost ? Status.DataLost : Status.Unavailable);
      return;
    }
    this.#activity.written(kept.activityRow, blocksOf(bytes));
    const at = offset - slab * this.#plan.layout.dataBytes;
    if (isWhole(at, bytes)) {
      kept.set.write(at / BLOCK_BYTES, bytes / BLOCK_BYTES, from, start, sink, token, deadline);
      return;
    }
    kept.set.writePart(at, bytes, from, start, sink, token, deadline);
  }

  /** `Ok` when all that was acknowledged before is at two nodes, or on a disk. */
  async flush(): Promise<Status> {
    const { backup } = this.#parts;
    if (backup === undefined) return this.#flushWithout();
    const deadline = this.#deadline();
    const nodes = this.#nodes;
    const isLost = (place: CopyPlace) => nodes !== undefined && isGone(place, nodes);
    const rows = [...this.#allRows()].filter((row) => isUnsafe(row, backup, isLost));
    for (let from = 0; from < rows.length; from += FLUSHED_AT_ONCE) {
      const some = rows.slice(from, from + FLUSHED_AT_ONCE).map(({ slab }) => this.#opened(slab));
      for (const slab of some) {
        const status = slab === undefined ? Status.Stale : await this.#caughtUp(slab, deadline);
        if (status !== Status.Ok) return status;
      }
    }
    return this.#flushBackup(backup, deadline);
  }

  /** What is in the file alone was told to be written by this host, and only its end flushes it. */
  async #flushWithout(): Promise<Status> {
    const { clock, timers, unwritten } = this.#parts;
    const deadline = this.#deadline();
    for (let state; (state = unwritten?.()) !== undefined && this.isInFileAlone; ) {
      if (this.#isOver) return Status.Stale;
      if (state === 'failed' || clock.now() >= deadline) return Status.Unavailable;
      await sleep(timers, FLUSH_AGAIN_MS);
    }
    return Status.Ok;
  }

  /** Of some slab a file is the only copy. */
  get isInFileAlone(): boolean {
    const nodes = this.#nodes;
    const isThere = (place: CopyPlace): boolean => {
      return !isBackup(place) && (nodes === undefined || !isGone(place, nodes));
    };
    for (const { copies } of this.#allRows()) {
      if (copies.some(isBackup) && !copies.some(isThere)) return true;
    }
    return false;
  }

  /** Of a writer before the file may be behind still. */
  async #caughtUp(slab: KeptSlab, deadline: number): Promise<Status> {
    while (slab.isUnsafe && slab.isBehind) {
      if (this.#isOver) return Status.Stale;
      if (slab.fileFailure !== Status.Ok) return slab.fileFailure;
      if (this.#parts.clock.now() >= deadline) return Status.Unavailable;
      await sleep(this.#parts.timers, FLUSH_AGAIN_MS);
    }
    return Status.Ok;
  }

  /** A file whose disk fails leaves where there are copies, and is not waited for then. */
  async #flushBackup(backup: DeviceBackup, deadline: number): Promise<Status> {
    const { clock, timers } = this.#parts;
    for (;;) {
      const unsafe = [...this.#slabs.values()].filter((slab) => slab.isUnsafe);
      const isSafe = unsafe.length === 0 || fileFaults.flushNotWaited;
      const status = isSafe ? Status.Ok : await backup.flush();
      if (this.#isOver) return Status.Stale;
      const isFinal = unsafe.some((slab) => slab.isInFileAlone) || clock.now() >= deadline;
      if (status === Status.Ok || isFinal) return status;
      await sleep(timers, FLUSH_AGAIN_MS);
    }
  }

  /** Whether all of the range was never written. */
  isAbsent(offset: number, bytes: number): boolean {
    const { dataBytes } = this.#plan.layout;
    const last = Math.floor((offset + bytes - 1) / dataBytes);
    for (let slab = Math.floor(offset / dataBytes); slab <= last; slab++) {
      const isKnown = this.#slabs.has(slab) || this.#rows.has(slab);
      if (isKnown || this.#inDoubt.has(slab)) return false;
    }
    return this.#isSwept;
  }

  /** Bytes from `offset` to the end of its slab. */
  leftInSlab(offset: number): number {
    const { dataBytes } = this.#plan.layout;
    return dataBytes - (offset % dataBytes);
  }

  states(): SlabStates {
    const states = countStates(this.#allRows(), this.#nodes, this.#parts.facts.copies);
    for (const slab of this.#slabs.values()) {
      if (this.#activity.isHot(slab.activityRow)) states.hot += 1;
    }
    return { ...states, inDoubt: this.#inDoubt.size };
  }

  /** Writes that wait for the memory of their slab. */
  get waiting(): number {
    return this.#waiting.count;
  }

  /** A node has a copy of it that counted in a set which the rows do not know. */
  noteDoubt(slab: number): void {
    // Beyond the end it is what was left when the device became smaller.
    if (slab >= this.#plan.count) return;
    this.#inDoubt.add(slab);
    const kept = this.#slabs.get(slab);
    if (kept !== undefined) kept.isDoubtful = true;
  }

  /** A node says that a copy which the row names was in the set of this generation. */
  noteMark(slab: number, generation: number): void {
    const last = this.#slabs.get(slab)?.lastGeneration ?? this.#rows.get(slab)?.generation;
    // The row is of before that: of an older database.
    if (last !== undefined && generation > last) this.noteDoubt(slab);
  }

  *#allRows(): Iterable<SetRow> {
    yield* this.#rows.values();
    for (const { row } of this.#slabs.values()) yield row;
  }

  // ----------------------------------------------------------------------------------- slabs

  #opened(slab: number): KeptSlab | undefined {
    const known = this.#slabs.get(slab);
    if (known !== undefined || this.#isOver) return known;
    const row = this.#rows.get(slab);
    if (row === undefined) return undefined;
    this.#rows.delete(slab);
    return this.#keep(row, false);
  }

  #keep(row: SetRow, isNew: boolean): KeptSlab {
    const kept = new KeptSlab(this.#slabParts, row, isNew, this.#activity.add());
    if (this.#inDoubt.has(row.slab)) kept.isDoubtful = true;
    this.#slabs.set(row.slab, kept);
    if (this.#nodes !== undefined) kept.tend(this.#nodes, this.#look);
    return kept;
  }

  /** Copies for a slab that has none, while writes wait for it. */
  async #take(slab: number, deadline: number): Promise<void> {
    let status: Status = Status.Unavailable;
    await this.#swept();
    while (!this.#isOver && !this.#inDoubt.has(slab)) {
      const places = await this.#takeCopies(slab);
      if (typeof places !== 'number') {
        status = await this.#begin({ slab, generation: 1, copies: places });
        if (status === Status.Ok || this.#isOver) break;
      } else status = places;
      const isLate = this.#parts.clock.now() + TAKE_AGAIN_MS >= deadline;
      if (isLate || status === Status.NoSpace) break;
      await sleep(this.#parts.timers, TAKE_AGAIN_MS);
    }
    for (const write of this.#waiting.take(slab)) {
      const { offset, from, start, bytes, sink, token } = write;
      if (status !== Status.Ok) this.#tell(sink, token, this.#isOver ? Status.Stale : status);
      else this.#write(offset, from, start, bytes, sink, token, write.deadline);
    }
  }

  /** At nodes apart from each other; fewer than wanted where there are no more. */
  async #takeCopies(slab: number): Promise<readonly CopyPlace[] | Status> {
    const { rack, entropy, facts, backup } = this.#parts;
    const mayBackUp = await this.#mayBackUp(slab);
    const places: CopyPlace[] = [];
    const tried = new Set<string>();
    let status: Status = Status.Unavailable;
    while (places.length < facts.copies && !this.#isOver) {
      const node = await this.#choose(places, tried);
      if (node === undefined) {
        if (this.#hasNodes && this.#areFull(places)) status = Status.NoSpace;
        break;
      }
      tried.add(node.id);
      const place = await rack.take(node.id, slab, entropy.u53());
      if (typeof place === 'number') {
        status = place;
        this.#avoid(node.id, place === Status.NoSpace);
      } else places.push(place);
    }
    if (places.length === 0 && (this.#isOver || !mayBackUp)) return status;
    return mayBackUp ? [...places, backupPlace(backup?.id ?? 0)] : places;
  }

  /** The file can be one of the first copies: it has nothing of the slab yet. */
  async #mayBackUp(slab: number): Promise<boolean> {
    const { backup, facts } = this.#parts;
    if (facts.isBackedUp !== true || backup?.failure !== Status.Ok) return false;
    return (await backup.slab(slab).load()) === Status.Ok && backup.slab(slab).isNew;
  }

  /** The first generation. */
  async #begin(row: SetRow): Promise<Status> {
    const { timers } = this.#parts;
    const { rack } = this.#slabParts;
    const isOver = (): boolean => this.#isOver;
    const untilMs = this.#parts.clock.now() + BEGIN_MS;
    const giveUp = (): boolean => this.#parts.clock.now() >= untilMs;
    const asking = changeSet({ rack, timers, wish: row, giveUp, isOver });
    if (blockFaults.takenUnasked || (await asking) !== undefined) {
      this.#keep(row, true);
      return Status.Ok;
    }
    // Whoever asked and is over does not know what the row says.
    if (!this.#isOver) this.#giveAll(row.copies);
    return Status.Unavailable;
  }

  #giveAll(places: readonly CopyPlace[]): void {
    for (const place of places) if (!isBackup(place)) this.#slabParts.rack.give(place);
  }

  #avoid(node: string, isFull: boolean): void {
    this.#avoided.set(node, { untilMs: this.#parts.clock.now() + AVOID_MS, isFull });
  }

  get #hasNodes(): boolean {
    return this.#nodes?.some(({ isServing }) => isServing) === true;
  }

  /** All nodes but these that may be chosen, and serve, have said so a moment ago. */
  #areFull(beside: readonly CopyPlace[]): boolean {
    const others = (this.#nodes ?? []).filter(({ id, isServing, isLeaving }) => {
      return isServing && !isLeaving && beside.every(({ node }) => node !== id);
    });
    return others.every(({ id }) => this.#avoided.get(id)?.isFull === true);
  }

  async #choose(
    beside: readonly CopyPlace[],
    tried: ReadonlySet<string>,
    isSpare = false,
  ): Promise<SlabNode | undefined> {
    const { rack, policy, entropy } = this.#parts;
    await this.#lookAtNodes(rack);
    const now = this.#parts.clock.now();
    for (const [node, { untilMs }] of this.#avoided) if (untilMs <= now) this.#avoided.delete(node);
    const without = new Set([...tried, ...this.#avoided.keys()]);
    const nodes = this.#nodes ?? [];
    for (const { id, bytesFree, bytesLent } of isSpare ? nodes : []) {
      if (bytesFree < bytesLent * PLENTY) without.add(id);
    }
    return chooseNode(nodes, beside, without, policy, entropy);
  }

  // --------------------------------------------------------------------------------- tending

  async #lookAtNodes(rack: DeviceRack): Promise<void> {
    const look = ++this.#looks;
    const nodes = await rack.nodes();
    if (nodes === undefined || look < this.#look) return;
    this.#nodes = nodes;
    this.#look = look;
  }

  /** Nodes are looked at again and again, and slabs that nobody uses are made whole, too. */
  async #tend(): Promise<void> {
    await this.#lookAtNodes(this.#parts.rack);
    if (this.#isOver) return;
    this.#activity.look(this.#parts.clock.now());
    const used = this.#used();
    if (this.#nodes !== undefined) {
      this.#wishes.look(this.#nodes, used);
      for (const slab of this.#slabs.values()) slab.tend(this.#nodes, this.#look);
    }
    this.#parts.rack.leaveUnused(used);
    for (const { sink, token } of this.#waiting.takeLate(this.#parts.clock.now())) {
      this.#tell(sink, token, Status.Timeout);
    }
    for (const slab of [...this.#rows.keys()].slice(0, OPENED_AT_ONCE)) this.#opened(slab);
    this.#timer = this.#parts.timers.after(TEND_MS, () => void this.#tend());
  }

  /** In this memory, with what its node may ask about them. */
  #copiesAt(node: string, memoryId: number): ReadonlyMap<number, CopyUse> {
    const uses = new Map<number, CopyUse>();
    const note = (row: SetRow, told: number, isGoing: (copy: number) => boolean): void => {
      for (const { copy, node: at, memoryId: memory } of row.copies) {
        if (at !== node || memory !== memoryId) continue;
        uses.set(copy, { copy, activity: told, isGoing: isGoing(copy) });
      }
    };
    // What misses copies that no file has, or was not opened yet, has other things to do.
    for (const row of this.#rows.values()) note(row, HOTTEST, () => false);
    for (const slab of this.#slabs.values()) {
      const told = slab.maySpare ? this.#activity.toldOf(slab.activityRow) : HOTTEST;
      note(slab.row, told, (copy) => slab.isSending(copy));
    }
    return uses;
  }

  /** Nodes that have copies. */
  #used(): ReadonlySet<string> {
    const used = new Set<string>();
    for (const { copies } of this.#allRows()) for (const { node } of copies) used.add(node);
    return used;
  }

  #deadline(): number {
    return this.#parts.clock.now() + this.#parts.patienceMs;
  }

  /** Never from within the call that started it. */
  #tell(sink: CompletionSink, token: number, status: Status): void {
    this.#parts.timers.soon(() => sink.completed(token, status, outcomeOf(status), 0, 0));
  }
}

/** As many as it is for whoever has to move them. */
const blocksOf = (bytes: number): number => Math.ceil(bytes / BLOCK_BYTES);

const isWhole = (at: number, bytes: number): boolean =>
  at % BLOCK_BYTES === 0 && bytes % BLOCK_BYTES === 0;

/** The same, and whoever finds out that the lease is lost stops all at once. */
class LosingRack implements DeviceRack {
  readonly #rack: DeviceRack;
  readonly lose: (why: string) => void;

  constructor(rack: DeviceRack, lose: (why: string) => void) {
    this.#rack = rack;
    this.lose = lose;
  }

  nodes(): Promise<readonly SlabNode[] | undefined> {
    return this.#rack.nodes();
  }

  take(node: string, slab: number, copy: number): Promise<CopyPlace | Status> {
    return this.#rack.take(node, slab, copy);
  }

  give(place: CopyPlace): void {
    this.#rack.give(place);
  }

  putSet(row: SetRow): Promise<SetAnswer> {
    return this.#rack.putSet(row);
  }

  confirm(): Promise<boolean> {
    return this.#rack.confirm();
  }

  copyAt(place: CopyPlace): Copy {
    return this.#rack.copyAt(place);
  }

  tellUse(node: string, memoryId: number, told: UseTold): Promise<DonorWish | undefined> {
    return this.#rack.tellUse(node, memoryId, told);
  }

  leaveUnused(used: ReadonlySet<string>): void {
    this.#rack.leaveUnused(used);
  }
}
