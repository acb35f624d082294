/**
 * A window: the right to read, or to read and write, one range of a space, which can be handed to
 * another process as a text, narrowed, and taken back from everybody who has it.
 *
 * Its operations go the same way as those of the space and keep their order with them; the space's
 * `fence` and `release` wait for them too.
 */

import type { Window } from '../fabric/link.js';
import { REGION_BYTES } from '../wire/limits.js';
import { badAddress, badLength, badRange, show } from './arguments.js';
import { DataPath, type ReadItem, type SharedParts, type WriteItem } from './data-path.js';
import { closed, invalid, MemrackError } from './error.js';
import { Failures } from './failures.js';
import { inOrder } from './ordered-call.js';
import { pageRange } from './submission.js';
import { staleWindow, type WindowCalls } from './window-calls.js';
import { WindowRoutes } from './window-routes.js';
import {
  badWindowRange,
  encodeToken,
  type WindowFacts,
  type WindowRights,
} from './window-token.js';

const WORD_BYTES = 8;

export class RangeWindow {
  /** The first address that it covers. */
  readonly at: number;
  readonly bytes: number;
  readonly rights: WindowRights;
  /**
   * For `rack.window` in another process, which may then do what the window allows. Whoever has
   * this text has the window.
   */
  readonly token: string;
  readonly #facts: WindowFacts;
  readonly #shared: SharedParts;
  readonly #calls: WindowCalls;
  readonly #path: DataPath;
  #revoked: Promise<void> | undefined;

  constructor(facts: WindowFacts, shared: SharedParts, calls: WindowCalls) {
    const { space, at, bytes, rights } = facts;
    this.at = at;
    this.bytes = bytes;
    this.rights = rights;
    this.token = encodeToken(facts);
    this.#facts = facts;
    this.#shared = shared;
    this.#calls = calls;
    const first = Math.floor(at / REGION_BYTES);
    const windows = facts.parts.map(({ window, epoch }): Window => ({ space, id: window, epoch }));
    const routes = new WindowRoutes(calls.regions, first, windows);
    const { runtime } = shared;
    this.#path = new DataPath(shared, routes, new Failures(runtime, routes, shared, false));
  }

  /** As `read` of a space. `Invalid` outside of the window, `Stale` when it is open no more. */
  read(at: number, lengthOrTarget: number | Uint8Array): Promise<Uint8Array> {
    const length = typeof lengthOrTarget === 'number' ? lengthOrTarget : lengthOrTarget?.length;
    const wrong = this.#wrong(at, length, false);
    return wrong === undefined ? this.#path.read(at, lengthOrTarget) : this.#refuse(wrong);
  }

  /** As `write` of a space. `Denied` where the window is only for reading. */
  write(at: number, bytes: Uint8Array): Promise<void> {
    const wrong = this.#wrong(at, bytes?.length, true);
    return wrong === undefined ? this.#path.write(at, bytes) : this.#refuse(wrong);
  }

  readMany(reads: readonly ReadItem[]): Promise<void> {
    const wrong = this.#wrongMany(reads, false);
    return wrong === undefined ? this.#path.readMany(reads) : this.#refuse(wrong);
  }

  writeMany(writes: readonly WriteItem[]): Promise<void> {
    const wrong = this.#wrongMany(writes, true);
    return wrong === undefined ? this.#path.writeMany(writes) : this.#refuse(wrong);
  }

  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    const wrong = this.#wrong(at, WORD_BYTES, true);
    return wrong === undefined
      ? this.#path.compareAndSwap(at, expected, desired)
      : this.#refuse(wrong);
  }

  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    const wrong = this.#wrong(at, WORD_BYTES, true);
    return wrong === undefined ? this.#path.fetchAndAdd(at, delta) : this.#refuse(wrong);
  }

  /**
   * A window over a part of this one, with at most its rights. It ends with this one, and can be
   * revoked by itself.
   */
  narrow(at: number, bytes: number, rights: WindowRights = this.rights): Promise<RangeWindow> {
    const wrong = this.#gone() ?? badWindow(at, bytes, rights) ?? this.#outside(at, bytes, rights);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#shared.barriers.follow(this.#narrow(at, bytes, rights));
  }

  async #narrow(at: number, bytes: number, rights: WindowRights): Promise<RangeWindow> {
    const facts = await this.#calls.open(at, bytes, rights, this.#deadline(), this.#facts);
    return new RangeWindow(facts, this.#shared, this.#calls);
  }

  /**
   * Takes it back from everybody who has it, and all that were narrowed from it. What this client
   * has started before is done before; when it resolves no operation through it takes effect any
   * more. For who opened it, or one that it was narrowed from; others are `Denied`. Where it
   * rejects the window may still be open: revoke it again.
   */
  revoke(): Promise<void> {
    if (this.#shared.life.isClosed) return this.#refuse(this.#closed());
    if (this.#revoked !== undefined) return this.#revoked;
    const { barriers, submission, pageBytes, name } = this.#shared;
    const pages = pageRange(this.at, this.bytes, pageBytes);
    const revoking = barriers.follow(
      inOrder(submission, pages, `the space ${name}`, () =>
        this.#calls.revoke(this.#facts, this.#deadline()),
      ),
    );
    this.#revoked = revoking;
    revoking.catch(() => {
      this.#revoked = undefined;
    });
    return revoking;
  }

  #deadline(): number {
    return this.#shared.runtime.clock.now() + this.#shared.timeoutMs;
  }

  #refuse<T>(error: MemrackError): Promise<T> {
    return this.#shared.barriers.refuse(error);
  }

  #closed(): MemrackError {
    return closed(`the space ${this.#shared.name} is closed`);
  }

  #gone(): MemrackError | undefined {
    if (this.#shared.life.isClosed) return this.#closed();
    return this.#revoked === undefined ? undefined : staleWindow(`at ${this.at}`);
  }

  /** Whatever else is wrong with the arguments the path tells. */
  #wrong(at: number, bytes: number, changes: boolean): MemrackError | undefined {
    return this.#gone() ?? this.#outside(at, bytes, changes ? 'rw' : 'r');
  }

  #wrongMany(
    items: readonly {
      readonly at: number;
      readonly into?: Uint8Array;
      readonly from?: Uint8Array;
    }[],
    changes: boolean,
  ): MemrackError | undefined {
    const gone = this.#gone();
    if (gone !== undefined || !Array.isArray(items)) return gone;
    for (const item of items) {
      const buffer = changes ? item?.from : item?.into;
      const wrong = this.#outside(item?.at, buffer?.length ?? 0, changes ? 'rw' : 'r');
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  #outside(at: number, bytes: number, rights: WindowRights): MemrackError | undefined {
    // That it is no address is told by the path.
    if (typeof at !== 'number') return undefined;
    const end = this.at + this.bytes;
    if (at < this.at || at + bytes > end) {
      const remedy = `stay within it: from ${this.at} to below ${end}`;
      return invalid(`the window does not cover ${bytes} bytes at ${at}`, remedy);
    }
    if (rights === 'r' || this.rights === 'rw') return undefined;
    const remedy = "ask for a window with the rights 'rw'";
    return new MemrackError('Denied', `the window at ${this.at} is only for reading`, { remedy });
  }
}

/** What is wrong with the arguments of `window` and `narrow`. */
export function badWindow(at: number, bytes: number, rights: unknown): MemrackError | undefined {
  const wrong = badAddress('at', at) ?? badLength('bytes', bytes) ?? badRange(at, bytes);
  if (wrong !== undefined) return wrong;
  if (rights !== 'r' && rights !== 'rw') {
    return invalid(`${show(rights)} are no rights of a window`, "pass 'r' or 'rw'");
  }
  const problem = badWindowRange(at, bytes);
  if (problem === undefined) return undefined;
  return invalid(`a window of ${bytes} bytes: ${problem}`, 'open several of them');
}
