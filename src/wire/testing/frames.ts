/** Frames without a network: a stream that only keeps what is written to it. */

import { crc32c } from '../../base/crc32c.js';
import type { Bytes, Stream } from '../../runtime/network.js';
import { FrameWriter } from '../frame.js';
import { FRAME_BYTES_MAX } from '../limits.js';

export const CHECKSUM = { crc32c };

export function place(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

/** One buffer for all, as a used one would be: what is sent must not show what was in it. */
const USED = place(4 * FRAME_BYTES_MAX);
USED.bytes.fill(0xee);

export class KeepingStream implements Stream {
  readonly remote = 'kept';
  readonly output = USED;
  length = 0;

  get pending(): number {
    return this.length;
  }

  reserve(bytes: number): number {
    return this.length + bytes <= this.output.bytes.length ? this.length : -1;
  }

  commit(bytes: number): void {
    this.length += bytes;
  }

  /** What was written so far, as an input. */
  sent(): Bytes {
    const copy = place(this.length);
    copy.bytes.set(this.output.bytes.subarray(0, this.length));
    return copy;
  }

  flush(): void {}
  pause(): void {}
  resume(): void {}
  expect(): void {}
  close(): void {}
}

export interface SampleMessage {
  readonly type: number;
  readonly sequence: number;
  readonly status?: number;
  readonly extra?: number;
  readonly body: Uint8Array;
}

/** One frame, or several when they do not fit into one. */
export function framesOf(isReply: boolean, messages: readonly SampleMessage[]): Bytes {
  const stream = new KeepingStream();
  const writer = new FrameWriter(stream, CHECKSUM, isReply);
  for (const { type, sequence, status = 0, extra = 0, body } of messages) {
    if (!writer.room(body.length)) throw new Error('no room');
    writer.output.bytes.set(body, writer.bodyAt);
    writer.append(type, status, sequence, extra, body.length);
  }
  writer.flush();
  return stream.sent();
}

/** Makes the checksum of a frame right again after it was changed. */
export function sealAgain(frame: Bytes, start: number, end: number): void {
  frame.words[(start >> 2) + 2] = 0;
  frame.words[(start >> 2) + 2] = crc32c(frame.bytes, start, end);
}
