/**
 * Moves of regions to and from this node: at most one in each direction at a time
 * (docs/internals/moves.md).
 */

import { Histogram } from '../../base/histogram.js';
import { regionKey } from '../../base/region-key.js';
import { Status } from '../../base/status.js';
import { NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { Peer } from '../../fabric/link.js';
import { type Clock, sleep, type Timer, type Timers } from '../../runtime/clock.js';
import type { Memory } from '../../runtime/memory.js';
import { DEADLINE_AHEAD_MS_MAX } from '../../wire/datagram.js';
import { type MessageType, MoveState, type Request } from '../../wire/messages.js';
import { durableFaults } from '../durable/planted.js';
import { memoryNodeFaults } from '../planted.js';
import type { Allocations, Refusal } from '../slow/allocations.js';
import { FRAME_LATER, FRAME_NONE, type FramePool } from '../store/frame-pool.js';
import type { Frames } from '../store/frames.js';
import type { Quiescence } from '../store/quiescence.js';
import type { Windows } from '../translate/windows.js';
import { Incoming, type IncomingParts } from './incoming.js';
import { type MoveOrder, Outgoing } from './outgoing.js';
import { RegionPages } from './region-pages.js';
import { Returns } from './returns.js';
import type { WrittenFrames } from './written-frames.js';

/** What is on its way and of which nothing was heard for so long goes. */
const INCOMING_SILENCE_MS = 30_000;
/** Places of regions that were given away: so many are told; of others the controller knows. */
const GONE_MAX = 4096;
/** Pauses: from a millisecond to half a minute, in seconds. */
const PAUSE_LEAST_S = 1e-3;
const PAUSE_BUCKETS = 15;
/** Between two looks whether a pause has ended. */
const LOOK_MS = 2;

export interface MovesParts extends Omit<IncomingParts, 'table'> {
  readonly table: TableFile;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly memory: Pick<Memory, 'copy'>;
  readonly pool: FramePool;
  readonly frames: Frames;
  readonly windows: Windows;
  readonly allocations: Allocations;
  readonly written: WrittenFrames;
  readonly quiescence: Quiescence;
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  readonly stuckMs: number;
  /** Ends all access that was taken away, also of stopped threads. */
  readonly settled: () => Promise<boolean>;
  readonly resumed: () => void;
  /** Whether the space is being removed here. */
  readonly isRemoving: (space: number) => boolean;
  /** What was stored is durable when it resolves, where the memory is. */
  readonly commit: () => Promise<void>;
}

export interface GonePlace {
  readonly id: string;
  readonly address: string;
  readonly memoryId: number;
  readonly epoch: number;
  readonly atMs: number;
}

type Place = { readonly space: number; readonly region: number };
type MoveKnown = Place & { readonly epoch: number; readonly state: number; readonly to: string };
type MoveOf = Request<typeof MessageType.MoveTake>;

const refusal = (status: Refusal['status'], reason: string): Refusal => ({ status, reason });

const SOURCE_ON_A_DISK = refusal(
  Status.Unsupported,
  'the memory here ends with its node, and that of the source is on a disk',
);

export class Moves {
  /** For the counters. */
  regionsTaken = 0;
  regionsGiven = 0;
  movesCancelled = 0;
  movesStuck = 0;
  bytesMoved = 0;
  /** Of moves away from here: for how many seconds nobody was served. */
  readonly pauses = new Histogram(PAUSE_LEAST_S, PAUSE_BUCKETS);
  /** Until it is there no other node can be reached. */
  peer: ((address: string, memoryId: number) => Peer) | undefined;
  /** What is in the region, or about to be, that must stay where it is. */
  slabs: { isIn(space: number, region: number): boolean } | undefined;
  readonly #parts: MovesParts;
  #outgoing: Outgoing | undefined;
  #incoming: Incoming | undefined;
  #heardMs = 0;
  #watch: Timer | undefined;
  readonly #gone = new Map<number, GonePlace>();
  readonly returns: Returns;

  constructor(parts: MovesParts) {
    this.#parts = parts;
    this.returns = new Returns(parts.clock, parts.table.givenAway > 0);
  }

  // ------------------------------------------------------------------- for everybody of the node

  /** Whether it is known that another node holds the region. */
  isGone(space: number, region: number): boolean {
    const { givenAway, regions } = this.#parts.table;
    // A process before this one may have given it away: who asks where it is now finds out.
    return (
      !regions.holds(space, region) &&
      (givenAway > 0 || this.gonePlace({ space, region }) !== undefined)
    );
  }

  gonePlace({ space, region }: Place): GonePlace | undefined {
    return this.#gone.get(regionKey(space, region));
  }

  /** Nothing in the region may change, and nobody is served from it. */
  isPaused(space: number, region: number): boolean {
    const { order, isPaused } = this.#outgoing ?? {};
    if (isPaused === true && order?.space === space && order.region === region) return true;
    return this.#parts.table.regions.isHanding(space, region);
  }

  /** Whether it is on its way to another node, and may still be cancelled. */
  isGoing(space: number, region: number): boolean {
    const outgoing = this.#outgoing;
    if (outgoing === undefined || !isUnderWay(outgoing)) return false;
    return outgoing.order.space === space && outgoing.order.region === region;
  }

  /** Resolves when calls about the region may go on. */
  async whenGoingOn(space: number, region: number): Promise<void> {
    while (this.isPaused(space, region) && !this.#isSilent(space, region)) {
      await sleep(this.#parts.timers, LOOK_MS);
    }
  }

  /** Whether nothing that is known here stands in the way of a move to another node. */
  mayGo(space: number, region: number): boolean {
    // What is on a disk takes nothing from the machine that it would need back.
    if (this.#parts.disk !== undefined || this.isPaused(space, region)) return false;
    return this.#obstacle({ space, region }) === undefined;
  }

  /** It is in doubt who holds the region, and nobody says so: nobody is to wait for it. */
  isSilent(space: number, region: number): boolean {
    return this.isPaused(space, region) && this.#isSilent(space, region);
  }

  #isSilent(space: number, region: number): boolean {
    const outgoing = this.#outgoing;
    const isOurs = outgoing?.order.space === space && outgoing.order.region === region;
    // Of a region that a process before this one handed over nobody knows anything yet.
    return isOurs ? outgoing.isSilent : this.#parts.table.regions.isHanding(space, region);
  }

  /** The same of the page of an entry that is paused. */
  isSilentEntry(entry: number): boolean {
    const { pages, pagesPerRegion } = this.#parts.table;
    return this.isSilent(pages.spaceOf(entry), Math.floor(pages.pageOf(entry) / pagesPerRegion));
  }

  /**
   * A page is to be copied away from under a stopped thread, and then goes on. False: it must stay
   * paused, which is as good, because no thread can be at work on it.
   */
  mayCopyAway(entry: number): boolean {
    const { pages, pagesPerRegion } = this.#parts.table;
    const space = pages.spaceOf(entry);
    const region = Math.floor(pages.pageOf(entry) / pagesPerRegion);
    if (!this.isPaused(space, region)) return true;
    const outgoing = this.#outgoing;
    const isOurs = outgoing?.order.space === space && outgoing.order.region === region;
    // Its pause may end at any time; that it has another frame is noticed.
    if (isOurs && outgoing.isSlowed) return true;
    return isOurs && outgoing.cancel(Status.Busy, 'access to one of its pages is taken away');
  }

  /** A space is being removed: nothing of it is to come, or to go. */
  spaceRemoved(space: number): void {
    if (this.#incoming?.place.space === space) this.#drop(this.#incoming.place.epoch);
    const outgoing = this.#outgoing;
    if (outgoing?.order.space !== space) return;
    if (!outgoing.cancel(Status.NotFound, 'its space was removed')) outgoing.decide(false);
  }

  /** The region was granted here, or taken: where it was before means nothing. */
  granted(space: number, region: number, isTaken = false): void {
    const key = regionKey(space, region);
    this.#gone.delete(key);
    this.returns.came(key, isTaken);
  }

  /** It is in doubt who holds the region that is on its way from here. */
  get isHanding(): boolean {
    return this.#outgoing?.state === MoveState.HANDING;
  }

  counts(): Record<string, unknown> {
    const outgoing = this.#outgoing;
    return {
      regionsTaken: this.regionsTaken,
      regionsGiven: this.regionsGiven,
      regionMovesCancelled: this.movesCancelled,
      regionMovesStuck: this.movesStuck,
      regionMoveBytes: this.bytesMoved + (outgoing?.bytesCopied ?? 0),
      regionMovePauseSeconds: this.pauses.counts(),
      regionsGoing: outgoing !== undefined && isUnderWay(outgoing) ? 1 : 0,
      regionsComing: this.#incoming === undefined ? 0 : 1,
      regionsHanding: this.isHanding ? 1 : 0,
    };
  }

  stop(): void {
    this.#outgoing?.stop();
    this.#watch?.cancel();
  }

  // -------------------------------------------------------------------------------- giving away

  /**
   * The same order any number of times, and of any process. Returns as soon as it is under way.
   * `Stale` where it may have been carried out by a process before this one.
   */
  moveOut(order: MoveOrder, isForced = false): Refusal | undefined {
    const { table } = this.#parts;
    const { space, region, epoch } = order;
    const running = this.#outgoing;
    if (running?.order.epoch === epoch) return undefined;
    if (running !== undefined && isUnderWay(running)) {
      return refusal(Status.Busy, 'another region is on its way from here');
    }
    if (table.regions.epochOf(space, region) !== order.held || epoch <= order.held) {
      return refusal(Status.Stale, `it is not held here under epoch ${order.held}`);
    }
    if (table.regions.isHanding(space, region)) {
      return refusal(Status.Stale, 'it is being handed over already');
    }
    const obstacle = isForced ? this.#notHeld(order) : this.#obstacle(order);
    if (obstacle !== undefined) return refusal(Status.Conflict, obstacle);
    if (this.peer === undefined) return refusal(Status.Unavailable, 'this node is in no rack');
    // The target may be told to refuse it, and others with it, when it has joined again.
    table.noteGivenOut(epoch);
    const parts = this.#outgoingParts(order, this.peer);
    const { settled } = this.#parts;
    const force = { settled, withdraw: () => this.#closeWindowsOver(order) };
    const outgoing = new Outgoing(isForced ? { ...parts, force } : parts, order);
    this.#outgoing = outgoing;
    void outgoing.run().then(() => this.#count(outgoing));
    return undefined;
  }

  #outgoingParts(order: MoveOrder, peer: NonNullable<Moves['peer']>) {
    const { space, region } = order;
    const pages = new RegionPages(this.#parts.table, space, region);
    return {
      ...this.#parts,
      pages,
      target: peer(order.address, order.memoryId),
      obstacle: () => this.#obstacle(order),
      keepPromises: () => this.#keepPromises(pages),
      gone: (given: MoveOrder) => this.#giveAway(given),
    };
  }

  #count(outgoing: Outgoing): void {
    this.bytesMoved += outgoing.bytesCopied;
    if (outgoing.pausedMs > 0) this.pauses.add(outgoing.pausedMs / 1000);
    if (outgoing.state === MoveState.GONE) this.regionsGiven += 1;
    else this.movesCancelled += 1;
    if (outgoing.failure?.status === Status.Busy) this.movesStuck += 1;
    outgoing.bytesCopied = 0;
  }

  /** Windows over a part of it name this node: they are not handed over. */
  #obstacle(place: Place): string | undefined {
    const notHeld = this.#notHeld(place);
    const [window] = this.#windowsOver(place);
    if (notHeld !== undefined || window === undefined) return notHeld;
    const facts = this.#parts.windows.factsOf(window);
    const lease = facts?.lease === 0 ? '' : ' that is bound to a lease';
    return `client ${facts?.opener} has a window over a part of it${lease}`;
  }

  #notHeld({ space, region }: Place): string | undefined {
    if (this.#parts.isRemoving(space)) return 'its space is being removed';
    if (!this.#parts.table.regions.holds(space, region)) return 'it is not held here any more';
    const hasSlabs = this.slabs?.isIn(space, region) === true;
    return hasSlabs ? 'copies of slabs are in it, which stay where they are' : undefined;
  }

  /** Windows over a part of it. */
  *#windowsOver({ space, region }: Place): Generator<number> {
    const { windows, table } = this.#parts;
    const base = region * table.facts.regionBytes;
    const end = base + table.facts.regionBytes;
    for (let window = 0; window < windows.clients.length; window++) {
      if (windows.clients[window] === 0 || windows.areParts[window] === 0) continue;
      const isWithin =
        (windows.bases[window] as number) < end && (windows.ends[window] ?? 0) > base;
      if (isWithin && windows.factsOf(window)?.space === space) yield window;
    }
  }

  /** By force: who uses one is told that it is no good any more. */
  #closeWindowsOver(place: Place): void {
    for (const window of this.#windowsOver(place)) this.#parts.windows.closeFamily(window);
  }

  /**
   * Gives frames to the untouched pages that writes under way were promised some for: so that the
   * target has frames for what is left of them. False: to be called again, frames are not zeroed.
   */
  #keepPromises(pages: RegionPages): boolean {
    const { pool, table, awaitFrames, written } = this.#parts;
    for (const promise of pool.promises()) {
      if (promise.space !== pages.space) continue;
      for (let page = promise.firstPage; page < promise.endPage; page++) {
        const entry = table.pages.find(promise.space, page);
        if (entry < 0 || !pages.has(entry)) continue;
        if (table.pages.frameOf(entry) !== NO_FRAME) continue;
        const frame = pool.take(promise.slot, promise.reservation);
        if (frame === FRAME_LATER) {
          awaitFrames();
          return false;
        }
        if (frame === FRAME_NONE) continue;
        table.pages.setFrame(entry, frame);
        written.mark(frame);
      }
    }
    return true;
  }

  /** The target holds the region. */
  async #giveAway(order: MoveOrder): Promise<void> {
    const { table, allocations, slow, clock, commit } = this.#parts;
    const { space, region, id, address, memoryId, epoch } = order;
    if (!memoryNodeFaults.givenAwayForgotten) table.noteGivenAway(epoch);
    table.regions.remove(space, region);
    const key = regionKey(space, region);
    this.returns.left(key);
    if (this.#gone.size >= GONE_MAX) this.#gone.delete(this.#gone.keys().next().value as number);
    if (id !== '') this.#gone.set(key, { id, address, memoryId, epoch, atMs: clock.now() });
    // Pages that are freed may be zeroed, and those who ask are told that it is gone.
    if (!durableFaults.givenAwayToldEarly) await commit();
    allocations.clearRegion(space, region);
    slow.dropRegion(space, region);
    slow.nudge();
  }

  /** The controller knows what became of a region that is being handed over. */
  async end(move: MoveOf): Promise<Refusal | undefined> {
    const { table, commit, resumed } = this.#parts;
    const { space, region, epoch } = move;
    const isTaken = move.more !== 0;
    const outgoing = this.#outgoing;
    if (outgoing?.order.epoch === epoch && isUnderWay(outgoing)) {
      if (outgoing.state === MoveState.COPYING) {
        return refusal(Status.Busy, 'it is not in doubt yet who holds the region');
      }
      outgoing.decide(isTaken);
      return undefined;
    }
    const isOurs = outgoing?.order.space === space && outgoing.order.region === region;
    if (isOurs && outgoing.state === MoveState.HANDING) {
      // What is known of another move says nothing of this one's target, but that it came later.
      if (!isTaken || epoch < outgoing.order.epoch) {
        return refusal(Status.Busy, 'it is being handed over under another epoch');
      }
      outgoing.decide(true);
      return undefined;
    }
    const held = table.regions.epochOf(space, region);
    if (held === undefined) return undefined;
    if (isTaken && held < epoch) {
      this.#stopServing(move);
      await this.#giveAway({ space, region, held, epoch, id: '', address: '', memoryId: 0 });
    } else if (!isTaken && table.regions.isHanding(space, region)) {
      table.regions.setHanding(space, region, false);
      await commit();
      new RegionPages(table, space, region).resume();
    } else return undefined;
    resumed();
    return undefined;
  }

  /**
   * Another node holds the region: a process before this one had handed it over. Where the file is
   * an older copy it does not say so, and the region was served from it.
   */
  #stopServing(place: Place): void {
    const { table } = this.#parts;
    const { space, region } = place;
    if (table.regions.isHanding(space, region)) return;
    const { order } = this.#outgoing ?? {};
    if (order?.space === space && order.region === region) {
      this.#outgoing?.cancel(Status.Stale, 'another node holds the region');
    }
    this.#closeWindowsOver(place);
    new RegionPages(table, space, region).pause();
  }

  // ------------------------------------------------------------------------------------- taking

  prepare(move: MoveOf): Refusal | undefined {
    const { table, isRemoving } = this.#parts;
    const { space, region, epoch, more: pageBytes } = move;
    if (this.#comingAs(epoch) !== undefined) return undefined;
    if (epoch <= table.floor) return refusal(Status.Stale, 'this move was cancelled');
    table.noteGivenOut(epoch);
    if (pageBytes !== table.facts.pageBytes) {
      const reason = `pages here have ${table.facts.pageBytes} bytes, not ${pageBytes}`;
      return refusal(Status.Unsupported, reason);
    }
    if (isRemoving(space)) return refusal(Status.NotFound, 'its space is being removed here');
    if (table.regions.holds(space, region)) {
      return refusal(Status.Conflict, 'the region is held here');
    }
    if (table.regions.isFull) return refusal(Status.NoSpace, 'not one region more is held here');
    if (this.#isFresh(move)) {
      return refusal(Status.Busy, 'it was given away from here a moment ago');
    }
    const other = this.#incoming;
    // An attempt that its source has given up; one source at a time.
    const isOld = other?.place.space === space && other.place.region === region;
    if (other !== undefined && !isOld) {
      return refusal(Status.Busy, 'another region is on its way here');
    }
    if (other !== undefined) this.#drop(other.place.epoch);
    this.#incoming = new Incoming(this.#parts, { space, region, epoch });
    this.#heardMs = this.#parts.clock.now();
    this.#watchIncoming();
    return undefined;
  }

  /** Requests of that time may still be on their way here, as datagrams. */
  #isFresh(place: Place): boolean {
    const gone = this.gonePlace(place);
    return gone !== undefined && this.#parts.clock.now() - gone.atMs <= 2 * DEADLINE_AHEAD_MS_MAX;
  }

  list(request: Request<typeof MessageType.MoveEntries>): Promise<Refusal | undefined> {
    const incoming = this.#comingAs(request.epoch);
    if (incoming === undefined) return Promise.resolve(notKnown());
    return incoming.list(request);
  }

  /** What the source says of flushes that its clients may still owe. */
  noteOpenings(request: Request<typeof MessageType.MoveOpenings>): Refusal | undefined {
    const incoming = this.#comingAs(request.epoch);
    if (incoming === undefined) return notKnown();
    if (this.#parts.disk === undefined) return SOURCE_ON_A_DISK;
    incoming.openings = request.openings.map(({ opening }) => opening);
    return undefined;
  }

  put(
    piece: Request<typeof MessageType.MovePages>,
  ): Refusal | undefined | Promise<Refusal | undefined> {
    const { epoch, page, offset, data } = piece;
    const incoming = this.#comingAs(epoch);
    if (incoming === undefined) return notKnown();
    if (!incoming.put(page, offset, data)) {
      return refusal(Status.Invalid, `page ${page} is not in the list, or ends before the piece`);
    }
    return incoming.keepUp()?.then(() => undefined);
  }

  /** Its source lives: another one's attempts say nothing of that. */
  #comingAs(epoch: number): Incoming | undefined {
    if (this.#incoming?.place.epoch !== epoch) return undefined;
    this.#heardMs = this.#parts.clock.now();
    return this.#incoming;
  }

  /** `Ok` when this node holds the region; anything else but a lost answer: it never will. */
  async take(move: MoveOf): Promise<Refusal | undefined> {
    const { table, allocations, commit } = this.#parts;
    const { space, region, epoch } = move;
    const state = this.progress(move).state;
    if (state === MoveState.HELD) {
      await commit();
      return undefined;
    }
    const incoming = this.#comingAs(epoch);
    const mayTake = state === MoveState.COMING && incoming?.isListed === true;
    if (!mayTake || table.regions.isFull) {
      await this.cancel(move);
      return refusal(Status.Stale, 'the region is not here, and will not be taken');
    }
    if (memoryNodeFaults.heldBeforeEntries) {
      incoming.hold();
      await sleep(this.#parts.timers, LOOK_MS);
    }
    const pages = incoming.take();
    this.#incoming = undefined;
    this.granted(space, region, true);
    allocations.takeIn(space, region, pages);
    this.regionsTaken += 1;
    await commit();
    this.#goOn(move);
    return undefined;
  }

  #goOn({ space, region }: Place): void {
    const { table, resumed } = this.#parts;
    if (!table.regions.holds(space, region)) return;
    new RegionPages(table, space, region).resume();
    resumed();
  }

  /** From its answer on, unless this node holds the region, it never will under this epoch. */
  async cancel(move: MoveOf): Promise<number> {
    const { state } = this.progress(move);
    if (state === MoveState.HELD) {
      await this.#parts.commit();
      return state;
    }
    this.#drop(move.epoch);
    await this.#parts.commit();
    return state === MoveState.UNSURE ? state : MoveState.NEVER;
  }

  #drop(epoch: number): void {
    if (!memoryNodeFaults.floorNotKept) {
      this.#parts.table.raiseFloor(epoch);
      const incoming = this.#incoming;
      if (incoming === undefined || incoming.place.epoch > epoch) return;
      incoming.drop();
      this.#incoming = undefined;
    }
  }

  #watchIncoming(): void {
    this.#watch?.cancel();
    this.#watch = this.#parts.timers.after(INCOMING_SILENCE_MS / 4, () => {
      const incoming = this.#incoming;
      if (incoming === undefined) return;
      const silentMs = this.#parts.clock.now() - this.#heardMs;
      if (silentMs >= INCOMING_SILENCE_MS) this.#drop(incoming.place.epoch);
      this.#watchIncoming();
    });
  }

  /** By word of a controller that does not know the moves of before. What is in doubt stays so. */
  comeToRest(): void {
    this.#outgoing?.cancel(Status.Unavailable, 'the controller works on an older database');
    if (this.#incoming !== undefined) this.#drop(this.#incoming.place.epoch);
  }

  // ------------------------------------------------------------------------------------ telling

  /** What may still go from here or come here, what is in doubt first. */
  known(): MoveKnown[] {
    const { regions } = this.#parts.table;
    const { order, state, failure } = this.#outgoing ?? {};
    const known: MoveKnown[] = [];
    for (const { space, region } of regions.list()) {
      if (!regions.isHanding(space, region)) continue;
      const isOurs = order?.space === space && order.region === region;
      const { epoch = 0, id: to = '' } = isOurs && state === MoveState.HANDING ? order : {};
      known.push({ space, region, epoch, to, state: MoveState.HANDING });
    }
    if (order !== undefined && state === MoveState.COPYING && failure === undefined) {
      const { space, region, epoch, id: to } = order;
      known.push({ space, region, epoch, to, state });
    }
    const coming = this.#incoming?.place;
    if (coming !== undefined) known.push({ ...coming, to: '', state: MoveState.COMING });
    return known;
  }

  /** What this node knows of a move, whichever end of it it is. */
  progress({ space, region, epoch }: Place & { readonly epoch: number }): {
    state: number;
    why: number;
    reason: string;
  } {
    const { table } = this.#parts;
    const plain = (state: number) => ({ state, why: 0, reason: '' });
    const held = table.regions.epochOf(space, region);
    if (held !== undefined && held >= epoch) return plain(MoveState.HELD);
    const outgoing = this.#outgoing;
    if (outgoing?.order.epoch === epoch) {
      const { status: why = 0, reason = '' } = outgoing.failure ?? {};
      return { state: outgoing.state, why, reason };
    }
    if (held !== undefined) {
      return plain(table.regions.isHanding(space, region) ? MoveState.HANDING : MoveState.NONE);
    }
    if (this.#incoming?.place.epoch === epoch) return plain(MoveState.COMING);
    if (this.#gone.get(regionKey(space, region))?.epoch === epoch) return plain(MoveState.GONE);
    if (table.givenAway >= epoch) return plain(MoveState.UNSURE);
    return plain(table.floor >= epoch ? MoveState.NEVER : MoveState.NONE);
  }
}

function isUnderWay({ state }: Outgoing): boolean {
  return state === MoveState.COPYING || state === MoveState.HANDING;
}

function notKnown(): Refusal {
  return refusal(Status.Stale, 'nothing is on its way here under this epoch');
}
