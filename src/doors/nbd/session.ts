/**
 * One connection from its first byte to its last: the handshake, perhaps TLS, the transmission.
 *
 *   NEGOTIATING --chosen--> TRANSMITTING --over--> LINGERING --all sent--> closed
 *        |  ^                                          ^
 *        |  +-- tls: the same again, over the secured stream
 *        +--------------------- aborted ---------------+
 */

import type { Timer } from '../../runtime/clock.js';
import type { Bytes, Stream, StreamHandler } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { SecureStream } from '../../runtime/tls.js';
import type { BlockBackend, Exports } from '../backend.js';
import type { NbdCounters } from './counters.js';
import type { NbdLimits } from './limits.js';
import {
  type Agreement,
  Negotiation,
  type NegotiationWorld,
  type TlsState,
} from './negotiation.js';
import type { BufferPool } from './pool.js';
import { Transmission } from './transmission.js';

/** 'off': no TLS is offered; 'required': nothing is told and done without it (FORCEDTLS). */
export type NbdTls =
  | { readonly mode: 'off' }
  | { readonly mode: 'required'; readonly secure: SecureStream };

/** What all connections of one door share. */
export interface NbdServing {
  readonly runtime: Pick<Runtime, 'timers' | 'clock' | 'memory' | 'log'>;
  readonly exports: Exports;
  readonly tls: NbdTls;
  readonly limits: NbdLimits;
  readonly counters: NbdCounters;
  readonly pool: BufferPool;
  readonly sessions: Set<NbdSession>;
  isStopping: boolean;
  /** The session has ended, and nothing of it is under way any more. */
  left(session: NbdSession): void;
}

/** How often a connection that is over is looked at, whether all was sent. */
const LINGER_LOOK_MS = 5;
/** So long a client that negotiates is told that there is nothing to be had any more. */
const STOP_GRACE_MS = 100;

/** closing: the stream was told to close, and has not said that it is. */
type State = 'negotiating' | 'transmitting' | 'lingering' | 'closing' | 'ended';

export class NbdSession implements StreamHandler {
  readonly #serving: NbdServing;
  /** What is spoken over: the plain stream, or the secured one. */
  #stream: Stream;
  /** Who is shown what the plain stream receives, once it is secured. */
  #below: StreamHandler | undefined;
  #state: State = 'negotiating';
  #negotiation: Negotiation;
  #transmission: Transmission | undefined;
  #backend: BlockBackend | undefined;
  /** Replies of the handshake that are not in the output yet. */
  #replies: Uint8Array[] = [];
  #isPaused = false;
  #negotiationTimer: Timer | undefined;
  #lingerTimer: Timer | undefined;

  constructor(serving: NbdServing, stream: Stream) {
    this.#serving = serving;
    this.#stream = stream;
    this.#negotiation = new Negotiation(this.#negotiationWorld(serving.tls.mode));
    const { timers } = serving.runtime;
    this.#negotiationTimer = timers.after(serving.limits.negotiationMs, () => {
      this.#negotiationTimer = undefined;
      this.#fail('no export was chosen in time');
    });
    this.#negotiation.greet();
    this.#sendReplies();
  }

  #negotiationWorld(tls: TlsState): NegotiationWorld {
    const { exports, limits } = this.#serving;
    return {
      exports,
      limits,
      tls,
      isStopping: () => this.#serving.isStopping,
      reply: (bytes) => this.#replies.push(bytes),
      woken: () => this.#woken(),
    };
  }

  // ----------------------------------------------------------------------- of the plain stream

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    if (this.#below !== undefined) return this.#below.received(stream, input, start, end);
    return this.#take(input, start, end);
  }

  drained(stream: Stream): void {
    if (this.#below !== undefined) this.#below.drained(stream);
    else this.#drained();
  }

  closed(stream: Stream, reason: string): void {
    if (this.#below !== undefined) this.#below.closed(stream, reason);
    else this.#ended(reason);
  }

  // ----------------------------------------------------------------------------------- input

  #take(input: Bytes, start: number, end: number): number {
    let at = start;
    if (this.#state === 'negotiating') at = this.#negotiate(input, start, end);
    if (this.#state === 'transmitting') {
      at += this.#transmission?.take(input, at, end) ?? 0;
    }
    // Whatever still comes is not looked at.
    const isOpen = this.#state === 'negotiating' || this.#state === 'transmitting';
    return isOpen ? at - start : end - start;
  }

  /** Returns up to where the input was taken. */
  #negotiate(input: Bytes, start: number, end: number): number {
    const negotiation = this.#negotiation;
    let at = start;
    for (;;) {
      if (!this.#settleNegotiation()) break;
      // Over, or to begin anew with what comes through the secured stream.
      if (this.#state !== 'negotiating' || this.#negotiation !== negotiation) break;
      const taken = negotiation.take(input, at, end);
      at += taken;
      if (taken === 0 && negotiation.outcome === undefined) break;
    }
    return at;
  }

  /**
   * Sends what was replied, then does what came out of it. False: something is waited for, with
   * the stream paused.
   */
  #settleNegotiation(): boolean {
    if (this.#negotiation.isAsking || !this.#sendReplies()) {
      this.#pause();
      return false;
    }
    const { outcome } = this.#negotiation;
    if (outcome === undefined) return true;
    if (outcome.kind === 'chosen') this.#transmit(outcome.agreement);
    else if (outcome.kind === 'tls') this.#secure();
    else if (outcome.isSoft) this.#linger(outcome.reason);
    else this.#fail(outcome.reason);
    return true;
  }

  /** True when all of them are in the output. */
  #sendReplies(): boolean {
    let sent = 0;
    for (const reply of this.#replies) {
      const at = this.#stream.reserve((reply.length + 7) & ~7);
      if (at < 0) break;
      this.#stream.output.bytes.set(reply, at);
      this.#stream.commit(reply.length);
      sent++;
    }
    if (sent > 0) {
      this.#replies.splice(0, sent);
      this.#stream.flush();
    }
    return this.#replies.length === 0;
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#stream.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream.resume();
  }

  /** An export that was asked for has come, or there is room again. */
  #woken(): void {
    if (this.#state === 'ended') this.#releaseUnused();
    else if (this.#state === 'negotiating' && this.#settleNegotiation()) this.#resume();
  }

  /** The client went while its export was looked for. */
  #releaseUnused(): void {
    const { outcome } = this.#negotiation;
    if (outcome?.kind === 'chosen') this.#serving.exports.release?.(outcome.agreement.backend);
    this.#settled();
  }

  #drained(): void {
    if (this.#state === 'transmitting') this.#transmission?.drained();
    else this.#woken();
  }

  // ------------------------------------------------------------------------------------- tls

  #secure(): void {
    const { tls } = this.#serving;
    if (tls.mode !== 'required') return;
    const { clientFlags } = this.#negotiation;
    // "The server MUST NOT preserve any negotiation state": only how messages are framed stays.
    this.#negotiation = new Negotiation(this.#negotiationWorld('secured'));
    this.#negotiation.clientFlags = clientFlags;
    const secured = tls.secure(this.#stream, {
      received: (_stream, input, start, end) => this.#take(input, start, end),
      drained: () => this.#drained(),
      closed: (_stream, reason) => this.#ended(reason),
    });
    this.#stream = secured.stream;
    this.#below = secured.below;
  }

  // ---------------------------------------------------------------------------- transmission

  #transmit(agreement: Agreement): void {
    const { runtime, limits, counters, pool } = this.#serving;
    counters.exportsChosen++;
    this.#negotiationTimer?.cancel();
    this.#negotiationTimer = undefined;
    this.#state = 'transmitting';
    this.#backend = agreement.backend;
    this.#transmission = new Transmission(
      {
        timers: runtime.timers,
        memory: runtime.memory,
        limits,
        counters,
        pool,
        over: (reason, isSoft) => (isSoft ? this.#linger(reason) : this.#fail(reason)),
        settled: () => this.#settled(),
      },
      this.#stream,
      agreement,
    );
    if (this.#serving.isStopping) this.#transmission.stop();
  }

  // ----------------------------------------------------------------------------------- ending

  /** Closes as soon as what was answered is with the system, or after a while. */
  #linger(reason: string): void {
    if (this.#state !== 'negotiating' && this.#state !== 'transmitting') return;
    this.#state = 'lingering';
    this.#negotiationTimer?.cancel();
    const { clock } = this.#serving.runtime;
    this.#lookWhetherSent(reason, clock.now() + this.#serving.limits.lingerMs);
  }

  #lookWhetherSent(reason: string, untilMs: number): void {
    this.#stream.flush();
    const { clock, timers } = this.#serving.runtime;
    if (this.#stream.pending === 0 || clock.now() >= untilMs) {
      this.#stream.close(reason);
      return;
    }
    this.#lingerTimer = timers.after(LINGER_LOOK_MS, () => {
      this.#lingerTimer = undefined;
      if (this.#state === 'lingering') this.#lookWhetherSent(reason, untilMs);
    });
  }

  #fail(reason: string): void {
    if (this.#state === 'ended' || this.#state === 'closing') return;
    if (this.#state === 'negotiating') this.#serving.counters.negotiationsFailed++;
    this.#state = 'closing';
    this.#tellEnd(reason);
    this.#stream.close(reason);
  }

  #tellEnd(reason: string): void {
    this.#serving.runtime.log.write('debug', 'NBD connection ended', {
      code: 'NBD_CONNECTION_ENDED',
      remote: this.#stream.remote,
      reason,
    });
  }

  /** The door stops: what is under way is answered first, and options are told why not. */
  stop(): void {
    if (this.#state === 'transmitting') this.#transmission?.stop();
    if (this.#state !== 'negotiating') return;
    this.#lingerTimer = this.#serving.runtime.timers.after(STOP_GRACE_MS, () => {
      if (this.#state === 'negotiating') this.#fail('the server is stopping');
    });
  }

  /** At once. */
  close(reason: string): void {
    this.#fail(reason);
  }

  #ended(reason: string): void {
    if (this.#state === 'ended') return;
    // Perhaps because the other side has not proven who it is.
    if (this.#state === 'negotiating') this.#tellEnd(reason);
    this.#state = 'ended';
    this.#negotiationTimer?.cancel();
    this.#lingerTimer?.cancel();
    this.#replies = [];
    if (this.#transmission !== undefined) this.#transmission.ended();
    else if (!this.#negotiation.isAsking) this.#releaseUnused();
  }

  /** Nothing is under way any more. */
  #settled(): void {
    const backend = this.#backend;
    this.#backend = undefined;
    if (backend !== undefined) this.#serving.exports.release?.(backend);
    this.#serving.left(this);
  }
}
