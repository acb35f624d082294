/** What a joining node must say about itself; each refusal names the field and what is allowed. */
import { Status } from '../base/status.js';
import {
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  REGIONS_PER_MESSAGE_MAX,
  REGIONS_PER_SPACE_MAX,
} from '../wire/limits.js';
import type { ControllerMark } from '../disk/table-file.js';
import { SpaceKind } from '../wire/messages.js';
import { EPOCH_END, SPACE_ID_END } from './limits.js';
import { NAME_CHARACTERS_MAX, quote, refuseName } from './names.js';
import type { HeldRegion } from './reconcile.js';
import { refuse, type Refusal } from './refusal.js';

export interface NodeJoin {
  readonly id: string;
  readonly memoryId: number;
  readonly incarnation: number;
  readonly address: string;
  readonly machine: string;
  readonly pid: number;
  readonly keeper: string;
  readonly process: string;
  readonly pageBytes: number;
  readonly bytesLent: number;
  /** What its memory remembers of controllers. */
  readonly mark: ControllerMark;
  /** Of `SpaceKind`. */
  readonly kind: number;
  /** Of its file, the one of now last. */
  readonly openings: readonly number[];
  /** Of which nobody has shown that it keeps what was flushed; else empty. */
  readonly fileSystem: string;
  /** An operator has said that an older state is to be served. */
  readonly isTrusted: boolean;
  readonly regions: readonly HeldRegion[];
}

export function refuseJoin(request: NodeJoin): Refusal | undefined {
  const { pageBytes, bytesLent, address, regions } = request;
  const wrongName = refuseName('memory node id', request.id);
  if (wrongName !== undefined) return wrongName;
  if (request.memoryId < 1) return refuse(Status.Invalid, 'the memory id is missing');
  if (!isReachable(address)) {
    const allowed = 'tcp://HOST:PORT, unix://PATH or ring://PATH';
    const message = `address ${quote(address)} cannot be reached by others: ${allowed}`;
    return refuse(Status.Invalid, message);
  }
  if (!isShownName(request.machine)) {
    return refuse(Status.Invalid, `machine name ${quote(request.machine)} is not 1 to 100 letters`);
  }
  if (![request.keeper, request.process].every((identity) => /^[ -~]*$/.test(identity))) {
    return refuse(Status.Invalid, 'the identity of a process has characters that are not allowed');
  }
  if (!isPageSize(pageBytes)) {
    return refuse(
      Status.Invalid,
      `page size ${pageBytes} is not a power of two from ${PAGE_BYTES_MIN} to ${PAGE_BYTES_MAX}`,
    );
  }
  if (bytesLent < pageBytes) {
    return refuse(Status.Invalid, `${bytesLent} bytes lent are less than one page (${pageBytes})`);
  }
  const isDisk = request.kind === SpaceKind.PERSISTENT;
  if (request.kind > SpaceKind.PERSISTENT || request.openings.length > 0 !== isDisk) {
    return refuse(Status.Invalid, `memory of kind ${request.kind} with no, or with an, opening`);
  }
  if (request.fileSystem !== '' && !isShownName(request.fileSystem)) {
    return refuse(Status.Invalid, 'the file system has a name that cannot be shown');
  }
  if (regions.length > REGIONS_PER_MESSAGE_MAX || !regions.every(isPossible)) {
    return refuse(Status.Invalid, 'the node reports regions whose numbers are not possible');
  }
  return undefined;
}

/** So long at most, so that all members of a rack fit into one message. */
const ADDRESS_CHARACTERS_MAX = 128;

/** Printable and without blanks, so that it can be shown anywhere. */
export function isReachable(address: string): boolean {
  if (address.length > ADDRESS_CHARACTERS_MAX) return false;
  return /^tcp:\/\/[!-~]+:[1-9]\d*$/.test(address) || /^(unix|ring):\/\/[!-~]+$/.test(address);
}

export function isShownName(name: string): boolean {
  return name.length <= NAME_CHARACTERS_MAX && /^[ -~]+$/.test(name);
}

export function isPageSize(bytes: number): boolean {
  const isPower = Number.isInteger(Math.log2(bytes));
  return isPower && bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX;
}

function isPossible({ space, region, epoch }: HeldRegion): boolean {
  const isRegion = region >= 1 && region < REGIONS_PER_SPACE_MAX;
  return space >= 1 && space < SPACE_ID_END && isRegion && epoch >= 1 && epoch < EPOCH_END;
}
