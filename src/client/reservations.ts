/**
 * The numbers of the reservations that operations of this client have at one node. The node keeps
 * what it has promised under a number until that is ended, through lost connections too.
 */

import { Status } from '../base/status.js';
import type { CompletionSink, Link } from '../fabric/link.js';
import { RESERVATIONS_END } from '../wire/limits.js';

export class Reservations {
  readonly #link: Link;
  readonly #free: number[] = [];
  /** To be ended again: the link had no room. */
  readonly #owed: number[] = [];
  #next = 1;

  constructor(link: Link) {
    this.#link = link;
  }

  /** A number that nobody uses; 0: there is none. */
  begin(): number {
    this.#endOwed();
    const known = this.#free.pop();
    if (known !== undefined) return known;
    return this.#next < RESERVATIONS_END ? this.#next++ : 0;
  }

  /**
   * Gives back what is left. Without a deadline: whatever becomes of the connection, it must not be
   * given up. Only then another operation may have the number.
   */
  end(reservation: number): void {
    const deadline = Number.POSITIVE_INFINITY;
    this.#link.unreserve(this.#ended, reservation, deadline, reservation);
  }

  readonly #ended: CompletionSink = {
    completed: (reservation: number, status: Status): void => {
      if (status === Status.Busy) this.#owed.push(reservation);
      else if (status !== Status.Closed) this.#free.push(reservation);
      if (status === Status.Ok) this.#endOwed();
    },
  };

  #endOwed(): void {
    for (const reservation of this.#owed.splice(0)) this.end(reservation);
  }
}
