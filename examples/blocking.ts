/**
 * A thread without an event loop: every verb is done, or has thrown, when it returns. Memory of
 * this machine is reached by the thread itself; the main thread serves the rest.
 *
 *   npm run build && node examples/blocking.ts   (Node 22.18 or later; or copy it as .mjs)
 */
import { once } from 'node:events';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { connect, joinBlocking } from 'memrack';

const STEPS = 10_000;
const THREADS = 2;

async function main() {
  const rack = await connect(process.env['MEMRACK_URL'] ?? 'memrack://127.0.0.1:7070');
  const space = await rack.space('blocking', { create: true });
  const at = await space.alloc(4096);

  const threads = Array.from({ length: THREADS }, async () => {
    const port = space.blocking();
    const { start } = port;
    const worker = new Worker(new URL(import.meta.url), { workerData: { start, at } });
    await once(worker, 'exit');
    // Also where it was ended by force: nothing of it is held any more.
    await port.ended();
  });
  await Promise.all(threads);

  console.log(`${await space.fetchAndAdd(at, 0n)} steps by ${THREADS} threads`);
  await space.free(at);
  await rack.close();
}

function count() {
  const { start, at } = workerData;
  const space = joinBlocking(start);
  for (let i = 0; i < STEPS; i++) space.fetchAndAdd(at, 1n);
  space.close();
}

if (isMainThread) await main();
else count();
