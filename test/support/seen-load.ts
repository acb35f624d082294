// Programs that use a rack in every way that its metrics tell apart.
import { connect, type ConnectOptions } from '../../src/apps/library.js';

const LINKS: readonly NonNullable<ConnectOptions['link']>[] = ['tcp', 'udp', 'auto'];
const PAGE = 65_536;
const PAGES = 8;

/** One round: first touches, reads, writes, atomics, leases, and something that is refused. */
export async function useRack(url: string): Promise<void> {
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
    } finally {
      await rack.close();
    }
  }
}

type Space = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['space']>>;

/** Nothing may be written there, and the node says so. */
async function refuseOne(space: Space, at: number): Promise<void> {
  await space.protect(at, PAGE, 'r');
  const refused = await space.write(at, Uint8Array.of(1)).then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error('a write to memory that may only be read succeeded');
}
