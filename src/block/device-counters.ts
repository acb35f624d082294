/**
 * What a host counts of a device for as long as its process runs, under whatever lease. Counting
 * makes nothing: the data path does it for every read and write.
 */

import { Histogram } from '../base/histogram.js';
import { Status } from '../base/status.js';
import { DEVICE_TIME_BUCKETS, DEVICE_TIME_LEAST_S } from '../wire/limits.js';
import type { DeviceReport } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { Device } from './device.js';
import { newSlabCounts, type SlabCounts } from './kept-slab.js';

export const READ = 0;
export const WRITE = 1;
export type Kind = typeof READ | typeof WRITE;

/** Of those that are done at once one in so many is timed, and counts for all of them. */
const TIMED_EVERY = 64;
const KINDS = 2;

export class DeviceCounters {
  /** Of the writers. */
  readonly slabs: SlabCounts = newSlabCounts();
  readonly #done = new Float64Array(KINDS);
  readonly #bytes = new Float64Array(KINDS);
  readonly #errors = new Float64Array(KINDS);
  readonly #atOnce = new Uint32Array(KINDS);
  readonly #times = [timesOf(), timesOf()] as const;

  /** Something ended, that took so long. */
  ended(kind: Kind, status: Status, bytes: number, ms: number): void {
    if (status === Status.Ok) this.#add(kind, bytes);
    else this.#errors[kind] = (this.#errors[kind] as number) + 1;
    this.#times[kind].add(ms / 1000);
  }

  /** Whether the next that is done at once is to be timed. */
  isTimed(kind: Kind): boolean {
    return (this.#atOnce[kind] as number) % TIMED_EVERY === TIMED_EVERY - 1;
  }

  /** Done at once, and well; `ms` below 0: it was not timed. */
  doneAtOnce(kind: Kind, bytes: number, ms: number): void {
    this.#add(kind, bytes);
    this.#atOnce[kind] = (this.#atOnce[kind] as number) + 1;
    if (ms >= 0) this.#times[kind].add(ms / 1000, TIMED_EVERY);
  }

  /** Reads and writes that ended well. */
  get uses(): number {
    return (this.#done[READ] as number) + (this.#done[WRITE] as number);
  }

  #add(kind: Kind, bytes: number): void {
    this.#done[kind] = (this.#done[kind] as number) + 1;
    this.#bytes[kind] = (this.#bytes[kind] as number) + bytes;
  }

  /** For the controller. `now`: what is known of it at this moment. */
  report(device: number, now: DeviceNow): Fields<typeof DeviceReport> {
    const [reads = 0, writes = 0] = this.#done;
    const [bytesRead = 0, bytesWritten = 0] = this.#bytes;
    const [readErrors = 0, writeErrors = 0] = this.#errors;
    const [read, written] = this.#times.map((times) => times.counts()) as [Told, Told];
    const { degraded, away, lost, inFile, inDoubt, hot } = now.device?.states() ?? NO_STATES;
    return {
      ...{ device, reads, writes, bytesRead, bytesWritten, readErrors, writeErrors },
      ...{ readUs: microseconds(read.sum), writeUs: microseconds(written.sum) },
      ...this.slabs,
      ...{ epoch: now.epoch, waiting: now.waiting, degraded, away, lost, inFile, inDoubt, hot },
      readTimes: read.counts.map((count) => ({ count })),
      writeTimes: written.counts.map((count) => ({ count })),
    };
  }
}

type Told = ReturnType<Histogram['counts']>;

export interface DeviceNow {
  /** As long as there is a lease. */
  readonly device: Device | undefined;
  /** Of that; 0: there is none. */
  readonly epoch: number;
  readonly waiting: number;
}

const NO_STATES = { degraded: 0, away: 0, lost: 0, inFile: 0, inDoubt: 0, hot: 0 };

const microseconds = (seconds: number): number => Math.round(seconds * 1e6);

function timesOf(): Histogram {
  return new Histogram(DEVICE_TIME_LEAST_S, DEVICE_TIME_BUCKETS);
}
