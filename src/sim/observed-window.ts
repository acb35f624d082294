/**
 * A window as a client program uses it: what goes through it is written into the journal like what
 * goes through the space, and besides under which window it was made.
 */

import { closed } from '../client/error.js';
import { Grant, type GrantRights } from './grant.js';
import { type Allocation, type Ended, type Journal, WORD_BYTES } from './journal.js';
import type { DrivenSpace, DrivenWindow, ObservedSpace, Stretch } from './observed-space.js';

const UNSUPPORTED: Ended = { code: 'Unsupported', outcome: 'notApplied' };

export class ObservedWindow {
  readonly grant: Grant;
  /** Reads, writes and atomics of what it covers. */
  readonly words: ObservedSpace;
  readonly #window: DrivenWindow;
  readonly #space: ObservedSpace;
  readonly #journal: Journal;

  /** `space`: the one that it is a part of, of the same client. */
  constructor(window: DrivenWindow, grant: Grant, space: ObservedSpace, journal: Journal) {
    this.grant = grant;
    this.words = space.through(asSpace(window), grant);
    this.#window = window;
    this.#space = space;
    this.#journal = journal;
  }

  /** `stretch`: words of the allocation, within the window. */
  async narrow(stretch: Stretch, rights: GrantRights): Promise<ObservedWindow | Ended> {
    const { allocation } = this.grant;
    const at = allocation.at + stretch.firstWord * WORD_BYTES;
    const narrowing = this.#window.narrow(at, stretch.words * WORD_BYTES, rights);
    const window = await this.#space.ending('narrow', narrowing);
    if (!('token' in window)) return window;
    const grant = new Grant({ allocation, ...stretch, rights, token: window.token }, this.grant);
    return new ObservedWindow(window, grant, this.#space, this.#journal);
  }

  /** Undefined: it is not open any more. */
  async revoke(): Promise<Ended | undefined> {
    const ended = await this.#space.ending('revoke', this.#window.revoke());
    if (ended !== undefined) return ended as Ended;
    this.grant.revoked(this.#journal.moment());
    return undefined;
  }
}

/** A window over all of it, which can be handed to others. */
export async function openWindow(
  space: ObservedSpace,
  journal: Journal,
  allocation: Allocation,
  rights: GrantRights,
): Promise<ObservedWindow | Ended> {
  const opening = space.windowOver(allocation, rights);
  if (opening === undefined) return UNSUPPORTED;
  const window = await space.ending('window', opening);
  if (!('token' in window)) return window;
  const { wordCount: words } = allocation;
  const grant = new Grant({ allocation, firstWord: 0, words, rights, token: window.token });
  return new ObservedWindow(window, grant, space, journal);
}

/** Windows neither allocate nor free. */
function asSpace(window: DrivenWindow): DrivenSpace {
  const not = (): Promise<never> => Promise.reject(closed('a window has only reads and writes'));
  return {
    id: 0,
    alloc: not,
    free: not,
    protect: not,
    fence: not,
    read: (at, into) => window.read(at, into),
    write: (at, from) => window.write(at, from),
    readMany: (reads) => window.readMany(reads),
    writeMany: (writes) => window.writeMany(writes),
    compareAndSwap: (at, expected, desired) => window.compareAndSwap(at, expected, desired),
    fetchAndAdd: (at, delta) => window.fetchAndAdd(at, delta),
  };
}
