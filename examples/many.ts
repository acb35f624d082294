/**
 * Many operations in flight: one round trip for a thousand reads, and what failed in one place.
 *
 *   npm run build && node examples/many.ts   (Node 22.18 or later; or copy it as .mjs)
 */
import { connect } from 'memrack';

const RECORDS = 1000;
const RECORD_BYTES = 256;

const rack = await connect(process.env['MEMRACK_URL'] ?? 'memrack://127.0.0.1:7070');
const space = await rack.space('records', { create: true });
const at = await space.alloc(RECORDS * RECORD_BYTES);

await space.writeMany(
  Array.from({ length: RECORDS }, (_, i) => ({
    at: at + i * RECORD_BYTES,
    from: new Uint8Array(RECORD_BYTES).fill(i),
  })),
);
const reads = Array.from({ length: RECORDS }, (_, i) => ({
  at: at + i * RECORD_BYTES,
  into: new Uint8Array(RECORD_BYTES),
}));
await space.readMany(reads);
const right = reads.filter(({ into }, i) => into.every((byte) => byte === (i & 0xff))).length;
console.log(`${right} of ${RECORDS} records came back`);

// A call that nobody awaits ends nothing; the next release says what failed.
void space.write(at + 2 ** 40, new Uint8Array(8));
try {
  await space.release();
} catch (error) {
  if (!(error instanceof Error && 'code' in error)) throw error;
  console.log(`${String(error.code)}: ${error.message}`);
}

await space.free(at);
await rack.close();
