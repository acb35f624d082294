/**
 * The intent record: which change of several page-table entries is under way.
 *
 * It is filled before its kind is stored, and its kind is cleared when the last entry has been
 * changed. A node that finds a kind undoes an allocation and finishes a free or a protect: either
 * way the change has happened as a whole or not at all.
 */

import { assert } from '../base/assert.js';
import { layout, readU32, readU53, type StoreWord, storeU53, storeWord } from './layout.js';

/** Numbers are stored: they never change. */
export const IntentKind = { NONE: 0, ALLOCATE: 1, FREE: 2, PROTECT: 3 } as const;
export type IntentKind = (typeof IntentKind)[keyof typeof IntentKind];

const RECORD = layout('Intent', 16, {
  firstPage: 'u53',
  kind: 'u32',
  space: 'u32',
  pages: 'u32',
  /** For PROTECT: the new rights, as bits of the flags word. */
  rights: 'u32',
  padding: 10,
});

export interface IntendedChange {
  readonly kind: IntentKind;
  readonly space: number;
  readonly firstPage: number;
  readonly pages: number;
  readonly rights: number;
}

export class Intent {
  readonly #words: Int32Array;
  readonly #first: number;
  readonly #store: StoreWord;

  constructor(words: Int32Array, first: number, store: StoreWord = storeWord) {
    this.#words = words;
    this.#first = first;
    this.#store = store;
  }

  begin(change: IntendedChange): void {
    assert(this.kind === IntentKind.NONE, 'one change of several entries at a time');
    const at = RECORD.at;
    storeU53(this.#store, this.#words, this.#first + at.firstPage, change.firstPage);
    this.#store(this.#words, this.#first + at.space, change.space);
    this.#store(this.#words, this.#first + at.pages, change.pages);
    this.#store(this.#words, this.#first + at.rights, change.rights);
    this.#store(this.#words, this.#first + at.kind, change.kind);
  }

  end(): void {
    this.#store(this.#words, this.#first + RECORD.at.kind, IntentKind.NONE);
  }

  get kind(): number {
    return readU32(this.#words, this.#first + RECORD.at.kind);
  }

  /** What was under way when the process before this one died; meaningful unless kind is NONE. */
  read(): IntendedChange {
    const at = RECORD.at;
    return {
      kind: this.kind as IntentKind,
      space: readU32(this.#words, this.#first + at.space),
      firstPage: readU53(this.#words, this.#first + at.firstPage),
      pages: readU32(this.#words, this.#first + at.pages),
      rights: readU32(this.#words, this.#first + at.rights),
    };
  }
}
