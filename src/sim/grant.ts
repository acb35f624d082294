/**
 * A window over a part of an allocation, as the journal knows it: who was given what, when it was
 * reported as taken back, and what was under way through it then.
 */

import type { WordOperation } from './checkers/history.js';
import type { Allocation } from './journal.js';

export type GrantRights = 'r' | 'rw';

export class Grant {
  readonly allocation: Allocation;
  readonly firstWord: number;
  readonly words: number;
  readonly rights: GrantRights;
  readonly token: string;
  /** When it was reported as taken back, it or one that it was narrowed from. */
  revokedAt = Infinity;
  readonly #operations: WordOperation[] = [];
  readonly #narrowed: Grant[] = [];

  constructor(facts: GrantFacts, parent?: Grant) {
    this.allocation = facts.allocation;
    this.firstWord = facts.firstWord;
    this.words = facts.words;
    this.rights = facts.rights;
    this.token = facts.token;
    if (parent === undefined) return;
    parent.#narrowed.push(this);
    this.revokedAt = parent.revokedAt;
  }

  get name(): string {
    const { firstWord, words, rights } = this;
    return `window ${rights} of ${words} words at word ${firstWord} of ${this.allocation.name}`;
  }

  began(operation: WordOperation): void {
    this.#operations.push(operation);
  }

  /** What is not known to have ended has taken effect by now, or never does. */
  revoked(moment: number): void {
    this.revokedAt = Math.min(this.revokedAt, moment);
    for (const one of this.#operations) {
      if (one.returnedAt === Infinity)
        one.takenAwayAt = Math.min(one.takenAwayAt ?? moment, moment);
    }
    for (const grant of this.#narrowed) grant.revoked(moment);
  }
}

export interface GrantFacts {
  readonly allocation: Allocation;
  readonly firstWord: number;
  readonly words: number;
  readonly rights: GrantRights;
  readonly token: string;
}
