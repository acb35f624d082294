/** The directory of files, and places of their bytes that no key names any more. */

import * as limits from './limits.js';
import { spaceRule } from './rules.js';
import { list, pad, struct, text, u8, u32, u53 } from './struct.js';

export const FilePlace = struct(
  'FilePlace',
  24,
  {
    space: u32, // 0: there is none.
    reserved: pad(4),
    address: u53,
    length: u53,
  },
  spaceRule,
);
export const FileEntry = struct(
  'FileEntry',
  24,
  {
    space: u32,
    reserved: pad(4),
    address: u53,
    length: u53,
    key: text(limits.KEY_BYTES_MAX),
    sha256: text(limits.DIGEST_BYTES_MAX), // In hexadecimal.
  },
  spaceRule,
);
export const PutFilesRequest = struct('PutFilesRequest', 0, {
  files: list(FileEntry, limits.FILES_PER_MESSAGE_MAX),
});
export const PutFilesReply = struct('PutFilesReply', 0, {
  replaced: list(FilePlace, limits.FILES_PER_MESSAGE_MAX), // One per file; garbage now.
});
export const FileRequest = struct('FileRequest', 0, { key: text(limits.KEY_BYTES_MAX) });
export const ListFilesRequest = struct('ListFilesRequest', 8, {
  limit: u32,
  reserved: pad(4),
  prefix: text(limits.KEY_BYTES_MAX),
  after: text(limits.KEY_BYTES_MAX),
});
export const ListFilesReply = struct('ListFilesReply', 8, {
  more: u8, // 1: ask again after the last key.
  reserved: pad(7),
  files: list(FileEntry, limits.FILES_PER_MESSAGE_MAX),
});

/**
 * Places that no key names any more, to be freed by the caller and by nobody else. Asked again with
 * the same `taker` the answer is the same, until these places are forgotten.
 */
export const TakeGarbageRequest = struct('TakeGarbageRequest', 16, {
  taker: u53, // Random, for this one call; not 0.
  limit: u32,
  reserved: pad(4),
});
export const TakeGarbageReply = struct('TakeGarbageReply', 8, {
  more: u8, // 1: there are others.
  reserved: pad(7),
  places: list(FilePlace, limits.FILES_PER_MESSAGE_MAX),
});

/** Of places that are not this taker's nothing is changed. */
export const ForgetGarbageRequest = struct('ForgetGarbageRequest', 16, {
  taker: u53,
  isFreed: u8, // 0: certainly not freed; somebody else may take them.
  reserved: pad(7),
  places: list(FilePlace, limits.FILES_PER_MESSAGE_MAX),
});
