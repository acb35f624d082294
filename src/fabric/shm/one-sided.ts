/**
 * One step of a thread at one node's memory: an operation, or a batch of them, made without the
 * node. The places of a step, what each may rely on and why it is safe stand in
 * docs/internals/one-sided.md; every place makes one access of a shared word, or one copy.
 *
 *   begin -> mark -> find -> publish -> check -> copy -> idle -> verify
 *                     ^---- next operation ---------'
 *
 * No object per operation; a bigint only for atomics, because `Atomics` takes nothing else.
 */

import { assert } from '../../base/assert.js';
import {
  ENTRY_FLAGS,
  ENTRY_FRAME,
  ENTRY_PAGE,
  ENTRY_SPACE,
  ENTRY_WORDS,
  EntryFlag,
  type PageTable,
} from '../../disk/page-table.js';
import {
  SLOT_CHANGES,
  SLOT_DONE,
  SLOT_ENTRY,
  SLOT_FRAME,
  SLOT_GENERATION,
  SLOT_IDLE,
} from '../../disk/slots.js';
import { ALIVE_WORD, FORCED_WORD, GENERATION_WORD, TRACKING_WORD } from '../../disk/table-file.js';
import { WINDOW_EPOCH, WINDOW_RECORD_WORDS } from '../../disk/window-table.js';
import type { Mapping, Memory, Steps } from '../../runtime/memory.js';
import { MessageType } from '../../wire/messages.js';
import type { Window } from '../link.js';
import type { OperationRing } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import type { Attachment } from './attachment.js';
import { CurrentOperation, NOTHING } from './current-operation.js';
import { FrameCopy } from './frame-copy.js';
import { Elsewhere, Place, STEP_OPERATIONS_MAX, SURE, UNSURE } from './step.js';
import { WindowFacts } from './window-facts.js';

const MARKS_MAX = 3;
const ATOMIC_BYTES = 8;
const ONE_BYTE = new Uint8Array(1);

export class OneSided implements Steps {
  /** How many operations of the step were done: the first ones. */
  done = 0;
  /** Why the one behind them was not; `None`: all were done. */
  elsewhere: Elsewhere = Elsewhere.None;
  /** Of those that were done. */
  readonly certainty = new Uint8Array(STEP_OPERATIONS_MAX);
  /** What atomics found. */
  readonly oldLow = new Uint32Array(STEP_OPERATIONS_MAX);
  readonly oldHigh = new Uint32Array(STEP_OPERATIONS_MAX);
  readonly #ids = new Uint32Array(STEP_OPERATIONS_MAX);
  readonly #epochs = new Uint32Array(STEP_OPERATIONS_MAX);

  readonly #head: Int32Array;
  readonly #pages: PageTable;
  readonly #entries: Int32Array;
  readonly #windows: Int32Array;
  readonly #facts: WindowFacts;
  readonly #slots: Int32Array;
  readonly #slotAt: number;
  readonly #written: Uint8Array;
  readonly #incarnation: number;
  readonly #pieces: readonly Mapping[];
  readonly #frames: number;
  readonly #pageShift: number;
  readonly #pageMask: number;
  readonly #pieceShift: number;
  readonly #pieceMask: number;
  readonly #copies: FrameCopy;
  readonly #onEnd: () => void;

  /** Where the step stands. */
  #place: number = Place.Ended;
  #forced = 0;
  #generation = 0;
  #marks = 0;
  #verified = 0;
  /** Where the operations stand; undefined: there is one, which was told to `one`. */
  #ring: OperationRing | undefined;
  #position = 0;
  #count = 0;
  /** The operation that is under way. */
  readonly #operation = new CurrentOperation();
  /** Its page, as the words of an entry say it, and what was found of it. */
  #pageWord = 0;
  #spaceWord = 0;
  #needed = 0;
  #entry = 0;
  #frameWord = 0;
  #doneEver = 0;

  /** `onEnd` is told when a step of several operations (`several`) has ended. */
  constructor(attachment: Attachment, memory: Memory, onEnd: () => void) {
    const { table } = attachment;
    this.#head = attachment.head;
    this.#pages = table.pages;
    this.#entries = table.pages.words;
    this.#windows = table.windows.words;
    this.#facts = new WindowFacts(table.windows);
    this.#slots = attachment.slots;
    this.#slotAt = attachment.slotAt;
    this.#written = attachment.marks;
    this.#incarnation = attachment.incarnation;
    this.#pieces = attachment.pieces;
    this.#frames = attachment.frames;
    this.#pageShift = attachment.pageShift;
    this.#pageMask = 2 ** attachment.pageShift - 1;
    this.#pieceShift = attachment.pieceShift;
    this.#pieceMask = 2 ** attachment.pieceShift - 1;
    this.#copies = new FrameCopy(memory);
    this.#onEnd = onEnd;
  }

  /** Begins a step of one read or write. */
  one(
    type: number,
    window: Window,
    address: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
  ): void {
    this.#ring = undefined;
    this.#begin(1);
    this.#operation.set(type, window, address, bytes, buffer, start);
  }

  /** Begins a step of one atomic. */
  oneAtomic(
    type: number,
    window: Window,
    address: number,
    firstLow: number,
    firstHigh: number,
    secondLow: number,
    secondHigh: number,
  ): void {
    this.#ring = undefined;
    this.#begin(1);
    this.#operation.set(type, window, address, ATOMIC_BYTES, NOTHING, 0);
    this.#operation.setOperands(firstLow, firstHigh, secondLow, secondHigh);
  }

  /** Begins a step of `count` operations of the ring, from `position` on. */
  several(ring: OperationRing, position: number, count: number): void {
    assert(count > 0 && count <= STEP_OPERATIONS_MAX, 'a step is too long');
    this.#ring = ring;
    this.#position = position;
    this.#begin(count);
    this.#operation.load(ring, position);
  }

  #begin(count: number): void {
    assert(this.#place === Place.Ended, 'a step is begun in the middle of another');
    this.#count = count;
    this.done = 0;
    this.elsewhere = Elsewhere.None;
    this.#marks = 0;
    this.#verified = 0;
    this.#place = Place.BeginForced;
  }

  /**
   * Between steps: whether a write to each page of the range would be made, as far as one look
   * tells. Nothing is touched, and nothing is promised.
   */
  mayWrite(window: Window, address: number, bytes: number): boolean {
    assert(this.#place === Place.Ended, 'a look in the middle of a step');
    const pageBytes = this.#pageMask + 1;
    const operation = this.#operation;
    for (let at = address; at < address + bytes; at += pageBytes - (at % pageBytes)) {
      operation.set(MessageType.Write, window, at, 1, ONE_BYTE, 0);
      if (this.#look() !== Elsewhere.None) return false;
      const flags = Atomics.load(this.#entries, this.#entry + ENTRY_FLAGS);
      const wanted = EntryFlag.VALID | EntryFlag.WRITE;
      if ((flags & (wanted | EntryFlag.PAUSED)) !== wanted) return false;
      if (Atomics.load(this.#entries, this.#entry + ENTRY_FRAME) === 0) return false;
    }
    return true;
  }

  get fencesNext(): boolean {
    const place = this.#place;
    return (
      place === Place.Mark ||
      place === Place.PublishFrame ||
      place === Place.MarkPage ||
      place === Place.Idle ||
      (place === Place.Copy && this.#operation.isAtomic)
    );
  }

  get touchesNext(): boolean {
    return this.#place === Place.Copy || this.#place === Place.MarkPage;
  }

  ended(): void {
    this.#operation.buffer = NOTHING;
    if (this.#ring === undefined) return;
    this.#ring = undefined;
    this.#onEnd();
  }

  next(): boolean {
    switch (this.#place) {
      case Place.BeginForced:
        this.#forced = Atomics.load(this.#head, FORCED_WORD);
        return this.#go(Place.BeginGeneration);
      case Place.BeginGeneration:
        return this.#loadGeneration();
      case Place.Mark:
        Atomics.store(this.#slots, this.#slotAt + SLOT_GENERATION, this.#generation);
        return this.#go(Place.MarkAgain);
      case Place.MarkAgain:
        return this.#markAgain();
      case Place.Find:
        return this.#find();
      case Place.PublishEntry:
        this.#slots[this.#slotAt + SLOT_ENTRY] = this.#entry / ENTRY_WORDS + 1;
        return this.#go(Place.PublishFrame);
      case Place.PublishFrame:
        this.#slots[this.#slotAt + SLOT_CHANGES] =
          this.#operation.type === MessageType.Read ? 0 : 1;
        Atomics.store(this.#slots, this.#slotAt + SLOT_FRAME, this.#frameWord);
        return this.#go(fabricFaults.checkedBeforePublished ? Place.Copy : Place.CheckFrame);
      case Place.MarkPage:
        return this.#markPage();
      case Place.Copy:
        return this.#copy();
      case Place.Idle:
        // For who wants to know which regions are used; in a line that is written to anyway.
        this.#slots[this.#slotAt + SLOT_DONE] = this.#doneEver = (this.#doneEver + this.done) | 0;
        Atomics.store(this.#slots, this.#slotAt + SLOT_GENERATION, SLOT_IDLE);
        return this.#idled();
      case Place.VerifyAlive:
        return this.#verifyAlive();
      case Place.VerifyForced:
        return this.#verifyForced();
      case Place.VerifyWindows:
        return this.#verifyWindow();
      case Place.Ended:
        return false;
      default:
        return this.#check();
    }
  }

  #go(place: number): true {
    this.#place = place;
    return true;
  }

  #end(): false {
    this.#place = Place.Ended;
    return false;
  }

  /** The operation that is under way is not done; what was done before it is brought to its end. */
  #miss(why: Elsewhere): true {
    this.elsewhere = why;
    return this.#go(Place.Idle);
  }

  // ------------------------------------------------------------------------------- beginning

  #loadGeneration(): boolean {
    this.#generation = Atomics.load(this.#head, GENERATION_WORD);
    // It would read as idle; no node that serves has it.
    if (this.#generation !== SLOT_IDLE) return this.#go(Place.Mark);
    this.elsewhere = Elsewhere.NotAlive;
    return this.#end();
  }

  /** A mark that was stored late could be taken for one of a generation far ahead. */
  #markAgain(): boolean {
    const generation = Atomics.load(this.#head, GENERATION_WORD);
    if (generation === this.#generation) return this.#go(Place.Find);
    this.#generation = generation;
    this.#marks += 1;
    if (this.#marks === MARKS_MAX || generation === SLOT_IDLE) return this.#miss(Elsewhere.Moved);
    return this.#go(Place.Mark);
  }

  /** Where the page stands, as far as one look tells: `check` believes nothing of it. */
  #find(): boolean {
    const why = this.#look();
    return why === Elsewhere.None ? this.#findFrame() : this.#miss(why);
  }

  #look(): Elsewhere {
    const facts = this.#facts;
    const operation = this.#operation;
    const { low, bytes } = operation;
    const isKnown = facts.recall(operation.id, operation.epoch);
    if (!isKnown || !facts.covers(operation.address, bytes)) return Elsewhere.Window;
    const needed = operation.rightsNeeded;
    this.#needed = needed;
    if ((facts.rights & needed) !== needed) return Elsewhere.Rights;
    const isWithin = bytes >= 1 && (low & this.#pageMask) + bytes <= this.#pageMask + 1;
    const isGood = operation.isAtomic ? (low & 7) === 0 : operation.hasBuffer;
    if (!isWithin || !isGood) return Elsewhere.Form;
    const shift = this.#pageShift;
    this.#pageWord = (low >>> shift) | (operation.high << (32 - shift));
    this.#spaceWord = facts.spaceWord | (operation.high >>> shift);
    this.#entry = this.#pages.lookup(this.#pageWord, this.#spaceWord);
    return this.#entry < 0 ? Elsewhere.NoPage : Elsewhere.None;
  }

  #findFrame(): boolean {
    const frameWord = this.#entries[this.#entry + ENTRY_FRAME] as number;
    this.#frameWord = frameWord;
    if (frameWord < 0 || frameWord > this.#frames) return this.#miss(Elsewhere.Moved);
    if (frameWord === 0 && this.#operation.type !== MessageType.Read) {
      return this.#miss(Elsewhere.NoFrame);
    }
    return this.#go(fabricFaults.checkedBeforePublished ? Place.CheckFrame : Place.PublishEntry);
  }

  // -------------------------------------------------------------------------------- checking

  /**
   * The frame is seen before and after the rest, so the entry did not change in between. An entry
   * without a frame can change: but one that lost its frame was paused first, so behind flags that
   * say nothing of it the page's words are those of a page that had none. The window comes behind
   * the frame: whoever closes it looks for pages whose frames are published, and only one that was
   * seen in its page stays there, or with nobody.
   */
  #check(): boolean {
    switch (this.#place) {
      case Place.CheckFrame:
        return this.#holds(ENTRY_FRAME, this.#frameWord, Place.CheckFlags);
      case Place.CheckFlags:
        return this.#checkFlags();
      case Place.CheckPage:
        return this.#holds(ENTRY_PAGE, this.#pageWord, Place.CheckSpace);
      case Place.CheckSpace:
        return this.#holds(ENTRY_SPACE, this.#spaceWord, Place.CheckFrameAgain);
      case Place.CheckFrameAgain:
        return this.#holds(ENTRY_FRAME, this.#frameWord, Place.CheckWindow);
      case Place.CheckWindow:
        return this.#checkWindow();
      default:
        return this.#checkAlive();
    }
  }

  #checkWindow(): boolean {
    const { id, epoch } = this.#operation;
    return this.#epochOf(id) === epoch ? this.#go(Place.CheckAlive) : this.#miss(Elsewhere.Window);
  }

  #epochOf(window: number): number {
    return Atomics.load(this.#windows, window * WINDOW_RECORD_WORDS + WINDOW_EPOCH) >>> 0;
  }

  #holds(word: number, expected: number, next: number): boolean {
    const isSame = Atomics.load(this.#entries, this.#entry + word) === expected;
    return isSame ? this.#go(next) : this.#miss(Elsewhere.Moved);
  }

  #checkFlags(): boolean {
    const flags = Atomics.load(this.#entries, this.#entry + ENTRY_FLAGS);
    if ((flags & EntryFlag.VALID) === 0) return this.#miss(Elsewhere.NoPage);
    if ((flags & EntryFlag.PAUSED) !== 0) return this.#miss(Elsewhere.Paused);
    if ((flags & this.#needed) !== this.#needed) return this.#miss(Elsewhere.Rights);
    return this.#go(Place.CheckPage);
  }

  /** Last: so all that was loaded before it was loaded while that process served. */
  #checkAlive(): boolean {
    if (Atomics.load(this.#head, ALIVE_WORD) >>> 0 !== this.#incarnation) {
      return this.#miss(Elsewhere.NotAlive);
    }
    if (fabricFaults.slotNotIdle) {
      Atomics.store(this.#slots, this.#slotAt + SLOT_GENERATION, SLOT_IDLE);
    }
    if (fabricFaults.checkedBeforePublished) return this.#go(Place.PublishEntry);
    const isMarked =
      Atomics.load(this.#head, TRACKING_WORD) !== 0 && this.#operation.type !== MessageType.Read;
    return this.#go(isMarked ? Place.MarkPage : Place.Copy);
  }

  /**
   * The frame is published: the node waits for this step if it began before the marks were taken.
   * Made before the copy, so that no byte comes behind a mark that was taken.
   */
  #markPage(): boolean {
    if (!fabricFaults.writesNotMarked) Atomics.store(this.#written, this.#frameWord - 1, 1);
    return this.#go(Place.Copy);
  }

  // --------------------------------------------------------------------------------- copying

  #copy(): boolean {
    const at = this.done;
    const operation = this.#operation;
    if (this.#frameWord === 0) {
      operation.buffer.fill(0, operation.start, operation.start + operation.bytes);
    } else {
      this.#touch(operation, this.#frameWord - 1);
    }
    this.#ids[at] = operation.id;
    this.#epochs[at] = operation.epoch;
    this.certainty[at] = SURE;
    this.done = at + 1;
    if (this.done < this.#count && this.#ring !== undefined) {
      operation.load(this.#ring, this.#position + this.done);
      return this.#go(Place.Find);
    }
    return this.#go(fabricFaults.verifiedBeforeIdle ? Place.VerifyAlive : Place.Idle);
  }

  #touch(operation: CurrentOperation, frame: number): void {
    const piece = this.#pieces[frame >>> this.#pieceShift] as Mapping;
    const start = (frame & this.#pieceMask) << this.#pageShift;
    const at = start + (operation.low & this.#pageMask);
    switch (operation.type) {
      case MessageType.Read:
        this.#copies.read(piece, at, operation.bytes, operation.buffer, operation.start);
        return;
      case MessageType.Write:
        this.#copies.write(piece, at, operation.bytes, operation.buffer, operation.start);
        return;
      default:
        operation.change(piece.wide, at >>> 3);
        this.oldLow[this.done] = operation.foundLow;
        this.oldHigh[this.done] = operation.foundHigh;
    }
  }

  // ------------------------------------------------------------------------------- verifying

  /** After the slot is idle, or (planted) in place of what follows it. */
  #idled(): boolean {
    if (this.done === 0 || fabricFaults.epochCheckedBeforeOnly) return this.#end();
    // What was done before a miss was not looked at yet, even where that is planted too early.
    const isVerified = fabricFaults.verifiedBeforeIdle && this.elsewhere === Elsewhere.None;
    return isVerified ? this.#end() : this.#go(Place.VerifyAlive);
  }

  #verifyAlive(): boolean {
    const alive = Atomics.load(this.#head, ALIVE_WORD) >>> 0;
    if (alive !== this.#incarnation) return this.#nothingIsSure();
    return this.#go(Place.VerifyForced);
  }

  #verifyForced(): boolean {
    const forced = Atomics.load(this.#head, FORCED_WORD);
    if (forced !== this.#forced) return this.#nothingIsSure();
    return this.#go(Place.VerifyWindows);
  }

  /** The window of the next operation; of those behind it that have the same one, too. */
  #verifyWindow(): boolean {
    const ids = this.#ids;
    const epochs = this.#epochs;
    let at = this.#verified;
    const id = ids[at] as number;
    const epoch = epochs[at] as number;
    const isSure = this.#epochOf(id) === epoch;
    while (at < this.done && ids[at] === id && epochs[at] === epoch) {
      if (!isSure) this.certainty[at] = UNSURE;
      at += 1;
    }
    this.#verified = at;
    return at < this.done ? true : this.#isVerified();
  }

  #nothingIsSure(): boolean {
    this.certainty.fill(UNSURE, 0, this.done);
    return this.#isVerified();
  }

  #isVerified(): boolean {
    const isEarly = fabricFaults.verifiedBeforeIdle && this.elsewhere === Elsewhere.None;
    return isEarly ? this.#go(Place.Idle) : this.#end();
  }
}
