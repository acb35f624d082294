/** Writes to a device without a pause, and remembers what was written, to verify it later. */

import { Prng } from '../../base/prng.js';
import { KiB } from '../../base/units.js';
import { NbdClient } from '../../doors/nbd/testing/client.js';
import type { Network } from '../../runtime/network.js';

const PIECE_BYTES = 64 * KiB;
const UNDER_WAY = 8;

export interface DevicePlace {
  /** `tcp://HOST:PORT` of the door. */
  readonly address: string;
  readonly device: string;
  readonly firstByte: number;
  readonly bytes: number;
}

/** Connected to the device, or the reason why not. */
export async function openDevice(
  network: Network,
  address: string,
  device: string,
): Promise<NbdClient> {
  const client = await NbdClient.connect(network, address);
  await client.structured();
  const facts = await client.go(device);
  if (typeof facts === 'number') throw new Error(`the export ${device} was refused: ${facts}`);
  return client;
}

export class DeviceLoad {
  writes = 0;
  longestMs = 0;
  readonly #client: NbdClient;
  readonly #place: DevicePlace;
  /** What stands in each piece: the number of the write. */
  readonly #seeds: Uint32Array;
  #isStopped = false;
  #failed = '';

  private constructor(client: NbdClient, place: DevicePlace) {
    this.#client = client;
    this.#place = place;
    this.#seeds = new Uint32Array(Math.floor(place.bytes / PIECE_BYTES));
  }

  static async open(network: Network, place: DevicePlace): Promise<DeviceLoad> {
    return new DeviceLoad(await openDevice(network, place.address, place.device), place);
  }

  /** Until `stop`; rejects when a write fails. */
  async run(): Promise<void> {
    const turns = Array.from({ length: UNDER_WAY }, (_, turn) => this.#write(turn));
    await Promise.all(turns);
    if (this.#failed !== '') throw new Error(this.#failed);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Each turn has pieces of its own, so that the order of writes to one is known. */
  async #write(turn: number): Promise<void> {
    const pieces = this.#seeds.length;
    for (
      let piece = turn;
      !this.#isStopped;
      piece = piece + UNDER_WAY < pieces ? piece + UNDER_WAY : turn
    ) {
      const seed = (this.writes += 1);
      const began = performance.now();
      const { error, message } = await this.#client.write(this.#at(piece), dataOf(seed));
      this.longestMs = Math.max(this.longestMs, performance.now() - began);
      if (error !== 0) {
        this.#failed = `a write of the load failed: ${message || `error ${error}`}`;
        this.#isStopped = true;
      } else this.#seeds[piece] = seed;
    }
  }

  /** Reads all of it back; the number of pieces that are not what was written last. */
  async verify(): Promise<number> {
    let wrong = 0;
    for (const [piece, seed] of this.#seeds.entries()) {
      if (seed === 0) continue;
      const { error, data } = await this.#client.read(this.#at(piece), PIECE_BYTES);
      if (error !== 0 || Buffer.compare(data, dataOf(seed)) !== 0) wrong += 1;
    }
    return wrong;
  }

  get bytes(): number {
    return this.#seeds.reduce((sum, seed) => sum + (seed === 0 ? 0 : PIECE_BYTES), 0);
  }

  close(): void {
    this.#client.disconnect();
  }

  #at(piece: number): number {
    return this.#place.firstByte + piece * PIECE_BYTES;
  }
}

function dataOf(seed: number): Uint8Array {
  const prng = new Prng(seed);
  const words = new Uint32Array(PIECE_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = prng.u32();
  return new Uint8Array(words.buffer);
}
