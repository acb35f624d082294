/**
 * Memory fills up, one allocation after the other: how often each has to look on because a bucket
 * of the page table is full (figure 4.13). Ours is the chooser that memory nodes run.
 */

import { Prng } from '../../base/prng.js';
import { AddressChooser } from '../../memory-node/slow/address-chooser.js';
import { ClioAllocator } from './clio-allocator.js';
import { CLIO } from './constants.js';

export interface Filling {
  /** Percent of the memory, at the middle of each twentieth. */
  readonly percent: number[];
  readonly mean: number[];
  readonly most: number[];
}

const PROCESSES = 16;
const REGION_BYTES = 2 ** 30;
/** Steps of five percent. */
const STEPS_PER_WHOLE = 20;

class Tally {
  readonly #sums: number[] = [];
  readonly #counts: number[] = [];
  readonly #most: number[] = [];

  /** `part` of the memory was in use before the allocation. */
  note(part: number, retries: number): void {
    const step = Math.floor(part * STEPS_PER_WHOLE);
    this.#sums[step] = (this.#sums[step] ?? 0) + retries;
    this.#counts[step] = (this.#counts[step] ?? 0) + 1;
    this.#most[step] = Math.max(this.#most[step] ?? 0, retries);
  }

  filling(): Filling {
    const steps = this.#counts.flatMap((_, step) => [step]);
    return {
      percent: steps.map((step) => ((step + 0.5) * 100) / STEPS_PER_WHOLE),
      mean: steps.map((step) => (this.#sums[step] ?? 0) / (this.#counts[step] ?? 1)),
      most: steps.map((step) => this.#most[step] ?? 0),
    };
  }
}

/** Clio's table and search, `count` pages at a time. */
export function fillClio(seed: number, count: number): Filling {
  const prng = new Prng(seed);
  const pages = CLIO.physicalBytes.value / CLIO.pageBytes.value;
  const allocator = new ClioAllocator(pages, PROCESSES);
  const tally = new Tally();
  for (;;) {
    const part = allocator.used / pages;
    const allocation = allocator.allocate(prng.below(PROCESSES), count);
    if (allocation === undefined) return tally.filling();
    tally.note(part, allocation.retries);
  }
}

export interface OurFilling {
  readonly seed: number;
  /** Pages at a time, of as many bytes as Clio's. */
  readonly count: number;
  readonly entriesPerPage: number;
  /** How much may be allocated, as a multiple of the memory. */
  readonly overcommit: number;
}

/** Our chooser, on a table of so many entries per page of memory, in regions of 1 GiB. */
export function fillOurs({ seed, count, entriesPerPage, overcommit }: OurFilling): Filling {
  const prng = new Prng(seed);
  const pages = CLIO.physicalBytes.value / CLIO.pageBytes.value;
  const chooser = new AddressChooser({
    pagesPerRegion: REGION_BYTES / CLIO.pageBytes.value,
    bucketMask: (pages * entriesPerPage) / CLIO.slotsPerBucket.value - 1,
    commitLimit: pages * overcommit,
  });
  const regions = Array.from({ length: PROCESSES }, () => 0);
  let lastRegion = 0;
  const tally = new Tally();
  while (chooser.committed + count <= pages * overcommit) {
    const part = chooser.committed / pages;
    const process = prng.below(PROCESSES);
    let retries = 0;
    for (;;) {
      const region = regions[process] as number;
      const page = region === 0 ? -1 : chooser.choose(process + 1, region, count, 0);
      if (region !== 0) retries += chooser.retries;
      if (page >= 0) break;
      // What is left of the region does not do: the process is granted another one.
      regions[process] = lastRegion += 1;
      chooser.addRegion(process + 1, lastRegion);
    }
    tally.note(part, retries);
  }
  return tally.filling();
}
