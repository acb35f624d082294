/**
 * What the windows that are in use cover, as the node's table file says it: read once, when a
 * window is first used, and kept. The epochs of one window's number are never used again, so what
 * was read between two looks at the same epoch belongs to that epoch for ever.
 */

import { readU32, readU53 } from '../../disk/layout.js';
import {
  WINDOW_BASE,
  WINDOW_END,
  WINDOW_EPOCH,
  WINDOW_RECORD_WORDS,
  WINDOW_RIGHTS,
  WINDOW_SPACE,
  type WindowTable,
} from '../../disk/window-table.js';

/** Windows that are kept at a time: few clients use more at one node. */
const PLACES = 64;

export class WindowFacts {
  /** Of the window that `recall` was asked for. */
  spaceWord = 0;
  /** Bits of the flags word. */
  rights = 0;
  base = 0;
  end = 0;
  readonly #words: Int32Array;
  readonly #windows: number;
  readonly #keptIds = new Float64Array(PLACES).fill(Number.NaN);
  readonly #keptEpochs = new Float64Array(PLACES);
  readonly #spaceWords = new Int32Array(PLACES);
  readonly #rights = new Int32Array(PLACES);
  readonly #bases = new Float64Array(PLACES);
  readonly #ends = new Float64Array(PLACES);

  constructor(table: WindowTable) {
    this.#words = table.words;
    this.#windows = table.entries;
  }

  /** False where the window is not open, or of another epoch. */
  recall(id: number, epoch: number): boolean {
    const place = id & (PLACES - 1);
    const isKept = this.#keptIds[place] === id && this.#keptEpochs[place] === epoch;
    if (!isKept && !this.#read(place, id, epoch)) return false;
    this.spaceWord = this.#spaceWords[place] as number;
    this.rights = this.#rights[place] as number;
    this.base = this.#bases[place] as number;
    this.end = this.#ends[place] as number;
    return true;
  }

  /** Whether the window that was recalled covers the range. */
  covers(address: number, bytes: number): boolean {
    return address >= this.base && address + bytes <= this.end;
  }

  #read(place: number, id: number, epoch: number): boolean {
    if (!(id >= 0 && id < this.#windows) || epoch === 0) return false;
    const words = this.#words;
    const at = id * WINDOW_RECORD_WORDS;
    if (readU32(words, at + WINDOW_EPOCH) !== epoch) return false;
    this.#keptIds[place] = Number.NaN;
    this.#spaceWords[place] = Atomics.load(words, at + WINDOW_SPACE);
    this.#rights[place] = Atomics.load(words, at + WINDOW_RIGHTS);
    this.#bases[place] = readU53(words, at + WINDOW_BASE);
    this.#ends[place] = readU53(words, at + WINDOW_END);
    if (readU32(words, at + WINDOW_EPOCH) !== epoch) return false;
    this.#keptIds[place] = id;
    this.#keptEpochs[place] = epoch;
    return true;
  }
}
