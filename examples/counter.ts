/**
 * Several processes count together: start it in as many terminals as you like.
 *
 *   npm run build && node examples/counter.ts   (Node 22.18 or later; or copy it as .mjs)
 */
import { createHash } from 'node:crypto';
import { connect } from 'memrack';

const STEPS = 10_000;

const rack = await connect(process.env['MEMRACK_URL'] ?? 'memrack://127.0.0.1:7070');
const space = await rack.space('counter', { create: true });

// Everybody needs the same address: the directory of files can name it, as it names any file.
const place = await rack.files.get('counter').catch(() => undefined);
const at = place?.address ?? (await space.alloc(4096));
if (place === undefined) {
  const sha256 = createHash('sha256').update(new Uint8Array(8)).digest('hex');
  await rack.files.put([{ key: 'counter', space: space.id, address: at, length: 8, sha256 }]);
}

// Not awaited one by one: they are sent together, and executed in order.
const began = performance.now();
for (let i = 0; i < STEPS; i++) void space.fetchAndAdd(at, 1n);
await space.release();
const ms = performance.now() - began;

console.log(
  `${await space.fetchAndAdd(at, 0n)} steps by all, ${STEPS} by me in ${ms.toFixed(0)} ms`,
);
await rack.close();
