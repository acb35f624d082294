/** What a client is told of an export, before it has chosen one. */

import { PAYLOAD_BYTES_MAX } from './limits.js';
import type { BlockBackend } from '../backend.js';
import type { InfoRequest } from './options.js';
import {
  EXPORT_PADDING_BYTES,
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_OPT_LIST,
  NBD_REP_INFO,
  NBD_REP_SERVER,
  optionReply,
  textBytes,
  writeU64,
} from './protocol.js';

const ALWAYS =
  NBD_FLAG_HAS_FLAGS |
  NBD_FLAG_SEND_FLUSH |
  NBD_FLAG_SEND_FUA |
  NBD_FLAG_CAN_MULTI_CONN |
  NBD_FLAG_SEND_CACHE;
const WRITABLE = NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;

/** "Transmission flags"; that of DF only where structured replies were negotiated. */
export function transmissionFlags(backend: BlockBackend, isStructured: boolean): number {
  const access = backend.isReadOnly ? NBD_FLAG_READ_ONLY : WRITABLE;
  return ALWAYS | access | (isStructured ? NBD_FLAG_SEND_DF : 0);
}

/** To NBD_OPT_EXPORT_NAME, which has no header. */
export function exportReply(backend: BlockBackend, flags: number, isPadded: boolean): Uint8Array {
  const reply = new Uint8Array(10 + (isPadded ? EXPORT_PADDING_BYTES : 0));
  const view = new DataView(reply.buffer);
  writeU64(view, 0, backend.bytes);
  view.setUint16(8, flags);
  return reply;
}

function info(option: number, type: number, payload: Uint8Array): Uint8Array {
  const data = new Uint8Array(2 + payload.length);
  new DataView(data.buffer).setUint16(0, type);
  data.set(payload, 2);
  return optionReply(option, NBD_REP_INFO, data);
}

/**
 * The replies to NBD_OPT_INFO and NBD_OPT_GO before the last. Block sizes are always told: the
 * longest payload is not the default, and whoever does not know them ignores them.
 */
export function infoReplies(
  option: number,
  backend: BlockBackend,
  flags: number,
  { wanted }: InfoRequest,
): Uint8Array[] {
  const sizes = new Uint8Array(12);
  const view = new DataView(sizes.buffer);
  view.setUint32(0, backend.blockMin);
  view.setUint32(4, backend.blockPreferred);
  view.setUint32(8, PAYLOAD_BYTES_MAX);
  const replies = [
    info(option, NBD_INFO_EXPORT, exportReply(backend, flags, false)),
    info(option, NBD_INFO_BLOCK_SIZE, sizes),
  ];
  if (wanted.has(NBD_INFO_NAME)) replies.push(info(option, NBD_INFO_NAME, textBytes(backend.name)));
  if (wanted.has(NBD_INFO_DESCRIPTION)) {
    replies.push(info(option, NBD_INFO_DESCRIPTION, textBytes(backend.description)));
  }
  return replies;
}

/** The replies to NBD_OPT_LIST before the last. */
export function listReplies(
  exports: readonly Pick<BlockBackend, 'name' | 'description'>[],
): Uint8Array[] {
  return exports.map(({ name, description }) => {
    const [nameText, descriptionText] = [textBytes(name), textBytes(description)];
    const data = new Uint8Array(4 + nameText.length + descriptionText.length);
    new DataView(data.buffer).setUint32(0, nameText.length);
    data.set(nameText, 4);
    data.set(descriptionText, 4 + nameText.length);
    return optionReply(NBD_OPT_LIST, NBD_REP_SERVER, data);
  });
}
