/**
 * Byte streams and datagrams.
 *
 * Made for batches: a stream hands its reader everything that has arrived, in place, in one call,
 * and its writer appends to one output buffer and flushes once. No object, closure or promise per
 * message; datagrams likewise come in batches and go from one output buffer. Handlers are called
 * one at a time and never from within a call that the user makes on the stream or socket (`flush`
 * or `close` never call back; what they cause is told later).
 */

/**
 * `tcp://127.0.0.1:7070` (port 0 when listening: any free one); between processes of one machine
 * also `unix:///path/of/socket`; and if they are of one user and see each other's process numbers
 * `ring:///path/of/socket`, where the bytes go through shared memory and the socket only wakes.
 * Both sides name the same scheme. See docs/internals/ring-streams.md.
 */
export type Address = string;

/** One stretch of bytes seen three ways; all views start at byte 0 of the same buffer. */
export interface Bytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Words of 4 bytes. */
  readonly words: Int32Array;
}

export interface StreamHandler {
  /**
   * `input.bytes[start, end)` is everything received and not yet consumed. Returns how many bytes
   * it has consumed from `start` on; the rest is shown again, with more behind it, when more
   * arrives. As long as every returned number is a multiple of 8, `start` is a multiple of 8.
   * The bytes are valid during the call only. A handler that leaves a whole input buffer
   * (`STREAM_INPUT_BYTES_MAX`) unconsumed without pausing is a bug, and asserts.
   */
  received(stream: Stream, input: Bytes, start: number, end: number): number;
  /** After `reserve` was refused: at least half of the output buffer is free again. */
  drained(stream: Stream): void;
  /** Told exactly once, last. `reason` is for people; nothing is received or drained after it. */
  closed(stream: Stream, reason: string): void;
}

export interface Stream {
  /** The other side's address, for people and logs. */
  readonly remote: Address;
  /** Valid until the next `reserve`, which may move what is pending to the front. */
  readonly output: Bytes;
  /**
   * Room for `bytes` (a multiple of 8, at most `STREAM_RESERVE_BYTES_MAX`) at the end of the
   * output: the offset in `output` where they go, or -1 when the output is full; then `drained`
   * follows. After close it is always -1. As long as every committed number is a multiple of 8,
   * the offset is a multiple of 8.
   */
  reserve(bytes: number): number;
  /**
   * Appends the first `bytes` of what was reserved last: any number, for protocols of others. Over
   * `ring://`, whose positions move by words of 8 bytes, it is a multiple of 8.
   */
  commit(bytes: number): void;
  /** Sends what was committed, as far as the other side takes it; the rest follows by itself. */
  flush(): void;
  /** Bytes committed and not yet taken by the operating system. */
  readonly pending: number;
  /** Stops calling `received` (the other side feels it when buffers are full) until `resume`. */
  pause(): void;
  /** Calls `received` again, also for what was left unconsumed, soon. */
  resume(): void;
  /**
   * Tells that an answer is due (true) or that none is (false): while one is due it is worth
   * polling for a moment instead of sleeping. Without effect on what is delivered.
   */
  expect(answerDue: boolean): void;
  /** Drops what is pending and closes; `closed` follows. Idempotent. */
  close(reason: string): void;
}

export interface Listener {
  /** The real address, with the port that was chosen. */
  readonly address: Address;
  close(): Promise<void>;
}

/**
 * The datagrams that had arrived when somebody looked, from any number of senders, in the order in
 * which they came. Everything in it is valid during the call only.
 */
export interface DatagramBatch {
  /** All of the batch; every datagram begins at a multiple of 8. */
  readonly input: Bytes;
  /** How many there are; at least 1. The arrays may be longer. */
  readonly count: number;
  /** Where in `input` each begins. */
  readonly starts: Int32Array;
  /** How many bytes each has: 0 to `DATAGRAM_BYTES_MAX`. Longer ones are not shown. */
  readonly lengths: Int32Array;
  /**
   * How long each had lain with the system before it was shown, in milliseconds, as far as that is
   * known; 0 where it is not, or was a moment. So it can be told what was the network's delay, and
   * what that of a process that was busy, or not running.
   */
  readonly ages: Float64Array;
  /** Who sent each: datagram `i` the peer at `i * PEER_BYTES`. */
  readonly peers: Uint8Array;
}

export interface DatagramHandler {
  received(socket: DatagramSocket, batch: DatagramBatch): void;
}

/**
 * Sends and receives datagrams. They may be lost, doubled, late, out of order or damaged, and no
 * error is told. Who sends or is to receive one is told by a peer, `PEER_BYTES` opaque bytes of a
 * fixed width: equal for equal senders, and good for answering as long as the process runs, also
 * through other sockets of the same family (IPv4 or IPv6).
 *
 *     const at = socket.reserve(24);
 *     socket.output.words.fill(7, at >> 2, (at + 24) >> 2);
 *     socket.commit(24, batch.peers, i * PEER_BYTES);
 *     socket.flush();
 */
export interface DatagramSocket {
  /** The real address, with the port that was chosen. */
  readonly address: Address;
  /**
   * Where datagrams are made that are to be sent, perhaps the same for several sockets. Valid until
   * the next `reserve`, of any of them: nobody reserves at another one before `commit`.
   */
  readonly output: Bytes;
  /**
   * Room for one datagram of `bytes` at most (an integer up to `DATAGRAM_BYTES_MAX`): the offset
   * in `output` where it goes, a multiple of 8. Never refuses: when the output is full it is
   * flushed first. What is made after close is lost.
   */
  reserve(bytes: number): number;
  /**
   * The first `bytes` of what was reserved last are a datagram to the peer at `peers[peerAt]`,
   * which is copied.
   */
  commit(bytes: number, peers: Uint8Array, peerAt: number): void;
  /**
   * Sends what was committed, in order; what the system does not take at once is lost. Nothing is
   * sent in fragments: what is too long for the first link is not taken, what is too long for one
   * behind it is lost. So a datagram that arrives tells that the path takes its length.
   * It may have been sent before, when another socket wanted the room.
   */
  flush(): void;
  /**
   * The peer at this address, of which the host is a number or `localhost`: names are for `lookUp`.
   * Throws a `NetworkError` 'invalid', also for a host that this socket's family cannot reach.
   * That an address makes a peer does not mean that anybody is there.
   */
  peerOf(address: Address): Uint8Array;
  /**
   * Tells that an answer is due (true) or that none is (false): while one is due it is worth
   * polling for a moment instead of sleeping. Without effect on what is delivered.
   */
  expect(answerDue: boolean): void;
  /**
   * What the system keeps while nobody receives, as it counts: bytes and its own bookkeeping,
   * which for a short datagram is most of it (Linux: about 800 bytes).
   */
  readonly receiveBytes: number;
  /** How many datagrams were committed and not taken by the system, too long ones among them. */
  readonly unsent: number;
  /** How many arrived and found no room, as far as the system tells. */
  readonly dropped: number;
  /** What is not flushed is lost, and nothing is received after it. Idempotent. */
  close(): void;
}

export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  /** 'in-use': the address is taken; 'refused': nobody listens; 'denied': a missing right. */
  readonly kind: 'in-use' | 'refused' | 'denied' | 'invalid' | 'timeout' | 'failed';

  constructor(kind: NetworkError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface Network {
  /**
   * Accepts streams. Rejects with a `NetworkError`. `accept` returns the handler of the new
   * stream; it is called before anything of the stream is received.
   */
  listen(address: Address, accept: (stream: Stream) => StreamHandler): Promise<Listener>;
  /** Rejects with a `NetworkError`; `timeoutMs` bounds the attempt. */
  connect(address: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream>;
  /**
   * An address for `listen` that only processes of this user on this machine can use, `ring://` in
   * a folder that nobody else may enter; undefined where there can be none. The same `name` (small
   * letters, digits, dashes) gives the same address. What processes that were killed have left in
   * the folder is cleared away.
   */
  ownAddress(name: string): Promise<Address | undefined>;
  /**
   * The host's addresses as numbers, in the order in which they are best tried: of
   * `udp://a.name:7070` perhaps `udp://[2001:db8::1]:7070` and `udp://192.0.2.1:7070`. What is a
   * number already is its own. Rejects with a `NetworkError`: 'invalid' for a name that is not
   * known or no address with a host, 'failed' when nobody could be asked.
   */
  lookUp(address: Address): Promise<readonly Address[]>;
  /** `udp://127.0.0.1:0`. Rejects with a `NetworkError`. */
  bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket>;
}

/** What `reserve` can be asked for at most: one largest frame. */
export const STREAM_RESERVE_BYTES_MAX = 256 * 1024;
/** The output buffer of one stream. */
export const STREAM_OUTPUT_BYTES = 1024 * 1024;
/** A stream's input buffer holds at least this much. */
export const STREAM_INPUT_BYTES_MAX = 512 * 1024;

/** One peer of a datagram socket: family, port, address, and zeros behind. */
export const PEER_BYTES = 32;
/**
 * The longest datagram: 64 KiB less the headers of IPv4 and UDP (65,507), rounded down to a
 * multiple of 8. Most paths take shorter ones only (1,472 bytes over an Ethernet).
 */
export const DATAGRAM_BYTES_MAX = 65_504;
/** At most so many datagrams come in one batch. */
export const DATAGRAM_BATCH_MAX = 32;
