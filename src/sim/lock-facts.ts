/** What clients saw of locks: who was told to hold which one when, and what was done under it. */

/** One time that somebody held a lock. */
export interface LockHolding {
  readonly client: number;
  readonly epoch: number;
  readonly calledAt: number;
  readonly toldAt: number;
  /** When it last found that it had not lost it. */
  usedAt: number;
}

/** A change of the word that carries the epoch, of which it is known that it was made. */
export interface LockPublication {
  readonly holding: LockHolding;
  readonly calledAt: number;
  /** Whether it only raised the epoch, at the start. */
  readonly isClaim: boolean;
  readonly value: number;
  readonly returnedAt: number;
}

export interface LockHistory {
  readonly name: string;
  /** In the order in which they were told. */
  readonly holdings: LockHolding[];
  readonly publications: LockPublication[];
}
