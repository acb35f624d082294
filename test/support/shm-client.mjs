// A client that writes a range by loads and stores, in a process of its own: page after page, as
// fast as it can. It says `ready` when every page is written, and ends with its input.
import { connect } from 'memrack';
import { endProcess } from '../../dist/runtime/node/end-process.js';

const [url, name, from, length] = process.argv.slice(2);
const at = Number(from);
const bytes = Number(length);
process.stdin.on('end', () => endProcess(0)).resume();

const rack = await connect(url, { link: 'shm', timeoutMs: 8000 });
const space = await rack.space(name);
const { pageBytes } = space;
const page = new Uint8Array(pageBytes).fill(7);
const pages = Array.from({ length: bytes / pageBytes }, (_, i) => at + i * pageBytes);

for (const place of pages) await space.write(place, page);
process.stdout.write('ready\n');
for (;;) {
  for (const place of pages) {
    try {
      await space.write(place, page);
    } catch (error) {
      // Freed, or its node away: what there still is to write is written.
      if (error.code === 'Closed') throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
