/**
 * Gives a region of this node to another one while clients go on with it.
 *
 *   copying -- rounds, until little is left --> paused -- last round --> handing --> gone
 *      |                                          |                        |
 *      +---------- anything fails: cancelled -----+     only by the target's word
 *
 * While it copies, everything is served as ever; pages that are written to are copied again.
 * Paused, nobody is served, within one deadline. *Handing* is doubt: the target may hold the region
 * by now, so only its word ends it (or proof that its memory is gone). See docs/internals/moves.md.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { isNoAnswer, Status, statusName } from '../../base/status.js';
import { NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { Peer } from '../../fabric/link.js';
import { type Clock, sleep, type Timers } from '../../runtime/clock.js';
import { MOVE_RUNS_MAX, PIECE_BYTES_MAX } from '../../wire/limits.js';
import { MessageType, MoveState } from '../../wire/messages.js';
import { durableFaults } from '../durable/planted.js';
import { memoryNodeFaults } from '../planted.js';
import type { Frames } from '../store/frames.js';
import type { Quiescence } from '../store/quiescence.js';
import { Convergence, type Next } from './convergence.js';
import type { MovesDisk } from './incoming.js';
import type { RegionPages } from './region-pages.js';
import { Slowing } from './slowing.js';
import type { WrittenFrames } from './written-frames.js';

const CALL_MS = 5_000;
/** Pieces under way at a time. */
const PIECES_MAX = 16;
/** From the first paused page to the target's answer: well below what clients wait. */
const PAUSE_MS_MAX = 1_000;
/** In doubt for so long, clients are told so in place of waiting. */
const SILENT_MS = 500;
const ASK_AGAIN_MS = 100;

/** Where the region goes, and under which epoch. */
export interface MoveOrder {
  readonly space: number;
  readonly region: number;
  /** Under which it is held here. */
  readonly held: number;
  readonly epoch: number;
  readonly id: string;
  readonly address: string;
  readonly memoryId: number;
}

export interface OutgoingParts {
  readonly table: TableFile;
  readonly pages: RegionPages;
  readonly disk: MovesDisk | undefined;
  readonly frames: Frames;
  readonly written: WrittenFrames;
  readonly quiescence: Quiescence;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly target: Peer;
  /** How long a thread may take for its step before the move is cancelled. */
  readonly stuckMs: number;
  /** Within it nobody else pauses pages. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  /** Why the region cannot be given away, looked at again in the turn that decides. */
  readonly obstacle: () => string | undefined;
  /** Frames for all that was promised to writes under way; false: they are not zeroed yet. */
  readonly keepPromises: () => boolean;
  readonly commit: () => Promise<void>;
  /** Pages go on, or are told something else: whoever waits asks again. */
  readonly resumed: () => void;
  /** What is in the way is put aside. */
  readonly force?: {
    /** Closes windows over a part of the region. */
    readonly withdraw: () => void;
    /** Copies pages away from under stopped threads. False: there is no frame for one. */
    readonly settled: () => Promise<boolean>;
  };
  /** The region is the target's; nothing of it is served here any more. */
  readonly gone: (order: MoveOrder) => Promise<void>;
}

/** Why a move ends without having been made. */
interface Failure {
  readonly status: Status;
  readonly reason: string;
}

export class Outgoing {
  readonly order: MoveOrder;
  state: number = MoveState.COPYING;
  failure: Failure | undefined;
  isPaused = false;
  /** Paused to slow down who works on it, and not for the last round. */
  isSlowed = false;
  /** Handing, and the target says nothing: those who wait are told so. */
  isSilent = false;
  /** For the counters. */
  bytesCopied = 0;
  rounds = 0;
  pausedMs = 0;
  readonly ended: Promise<void>;
  readonly #parts: OutgoingParts;
  /** By place in the region: the frame that was sent last. */
  readonly #sent = new Map<number, number>();
  /** In the list that was sent last, with a frame. */
  #listed = new Set<number>();
  #pausedAtMs = 0;
  #tellEnd: () => void = () => {};
  /** Told by the controller: whether the target holds it. */
  #verdict: boolean | undefined;
  #isStopped = false;

  constructor(parts: OutgoingParts, order: MoveOrder) {
    this.#parts = parts;
    this.order = order;
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve;
    });
  }

  /** Nobody may be waited for any more: the node ends. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Ends it before it is in doubt. False: it is in doubt, or has ended. */
  cancel(status: Status, reason: string): boolean {
    if (this.state !== MoveState.COPYING) return false;
    if (!memoryNodeFaults.lostCancel || !this.isPaused) this.failure ??= { status, reason };
    this.#resume();
    return true;
  }

  /** What became of it, from who knows. */
  decide(isTaken: boolean): void {
    this.#verdict = isTaken;
  }

  async run(): Promise<void> {
    const { space, region, epoch } = this.order;
    const { written, table } = this.#parts;
    const more = table.facts.pageBytes;
    await this.#ask(MessageType.MovePrepare, { space, region, epoch, more });
    if (this.failure === undefined) await this.#tellOpenings();
    if (this.failure === undefined) {
      written.begin();
      await this.#copy();
      written.end();
    }
    // By then the target may have all of it, and nobody but it can say that it will not take it.
    if (this.state === MoveState.COPYING) await this.#giveUp();
    this.#tellEnd();
  }

  /** Under which openings nothing is lost that was acknowledged: ours, and those of before. */
  async #tellOpenings(): Promise<void> {
    const { disk, table } = this.#parts;
    if (disk === undefined) return;
    const { space, region, epoch } = this.order;
    const all = [...table.regions.openingsOf(space, region), disk.opening];
    const openings = durableFaults.openingsNotHandedOn ? [] : all.map((opening) => ({ opening }));
    await this.#ask(MessageType.MoveOpenings, { space, region, epoch, openings });
  }

  async #copy(): Promise<void> {
    this.#parts.force?.withdraw();
    // From here on everybody marks what he writes to.
    if (!(await this.#allPass())) return this.#stuck();
    const next = await this.#rounds();
    if (next === 'hopeless') this.cancel(Status.Busy, 'it is written to faster than it is copied');
    if (this.failure === undefined) await this.#parts.alone(() => this.#pauseAndHand());
  }

  async #rounds(): Promise<Next> {
    const { clock, timers, alone } = this.#parts;
    const convergence = new Convergence();
    const slowing = new Slowing({
      clock,
      timers,
      alone,
      pause: () => this.#slow(),
      resume: () => this.#resume(),
    });
    try {
      return await this.#roundsUntil(convergence, slowing);
    } finally {
      await slowing.end();
    }
  }

  async #roundsUntil(convergence: Convergence, slowing: Slowing): Promise<Next> {
    const { clock, disk } = this.#parts;
    // With the list of a round a target on a disk flushes all that came before. Without one round
    // more it would do that in the pause, where no more than the last round is to be flushed.
    let isFlushed = disk === undefined;
    for (;;) {
      const [began, copied] = [clock.now(), this.bytesCopied];
      await this.#round();
      if (this.failure !== undefined) return 'again';
      this.rounds += 1;
      const [ms, bytes] = [clock.now() - began, this.bytesCopied - copied];
      const next = convergence.after(bytes, ms, this.#bytesMarked());
      if (next === 'hopeless' || (next === 'pause' && isFlushed)) return next;
      if (next === 'pause') isFlushed = true;
      slowing.set(convergence.slowing);
    }
  }

  #slow(): void {
    if (this.state !== MoveState.COPYING || this.failure !== undefined) return;
    this.isPaused = true;
    this.isSlowed = true;
    this.#parts.pages.pause();
  }

  #stuck(): void {
    const { quiescence, table } = this.#parts;
    const owners = quiescence.ownersOf(quiescence.stuck(table.generation));
    const whose = owners.length === 0 ? '' : ` of ${owners.map(processText).join(', ')}`;
    this.cancel(Status.Busy, `a thread${whose} is stopped in the middle of a step`);
  }

  async #allPass(): Promise<boolean> {
    const { quiescence, stuckMs, force } = this.#parts;
    const generation = quiescence.raise();
    const passed = await new Promise<boolean>((resolve) => {
      quiescence.whenPassed(generation, stuckMs, resolve);
    });
    return passed || (force !== undefined && (await force.settled()));
  }

  /** The list of entries, and all pages that were written to since they were sent. */
  async #round(): Promise<void> {
    const { pages } = this.#parts;
    if (!(await this.#sendList()) || this.failure !== undefined) return;
    const taken: number[] = [];
    for (const { page } of pages.entries()) {
      // What is new since the list was made comes with the next one.
      if (this.#listed.has(page) && this.#isNews(page, true)) taken.push(page);
    }
    const mayCopy = memoryNodeFaults.marksTakenWithoutWaiting || (await this.#allPass());
    if (!mayCopy) return this.#stuck();
    await this.#sendPages(taken);
  }

  /** Whether the target does not have the page as it is; takes the mark or lets it stand. */
  #isNews(page: number, takes: boolean): boolean {
    const { pages, written } = this.#parts;
    const frame = pages.frameOf(page);
    if (frame === NO_FRAME) return false;
    const isMarked = takes ? written.take(frame) : written.isMarked(frame);
    return isMarked || this.#sent.get(page) !== frame;
  }

  #bytesMarked(): number {
    const { pages, table } = this.#parts;
    let bytes = 0;
    for (const { page } of pages.entries()) {
      if (this.#isNews(page, false)) bytes += table.facts.pageBytes;
    }
    return bytes;
  }

  async #sendList(): Promise<boolean> {
    const { space, region, epoch } = this.order;
    const runs = this.#parts.pages.runs();
    const known = new Set<number>();
    for (const run of runs) {
      if (run.frames === 0) continue;
      for (let page = run.page; page < run.page + run.pages; page++) known.add(page);
    }
    // The target keeps nothing of what is not in the list with a frame.
    for (const page of [...this.#sent.keys()]) if (!known.has(page)) this.#sent.delete(page);
    this.#listed = known;
    for (let at = 0; at === 0 || at < runs.length; at += MOVE_RUNS_MAX) {
      const part = runs.slice(at, at + MOVE_RUNS_MAX);
      const isFirst = at === 0 ? 1 : 0;
      const isLast = at + MOVE_RUNS_MAX >= runs.length ? 1 : 0;
      const request = { space, region, epoch, isFirst, isLast, runs: part };
      await this.#ask(MessageType.MoveEntries, request);
      if (this.failure !== undefined) return false;
    }
    return true;
  }

  async #sendPages(taken: readonly number[]): Promise<void> {
    const { table } = this.#parts;
    const underWay = new Set<Promise<void>>();
    for (const page of taken) {
      const isNew = !this.#sent.has(page);
      for (let offset = 0; offset < table.facts.pageBytes; offset += PIECE_BYTES_MAX) {
        if (this.failure !== undefined) break;
        const data = this.#pieceOf(page, offset);
        // It may have been freed meanwhile; the next list says so.
        if (data === undefined) break;
        if (offset === 0) this.#sent.set(page, this.#parts.pages.frameOf(page));
        if (isNew && isZero(data)) continue;
        const { epoch } = this.order;
        const piece = this.#ask(MessageType.MovePages, { epoch, page, offset, data });
        this.bytesCopied += data.length;
        underWay.add(piece);
        void piece.then(() => underWay.delete(piece));
        if (underWay.size >= PIECES_MAX) await Promise.race(underWay);
      }
    }
    await Promise.all(underWay);
  }

  #pieceOf(page: number, offset: number): Uint8Array | undefined {
    const { frames, pages } = this.#parts;
    const frame = pages.frameOf(page);
    if (frame === NO_FRAME) return undefined;
    const at = frames.offset(frame as FrameIndex) + offset;
    const bytes = Math.min(PIECE_BYTES_MAX, frames.pageBytes - offset);
    return frames.piece(frame as FrameIndex).bytes.subarray(at, at + bytes);
  }

  /** A call to the target; anything but `Ok` ends the attempt. */
  async #ask(
    type:
      | typeof MessageType.MovePrepare
      | typeof MessageType.MoveOpenings
      | typeof MessageType.MoveEntries
      | typeof MessageType.MovePages,
    request: object,
  ): Promise<void> {
    const reply = await this.#parts.target.call(type, request as never, CALL_MS);
    if (reply.status === Status.Ok) return;
    const { status, reason } = reply;
    const why = reason === '' ? `no answer: ${statusName(status)}` : reason;
    // Of the attempt it is known what becomes of it, whatever is known of the call.
    this.cancel(isNoAnswer(status) ? Status.Unavailable : status, why);
  }

  // ------------------------------------------------------------------------------- the pause

  async #pauseAndHand(): Promise<void> {
    const { pages, timers, clock, keepPromises, table } = this.#parts;
    const { space, region } = this.order;
    while (!keepPromises()) {
      await sleep(timers, 2);
      if (this.failure !== undefined) return;
    }
    if (this.failure !== undefined) return;
    this.isPaused = true;
    this.#pausedAtMs = clock.now();
    const deadline = this.#pausedAtMs + PAUSE_MS_MAX;
    const late = timers.after(PAUSE_MS_MAX, () => {
      this.cancel(Status.Timeout, 'the pause took too long');
    });
    if (!memoryNodeFaults.handedWithoutPause) pages.pause();
    const passed = memoryNodeFaults.pauseNotWaitedFor || (await this.#allPass());
    if (!passed) this.#stuck();
    if (this.failure === undefined && !memoryNodeFaults.switchedBeforeCopy) await this.#round();
    const obstacle = this.#parts.obstacle();
    if (obstacle !== undefined) this.cancel(Status.Conflict, obstacle);
    late.cancel();
    if (this.failure !== undefined || clock.now() >= deadline) {
      this.cancel(Status.Timeout, 'the pause took too long');
      return;
    }
    assert(this.state === MoveState.COPYING);
    this.state = MoveState.HANDING;
    if (!memoryNodeFaults.handingNotMarked) table.regions.setHanding(space, region, true);
    // The target may have it as soon as it is asked: we must never serve it again by ourselves.
    if (!durableFaults.handingNotDurable) await this.#parts.commit();
    await this.#hand();
  }

  // --------------------------------------------------------------------------------- handing

  async #hand(): Promise<void> {
    const silent = this.#parts.timers.after(SILENT_MS, () => {
      this.isSilent = true;
      this.#parts.resumed();
    });
    if (memoryNodeFaults.freedBeforeTaken) await this.#parts.gone(this.order);
    const isTaken = await this.#verdictOfTarget();
    silent.cancel();
    if (isTaken === undefined) return;
    this.pausedMs = this.#parts.clock.now() - this.#pausedAtMs;
    const { space, region } = this.order;
    const { table } = this.#parts;
    if (!isTaken) {
      if (table.regions.holds(space, region)) table.regions.setHanding(space, region, false);
      await this.#parts.commit();
      this.failure = { status: Status.Unavailable, reason: 'the target did not take the region' };
      this.state = MoveState.CANCELLED;
      this.isSilent = false;
      this.#resume();
      return;
    }
    if (!memoryNodeFaults.freedBeforeTaken) await this.#parts.gone(this.order);
    this.state = MoveState.GONE;
    this.isSilent = false;
    this.isPaused = false;
    this.#parts.resumed();
  }

  /** Asks until there is an answer; undefined: the node ends. */
  async #verdictOfTarget(): Promise<boolean | undefined> {
    const { target, timers } = this.#parts;
    const { space, region, epoch } = this.order;
    const request = { space, region, epoch, more: 0 };
    for (let isFirst = true; !this.#isStopped; isFirst = false) {
      if (this.#verdict !== undefined) return this.#verdict;
      if (isFirst) {
        const reply = await target.call(MessageType.MoveTake, request, SILENT_MS);
        if (reply.status === Status.Ok) return true;
        if (memoryNodeFaults.servedOnInDoubt) return false;
        continue;
      }
      const reply = await target.call(MessageType.MoveCancel, request, SILENT_MS);
      if (reply.status === Status.Ok && reply.state === MoveState.HELD) return true;
      if (reply.status === Status.Ok && reply.state === MoveState.NEVER) return false;
      await sleep(timers, ASK_AGAIN_MS);
    }
    return undefined;
  }

  // ------------------------------------------------------------------------------ cancelling

  async #giveUp(): Promise<void> {
    assert(this.failure !== undefined, 'a move is given up without a reason');
    this.#resume();
    // The target drops what it has. Where it does not hear of it, it does so by itself, later; and
    // it takes nothing unless this node asks it to, under this epoch.
    const { space, region, epoch } = this.order;
    const request = { space, region, epoch, more: 0 };
    this.state = MoveState.CANCELLED;
    await this.#parts.target.call(MessageType.MoveCancel, request, CALL_MS);
  }

  #resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.isSlowed = false;
    if (this.#pausedAtMs > 0) this.pausedMs = this.#parts.clock.now() - this.#pausedAtMs;
    this.#parts.pages.resume();
    this.#parts.resumed();
  }
}

/** Of an identity that ends with the number of the process and when it began. */
function processText(identity: string): string {
  const pid = /\/(\d+)\/[^/]*$/.exec(identity)?.[1];
  return pid === undefined ? identity : `process ${pid}`;
}

function isZero(data: Uint8Array): boolean {
  const words = new Int32Array(data.buffer, data.byteOffset, data.byteLength >>> 2);
  for (let at = 0; at < words.length; at++) if (words[at] !== 0) return false;
  return true;
}
