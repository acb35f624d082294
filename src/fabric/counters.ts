/** What an endpoint has done since its start, as plain numbers for status and metrics. */

export const MALFORMED_KINDS = [
  'magic',
  'length',
  'checksum',
  'version',
  'message',
  'sequence',
  'hello',
  'body',
] as const;
export type MalformedKind = (typeof MALFORMED_KINDS)[number];

export interface FabricCounters {
  // As the serving side.
  sessionsOpened: number;
  sessionsClosed: number;
  /** Of the opened ones, those over shared memory. */
  sessionsOverRings: number;
  /** Turned away because there were too many. */
  sessionsRefused: number;
  /** Closed because no hello came in time. */
  helloLate: number;
  /** Ended because nothing came from the client for too long. */
  sessionsSilent: number;
  /** Ended by a handler, before what they had sent was executed. */
  sessionsDismissed: number;
  /** Hellos answered with a refusal: a lower number than one known, or no common version. */
  hellosRefused: number;
  /** Earlier connections of a client that a newer one has ended. */
  fenced: number;
  framesReceived: number;
  messagesExecuted: number;
  /** Results that a client asked for after it had missed them. */
  resultsReplayed: number;
  /** Times a session waited because its client did not read. */
  outputFull: number;
  clientsForgotten: number;

  // As the asking side.
  connectionsMade: number;
  connectionsLost: number;
  connectsFailed: number;
  /** Closed with a goodbye because nothing needed them. */
  connectionsLetGo: number;
  /** Connections exchanged for one over another address of the same process, and attempts. */
  connectionsMoved: number;
  movesFailed: number;
  /** Connections given up because nothing was answered for too long. */
  silences: number;
  /** Sent because nothing else was, to be told of a connection that is lost. */
  pingsSent: number;
  operationsSent: number;
  /** Sent again after a reconnect, because they had not been executed or can be repeated. */
  operationsResent: number;
  /** Known from the node's record to have been executed. */
  operationsRecovered: number;
  outcomesUnknown: number;
  deadlinesPassed: number;
  windowsRenewed: number;

  /** Connections closed because of what came over them, on either side. */
  readonly malformed: Record<MalformedKind, number>;
}

export function createCounters(): FabricCounters {
  return {
    sessionsOpened: 0,
    sessionsClosed: 0,
    sessionsOverRings: 0,
    sessionsRefused: 0,
    helloLate: 0,
    sessionsSilent: 0,
    sessionsDismissed: 0,
    hellosRefused: 0,
    fenced: 0,
    framesReceived: 0,
    messagesExecuted: 0,
    resultsReplayed: 0,
    outputFull: 0,
    clientsForgotten: 0,
    connectionsMade: 0,
    connectionsLost: 0,
    connectsFailed: 0,
    connectionsLetGo: 0,
    connectionsMoved: 0,
    movesFailed: 0,
    silences: 0,
    pingsSent: 0,
    operationsSent: 0,
    operationsResent: 0,
    operationsRecovered: 0,
    outcomesUnknown: 0,
    deadlinesPassed: 0,
    windowsRenewed: 0,
    malformed: {
      magic: 0,
      length: 0,
      checksum: 0,
      version: 0,
      message: 0,
      sequence: 0,
      hello: 0,
      body: 0,
    },
  };
}

export const BAD_DATAGRAM_KINDS = [
  'magic',
  'length',
  'checksum',
  'version',
  'tag',
  'message',
  'body',
  'deadline',
] as const;
export type BadDatagramKind = (typeof BAD_DATAGRAM_KINDS)[number];

/** What an endpoint has done as the serving side of datagrams. */
export interface DatagramServerCounters {
  datagramsReceived: number;
  datagramsSent: number;
  /** Parts that were executed, reads among them; refusals count. */
  partsExecuted: number;
  /** Parts that had been executed before, and were answered from the record. */
  partsRecorded: number;
  /** Parts that could not be executed then. */
  again: number;
  /** Changes that their client withdrew before they were executed. */
  withdrawn: number;
  /** Parts that came after their deadline: certainly not executed, or not known. */
  never: number;
  late: number;
  hellos: number;
  pings: number;
  /** Datagrams that were refused because of their cookie, their incarnation, their checksum. */
  cookiesRefused: number;
  incarnationsRefused: number;
  nacks: number;
  /** Refusals that were not sent because one batch asked for too many. */
  refusalsHeldBack: number;
  /** Changes in the record at the moment. */
  recordRows: number;
  /** How many it takes; 0 where no datagrams are served. */
  recordRowsMax: number;
  recordBytes: number;
  /** Datagrams, and of the last two kinds parts, that were dropped. */
  readonly malformed: Record<BadDatagramKind, number>;
}

export function createDatagramServerCounters(): DatagramServerCounters {
  return {
    datagramsReceived: 0,
    datagramsSent: 0,
    partsExecuted: 0,
    partsRecorded: 0,
    again: 0,
    withdrawn: 0,
    never: 0,
    late: 0,
    hellos: 0,
    pings: 0,
    cookiesRefused: 0,
    incarnationsRefused: 0,
    nacks: 0,
    refusalsHeldBack: 0,
    recordRows: 0,
    recordRowsMax: 0,
    recordBytes: 0,
    malformed: {
      magic: 0,
      length: 0,
      checksum: 0,
      version: 0,
      tag: 0,
      message: 0,
      body: 0,
      deadline: 0,
    },
  };
}
