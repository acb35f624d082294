/**
 * Instead of TLS: every byte is masked, on its way and while it waits. Nothing is encrypted, nobody
 * is proven, and there is no handshake; what a user of the stream sees is the same.
 */

import type { Bytes, Stream, StreamHandler } from '../network.js';
import type { SecuredStream, Tls } from '../tls.js';

export const MASK = 0x5a;

export const simulatedTls: Tls = {
  server: () => masked,
  client: () => masked,
};

function masked(plain: Stream, above: StreamHandler): SecuredStream {
  const stream = new MaskedStream(plain);
  return {
    stream,
    below: {
      received(_stream, input, start, end) {
        const length = end - start;
        const shown = new ArrayBuffer((length + 7) & ~7);
        const bytes = new Uint8Array(shown);
        for (let i = 0; i < length; i++) bytes[i] = (input.bytes[start + i] as number) ^ MASK;
        const views = { bytes, view: new DataView(shown), words: new Int32Array(shown) };
        return above.received(stream, views, 0, length);
      },
      drained: () => above.drained(stream),
      closed: (_stream, reason) => above.closed(stream, reason),
    },
  };
}

class MaskedStream implements Stream {
  readonly #plain: Stream;
  #reserved = 0;

  constructor(plain: Stream) {
    this.#plain = plain;
  }

  get remote(): string {
    return this.#plain.remote;
  }

  get output(): Bytes {
    return this.#plain.output;
  }

  get pending(): number {
    return this.#plain.pending;
  }

  reserve(bytes: number): number {
    this.#reserved = this.#plain.reserve(bytes);
    return this.#reserved;
  }

  commit(bytes: number): void {
    const { bytes: output } = this.#plain.output;
    const end = this.#reserved + bytes;
    for (let i = this.#reserved; i < end; i++) output[i] = (output[i] as number) ^ MASK;
    this.#plain.commit(bytes);
  }

  flush(): void {
    this.#plain.flush();
  }

  pause(): void {
    this.#plain.pause();
  }

  resume(): void {
    this.#plain.resume();
  }

  expect(answerDue: boolean): void {
    this.#plain.expect(answerDue);
  }

  close(reason: string): void {
    this.#plain.close(reason);
  }
}
