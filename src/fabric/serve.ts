/**
 * What a process gives to the fabric to be reached by others: handlers of calls, and for a memory
 * node one handler of data messages, which makes no object per message.
 *
 * The session (one connection) has checked the frame, the message's form, its sequence and that
 * its reply fits before a handler sees it, and keeps the record that makes retries count once.
 */

import type { Status } from '../base/status.js';
import type { Bytes } from '../runtime/network.js';
import type { CallType, Reply, Request } from '../wire/messages.js';

/** One client process as the serving side knows it: the same over all its connections. */
export interface ClientSession {
  /**
   * A small integer for arrays per client: the lowest free one, the client's until `forgotten`.
   * It survives a lost connection, and so does what is kept under it (reservations).
   */
  readonly slot: number;
  /** The random number that the client's process chose at its start. */
  readonly client: number;
  /** On the clock of this process: nothing that comes through here was sent before this. */
  readonly sinceMs: number;
  /**
   * Called while a message is given to its handler, in place of executing it: the connection ends
   * with it and all behind it unexecuted, and the client sends anew what it still waits for. Of
   * a datagram: it is given back. A handler of data returns `WAIT` then, and any reply to a call
   * means nothing.
   */
  dismiss(): void;
}

export interface DataSession extends ClientSession {
  /** Where replies are written. Another buffer may stand here in the next `execute`. */
  readonly output: Bytes;
  /**
   * Offset in `output` of the reply's body, a multiple of 8, good during `execute`: room for the
   * bytes that a Read asks for, 8 for every other type.
   */
  readonly replyAt: number;
  /** False: after `WAIT` the message is given back, and `resume` must not be called. */
  readonly mayWait: boolean;
  /**
   * Ends the message, once, within `execute`, when it was executed or refused. Of a Read with
   * status Ok `bytes` of data stand at `replyAt`; else 0.
   */
  finish(status: Status, bytes: number): void;
  /**
   * The same for a message with a value, which is remembered for retries: of an atomic the old
   * word in two unsigned halves, of Reserve the pages that were reserved in `low`.
   */
  finishValue(status: Status, low: number, high: number): void;
  /**
   * After `WAIT`: executes the same message again, soon. Never runs anything at once. Without
   * effect when the session does not wait (it may have been closed and the slot gone on).
   */
  resume(): void;
}

/** The message is done: `finish` or `finishValue` was called. */
export const DONE = 0;
/**
 * Nothing was changed; the handler calls `session.resume()` when it is worth trying again, unless
 * the session may not wait.
 */
export const WAIT = 1;
export type Progress = typeof DONE | typeof WAIT;

export interface DataHandler {
  /**
   * Executes the data message whose body begins at `at` in `input` (a multiple of 8): `address`
   * (u53, checked), `bytes` (u32) and `epoch` (u32) first, as `ReadRequest` declares them, then
   * the operands of atomics or the data of a Write. Checked already: of Read and Write at most
   * `PIECE_BYTES_MAX` bytes; of atomics `bytes` is 8; the message is as long as it must be.
   * Unreserve, Fence and Ping have no body. `extra` is the header's: see
   * `dataExtra`.
   */
  execute(session: DataSession, input: Bytes, at: number, type: number, extra: number): Progress;
  /**
   * The connection has ended, or was fenced by a newer one. If it waits (`WAIT`), its message was
   * not executed and never will be under this session. Reservations stay: the client may return.
   */
  closed(session: DataSession): void;
  /**
   * The client begins anew, with nothing open from before, though it never said goodbye: nobody
   * uses, or ends, what was promised under `slot`.
   */
  begunAnew(slot: number): void;
  /** The client has not returned in time, or has said goodbye: what is kept under `slot` goes. */
  forgotten(slot: number, client: number): void;
}

/** Serves one call. A rejection is a bug of the handler and ends the process. */
export type CallHandler<T extends CallType> = (
  request: Request<T>,
  session: ClientSession,
) => Reply<T> | Promise<Reply<T>>;
