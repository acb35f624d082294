/**
 * One-sided RDMA against a card of the ConnectX class: reads and writes that a card serves by
 * itself. What it knows of connections (QPs), regions (MRs) and translations (PTEs) it keeps on its
 * chip as far as that goes; what is missing it reads from the host's memory over PCIe, one after
 * the other. A page that is not there is brought in by the host, which the requester learns of by
 * its time-out (on-demand paging).
 */

import { LruCache } from '../../runtime/simulated/hardware.js';
import { type CardSizes, DRAM, NETWORK, RDMA } from './constants.js';
import type { Access, MemorySystem } from './load.js';
import { ModelClock, RefreshedMemory, Station, wireNs } from './model-clock.js';

const CARD_GBPS = NETWORK.cardGbps.value;

/** A model charges what it fetches itself, so the cache's own times are 0 and 1. */
function cache(entries: number): LruCache {
  return new LruCache({ entries, hitNs: 0, missNs: 1 });
}

/** Of a machine: its card and its bus. */
class Card {
  readonly connections: LruCache;
  readonly regions: LruCache;
  readonly translations: LruCache;
  readonly work: Station;
  readonly up: Station;
  readonly down: Station;
  readonly #clock: ModelClock;
  readonly #memory: RefreshedMemory;
  readonly #reads: Station;

  constructor(clock: ModelClock, sizes: CardSizes) {
    this.#clock = clock;
    this.connections = cache(sizes.connections.value);
    this.regions = cache(sizes.regions.value);
    this.translations = cache(sizes.translations.value);
    this.work = new Station(clock);
    this.up = new Station(clock);
    this.down = new Station(clock);
    this.#reads = new Station(clock, RDMA.pcieReadsAtOnce.value);
    this.#memory = new RefreshedMemory(clock, DRAM.refreshEveryNs.value, DRAM.refreshNs.value);
  }

  /** Nanoseconds of a read of the host's memory over PCIe. */
  fetchNs(bytes: number): number {
    const spread = this.#clock.prng.below(RDMA.pcieSpreadNs.value + 1);
    const takes = RDMA.pcieReadNs.value + spread + bytes / RDMA.pcieBytesPerNs.value;
    return this.#reads.pass(takes + this.#memory.waitNs(takes / 2));
  }

  /** Looks up what is named, and fetches it if it is not on the chip. */
  learn(what: LruCache, key: number, then: () => void): void {
    if (what.chargeNs(key) === 0) then();
    else this.#clock.after(this.fetchNs(0), then);
  }
}

export interface RdmaOptions {
  readonly seed: number;
  readonly sizes: CardSizes;
  /** Pages are brought in when they are touched, instead of pinned. */
  readonly isOnDemand?: boolean;
}

export class RdmaSystem implements MemorySystem {
  readonly name: string;
  readonly #clock: ModelClock;
  readonly #cards: readonly Card[];
  readonly #node: Card;
  readonly #isOnDemand: boolean;
  /** Of on-demand paging: when each page is there. */
  readonly #presentNs = new Map<number, number>();

  constructor(options: RdmaOptions) {
    this.name = options.sizes.name;
    this.#clock = new ModelClock(options.seed);
    const card = (): Card => new Card(this.#clock, options.sizes);
    this.#cards = Array.from({ length: NETWORK.computeNodes.value }, card);
    this.#node = card();
    this.#isOnDemand = options.isOnDemand === true;
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

  /** Nanoseconds to register or to give up so many bytes; undefined: there are too many regions. */
  registerNs(bytes: number, regionsBefore = 0): number | undefined {
    if (regionsBefore >= RDMA.regionsMax.value) return undefined;
    const pages = this.#isOnDemand ? 0 : Math.ceil(bytes / RDMA.hostPageBytes.value);
    return RDMA.registerNs.value + pages * RDMA.pinNs.value;
  }

  deregisterNs(bytes: number): number {
    const pages = this.#isOnDemand ? 0 : Math.ceil(bytes / RDMA.hostPageBytes.value);
    return RDMA.registerNs.value + pages * RDMA.unpinNs.value;
  }

  access(access: Access, done: () => void): void {
    const clock = this.#clock;
    const card = this.#cards[access.client % this.#cards.length] as Card;
    card.learn(card.connections, access.client, () => {
      const isFetched = access.isWrite && access.bytes > RDMA.inlineBytes.value;
      const fetchNs = isFetched ? card.fetchNs(access.bytes) : 0;
      const workNs = card.work.pass(RDMA.operationNs.value) + RDMA.passNs.value;
      clock.after(fetchNs + workNs, () => this.#request(access, card, done));
    });
  }

  /** From the wire on: also what is sent again after a time-out. */
  #request(access: Access, card: Card, done: () => void): void {
    const bytes = onWire(access.isWrite ? access.bytes : 0);
    this.#travel(card.up, this.#node.down, bytes, () => {
      const workNs = this.#node.work.pass(RDMA.operationNs.value) + RDMA.passNs.value;
      this.#clock.after(workNs, () => this.#serve(access, card, done));
    });
  }

  #travel(from: Station, to: Station, bytes: number, then: () => void): void {
    const takesNs = wireNs(bytes, CARD_GBPS);
    this.#clock.after(from.pass(takesNs) + NETWORK.oneWayNs.value, () => {
      // The switch passes on what it has begun to receive: only a queue takes time.
      this.#clock.after(to.pass(takesNs) - takesNs, then);
    });
  }

  #serve(access: Access, card: Card, done: () => void): void {
    const node = this.#node;
    // A region has a translation of its own, even if regions share memory.
    const translation = access.page + 2 ** 26 * access.region;
    node.learn(node.connections, access.client, () => {
      node.learn(node.regions, access.region, () => {
        if (this.#isMissing(access.page)) {
          // Dropped: the requester hears nothing and tries again.
          const timeoutNs = RDMA.timeoutBaseNs.value * 2 ** RDMA.timeoutExponent.value;
          this.#clock.after(timeoutNs, () => this.#request(access, card, done));
          return;
        }
        node.learn(node.translations, translation, () => this.#reply(access, card, done));
      });
    });
  }

  #isMissing(page: number): boolean {
    if (!this.#isOnDemand) return false;
    const { nowNs } = this.#clock;
    const at = this.#presentNs.get(page);
    if (at === undefined) this.#presentNs.set(page, nowNs + RDMA.faultServiceNs.value);
    return at === undefined || at > nowNs;
  }

  #reply(access: Access, card: Card, done: () => void): void {
    // A write is answered before its bytes are in memory (4.7.1).
    const dataNs = access.isWrite ? 0 : this.#node.fetchNs(access.bytes);
    this.#clock.after(dataNs + RDMA.passNs.value, () => {
      const bytes = onWire(access.isWrite ? 0 : access.bytes);
      this.#travel(this.#node.up, card.down, bytes, () => {
        this.#clock.after(RDMA.passNs.value, done);
      });
    });
  }
}

/** Of a message with so many bytes of data, in packets with all that is around them. */
function onWire(bytes: number): number {
  const packets = Math.max(1, Math.ceil(bytes / NETWORK.packetBytesMax.value));
  const around = NETWORK.ethernetBytes.value + RDMA.headerBytes.value;
  return Math.max(NETWORK.frameBytesMin.value, bytes + packets * around);
}
