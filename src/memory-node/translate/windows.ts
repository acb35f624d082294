/**
 * The windows of a memory node: who may do what with which space. A data request names its window
 * by a number; the arrays here are what the path of a request looks at.
 *
 * A window belongs to one client process and has an epoch of its own: openings are counted over the
 * whole node. So a number from before a restart, one that is now another client's, and one that now
 * stands for another space of the same client open nothing.
 */

import { assert } from '../../base/assert.js';
import { WINDOWS_END } from '../../wire/limits.js';

/** All windows of a node; each costs 32 bytes. */
const WINDOWS_MAX = WINDOWS_END;
/** So that one client cannot take them all. */
const WINDOWS_PER_CLIENT_MAX = 4096;

/**
 * Spreads the incarnations over all epochs (2^32 divided by the golden ratio): between the first
 * epochs of any two of a thousand in a row there is room for a million openings.
 */
const INCARNATION_STRIDE = 0x9e37_79b1;

export class Windows {
  /** Indexed by window; a window that is not open has client 0, which no client has. */
  readonly clients: Float64Array;
  /** Of the last opening of each window. */
  readonly epochs: Uint32Array;
  /** The space's part of word 1 of its page-table entries. */
  readonly spaceWords: Int32Array;
  /** Bits of the flags word: what this client may do with pages that allow it too. */
  readonly rights: Int32Array;
  readonly #spaces: Float64Array;
  /** Numbers that were closed are used again last, so that a late request rather finds nothing. */
  readonly #closed: number[] = [];
  #next = 0;
  #nextEpoch: number;
  /** Every window of every client: `space/rights` to number. */
  readonly #ofClient = new Map<number, Map<string, number>>();
  open = 0;

  constructor(incarnation: number, windowsMax = WINDOWS_MAX) {
    this.#nextEpoch = Math.imul(incarnation, INCARNATION_STRIDE) >>> 0;
    this.epochs = new Uint32Array(windowsMax);
    this.clients = new Float64Array(windowsMax);
    this.spaceWords = new Int32Array(windowsMax);
    this.rights = new Int32Array(windowsMax);
    this.#spaces = new Float64Array(windowsMax);
  }

  /** The window of this client for the space, made if there is none; -1 when there are too many. */
  openFor(client: number, space: number, spaceWord: number, rightsBits: number): number {
    assert(client > 0, 'client numbers begin at 1');
    const own = this.#ofClient.get(client) ?? new Map<string, number>();
    const key = `${space}/${rightsBits}`;
    const known = own.get(key);
    if (known !== undefined) return known;
    if (own.size >= WINDOWS_PER_CLIENT_MAX) return -1;
    const window = this.#unusedNumber();
    if (window < 0) return -1;
    this.#ofClient.set(client, own.set(key, window));
    this.clients[window] = client;
    this.epochs[window] = this.#nextEpoch;
    this.#nextEpoch = (this.#nextEpoch + 1) >>> 0;
    this.spaceWords[window] = spaceWord;
    this.rights[window] = rightsBits;
    this.#spaces[window] = space;
    this.open += 1;
    return window;
  }

  epochOf(window: number): number {
    return this.epochs[window] as number;
  }

  spaceOf(window: number): number {
    return this.#spaces[window] as number;
  }

  #unusedNumber(): number {
    if (this.#next < this.clients.length) return this.#next++;
    return this.#closed.shift() ?? -1;
  }

  /** False if the client has no such window. */
  close(client: number, window: number): boolean {
    if (client === 0 || this.clients[window] !== client) return false;
    const own = this.#ofClient.get(client);
    own?.delete(`${this.#spaces[window]}/${this.rights[window]}`);
    if (own?.size === 0) this.#ofClient.delete(client);
    this.clients[window] = 0;
    this.#closed.push(window);
    this.open -= 1;
    return true;
  }

  closeClient(client: number): void {
    for (const window of [...(this.#ofClient.get(client)?.values() ?? [])]) {
      this.close(client, window);
    }
  }

  closeSpace(space: number): void {
    for (let window = 0; window < this.#next; window++) {
      const client = this.clients[window] as number;
      if (client !== 0 && this.#spaces[window] === space) this.close(client, window);
    }
  }
}
