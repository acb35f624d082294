/** Files of the machine. What `flush` promises is fdatasync's promise. */

import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import { type Disk, DiskError, type File } from '../disk.js';

const OPEN_FLAGS = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
} as const;
/** Owner alone: files may hold what users stored. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

const KINDS: Record<string, DiskError['kind']> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EEXIST: 'exists',
  ENOTEMPTY: 'exists',
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  EBADF: 'denied',
  EISDIR: 'denied',
};

export const nodeDisk: Disk = {
  async open(path, mode) {
    const handle = await told(fs.open(path, OPEN_FLAGS[mode], FILE_MODE), `cannot open ${path}`);
    return new NodeFile(handle, path);
  },

  rename: (from, to) => told(fs.rename(from, to), `cannot rename ${from} to ${to}`),

  remove: (path) => told(fs.rm(path), `cannot remove ${path}`),

  list: (folder) => told(fs.readdir(folder), `cannot list ${folder}`),

  async makeFolder(path) {
    await told(fs.mkdir(path, { recursive: true, mode: FOLDER_MODE }), `cannot make ${path}`);
  },

  async flushDirectory(folder) {
    const handle = await told(fs.open(folder, 'r'), `cannot open ${folder}`);
    try {
      await told(handle.sync(), `cannot flush ${folder}`);
    } finally {
      await handle.close();
    }
  },
};

class NodeFile implements File {
  readonly #handle: fs.FileHandle;
  readonly #path: string;

  constructor(handle: fs.FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const part = this.#handle.read(into, done, into.length - done, offset + done);
      const { bytesRead } = await told(part, `cannot read ${this.#path}`);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    let done = 0;
    while (done < from.length) {
      const part = this.#handle.write(from, done, from.length - done, offset + done);
      done += (await told(part, `cannot write ${this.#path}`)).bytesWritten;
    }
  }

  flush(): Promise<void> {
    return told(this.#handle.datasync(), `cannot flush ${this.#path}`);
  }

  async size(): Promise<number> {
    return (await told(this.#handle.stat(), `cannot look at ${this.#path}`)).size;
  }

  truncate(bytes: number): Promise<void> {
    return told(this.#handle.truncate(bytes), `cannot cut ${this.#path}`);
  }

  close(): Promise<void> {
    return told(this.#handle.close(), `cannot close ${this.#path}`);
  }
}

/** `code` is the system's name of the error. */
export function diskError(code: string, message: string): DiskError {
  return new DiskError(KINDS[code] ?? 'io', message);
}

/** The same promise, rejecting in our words. */
async function told<T>(promise: Promise<T>, what: string): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw diskError(code, `${what}: ${code} ${(error as Error).message}`);
  }
}
