/**
 * Asks a memory node one question per datagram and times the answer: who it is, whether it is
 * there, what a read costs. For people who look at a network, so nothing is sent again: what is not
 * answered in time is lost. It touches no window and no record of anybody's link.
 */

import { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import {
  type Bytes,
  DATAGRAM_BYTES_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import {
  checkDatagram,
  DatagramHelloReply,
  DatagramHelloRequest,
  type DatagramRules,
  headerWord,
  PART_HEADER_BYTES,
  partFlags,
  REPLY_HEADER_BYTES,
  ReplyWord,
  REQUEST_HEADER_BYTES,
  RequestWriter,
} from '../../wire/datagram.js';
import { messageStatus, messageType } from '../../wire/frame.js';
import { MESSAGE_HEADER_BYTES, VERSION_MAX, VERSION_MIN } from '../../wire/limits.js';
import {
  CAPABILITIES,
  dataExtra,
  MessageFlag,
  MessageType,
  ReadRequest,
} from '../../wire/messages.js';
import type { Fields } from '../../wire/struct.js';
import type { Window } from '../link.js';
import { NodeWord } from './node-word.js';

/** The shortest datagram that asks for anything. */
export const PROBE_BYTES_MIN = REQUEST_HEADER_BYTES + PART_HEADER_BYTES;

export interface ProberOptions {
  readonly runtime: Runtime;
  /** `udp://HOST:PORT` of the node; a name is looked up. */
  readonly address: string;
  /** By which nodes know the windows that are read through; any other number for pings alone. */
  readonly client: number;
}

/** One question that was answered in time; times in milliseconds. */
export interface Answer {
  readonly status: Status;
  readonly roundTripMs: number;
  /** Of that, from the node's look at it until the answer was made, to a microsecond. */
  readonly residenceMs: number;
}

export type NodeFacts = Fields<typeof DatagramHelloReply> & { readonly incarnation: number };

interface Question {
  readonly sentMs: number;
  readonly timer: Timer;
  readonly answered: (answer: Answer | undefined) => void;
  /** Of a hello. */
  facts?: NodeFacts;
}

export class Prober implements DatagramHandler {
  readonly #runtime: Runtime;
  readonly #writer: RequestWriter;
  readonly #rules: DatagramRules;
  readonly #word = new NodeWord();
  /** By number of their datagrams. */
  readonly #questions = new Map<number, Question>();
  #socket!: DatagramSocket;
  #peer: Uint8Array = new Uint8Array(0);

  /** Rejects with `NetworkError` where nothing can be sent to that address. */
  static async open(options: ProberOptions): Promise<Prober> {
    const prober = new Prober(options);
    const { network } = options.runtime;
    const [address = options.address] = await network.lookUp(options.address);
    const any = address.startsWith('udp://[') ? 'udp://[::]:0' : 'udp://0.0.0.0:0';
    prober.#socket = await network.bind(any, prober);
    try {
      prober.#peer = prober.#socket.peerOf(address);
    } catch (error) {
      prober.#socket.close();
      throw error;
    }
    return prober;
  }

  private constructor({ runtime, client }: ProberOptions) {
    this.#runtime = runtime;
    this.#writer = new RequestWriter(runtime.checksum, client);
    this.#writer.link = runtime.entropy.u32();
    this.#rules = { checksum: runtime.checksum, isReply: true };
  }

  /** What the system keeps of answers that were not taken yet. */
  get receiveBytes(): number {
    return this.#socket.receiveBytes;
  }

  /** Who is there, and how its clock stands; before anything else. Undefined: no answer in time. */
  async hello(timeoutMs: number): Promise<(Answer & NodeFacts) | undefined> {
    const body = { versionMin: VERSION_MIN, versionMax: VERSION_MAX, capabilities: CAPABILITIES };
    let question: Question | undefined;
    const answer = await this.#ask(timeoutMs, (output) => {
      DatagramHelloRequest.encode(output, this.#writer.bodyAt, body);
      const bytes = DatagramHelloRequest.fixedBytes;
      this.#writer.append(MessageType.Hello, 0, 0, 0, 0, bytes);
      return (made) => (question = made);
    });
    const facts = question?.facts;
    if (answer === undefined || facts === undefined) return undefined;
    this.#word.adopt(facts.incarnation, facts.cookieLow, facts.cookieHigh);
    return { ...answer, ...facts };
  }

  /**
   * A ping in a datagram of `bytes` (a multiple of 8, at least `PROBE_BYTES_MIN`). After a hello
   * the answer is 16 bytes shorter than that; or with `isOneWay` always as short as can be, so that
   * only the way there is asked for.
   */
  ping(bytes: number, timeoutMs: number, isOneWay = false): Promise<Answer | undefined> {
    const length = Math.min(DATAGRAM_BYTES_MAX, bytes) - PROBE_BYTES_MIN;
    return this.#ask(timeoutMs, (output) => {
      const { bodyAt } = this.#writer;
      output.bytes.fill(0, bodyAt, bodyAt + length);
      this.#writer.append(MessageType.Ping, 0, 0, 0, 0, length);
      this.#putCookie(!isOneWay);
      return undefined;
    });
  }

  /** A read of at most a datagram, through a window of this client; its bytes are not looked at. */
  read(
    window: Window,
    address: number,
    bytes: number,
    timeoutMs: number,
  ): Promise<Answer | undefined> {
    return this.#ask(timeoutMs, (output) => {
      const writer = this.#writer;
      const deadline = this.#word.deadline(this.#runtime.clock.now());
      ReadRequest.encode(output, writer.bodyAt, { address, bytes, epoch: window.epoch });
      const extra = dataExtra(window.id, 0);
      writer.append(MessageType.Read, 0, extra, deadline, 0, ReadRequest.fixedBytes);
      this.#putCookie(true);
      return undefined;
    });
  }

  #putCookie(isKnown: boolean): void {
    const word = this.#word;
    this.#writer.incarnation = word.incarnation;
    this.#writer.cookieLow = isKnown ? word.cookieLow : 0;
    this.#writer.cookieHigh = isKnown ? word.cookieHigh : 0;
  }

  /** `append` puts one part into the open datagram; what it returns is told of the question. */
  #ask(
    timeoutMs: number,
    append: (output: Bytes) => ((question: Question) => void) | undefined,
  ): Promise<Answer | undefined> {
    const { clock, timers } = this.#runtime;
    const socket = this.#socket;
    const at = socket.reserve(DATAGRAM_BYTES_MAX);
    this.#writer.begin(socket.output, at);
    const made = append(socket.output);
    return new Promise((answered) => {
      const sentMs = clock.now();
      const number = this.#word.number(sentMs);
      const timer = timers.after(timeoutMs, () => this.#end(number, undefined));
      const question = { sentMs, timer, answered };
      this.#questions.set(number, question);
      made?.(question);
      socket.commit(this.#writer.seal(number), this.#peer, 0);
      socket.flush();
      socket.expect(true);
    });
  }

  #end(number: number, answer: Answer | undefined): void {
    const question = this.#questions.get(number);
    if (question === undefined) return;
    this.#questions.delete(number);
    question.timer.cancel();
    if (this.#questions.size === 0) this.#socket.expect(false);
    question.answered(answer);
  }

  received(_socket: DatagramSocket, batch: DatagramBatch): void {
    const now = this.#runtime.clock.now();
    for (let i = 0; i < batch.count; i++) {
      const start = batch.starts[i] as number;
      this.#take(batch.input, start, start + (batch.lengths[i] as number), now);
    }
  }

  #take(input: Bytes, start: number, end: number, now: number): void {
    if (checkDatagram(input, start, end, this.#rules) !== 1) return;
    if (headerWord(input, start, ReplyWord.LINK) !== this.#writer.link) return;
    const number = headerWord(input, start, ReplyWord.NUMBER);
    const question = this.#questions.get(number);
    const part = start + REPLY_HEADER_BYTES;
    // The question is for one moment: what was not executed then is as good as lost.
    if (question === undefined || partFlags(input, part) !== MessageFlag.REPLY) return;
    const incarnation = headerWord(input, start, ReplyWord.INCARNATION);
    if (messageType(input, part) === MessageType.Hello) {
      const facts = DatagramHelloReply.decode(input, part + MESSAGE_HEADER_BYTES, end);
      if (typeof facts === 'string') return;
      if (incarnation !== this.#word.incarnation) this.#word.forgetClock();
      question.facts = { ...facts, incarnation };
    }
    this.#word.heardClock(headerWord(input, start, ReplyWord.CLOCK), now);
    this.#end(number, {
      status: messageStatus(input, part) as Status,
      roundTripMs: now - question.sentMs,
      residenceMs: headerWord(input, start, ReplyWord.RESIDENCE) / 1000,
    });
  }

  close(): void {
    for (const number of [...this.#questions.keys()]) this.#end(number, undefined);
    this.#socket.close();
  }
}
