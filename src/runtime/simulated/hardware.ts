/**
 * A network card with caches, as the papers measured them: what it knows of connections, memory
 * regions and address translations fits up to a number of entries, and a miss costs a fetch from
 * the host's memory. So latency rises once there are more connections, regions or pages in use
 * than entries: the reason why RDMA does not scale to many clients by itself.
 *
 * A machine has none by default. Where one is set (`MachineOptions.nic`), each message is charged
 * with its connection; links that model RDMA charge regions and translations too.
 */

export interface CacheModel {
  readonly entries: number;
  readonly hitNs: number;
  readonly missNs: number;
}

export interface NicOptions {
  readonly connections: CacheModel;
  readonly regions: CacheModel;
  readonly translations: CacheModel;
}

/**
 * The order of magnitude of a ConnectX-class card: some hundred connections and about a thousand
 * translations on the chip, a microsecond or so per miss over PCIe.
 */
export const PLAIN_NIC: NicOptions = {
  connections: { entries: 256, hitNs: 30, missNs: 1_000 },
  regions: { entries: 512, hitNs: 20, missNs: 800 },
  translations: { entries: 1_024, hitNs: 20, missNs: 900 },
};

/** What one message makes the card look up; each is a number that names it on this card. */
export interface NicUse {
  readonly connection?: number;
  readonly region?: number;
  readonly translation?: number;
}

/** Which of so many entries were used last; the oldest goes first. */
export class LruCache {
  hits = 0;
  misses = 0;
  readonly #model: CacheModel;
  /** In the order of use, the oldest first: that is how a Map that is deleted from and set is. */
  readonly #entries: Map<number, true> = new Map();

  constructor(model: CacheModel) {
    this.#model = model;
  }

  chargeNs(key: number): number {
    const entries = this.#entries;
    if (entries.delete(key)) {
      entries.set(key, true);
      this.hits += 1;
      return this.#model.hitNs;
    }
    entries.set(key, true);
    if (entries.size > this.#model.entries) {
      for (const oldest of entries.keys()) {
        entries.delete(oldest);
        break;
      }
    }
    this.misses += 1;
    return this.#model.missNs;
  }
}

export class NicModel {
  readonly connections: LruCache;
  readonly regions: LruCache;
  readonly translations: LruCache;

  constructor(options: NicOptions = PLAIN_NIC) {
    this.connections = new LruCache(options.connections);
    this.regions = new LruCache(options.regions);
    this.translations = new LruCache(options.translations);
  }

  /** Nanoseconds that the card takes for one message, and the caches as they are after it. */
  chargeNs(use: NicUse): number {
    let ns = 0;
    if (use.connection !== undefined) ns += this.connections.chargeNs(use.connection);
    if (use.region !== undefined) ns += this.regions.chargeNs(use.region);
    if (use.translation !== undefined) ns += this.translations.chargeNs(use.translation);
    return ns;
  }
}
