/**
 * The frames of a memory node: one memory file, mapped in pieces of 1 GiB, cut into frames of one
 * page each. A piece holds a power of two of frames, so that a frame's place costs a shift.
 *
 *   frame 0 .. n-1 -> piece 0 | frame n .. 2n-1 -> piece 1 | ...
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { MAPPING_BYTES_MAX, type Mapping, type MemoryFile } from '../../runtime/memory.js';

export class Frames {
  readonly pageBytes: number;
  readonly count: number;
  readonly #file: MemoryFile;
  readonly #pieces: Mapping[] = [];
  readonly #pageShift: number;
  readonly #pieceShift: number;
  readonly #pieceMask: number;

  constructor(file: MemoryFile, pageBytes: number, count: number) {
    const perPiece = MAPPING_BYTES_MAX / pageBytes;
    assert(Number.isInteger(Math.log2(perPiece)), 'page size is a power of two, at most a piece');
    assert(file.bytes >= count * pageBytes, 'memory file is shorter than its frames');
    this.#file = file;
    this.pageBytes = pageBytes;
    this.count = count;
    this.#pageShift = Math.log2(pageBytes);
    this.#pieceShift = Math.log2(perPiece);
    this.#pieceMask = perPiece - 1;
    const end = count * pageBytes;
    for (let at = 0; at < end; at += MAPPING_BYTES_MAX) {
      this.#pieces.push(file.map(at, Math.min(MAPPING_BYTES_MAX, end - at)));
    }
  }

  /** The mapping that holds the frame. */
  piece(frame: FrameIndex): Mapping {
    return this.#pieces[frame >>> this.#pieceShift] as Mapping;
  }

  /** Where in its piece the frame begins, in bytes: below 2^30. */
  offset(frame: FrameIndex): number {
    return (frame & this.#pieceMask) << this.#pageShift;
  }

  /** Takes memory for a part of a frame, which the machine then gives here and not later. */
  populate(frame: FrameIndex, start: number, bytes: number): void {
    this.#file.populate(frame * this.pageBytes + start, bytes);
  }

  /** Bytes of physical memory that frames take up, whoever uses them. */
  get heldBytes(): number {
    return this.#file.heldBytes();
  }

  /** Gives the memory of a part of a frame back to the machine; it reads as zeros from then on. */
  discard(frame: FrameIndex, start: number, bytes: number): void {
    this.#file.discard(frame * this.pageBytes + start, bytes);
  }
}
