/**
 * An operator who empties memory nodes: he drains one, ends it when it is said to be drained, and
 * uses it again later; or he changes his mind. He looks whether the rack does as it has said: it
 * forgets no drain, places nothing new on such a node, and nothing is lost when a drained one ends.
 */

import type { Prng } from '../base/prng.js';
import type { ControllerApi } from '../controller/api.js';
import type { SimulatedProcess, SimulatedWorld } from '../runtime/simulated/world.js';
import type { Journal } from './journal.js';

const LOOK_MS = 2;
/** When he uses the node again, however far it has come. */
const CANCELLED_AFTER_MS: readonly number[] = [2, 40, 150, 600, 3_000];
/** An end of the node by a signal, and by its machine's user. */
const KILLED_PER_MILLION = 500_000;

interface Drain {
  /** Regions of the whole rack when the drain was acknowledged: none but these may be there. */
  known: ReadonlySet<string> | undefined;
  readonly cancelAtMs: number;
  /** The controller that was asked to cancel it. */
  cancelledAt: SimulatedProcess | undefined;
  hasEnded: boolean;
}

export interface DrainOperatorParts {
  readonly world: SimulatedWorld;
  readonly journal: Journal;
  readonly prng: Prng;
  readonly controller: () => SimulatedProcess;
  /** Undefined: the controller cannot be asked now. */
  readonly api: () => ControllerApi | undefined;
  /** The node holds nothing: what it ends with is no loss. */
  readonly endEmpty: (node: string, isKilled: boolean) => void;
}

export class DrainOperator {
  readonly #parts: DrainOperatorParts;
  readonly #drains = new Map<string, Drain>();
  #isLooking = false;

  constructor(parts: DrainOperatorParts) {
    this.#parts = parts;
  }

  /** All nodes are used again. */
  get isOver(): boolean {
    return this.#drains.size === 0;
  }

  drain(node: string): void {
    const { world, journal, prng, api } = this.#parts;
    const asked = api();
    if (asked === undefined || this.#drains.has(node)) return;
    const cancelAtMs = world.nowMs + prng.pick(CANCELLED_AFTER_MS);
    const drain: Drain = { known: undefined, cancelAtMs, cancelledAt: undefined, hasEnded: false };
    this.#drains.set(node, drain);
    void asked.drain(node, prng.chance(300_000)).then((result) => {
      journal.note(`drain of ${node}: ${'message' in result ? result.message : 'begun'}`);
      if ('message' in result) return this.#drains.delete(node);
      journal.noteDrain('begun');
      drain.known = new Set(regionsOf(asked).map(({ key }) => key));
      return true;
    });
    this.#lookLater();
  }

  #lookLater(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#parts.world.after(LOOK_MS, () => {
      this.#isLooking = false;
      this.#look();
      if (this.#drains.size > 0) this.#lookLater();
    });
  }

  #look(): void {
    const { world, controller, journal } = this.#parts;
    const api = this.#parts.api();
    if (api === undefined) return;
    for (const [node, drain] of this.#drains) {
      if (drain.cancelledAt === undefined && drain.known !== undefined) {
        this.#judge(api, node, drain);
      }
      const isDue = world.nowMs >= drain.cancelAtMs || !world.faults.enabled;
      if (!isDue || drain.cancelledAt === controller()) continue;
      drain.cancelledAt = controller();
      void api.cancelDrain(node).then((result) => {
        // Of an attempt that nobody answered nobody knows whether it had come so far.
        const isOver = !('message' in result) || /not being drained/.test(result.message);
        if (isOver) this.#drains.delete(node);
        if (isOver) journal.noteDrain('cancelled');
        else drain.cancelledAt = undefined;
      });
    }
  }

  #judge(api: ControllerApi, node: string, drain: Drain): void {
    const { journal, prng, endEmpty } = this.#parts;
    const facts = api.drainOf(node);
    if ('message' in facts) {
      return journal.complain('drain-forgotten', `${node} is used again: ${facts.message}`);
    }
    for (const { key, at } of regionsOf(api)) {
      if (at !== node || drain.known?.has(key) !== false) continue;
      return journal.complain('placed-on-drained', `region ${key} is new, and at ${node}`);
    }
    if (facts.drain.state !== 'drained' || drain.hasEnded) return;
    drain.hasEnded = true;
    journal.note(`${node} is drained, and ends`);
    journal.noteDrain('done');
    endEmpty(node, prng.chance(KILLED_PER_MILLION));
  }
}

function regionsOf(api: ControllerApi): { key: string; at: string }[] {
  return api.spaces().flatMap(({ name, id }) => {
    const listed = api.regions(name);
    if (!('regions' in listed)) return [];
    return listed.regions.map(({ region, node }) => ({ key: `${id}/${region}`, at: node }));
  });
}
