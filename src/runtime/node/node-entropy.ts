/** Random numbers of the operating system, fetched in blocks. */

import { randomFillSync } from 'node:crypto';
import type { Entropy } from '../runtime.js';

const BLOCK_WORDS = 1024;
const WORD = 2 ** 32;
/** Of a second word: 53 bits less 32. */
const HIGH_BITS = 2 ** 21;

export class NodeEntropy implements Entropy {
  readonly #block = new Uint32Array(BLOCK_WORDS);
  #next = BLOCK_WORDS;

  u32(): number {
    if (this.#next === BLOCK_WORDS) {
      randomFillSync(this.#block);
      this.#next = 0;
    }
    return this.#block[this.#next++] as number;
  }

  u53(): number {
    let value = 0;
    while (value === 0) value = this.#bits53();
    return value;
  }

  fraction(): number {
    return this.#bits53() / (HIGH_BITS * WORD);
  }

  #bits53(): number {
    return (this.u32() % HIGH_BITS) * WORD + this.u32();
  }
}
