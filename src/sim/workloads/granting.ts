/**
 * Windows over pages that are handed to everybody, narrowed, and taken back while they are used;
 * and those who use them, at times too late.
 */

import type { Allocation } from '../journal.js';
import type { ObservedSpace, Stretch } from '../observed-space.js';
import { ObservedWindow, openWindow } from '../observed-window.js';
import { someStretch, spaceOf, touch } from './touch.js';
import { type ClientProgram, isGiven } from './workload.js';

/** Windows that were taken back, and are used all the same. */
const REVOKED_MAX = 3;
const AT_A_STOP_PER_MILLION = 700_000;
const LOOK_AGAIN_MS = [0, 1, 30] as const;
const GONE_ON_WITHIN_MS = 500;

/** Owns one allocation at a time, and the windows over it. */
export class Granting {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  #own: Allocation | undefined;
  #windows: ObservedWindow[] = [];

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#spaces = spaces;
  }

  async step(): Promise<void> {
    const { prng, pageBytes } = this.#client;
    if (this.#own === undefined) {
      const given = await prng.pick(this.#spaces).alloc(pageBytes * prng.between(1, 2));
      if (!isGiven(given)) return this.#client.sleep(prng.between(5, 50));
      this.#own = given;
    }
    const one = this.#own;
    const space = spaceOf(this.#spaces, one);
    const choice = prng.below(100);
    if (this.#windows.length === 0) return this.#open(space, one);
    const window = prng.pick(this.#windows);
    if (choice < 30) return this.#narrow(space, window);
    if (choice < 50) return this.#client.sleep(prng.pick([1, 10]));
    await this.#revoke(space, window);
    if (this.#windows.length === 0 && prng.chance(400_000)) await this.#free(space, one);
  }

  async #open(space: ObservedSpace, one: Allocation): Promise<void> {
    const rights = this.#client.prng.pick(['rw', 'rw', 'r'] as const);
    const window = await openWindow(space, this.#client.journal, one, rights);
    if ('grant' in window) this.#given(window);
    else if (window.code === 'DataLost') this.#own = undefined;
    else await this.#client.sleep(1);
  }

  async #narrow(space: ObservedSpace, window: ObservedWindow): Promise<void> {
    const { grant } = window;
    const stretch = withinGrant(someStretch(this.#client, space, grant.allocation), window);
    if (stretch === undefined) return;
    const rights = grant.rights === 'r' ? 'r' : this.#client.prng.pick(['r', 'rw'] as const);
    const narrowed = await window.narrow(stretch, rights);
    if ('grant' in narrowed) this.#given(narrowed);
  }

  #given(window: ObservedWindow): void {
    this.#windows.push(window);
    this.#client.board.grants.push(window.grant);
  }

  async #revoke(space: ObservedSpace, window: ObservedWindow): Promise<void> {
    const { prng, board } = this.#client;
    if (prng.chance(AT_A_STOP_PER_MILLION))
      await this.#client.untilStopped(100, [window.grant.allocation]);
    const failed = await window.revoke();
    if (failed !== undefined) return this.#client.sleep(prng.between(1, 20));
    const { allocation } = window.grant;
    await space.readRange(allocation, 0, allocation.wordCount);
    await this.#client.untilGoneOn(GONE_ON_WITHIN_MS, allocation);
    await this.#client.sleep(prng.pick(LOOK_AGAIN_MS));
    await space.readRange(allocation, 0, allocation.wordCount);
    this.#windows = this.#windows.filter((one) => one.grant.revokedAt === Infinity);
    const revoked = board.grants.filter((one) => one.revokedAt !== Infinity);
    for (const one of revoked.slice(0, -REVOKED_MAX))
      board.grants.splice(board.grants.indexOf(one), 1);
  }

  /** Nobody has a window any more: what is given out next at these addresses is somebody else's. */
  async #free(space: ObservedSpace, one: Allocation): Promise<void> {
    const ended = await space.free(one);
    if (ended.outcome !== 'notApplied' || ended.code === 'DataLost') this.#own = undefined;
  }
}

function withinGrant(
  { firstWord, words }: Stretch,
  { grant }: ObservedWindow,
): Stretch | undefined {
  const first = Math.max(firstWord, grant.firstWord);
  const end = Math.min(firstWord + words, grant.firstWord + grant.words);
  return end > first ? { firstWord: first, words: end - first } : undefined;
}

/** Uses one of the windows that are, or were, handed out. */
export async function grantUser(
  client: ClientProgram,
  spaces: readonly ObservedSpace[],
  windows: Map<string, ObservedWindow>,
): Promise<void> {
  const { prng, board } = client;
  const grant = prng.pick(board.grants);
  let window = windows.get(grant.token);
  if (window === undefined) {
    const opened = await client.window?.(grant.token).catch(() => undefined);
    if (opened === undefined) return client.sleep(1);
    const space = spaceOf(spaces, grant.allocation);
    window = new ObservedWindow(opened, grant, space, client.journal);
    windows.set(grant.token, window);
  }
  const { words } = window;
  const stretch = withinGrant(someStretch(client, words, grant.allocation), window);
  if (stretch === undefined) return client.sleep(1);
  const isWhole = grant.words === grant.allocation.wordCount;
  if (isWhole && prng.chance(300_000)) await touch(client, words, grant.allocation);
  else if (prng.chance(600_000))
    await words.writeRange(grant.allocation, stretch.firstWord, stretch.words);
  else await words.readRange(grant.allocation, stretch.firstWord, stretch.words);
}
