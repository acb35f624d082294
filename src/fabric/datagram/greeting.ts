/**
 * Finds out who is at a node's address for datagrams, and whether it still is the same process.
 *
 *   idle --bind--> greeting --hello answered--> open
 *                     ^  \--(another process)--> renewing --its stream is there--'
 *                     |__ silence, no good cookie, another incarnation __________|
 *
 * `rest` leads from greeting or open to resting, and whoever has something to send back.
 *
 * See docs/internals/datagrams.md.
 */

import { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type { Bytes, DatagramHandler, DatagramSocket } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import {
  DatagramHelloReply,
  DatagramHelloRequest,
  headerWord,
  PART_HEADER_BYTES,
  REPLY_HEADER_BYTES,
  ReplyWord,
  REQUEST_HEADER_BYTES,
  RequestWriter,
} from '../../wire/datagram.js';
import { MESSAGE_HEADER_BYTES, SILENCE_MS, VERSION_MAX, VERSION_MIN } from '../../wire/limits.js';
import { CAPABILITIES, MessageType } from '../../wire/messages.js';
import type { Transport } from '../transport.js';
import type { DatagramCounters } from './datagram-counters.js';
import { NodeWord } from './node-word.js';

const HELLO_MS_MIN = 10;
const HELLO_MS_MAX = 200;
const HELLO_BYTES = REQUEST_HEADER_BYTES + PART_HEADER_BYTES + DatagramHelloRequest.fixedBytes;

export interface GreetingParts {
  readonly runtime: Runtime;
  /** `udp://HOST:PORT` of the node; the host may be a name. */
  readonly address: string;
  readonly client: number;
  /** The memory that is meant; 0: any. */
  readonly memoryId: number;
  readonly counters: DatagramCounters;
  /** To the same node. */
  readonly transport: Transport;
}

/** Receives what comes at the socket, the answers to hellos too, and hands those back. */
export interface GreetingUser extends DatagramHandler {
  bound(socket: DatagramSocket): void;
  /** Who is there takes datagrams of so many bytes at most; before `opened`. */
  limited(datagramBytesMax: number): void;
  /** It is known who is there; also, now and then, while there can be no socket. */
  opened(): void;
  /** The process before executes nothing any more. */
  incarnationChanged(): void;
}

type State = 'idle' | 'resting' | 'binding' | 'greeting' | 'renewing' | 'open' | 'closed';

export class Greeting {
  readonly word = new NodeWord();
  /** Of all datagrams to the node. */
  readonly writer: RequestWriter;
  socket: DatagramSocket | undefined;
  readonly #given: GreetingParts;
  readonly #runtime: Runtime;
  readonly #counters: DatagramCounters;
  readonly #user: GreetingUser;
  #state: State = 'idle';
  #peer: Uint8Array = new Uint8Array(0);
  #helloMs = HELLO_MS_MIN;
  #hello: Timer | undefined;
  /** Why there is no socket, for people. */
  #failure = '';
  readonly #whenBegun: (() => void)[] = [];

  constructor(given: GreetingParts, user: GreetingUser) {
    this.#given = given;
    this.#runtime = given.runtime;
    this.#counters = given.counters;
    this.#user = user;
    this.writer = new RequestWriter(given.runtime.checksum, given.client);
    this.writer.link = given.runtime.entropy.u32();
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** If it has not begun yet. */
  begin(): void {
    if (this.#state === 'resting') this.again();
    if (this.#state !== 'idle') return;
    this.#state = 'binding';
    this.#bind().then(
      ({ socket, address }) => this.#bound(socket, address),
      (error: unknown) => this.#cannotBegin(error),
    );
  }

  /** A socket that reaches the node, and its address as a number. */
  async #bind(): Promise<{ socket: DatagramSocket; address: string }> {
    const { network } = this.#runtime;
    const addresses = await network.lookUp(this.#given.address);
    // Nodes that listen everywhere mostly do so over IPv4, and few names have IPv6 alone.
    const isV4 = (address: string): boolean => !address.startsWith('udp://[');
    const address = addresses.find(isV4) ?? addresses[0] ?? this.#given.address;
    const any = isV4(address) ? 'udp://0.0.0.0:0' : 'udp://[::]:0';
    return { socket: await network.bind(any, this.#user), address };
  }

  /** Begins, or finds out anew whether somebody answers. */
  ask(): void {
    if (this.#state === 'open') this.again();
    else this.begin();
  }

  /** Who is there is of no interest until `begin` or `ask` is called. */
  rest(): void {
    if (this.#state !== 'open' && this.#state !== 'greeting') return;
    this.#hello?.cancel();
    this.#state = 'resting';
  }

  /**
   * Resolves when there is a socket, else with the reason why there can be none. That nobody
   * answers proves nothing: it is no reason.
   */
  async begun(): Promise<string | undefined> {
    this.begin();
    if (this.#state === 'binding') {
      await new Promise<void>((resolve) => this.#whenBegun.push(resolve));
    }
    return this.#failure === '' ? undefined : `no datagrams can be sent: ${this.#failure}`;
  }

  #tellBegun(): void {
    for (const begun of this.#whenBegun.splice(0)) begun();
  }

  #cannotBegin(error: unknown): void {
    if (this.#state !== 'binding') return;
    this.#state = 'idle';
    this.#failure = error instanceof Error ? error.message : String(error);
    this.#runtime.log.write('warn', 'no datagrams can be sent', {
      code: 'DATAGRAMS_NOT_SENT',
      reason: this.#failure,
    });
    this.#hello = this.#runtime.timers.after(HELLO_MS_MAX, () => this.#user.opened());
    this.#tellBegun();
  }

  #bound(socket: DatagramSocket, address: string): void {
    if (this.#state !== 'binding') {
      socket.close();
      return;
    }
    try {
      this.#peer = socket.peerOf(address);
    } catch (error) {
      socket.close();
      this.#cannotBegin(error);
      return;
    }
    this.socket = socket;
    this.#failure = '';
    this.#tellBegun();
    this.#user.bound(socket);
    this.again();
  }

  /** Asks who is there, again and again until somebody answers. */
  again(): void {
    this.#state = 'greeting';
    this.#helloMs = HELLO_MS_MIN;
    this.#sayHello();
  }

  #sayHello(): void {
    this.#hello?.cancel();
    if (this.#state !== 'greeting') return;
    this.#sendHello();
    const jitter = 0.75 + this.#runtime.entropy.fraction() / 2;
    this.#hello = this.#runtime.timers.after(this.#helloMs * jitter, () => this.#sayHello());
    this.#helloMs = Math.min(HELLO_MS_MAX, this.#helloMs * 2);
  }

  #sendHello(): void {
    const { socket, writer } = this;
    if (socket === undefined) return;
    const at = socket.reserve(HELLO_BYTES);
    writer.begin(socket.output, at);
    const hello = { versionMin: VERSION_MIN, versionMax: VERSION_MAX, capabilities: CAPABILITIES };
    DatagramHelloRequest.encode(socket.output, writer.bodyAt, hello);
    writer.append(MessageType.Hello, 0, 0, 0, 0, DatagramHelloRequest.fixedBytes);
    this.seal(this.word.number(this.#runtime.clock.now()));
    socket.flush();
    this.#counters.hellos++;
  }

  /** Ends the datagram that is being made. */
  seal(number: number): void {
    this.socket?.commit(this.writer.seal(number), this.#peer, 0);
    this.#counters.datagramsSent++;
  }

  /** The datagram in `[datagram, end)` answers a hello. False: it makes no sense. */
  answered(input: Bytes, datagram: number, end: number, now: number): boolean {
    const { word, writer } = this;
    const number = headerWord(input, datagram, ReplyWord.NUMBER);
    if (this.#state !== 'greeting' || !word.mayBelieve(number)) return true;
    const body = datagram + REPLY_HEADER_BYTES + MESSAGE_HEADER_BYTES;
    const answer = DatagramHelloReply.decode(input, body, end);
    if (typeof answer === 'string') return false;
    const { memoryId } = this.#given;
    if (memoryId !== 0 && answer.memoryId !== memoryId) return true;
    this.#hello?.cancel();
    // The stream may have known another process: windows are of that one then.
    const before = word.incarnation === 0 ? this.#given.transport.incarnation : word.incarnation;
    const incarnation = headerWord(input, datagram, ReplyWord.INCARNATION);
    if (incarnation !== word.incarnation) word.forgetClock();
    word.adopt(incarnation, answer.cookieLow, answer.cookieHigh);
    word.heardClock(headerWord(input, datagram, ReplyWord.CLOCK), now);
    writer.incarnation = incarnation;
    writer.cookieLow = answer.cookieLow;
    writer.cookieHigh = answer.cookieHigh;
    this.#user.limited(answer.datagramBytesMax);
    if (before === 0 || before === incarnation) this.#open();
    else this.#renew();
    return true;
  }

  #open(): void {
    this.#state = 'open';
    this.#user.opened();
  }

  /** Windows are opened anew over the stream, once it is connected to the new process. */
  #renew(): void {
    this.#state = 'renewing';
    this.#counters.incarnations++;
    this.#user.incarnationChanged();
    const answered = {
      completed: (_token: number, status: Status): void => {
        if (this.#state !== 'renewing') return;
        if (status === Status.Ok) this.#open();
        else this.again();
      },
    };
    const deadline = this.#runtime.clock.now() + SILENCE_MS;
    this.#given.transport.add(MessageType.Ping, answered, 0, deadline);
  }

  close(): void {
    this.#state = 'closed';
    this.#tellBegun();
    this.#hello?.cancel();
    this.socket?.close();
  }
}
