/**
 * Transfers by the I/O thread: as many items at a time as the port has room for. An item that has
 * room in the port is never cut, so that a write of it is all or nothing where that of a space is.
 */

import type { Memory } from '../../runtime/memory.js';
import type { MemrackError } from '../error.js';
import type { Channel } from './channel.js';
import { Ask, highOf, ITEM_WORDS, ITEMS_MAX, lowOf } from './port.js';

const WORD_BYTES = 8;

/** `bytes` of the buffer from `start` on, and where they belong. */
export interface Part {
  readonly at: number;
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly bytes: number;
}

export type TransferKind = typeof Ask.Read | typeof Ask.Write;

export class Batches {
  /** Of the last `move`: those that were done. */
  done = 0;
  readonly #channel: Channel;
  readonly #memory: Memory;
  /** What comes next: a part, and how much of it is done. */
  #index = 0;
  #offset = 0;

  constructor(channel: Channel, memory: Memory) {
    this.#channel = channel;
    this.#memory = memory;
  }

  /** In their order, until one fails. The channel is prepared for the first batch. */
  move(kind: TransferKind, parts: readonly Part[], what: string): MemrackError | undefined {
    const channel = this.#channel;
    this.done = 0;
    this.#index = 0;
    this.#offset = 0;
    while (this.#index < parts.length) {
      const index = this.#index;
      const offset = this.#offset;
      const items = this.#fill(kind, parts);
      if (!channel.ask(kind, items)) return channel.unanswered(what, kind === Ask.Write);
      const failure = channel.failure(what);
      if (failure !== undefined) return failure;
      if (kind === Ask.Read) this.#empty(parts, index, offset, items);
      this.done += 1;
    }
    return undefined;
  }

  /** Puts the next items into the port; how many there are. */
  #fill(kind: TransferKind, parts: readonly Part[]): number {
    const { items, data } = this.#channel.port;
    let count = 0;
    for (let used = 0; this.#index < parts.length && count < ITEMS_MAX; count++) {
      const part = parts[this.#index] as Part;
      const at = part.at + this.#offset;
      const left = part.bytes - this.#offset;
      const room = data.length - used;
      if (left > room && count > 0) break;
      // An aligned word is never cut.
      const bytes = left > room ? room - ((at + room) % WORD_BYTES) : left;
      const item = count * ITEM_WORDS;
      items[item] = lowOf(at);
      items[item + 1] = highOf(at);
      items[item + 2] = bytes;
      items[item + 3] = used;
      if (kind === Ask.Write) {
        this.#memory.copy(data, used, part.buffer, part.start + this.#offset, bytes);
      }
      used += Math.ceil(bytes / WORD_BYTES) * WORD_BYTES;
      this.#offset += bytes;
      if (this.#offset < part.bytes) continue;
      this.#index += 1;
      this.#offset = 0;
    }
    return count;
  }

  /** Takes what was read out of the port. */
  #empty(parts: readonly Part[], first: number, offset: number, count: number): void {
    const { items, data } = this.#channel.port;
    let index = first;
    let done = offset;
    for (let i = 0; i < count; i++) {
      const part = parts[index] as Part;
      const bytes = items[i * ITEM_WORDS + 2] as number;
      const from = items[i * ITEM_WORDS + 3] as number;
      this.#memory.copy(part.buffer, part.start + done, data, from, bytes);
      done += bytes;
      if (done < part.bytes) continue;
      index += 1;
      done = 0;
    }
  }
}
