/** A mean of both, with weights that sum to 1: the more time has passed, the less of `old`. */
export function smoothed(old: number, value: number, passedMs: number, overMs: number): number {
  return (old * overMs + value * passedMs) / (overMs + passedMs);
}
