/** What is checked of a request before anything is done for it, in one place. */

import { Status } from '../../base/status.js';
import type { BlockBackend } from '../backend.js';
import { type NbdLimits, PAYLOAD_BYTES_MAX } from './limits.js';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from './protocol.js';
import { Refusal } from './refusal.js';

/**
 * The flags that each command has ("Command flags"). FUA is to be taken with all of them, by
 * ignoring it where nothing is written.
 */
const FLAGS_OF: readonly number[] = flagsByCommand();

function flagsByCommand(): number[] {
  const flags: number[] = [];
  for (const command of [NBD_CMD_WRITE, NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE])
    flags[command] = NBD_CMD_FLAG_FUA;
  flags[NBD_CMD_READ] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF;
  flags[NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
  flags[NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
  return flags;
}

export class RequestChecks {
  isStopping = false;
  readonly #backend: BlockBackend;
  readonly #limits: NbdLimits;
  readonly #isStructured: boolean;
  readonly #hasContext: boolean;

  constructor(
    backend: BlockBackend,
    limits: NbdLimits,
    agreed: { readonly isStructured: boolean; readonly hasContext: boolean },
  ) {
    this.#backend = backend;
    this.#limits = limits;
    this.#isStructured = agreed.isStructured;
    this.#hasContext = agreed.hasContext;
  }

  /** `Ok`, or a refusal. `offset` may be inexact above 2^53. */
  check(type: number, flags: number, offset: number, length: number): number {
    const allowed = FLAGS_OF[type];
    if (allowed === undefined) return Refusal.UnknownCommand;
    if ((flags & ~allowed) !== 0) return Refusal.UnknownFlag;
    if ((flags & NBD_CMD_FLAG_DF) !== 0 && !this.#isStructured) return Refusal.UnknownFlag;
    if (this.isStopping) return Refusal.Stopping;
    if (type === NBD_CMD_FLUSH) return offset === 0 && length === 0 ? Status.Ok : Refusal.NotZero;
    if (type === NBD_CMD_BLOCK_STATUS && !this.#hasContext) return Refusal.NoContext;
    const isWrite = type === NBD_CMD_WRITE || type === NBD_CMD_WRITE_ZEROES;
    if (this.#backend.isReadOnly && (isWrite || type === NBD_CMD_TRIM)) return Refusal.ReadOnly;
    return this.#checkRange(type, flags, offset, length, isWrite);
  }

  #checkRange(
    type: number,
    flags: number,
    offset: number,
    length: number,
    isWrite: boolean,
  ): number {
    const { blockMin, bytes } = this.#backend;
    if (length === 0) return Refusal.Empty;
    if (offset % blockMin !== 0 || length % blockMin !== 0) return Refusal.Misaligned;
    if (offset + length > bytes) return isWrite ? Refusal.BeyondEndOfWrite : Refusal.BeyondEnd;
    const isPayload = type === NBD_CMD_READ || type === NBD_CMD_WRITE;
    if (isPayload && length > PAYLOAD_BYTES_MAX) return Refusal.TooLong;
    const isWhole = type === NBD_CMD_READ && (flags & NBD_CMD_FLAG_DF) !== 0;
    if (isWhole && length > this.#limits.heldBytes) return Refusal.TooLongUnfragmented;
    return Status.Ok;
  }
}
