/** Databases whose commits are timed: how long what is decided waits until it is durable. */
import { Histogram } from '../base/histogram.js';
import type { Clock } from '../runtime/clock.js';
import type { Database, Databases } from '../runtime/database.js';

/** From 64 microseconds, in memory, to two seconds, on a disk that is in trouble. */
const LEAST_S = 64e-6;
const BUCKETS = 16;

export class TimedDatabases implements Databases {
  /** Seconds of each commit that succeeded. */
  readonly commits = new Histogram(LEAST_S, BUCKETS);
  readonly #databases: Databases;
  readonly #clock: Clock;

  constructor(databases: Databases, clock: Clock) {
    this.#databases = databases;
    this.#clock = clock;
  }

  restore(...given: Parameters<Databases['restore']>): Promise<void> {
    return this.#databases.restore(...given);
  }

  async open(...given: Parameters<Databases['open']>): Promise<Database> {
    const database = await this.#databases.open(...given);
    return {
      select: (table, where) => database.select(table, where),
      copy: () => database.copy(),
      commit: async (changes) => {
        const beganMs = this.#clock.now();
        await database.commit(changes);
        this.commits.add((this.#clock.now() - beganMs) / 1000);
      },
      close: () => database.close(),
    };
  }
}
