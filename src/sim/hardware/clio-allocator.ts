/**
 * Clio's allocation of virtual addresses (4.4.2): a hash table for all processes, with twice as
 * many slots as pages; a range is good if none of its pages meets a full bucket, else the search
 * begins anew behind the page that met one, which is a retry. Memory is filled up, so nothing is
 * freed here.
 */

import { bucketOf, pageWord, spaceWord } from '../../disk/page-table.js';
import { CLIO } from './constants.js';

export interface ClioAllocation {
  readonly retries: number;
  /** Of the search on the ARM: every page of every try is looked at until one does not fit. */
  readonly armNs: number;
}

export class ClioAllocator {
  readonly pages: number;
  used = 0;
  readonly #counts: Uint8Array;
  readonly #mask: number;
  /** Of each process, the first page that was never tried. */
  readonly #next: Float64Array;

  /** `pages`, a power of two: of the physical memory. */
  constructor(pages: number, processes: number) {
    this.pages = pages;
    const slots = pages * CLIO.slotsPerPage.value;
    const buckets = slots / CLIO.slotsPerBucket.value;
    this.#counts = new Uint8Array(buckets);
    this.#mask = buckets - 1;
    this.#next = new Float64Array(processes);
  }

  /** Undefined: the memory is full. */
  allocate(process: number, count: number): ClioAllocation | undefined {
    if (this.used + count > this.pages) return undefined;
    let retries = 0;
    let armNs = CLIO.treeNs.value;
    let begin = this.#next[process] as number;
    for (let at = begin; at - begin < count; at++) {
      armNs += CLIO.checkNs.value;
      const bucket = this.#bucket(process, at);
      if (this.#counts[bucket] === CLIO.slotsPerBucket.value) {
        this.#give(process, begin, at);
        begin = at + 1;
        retries += 1;
        armNs += CLIO.treeNs.value;
      } else {
        this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
      }
    }
    this.#next[process] = begin + count;
    this.used += count;
    return { retries, armNs };
  }

  /** Takes the pages [begin, end) out of their buckets. */
  #give(process: number, begin: number, end: number): void {
    for (let at = begin; at < end; at++) {
      const bucket = this.#bucket(process, at);
      this.#counts[bucket] = (this.#counts[bucket] as number) - 1;
    }
  }

  #bucket(process: number, page: number): number {
    return bucketOf(pageWord(page), spaceWord(process + 1, page), this.#mask);
  }
}
