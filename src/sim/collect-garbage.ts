/**
 * Collects garbage now. A finished world leaves tens of megabytes of buffers behind, outside of the
 * heap, where the engine notices them late: without this a long run grows to gigabytes.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
