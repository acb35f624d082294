/**
 * What the stream of a link still has under way, for those who go another way meanwhile: nothing
 * that conflicts with it may. An operation is entered with its position in the ring of the
 * transport, and has left when the ring's head has passed that: it was answered, or a hello has
 * settled it, or it was never sent. See docs/internals/fall-over.md.
 */

import { isCallType, MessageType } from '../../wire/messages.js';
import { Conflicts } from '../datagram/conflicts.js';
import { DROPPED, type OperationRing } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import { changesBytes, isUnordered } from '../verbs.js';

/** What of the transport is looked at. */
interface Sending {
  readonly ring: OperationRing;
}

interface Doubt {
  readonly position: number;
  /** Undefined: all others have their order with it. */
  readonly range: Range | undefined;
}

interface Range {
  readonly space: number;
  readonly address: number;
  readonly bytes: number;
  readonly changes: boolean;
}

export class StreamDoubts {
  readonly #transport: Sending;
  readonly #conflicts = new Conflicts();
  /** In the order of their positions; those before `#first` have left. */
  #doubts: Doubt[] = [];
  #first = 0;
  /** Those without a range. */
  #barriers = 0;

  constructor(transport: Sending) {
    this.#transport = transport;
  }

  /** Forgets what was entered, and enters what the transport has. */
  restart(): void {
    while (this.#first < this.#doubts.length) this.#leave();
    this.#compact();
    this.enterFrom(this.#transport.ring.head);
  }

  /** Enters what the transport was given from this position on. */
  enterFrom(position: number): void {
    const { ring } = this.#transport;
    for (let at = position; at < ring.tail; at++) this.#enter(ring, at);
  }

  /** Whether an operation over this range has to wait. */
  bars(space: number, address: number, bytes: number, changes: boolean): boolean {
    if (fabricFaults.doubtsIgnored) return false;
    const { ring } = this.#transport;
    ring.skipDropped();
    while ((this.#doubts[this.#first]?.position ?? ring.head) < ring.head) this.#leave();
    if (this.#first === this.#doubts.length) this.#compact();
    if (this.#barriers > 0) return true;
    return !this.#conflicts.mayStart(space, address, bytes, changes);
  }

  #enter(ring: OperationRing, position: number): void {
    const place = ring.place(position);
    const type = ring.type[place] as number;
    const isTold = ring.sink[place] === undefined;
    if (ring.state[place] === DROPPED || isUnordered(type)) return;
    // Promised frames are no bytes that anybody sees.
    if (type === MessageType.Reserve || type === MessageType.Unreserve) return;
    const changes = changesBytes(type);
    // Whoever has been told sees no more of a read or a fence.
    if (isTold && !changes && !isCallType(type)) return;
    if (type > MessageType.FetchAndAdd) {
      this.#barriers++;
      this.#doubts.push({ position, range: undefined });
      return;
    }
    const space = ring.window[place]?.space ?? 0;
    const address = ring.address[place] as number;
    const bytes = ring.bytes[place] as number;
    if (bytes === 0) return;
    this.#conflicts.enter(space, address, bytes, changes);
    this.#doubts.push({ position, range: { space, address, bytes, changes } });
  }

  #leave(): void {
    const range = this.#doubts[this.#first++]?.range;
    if (range === undefined) this.#barriers--;
    else this.#conflicts.leave(range.space, range.address, range.bytes, range.changes);
  }

  #compact(): void {
    if (this.#first === 0) return;
    this.#doubts = [];
    this.#first = 0;
  }
}
