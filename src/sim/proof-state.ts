/**
 * What the long proof has done so far, kept in a file after every step, so that it can be stopped
 * and goes on where it was. Each part belongs to one commit: at another one it begins anew.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** What one part has shown, as numbers that add up. */
export interface PartState {
  readonly commit: string;
  /** In the part's own unit. */
  done: number;
  ms: number;
  /** Of simulated seeds, which follow each other. */
  readonly firstSeed: number;
  /** Sums by name, for the report. */
  readonly sums: Record<string, number>;
  /** Lines for the report. */
  readonly lines: string[];
}

export interface ProofState {
  readonly parts: Record<string, PartState>;
}

export function loadState(path: string): ProofState {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProofState;
  } catch {
    // None yet, or one that is no JSON: begin anew.
    return { parts: {} };
  }
}

export function saveState(path: string, state: ProofState): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(state, null, 2)}\n`);
}

/**
 * The part as it stands at this commit; what was shown of it at another one is dropped. One that
 * begins plays seeds from `firstSeed` on: those that were never played find more.
 */
export function partOf(state: ProofState, name: string, commit: string, firstSeed = 1): PartState {
  const known = state.parts[name];
  if (known?.commit === commit) return known;
  const part = { commit, done: 0, ms: 0, firstSeed, sums: {}, lines: [] };
  state.parts[name] = part;
  return part;
}

export function addTo(part: PartState, name: string, amount: number): void {
  part.sums[name] = (part.sums[name] ?? 0) + amount;
}
