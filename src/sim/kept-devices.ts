/** Devices with backups are made on the machine of the host that is to have the files. */

import { createDevice } from '../block/manage.js';
import { MemrackError } from '../client/error.js';
import { connectRack } from '../client/rack.js';
import { sleep } from '../runtime/clock.js';
import type { SimulatedRack } from './rack.js';

const CALL_MS = 10_000;
const AGAIN_MS = 20;

export async function makeKeptDevices({ world, shape, hosts, url }: SimulatedRack): Promise<void> {
  const [host] = hosts;
  const kept = (shape.devices ?? []).filter(({ backup }) => backup !== undefined);
  if (host === undefined || kept.length === 0) return;
  const { runtime } = world.program(host.machine, 'device-maker');
  for (const device of kept) {
    for (let attempt = 1, isThere = false; !isThere; attempt++) {
      try {
        const rack = await connectRack(runtime, url, { timeoutMs: CALL_MS });
        // Whose making ended unknown may be the one that counts.
        await createDevice(rack.core, { ...device, backup: `${device.backup}.${attempt}` });
        isThere = true;
      } catch (error) {
        if (!(error instanceof MemrackError)) throw error;
        isThere = error.code === 'Exists';
        if (!isThere) await sleep(runtime.timers, AGAIN_MS);
      }
    }
  }
}
