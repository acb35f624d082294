/** Sectors that say what was written to them, and where: each of their words does. */

export const SECTOR = 512;

export function fillSector(bytes: Uint8Array, start: number, value: number, sector: number): void {
  if (value === 0) return;
  new Float64Array(bytes.buffer, start, SECTOR / 8).fill(value * 100_000 + sector);
}

/** One, but of a torn sector. */
export function valuesOf(bytes: Uint8Array, start: number, sector: number): number[] {
  const words = new Set(new Float64Array(bytes.buffer, start, SECTOR / 8));
  return [...words].map((word) => (word === 0 ? 0 : (word - sector) / 100_000));
}
