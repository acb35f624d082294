/**
 * What a memory node has said of itself in datagrams: its incarnation, its clock, the cookie. Only
 * answers to datagrams that were sent after the incarnation was learned are believed, so that late
 * answers of the process before mean nothing. See docs/internals/datagrams.md.
 */

/** A change may be executed for so long after it was sent; the node allows a second. */
export const LIFE_MS = 500;
/** Numbers of datagrams whose sending is remembered; powers of two. */
const NUMBERS_MAX = 8192;
const NUMBERS_AT_FIRST = 16;
/** One that is not answered is remembered for so long, as far as the limit goes. */
const REMEMBERED_MS = 1000;

export class NodeWord {
  /** 0: none is known. */
  incarnation = 0;
  cookieLow = 0;
  cookieHigh = 0;
  /** The latest clock that was heard, and when. */
  clock = 0;
  #heardAt = -1;
  /** Datagrams before this number were sent when the incarnation was not known yet. */
  #since = 0;
  #next = 0;
  /** How many numbers before the next one are known: at most as many as there are places. */
  #known = 0;
  #sentAt = new Float64Array(NUMBERS_AT_FIRST);
  /** 1: an answer to it has been heard. */
  #isAnswered = new Uint8Array(NUMBERS_AT_FIRST);
  #mask = NUMBERS_AT_FIRST - 1;

  /** The number of a datagram that is sent now. */
  number(now: number): number {
    const number = this.#next;
    if (this.#known > this.#mask) this.#makeRoom(now);
    const place = number & this.#mask;
    this.#next = (number + 1) >>> 0;
    this.#sentAt[place] = now;
    this.#isAnswered[place] = 0;
    this.#known++;
    return number;
  }

  /** Forgets the oldest, or remembers twice as many where that one may still be answered. */
  #makeRoom(now: number): void {
    const oldest = this.#next & this.#mask;
    const places = this.#mask + 1;
    const isDue = this.#isAnswered[oldest] === 0;
    const isNew = now - (this.#sentAt[oldest] as number) < REMEMBERED_MS;
    if (!isDue || !isNew || places === NUMBERS_MAX) {
      this.#known--;
      return;
    }
    // Each is in one of both halves by its number; what is in the other one is not known.
    this.#sentAt = twice(this.#sentAt, new Float64Array(2 * places));
    this.#isAnswered = twice(this.#isAnswered, new Uint8Array(2 * places));
    this.#mask = 2 * places - 1;
  }

  /** How many datagrams were sent after that one; beyond what is remembered: as good as never. */
  #age(number: number): number {
    return (this.#next - number) >>> 0;
  }

  /** When the datagram was sent; undefined where that is not known, or it was long ago. */
  sentAt(number: number): number | undefined {
    const age = this.#age(number);
    if (age === 0 || age > this.#known) return undefined;
    return this.#sentAt[number & this.#mask];
  }

  /** Marks it as answered; true for the first answer, whose delay is worth something. */
  answered(number: number): boolean {
    const place = number & this.#mask;
    if (this.#isAnswered[place] === 1) return false;
    this.#isAnswered[place] = 1;
    return true;
  }

  /** Whether the answer to that datagram may be of an incarnation that is not known yet. */
  mayBelieve(number: number): boolean {
    if (this.sentAt(number) === undefined) return false;
    return this.incarnation === 0 || ((number - this.#since) | 0) >= 0;
  }

  adopt(incarnation: number, cookieLow: number, cookieHigh: number): void {
    this.incarnation = incarnation;
    this.cookieLow = cookieLow;
    this.cookieHigh = cookieHigh;
    this.#since = this.#next;
  }

  /** From an answer of the incarnation that is known. */
  heardClock(clock: number, now: number): void {
    const isLater = ((clock - this.clock) | 0) > 0;
    if (!isLater && this.#heardAt >= 0) return;
    this.clock = clock;
    this.#heardAt = now;
  }

  /** Of another incarnation. */
  forgetClock(): void {
    this.#heardAt = -1;
  }

  /** Deadline of a part that is begun now. A wrong one costs time, and nothing else. */
  deadline(now: number): number {
    return (this.clock + Math.max(0, Math.floor(now - this.#heardAt)) + LIFE_MS) >>> 0;
  }

  /** Whether the node has said that its clock is past that: no copy is executed any more. */
  hasPassed(deadline: number): boolean {
    return this.#heardAt >= 0 && ((this.clock - deadline) | 0) >= 0;
  }
}

/** `made`, twice as long as `old`, with all of it in both halves. */
function twice<T extends { readonly length: number; set(from: T, at: number): void }>(
  old: T,
  made: T,
): T {
  made.set(old, 0);
  made.set(old, old.length);
  return made;
}
