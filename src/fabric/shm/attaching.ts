/**
 * Keeps one thread attached to a node's memory for as long as its link has a connection: asks for a
 * slot when a connection is open, gives the files up when it is lost or the node's process is
 * another one, and asks again. Meanwhile everything goes as messages.
 *
 *   none --connection open--> asking --slot, files fit--> attached
 *    ^  \____ refused: next connection; else: later ____/    |
 *    +------------- connection lost, not alive --------------+
 */

import { Status } from '../../base/status.js';
import { ALIVE_WORD } from '../../disk/table-file.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType, type Reply } from '../../wire/messages.js';
import { encodeRequest } from '../call-codec.js';
import type { TcpLink } from '../tcp-link.js';
import type { LastCall } from '../transport.js';
import { Attachment } from './attachment.js';
import type { ShmCounters } from './shm-counters.js';

const ASK_WITHIN_MS = 5_000;
/** Between two attempts over one connection; doubled after each. */
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 60_000;

/** Answers that the same process will give again. */
const FINAL: ReadonlySet<Status> = new Set([
  Status.Unsupported,
  Status.Invalid,
  Status.Denied,
  Status.NotFound,
  Status.Closed,
]);

export interface AttachingParts {
  readonly runtime: Runtime;
  readonly link: TcpLink;
  readonly counters: ShmCounters;
  /** There is an attachment, or the one that was is given up. */
  readonly changed: () => void;
}

export class Attaching {
  attachment: Attachment | undefined;
  /** Why there is none, for people. */
  reason = 'the node was not asked yet';
  readonly #parts: AttachingParts;
  /** Names this thread to the node: with the same one it gets the same slot. */
  readonly #token: number;
  /** The slot that the node has given us, also while it is not used; -1: none. */
  #slot = -1;
  /** The connection over which we attached. */
  #attachedOver = 0;
  /** The connection over which it is not tried again by itself. */
  #triedOver = 0;
  #asking: Promise<void> | undefined;
  #retry: Timer | undefined;
  #retryMs = RETRY_MS_MIN;

  constructor(parts: AttachingParts) {
    this.#parts = parts;
    this.#token = parts.runtime.entropy.u53();
  }

  /** To be called when the transport may have changed; never in the middle of a step. */
  upkeep(): void {
    const { transport } = this.#parts.link;
    const { connection } = transport;
    if (this.attachment !== undefined && connection !== this.#attachedOver) {
      this.#giveUp('the connection was lost');
    }
    if (transport.isClosed) {
      this.#retry?.cancel();
      return;
    }
    const isDue = connection !== 0 && connection !== this.#triedOver;
    if (this.attachment === undefined && isDue && this.#asking === undefined) {
      void this.#ask(ASK_WITHIN_MS);
    }
  }

  /** Looks whether the node's process is still the one that answered; gives up if not. */
  lookAlive(): void {
    const { attachment } = this;
    if (attachment === undefined) return;
    const alive = Atomics.load(attachment.head, ALIVE_WORD) >>> 0;
    if (alive === attachment.incarnation) return;
    this.#giveUp("the node's process ended");
    this.#tryLater();
  }

  /** Undefined: attached. Else why not, for people. */
  async now(timeoutMs: number): Promise<string | undefined> {
    if (this.attachment === undefined) await (this.#asking ?? this.#ask(timeoutMs));
    return this.attachment === undefined ? this.reason : undefined;
  }

  /** What gives the slot back: the last that is sent. Nothing may use the attachment after it. */
  lastCall(): LastCall | undefined {
    if (this.#slot < 0) return undefined;
    const request = { token: this.#token, slot: this.#slot };
    const body = encodeRequest(MessageType.Detach, request);
    if (typeof body === 'string') return undefined;
    this.#giveUp('the link was closed');
    return { type: MessageType.Detach, body };
  }

  #ask(timeoutMs: number): Promise<void> {
    this.#asking = this.#askNow(timeoutMs).finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askNow(timeoutMs: number): Promise<void> {
    const { runtime, link } = this.#parts;
    const { identity } = runtime.processes;
    if (identity === '') {
      this.reason = 'this system gives its processes no names';
      this.#triedOver = link.transport.connection;
      return;
    }
    const request = { token: this.#token, identity };
    const reply = await link.call(MessageType.Attach, request, timeoutMs);
    const { connection } = link.transport;
    this.#triedOver = connection;
    if (reply.status !== Status.Ok) {
      this.reason = reply.reason;
      this.#parts.counters.attachesFailed++;
      if (!FINAL.has(reply.status)) this.#tryLater();
      return;
    }
    this.#slot = reply.slot;
    if (connection !== 0) this.#take(reply, connection);
  }

  #take(reply: Reply<typeof MessageType.Attach> & { readonly status: 0 }, over: number): void {
    const { runtime, link, counters, changed } = this.#parts;
    const { memoryId } = link.transport;
    const owner = { client: link.client, identity: runtime.processes.identity, memoryId };
    const opened = Attachment.open(runtime, reply, owner);
    if (typeof opened === 'string') {
      this.reason = opened;
      counters.attachesFailed++;
      runtime.log.write('debug', 'memory of a node cannot be used', {
        code: 'MEMORY_NOT_USABLE',
        reason: opened,
      });
      const request = { token: this.#token, slot: reply.slot };
      this.#slot = -1;
      void link.call(MessageType.Detach, request, ASK_WITHIN_MS);
      this.#tryLater();
      return;
    }
    counters.attachments++;
    // It is of another connection, and could come in the middle of a step.
    this.#retry?.cancel();
    this.attachment = opened;
    this.#attachedOver = over;
    this.#retryMs = RETRY_MS_MIN;
    // Who can open the node's memory can share rings with it; who cannot stays where it is.
    if (reply.ring !== '') link.transport.moveTo(reply.ring);
    changed();
  }

  #tryLater(): void {
    this.#triedOver = this.#parts.link.transport.connection;
    const ms = this.#retryMs;
    this.#retryMs = Math.min(RETRY_MS_MAX, 2 * ms);
    this.#retry?.cancel();
    this.#retry = this.#parts.runtime.timers.after(ms, () => {
      this.#triedOver = 0;
      this.upkeep();
    });
  }

  #giveUp(reason: string): void {
    const { attachment } = this;
    if (attachment === undefined) return;
    this.attachment = undefined;
    this.reason = reason;
    this.#parts.counters.attachmentsLost++;
    this.#parts.changed();
    attachment.release();
  }
}
