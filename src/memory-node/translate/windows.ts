/**
 * The windows of a memory node: who may do what with which addresses of a space. A data request
 * names its window by a number and an epoch, and so does a thread that reads and writes without the
 * node: the records stand in the table file (`WindowTable`). The arrays here are what the path of a
 * request looks at beside them.
 *
 * Epochs of ordinary windows are counted over all openings of the node, those of shared ones are
 * drawn at random. So a number from before a restart, one that is now another client's, and one
 * that now stands for something else of the same client open nothing.
 */

import { assert } from '../../base/assert.js';
import { RIGHTS_MASK, spaceWord } from '../../disk/page-table.js';
import { WINDOW_EPOCH, WINDOW_RECORD_WORDS, type WindowTable } from '../../disk/window-table.js';
import type { Entropy } from '../../runtime/runtime.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { memoryNodeFaults } from '../planted.js';
import { NO_PARENT, NOBODY, type WindowFacts, WindowTree } from './window-tree.js';

/** So that one client cannot take them all. */
const WINDOWS_PER_CLIENT_MAX = 4096;
/** In place of a client: the window is good for whoever names it and its epoch. */
export const ANYONE = -1;

/**
 * Spreads the incarnations over all epochs (2^32 divided by the golden ratio): between the first
 * epochs of any two of a thousand in a row there is room for a million openings.
 */
const INCARNATION_STRIDE = 0x9e37_79b1;

/** What an open one takes beside its record, roughly: what `WindowTree` keeps of it. */
const WINDOW_BYTES = 256;

export interface WindowsParts {
  readonly table: WindowTable;
  readonly incarnation: number;
  readonly entropy: Entropy;
}

export interface WindowRange {
  readonly space: number;
  /** Bits of the flags word. */
  readonly rights: number;
  readonly base: number;
  readonly end: number;
}

export class Windows {
  /** Indexed by window: its client, or `ANYONE`; 0, which no client has, where it is not open. */
  readonly clients: Float64Array;
  /** 1: it covers `[bases, ends)` alone; 0: the whole space. */
  readonly areParts: Uint8Array;
  readonly bases: Float64Array;
  readonly ends: Float64Array;
  /** Words of the records, as `WindowTable` lays them out. */
  readonly words: Int32Array;
  open = 0;
  readonly #table: WindowTable;
  readonly #entropy: Entropy;
  readonly #tree = new WindowTree();
  /** Windows over whole spaces, by client or `NOBODY`, space and rights: each is opened once. */
  readonly #whole = new Map<string, number>();
  /** A circle of the numbers that are not open, the one closed last at its end. */
  readonly #unused: Uint32Array;
  #firstUnused = 0;
  /** Shared ones whose openers are gone, longest first: they make room for others. */
  readonly #left = new Set<number>();
  #nextEpoch: number;
  /** Of the last opening of each number: the next one has another. */
  readonly #lastEpochs: Uint32Array;

  /** What the process before had opened is good no more. */
  constructor(parts: WindowsParts) {
    const { table } = parts;
    if (parts.incarnation > 1) table.closeAll();
    this.#table = table;
    this.#entropy = parts.entropy;
    this.#nextEpoch = Math.imul(parts.incarnation, INCARNATION_STRIDE) >>> 0;
    this.#lastEpochs = new Uint32Array(table.entries);
    this.#unused = new Uint32Array(table.entries);
    for (let window = 0; window < table.entries; window++) this.#unused[window] = window;
    this.words = table.words;
    this.clients = new Float64Array(table.entries);
    this.areParts = new Uint8Array(table.entries);
    this.bases = new Float64Array(table.entries);
    this.ends = new Float64Array(table.entries);
  }

  /** Shared windows outlive their clients, so all together leave room for the others. */
  get sharedMax(): number {
    return this.#table.entries >> 1;
  }

  get shared(): number {
    return this.#tree.shared;
  }

  /** Bytes that are kept for windows that are open. */
  get stateBytes(): number {
    return this.open * (WINDOW_RECORD_WORDS * 4 + WINDOW_BYTES);
  }

  /** The window of this client for the space, made if there is none; -1 when there are too many. */
  openFor(client: number, space: number, rights: number): number {
    return this.#openWhole(client, space, rights);
  }

  /**
   * The one window for the space that all share who ask for one, so that their number costs
   * nothing: there are as many as spaces and rights. It goes with its space; -1 as above.
   */
  openForAll(space: number, rights: number): number {
    return this.#openWhole(NOBODY, space, rights);
  }

  #openWhole(opener: number, space: number, rights: number): number {
    const key = wholeKey(opener, memoryNodeFaults.sharedBeyondSpace ? 0 : space, rights);
    const known = this.#whole.get(key);
    if (known !== undefined) return known;
    const range = { space, rights, base: 0, end: ADDRESS_END };
    const facts = { opener, space, isShared: opener === NOBODY, parent: NO_PARENT };
    const window = this.openRange(range, { ...facts, lease: 0, leaseEpoch: 0 });
    if (window >= 0) this.#whole.set(key, window);
    return window;
  }

  /** -1 when there are too many. What it is cut from, and its lease, the caller has checked. */
  openRange(range: WindowRange, facts: WindowFacts): number {
    const isOfClient = facts.opener !== NOBODY;
    assert(isOfClient || facts.isShared, 'a window is of a client, or of all');
    if (isOfClient && this.#tree.countOf(facts.opener) >= WINDOWS_PER_CLIENT_MAX) return -1;
    if (isOfClient && facts.isShared && !this.#hasRoomToShare(facts.parent)) return -1;
    if (this.open === this.#unused.length) return -1;
    const window = this.#takeNumber(facts.isShared);
    this.#tree.add(window, facts);
    this.clients[window] = facts.isShared ? ANYONE : facts.opener;
    this.areParts[window] = range.base > 0 || range.end < ADDRESS_END ? 1 : 0;
    this.bases[window] = range.base;
    this.ends[window] = range.end;
    const { rights, base, end } = range;
    const epoch = this.#epochFor(window, facts.isShared);
    const record = { spaceWord: spaceWord(range.space, 0), rights, base, end };
    this.#table.open(window, epoch, record);
    this.open += 1;
    return window;
  }

  /** Nobody is left who would close those that make room. */
  #hasRoomToShare(parent: number): boolean {
    if (this.#tree.shared < this.sharedMax) return true;
    for (const window of this.#left) {
      if (this.#tree.isCutFrom(parent, window)) continue;
      this.closeFamily(window);
      return true;
    }
    return false;
  }

  #epochFor(window: number, isRandom: boolean): number {
    const last = this.#lastEpochs[window] as number;
    let epoch = 0;
    while (epoch === 0 || epoch === last) {
      epoch = isRandom ? this.#entropy.u32() : this.#nextEpoch;
      if (!isRandom) this.#nextEpoch = (this.#nextEpoch + 1) >>> 0;
    }
    this.#lastEpochs[window] = epoch;
    return epoch;
  }

  /** A shared one is any of them, so that nobody can guess where it stands. */
  #takeNumber(isRandom: boolean): number {
    const unused = this.#unused;
    const first = this.#firstUnused;
    const count = unused.length - this.open;
    const picked = isRandom ? (first + (this.#entropy.u32() % count)) % unused.length : first;
    const window = unused[picked] as number;
    unused[picked] = unused[first] as number;
    this.#firstUnused = (first + 1) % unused.length;
    return window;
  }

  epochOf(window: number): number {
    return (this.words[window * WINDOW_RECORD_WORDS + WINDOW_EPOCH] as number) >>> 0;
  }

  rightsOf(window: number): number {
    return this.#table.rightsOf(window) & RIGHTS_MASK;
  }

  /** Of a window that is open. */
  factsOf(window: number): WindowFacts | undefined {
    return this.#tree.facts(window);
  }

  /** Whether the client may use the number with this epoch. */
  isGood(window: number, client: number, epoch: number): boolean {
    const owner = this.clients[window];
    const isHis = owner === client || owner === ANYONE;
    return isHis && epoch !== 0 && this.epochOf(window) === epoch;
  }

  /** With all that were cut from it. False if the client has no such window. */
  close(client: number, window: number): boolean {
    if (client === 0 || this.clients[window] !== client) return false;
    this.closeFamily(window);
    return true;
  }

  /** Whether the client opened it, or a window that it was cut from. */
  mayRevoke(window: number, client: number): boolean {
    return this.#tree.isUnder(window, client);
  }

  /** A window that is open, and all that were cut from it. */
  closeFamily(window: number): void {
    this.#closeAll(this.#tree.family(window));
  }

  /** The client is gone: what others share stays, as long as there is room. */
  closeClient(client: number): void {
    for (const window of this.#tree.openedBy(client)) {
      if (this.clients[window] === client) this.#close(window);
      else this.#left.add(window);
    }
  }

  closeSpace(space: number): void {
    this.#closeAll(this.#tree.ofSpace(space));
  }

  /** Those over a part of the space that reach into the range, and what was cut of them. */
  closeOver({ space, base, end }: Omit<WindowRange, 'rights'>): void {
    const all = this.#tree.ofSpace(space).filter((window) => {
      const isInside = (this.bases[window] as number) < end && (this.ends[window] as number) > base;
      return isInside && this.areParts[window] === 1;
    });
    this.#closeAll([...new Set(all.flatMap((window) => this.#tree.family(window)))]);
  }

  /** Those of the lease that were opened in an epoch before this one, and what was cut of them. */
  closeLease(lease: number, belowEpoch: number): void {
    const all = this.#tree.ofLease(lease, belowEpoch);
    this.#closeAll([...new Set(all.flatMap((window) => this.#tree.family(window)))]);
  }

  #closeAll(windows: readonly number[]): void {
    for (const window of windows) this.#close(window);
  }

  #close(window: number): void {
    const facts = this.#tree.facts(window);
    assert(facts !== undefined, 'a window that is not open is closed');
    const key = wholeKey(facts.opener, facts.space, this.rightsOf(window));
    if (this.#whole.get(key) === window) this.#whole.delete(key);
    this.#tree.remove(window);
    this.#left.delete(window);
    this.clients[window] = 0;
    this.#table.close(window);
    this.#unused[(this.#firstUnused + this.#unused.length - this.open) % this.#unused.length] =
      window;
    this.open -= 1;
  }
}

function wholeKey(client: number, space: number, rights: number): string {
  return `${client}/${space}/${rights}`;
}
