/**
 * The handshake of one connection: the fixed newstyle negotiation.
 *
 *   FLAGS --client flags--> OPTIONS <--answered--> ASKING (an export is looked for)
 *                              |
 *                              +--> chosen | tls | over   (the outcome; nothing is taken any more)
 *
 * One option at a time: the next is looked at when the replies to the last are in the output of the
 * stream, so that whoever does not read them gets no more of them made. Nothing here is fast, and
 * objects may be made; everything has a limit.
 */

import type { Bytes } from '../../runtime/network.js';
import type { BlockBackend, Exports } from '../backend.js';
import { exportReply, infoReplies, listReplies, transmissionFlags } from './export-replies.js';
import type { NbdLimits } from './limits.js';
import { type ContextRequest, readContextRequest, readInfoRequest, readString } from './options.js';
import {
  BASE_ALLOCATION,
  BASE_ALLOCATION_ID,
  BASE_NAMESPACE,
  CLIENT_FLAGS_BYTES,
  GREETING_BYTES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_MAGIC,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTION_MAGIC,
  NBD_REP_ACK,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_TOO_BIG,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_META_CONTEXT,
  OPTION_HEADER_BYTES,
  optionReply,
  textBytes,
} from './protocol.js';

/** What both sides have agreed on. */
export interface Agreement {
  readonly backend: BlockBackend;
  readonly isStructured: boolean;
  /** `base:allocation` was selected, for this export. */
  readonly hasContext: boolean;
}

export type Outcome =
  | { readonly kind: 'chosen'; readonly agreement: Agreement }
  /** The stream is to be secured; a new negotiation then begins with its options. */
  | { readonly kind: 'tls' }
  /** `isSoft`: what was answered is to reach the client. */
  | { readonly kind: 'over'; readonly reason: string; readonly isSoft: boolean };

/** off: there is none; required: nothing without it; secured: it is in place. */
export type TlsState = 'off' | 'required' | 'secured';

export interface NegotiationWorld {
  readonly exports: Exports;
  readonly limits: NbdLimits;
  readonly tls: TlsState;
  isStopping(): boolean;
  /** Bytes for the client, in order. */
  reply(bytes: Uint8Array): void;
  /** What was asked for has come: there are replies, and perhaps an outcome. */
  woken(): void;
}

const KNOWN_OPTIONS: ReadonlySet<number> = new Set([
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_ABORT,
  NBD_OPT_LIST,
  NBD_OPT_STARTTLS,
  NBD_OPT_INFO,
  NBD_OPT_GO,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
]);

const CLIENT_FLAGS = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
const NOTHING = new Uint8Array(0);

export class Negotiation {
  outcome: Outcome | undefined;
  /** Kept when the stream is secured; everything else is forgotten then. */
  clientFlags = -1;
  readonly #world: NegotiationWorld;
  #isAsking = false;
  #isStructured = false;
  /** The export for which `base:allocation` was selected last; undefined: for none. */
  #contextOf: string | undefined;
  #options = 0;
  #taken = 0;
  /** What is left of an option that is too long to be looked at. */
  #skip = 0;

  constructor(world: NegotiationWorld) {
    this.#world = world;
  }

  /** The first message of the connection. */
  greet(): void {
    const greeting = new Uint8Array(GREETING_BYTES);
    const view = new DataView(greeting.buffer);
    view.setBigUint64(0, NBD_MAGIC);
    view.setBigUint64(8, NBD_OPTION_MAGIC);
    view.setUint16(16, CLIENT_FLAGS);
    this.#world.reply(greeting);
  }

  /** Nothing is to be taken until `woken`. */
  get isAsking(): boolean {
    return this.#isAsking;
  }

  /**
   * Takes one thing from `input[at, end)`: the client's flags, an option, a piece of one that is
   * skipped. Returns how many bytes that was; 0 when more must arrive, or there is an outcome.
   */
  take(input: Bytes, at: number, end: number): number {
    if (this.outcome !== undefined || this.#isAsking) return 0;
    const bytes = this.#takeOne(input, at, end);
    this.#taken += bytes;
    if (this.#taken > this.#world.limits.negotiationBytes) this.#end('too many bytes of options');
    return bytes;
  }

  #takeOne(input: Bytes, at: number, end: number): number {
    const here = end - at;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, here);
      this.#skip -= skipped;
      return skipped;
    }
    if (this.clientFlags < 0) return this.#takeFlags(input, at, here);
    // A wrong magic is told at once, not when a length that means nothing has come in.
    if (here >= 8 && input.view.getBigUint64(at) !== NBD_OPTION_MAGIC) {
      this.#end('an option without its magic');
      return 0;
    }
    if (here < OPTION_HEADER_BYTES) return 0;
    const option = input.view.getUint32(at + 8);
    const length = input.view.getUint32(at + 12);
    const refusal = this.#refusal(option, length);
    const isPart = refusal === undefined && here < OPTION_HEADER_BYTES + length;
    if (isPart && option !== NBD_OPT_ABORT) return 0;
    this.#options += 1;
    if (this.#options > this.#world.limits.options) this.#end('too many options');
    else if (refusal !== undefined) this.#refuse(option, length, refusal);
    else {
      const start = at + OPTION_HEADER_BYTES;
      this.#execute(option, input, start, start + length, end);
      if (!isPart) return OPTION_HEADER_BYTES + length;
    }
    return OPTION_HEADER_BYTES;
  }

  #takeFlags(input: Bytes, at: number, here: number): number {
    if (here < CLIENT_FLAGS_BYTES) return 0;
    const flags = input.view.getUint32(at);
    if ((flags & ~CLIENT_FLAGS) !== 0) this.#end('unknown client flags');
    else this.clientFlags = flags;
    return CLIENT_FLAGS_BYTES;
  }

  /** The reply type of what is refused whatever its data are; 0: the connection ends. */
  #refusal(option: number, length: number): number | undefined {
    const { tls, limits } = this.#world;
    const isFixed = (this.clientFlags & NBD_FLAG_FIXED_NEWSTYLE) !== 0;
    if (!isFixed && option !== NBD_OPT_EXPORT_NAME) return 0;
    if (option === NBD_OPT_ABORT) return undefined;
    if (this.#world.isStopping()) return NBD_REP_ERR_SHUTDOWN;
    if (tls === 'required' && option !== NBD_OPT_STARTTLS) return NBD_REP_ERR_TLS_REQD;
    if (!KNOWN_OPTIONS.has(option)) return NBD_REP_ERR_UNSUP;
    if (option === NBD_OPT_STARTTLS && tls === 'off') return NBD_REP_ERR_UNSUP;
    return length > limits.optionBytes ? NBD_REP_ERR_TOO_BIG : undefined;
  }

  #refuse(option: number, length: number, type: number): void {
    // NBD_OPT_EXPORT_NAME has no error reply.
    if (type === 0 || option === NBD_OPT_EXPORT_NAME) {
      this.#end('an option that cannot be answered');
      return;
    }
    this.#reply(option, type);
    this.#skip = length;
  }

  #execute(option: number, input: Bytes, start: number, end: number, inputEnd: number): void {
    switch (option) {
      case NBD_OPT_ABORT:
        this.#reply(option, NBD_REP_ACK);
        this.outcome = { kind: 'over', reason: 'the client aborted', isSoft: true };
        return;
      case NBD_OPT_EXPORT_NAME:
        this.#chooseByName(readString(input, start, end));
        return;
      case NBD_OPT_INFO:
      case NBD_OPT_GO:
        this.#inform(option, input, start, end);
        return;
      case NBD_OPT_LIST_META_CONTEXT:
      case NBD_OPT_SET_META_CONTEXT:
        this.#contexts(option, input, start, end);
        return;
      default:
        // The others have no data.
        if (end > start) this.#reply(option, NBD_REP_ERR_INVALID, 'this option has no data');
        else this.#executeBare(option, inputEnd > end);
    }
  }

  #executeBare(option: number, isMoreThere: boolean): void {
    if (option === NBD_OPT_STRUCTURED_REPLY) {
      this.#isStructured = true;
      this.#reply(option, NBD_REP_ACK);
    } else if (option === NBD_OPT_STARTTLS) {
      this.#startTls(isMoreThere);
    } else {
      this.#ask(this.#world.exports.list(), (all) => {
        for (const one of listReplies(all)) this.#world.reply(one);
        this.#reply(option, NBD_REP_ACK);
      });
    }
  }

  #startTls(isMoreThere: boolean): void {
    if (this.#world.tls === 'secured') {
      this.#reply(NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, 'TLS is in place');
    } else if (isMoreThere) {
      // It was sent before our answer could be read, so it is no handshake of the client: somebody
      // may have put it there, to be taken for what the client says under TLS.
      this.#end('bytes in plain text behind NBD_OPT_STARTTLS');
    } else {
      this.#reply(NBD_OPT_STARTTLS, NBD_REP_ACK);
      this.outcome = { kind: 'tls' };
    }
  }

  // --------------------------------------------------------------------------------- exports

  #chooseByName(name: string | undefined): void {
    if (name === undefined) {
      this.#end('an export name that is none');
      return;
    }
    this.#ask(this.#world.exports.find(name), (backend) => {
      if (backend === undefined) {
        this.#end('an unknown export');
        return;
      }
      const isPadded = (this.clientFlags & NBD_FLAG_NO_ZEROES) === 0;
      const flags = transmissionFlags(backend, this.#isStructured);
      this.#world.reply(exportReply(backend, flags, isPadded));
      this.#choose(name, backend);
    });
  }

  #choose(name: string, backend: BlockBackend): void {
    const isStructured = this.#isStructured;
    const hasContext = isStructured && this.#contextOf === name;
    this.outcome = { kind: 'chosen', agreement: { backend, isStructured, hasContext } };
  }

  #inform(option: number, input: Bytes, start: number, end: number): void {
    const request = readInfoRequest(input, start, end);
    if (request === undefined) {
      this.#reply(option, NBD_REP_ERR_INVALID, 'name or information requests are malformed');
      return;
    }
    this.#ask(this.#world.exports.find(request.name), (backend) => {
      if (backend === undefined) {
        this.#reply(option, NBD_REP_ERR_UNKNOWN, NO_EXPORT);
        return;
      }
      const flags = transmissionFlags(backend, this.#isStructured);
      for (const one of infoReplies(option, backend, flags, request)) this.#world.reply(one);
      this.#reply(option, NBD_REP_ACK);
      if (option === NBD_OPT_GO) this.#choose(request.name, backend);
      else this.#release(backend);
    });
  }

  #release(backend: BlockBackend): void {
    this.#world.exports.release?.(backend);
  }

  // -------------------------------------------------------------------------------- contexts

  #contexts(option: number, input: Bytes, start: number, end: number): void {
    // "Including when this command fails".
    if (option === NBD_OPT_SET_META_CONTEXT) this.#contextOf = undefined;
    const request = readContextRequest(input, start, end);
    if (!this.#isStructured || request === undefined) {
      const why = request === undefined ? 'name or queries are malformed' : NEEDS_STRUCTURED;
      this.#reply(option, NBD_REP_ERR_INVALID, why);
      return;
    }
    if (request.queries.some((query) => query.indexOf(':') <= 0)) {
      this.#reply(option, NBD_REP_ERR_INVALID, 'a query without a namespace');
      return;
    }
    this.#ask(this.#world.exports.find(request.name), (backend) => {
      if (backend === undefined) {
        this.#reply(option, NBD_REP_ERR_UNKNOWN, NO_EXPORT);
        return;
      }
      this.#release(backend);
      this.#replyContexts(option, request);
    });
  }

  #replyContexts(option: number, { name, queries }: ContextRequest): void {
    const isList = option === NBD_OPT_LIST_META_CONTEXT;
    const isAll = isList && (queries.length === 0 || queries.includes(BASE_NAMESPACE));
    if (isAll || queries.includes(BASE_ALLOCATION)) {
      const text = textBytes(BASE_ALLOCATION);
      const data = new Uint8Array(4 + text.length);
      new DataView(data.buffer).setUint32(0, isList ? 0 : BASE_ALLOCATION_ID);
      data.set(text, 4);
      this.#world.reply(optionReply(option, NBD_REP_META_CONTEXT, data));
      if (!isList) this.#contextOf = name;
    }
    this.#reply(option, NBD_REP_ACK);
  }

  // ----------------------------------------------------------------------------------- common

  #reply(option: number, type: number, message = ''): void {
    const data = message === '' ? NOTHING : textBytes(message);
    this.#world.reply(optionReply(option, type, data));
  }

  #end(reason: string): void {
    this.outcome ??= { kind: 'over', reason, isSoft: false };
  }

  /** Goes on with `then` when the promise has settled; nothing is taken in between. */
  #ask<T>(promise: Promise<T>, then: (value: T) => void): void {
    this.#isAsking = true;
    void promise.then((value) => {
      this.#isAsking = false;
      then(value);
      this.#world.woken();
    });
  }
}

/** One that cannot be had now is not told from one that is not there: the protocol has no word. */
const NO_EXPORT = 'there is no such export, or it cannot be served now';
const NEEDS_STRUCTURED = 'structured replies are to be negotiated first';
