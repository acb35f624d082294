/**
 * CRC-32C (Castagnoli, the polynomial of iSCSI and of the processors' instruction), in TypeScript:
 * eight tables, eight bytes per step. The real runtime uses a native library for long ranges; for
 * the short headers of messages this is faster than the way into a native.
 */

const POLYNOMIAL_REVERSED = 0x82f63b78;
const TABLE_ENTRIES = 256;

/** `tables[k * 256 + b]` is what byte `b` contributes when `k` more bytes follow it. */
const tables = buildTables();

function buildTables(): Int32Array {
  const made = new Int32Array(8 * TABLE_ENTRIES);
  for (let byte = 0; byte < TABLE_ENTRIES; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 1) !== 0 ? (crc >>> 1) ^ POLYNOMIAL_REVERSED : crc >>> 1;
    }
    made[byte] = crc;
  }
  for (let i = TABLE_ENTRIES; i < made.length; i++) {
    const before = made[i - TABLE_ENTRIES] as number;
    made[i] = (made[before & 0xff] as number) ^ (before >>> 8);
  }
  return made;
}

/**
 * The checksum of `bytes[start, end)`, continuing from `seed` (0 to begin): an integer in
 * [0, 2^32). A checksum of two parts, the second seeded with the first, is that of the whole.
 */
export function crc32c(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let crc = ~seed;
  let at = start;
  const wide = end - 7;
  for (; at < wide; at += 8) crc = stepOfEight(crc, bytes, at);
  for (; at < end; at++) {
    crc = (tables[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

function stepOfEight(crc: number, bytes: Uint8Array, at: number): number {
  return (
    (tables[1792 + ((crc ^ (bytes[at] as number)) & 0xff)] as number) ^
    (tables[1536 + (((crc >>> 8) ^ (bytes[at + 1] as number)) & 0xff)] as number) ^
    (tables[1280 + (((crc >>> 16) ^ (bytes[at + 2] as number)) & 0xff)] as number) ^
    (tables[1024 + ((crc >>> 24) ^ (bytes[at + 3] as number))] as number) ^
    (tables[768 + (bytes[at + 4] as number)] as number) ^
    (tables[512 + (bytes[at + 5] as number)] as number) ^
    (tables[256 + (bytes[at + 6] as number)] as number) ^
    (tables[bytes[at + 7] as number] as number)
  );
}
