/**
 * A small NBD client that believes nothing: every byte of an answer is held against the protocol,
 * and what is wrong is told by `violation`. One promise per request; for tests, and for checks of a
 * device where no other client is installed.
 *
 *     const client = await NbdClient.connect(network, 'tcp://127.0.0.1:10809');
 *     await client.option(NBD_OPT_STRUCTURED_REPLY);
 *     const facts = await client.go('device');
 *     const { error, data } = await client.read(0, 4096);
 */

import { readUtf8 } from '../../../base/utf8.js';
import type { Address, Bytes, Network, Stream, StreamHandler } from '../../../runtime/network.js';
import { AnswerReader } from './answers.js';
import { type Answer, type Pending, newPending } from './pending.js';
import {
  EXPORT_PADDING_BYTES,
  GREETING_BYTES,
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_MAGIC,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTION_MAGIC,
  NBD_OPTION_REPLY_MAGIC,
  NBD_REP_ACK,
  NBD_REP_INFO,
  NBD_REQUEST_MAGIC,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
  readU64,
  REQUEST_BYTES,
  textBytes,
  writeU64,
} from '../protocol.js';

export interface OptionReply {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface ExportFacts {
  readonly bytes: number;
  readonly flags: number;
  readonly name?: string;
  readonly description?: string;
  readonly blockSizes?: readonly [number, number, number];
}

interface OpenOption {
  readonly option: number;
  readonly replies: OptionReply[];
  readonly resolve: (replies: OptionReply[]) => void;
}

const ERRORS_FROM = 2 ** 31;
const CONNECT_MS = 5000;

export class NbdClient implements StreamHandler {
  /** What the server did that the protocol does not allow. */
  violation: string | undefined;
  closedBecause: string | undefined;
  handshakeFlags = -1;
  isStructured = false;
  stream!: Stream;
  readonly #clientFlags: number;
  readonly #pending = new Map<number, Pending>();
  readonly #answers: AnswerReader;
  #nextCookie = 1;
  #option: OpenOption | undefined;
  /** Waits for the answer to NBD_OPT_EXPORT_NAME. */
  #byName: ((facts: ExportFacts | undefined) => void) | undefined;
  #isTransmitting = false;
  #greeted: (() => void) | undefined;
  readonly #unsent: Uint8Array[] = [];
  #unsentAt = 0;

  private constructor(clientFlags: number) {
    this.#clientFlags = clientFlags;
    this.#answers = new AnswerReader(this.#pending);
  }

  /** Resolves when the client's flags are sent, or the connection was closed before. */
  static async connect(
    network: Pick<Network, 'connect'>,
    address: Address,
    clientFlags = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES,
  ): Promise<NbdClient> {
    const client = new NbdClient(clientFlags);
    const greeted = new Promise<void>((resolve) => (client.#greeted = resolve));
    client.stream = await network.connect(address, client, CONNECT_MS);
    await greeted;
    return client;
  }

  // -------------------------------------------------------------------------------- handshake

  /** All replies to an option, the last of them the one that ends it; none: it was closed. */
  option(option: number, data: Uint8Array = new Uint8Array(0)): Promise<OptionReply[]> {
    return new Promise((resolve) => {
      if (this.closedBecause !== undefined) return resolve([]);
      this.#option = { option, replies: [], resolve };
      this.send(optionBytes(option, data));
    });
  }

  async structured(): Promise<boolean> {
    const last = (await this.option(NBD_OPT_STRUCTURED_REPLY)).at(-1);
    this.isStructured = last?.type === NBD_REP_ACK;
    return this.isStructured;
  }

  /** Selects metadata contexts; the last reply's type. */
  async contexts(name: string, ...queries: string[]): Promise<number> {
    const replies = await this.option(NBD_OPT_SET_META_CONTEXT, contextData(name, queries));
    return replies.at(-1)?.type ?? -1;
  }

  /** The facts of the export, which is then in use; or the reply type that refused it. */
  async go(name: string): Promise<ExportFacts | number> {
    const wanted = [NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE];
    const replies = await this.option(NBD_OPT_GO, infoData(name, wanted));
    const last = replies.at(-1);
    if (last === undefined) return -1;
    return last.type === NBD_REP_ACK ? factsOf(replies) : last.type;
  }

  /** The old way; undefined: the server closed the connection. */
  exportName(name: string): Promise<ExportFacts | undefined> {
    return new Promise((resolve) => {
      if (this.closedBecause !== undefined) return resolve(undefined);
      this.#byName = resolve;
      this.send(optionBytes(NBD_OPT_EXPORT_NAME, textBytes(name)));
    });
  }

  // --------------------------------------------------------------------------------- requests

  read(offset: number, length: number, flags = 0): Promise<Answer> {
    return this.request(NBD_CMD_READ, flags, offset, length);
  }

  write(offset: number, bytes: Uint8Array, flags = 0): Promise<Answer> {
    return this.request(NBD_CMD_WRITE, flags, offset, bytes.length, bytes);
  }

  flush(): Promise<Answer> {
    return this.request(NBD_CMD_FLUSH, 0, 0, 0);
  }

  trim(offset: number, length: number, flags = 0): Promise<Answer> {
    return this.request(NBD_CMD_TRIM, flags, offset, length);
  }

  zeroes(offset: number, length: number, flags = 0): Promise<Answer> {
    return this.request(NBD_CMD_WRITE_ZEROES, flags, offset, length);
  }

  cache(offset: number, length: number): Promise<Answer> {
    return this.request(NBD_CMD_CACHE, 0, offset, length);
  }

  blockStatus(offset: number, length: number, flags = 0): Promise<Answer> {
    return this.request(NBD_CMD_BLOCK_STATUS, flags, offset, length);
  }

  /** Any request; `payload` follows it. */
  request(
    type: number,
    flags: number,
    offset: number,
    length: number,
    payload?: Uint8Array,
  ): Promise<Answer> {
    return new Promise((resolve) => {
      const cookie = this.#nextCookie++;
      const pending = newPending(type, flags, offset, length, this.isStructured, resolve);
      if (this.closedBecause !== undefined) {
        pending.close();
        return;
      }
      this.#pending.set(cookie, pending);
      this.send(requestBytes(type, flags, cookie, offset, length));
      if (payload !== undefined) this.send(payload);
    });
  }

  get unanswered(): number {
    return this.#pending.size;
  }

  /** Says goodbye; the server closes. */
  disconnect(): void {
    this.send(requestBytes(NBD_CMD_DISC, 0, 0, 0, 0));
  }

  close(): void {
    this.stream.close('done');
  }

  /** Any bytes, in order with everything else. */
  send(bytes: Uint8Array): void {
    this.#unsent.push(bytes);
    this.#push();
  }

  #push(): void {
    while (this.#unsent.length > 0) {
      const first = this.#unsent[0] as Uint8Array;
      const bytes = Math.min(first.length - this.#unsentAt, SEND_BYTES_MAX);
      const at = this.stream.reserve(Math.max(8, (bytes + 7) & ~7));
      if (at < 0) break;
      this.stream.output.bytes.set(first.subarray(this.#unsentAt, this.#unsentAt + bytes), at);
      this.stream.commit(bytes);
      this.#unsentAt += bytes;
      if (this.#unsentAt < first.length) continue;
      this.#unsent.shift();
      this.#unsentAt = 0;
    }
    this.stream.flush();
  }

  // ------------------------------------------------------------------------------------ input

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    this.stream ??= stream;
    let at = start;
    while (this.violation === undefined) {
      const taken = this.#takeOne(input, at, end);
      if (taken === 0) break;
      at += taken;
    }
    if (this.violation !== undefined) {
      this.stream.close(this.violation);
      return end - start;
    }
    return at - start;
  }

  #takeOne(input: Bytes, at: number, end: number): number {
    if (this.handshakeFlags < 0) return this.#takeGreeting(input, at, end);
    if (this.#isTransmitting) {
      const taken = this.#answers.take(input, at, end);
      this.violation = this.#answers.violation;
      return taken;
    }
    if (this.#byName !== undefined) return this.#takeExport(input, at, end);
    return this.#takeReply(input, at, end);
  }

  #takeGreeting(input: Bytes, at: number, end: number): number {
    if (end - at < GREETING_BYTES) return 0;
    const isRight =
      input.view.getBigUint64(at) === NBD_MAGIC &&
      input.view.getBigUint64(at + 8) === NBD_OPTION_MAGIC;
    if (!isRight) return this.#violate('a greeting without its magic');
    this.handshakeFlags = input.view.getUint16(at + 16);
    const flags = new Uint8Array(4);
    new DataView(flags.buffer).setUint32(0, this.#clientFlags);
    this.send(flags);
    this.#greeted?.();
    return GREETING_BYTES;
  }

  #takeExport(input: Bytes, at: number, end: number): number {
    const isPadded = (this.#clientFlags & NBD_FLAG_NO_ZEROES) === 0;
    const bytes = 10 + (isPadded ? EXPORT_PADDING_BYTES : 0);
    if (end - at < bytes) return 0;
    if (input.bytes.subarray(at + 10, at + bytes).some((byte) => byte !== 0)) {
      return this.#violate('padding that is not zero');
    }
    this.#byName?.({ bytes: readU64(input.view, at), flags: input.view.getUint16(at + 8) });
    this.#byName = undefined;
    this.#isTransmitting = true;
    return bytes;
  }

  #takeReply(input: Bytes, at: number, end: number): number {
    if (end - at < OPTION_REPLY_HEADER_BYTES) return 0;
    const option = this.#option;
    const length = input.view.getUint32(at + 16);
    const isRight =
      input.view.getBigUint64(at) === NBD_OPTION_REPLY_MAGIC &&
      input.view.getUint32(at + 8) === option?.option;
    if (option === undefined || !isRight) return this.#violate('a reply to no option');
    const bytes = OPTION_REPLY_HEADER_BYTES + length;
    if (end - at < bytes) return 0;
    const type = input.view.getUint32(at + 12);
    option.replies.push({
      type,
      data: input.bytes.slice(at + OPTION_REPLY_HEADER_BYTES, at + bytes),
    });
    if (type === NBD_REP_ACK || type >= ERRORS_FROM) {
      this.#option = undefined;
      this.#isTransmitting = option.option === NBD_OPT_GO && type === NBD_REP_ACK;
      option.resolve(option.replies);
    }
    return bytes;
  }

  #violate(what: string): number {
    this.violation = what;
    return 0;
  }

  drained(): void {
    this.#push();
  }

  closed(_stream: Stream, reason: string): void {
    this.closedBecause = reason;
    this.#unsent.length = 0;
    this.#greeted?.();
    this.#option?.resolve([]);
    this.#byName?.(undefined);
    for (const pending of this.#pending.values()) pending.close();
    this.#pending.clear();
  }
}

const SEND_BYTES_MAX = 64 * 1024;

export function optionBytes(option: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(OPTION_HEADER_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, NBD_OPTION_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, data.length);
  bytes.set(data, OPTION_HEADER_BYTES);
  return bytes;
}

export function requestBytes(
  type: number,
  flags: number,
  cookie: number,
  offset: number,
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, NBD_REQUEST_MAGIC);
  view.setUint16(4, flags);
  view.setUint16(6, type);
  writeU64(view, 8, cookie);
  writeU64(view, 16, offset);
  view.setUint32(24, length);
  return bytes;
}

/** Of NBD_OPT_INFO and NBD_OPT_GO. */
export function infoData(name: string, wanted: readonly number[]): Uint8Array {
  const text = textBytes(name);
  const data = new Uint8Array(4 + text.length + 2 + 2 * wanted.length);
  const view = new DataView(data.buffer);
  view.setUint32(0, text.length);
  data.set(text, 4);
  view.setUint16(4 + text.length, wanted.length);
  wanted.forEach((type, i) => view.setUint16(6 + text.length + 2 * i, type));
  return data;
}

/** Of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
export function contextData(name: string, queries: readonly string[]): Uint8Array {
  const texts = [name, ...queries].map(textBytes);
  const data = new Uint8Array(4 + texts.reduce((sum, text) => sum + 4 + text.length, 0));
  const view = new DataView(data.buffer);
  let at = 0;
  texts.forEach((text, i) => {
    view.setUint32(at, text.length);
    data.set(text, at + 4);
    at += 4 + text.length;
    if (i > 0) return;
    view.setUint32(at, queries.length);
    at += 4;
  });
  return data;
}

export function factsOf(replies: readonly OptionReply[]): ExportFacts {
  const facts: { -readonly [K in keyof ExportFacts]: ExportFacts[K] } = { bytes: -1, flags: 0 };
  for (const { type, data } of replies) {
    if (type !== NBD_REP_INFO) continue;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const what = view.getUint16(0);
    const text = (): string => readUtf8(data, 2, data.length) ?? '';
    if (what === NBD_INFO_EXPORT) {
      facts.bytes = readU64(view, 2);
      facts.flags = view.getUint16(10);
    } else if (what === NBD_INFO_NAME) facts.name = text();
    else if (what === NBD_INFO_DESCRIPTION) facts.description = text();
    else if (what === NBD_INFO_BLOCK_SIZE) {
      facts.blockSizes = [view.getUint32(2), view.getUint32(6), view.getUint32(10)];
    }
  }
  return facts;
}
