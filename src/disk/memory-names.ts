/**
 * Names of a node's memory files, for people who look at a machine's memory, and for processes
 * that open them: whoever opened one by the numbers of a process and a descriptor sees by the name
 * whether it is the one that was meant.
 */

import type { TableFacts } from './table-file.js';

export type MemoryFileRole = 'table' | 'frames' | 'slots';

/** Some 100 characters at most; a memory file's name may have 249. */
export function memoryFileName(
  role: MemoryFileRole,
  { memoryId, nodeId }: Pick<TableFacts, 'memoryId' | 'nodeId'>,
): string {
  return `memrack-${role}-${memoryId}-${nodeId}`;
}
