/** Which parts of a file are flushed: each range is a call to the system. */

import type { FileRange } from '../../runtime/durable.js';

/** The same bytes in as few ranges as possible. None is in two of them. */
export function merged(ranges: readonly FileRange[]): FileRange[] {
  const found: { offset: number; bytes: number }[] = [];
  for (const { offset, bytes } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = found.at(-1);
    if (last !== undefined && last.offset + last.bytes === offset) last.bytes += bytes;
    else found.push({ offset, bytes });
  }
  return found;
}
