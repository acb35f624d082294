// What is for everybody to use just now, on a page of the space itself: the address of memory that
// is going to be freed, twice, and the token of a window that is going to be revoked.
const BOARD_BYTES = 256;
const TOKEN_AT = 20;

export function boardBytes(doomed, token) {
  const bytes = Buffer.alloc(BOARD_BYTES);
  bytes.writeDoubleLE(doomed, 0);
  bytes.writeDoubleLE(doomed, 8);
  bytes.writeUInt32LE(token.length, 16);
  bytes.write(token, TOKEN_AT, 'ascii');
  return bytes;
}

/** One who reads while it is written may see a part of each: then it says nothing. */
export async function readBoard(space, at) {
  const bytes = Buffer.from(await space.read(at, BOARD_BYTES));
  const doomed = bytes.readDoubleLE(0);
  const length = Math.min(bytes.readUInt32LE(16), BOARD_BYTES - TOKEN_AT);
  return {
    doomed: doomed === bytes.readDoubleLE(8) ? doomed : 0,
    token: bytes.toString('ascii', TOKEN_AT, TOKEN_AT + length),
  };
}
