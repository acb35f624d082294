/**
 * What the words of some pages may hold, while threads and messages write them and pages are taken
 * away, moved and freed. Every value that is ever written has a number of its own, which rises, so
 * it says by whom it was written, for which page, and whether it is whole.
 */

/** One value, for one word. */
export interface Written {
  readonly serial: number;
  readonly value: bigint;
  readonly key: string;
  /** Which allocation of its page it was meant for. */
  readonly allocation: number;
}

interface Word {
  acknowledged: number;
  seen: number;
  /** Why it stays as it is until its thread may write again. */
  readonly fixedBy: Set<string>;
  fixed: number;
}

/** Names a word by its page, and its place there in words of 8 bytes. */
export const keyOf = (page: number, at: number): string => `${page}/${at}`;
const pageOf = (key: string): number => Number(key.split('/')[0]);
export const placeOf = (key: string): number => Number(key.split('/')[1]);

const valueOf = (serial: number): bigint =>
  (BigInt(serial) << 32n) | BigInt((serial ^ 0x5a5a5a5a) >>> 0);

/** The words of a page as they are now; undefined: it has no frame. */
export type PageNow = (page: number) => BigUint64Array | undefined;

export class OneSidedModel {
  readonly problems: string[] = [];
  readonly #words = new Map<string, Word>();
  readonly #allocations = new Map<number, number>();
  readonly #written = new Map<number, Written>();
  #serial = 0;

  problem(text: string): void {
    this.problems.push(text);
  }

  /** A new page stands here, of zeros, with all rights. */
  allocate(page: number, places: readonly number[]): void {
    this.#allocations.set(page, ++this.#serial);
    for (const at of places) {
      const key = keyOf(page, at);
      const fixedBy = new Set(this.#words.get(key)?.fixedBy);
      fixedBy.delete('protected');
      this.#words.set(key, { acknowledged: 0, seen: 0, fixedBy, fixed: 0 });
    }
  }

  allocationOf(page: number): number {
    return this.#allocations.get(page) ?? 0;
  }

  keys(isWanted: (page: number, at: number) => boolean): string[] {
    return [...this.#words.keys()].filter((key) => isWanted(pageOf(key), placeOf(key)));
  }

  /** The next value for a word. */
  write(key: string, allocation: number): Written {
    const serial = ++this.#serial;
    const written = { serial, value: valueOf(serial), key, allocation };
    this.#written.set(serial, written);
    return written;
  }

  acknowledge({ serial, key, allocation }: Written): void {
    if (this.allocationOf(pageOf(key)) !== allocation) return;
    const word = this.#word(key);
    word.acknowledged = Math.max(word.acknowledged, serial);
    word.seen = Math.max(word.seen, serial);
  }

  /** What has been seen until now, for a read that begins. */
  seen(): ReadonlyMap<string, number> {
    return new Map([...this.#words].map(([key, word]) => [key, word.seen]));
  }

  /** A read that has begun when this was seen found the value, and was told as good. */
  hasRead(key: string, value: bigint, seenBefore: ReadonlyMap<string, number>): void {
    const serial = this.#serialOf(value, key);
    const before = seenBefore.get(key) ?? 0;
    // Where the page was freed meanwhile, another one is there now.
    if (!this.#isOfNow(serial, key)) return;
    if (this.#isOfNow(before, key) && serial < before) {
      this.problem(`${key}: ${serial} was read after ${before}`);
    }
    const word = this.#word(key);
    word.seen = Math.max(word.seen, serial);
  }

  /** It is told that nothing changes these words any more. */
  fix(keys: readonly string[], by: string, now: PageNow): void {
    for (const key of keys) {
      const word = this.#word(key);
      word.fixed = this.#serialOf(now(pageOf(key))?.[placeOf(key)] ?? 0n, key);
      word.fixedBy.add(by);
    }
  }

  release(keys: readonly string[], by: string): void {
    for (const key of keys) this.#word(key).fixedBy.delete(by);
  }

  /** Everything as messages would read it now. */
  check(now: PageNow): void {
    for (const [key, word] of this.#words) {
      const serial = this.#serialOf(now(pageOf(key))?.[placeOf(key)] ?? 0n, key);
      if (!this.#isOfNow(serial, key)) this.problem(`${key}: ${serial} is of a page before`);
      if (serial < word.acknowledged) this.problem(`${key}: ${word.acknowledged} is lost`);
      if (serial < word.seen) this.problem(`${key}: ${word.seen} was seen, now ${serial}`);
      if (word.fixedBy.size > 0 && serial !== word.fixed) {
        this.problem(`${key}: ${serial} instead of ${word.fixed}, told as ${[...word.fixedBy]}`);
      }
      word.seen = Math.max(word.seen, serial);
    }
  }

  #word(key: string): Word {
    const word = this.#words.get(key);
    if (word === undefined) throw new Error(`no word ${key}`);
    return word;
  }

  #isOfNow(serial: number, key: string): boolean {
    return serial === 0 || this.#written.get(serial)?.allocation === this.allocationOf(pageOf(key));
  }

  #serialOf(value: bigint, key: string): number {
    if (value === 0n) return 0;
    const serial = Number(value >> 32n);
    if (value !== valueOf(serial)) this.problem(`${key}: a word is torn: ${value.toString(16)}`);
    else if (this.#written.get(serial)?.key !== key) this.problem(`${key}: ${serial} is not its`);
    return serial;
  }
}
