// A client of the kill loop, in a process of its own that may be killed at any moment. It writes
// rising numbers into its slots, and tells every step through a synchronous write, so that what it
// was told to be done is known outside even if it dies at once:
//   t SLOT VALUE   about to write      a SLOT VALUE   acknowledged      u SLOT VALUE   not known
//   n SLOT VALUE   refused, so not written             l                 the memory is gone
import { writeSync } from 'node:fs';
import { connect } from 'memrack';
import { endProcess } from '../../dist/runtime/node/end-process.js';

const [url, name, place, count, start, link] = process.argv.slice(2);
const at = Number(place);
const slots = Number(count);
const SLOT_BYTES = 4096 + 8;

function tell(line) {
  const bytes = Buffer.from(`${line}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

const rack = await connect(url, { timeoutMs: 8000, link });
const space = await rack.space(name);

async function fill(slot) {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  for (let value = Number(start); ; value++) {
    view.setBigUint64(0, BigInt(value), true);
    tell(`t ${slot} ${value}`);
    try {
      await space.write(at + slot * SLOT_BYTES, bytes);
      tell(`a ${slot} ${value}`);
    } catch (error) {
      if (error.code === 'DataLost') {
        tell('l');
        return;
      }
      tell(`${error.outcome === 'unknown' ? 'u' : 'n'} ${slot} ${value}`);
    }
    // So that the one who reads all this can keep up.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

process.on('disconnect', () => endProcess(0));
await Promise.all(Array.from({ length: slots }, (_, slot) => fill(slot)));
await rack.close();
endProcess(0);
