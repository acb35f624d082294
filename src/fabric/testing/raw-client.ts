/** A client that speaks frames and nothing more, for tests of what a session accepts. */

import { defined } from '../../base/assert.js';
import { crc32c } from '../../base/crc32c.js';
import type { Bytes, Stream, StreamHandler } from '../../runtime/network.js';
import {
  checkFrame,
  FrameWriter,
  messageExtra,
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
} from '../../wire/frame.js';
import { FRAME_HEADER_BYTES, MESSAGE_HEADER_BYTES } from '../../wire/limits.js';
import { HelloReply, HelloRequest, MessageFlag, MessageType } from '../../wire/messages.js';
import type { Fields } from '../../wire/struct.js';
import type { FakeWorld } from './fake-world.js';

export interface RawReply {
  readonly type: number;
  readonly status: number;
  readonly sequence: number;
  readonly extra: number;
  readonly body: Uint8Array;
}

export const HELLO = {
  versionMin: 1,
  versionMax: 1,
  capabilities: 0,
  client: 77,
  connection: 1,
  previous: 0,
  acknowledged: 0,
  instance: 0,
  memoryId: 0,
};

export class RawClient implements StreamHandler {
  readonly replies: RawReply[] = [];
  closedBecause: string | undefined;
  frames = 0;
  writer!: FrameWriter;
  stream!: Stream;
  readonly #world: FakeWorld;
  readonly #rules = { checksum: { crc32c }, version: 1, flags: MessageFlag.REPLY };

  constructor(world: FakeWorld) {
    this.#world = world;
  }

  async connect(address: string): Promise<this> {
    let isThere = false;
    void this.#world
      .runtime()
      .network.connect(address, this, 1000)
      .then((stream) => {
        this.stream = stream;
        this.writer = new FrameWriter(stream, { crc32c }, false);
        isThere = true;
      });
    await this.#world.run(() => isThere);
    return this;
  }

  /** Appends one request; `flush` sends them. */
  add(type: number, sequence: number, body: Uint8Array = new Uint8Array(0), extra = 0): void {
    if (!this.writer.room(body.length)) throw new Error('no room');
    this.writer.output.bytes.set(body, this.writer.bodyAt);
    this.writer.append(type, 0, sequence, extra, body.length);
  }

  hello(changed: Partial<Fields<typeof HelloRequest>> = {}): void {
    const body = new Uint8Array(HelloRequest.fixedBytes);
    const place = { bytes: body, view: new DataView(body.buffer) };
    HelloRequest.encode(place, 0, { ...HELLO, ...changed });
    this.add(MessageType.Hello, 1, body);
    this.writer.flush();
  }

  async greet(
    changed: Partial<Fields<typeof HelloRequest>> = {},
  ): Promise<Fields<typeof HelloReply>> {
    this.hello(changed);
    await this.#world.run(() => this.replies.length > 0 || this.closedBecause !== undefined, 1000);
    const body = defined(this.replies[0]).body;
    const reply = HelloReply.decode(
      { bytes: body, view: new DataView(body.buffer) },
      0,
      body.length,
    );
    if (typeof reply === 'string') throw new Error(reply);
    return reply;
  }

  received(_stream: Stream, input: Bytes, start: number, end: number): number {
    let frame = start;
    for (;;) {
      const length = checkFrame(input, frame, end, this.#rules);
      if (length < 0) throw new Error(`malformed reply: ${length}`);
      if (length === 0) return frame - start;
      this.frames++;
      let at = frame + FRAME_HEADER_BYTES;
      while (at < frame + length) {
        const next = at + messageLength(input, at);
        this.replies.push({
          type: messageType(input, at),
          status: messageStatus(input, at),
          sequence: messageSequence(input, at),
          extra: messageExtra(input, at),
          body: input.bytes.slice(at + MESSAGE_HEADER_BYTES, next),
        });
        at = next;
      }
      frame += length;
    }
  }

  drained(): void {}

  closed(_stream: Stream, reason: string): void {
    this.closedBecause = reason;
  }
}

/** The body of a data request. */
export function target(address: number, bytes: number, epoch: number, more = 0): Uint8Array {
  const body = new Uint8Array(16 + more);
  const view = new DataView(body.buffer);
  view.setUint32(0, address, true);
  view.setUint32(4, Math.floor(address / 2 ** 32), true);
  view.setUint32(8, bytes, true);
  view.setUint32(12, epoch, true);
  return body;
}
