// Memory of another space on the same nodes, that nobody but the test writes: what it holds is
// known to the byte. Some of it is freed and taken anew all the time, so its frames go round.
import type { Prng } from '../../../src/base/prng.js';
import type { Space } from '../../../src/apps/library.js';
import { must, persist } from './persist.js';

interface Canary {
  readonly at: number;
  readonly bytes: number;
  readonly epoch: number;
}

const PAGES_MAX = 2;

export class Canaries {
  /** Pages that were looked at. */
  checked = 0;
  readonly #spaces: readonly Space[];
  readonly #prng: Prng;
  #living: Canary[] = [];
  #epoch = 0;

  /** The same space, by different links. */
  constructor(spaces: readonly Space[], prng: Prng) {
    this.#spaces = spaces;
    this.#prng = prng;
  }

  get #space(): Space {
    return this.#spaces[this.#prng.below(this.#spaces.length)] as Space;
  }

  get living(): number {
    return this.#living.length;
  }

  /** As many as there are to be; fewer where the nodes that are left have no more frames. */
  async fill(count: number): Promise<void> {
    while (this.#living.length < count) {
      const space = this.#space;
      const bytes = space.pageBytes * (1 + this.#prng.below(PAGES_MAX));
      const at = await must('canary', () => space.alloc(bytes));
      const canary = { at, bytes, epoch: ++this.#epoch };
      const fresh = await must('canary', () => space.read(at, bytes));
      const foreign = fresh.findIndex((byte) => byte !== 0);
      if (foreign >= 0) throw new Error(`fresh memory holds the byte ${fresh[foreign]}`);
      const write = (): Promise<true> => space.write(at, patternOf(canary)).then(() => true);
      if (await persist('canary', write, ['NoSpace'])) {
        this.#living.push(canary);
        continue;
      }
      await persist('canary', () => space.free(at), ['NotAllocated']);
      return;
    }
  }

  /** Frees some, and takes as many anew. */
  async churn(count: number): Promise<void> {
    const wanted = Math.max(count, this.#living.length);
    for (let i = 0; i < count && this.#living.length > 0; i++) {
      const [canary] = this.#living.splice(this.#prng.below(this.#living.length), 1);
      if (canary === undefined) continue;
      await persist('canary', () => this.#space.free(canary.at), ['NotAllocated']);
    }
    await this.fill(wanted);
  }

  async check(): Promise<void> {
    for (const canary of this.#living) {
      const { at, bytes, epoch } = canary;
      const space = this.#space;
      const found = await must('canary', () => space.read(at, bytes));
      const wanted = patternOf(canary);
      this.checked += bytes / space.pageBytes;
      if (Buffer.compare(found, wanted) === 0) continue;
      const i = found.findIndex((byte, place) => byte !== wanted[place]);
      const words = `${epoch} at ${at} + ${i} holds ${found[i]} and not ${wanted[i]}`;
      throw new Error(`the canary ${words}`);
    }
  }
}

/** Every byte is 128 or more, which nobody else's are. */
function patternOf({ at, bytes, epoch }: Canary): Uint8Array {
  const words = new Int32Array(bytes / 4);
  const seed = Math.imul(epoch, 0x9e3779b1) ^ (at / 4096);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(seed + i, 0x85ebca6b) | 0x80808080;
  return new Uint8Array(words.buffer);
}
