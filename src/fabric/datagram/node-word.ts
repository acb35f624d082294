/**
 * What a memory node has said of itself in datagrams: its incarnation, its clock, the cookie. Only
 * answers to datagrams that were sent after the incarnation was learned are believed, so that late
 * answers of the process before mean nothing. See docs/internals/datagrams.md.
 */

/** A change may be executed for so long after it was sent; the node allows a second. */
export const LIFE_MS = 500;
/** Numbers of datagrams whose sending is remembered; a power of two. */
const NUMBERS = 8192;

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
  readonly #sentAt = new Float64Array(NUMBERS);
  /** 1: an answer to it has been heard. */
  readonly #isAnswered = new Uint8Array(NUMBERS);

  /** The number of a datagram that is sent now. */
  number(now: number): number {
    const number = this.#next;
    this.#next = (number + 1) >>> 0;
    this.#sentAt[number & (NUMBERS - 1)] = now;
    this.#isAnswered[number & (NUMBERS - 1)] = 0;
    return number;
  }

  /** How many datagrams were sent after that one; beyond what is remembered: as good as never. */
  #age(number: number): number {
    return (this.#next - number) >>> 0;
  }

  /** When the datagram was sent; undefined where that is not known, or it was long ago. */
  sentAt(number: number): number | undefined {
    const age = this.#age(number);
    if (age === 0 || age > NUMBERS) return undefined;
    return this.#sentAt[number & (NUMBERS - 1)];
  }

  /** Marks it as answered; true for the first answer, whose delay is worth something. */
  answered(number: number): boolean {
    const place = number & (NUMBERS - 1);
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
