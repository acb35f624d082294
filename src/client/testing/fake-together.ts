/** The way of a fake link to do several at once: by its verbs that do one at once. */

import { Status } from '../../base/status.js';
import type { Link, Together, Window } from '../../fabric/link.js';

export class FakeTogether implements Together {
  /** Whether a range may be begun to be written. */
  isFramed = true;
  /** How many each `run` was given. */
  readonly runs: number[] = [];
  readonly #link: Pick<Link, 'readNow' | 'writeNow'>;
  readonly #max: number;
  readonly #added: (() => number)[] = [];
  #statuses: number[] = [];

  constructor(link: Pick<Link, 'readNow' | 'writeNow'>, max: number) {
    this.#link = link;
    this.#max = max;
  }

  get count(): number {
    return this.#added.length;
  }

  addRead(window: Window, address: number, into: Uint8Array, start: number, bytes: number) {
    return this.#add(() => this.#link.readNow(window, address, into, start, bytes));
  }

  addWrite(window: Window, address: number, from: Uint8Array, start: number, bytes: number) {
    return this.#add(() => this.#link.writeNow(window, address, from, start, bytes));
  }

  #add(operation: () => number): boolean {
    if (this.#added.length === this.#max) return false;
    this.#added.push(operation);
    return true;
  }

  run(): number {
    const added = this.#added.splice(0);
    if (added.length > 0) this.runs.push(added.length);
    this.#statuses = [];
    for (const operation of added) {
      const status = operation();
      if (status !== Status.Ok && status !== Status.OutcomeUnknown) break;
      this.#statuses.push(status);
    }
    return this.#statuses.length;
  }

  statusOf(index: number): number {
    return this.#statuses[index] as number;
  }

  mayWrite(): boolean {
    return this.isFramed;
  }
}
