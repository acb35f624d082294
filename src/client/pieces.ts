/**
 * Where a request is cut: a piece is at most `PIECE_BYTES_MAX` long, lies within one page, and
 * never cuts an aligned 8-byte word, because the node keeps only words of one piece whole.
 */

import { PIECE_BYTES_MAX } from '../wire/limits.js';

const WORD_BYTES = 8;

/** How many bytes from `address` on go into one piece, when `left` are still to go. */
export function pieceBytes(address: number, left: number, pageBytes: number): number {
  const inPage = pageBytes - (address % pageBytes);
  const most = left < inPage ? left : inPage;
  if (most <= PIECE_BYTES_MAX) return most;
  return PIECE_BYTES_MAX - (address % WORD_BYTES);
}

/** Whether the range is one piece: the short way, without a reservation. */
export function isOnePiece(address: number, bytes: number, pageBytes: number): boolean {
  return bytes <= PIECE_BYTES_MAX && bytes <= pageBytes - (address % pageBytes);
}

/** How many pieces the range is cut into. */
export function pieceCount(address: number, bytes: number, pageBytes: number): number {
  let count = 0;
  for (let done = 0; done < bytes; count++) {
    done += pieceBytes(address + done, bytes - done, pageBytes);
  }
  return count;
}

/** One region's part of a range. */
export interface Part {
  readonly region: number;
  readonly address: number;
  readonly bytes: number;
}
