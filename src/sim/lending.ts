/**
 * What is looked at where nodes mind their machines' memory, when all of it is free again: they
 * give it back, do not swing with what goes up and down a little, and lend all again afterwards.
 */

import type { SimulatedProcess } from '../runtime/simulated/world.js';
import { sleep } from '../runtime/clock.js';
import type { Rack } from '../client/rack.js';
import type { Complaint } from './checkers/foreign.js';
import { GIVE_BACK_BELOW_PAGES, LEND_ABOVE_PAGES, type SimulatedRack } from './rack.js';

/** Longer than averages take to forget a machine with a million times as much. */
const SETTLED_MS = 60_000;
/** Slow enough that it is no fall that has to be feared. */
const PERIOD_MS = 16_000;
const NOISE_MS = 3 * PERIOD_MS;
const LOOK_MS = 100;
const SPACE = 'lending';
const LENT_AGAIN_MS = 60_000;

export class LendingAudit {
  readonly #rack: SimulatedRack;
  readonly #process: SimulatedProcess;
  readonly #client: Rack;
  readonly #complaints: Complaint[] = [];

  constructor(rack: SimulatedRack, process: SimulatedProcess, client: Rack) {
    this.#rack = rack;
    this.#process = process;
    this.#client = client;
  }

  async run(): Promise<Complaint[]> {
    const { frames } = this.#rack.shape;
    const left = Math.floor(frames / 2) + LEND_ABOVE_PAGES;
    const usual = this.#rack.supervisors.map(({ machine }) => machine.memoryAvailableBytes);
    await this.#sway(left, 0, SETTLED_MS);
    this.#judgeHeld(left, 'with nothing in them');
    await this.#takeAll();
    this.#judgeHeld(left, 'after all were asked for');
    await this.#client.removeSpace(SPACE);
    const seen = await this.#lent();
    const swings = await this.#sway(left, LEND_ABOVE_PAGES - GIVE_BACK_BELOW_PAGES - 1, NOISE_MS);
    if (swings > 2 * seen.length) {
      const text = `what is lent changed ${swings} times, with machines that changed little`;
      this.#complaints.push({ kind: 'lending-swings', text });
    }
    for (const [i, { machine }] of this.#rack.supervisors.entries()) {
      this.#rack.world.memoryAvailable(machine, usual[i] as number);
    }
    await this.#untilAllIsLent();
    return this.#complaints;
  }

  /** Down and up around `left` within so many pages; how often what nodes lend has changed. */
  async #sway(left: number, withinPages: number, ms: number): Promise<number> {
    const { world, shape, supervisors } = this.#rack;
    let changes = 0;
    let before = await this.#lent();
    for (let at = 0; at < ms; at += LOOK_MS) {
      const share = Math.abs(((at / PERIOD_MS) % 1) * 2 - 1);
      const pages = left + (share - 0.5) * withinPages;
      // No fault: the audit comes when all of them have ended.
      for (const { machine } of supervisors) {
        world.memoryAvailable(machine, pages * shape.pageBytes);
      }
      await sleep(this.#process.runtime.timers, LOOK_MS);
      const now = await this.#lent();
      changes += now.filter((bytes, i) => bytes !== before[i]).length;
      before = now;
    }
    return changes;
  }

  async #lent(): Promise<number[]> {
    const nodes = await this.#client.nodes();
    return nodes.filter(({ kind }) => kind === 'memory-node').map(({ bytesLent }) => bytesLent);
  }

  /** Writes to more pages than there are; most are refused. */
  async #takeAll(): Promise<void> {
    const { frames, pageBytes } = this.#rack.shape;
    const space = await this.#client.space(SPACE, { create: true });
    for (let page = 0; page < 2 * frames; page++) {
      try {
        await space.write(await space.alloc(pageBytes), Uint8Array.of(page));
      } catch (error) {
        if ((error as { code?: string }).code !== 'NoSpace') throw error;
      }
    }
  }

  /** All began with nothing used, so no more may be held than leaves the low mark. */
  #judgeHeld(left: number, when: string): void {
    const { shape, supervisors } = this.#rack;
    for (const { name, machine } of supervisors) {
      const held = machine.memoryHeldBytes / shape.pageBytes;
      const most = left - GIVE_BACK_BELOW_PAGES;
      if (held <= most) continue;
      const text = `${name} holds ${held} pages ${when}, its machine has ${left}`;
      this.#complaints.push({ kind: 'not-given-back', text });
    }
  }

  async #untilAllIsLent(): Promise<void> {
    const { frames, pageBytes } = this.#rack.shape;
    for (let ms = 0; ms < LENT_AGAIN_MS; ms += LOOK_MS) {
      if ((await this.#lent()).every((bytes) => bytes === frames * pageBytes)) return;
      await sleep(this.#process.runtime.timers, LOOK_MS);
    }
    const text = `${(await this.#lent()).join(', ')} bytes are lent, with all memory there`;
    this.#complaints.push({ kind: 'not-lent-again', text });
  }
}
