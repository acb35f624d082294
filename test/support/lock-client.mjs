// A client that counts under a lock, in a process of its own that may be killed or stopped at any
// moment. It ends after so many rounds,
// or when its input ends, and tells every step through a synchronous write:
//   h EPOCH          holds the lock
//   p EPOCH VALUE    published VALUE, which nobody else can have done
//   u EPOCH VALUE    may have published it     l EPOCH   lost the lock     d   done
import { writeSync } from 'node:fs';
import { connect } from 'memrack';
import { endProcess } from '../../dist/runtime/node/end-process.js';

const [url, name, place, rounds] = process.argv.slice(2);
const lockAt = Number(place);
const plainAt = lockAt + 8;
const publishedAt = lockAt + 16;

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

const rack = await connect(url, { timeoutMs: 8000 });
const space = await rack.space(name);
const wordAt = async (at) => Buffer.from(await space.read(at, 8)).readBigUInt64LE();

/** Read, then write: only the lock makes it right, and only as long as it is held. */
async function countPlainly() {
  const next = Buffer.alloc(8);
  next.writeBigUInt64LE((await wordAt(plainAt)) + 1n);
  await space.write(plainAt, next);
}

/** The word carries the epoch: who holds the lock no more changes nothing. */
async function publish(epoch) {
  const before = await wordAt(publishedAt);
  if (Number(before >> 32n) > epoch) return tell(`l ${epoch}`);
  const value = (before & 0xffffffffn) + 1n;
  try {
    const found = await space.compareAndSwap(publishedAt, before, (BigInt(epoch) << 32n) | value);
    tell(`${found === before ? 'p' : 'l'} ${epoch} ${value}`);
  } catch (error) {
    tell(`${error.outcome === 'unknown' ? 'u' : 'l'} ${epoch} ${value}`);
  }
}

let isEnding = false;
process.stdin.on('end', () => (isEnding = true)).resume();

for (let round = 0; round < Number(rounds) && !isEnding; round++) {
  const held = await space.lock(lockAt).acquire({ leaseMs: 300, waitMs: 60_000 });
  tell(`h ${held.epoch}`);
  try {
    await countPlainly();
    await publish(held.epoch);
    await held.release();
  } catch (error) {
    if (error.code !== 'Stale') throw error;
    tell(`l ${held.epoch}`);
  }
}
tell('d');
await rack.close();
endProcess(0);
