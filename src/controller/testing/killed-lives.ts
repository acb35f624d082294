/** Lives of a controller that is killed at its commits, one after the other on one database. */

import type { Controller } from '../controller.js';
import { type FakeRack, settled } from './fake-rack.js';

export type Side = 'before' | 'after';

/**
 * One life per entry of `kills`, each killed just before, or just after, that commit of it is on
 * disk. What a life lives may never end. Returns what was thrown in any of them.
 */
export async function killedLives(
  rack: FakeRack,
  kills: readonly number[],
  side: Side,
  live: (controller: Controller) => Promise<void>,
): Promise<readonly unknown[]> {
  const broken: unknown[] = [];
  for (const at of kills) {
    let left = at;
    const hit = (): void => {
      if (left-- === 0) rack.kill();
    };
    rack.databases.beforeCommit = side === 'before' ? hit : () => undefined;
    rack.databases.afterCommit = side === 'after' ? hit : () => undefined;
    const controller = await Promise.race([rack.start(), settled()]);
    if (controller !== undefined) live(controller).catch((why: unknown) => broken.push(why));
    await settled();
    await settled();
  }
  rack.databases.beforeCommit = () => undefined;
  rack.databases.afterCommit = () => undefined;
  return broken;
}
