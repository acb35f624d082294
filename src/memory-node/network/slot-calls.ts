/**
 * Attach and detach: a thread of another process of this machine gets a slot and the names of the
 * node's memory files, with which it can read and write without the node.
 */

import { Status } from '../../base/status.js';
import type { TableFile } from '../../disk/table-file.js';
import type { Address } from '../../runtime/network.js';
import { MessageType } from '../../wire/messages.js';
import type { Slots } from '../store/slots.js';
import type { CallServer } from './call-server.js';

/** For `Memory.open`. */
export interface MemoryNames {
  readonly table: string;
  readonly frames: string;
  readonly slots: string;
}

/** What threads that attach are given. */
export interface Given {
  readonly slots: Slots;
  readonly memoryNames: MemoryNames;
  /** An address of this process that only threads like those can reach; empty: none. */
  ring: Address;
}

export function serveSlots(
  server: CallServer,
  table: TableFile,
  given: Given,
  isDurable: boolean,
): void {
  const { slots, memoryNames } = given;
  const { incarnation } = table;
  server.serve(MessageType.Attach, ({ token, identity }, { client }) => {
    const slot = slots.give({ client, token, identity });
    if (typeof slot !== 'number') return slot;
    const { ring } = given;
    const files = { isDurable: isDurable ? 1 : 0, ...memoryNames };
    return { status: Status.Ok, slot, incarnation, ...files, ring };
  });
  server.serve(MessageType.Detach, ({ token, slot }) => {
    if (slots.takeBack(slot, token)) return { status: Status.Ok };
    return { status: Status.NotFound, reason: 'the slot is not of the thread with this token' };
  });
}
