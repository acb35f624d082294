/**
 * The load that all systems answer: models of hardware, and our own code in the simulator.
 */

import { Prng } from '../../base/prng.js';

export interface Access {
  /** Counts from 0; each client has a connection of its own, where the system has connections. */
  readonly client: number;
  readonly isWrite: boolean;
  readonly bytes: number;
  readonly page: number;
  readonly region: number;
}

export interface MemorySystem {
  readonly name: string;
  readonly nowNs: number;
  access(access: Access, done: () => void): void;
  after(ns: number, then: () => void): void;
  /** Lets time pass until it is so; false if it never will be. */
  run(until: () => boolean): Promise<boolean> | boolean;
}

export interface Load {
  readonly seed: number;
  /** Operations that count. */
  readonly operations: number;
  readonly clients: number;
  /** How many are at work at one time, each with `window` operations under way. */
  readonly active: number;
  readonly window?: number;
  readonly isWrite: boolean;
  readonly bytes: number;
  readonly pages?: number;
  readonly regions?: number;
  /** Accesses that go through clients, pages and regions in turn before any counts. */
  readonly warmUp?: number;
  /** Those that count go through pages in turn too, instead of by chance: first touches. */
  readonly isInTurn?: boolean;
  /** Between the end of one access and the next of the same worker. */
  readonly pauseNs?: number;
}

export interface Outcome {
  /** Of each operation, sorted. */
  readonly latenciesNs: Float64Array;
  readonly elapsedNs: number;
  readonly goodputGbps: number;
}

/** Plays the load to its end. */
export async function play(system: MemorySystem, load: Load): Promise<Outcome> {
  const { clients, active, window = 1, pages = 1, regions = 1, warmUp = 0 } = load;
  const { operations, pauseNs = 0 } = load;
  const isInTurn = load.isInTurn === true;
  const prng = new Prng(load.seed);
  const latenciesNs = new Float64Array(operations);
  const total = warmUp + operations;
  let begun = 0;
  let done = 0;
  let startedNs = system.nowNs;
  const next = (worker: number): void => {
    if (begun >= total) return;
    const number = begun++;
    const isWarm = number >= warmUp;
    // As many clients as are at work: each is one of them. More: they take turns by chance.
    const one = active < clients ? prng.below(clients) : worker % clients;
    const access: Access = {
      client: isWarm ? one : number % clients,
      page: isWarm && !isInTurn ? prng.below(pages) : number % pages,
      region: isWarm ? prng.below(regions) : number % regions,
      isWrite: load.isWrite,
      bytes: load.bytes,
    };
    const fromNs = system.nowNs;
    system.access(access, () => {
      if (done >= warmUp) latenciesNs[done - warmUp] = system.nowNs - fromNs;
      done += 1;
      // The goodput of a load that is under way already, not of its beginning.
      if (done === warmUp) startedNs = system.nowNs;
      if (pauseNs === 0) next(worker);
      else system.after(pauseNs, () => next(worker));
    });
  };
  for (let worker = 0; worker < active; worker++) for (let i = 0; i < window; i++) next(worker);
  const isOver = await system.run(() => done === total);
  if (!isOver) throw new Error(`${system.name} stands still after ${done} of ${total} operations`);
  const elapsedNs = Math.max(1, system.nowNs - startedNs);
  latenciesNs.sort();
  return { latenciesNs, elapsedNs, goodputGbps: (operations * load.bytes * 8) / elapsedNs };
}

/** Of sorted values. */
export function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] as number;
}

export function mean(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}
