/** Adds up what many seeds did, and writes it for people. */

import { FAULT_KINDS } from '../runtime/simulated/faults.js';
import { isCounted, type SeedVerdict } from './verdict.js';

interface FaultTotal {
  injected: number;
  mattered: number;
}

export class Totals {
  seeds = 0;
  counted = 0;
  /** Of all seeds, and of those that count. */
  operations = 0;
  turns = 0;
  simulatedMs = 0;
  repeated = 0;
  readonly byWorkload: Map<string, number> = new Map();
  readonly faults: Map<string, FaultTotal> = new Map();
  readonly endings: Map<string, number> = new Map();

  add(verdict: SeedVerdict): void {
    this.seeds += 1;
    if (isCounted(verdict)) {
      this.counted += 1;
      this.byWorkload.set(verdict.workload, (this.byWorkload.get(verdict.workload) ?? 0) + 1);
    }
    this.operations += verdict.operations;
    this.turns += verdict.turns;
    this.simulatedMs += verdict.simulatedMs;
    for (const kind of FAULT_KINDS) {
      if (verdict.injected[kind] === 0) continue;
      const total = this.faults.get(kind) ?? { injected: 0, mattered: 0 };
      total.injected += verdict.injected[kind];
      total.mattered += verdict.mattered[kind];
      this.faults.set(kind, total);
    }
    for (const [ending, count] of verdict.endings) {
      this.endings.set(ending, (this.endings.get(ending) ?? 0) + count);
    }
  }

  /** Faults that changed an outcome. */
  get mattered(): number {
    return [...this.faults.values()].reduce((total, one) => total + one.mattered, 0);
  }

  /** Sums by name, as plain numbers that add up. */
  sums(): Record<string, number> {
    const sums: Record<string, number> = {
      seeds: this.seeds,
      counted: this.counted,
      operations: this.operations,
      events: this.turns,
      'simulated ms': this.simulatedMs,
      'run twice': this.repeated,
    };
    for (const [name, count] of this.byWorkload) sums[`workload ${name}`] = count;
    for (const [kind, { injected, mattered }] of this.faults) {
      sums[`fault ${kind} injected`] = injected;
      sums[`fault ${kind} mattered`] = mattered;
    }
    return sums;
  }

  text(wallMs: number): string {
    const perSeed = this.seeds === 0 ? 0 : wallMs / this.seeds;
    const seconds = (wallMs / 1000).toFixed(1);
    return [
      `${this.seeds} seeds in ${seconds} s (${perSeed.toFixed(1)} ms each), of which ` +
        `${this.counted} count and ${this.seeds - this.counted} did too little to count; ` +
        `${this.repeated} were run twice and took the same course`,
      `${this.operations} client operations, ${this.turns} events, ` +
        `${(this.simulatedMs / 3_600_000).toFixed(2)} simulated hours`,
      `workloads: ${pairs(this.byWorkload)}`,
      `faults (injected / changed an outcome): ${this.#faultText()}`,
      `endings: ${pairs(this.endings)}`,
    ].join('\n');
  }

  #faultText(): string {
    const entries = [...this.faults].sort((a, b) => b[1].mattered - a[1].mattered);
    return entries
      .map(([kind, { injected, mattered }]) => `${kind} ${injected}/${mattered}`)
      .join(', ');
  }
}

function pairs(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
