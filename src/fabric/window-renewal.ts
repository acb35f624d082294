/**
 * Opens a link's windows again at a node that no longer knows them, before anything else is sent
 * to it. A window that cannot be had is marked, and operations on it end as `Stale`.
 */

import { Status } from '../base/status.js';
import type { Bytes } from '../runtime/network.js';
import {
  type FrameWriter,
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
} from '../wire/frame.js';
import { IN_FLIGHT_MAX, MESSAGE_HEADER_BYTES } from '../wire/limits.js';
import { MessageType, OpenWindowReply, OpenWindowRequest } from '../wire/messages.js';
import type { Window } from './link.js';

export const WINDOW_GONE = -1;

export class WindowRenewal {
  readonly #windows: readonly Window[];
  readonly #firstSequence: number;
  readonly #rights: number;
  #asked = 0;
  #answered = 0;

  /** `rights` as the windows were opened with. */
  constructor(windows: readonly Window[], firstSequence: number, rights: number) {
    this.#rights = rights;
    this.#windows = windows;
    this.#firstSequence = firstSequence;
  }

  get isDone(): boolean {
    return this.#answered === this.#windows.length;
  }

  /** Appends as many requests as may be in flight; returns the sequence after the last. */
  send(writer: FrameWriter): number {
    const end = Math.min(this.#windows.length, this.#answered + IN_FLIGHT_MAX);
    for (; this.#asked < end; this.#asked++) {
      const window = this.#windows[this.#asked];
      if (window === undefined || !writer.room(OpenWindowRequest.fixedBytes)) break;
      const request = { space: window.space, rights: this.#rights };
      OpenWindowRequest.encode(writer.output, writer.bodyAt, request);
      const sequence = (this.#firstSequence + this.#asked) >>> 0;
      writer.append(MessageType.OpenWindow, 0, sequence, 0, OpenWindowRequest.fixedBytes);
    }
    return (this.#firstSequence + this.#asked) >>> 0;
  }

  /** Takes the next reply; false when it is none. */
  take(input: Bytes, at: number): boolean {
    const window = this.#windows[this.#answered];
    const isDue =
      messageType(input, at) === MessageType.OpenWindow &&
      messageSequence(input, at) === (this.#firstSequence + this.#answered) >>> 0;
    if (window === undefined || !isDue) return false;
    window.id = WINDOW_GONE;
    if (messageStatus(input, at) === Status.Ok) {
      const end = at + messageLength(input, at);
      const reply = OpenWindowReply.decode(input, at + MESSAGE_HEADER_BYTES, end);
      if (typeof reply === 'string') return false;
      window.id = reply.window;
      window.epoch = reply.epoch;
    }
    this.#answered++;
    return true;
  }
}
