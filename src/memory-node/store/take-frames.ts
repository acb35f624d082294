/** Takes some frames for pages that are about to be made: all of them or none. */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { sleep, type Timers } from '../../runtime/clock.js';
import { FRAME_LATER, type FramePool } from './frame-pool.js';

/** In place of a client's slot: who the frames are promised to. */
const OWN_SLOT = -2;
/** While frames are being zeroed. */
const RETRY_MS = 2;

export type FrameSource = Pick<FramePool, 'promise' | 'retireAll' | 'take'>;

export interface FrameTaking {
  readonly pool: FrameSource;
  readonly timers: Timers;
  readonly awaitFrames: () => void;
}

/** `reservation`: a number that nobody else who takes some just now has. */
export async function takeFrames(
  { pool, timers, awaitFrames }: FrameTaking,
  reservation: number,
  count: number,
): Promise<FrameIndex[] | 'there are not so many'> {
  if (!pool.promise(OWN_SLOT, reservation, count)) return 'there are not so many';
  const frames: FrameIndex[] = [];
  while (frames.length < count) {
    const frame = pool.take(OWN_SLOT, reservation);
    if (frame >= 0) {
      frames.push(frame as FrameIndex);
      continue;
    }
    assert(frame === FRAME_LATER, 'a frame that was promised is gone');
    awaitFrames();
    await sleep(timers, RETRY_MS);
  }
  return frames;
}
