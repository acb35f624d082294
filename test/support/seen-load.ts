// Programs that use a rack in every way that its metrics tell apart.
import { rmSync } from 'node:fs';
import { connect, type ConnectOptions } from '../../src/apps/library.js';
import { createDevice, deviceUri, listDevices, seeDevices } from '../../src/block/manage.js';
import { NbdClient } from '../../src/doors/nbd/testing/client.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { startRack, type TestRack, until } from './rack.js';
import { makeSweptFolder } from './swept-folder.js';

const LINKS: readonly NonNullable<ConnectOptions['link']>[] = ['tcp', 'udp', 'auto'];
const PAGE = 65_536;
const PAGES = 8;
/** So long a host keeps a device that nobody uses. */
const LINGER_MS = 2_200;
const runtime = createRuntime({ logLevel: 'error' });

/** A rack that has everything to show: a disk, too, on a file system that status speaks of. */
export async function startSeenRack(): Promise<TestRack> {
  const folder = makeSweptFolder('/dev/shm', 'memrack-seen-');
  const clear = (): void => rmSync(folder, { recursive: true, force: true });
  const nbd = ['--nbd-port', '0'];
  const disk = ['--data', `${folder}/rack`, '--persistent-nodes', '1', '--unproven-file-system'];
  try {
    const rack = await startRack({ nodes: 2, extra: [...nbd, ...disk] });
    // A host that has a lease still when its nodes end waits for them.
    const letGo = () => new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    return { ...rack, stop: () => letGo().then(rack.stop).finally(clear) };
  } catch (error) {
    clear();
    throw error;
  }
}

/**
 * One round: first touches, reads, writes, atomics, leases, something that is refused, a flush, and
 * a region that moves; a block device meanwhile.
 */
export async function useRack(url: string): Promise<void> {
  const device = await useDevice(url);
  for (const link of LINKS) {
    const rack = await connect(url, { link });
    try {
      const space = await rack.space(`load-${link}`, { create: true });
      const at = await space.alloc(PAGES * PAGE);
      const bytes = new Uint8Array(PAGE).fill(7);
      for (let page = 0; page < PAGES; page++) await space.write(at + page * PAGE, bytes);
      for (let i = 0; i < 200; i++) await space.read(at + (i % PAGES) * PAGE, 64);
      await space.fetchAndAdd(at, 1n);
      await refuseOne(space, at);
      const lease = await rack.lease(`lease-${link}`, { space });
      await lease.release();
      await space.free(at);
      if (link === 'tcp') await flushOne(rack);
    } finally {
      await rack.close();
    }
  }
  await moveOne(url, 'load-tcp');
  device.disconnect();
}

async function useDevice(url: string): Promise<NbdClient> {
  const rack = await connect(url);
  try {
    const devices = await listDevices(rack.core);
    const wish = { name: 'disk', bytes: 64 * PAGE, copies: 2 };
    if (devices.length === 0) await createDevice(rack.core, wish);
    const { host } = new URL(await deviceUri(rack.core, wish.name));
    const client = await NbdClient.connect(runtime.network, `tcp://${host}`);
    await client.structured();
    await client.go(wish.name);
    for (let page = 0; page < PAGES; page++) {
      await client.write(page * PAGE, new Uint8Array(PAGE).fill(page));
      await client.read(page * PAGE, PAGE);
    }
    // Its host tells of it with its next heartbeat.
    await until(10_000, async () => {
      const [seen] = (await seeDevices(rack.core)) as { slabs?: object }[];
      return seen?.slabs;
    });
    return client;
  } finally {
    await rack.close();
  }
}

async function flushOne(rack: Rack): Promise<void> {
  const space = await rack.space('load-kept', { create: true, kind: 'persistent' });
  const at = await space.alloc(PAGE);
  await space.write(at, Uint8Array.of(7));
  await space.flush(at, PAGE);
  await space.free(at);
}

interface Held {
  readonly region: number;
  readonly node: string;
}

/** To the other one of two nodes; one that has just gone there may be refused. */
async function moveOne(url: string, space: string): Promise<void> {
  const http = url.replace('memrack:', 'http:');
  const regions = (await (await fetch(`${http}/v1/regions?space=${space}`)).json()) as Held[];
  const [held] = regions;
  if (held === undefined) throw new Error(`${space} has no region`);
  const to = held.node === 'node-1' ? 'node-2' : 'node-1';
  const answer = await fetch(`${http}/v1/moves`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ space, region: held.region, to }),
  });
  if (![200, 409, 503].includes(answer.status)) throw new Error(await answer.text());
}

type Rack = Awaited<ReturnType<typeof connect>>;
type Space = Awaited<ReturnType<Rack['space']>>;

/** Nothing may be written there, and the node says so. */
async function refuseOne(space: Space, at: number): Promise<void> {
  await space.protect(at, PAGE, 'r');
  const refused = await space.write(at, Uint8Array.of(1)).then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error('a write to memory that may only be read succeeded');
}
