/** What the process of a memory node is called, and how it ends when it cannot begin, or go on. */

export const MEMORY_NODE_ROLE = 'memory-node';

/** The memory cannot be taken over: starting again would not help. */
export const EXIT_CANNOT_ADOPT = 10;
/** What is stored is not known any more to be on the disk. */
export const EXIT_STORAGE_FAILED = 11;

/** The node cannot be started here; the message says why and what to do. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart';
}
