/** What kernel and server agree on when a mount begins (FUSE_INIT). */

import type { Bytes } from '../../runtime/network.js';
import {
  Errno,
  FUSE_KERNEL_VERSION,
  FUSE_MINOR_KNOWN,
  FUSE_MINOR_LEAST,
  IN_BYTES,
  InitFlag,
  InitFlag2,
  InitIn,
  InitOut,
  OUT_BYTES,
} from './abi.js';

const PAGE_BYTES = 4096;
/**
 * Requests that the kernel sends before it waits for answers: those that nobody waits for, which
 * are all of a loop device's. More than it has, so that it is never this that holds them up.
 */
const BACKGROUND_MAX = 2048;
const CONGESTED = 1536;

const { ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES, INIT_EXT } = InitFlag;
const WANTED = ASYNC_READ | BIG_WRITES | ASYNC_DIO | PARALLEL_DIROPS | MAX_PAGES | INIT_EXT;

/** Whoever serves the mount next is told it, as the kernel says it once. */
export interface Agreed {
  /** A server can have again what another one was sent and did not answer. */
  readonly mayResend: boolean;
}

/**
 * Puts the body of the answer into `output`: its bytes and what is agreed on, or the number of an
 * error. Nothing is agreed on with a kernel of a later protocol: it is told ours, and asks again.
 */
export function agree(
  input: Bytes,
  inputBytes: number,
  output: Bytes,
  dataBytesMax: number,
): { readonly errno: number; readonly agreed: Agreed | undefined } {
  const { view } = input;
  const major = view.getUint32(IN_BYTES + InitIn.MAJOR, true);
  const minor = view.getUint32(IN_BYTES + InitIn.MINOR, true);
  const isOld = major === FUSE_KERNEL_VERSION && minor < FUSE_MINOR_LEAST;
  if (major < FUSE_KERNEL_VERSION || isOld) return { errno: Errno.EPROTO, agreed: undefined };
  output.bytes.fill(0, OUT_BYTES, OUT_BYTES + InitOut.BYTES);
  const at = (place: number): number => OUT_BYTES + place;
  output.view.setUint32(at(InitOut.MAJOR), FUSE_KERNEL_VERSION, true);
  output.view.setUint32(at(InitOut.MINOR), FUSE_MINOR_KNOWN, true);
  if (major > FUSE_KERNEL_VERSION) return { errno: 0, agreed: undefined };
  const offered = view.getUint32(IN_BYTES + InitIn.FLAGS, true);
  const hasMore = (offered & INIT_EXT) !== 0 && inputBytes >= IN_BYTES + InitIn.FLAGS2 + 4;
  const offered2 = hasMore ? view.getUint32(IN_BYTES + InitIn.FLAGS2, true) : 0;
  const flags2 = offered2 & InitFlag2.HAS_RESEND;
  const readahead = view.getUint32(IN_BYTES + InitIn.MAX_READAHEAD, true);
  output.view.setUint32(at(InitOut.MAX_READAHEAD), readahead, true);
  output.view.setUint32(at(InitOut.FLAGS), offered & WANTED, true);
  output.view.setUint32(at(InitOut.FLAGS2), flags2, true);
  output.view.setUint16(at(InitOut.MAX_BACKGROUND), BACKGROUND_MAX, true);
  output.view.setUint16(at(InitOut.CONGESTION_THRESHOLD), CONGESTED, true);
  output.view.setUint32(at(InitOut.MAX_WRITE), dataBytesMax, true);
  output.view.setUint32(at(InitOut.TIME_GRAN), 1, true);
  output.view.setUint16(at(InitOut.MAX_PAGES), dataBytesMax / PAGE_BYTES, true);
  return { errno: 0, agreed: { mayResend: flags2 !== 0 } };
}
