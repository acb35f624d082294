/** For tests only: what a host tells of a device. */

import { DEVICE_TIME_BUCKETS } from '../../wire/limits.js';
import type { Note } from '../hosts.js';

/** So many that took as long as the bucket says. */
export function timesOf(bucket: number, count: number): Note['readTimes'] {
  return Array.from({ length: DEVICE_TIME_BUCKETS + 1 }, (_, i) => {
    return { count: i === bucket ? count : 0 };
  });
}

export function noteOf(device: number, more: Partial<Note> = {}): Note {
  return {
    ...{
      device,
      epoch: 1,
      waiting: 0,
      degraded: 0,
      away: 0,
      lost: 0,
      inFile: 0,
      inDoubt: 0,
      hot: 0,
    },
    ...{ reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0, readErrors: 0, writeErrors: 0 },
    ...{ readUs: 0, writeUs: 0, readTimes: timesOf(0, 0), writeTimes: timesOf(0, 0) },
    ...{ copiesMade: 0, copiesLost: 0, blocksRepaired: 0, blocksDamaged: 0 },
    ...more,
  };
}
