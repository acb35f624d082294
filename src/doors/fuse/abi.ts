/**
 * What goes over /dev/fuse, in the kernel's words: `include/uapi/linux/fuse.h`, protocol 7.31 and
 * later. Offsets are in bytes; all numbers are in the byte order of the machine, which is little
 * endian on all that we run on.
 */

export const FUSE_KERNEL_VERSION = 7;
/** The least minor version that we speak: Linux 5.4. */
export const FUSE_MINOR_LEAST = 31;
/** The one that we know all of what we use of: Linux 6.9, with FUSE_NOTIFY_RESEND. */
export const FUSE_MINOR_KNOWN = 40;
/** The number of the root directory. */
export const FUSE_ROOT_ID = 1;

/** Requests. */
export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  RENAME2: 45,
  TMPFILE: 51,
  STATX: 52,
} as const;

/** `struct fuse_in_header`: length, opcode, number of the request, node, who asks. */
export const IN_BYTES = 40;
export const IN_OPCODE = 4;
export const IN_UNIQUE = 8;
export const IN_NODE = 16;
/** The thread that asks; 0 where the kernel itself does. */
export const IN_PID = 32;

/** `struct fuse_out_header`: length, minus the error, number of the request. */
export const OUT_BYTES = 16;
export const OUT_ERROR = 4;
export const OUT_UNIQUE = 8;

/** `struct fuse_init_in` and `fuse_init_out`, behind the headers. */
export const InitIn = { MAJOR: 0, MINOR: 4, MAX_READAHEAD: 8, FLAGS: 12, FLAGS2: 16 } as const;
export const InitOut = {
  MAJOR: 0,
  MINOR: 4,
  MAX_READAHEAD: 8,
  FLAGS: 12,
  MAX_BACKGROUND: 16,
  CONGESTION_THRESHOLD: 18,
  MAX_WRITE: 20,
  TIME_GRAN: 24,
  MAX_PAGES: 28,
  FLAGS2: 32,
  BYTES: 64,
} as const;

/** What kernel and server agree on; bits of the first word. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  INIT_EXT: 1 << 30,
} as const;
/** And of the second. */
export const InitFlag2 = {
  /** The server can ask for what an earlier one has read and not answered. */
  HAS_RESEND: 1 << 7,
} as const;

/** `struct fuse_attr`. */
export const Attr = {
  INO: 0,
  SIZE: 8,
  BLOCKS: 16,
  ATIME: 24,
  MTIME: 32,
  CTIME: 40,
  MODE: 60,
  NLINK: 64,
  UID: 68,
  GID: 72,
  BLKSIZE: 80,
  BYTES: 88,
} as const;

/** `struct fuse_attr_out`: how long it is good, then the attributes. */
export const ATTR_OUT_VALID = 0;
export const ATTR_OUT_ATTR = 16;
export const ATTR_OUT_BYTES = ATTR_OUT_ATTR + Attr.BYTES;

/** `struct fuse_statx_out`: how long it is good, then `struct fuse_statx`. */
export const STATX_OUT_VALID = 0;
export const STATX_OUT_STATX = 32;
export const Statx = {
  MASK: 0,
  BLKSIZE: 4,
  NLINK: 16,
  UID: 20,
  GID: 24,
  MODE: 28,
  INO: 32,
  SIZE: 40,
  BLOCKS: 48,
  ATIME: 64,
  CTIME: 96,
  MTIME: 112,
  BYTES: 256,
} as const;
/** All that stat(2) tells. */
export const STATX_BASIC_STATS = 0x7ff;

/** `struct fuse_entry_out`: the node, how long name and attributes are good, the attributes. */
export const EntryOut = {
  NODE: 0,
  GENERATION: 8,
  ENTRY_VALID: 16,
  ATTR_VALID: 24,
  ATTR: 40,
  BYTES: 40 + Attr.BYTES,
} as const;

/** `struct fuse_open_out`. */
export const OPEN_OUT_FLAGS = 8;
export const OPEN_OUT_BYTES = 16;
/** Reads and writes of the file come here, and not from pages that the kernel keeps. */
export const FOPEN_DIRECT_IO = 1 << 0;
/** Several writes at once may come. */
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

/** `struct fuse_open_out`, and of what names an open directory: the number that it was given. */
export const HANDLE = 0;
/** `struct fuse_read_in`, of READ and READDIR. */
export const ReadIn = { OFFSET: 8, SIZE: 16, BYTES: 40 } as const;
/** `struct fuse_write_in`, and the data behind it. */
export const WriteIn = { OFFSET: 8, SIZE: 16, FLAGS: 32, BYTES: 40 } as const;
export const WRITE_OUT_BYTES = 8;
/** `struct fuse_setattr_in`. */
export const SetattrIn = { VALID: 0, SIZE: 16 } as const;
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const O_DSYNC = 0x1000;
/** `struct fuse_fallocate_in`. */
export const FallocateIn = { OFFSET: 8, LENGTH: 16, MODE: 24 } as const;
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;
/** `struct fuse_kstatfs`. */
export const StatfsOut = {
  BLOCKS: 0,
  FILES: 24,
  BSIZE: 40,
  NAMELEN: 44,
  FRSIZE: 48,
  BYTES: 80,
} as const;
/** `struct fuse_dirent`: the name stands behind it, and each begins at a multiple of 8. */
export const Dirent = { INO: 0, OFF: 8, NAMELEN: 16, TYPE: 20, NAME: 24 } as const;
/** What a server says unasked: its code stands where errors do (`enum fuse_notify_code`). */
export const Notify = { INVAL_INODE: 2, RESEND: 7 } as const;
/** `struct fuse_notify_inval_inode_out`: node, from where on, how far; 0: to the end. */
export const INVAL_INODE_BYTES = 24;
/** `struct fuse_interrupt_in`: the number of the request that nobody waits for any more. */
export const INTERRUPT_UNIQUE = 0;

export const S_IFDIR = 0o040_000;
export const S_IFREG = 0o100_000;
export const DT_DIR = 4;
export const DT_REG = 8;

/** Errors of Linux. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EPROTO: 71,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  ESTALE: 116,
} as const;
