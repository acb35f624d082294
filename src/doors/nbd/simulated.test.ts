// The door and its client on the simulated rack: streams whose buffers move, that arrive in pieces,
// and that break.
import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { MiB } from '../../base/units.js';
import { sleep } from '../../runtime/clock.js';
import { FaultKind, type FaultRates, SimulatedWorld } from '../../runtime/simulated/world.js';
import { NbdDoor } from './door.js';
import { NbdClient } from './testing/client.js';
import { MemoryBackend, MemoryExports } from '../testing/memory-backend.js';
import { someBytes } from './testing/rig.js';

const SPLITS: FaultRates = { [FaultKind.StreamSplit]: 200_000 };
const BREAKS: FaultRates = { ...SPLITS, [FaultKind.StreamReset]: 3_000 };

function rigOf(seed: number, faults: FaultRates) {
  const world = new SimulatedWorld({ seed, shake: true, faults, immediate: setImmediate });
  const [here, there] = [world.machine('here'), world.machine('there')];
  const near = world.program(here, 'client').runtime;
  const { runtime } = world.program(there, 'door');
  const prng = new Prng(seed);
  const backend = new MemoryBackend(runtime.timers, { bytes: 2 * MiB, name: 'disk', seed });
  backend.lateMs = () => prng.fraction() * prng.below(3);
  const exports = new MemoryExports(backend);
  const door = new NbdDoor({ runtime, exports });
  const address = `tcp://${there.host}:10809`;
  const drive = <T>(body: Promise<T>): Promise<T> => world.drive(body, { turns: 20_000_000 });
  return { near, backend, exports, door, address, drive };
}

async function playOnce(rig: ReturnType<typeof rigOf>, prng: Prng): Promise<boolean> {
  const { near, address, backend } = rig;
  const client = await NbdClient.connect(near.network, address);
  if (prng.below(2) === 0) await client.structured();
  if (typeof (await client.go('disk')) === 'number') return false;
  const model = backend.content.slice();
  const pieces = Array.from({ length: 8 }, (_, i) => {
    const bytes = someBytes(prng.between(1, 200_000), prng.u32());
    model.set(bytes, i * 256 * 1024);
    return client.write(i * 256 * 1024, bytes);
  });
  const answers = await Promise.all(pieces);
  const { error, data } = await client.read(0, 2 * MiB);
  const isWhole = error === 0 && answers.every((answer) => answer.error === 0);
  expect(client.violation).toBeUndefined();
  if (isWhole) expect(Buffer.compare(data, model)).toBe(0);
  client.disconnect();
  return isWhole;
}

test('what was written is read, however it travels', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const rig = rigOf(seed, SPLITS);
    await rig.drive(rig.door.listen(rig.address));
    expect(await rig.drive(playOnce(rig, new Prng(seed)))).toBe(true);
    await rig.drive(rig.door.stop());
    expect([rig.door.sessions, rig.door.pool.taken, rig.exports.users]).toEqual([0, 0, 0]);
  }
});

test('connections that break leave nothing behind', async () => {
  let broken = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const rig = rigOf(seed, BREAKS);
    await rig.drive(rig.door.listen(rig.address));
    for (let i = 0; i < 5; i++) {
      // What the device was told before a connection broke is done by then.
      await rig.drive(sleep(rig.near.timers, 10));
      if (!(await rig.drive(playOnce(rig, new Prng(seed * 10 + i))))) broken++;
    }
    await rig.drive(sleep(rig.near.timers, 20_000));
    await rig.drive(rig.door.stop());
    expect([rig.door.sessions, rig.door.pool.taken, rig.exports.users]).toEqual([0, 0, 0]);
    expect(rig.door.counters.malformed).toBe(0);
  }
  expect(broken).toBeGreaterThan(3);
});
