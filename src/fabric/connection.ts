/**
 * The asking side of one connection: makes the stream, says hello when it is told to, checks what
 * arrives, and shows every reply to its link. It lives until the stream is gone; the link then
 * makes a new one.
 */

import type { Bytes, Stream, StreamHandler } from '../runtime/network.js';
import type { Runtime } from '../runtime/runtime.js';
import { Status } from '../base/status.js';
import {
  checkFrame,
  FrameWriter,
  type FrameRules,
  HELLO_VERSION,
  malformedName,
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
} from '../wire/frame.js';
import {
  CONNECT_WITHIN_MS,
  FRAME_HEADER_BYTES,
  MESSAGE_HEADER_BYTES,
  VERSION_MAX,
  VERSION_MIN,
} from '../wire/limits.js';
import {
  CAPABILITIES,
  HelloReply,
  HelloRequest,
  MessageFlag,
  MessageType,
  Refusal,
} from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { FabricCounters, MalformedKind } from './counters.js';
import { fabricFaults } from './planted.js';

export type HelloAnswer = Fields<typeof HelloReply>;

/** What a hello says of the client and of its connection before. */
export interface Introduction {
  readonly client: number;
  readonly connection: number;
  readonly previous: number;
  readonly acknowledged: number;
  readonly instance: number;
  readonly memoryId: number;
  /** Of the hello itself. */
  readonly sequence: number;
}

/** The link, as its connection sees it. */
export interface ConnectionUser {
  /** The stream is there: `greet` may be called, now or later. */
  reached(connection: Connection): void;
  /** The hello was accepted. Everything else may be sent from here on. */
  greeted(connection: Connection, answer: HelloAnswer): void;
  /** The other side speaks no version of ours; `lost` follows. */
  rejected(connection: Connection): void;
  /** One reply, in order. False: it is none that was due, and the connection is closed. */
  replied(connection: Connection, input: Bytes, at: number): boolean;
  /**
   * Everything that had arrived has been shown. `isGettingOn`: a frame was whole, or one is coming
   * in at a speed that a slow network has, too.
   */
  batchDone(connection: Connection, isGettingOn: boolean): void;
  drained(connection: Connection): void;
  /** Told once, last: also when connecting failed. */
  lost(connection: Connection, reason: string): void;
}

/** Of a frame that is under way: slower is as good as silent. */
const SLOWEST_BYTES_PER_MS = 32;

export class Connection implements StreamHandler {
  /** As its hello says; 0 before that. */
  number = 0;
  address = '';
  readonly #runtime: Runtime;
  readonly #counters: FabricCounters;
  readonly #user: ConnectionUser;
  readonly #rules: FrameRules;
  #stream: Stream | undefined;
  #writer: FrameWriter | undefined;
  /** Undefined until the hello was sent. */
  #introduction: Introduction | undefined;
  #isGreeted = false;
  #isOver = false;
  /** When a frame was begun that is not whole yet; -1: there is none. */
  #partSince = -1;

  constructor(runtime: Runtime, counters: FabricCounters, user: ConnectionUser) {
    this.#runtime = runtime;
    this.#counters = counters;
    this.#user = user;
    this.#rules = {
      checksum: runtime.checksum,
      version: HELLO_VERSION,
      flags: MessageFlag.REPLY,
      acceptsWrongChecksum: () => fabricFaults.checksumNotVerified,
    };
  }

  /** The writer of requests; undefined until the stream is there. */
  get writer(): FrameWriter | undefined {
    return this.#writer;
  }

  get isReached(): boolean {
    return this.#writer !== undefined && !this.#isOver;
  }

  /** `reached` follows, or `lost`. */
  reach(address: string): void {
    this.address = address;
    const attempt = this.#runtime.network.connect(address, this, CONNECT_WITHIN_MS);
    void attempt.then(
      (stream) => this.#connected(stream),
      (error: unknown) => this.#end(String(error)),
    );
  }

  #connected(stream: Stream): void {
    if (this.#isOver) {
      stream.close('no longer wanted');
      return;
    }
    this.#stream = stream;
    this.#writer = new FrameWriter(stream, this.#runtime.checksum, false);
    this.#user.reached(this);
  }

  /** Once, after `reached`; `greeted` follows, or `lost`. */
  greet(introduction: Introduction): void {
    const writer = this.#writer;
    if (writer === undefined || this.#isOver) return;
    this.#introduction = introduction;
    this.number = introduction.connection;
    const hello = {
      ...introduction,
      versionMin: VERSION_MIN,
      versionMax: VERSION_MAX,
      capabilities: CAPABILITIES,
    };
    if (writer.room(HelloRequest.fixedBytes)) {
      HelloRequest.encode(writer.output, writer.bodyAt, hello);
      writer.append(MessageType.Hello, 0, hello.sequence, 0, HelloRequest.fixedBytes);
    }
    writer.flush();
  }

  received(_stream: Stream, input: Bytes, start: number, end: number): number {
    let at = start;
    while (!this.#isOver) {
      const length = checkFrame(input, at, end, this.#rules);
      if (length === 0) break;
      if (length < 0) {
        this.malformed(malformedName(length) as MalformedKind);
        break;
      }
      this.#showFrame(input, at, at + length);
      at += length;
    }
    if (!this.#isOver) this.#user.batchDone(this, this.#isGettingOn(at > start, end - at));
    return at - start;
  }

  /**
   * A frame whose length is wrong never becomes whole, though short answers keep adding to it: that
   * something came in is no sign of life.
   */
  #isGettingOn(hasShown: boolean, pending: number): boolean {
    const now = this.#runtime.clock.now();
    if (pending === 0) this.#partSince = -1;
    else if (hasShown || this.#partSince < 0) this.#partSince = now;
    return hasShown || now - this.#partSince < pending / SLOWEST_BYTES_PER_MS;
  }

  #showFrame(input: Bytes, frame: number, end: number): void {
    let at = frame + FRAME_HEADER_BYTES;
    while (at < end && !this.#isOver) {
      // That it came is all that it says.
      if (messageType(input, at) === MessageType.Working) {
        at += messageLength(input, at);
        continue;
      }
      const isRight = this.#isGreeted
        ? this.#user.replied(this, input, at)
        : this.#takeHello(input, at);
      if (!isRight) return;
      at += messageLength(input, at);
    }
  }

  #takeHello(input: Bytes, at: number): boolean {
    const isHello =
      messageType(input, at) === MessageType.Hello &&
      messageSequence(input, at) === this.#introduction?.sequence;
    if (!isHello) return this.malformed('hello');
    const status = messageStatus(input, at);
    if (status !== Status.Ok) {
      if (status === Status.Unsupported) this.#user.rejected(this);
      const refusal = Refusal.decode(
        input,
        at + MESSAGE_HEADER_BYTES,
        at + messageLength(input, at),
      );
      const why = typeof refusal === 'string' ? '' : `: ${refusal.reason}`;
      this.close(`the hello was refused${why}`);
      return false;
    }
    const body = at + MESSAGE_HEADER_BYTES;
    const answer = HelloReply.decode(input, body, at + messageLength(input, at));
    if (typeof answer === 'string') return this.malformed('hello');
    if (answer.version < VERSION_MIN || answer.version > VERSION_MAX)
      return this.malformed('hello');
    this.#isGreeted = true;
    this.#rules.version = answer.version;
    if (this.#writer !== undefined) this.#writer.version = answer.version;
    this.#user.greeted(this, answer);
    return true;
  }

  /** Counts what was wrong with something that arrived, and closes. */
  malformed(kind: MalformedKind): false {
    this.#counters.malformed[kind]++;
    this.close(`malformed: ${kind}`);
    return false;
  }

  drained(): void {
    if (!this.#isOver) this.#user.drained(this);
  }

  closed(_stream: Stream, reason: string): void {
    this.#end(reason);
  }

  expect(answerDue: boolean): void {
    this.#stream?.expect(answerDue);
  }

  /** Sends what is gathered. */
  flush(): void {
    this.#writer?.flush();
  }

  /** `lost` follows, from within this call. */
  close(reason: string): void {
    this.#stream?.close(reason);
    this.#end(reason);
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#user.lost(this, reason);
  }
}
