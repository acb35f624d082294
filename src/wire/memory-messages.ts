/** What lends memory in the rack, for those who place things by themselves. */

import * as limits from './limits.js';
import { list, pad, struct, text, u8, u32, u53 } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

export const MemoryFacts = struct('MemoryFacts', 40, {
  memoryId: u53, // 0: that of this node is gone for good.
  bytesLent: u53,
  bytesUsed: u53,
  bytesCommitted: u53,
  state: u32, // Of `NodeState`.
  isDisk: u8, // 1: it is on a disk, for spaces of the persistent kind.
  reserved: pad(3),
  node: name,
  address: name,
  machine: name,
});
/**
 * Memory nodes whose ids are greater than `after`. Who is not among them is gone for good with its
 * memory. Unavailable: the controller cannot say now, because its database may be an older one.
 */
export const ListMemoriesRequest = struct('ListMemoriesRequest', 0, { after: name });
export const ListMemoriesReply = struct('ListMemoriesReply', 8, {
  more: u8, // 1: ask again after the last node.
  reserved: pad(7),
  memories: list(MemoryFacts, limits.NODES_MAX),
});
