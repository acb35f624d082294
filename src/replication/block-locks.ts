/**
 * Which blocks are being read or written: readers together, a writer alone. One byte for each, so
 * that a look costs nothing; who has to wait, and in which order, is kept elsewhere.
 */

const WRITTEN = 255;
const READERS_MAX = WRITTEN - 1;

export class BlockLocks {
  readonly #users: Uint8Array;

  constructor(blocks: number) {
    this.#users = new Uint8Array(blocks);
  }

  mayRead(first: number, count: number): boolean {
    for (let block = first; block < first + count; block++) {
      if ((this.#users[block] as number) >= READERS_MAX) return false;
    }
    return true;
  }

  mayWrite(first: number, count: number): boolean {
    for (let block = first; block < first + count; block++) {
      if (this.#users[block] !== 0) return false;
    }
    return true;
  }

  read(first: number, count: number): void {
    for (let block = first; block < first + count; block++) {
      this.#users[block] = (this.#users[block] as number) + 1;
    }
  }

  write(first: number, count: number): void {
    this.#users.fill(WRITTEN, first, first + count);
  }

  endRead(first: number, count: number): void {
    for (let block = first; block < first + count; block++) {
      this.#users[block] = (this.#users[block] as number) - 1;
    }
  }

  endWrite(first: number, count: number): void {
    this.#users.fill(0, first, first + count);
  }
}
