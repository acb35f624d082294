/**
 * Runs pieces of work one after the other, in the order in which they came.
 *
 * A change is decided on what earlier changes left, and is there before the next one is decided;
 * this is what makes that so. The queue is bounded: a caller asks `isFull` and answers `Busy`.
 */
export class Serial {
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  readonly #waitingMax: number;

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get isFull(): boolean {
    return this.#waiting >= this.#waitingMax;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const result = this.#tail.then(work);
    const settle = (): void => {
      this.#waiting--;
    };
    this.#tail = result.then(settle, settle);
    return result;
  }
}
