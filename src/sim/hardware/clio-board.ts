/**
 * Clio's board: a pipeline of a fixed number of cycles, a TLB in front of a flat page table in the
 * board's memory (one access where it misses), page faults that take a prepared page, and no state
 * per client. Each packet is on its own (T1); the library at the client puts them together.
 */

import { LruCache } from '../../runtime/simulated/hardware.js';
import { CLIO, DRAM, NETWORK } from './constants.js';
import type { Access, MemorySystem } from './load.js';
import { ModelClock, RefreshedMemory, Station, wireNs } from './model-clock.js';

/** Where a request was, in the order of its way. */
export const CLIO_STATIONS = [
  'client',
  'network',
  'network stack of the node',
  'translation',
  'memory access',
  'rest of the node',
] as const;

const CLIENT = 0;
const WIRE = 1;
const STACK = 2;
const TRANSLATION = 3;
const MEMORY = 4;
const REST = 5;

export interface ClioOptions {
  readonly seed: number;
  /** Projected: logic at 2 GHz, memory as of a server; the rest as it is. */
  readonly isAsic?: boolean;
  /** Pages get memory when they are touched first; otherwise all have it. */
  readonly isOnDemand?: boolean;
}

interface Packet {
  readonly access: Access;
  readonly bytes: number;
  readonly done: () => void;
}

export class ClioSystem implements MemorySystem {
  readonly name: string;
  /** Nanoseconds spent at each of `CLIO_STATIONS` by all packets so far, and their number. */
  readonly spentNs = new Float64Array(CLIO_STATIONS.length);
  packets = 0;
  /** Of pages that were touched first, how many found no prepared page. */
  freePagesMissed = 0;
  readonly #clock: ModelClock;
  readonly #cycleNs: number;
  readonly #memoryNs: number;
  readonly #isOnDemand: boolean;
  readonly #tlb = new LruCache({ entries: CLIO.tlbEntries.value, hitNs: 0, missNs: 1 });
  readonly #memory: RefreshedMemory;
  readonly #pipeline: Station;
  readonly #mover: Station;
  /** One of its cores polls, the others work. */
  readonly #arm: Station;
  readonly #in: Station;
  readonly #out: Station;
  readonly #up: readonly Station[];
  readonly #down: readonly Station[];
  readonly #present = new Set<number>();
  #freePages: number = CLIO.freePages.value;
  #isRefilled = false;
  readonly #waiting: (() => void)[] = [];

  constructor(options: ClioOptions) {
    const isAsic = options.isAsic === true;
    this.name = isAsic ? 'Clio, ASIC projected' : 'Clio';
    this.#clock = new ModelClock(options.seed);
    this.#cycleNs = (isAsic ? CLIO.asicCycleNs : CLIO.cycleNs).value;
    this.#memoryNs = (isAsic ? CLIO.asicMemoryNs : CLIO.memoryNs).value;
    this.#isOnDemand = options.isOnDemand === true;
    const clock = this.#clock;
    this.#memory = new RefreshedMemory(clock, DRAM.refreshEveryNs.value, DRAM.refreshNs.value);
    this.#pipeline = new Station(clock);
    this.#mover = new Station(clock);
    this.#arm = new Station(clock, CLIO.armCores.value - 1);
    this.#in = new Station(clock);
    this.#out = new Station(clock);
    const stations = (): Station[] =>
      Array.from({ length: NETWORK.computeNodes.value }, () => new Station(clock));
    this.#up = stations();
    this.#down = stations();
  }

  get nowNs(): number {
    return this.#clock.nowNs;
  }

  after(ns: number, then: () => void): void {
    this.#clock.after(ns, then);
  }

  run(until: () => boolean): boolean {
    return this.#clock.run(until);
  }

  access(access: Access, done: () => void): void {
    const max = NETWORK.packetBytesMax.value;
    const count = Math.max(1, Math.ceil(access.bytes / max));
    let left = count;
    const one = (): void => {
      left -= 1;
      if (left === 0) done();
    };
    for (let i = 0; i < count; i++) {
      const bytes = Math.min(max, access.bytes - i * max);
      this.#begin({ access, bytes, done: one });
    }
  }

  /** A call to the slow path, which takes so long on the ARM: an allocation, say. */
  call(armNs: number, done: () => void): void {
    const clock = this.#clock;
    const wayNs =
      CLIO.libraryNs.value / 2 +
      CLIO.cardNs.value +
      NETWORK.oneWayNs.value +
      wireNs(onWire(0), CLIO.portGbps.value) +
      CLIO.vendorNs.value +
      CLIO.stackCycles.value * this.#cycleNs;
    clock.after(wayNs + CLIO.crossingNs.value, () => {
      clock.after(this.#arm.pass(armNs) + CLIO.crossingNs.value + wayNs, done);
    });
  }

  /** Adds to what was spent at the station, and goes on so much later. */
  #spend(station: number, ns: number, then: () => void): void {
    this.spentNs[station] = (this.spentNs[station] as number) + ns;
    this.#clock.after(ns, then);
  }

  #begin(packet: Packet): void {
    const { client, isWrite } = packet.access;
    const bytes = onWire(isWrite ? packet.bytes : 0);
    const up = this.#up[client % this.#up.length] as Station;
    this.packets += 1;
    this.#spend(CLIENT, CLIO.libraryNs.value / 2, () => {
      const leaveNs = CLIO.cardNs.value + up.pass(wireNs(bytes, NETWORK.cardGbps.value));
      this.#spend(WIRE, leaveNs + NETWORK.oneWayNs.value, () => {
        // The board's port is slower than the switch's: the frame is stored there first.
        const portNs = this.#in.pass(wireNs(bytes, CLIO.portGbps.value));
        this.#spend(WIRE, portNs, () => this.#arrive(packet));
      });
    });
  }

  #arrive(packet: Packet): void {
    this.#spend(REST, CLIO.vendorNs.value, () => {
      const cycles = this.#cyclesOf(packet.access.isWrite ? packet.bytes : 0);
      const intoNs = this.#pipeline.pass(cycles * this.#cycleNs);
      this.#spend(STACK, intoNs + CLIO.stackCycles.value * this.#cycleNs, () => {
        this.#translate(packet);
      });
    });
  }

  /** How long the pipeline cannot take another one: its data goes through in order. */
  #cyclesOf(bytes: number): number {
    return Math.ceil((bytes + CLIO.headerBytes.value) / CLIO.cycleBytes.value);
  }

  #translate(packet: Packet): void {
    const { page, client } = packet.access;
    // The key has the process in it, and processes share pages here as far as the load says.
    const isMiss = this.#tlb.chargeNs(page) !== 0;
    const missNs = isMiss ? this.#memory.waitNs() + this.#memoryNs : 0;
    const ns = CLIO.translateCycles.value * this.#cycleNs + missNs;
    this.#spend(TRANSLATION, ns, () => {
      if (this.#isOnDemand && !this.#present.has(page)) this.#fault(packet, client);
      else this.#move(packet);
    });
  }

  #fault(packet: Packet, client: number): void {
    if (this.#freePages === 0) {
      this.freePagesMissed += 1;
      this.#waiting.push(() => this.#fault(packet, client));
      return;
    }
    this.#freePages -= 1;
    this.#present.add(packet.access.page);
    this.#refill();
    // Writing the table and the TLB goes on beside the request.
    this.#spend(TRANSLATION, CLIO.faultCycles.value * this.#cycleNs, () => this.#move(packet));
  }

  /** The ARM prepares pages, one after the other, as long as there is room for them. */
  #refill(): void {
    if (this.#isRefilled || this.#freePages === CLIO.freePages.value) return;
    this.#isRefilled = true;
    this.#clock.after(CLIO.freePageNs.value, () => {
      this.#isRefilled = false;
      this.#freePages += 1;
      this.#waiting.shift()?.();
      this.#refill();
    });
  }

  /** From or to the board's memory, by a DMA that does one after the other. */
  #move(packet: Packet): void {
    const data = Math.ceil(packet.bytes / CLIO.cycleBytes.value);
    const takesNs = (CLIO.moverCycles.value + data) * this.#cycleNs;
    const ns = this.#memory.waitNs() + this.#memoryNs + this.#mover.pass(takesNs);
    this.#spend(MEMORY, ns, () => this.#answer(packet));
  }

  #answer(packet: Packet): void {
    const { client, isWrite } = packet.access;
    const bytes = onWire(isWrite ? 0 : packet.bytes);
    const down = this.#down[client % this.#down.length] as Station;
    this.#spend(STACK, CLIO.stackCycles.value * this.#cycleNs, () => {
      // The MAC takes a whole frame before it begins: it must not run dry within one.
      const storeNs = CLIO.vendorNs.value + wireNs(bytes, CLIO.portGbps.value);
      this.#spend(REST, storeNs, () => {
        const portNs = this.#out.pass(wireNs(bytes, CLIO.portGbps.value));
        this.#spend(WIRE, portNs + NETWORK.oneWayNs.value, () => {
          const cardNs = down.pass(wireNs(bytes, NETWORK.cardGbps.value)) + CLIO.cardNs.value;
          this.#spend(WIRE, cardNs, () => {
            this.#spend(CLIENT, CLIO.libraryNs.value / 2, packet.done);
          });
        });
      });
    });
  }
}

function onWire(bytes: number): number {
  const around = NETWORK.ethernetBytes.value + CLIO.headerBytes.value;
  return Math.max(NETWORK.frameBytesMin.value, bytes + around);
}
