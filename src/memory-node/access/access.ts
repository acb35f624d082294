/**
 * Reads, writes and atomics on the frame behind a page-table entry. What comes in here has passed
 * every check; what can still happen is that a first touch finds no frame.
 *
 * An aligned word of 8 bytes is read and written whole (by `Atomics`, as other processes may look
 * at the same memory); a longer transfer may mix words from before and after another one.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { COPY_WORDS_BYTES_MAX, copyWords } from '../../base/copy-words.js';
import { ENTRY_WORDS, NO_FRAME, type PageTable } from '../../disk/page-table.js';
import type { Memory } from '../../runtime/memory.js';
import type { Bytes } from '../../runtime/network.js';
import { FRAME_LATER, FRAME_NONE, type FramePool } from '../store/frame-pool.js';
import type { WrittenFrames } from '../moves/written-frames.js';
import type { Frames } from '../store/frames.js';

/** How an access ended. */
export const ACCESS_DONE = 0;
/** A first touch must wait for a zeroed frame; nothing was changed. */
export const ACCESS_LATER = 1;
/** A first touch found that all frames are used or promised; nothing was changed. */
export const ACCESS_NO_SPACE = 2;
export type AccessEnd = typeof ACCESS_DONE | typeof ACCESS_LATER | typeof ACCESS_NO_SPACE;

const WORD_BYTES = 8;

export class Access {
  /** The word that the last atomic found, in unsigned halves. */
  oldLow = 0;
  oldHigh = 0;
  readonly #pages: PageTable;
  readonly #frames: Frames;
  readonly #pool: FramePool;
  readonly #memory: Memory;
  readonly #written: WrittenFrames;
  readonly #ownEntry: Int32Array;
  readonly #requests = new WideViews();
  readonly #replies = new WideViews();
  /** A word and its halves: calculating with a bigint costs a call of the engine for each step. */
  readonly #old = new BigUint64Array(1);
  readonly #oldHalves = new Uint32Array(this.#old.buffer);
  /** The frame that `#frameForWriting` found. */
  #frame = 0 as FrameIndex;

  /** `ownEntry`: where the next process sees which page this one is changing (disk/slots.ts). */
  constructor(
    pages: PageTable,
    frames: Frames,
    pool: FramePool,
    memory: Memory,
    written: WrittenFrames,
    ownEntry: Int32Array,
  ) {
    this.#pages = pages;
    this.#frames = frames;
    this.#pool = pool;
    this.#memory = memory;
    this.#written = written;
    this.#ownEntry = ownEntry;
  }

  /** Copies from the page to `output` at `outputAt`, a multiple of 8; zeros if it has no frame. */
  read(entry: number, offset: number, bytes: number, output: Bytes, outputAt: number): void {
    const frame = this.#pages.frameOf(entry);
    if (frame === NO_FRAME) {
      output.bytes.fill(0, outputAt, outputAt + bytes);
      return;
    }
    const piece = this.#frames.piece(frame);
    const at = this.#frames.offset(frame) + offset;
    if (bytes === WORD_BYTES && (at & 7) === 0) {
      output.view.setBigUint64(outputAt, Atomics.load(piece.wide, at >>> 3), true);
      return;
    }
    if (bytes <= COPY_WORDS_BYTES_MAX && ((at | bytes) & 7) === 0) {
      copyWords(this.#replies.wordsOf(output), outputAt >>> 3, piece.wide, at >>> 3, bytes >>> 3);
      return;
    }
    this.#memory.copy(output.bytes, outputAt, piece.bytes, at, bytes);
  }

  /**
   * Copies to the page from `input` at `inputAt`, a multiple of 8. `reservation` of the client
   * `slot` pays a first touch; 0: none does.
   */
  write(
    entry: number,
    slot: number,
    reservation: number,
    offset: number,
    bytes: number,
    input: Bytes,
    inputAt: number,
  ): AccessEnd {
    const end = this.#frameForWriting(entry, slot, reservation);
    if (end !== ACCESS_DONE) return end;
    const piece = this.#frames.piece(this.#frame);
    const at = this.#frames.offset(this.#frame) + offset;
    if (bytes === WORD_BYTES && (at & 7) === 0) {
      Atomics.store(piece.wide, at >>> 3, input.view.getBigUint64(inputAt, true));
      return ACCESS_DONE;
    }
    this.#ownEntry[0] = entry / ENTRY_WORDS + 1;
    if (bytes <= COPY_WORDS_BYTES_MAX && ((at | bytes) & 7) === 0) {
      const words = this.#requests.wordsOf(input);
      copyWords(piece.wide, at >>> 3, words, inputAt >>> 3, bytes >>> 3);
    } else {
      this.#memory.copy(piece.bytes, at, input.bytes, inputAt, bytes);
    }
    this.#ownEntry[0] = 0;
    return ACCESS_DONE;
  }

  /**
   * `offset` and `inputAt` are multiples of 8; the operands are two u64 at `inputAt`: expected,
   * desired.
   */
  compareAndSwap(
    entry: number,
    slot: number,
    offset: number,
    input: Bytes,
    inputAt: number,
  ): AccessEnd {
    const words = this.#requests.wordsOf(input);
    const expected = words[inputAt >>> 3] as bigint;
    const desired = words[(inputAt >>> 3) + 1] as bigint;
    // A page that was never written holds zeros; a swap that would not change it takes no frame.
    if (this.#pages.frameOf(entry) === NO_FRAME && (expected !== 0n || desired === 0n)) {
      return this.#found(0n);
    }
    const end = this.#frameForWriting(entry, slot, 0);
    if (end !== ACCESS_DONE) return end;
    const at = this.#frames.offset(this.#frame) + offset;
    const { wide } = this.#frames.piece(this.#frame);
    return this.#found(Atomics.compareExchange(wide, at >>> 3, expected, desired));
  }

  /** `offset` and `inputAt` are multiples of 8; the operand is a u64 there. Wraps at 2^64. */
  fetchAndAdd(
    entry: number,
    slot: number,
    offset: number,
    input: Bytes,
    inputAt: number,
  ): AccessEnd {
    const delta = this.#requests.wordsOf(input)[inputAt >>> 3] as bigint;
    if (this.#pages.frameOf(entry) === NO_FRAME && delta === 0n) return this.#found(0n);
    const end = this.#frameForWriting(entry, slot, 0);
    if (end !== ACCESS_DONE) return end;
    const at = this.#frames.offset(this.#frame) + offset;
    return this.#found(Atomics.add(this.#frames.piece(this.#frame).wide, at >>> 3, delta));
  }

  #found(old: bigint): AccessEnd {
    this.#old[0] = old;
    this.oldLow = this.#oldHalves[0] as number;
    this.oldHigh = this.#oldHalves[1] as number;
    return ACCESS_DONE;
  }

  /** Sets `#frame`; a page without one gets a zeroed one by a single store. */
  #frameForWriting(entry: number, slot: number, reservation: number): AccessEnd {
    const known = this.#pages.frameOf(entry);
    if (known !== NO_FRAME) {
      this.#frame = known;
      if (this.#written.isOn) this.#written.mark(known);
      return ACCESS_DONE;
    }
    const taken = this.#pool.take(slot, reservation);
    if (taken === FRAME_LATER) return ACCESS_LATER;
    if (taken === FRAME_NONE) return ACCESS_NO_SPACE;
    assert(taken < this.#frames.count, 'the ring held a frame that does not exist');
    this.#pages.setFrame(entry, taken);
    this.#frame = taken;
    if (this.#written.isOn) this.#written.mark(taken);
    return ACCESS_DONE;
  }
}

/** Buffers of connections as words of 8 bytes; one view per buffer, made when it is first met. */
class WideViews {
  readonly #known = new WeakMap<Bytes, BigUint64Array>();
  /** A batch of messages comes from one buffer. */
  #last: Bytes | undefined;
  #lastWords: BigUint64Array = new BigUint64Array(0);

  wordsOf(bytes: Bytes): BigUint64Array {
    return bytes === this.#last ? this.#lastWords : this.#switchTo(bytes);
  }

  #switchTo(bytes: Bytes): BigUint64Array {
    let words = this.#known.get(bytes);
    if (words === undefined) {
      const { buffer, byteOffset, byteLength } = bytes.bytes;
      words = new BigUint64Array(buffer, byteOffset, byteLength >>> 3);
      this.#known.set(bytes, words);
    }
    this.#last = bytes;
    this.#lastWords = words;
    return words;
  }
}
