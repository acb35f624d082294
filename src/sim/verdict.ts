/** How the run of one seed ended, and what it did: the material of reports. */

import type { FaultCounts } from '../runtime/simulated/faults.js';
import type { Violation } from './journal.js';

/** The exit codes of failed runs. */
export const FAILURE_EXIT = { crash: 127, liveness: 128, correctness: 129 } as const;
export type Failure = keyof typeof FAILURE_EXIT;

export interface SeedVerdict {
  readonly seed: number;
  readonly workload: string;
  readonly failure: Failure | undefined;
  readonly violations: readonly Violation[];
  /** Operations of clients that ended, by verb and code. */
  readonly endings: ReadonlyMap<string, number>;
  readonly operations: number;
  readonly injected: FaultCounts;
  readonly mattered: FaultCounts;
  readonly traceHash: number;
  readonly turns: number;
  readonly simulatedMs: number;
  /** What happened last, for people: notes of the clients and of the fault driver, and events. */
  readonly notes: readonly string[];
  readonly events: string;
}

/** A run with less than this shows too little to be counted. */
export const OPERATIONS_MIN = 1_000;
export const MATTERED_MIN = 5;

export function sum(counts: FaultCounts): number {
  return Object.values(counts).reduce((total, one) => total + one, 0);
}

export function isCounted(verdict: SeedVerdict): boolean {
  return verdict.operations >= OPERATIONS_MIN && sum(verdict.mattered) >= MATTERED_MIN;
}

/** The one command that repeats it. */
export function repeatCommand(verdict: SeedVerdict, plant: string | undefined): string {
  const planted = plant === undefined ? '' : ` --plant ${plant}`;
  return `npm run sim -- --seed ${verdict.seed} --workload ${verdict.workload}${planted}`;
}
