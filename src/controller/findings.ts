/**
 * What status can find, each with a stable code, what it means and what to do. Programs match the
 * code; `docs/status-codes.md` has a section for each, and a test holds the two together.
 */

export type Severity = 'info' | 'warning' | 'error';

interface FindingFacts {
  readonly severity: Severity;
  readonly remedy: string;
}

export const FINDINGS = {
  NO_NODES: {
    severity: 'error',
    remedy: 'start one: memrack memory-node --join ADDRESS --memory SIZE',
  },
  NODE_AWAY: {
    severity: 'error',
    remedy: 'start it again on its machine, or repair the network to it; its data waits there',
  },
  NODE_REFUSED: {
    severity: 'warning',
    remedy: 'do what the message says on the machine that runs the refused process',
  },
  FILE_SYSTEM_UNPROVEN: {
    severity: 'warning',
    remedy: 'move its file to ext4 or xfs: end the node, copy the file, start it there',
  },
  NODE_NEARLY_FULL: {
    severity: 'warning',
    remedy: 'free memory, or add a memory node before it is full',
  },
  NODE_GIVES_BACK: {
    severity: 'warning',
    remedy:
      'wait for its regions to move away; where that does not end add a memory node with room, ' +
      'or end programs on its machine',
  },
  NODE_LENDS_LESS: {
    severity: 'info',
    remedy: 'nothing: it lends more again when its machine has more memory left',
  },
  MOVE_STUCK: {
    severity: 'warning',
    remedy:
      'start the node that is away, or repair the network between the two; of memory that is ' +
      'gone for certain say so: memrack node remove ID --lost. Its data is served where it is',
  },
  NODE_NOT_MEASURED: {
    severity: 'warning',
    remedy:
      'see the log of the node: /proc/meminfo must be readable, and the node must run in the ' +
      'control group that it was given',
  },
  NODE_DRAINING: {
    severity: 'info',
    remedy: 'nothing: see memrack node drain ID; --cancel ends it',
  },
  NODE_DRAIN_WAITS: {
    severity: 'warning',
    remedy: 'do what the message says, or end it: memrack node drain ID --cancel',
  },
  NODE_DRAINED: {
    severity: 'info',
    remedy:
      'end its process, and let it go: memrack node remove ID; or use it again: memrack node ' +
      'drain ID --cancel',
  },
  NODE_DRAIN_ENDED: {
    severity: 'warning',
    remedy: 'see DATA_LOST for what it held; be rid of this: memrack node drain ID --cancel',
  },
  DATA_LOST: {
    severity: 'error',
    remedy: 'restore the data from its source; remove the space to be rid of this finding',
  },
  DEVICE_LOST: {
    severity: 'error',
    remedy:
      'copy what can still be read to another device, or restore it from its source; then remove ' +
      'the device',
  },
  DEVICE_AWAY: {
    severity: 'error',
    remedy: 'start the nodes again that NODE_AWAY names, or repair the network to them',
  },
  DEVICE_DEGRADED: {
    severity: 'warning',
    remedy:
      'wait until copies are made again; where that does not end start the nodes that are away, ' +
      'or add a memory node with room on another machine',
  },
  DEVICE_IN_DOUBT: {
    severity: 'warning',
    remedy:
      'start the controller with its newest --data folder; where there is none, check what is on ' +
      'the device, and put it back from its source',
  },
  REGION_UNKNOWN: {
    severity: 'warning',
    remedy:
      'if the metadata was lost, start the controller with its old --data folder; else restart ' +
      'the node and its supervisor empty to free the memory',
  },
  SPACE_UNKNOWN: {
    severity: 'warning',
    remedy:
      'memrack space adopt ID NAME gives it back to its clients; else restart its nodes and ' +
      'their supervisors empty to free the memory',
  },
  CONTROLLER_RESTORED: {
    severity: 'error',
    remedy:
      'start the nodes that are named; of memory that is gone for certain say so: memrack node ' +
      'remove ID --lost. Put files again that were put after the copy was made',
  },
  REGION_NOT_CONFIRMED: {
    severity: 'info',
    remedy: 'nothing: the node is told again with its next heartbeat',
  },
  GARBAGE_NOT_FREED: {
    severity: 'warning',
    remedy:
      'put or remove any file: clients free what waits; what a client took and did not finish is ' +
      'freed with its space',
  },
  LEASE_BLOCKED: {
    severity: 'warning',
    remedy:
      'start the nodes again, or repair the network to them; if their memory is gone for ' +
      'certain, start them with --replace',
  },
  SPACE_REMOVAL_PENDING: {
    severity: 'info',
    remedy: 'start the nodes that are away: they are told when they return',
  },
  HOST_AWAY: {
    severity: 'warning',
    remedy: 'start it again, or wait: it is forgotten after ten minutes',
  },
  METADATA_NOT_KEPT: {
    severity: 'info',
    remedy: 'start the controller with --data FOLDER to keep spaces and files over its restart',
  },
  LISTENING_WITHOUT_AUTHENTICATION: {
    severity: 'warning',
    remedy: 'listen on a network that only trusted machines reach, or on loopback',
  },
} as const satisfies Record<string, FindingFacts>;

export type FindingCode = keyof typeof FINDINGS;

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** What it is about: the id of a node or host, the name of a space or device, an address. */
  readonly subject: string;
  readonly message: string;
  readonly remedy: string;
}

export function finding(code: FindingCode, subject: string, message: string): Finding {
  return { code, ...FINDINGS[code], subject, message };
}
