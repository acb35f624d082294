/**
 * Asks, in datagrams of their own, whether the path takes a size, and carries no data in them. What
 * is asked when says `path-size.ts`.
 */

import type { DatagramSocket } from '../../runtime/network.js';
import {
  DATAGRAM_BYTES_SURE,
  PART_HEADER_BYTES,
  REQUEST_HEADER_BYTES,
} from '../../wire/datagram.js';
import { MessageType } from '../../wire/messages.js';
import type { DatagramCounters } from './datagram-counters.js';
import type { Greeting } from './greeting.js';
import { PathSize } from './path-size.js';

const PING_BYTES_MIN = REQUEST_HEADER_BYTES + PART_HEADER_BYTES;
/** A ping is given up after so many time-outs of parts: it may take a little longer. */
const TIMEOUTS = 2;

export class PathPings {
  readonly size = new PathSize();
  readonly #greeting: Greeting;
  readonly #counters: DatagramCounters;
  readonly #resized: () => void;

  /** `resized` is called after the size in use has changed. */
  constructor(greeting: Greeting, counters: DatagramCounters, resized: () => void) {
    this.#greeting = greeting;
    this.#counters = counters;
    this.#resized = resized;
  }

  /** Sends a ping if it is time for one; parts are taken for lost after `timeoutMs`. */
  send(socket: DatagramSocket, now: number, timeoutMs: number, heardAt: number): void {
    const { size } = this;
    const before = size.bytes;
    const bytes = size.due(now, TIMEOUTS * timeoutMs, heardAt);
    if (bytes > 0) {
      // So that something is heard, if the node is there.
      if (size.isChecking) this.#put(socket, PING_BYTES_MIN, now);
      const { unsent } = socket;
      size.sent(this.#put(socket, bytes, now), now);
      socket.flush();
      this.#counters.pathPings++;
      if (socket.unsent > unsent) size.refused(now);
    }
    this.#tell(before);
  }

  /** Makes a datagram of so many bytes with a ping; returns its number. */
  #put(socket: DatagramSocket, bytes: number, now: number): number {
    const { word, writer } = this.#greeting;
    const number = word.number(now);
    const at = socket.reserve(bytes);
    writer.begin(socket.output, at);
    const bodyBytes = bytes - PING_BYTES_MIN;
    const from = writer.bodyAt;
    socket.output.bytes.fill(0, from, from + bodyBytes);
    writer.append(MessageType.Ping, 0, 0, 0, 0, bodyBytes);
    this.#greeting.seal(number);
    return number;
  }

  /**
   * A ping in the datagram of this number was answered with so many bytes. False: with too few, as
   * happens where the cookie is not good any more.
   */
  answered(number: number, bodyBytes: number, now: number): boolean {
    const { size } = this;
    const asked = size.askedBytes(number);
    if (asked === 0) return true;
    if (bodyBytes < asked - PING_BYTES_MIN) return false;
    const before = size.bytes;
    this.#counters.pathPingsAnswered++;
    size.answered(number, now);
    this.#tell(before);
    return true;
  }

  /** The node says that it takes no longer datagrams. */
  limit(bytes: number): void {
    const before = this.size.bytes;
    this.size.limit(bytes);
    this.#tell(before);
  }

  #tell(before: number): void {
    const { bytes } = this.size;
    if (bytes === before) return;
    this.#counters[bytes > before ? 'pathsGrown' : 'pathsShrunk']++;
    this.#counters.pathBytes = bytes;
    this.#resized();
  }
}

/** Whether a datagram of so many bytes may meet a path that does not take it. */
export function isLong(bytes: number): boolean {
  return bytes > DATAGRAM_BYTES_SURE;
}
