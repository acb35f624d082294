/**
 * Operations that came back because their region has moved to another node: nothing of them was
 * executed. They wait here, in their old order, until they can be started there.
 */

import { Status } from '../base/status.js';
import type { CompletionSink, Link, OperationColumns, Window } from '../fabric/link.js';
import { MessageType } from '../wire/messages.js';
import type { Unflushed } from './unflushed.js';

interface PutBack {
  readonly type: number;
  readonly sink: CompletionSink;
  readonly token: number;
  readonly address: number;
  readonly bytes: number;
  readonly buffer: Uint8Array | undefined;
  readonly start: number;
  readonly operands: Int32Array;
  readonly deadline: number;
  readonly order: number;
}

export class PutBacks {
  #waiting: PutBack[] = [];

  get count(): number {
    return this.#waiting.length;
  }

  /** Copies what is to be done out of the place of a ring. */
  add(sink: CompletionSink, from: MovedPlace): void {
    const { ring, place, offset, bytes, token } = from;
    this.#waiting.push({
      type: ring.type[place] as number,
      sink,
      token,
      address: (ring.address[place] as number) + offset,
      bytes,
      buffer: ring.buffer[place],
      start: (ring.start[place] as number) + offset,
      operands: ring.operands.slice(place * 4, place * 4 + 4),
      deadline: ring.deadline[place] as number,
      order: ring.order[place] as number,
    });
  }

  /** Ends those whose time is over: nothing was executed. */
  expire(now: number): void {
    const late = this.#waiting.filter(({ deadline }) => deadline <= now);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ deadline }) => deadline > now);
    for (const one of late) one.sink.completed(one.token, Status.Unavailable, 'notApplied', 0, 0);
  }

  /** Ends all of them. */
  fail(status: Status): void {
    for (const one of this.#waiting.splice(0)) {
      one.sink.completed(one.token, status, 'notApplied', 0, 0);
    }
  }

  /**
   * Starts them over another link, in their order: what they write is written there. A read may
   * have come back before a write that stood before it.
   */
  start(link: Link, window: Window, unflushed: Unflushed | undefined): void {
    for (const one of this.#waiting.splice(0).sort((a, b) => a.order - b.order)) {
      const changes = one.type !== MessageType.Read;
      if (changes) unflushed?.note(one.address, Math.max(one.bytes, 1), link.opening ?? 0);
      startOver(one, link, window);
    }
  }
}

export interface MovedPlace {
  readonly token: number;
  readonly ring: OperationColumns;
  readonly place: number;
  readonly offset: number;
  readonly bytes: number;
}

function startOver(one: PutBack, link: Link, window: Window): void {
  const { type, sink, token, address, bytes, buffer, start, operands, deadline } = one;
  const [a = 0, b = 0, c = 0, d = 0] = operands;
  if (type === MessageType.CompareAndSwap) {
    link.compareAndSwap(window, address, a, b, c, d, sink, token, deadline);
  } else if (type === MessageType.FetchAndAdd) {
    link.fetchAndAdd(window, address, a, b, sink, token, deadline);
  } else if (buffer === undefined || start + bytes > buffer.length) {
    // Its owner, who should have left it alone, may have shrunk it or given it to another thread.
    sink.completed(token, Status.Invalid, 'notApplied', 0, 0);
  } else if (type === MessageType.Read) {
    link.read(window, address, buffer, start, bytes, sink, token, deadline);
  } else {
    // Frames that were promised are at the node that the region came to, in its pages.
    link.write(window, address, buffer, start, bytes, sink, token, deadline);
  }
}
