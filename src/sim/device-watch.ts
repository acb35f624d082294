/** What the controller says of the slabs of block devices, and whether they are whole by that. */

import { factsOf } from '../block/device-options.js';
import { rowOf } from '../block/leased-rack.js';
import { Memories } from '../block/memories.js';
import { type CopyPlace, isBackup, type SetRow, type SlabNode } from '../block/ports.js';
import { connectRack, type Rack } from '../client/rack.js';
import { copiesOf, type SetCopy } from '../controller/metadata/slab-sets.js';
import { sleep } from '../runtime/clock.js';
import type { DatabaseCopy } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { slabKey } from './checkers/torn.js';
import type { Journal } from './journal.js';
import type { DeviceShape, SimulatedRack } from './rack.js';

const CALL_MS = 10_000;
const LOOK_MS = 50;

/** The number of a device, the rows of its slabs, and where its backup is, if it has one. */
export async function rowsOf(
  client: Rack,
  name: string,
): Promise<[number, SetRow[], string | undefined]> {
  const { control, runtime } = client.core;
  const deadline = runtime.clock.now() + CALL_MS;
  const reply = await control.demand(name, MessageType.OpenDevice, { name }, deadline);
  const { device, backup } = factsOf(reply);
  const request = { device, from: 0 };
  const { sets } = await control.demand(name, MessageType.GetSets, request, deadline);
  return [device, sets.map((set) => rowOf(set.slab, set)), backup];
}

/**
 * Its copies are there, as many as are wanted, at nodes apart from each other, and the file, if it
 * is to have one. That may be missing where another host serves.
 */
export function isWhole(
  row: SetRow,
  shape: DeviceShape,
  nodes: readonly SlabNode[],
  mayLackFile = false,
): boolean {
  const remote = row.copies.filter((place) => !isBackup(place));
  const files = row.copies.length - remote.length;
  const isKept = files === (shape.backup === undefined ? 0 : 1) || (files === 0 && mayLackFile);
  const isThere = (place: CopyPlace): boolean => {
    return nodes.some(({ id, memoryId }) => id === place.node && memoryId === place.memoryId);
  };
  const apart = new Set(remote.map(({ node }) => node));
  const wanted = Math.min(shape.copies, nodes.length);
  const areThere = remote.every(isThere) && apart.size === wanted && remote.length === wanted;
  return areThere && isKept;
}

/** As the database has it now: whether every slab has a copy that does not go with this node. */
export function areElsewhere(databases: DatabaseCopy, node: string): boolean {
  for (const tables of databases.values()) {
    const nodes = [...(tables.get('nodes')?.values() ?? [])];
    const memories = new Map(nodes.map((row) => [row['id'], row['memoryId']]));
    const stays = (place: SetCopy): boolean => {
      return (
        isBackup(place) || (place.node !== node && memories.get(place.node) === place.memoryId)
      );
    };
    for (const row of tables.get('slabSets')?.values() ?? []) {
      if (!copiesOf(String(row['copies'])).some(stays)) return false;
    }
  }
  return true;
}

/** Asks again and again, so that somebody can know when no copy is missing anywhere. */
export class DeviceWatch {
  readonly #rack: SimulatedRack;
  readonly #journal: Pick<Journal, 'hadOneCopy'>;
  /** By slab: the last generation that was seen. */
  readonly #generations = new Map<string, number>();
  /** When it was asked for what said so last. */
  #wholeMs = -Infinity;
  #inFileMs = -Infinity;

  constructor(rack: SimulatedRack, journal: Pick<Journal, 'hadOneCopy'>) {
    this.#rack = rack;
    this.#journal = journal;
  }

  /** Since that moment, at least, every slab has all its copies, or had. */
  get wholeMs(): number {
    return this.#wholeMs;
  }

  /** When a slab was seen last of which a file has all that there is. */
  get inFileMs(): number {
    return this.#inFileMs;
  }

  async run(): Promise<never> {
    const { world, shape, url } = this.#rack;
    const { runtime } = world.program(world.machine('device-watcher'), 'device-watcher');
    let client: Rack | undefined;
    let memories: Memories | undefined;
    for (;;) {
      await sleep(runtime.timers, LOOK_MS);
      const askedMs = world.nowMs;
      try {
        client ??= await connectRack(runtime, url, { timeoutMs: CALL_MS });
        memories ??= new Memories(runtime.clock, client.core.control);
        if (await this.#areWhole(client, memories, shape.devices ?? [])) this.#wholeMs = askedMs;
      } catch {
        // Another time.
      }
    }
  }

  async #areWhole(
    client: Rack,
    memories: Memories,
    devices: readonly DeviceShape[],
  ): Promise<boolean> {
    const nodes = await memories.list();
    let areWhole = nodes !== undefined;
    for (const shape of devices) {
      const [, rows] = await rowsOf(client, shape.name);
      if (rows.some(({ copies }) => copies.every(isBackup)))
        this.#inFileMs = this.#rack.world.nowMs;
      areWhole &&= rows.every((row) => isWhole(row, shape, nodes ?? []));
      for (const row of rows) this.#noteCopies(slabKey(shape.name, row.slab), row);
    }
    return areWhole;
  }

  /** Between two looks there may have been a generation that nobody saw. */
  #noteCopies(slab: string, { generation, copies }: SetRow): void {
    const before = this.#generations.get(slab) ?? 0;
    this.#generations.set(slab, generation);
    const isSingle = copies.filter((place) => !isBackup(place)).length < 2;
    if (isSingle || generation > before + 1) this.#journal.hadOneCopy.add(slab);
  }
}
