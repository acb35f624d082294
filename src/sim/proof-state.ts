/**
 * What the long proof has done so far, kept in a file after every step, so that it can be stopped
 * and goes on where it was. It belongs to one commit: another one begins anew.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** What one part has shown, as numbers that add up. */
export interface PartState {
  /** In the part's own unit. */
  done: number;
  ms: number;
  /** Sums by name, for the report. */
  readonly sums: Record<string, number>;
  /** Lines for the report. */
  readonly lines: string[];
}

export interface ProofState {
  readonly commit: string;
  readonly isShort: boolean;
  readonly parts: Record<string, PartState>;
}

export function loadState(path: string, commit: string, isShort: boolean): ProofState {
  const empty: ProofState = { commit, isShort, parts: {} };
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as ProofState;
    return state.commit === commit && state.isShort === isShort ? state : empty;
  } catch {
    // None yet, or one that is no JSON: begin anew.
    return empty;
  }
}

export function saveState(path: string, state: ProofState): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(state, null, 2)}\n`);
}

export function partOf(state: ProofState, name: string): PartState {
  const part = (state.parts[name] ??= { done: 0, ms: 0, sums: {}, lines: [] });
  return part;
}

export function addTo(part: PartState, name: string, amount: number): void {
  part.sums[name] = (part.sums[name] ?? 0) + amount;
}
