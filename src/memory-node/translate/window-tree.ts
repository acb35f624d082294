/**
 * What a node keeps of its windows beside their records: who opened each, which were cut from it,
 * and the lease that it is good as long as. Nothing of it is looked at by a data request.
 */

import { assert } from '../../base/assert.js';

export const NO_PARENT = -1;
/** In place of a client: nobody may close it, and there are few (`Windows.openForAll`). */
export const NOBODY = 0;

export interface WindowFacts {
  /** The client that opened it, or `NOBODY`. */
  readonly opener: number;
  readonly space: number;
  /** Good for whoever names it, and not closed when its opener is gone. */
  readonly isShared: boolean;
  /** The window that it was cut from, or `NO_PARENT`. */
  readonly parent: number;
  /** 0: none. */
  readonly lease: number;
  readonly leaseEpoch: number;
}

interface Node extends WindowFacts {
  parent: number;
  children: Set<number> | undefined;
  /** Openers of all windows that it was cut from, also of those that are closed. */
  readonly ancestors: ReadonlySet<number>;
}

const NO_OPENERS: ReadonlySet<number> = new Set();

export class WindowTree {
  /** Of those that clients have opened. */
  shared = 0;
  readonly #nodes = new Map<number, Node>();
  readonly #opened = new Map<number, Set<number>>();
  readonly #ofLease = new Map<number, Set<number>>();

  add(window: number, facts: WindowFacts): void {
    assert(!this.#nodes.has(window), 'a window is opened twice');
    const parent = this.#nodes.get(facts.parent);
    assert(facts.parent === NO_PARENT || parent !== undefined, 'a window is cut from none');
    const ancestors = parent === undefined ? NO_OPENERS : openersOf(parent);
    this.#nodes.set(window, { ...facts, children: undefined, ancestors });
    if (parent !== undefined) addChild(parent, window);
    addTo(this.#opened, facts.opener, window);
    if (facts.lease !== 0) addTo(this.#ofLease, facts.lease, window);
    if (facts.isShared && facts.opener !== NOBODY) this.shared += 1;
  }

  /** What was cut from it belongs to its parent from then on. */
  remove(window: number): void {
    const node = this.#node(window);
    const parent = this.#nodes.get(node.parent);
    for (const child of node.children ?? []) {
      this.#node(child).parent = node.parent;
      if (parent !== undefined) addChild(parent, child);
    }
    parent?.children?.delete(window);
    removeFrom(this.#opened, node.opener, window);
    if (node.lease !== 0) removeFrom(this.#ofLease, node.lease, window);
    if (node.isShared && node.opener !== NOBODY) this.shared -= 1;
    this.#nodes.delete(window);
  }

  facts(window: number): WindowFacts | undefined {
    return this.#nodes.get(window);
  }

  /** Whether the client opened it, or a window that it was cut from. */
  isUnder(window: number, client: number): boolean {
    const node = this.#nodes.get(window);
    return node !== undefined && (node.opener === client || node.ancestors.has(client));
  }

  /** Whether the window is this one, or was cut from it. */
  isCutFrom(window: number, from: number): boolean {
    let at = window;
    while (at !== NO_PARENT && at !== from) at = this.#node(at).parent;
    return at === from;
  }

  /** The window and all that were cut from it, it first. */
  family(window: number): number[] {
    const found = [window];
    for (const one of found) found.push(...(this.#node(one).children ?? []));
    return found;
  }

  openedBy(client: number): readonly number[] {
    return [...(this.#opened.get(client) ?? [])];
  }

  countOf(client: number): number {
    return this.#opened.get(client)?.size ?? 0;
  }

  /** The windows of the lease that were opened in an epoch before this one. */
  ofLease(lease: number, belowEpoch: number): readonly number[] {
    const all = [...(this.#ofLease.get(lease) ?? [])];
    return all.filter((window) => this.#node(window).leaseEpoch < belowEpoch);
  }

  ofSpace(space: number): readonly number[] {
    return [...this.#nodes].filter(([, node]) => node.space === space).map(([window]) => window);
  }

  #node(window: number): Node {
    const node = this.#nodes.get(window);
    assert(node !== undefined, 'a window that is not open');
    return node;
  }
}

/** Mostly one client cuts all of a family: then they share one set. */
function openersOf(node: Node): ReadonlySet<number> {
  return node.ancestors.has(node.opener)
    ? node.ancestors
    : new Set([...node.ancestors, node.opener]);
}

function addChild(parent: Node, child: number): void {
  parent.children ??= new Set();
  parent.children.add(child);
}

function addTo(sets: Map<number, Set<number>>, key: number, window: number): void {
  const known = sets.get(key);
  if (known === undefined) sets.set(key, new Set([window]));
  else known.add(window);
}

function removeFrom(sets: Map<number, Set<number>>, key: number, window: number): void {
  const known = sets.get(key);
  known?.delete(window);
  if (known?.size === 0) sets.delete(key);
}
