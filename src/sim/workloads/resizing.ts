/**
 * One client at a time gives a device another size. Who serves a device keeps its lease as long as
 * somebody is connected, so all clients leave it before, and come back when it is done.
 */

import { planOf } from '../../block/slabs.js';
import { SECTOR_BYTES } from '../../wire/limits.js';
import { SUCCESS } from '../journal.js';
import type { ObservedDevice } from '../observed-device.js';
import type { ClientProgram, Resize } from './workload.js';

const PER_MILLION = 4_000;
const SLABS_MAX = 3;
/** Two do the same at once. */
const TWICE_PER_MILLION = 300_000;
const LOOK_MS = 20;
const AGAIN_MS = 250;
/** It cannot be done: the slab that is to stay in part cannot be read. */
const ENDS: ReadonlySet<string> = new Set(['DataLost', 'Corrupt']);

export class Resizing {
  readonly #client: ClientProgram;
  readonly #devices: readonly ObservedDevice[];
  #lanes: number;
  #standing = 0;
  #standsFor: Resize | undefined;
  #hasLeft: Resize | undefined;

  constructor(client: ClientProgram, devices: readonly ObservedDevice[], lanes: number) {
    this.#client = client;
    this.#devices = devices;
    this.#lanes = lanes;
  }

  /** Whoever takes the place of a client that was killed goes on with what that began. */
  static inherit({ board, number, forerunner }: ClientProgram): void {
    const { resize } = board;
    if (resize !== undefined && resize.by === forerunner) resize.by = number;
  }

  /** Before a step of a lane, and before the first. */
  async before(mayBegin = true): Promise<void> {
    const { board, prng, sleep } = this.#client;
    if (mayBegin && board.resize === undefined && prng.chance(PER_MILLION)) this.#begin();
    const { resize } = board;
    if (resize === undefined) return;
    // Lanes that do not know yet that the last one is over do not stand still for this one.
    if (this.#standsFor !== resize) this.#standing = 0;
    this.#standsFor = resize;
    this.#standing += 1;
    for (; board.resize === resize; await sleep(LOOK_MS)) {
      if (this.#hasLeft === resize || this.#standing < this.#lanes) continue;
      this.#hasLeft = resize;
      for (const device of this.#devices) device.close();
      if (resize.by === this.#client.number) await this.#carryOut(resize);
    }
  }

  /** A lane has done its last step. */
  left(): void {
    this.#lanes -= 1;
  }

  #begin(): void {
    const { board, prng, number } = this.#client;
    const device = prng.pick(this.#devices);
    const { dataBytes } = planOf(1, device.shape.slabBytes).layout;
    const rest = prng.pick([0, SECTOR_BYTES, dataBytes / 2, dataBytes - 4096]);
    const bytes = prng.between(rest === 0 ? 1 : 0, SLABS_MAX - 1) * dataBytes + rest;
    const cut = device.cutAt(bytes / SECTOR_BYTES);
    board.resize = { device: device.shape.name, bytes, by: number, cut };
  }

  async #carryOut({ device, bytes, cut }: Resize): Promise<void> {
    const { board, journal, prng, resize, sleep } = this.#client;
    let code: string | undefined;
    for (;;) {
      const times = prng.chance(TWICE_PER_MILLION) ? 2 : 1;
      const all = Array.from({ length: times }, () => resize?.(device, bytes));
      // What is done late must not meet the next size.
      const ends = await Promise.all(all);
      const ended = ends.find((one) => one?.code === 'Ok') ?? ends[0] ?? SUCCESS;
      ({ code } = ended);
      journal.count('resize', ended);
      if (code === 'Ok' || (ENDS.has(code) && journal.mayBeLost.has(device))) break;
      if (!ENDS.has(code)) await sleep(AGAIN_MS);
      else return journal.complain('device', `resizing ${device} ended with ${code}`);
    }
    cut.end(code === 'Ok');
    journal.note(`${device} has ${bytes} bytes`);
    board.resize = undefined;
  }
}
