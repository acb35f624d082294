/**
 * What is looked at where regions move by a policy, when all memory is free again: of two regions
 * at one node one goes to another node, and then all stay where they are.
 */

import type { Rack } from '../client/rack.js';
import { REBALANCE_LOOK_MS } from '../controller/limits.js';
import { sleep } from '../runtime/clock.js';
import type { SimulatedProcess } from '../runtime/simulated/world.js';
import { REGION_BYTES } from '../wire/limits.js';
import type { Complaint } from './checkers/foreign.js';
import type { SimulatedRack } from './rack.js';

const SPACES = ['balanced', 'balanced-too'];
/** Of what a node lends, in each region: both together are more than may be at one node. */
const PART_OF_NODE = 4;
/** How often the policy looks again after the two have come apart. */
const LOOKS = 10;
const LOOK_MS = 500;
const GATHERED_WITHIN_MS = 120_000;

interface Placed {
  readonly space: string;
  readonly region: number;
}

export class BalanceAudit {
  readonly #rack: SimulatedRack;
  readonly #process: SimulatedProcess;
  readonly #client: Rack;

  constructor(rack: SimulatedRack, process: SimulatedProcess, client: Rack) {
    this.#rack = rack;
    this.#process = process;
    this.#client = client;
  }

  async run(): Promise<Complaint[]> {
    const placed = await Promise.all(SPACES.map((name) => this.#fill(name)));
    for (const one of placed) await this.#gather(one);
    const complaints = await this.#watch(placed);
    for (const name of SPACES) await this.#client.removeSpace(name);
    return complaints;
  }

  async #fill(name: string): Promise<Placed> {
    const { frames, pageBytes } = this.#rack.shape;
    const pages = Math.floor(frames / PART_OF_NODE);
    const space = await this.#client.space(name, { create: true });
    const at = await space.alloc(pages * pageBytes);
    for (let page = 0; page < pages; page++) {
      await space.write(at + page * pageBytes, Uint8Array.of(page));
    }
    return { space: name, region: Math.floor(at / REGION_BYTES) };
  }

  get #home(): string {
    return this.#rack.supervisors[0]?.name ?? '';
  }

  /** To the first node. It may have been there a moment ago, which has to pass. */
  async #gather({ space, region }: Placed): Promise<void> {
    for (let ms = 0; ms < GATHERED_WITHIN_MS; ms += LOOK_MS) {
      if (this.#ownerOf({ space, region }) === this.#home) return;
      await this.#rack.api?.moveRegion(space, region, this.#home);
      await sleep(this.#process.runtime.timers, LOOK_MS);
    }
  }

  #ownerOf({ space, region }: Placed): string | undefined {
    const listed = this.#rack.api?.regions(space);
    if (listed === undefined || !('regions' in listed)) return undefined;
    return listed.regions.find((one) => one.region === region)?.node;
  }

  async #watch(placed: readonly Placed[]): Promise<Complaint[]> {
    const owners = placed.map((one) => this.#ownerOf(one));
    const areApart = (): boolean => owners.some((owner) => owner !== owners[0]);
    let leftMs = LOOKS * REBALANCE_LOOK_MS;
    let changes = 0;
    for (; leftMs > 0 && changes <= placed.length; leftMs -= LOOK_MS) {
      await sleep(this.#process.runtime.timers, LOOK_MS);
      for (const [i, one] of placed.entries()) {
        const owner = this.#ownerOf(one);
        if (owner === owners[i]) continue;
        changes += 1;
        owners[i] = owner;
        if (areApart()) leftMs = LOOKS * REBALANCE_LOOK_MS;
      }
    }
    const complaints: Complaint[] = [];
    if (!areApart()) {
      const text = `two regions with ${100 / PART_OF_NODE} % each stay at ${owners[0]}`;
      complaints.push({ kind: 'not-balanced', text });
    }
    if (changes > placed.length) {
      const text = `two regions moved ${changes} times, and nothing else changed`;
      complaints.push({ kind: 'moves-for-ever', text });
    }
    return complaints;
  }
}
