// The kill loop: processes of a rack are killed at random while clients write into areas.
import { Prng } from '../../src/base/prng.js';
import { parentOf, pidsOf, type TestRack, until } from '../support/rack.js';
import { Areas, type AreaTotals } from './areas.js';

const VICTIMS = ['node', 'node', 'node', 'client', 'client', 'controller', 'supervisor'] as const;
const BACK_WITHIN_MS = 30_000;

type Victim = (typeof VICTIMS)[number];

export class KillLoop {
  readonly kills: Record<Victim, number> = { node: 0, client: 0, controller: 0, supervisor: 0 };
  readonly #rack: TestRack;
  readonly #prng: Prng;
  readonly #areas: Areas;

  constructor(rack: TestRack, seed: number) {
    this.#rack = rack;
    this.#prng = new Prng(seed);
    const losses = () => this.kills.supervisor;
    this.#areas = new Areas({ url: rack.url, space: 'kill-loop', count: 3, losses });
  }

  get totals(): Readonly<AreaTotals> {
    return this.#areas.totals;
  }

  start(): Promise<void> {
    return this.#areas.start();
  }

  /** Lets the load run for a moment, kills one process, waits for the rack and checks all. */
  async round(): Promise<Victim> {
    await pause(200 + this.#prng.below(600));
    const victim = VICTIMS[this.#prng.below(VICTIMS.length)] as Victim;
    await this.#kill(victim);
    this.kills[victim] += 1;
    await pause(this.#prng.below(300));
    await this.#areas.check();
    await this.#areas.replace();
    return victim;
  }

  async #kill(victim: Victim): Promise<void> {
    if (victim === 'client') {
      this.#areas.killOne(this.#prng);
      return;
    }
    const role = victim === 'node' ? 'memory-node' : victim;
    // A node of an earlier round may still be on its way back.
    const pids = await until(BACK_WITHIN_MS, () => {
      const found = pidsOf(this.#rack, role);
      return found.length > 0 ? found : undefined;
    });
    const pid = pids[this.#prng.below(pids.length)] ?? 0;
    if (victim === 'node' && parentOf(pid) <= 1) return;
    process.kill(pid, 'SIGKILL');
  }

  finish(): Promise<void> {
    return this.#areas.finish();
  }

  abandon(): Promise<void> {
    return this.#areas.abandon();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
