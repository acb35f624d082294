/** A lease that is held, and the windows that are good as long as it is. */

import { Status } from '../base/status.js';
import type { Holder } from '../leases/holder.js';
import type { Runtime } from '../runtime/runtime.js';
import { Right } from '../wire/messages.js';
import { badAddress, badLength, badName, badRange, show } from './arguments.js';
import type { DataPath, ReadItem, WriteItem } from './data-path.js';
import { closed, failed, invalid, MemrackError, unawaited } from './error.js';
import type { LeaseChange } from './lease-change.js';
import type { LeaseNodes } from './lease-nodes.js';
import { LeaseRoutes } from './lease-routes.js';
import type { RemoteSpace } from './space.js';

export interface LeaseFacts {
  readonly name: string;
  /** By which nodes know it. */
  readonly number: number;
  readonly epoch: number;
  readonly nodes: Pick<LeaseNodes, 'ids' | 'memoryAt'>;
  readonly change: Pick<LeaseChange, 'extend' | 'shrink'>;
  readonly timeoutMs: number;
  /** It is not held any more. */
  readonly ended: () => void;
}

export class Lease {
  readonly name: string;
  /** Higher than that of every holder before. */
  readonly epoch: number;
  readonly #runtime: Runtime;
  readonly #holder: Holder;
  readonly #facts: LeaseFacts;
  readonly #life = { isOver: false };
  #releasing: Promise<void> | undefined;

  constructor(runtime: Runtime, holder: Holder, facts: LeaseFacts) {
    this.name = facts.name;
    this.epoch = facts.epoch;
    this.#runtime = runtime;
    this.#holder = holder;
    this.#facts = facts;
    holder.lost.addEventListener('abort', facts.ended, { once: true });
  }

  /**
   * Aborted when it is lost, with the reason, or when the rack is closed; never by `release`.
   * Asking looks at the clock too, so ask after every `await`: `lease.lost.aborted`.
   */
  get lost(): AbortSignal {
    return this.#holder.lost;
  }

  /** @internal By which nodes know it. */
  get number(): number {
    return this.#facts.number;
  }

  /** @internal Ids of the memory nodes that it is over now. */
  get nodes(): ReadonlySet<string> {
    return this.#facts.nodes.ids;
  }

  /** @internal Of those nodes: which memory of theirs; undefined: it is not over that node. */
  memoryAt(node: string): number | undefined {
    return this.#facts.nodes.memoryAt(node);
  }

  /** @internal Whether a node that is asked now says that it is held. */
  confirm(): Promise<boolean> {
    return this.#holder.confirm();
  }

  /** @internal It is of no more use: somebody knows that another one holds it, or should. */
  lose(why: string): void {
    this.#holder.lose(why);
  }

  /**
   * A window over a range of a space, whose nodes belong to the lease. What is changed through it
   * counts only until somebody else is given the lease: `Stale` then, whenever it was started.
   * `Stale` is also met once by what comes after the restart of a node; see `lost`.
   */
  window(
    space: RemoteSpace,
    at: number,
    bytes: number,
    rights: 'r' | 'rw' = 'rw',
  ): Promise<LeaseWindow> {
    return unawaited(this.#window(space, at, bytes, rights));
  }

  async #window(
    space: RemoteSpace,
    at: number,
    bytes: number,
    rights: 'r' | 'rw',
  ): Promise<LeaseWindow> {
    const wrong = badAddress('at', at) ?? badLength('bytes', bytes) ?? badRange(at, bytes);
    if (wrong !== undefined) throw wrong;
    if (rights !== 'r' && rights !== 'rw') {
      throw invalid(`${show(rights)} are no rights of a window`, "pass 'r' or 'rw'");
    }
    if (this.#life.isOver) throw released(this.name);
    const { number: lease, epoch, timeoutMs } = this.#facts;
    const isStale = (): void => this.#holder.lose('a node says that it is held by another client');
    const binding = { lease, epoch, nodes: this.nodes, isStale };
    const bits = rights === 'r' ? Right.READ : Right.READ | Right.WRITE;
    const range = { space: space.id, at, bytes, rights: bits };
    const made: { routes?: LeaseRoutes } = {};
    const path = space.pathBy((regions) => {
      made.routes = new LeaseRoutes(this.#runtime, regions, binding, range);
      return made.routes;
    });
    const deadline = this.#runtime.clock.now() + timeoutMs;
    const status = (await made.routes?.prepareAll(deadline)) ?? Status.Ok;
    if (status !== Status.Ok) {
      throw failed(`a window of the lease ${this.name} at ${at}`, status, REASONS[status]);
    }
    return new LeaseWindow(path, this.#life, this.name, at, bytes);
  }

  /**
   * Over this memory node as well, from when it resolves: windows can be opened there, and nobody
   * takes the lease over without it. `Stale`: only acquiring it anew helps. After any other failure
   * it can be asked again.
   */
  extend(node: string): Promise<void> {
    return unawaited(this.#change('extend', node));
  }

  /**
   * Of the lease of a block device: not over this node any more. `Busy` where a slab has a copy
   * there. Close what is open there before.
   */
  shrink(node: string): Promise<void> {
    return unawaited(this.#change('shrink', node));
  }

  async #change(how: 'extend' | 'shrink', node: string): Promise<void> {
    const wrong = badName('memory node', node);
    if (wrong !== undefined) throw wrong;
    if (this.#life.isOver) throw released(this.name);
    if (this.lost.aborted) throw new MemrackError('Stale', `the lease ${this.name} was lost`);
    const { change, timeoutMs } = this.#facts;
    await change[how](node, this.#runtime.clock.now() + timeoutMs);
  }

  /**
   * Gives it up: others need not wait until it runs out. Await what was started under it before.
   * Rejects with `Stale` when it was lost before.
   */
  release(): Promise<void> {
    this.#releasing ??= unawaited(this.#release());
    return this.#releasing;
  }

  async #release(): Promise<void> {
    if (this.#life.isOver) return;
    if (this.#holder.lost.aborted) {
      throw new MemrackError('Stale', `the lease ${this.name} was lost before it was released`);
    }
    this.#life.isOver = true;
    await this.#holder.release(this.#facts.timeoutMs);
    this.#facts.ended();
  }

  /** For `rack.close`: it is renewed no more, and given up where that takes no longer than this. */
  async giveUp(timeoutMs: number): Promise<void> {
    if (this.#life.isOver) return;
    this.#life.isOver = true;
    // Whoever did not close the rack would believe in it for ever.
    this.#holder.lose('the rack was closed');
    await this.#holder.release(timeoutMs);
  }
}

const REASONS: Partial<Record<Status, string>> = {
  [Status.Stale]: 'it has passed to another holder',
  [Status.Invalid]: 'the range lies at a node that the lease is not over',
};

function released(name: string): MemrackError {
  return closed(`the lease ${name} was released`);
}

/** The verbs of a space, by address, within the range. */
export class LeaseWindow {
  readonly at: number;
  readonly bytes: number;
  readonly #path: DataPath;
  readonly #life: { readonly isOver: boolean };
  readonly #name: string;

  constructor(
    path: DataPath,
    life: { readonly isOver: boolean },
    name: string,
    at: number,
    bytes: number,
  ) {
    this.at = at;
    this.bytes = bytes;
    this.#path = path;
    this.#life = life;
    this.#name = name;
  }

  read(at: number, lengthOrTarget: number | Uint8Array): Promise<Uint8Array> {
    const bytes = typeof lengthOrTarget === 'number' ? lengthOrTarget : lengthOrTarget?.length;
    return this.#refusal(at, bytes) ?? this.#path.read(at, lengthOrTarget);
  }

  write(at: number, bytes: Uint8Array): Promise<void> {
    return this.#refusal(at, bytes?.length) ?? this.#path.write(at, bytes);
  }

  readMany(reads: readonly ReadItem[]): Promise<void> {
    return this.#refusalOfMany(reads, 'into') ?? this.#path.readMany(reads);
  }

  writeMany(writes: readonly WriteItem[]): Promise<void> {
    return this.#refusalOfMany(writes, 'from') ?? this.#path.writeMany(writes);
  }

  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#refusal(at, 8) ?? this.#path.compareAndSwap(at, expected, desired);
  }

  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    return this.#refusal(at, 8) ?? this.#path.fetchAndAdd(at, delta);
  }

  #refusalOfMany(
    items: readonly { readonly at: number; readonly into?: unknown; readonly from?: unknown }[],
    field: 'into' | 'from',
  ): Promise<never> | undefined {
    if (!Array.isArray(items)) return undefined;
    for (const item of items) {
      const buffer = item?.[field] as Uint8Array | undefined;
      const wrong = this.#refusal(item?.at, buffer?.length ?? 0);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** What is wrong with the arguments themselves the path tells. */
  #refusal(at: number, bytes: number): Promise<never> | undefined {
    if (this.#life.isOver) return unawaited(Promise.reject(released(this.#name)));
    if (typeof at !== 'number') return undefined;
    const isOutside = at < this.at || at + bytes > this.at + this.bytes;
    if (!isOutside) return undefined;
    const remedy = 'stay within it, or ask for a larger one';
    const what = `the window covers ${this.bytes} bytes at ${this.at}`;
    return unawaited(Promise.reject(invalid(what, remedy)));
  }
}
