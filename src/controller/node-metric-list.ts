/**
 * The numbers of a memory node that Prometheus is told: where each stands in what the node answers,
 * and its name. Names are kept, because boards and alerts have them; docs/seeing.md lists them.
 */
import type { HistogramCounts } from '../base/histogram.js';
import {
  type HistogramSample,
  type Labels,
  type Metric,
  type MetricSample,
} from '../base/metric.js';

export type Numbers = Readonly<Record<string, unknown>>;
/** What one node has told; undefined: it did not answer. */
export type Told = readonly [id: string, counters: Numbers | undefined];

export interface Wanted {
  readonly name: string;
  readonly kind: Metric['kind'];
  readonly help: string;
  /**
   * The value, by the values of the labels where there are some; undefined: the node has none. What
   * is no number is left out.
   */
  readonly of: (counters: Numbers) => unknown;
  readonly labels: readonly string[];
}

/** Every metric that any node tells something for. */
export function metricsTold(told: readonly Told[]): Metric[] {
  return NODE_METRICS.map((wanted) => metricOf(wanted, told)).filter(
    ({ samples }) => samples.length > 0,
  );
}

export function asNumbers(value: unknown): Numbers {
  return typeof value === 'object' && value !== null ? (value as Numbers) : {};
}

function metricOf({ name, kind, help, of, labels }: Wanted, told: readonly Told[]): Metric {
  const found: [Labels, unknown][] = [];
  for (const [node, counters] of told) {
    if (counters !== undefined) collect({ node }, labels, of(counters), found);
  }
  if (kind === 'histogram') return { name, kind, help, samples: found.flatMap(histogramSample) };
  return { name, kind, help, samples: found.flatMap(plainSample) };
}

/** One sample where no label is left, else those of each value of the next one. */
function collect(
  known: Labels,
  labels: readonly string[],
  value: unknown,
  found: [Labels, unknown][],
): void {
  const [label, ...rest] = labels;
  if (label === undefined) {
    found.push([known, value]);
    return;
  }
  for (const [key, each] of Object.entries(asNumbers(value))) {
    collect({ ...known, [label]: key }, rest, each, found);
  }
}

function plainSample([labels, value]: [Labels, unknown]): MetricSample[] {
  return typeof value === 'number' && Number.isFinite(value) ? [{ labels, value }] : [];
}

/** Of nodes of other versions, too: what is no histogram is none. */
function histogramSample([labels, value]: [Labels, unknown]): HistogramSample[] {
  const { bounds, counts, sum } = asNumbers(value) as Partial<HistogramCounts>;
  const isWhole = areNumbers(bounds) && areNumbers(counts) && counts.length === bounds.length + 1;
  return isWhole && Number.isFinite(sum) ? [{ labels, bounds, counts, sum: sum ?? 0 }] : [];
}

function areNumbers(values: unknown): values is readonly number[] {
  return Array.isArray(values) && values.every((value) => Number.isFinite(value));
}

const PREFIX = 'memrack_node_';

function counter(
  name: string,
  help: string,
  of: (counters: Numbers) => unknown,
  ...labels: string[]
): Wanted {
  return { name: `${PREFIX}${name}_total`, kind: 'counter', help, of, labels };
}

function gauge(name: string, help: string, of: (counters: Numbers) => unknown): Wanted {
  return { name: `${PREFIX}${name}`, kind: 'gauge', help, of, labels: [] };
}

function histogram(
  name: string,
  help: string,
  of: (counters: Numbers) => unknown,
  ...labels: string[]
): Wanted {
  return { name: `${PREFIX}${name}`, kind: 'histogram', help, of, labels };
}

/** Left out where a node of another version does not say. */
function flag(value: unknown): number | undefined {
  return typeof value === 'boolean' ? Number(value) : undefined;
}

const datagrams = (counters: Numbers): Numbers => asNumbers(counters['datagrams']);
const fabric = (counters: Numbers): Numbers => asNumbers(counters['fabric']);
const disk = (counters: Numbers): Numbers => asNumbers(counters['disk']);
const leases = (counters: Numbers): Numbers => asNumbers(counters['leases']);
const slabs = (counters: Numbers): Numbers => asNumbers(counters['slabs']);

const DATA: readonly Wanted[] = [
  counter('operations', 'Data messages and parts, by type.', (all) => all['operations'], 'type'),
  counter('refusals', 'Those that were refused, by status.', (all) => all['refusals'], 'status'),
  counter('read_bytes', 'Bytes read by clients.', (all) => all['bytesRead']),
  counter('written_bytes', 'Bytes written by clients.', (all) => all['bytesWritten']),
  histogram(
    'service_seconds',
    'What a request takes at the node, queues left out; of one look in 64 at what arrived.',
    (all) => all['service'],
    'kind',
  ),
  histogram(
    'wait_seconds',
    'How long requests over streams waited off the fast path, by cause.',
    (all) => all['waits'],
    'cause',
  ),
  counter(
    'station_seconds',
    'What the requests of service_seconds took, by station.',
    (all) => all['stationSeconds'],
    'kind',
    'station',
  ),
];

const MEMORY: readonly Wanted[] = [
  gauge('incarnation', 'Rises with each process of the node.', (all) => all['incarnation']),
  gauge('frames', 'Frames in all.', (all) => all['frames']),
  gauge('frames_used', 'Frames that pages have.', (all) => all['framesUsed']),
  gauge(
    'frames_resting',
    'Frames in quarantine: free, but a thread of another process may still be at work there.',
    (all) => all['framesResting'],
  ),
  gauge('frames_promised', 'Free frames that are reserved.', (all) => all['framesPromised']),
  gauge('frames_kept', 'Free frames that are kept for revocation.', (all) => all['framesKept']),
  gauge('pages_committed', 'Pages that are allocated.', (all) => all['pagesCommitted']),
  counter('allocations', 'Allocations.', (all) => all['allocations']),
  counter('frees', 'Allocations that were freed.', (all) => all['frees']),
  counter('protects', 'Changes of rights.', (all) => all['protects']),
  counter(
    'allocation_retries',
    'Full buckets of the page table that pushed the search for an address on.',
    (all) => all['allocationRetries'],
  ),
  counter(
    'allocations_expired',
    'Allocations that went because nobody confirmed them in time.',
    (all) => all['provisionalExpired'],
  ),
  counter('first_touches', 'Pages that got their frame.', (all) => all['firstTouches']),
  counter(
    'frame_waits',
    'First touches that had to wait for a frame to be zeroed.',
    (all) => all['waitsForZeroedFrame'],
  ),
  counter('frames_refused', 'First touches without memory.', (all) => all['framesRefused']),
  gauge('state_bytes', 'Kept for clients, connections and windows.', (all) => all['stateBytes']),
];

const WITHOUT_THE_NODE: readonly Wanted[] = [
  gauge('slots_attached', 'Threads that use its memory in place.', (all) => all['slotsAttached']),
  gauge('processes_attached', 'Processes of these threads.', (all) => all['processesAttached']),
  gauge(
    'slots_held_back',
    'Threads that are stopped in the middle of an operation, and hold up frames.',
    (all) => all['slotsHeldBack'],
  ),
  gauge('windows', 'Open windows.', (all) => all['windows']),
  gauge('windows_shared', 'Those that any client may use.', (all) => all['windowsShared']),
  counter('windows_refused', 'Windows that were not opened.', (all) => all['windowsRefused']),
  counter(
    'pages_copied_on_revoke',
    'Pages that were copied away from stopped threads.',
    (all) => all['pagesCopiedOnRevoke'],
  ),
  gauge('revocations_waiting', 'Revocations under way.', (all) => all['revocationsWaiting']),
  counter(
    'revocations_unsettled',
    'Revocations that could not be brought to an end.',
    (all) => all['revocationsUnsettled'],
  ),
  counter('pages_moved', 'Pages that got another frame in use.', (all) => all['pagesMoved']),
  counter('page_moves_cancelled', 'Those that did not.', (all) => all['movesCancelled']),
  gauge('pages_paused', 'Pages that are about to get another frame.', (all) => all['pagesPaused']),
  counter(
    'paused_page_waits',
    'Messages that found such a page.',
    (all) => all['waitsForPausedPage'],
  ),
  gauge('leases', 'Leases that the node keeps.', (all) => leases(all)['known']),
  gauge('leases_held', 'Those with a holder.', (all) => leases(all)['held']),
  gauge('leases_run_out', 'Those whose holder has let its time pass.', (all) => {
    return leases(all)['runOut'];
  }),
  gauge('slabs', 'Copies of slabs of block devices.', (all) => slabs(all)['kept']),
  gauge('slab_bytes', 'Memory that is allocated for them.', (all) => slabs(all)['bytes']),
  gauge('slabs_without_record', 'Those that nobody knows the owner of.', (all) => {
    return slabs(all)['withoutRecord'];
  }),
];

const STREAMS: readonly Wanted[] = [
  gauge('sessions', 'Connections that are served.', (all) => all['sessions']),
  counter('sessions_opened', 'Connections of clients.', (all) => fabric(all)['sessionsOpened']),
  counter('sessions_over_rings', 'Those through shared memory.', (all) => {
    return fabric(all)['sessionsOverRings'];
  }),
  counter(
    'sessions_ended',
    'Connections that the node has ended or turned away, by reason.',
    (all) => {
      const counts = fabric(all);
      return {
        too_many: counts['sessionsRefused'],
        hello_late: counts['helloLate'],
        hello_refused: counts['hellosRefused'],
        silent: counts['sessionsSilent'],
        region_back: counts['sessionsDismissed'],
        fenced: counts['fenced'],
      };
    },
    'reason',
  ),
  counter('frames_received', 'Frames of messages.', (all) => fabric(all)['framesReceived']),
  counter(
    'results_replayed',
    'Results that clients asked for because they had missed them.',
    (all) => fabric(all)['resultsReplayed'],
  ),
  counter('output_waits', 'Times a connection waited for a client to read.', (all) => {
    return fabric(all)['outputFull'];
  }),
  counter('clients_forgotten', 'Clients without a connection for too long.', (all) => {
    return fabric(all)['clientsForgotten'];
  }),
  counter(
    'streams_malformed',
    'Connections closed because of what came over them, by rule.',
    (all) => fabric(all)['malformed'],
    'kind',
  ),
];

const MOVES: readonly Wanted[] = [
  counter('regions_given', 'Regions that moved away.', (all) => all['regionsGiven']),
  counter('regions_taken', 'Regions that came from other nodes.', (all) => all['regionsTaken']),
  counter(
    'region_moves_cancelled',
    'Moves away that did not come about.',
    (all) => all['regionMovesCancelled'],
  ),
  counter(
    'region_moves_stuck',
    'Those of them that a stopped thread, or too many writes, kept from it.',
    (all) => all['regionMovesStuck'],
  ),
  counter('region_move_bytes', 'Bytes sent by moves.', (all) => all['regionMoveBytes']),
  histogram(
    'region_move_pause_seconds',
    'For how long nobody was served while a region moved away.',
    (all) => all['regionMovePauseSeconds'],
  ),
  gauge('regions_going', 'Regions on their way from here.', (all) => all['regionsGoing']),
  gauge('regions_coming', 'Regions on their way to here.', (all) => all['regionsComing']),
  gauge(
    'regions_handing',
    'Those of which it is in doubt who holds them.',
    (all) => all['regionsHanding'],
  ),
];

const DONOR: readonly Wanted[] = [
  gauge('frames_lent', 'Frames that are lent now.', (all) => all['framesLent']),
  gauge(
    'to_give_bytes',
    'Used, and more than is lent now: it has to move away.',
    (all) => all['bytesToGive'],
  ),
  gauge(
    'room_bytes',
    'What its machine, or its control group, has left.',
    (all) => all['roomBytes'],
  ),
  gauge(
    'memory_stalled_ratio',
    'Share of the time for which programs there wait for memory, 0 to 1.',
    (all) => all['stalledShare'],
  ),
  gauge('lends_with_care', 'Whether it gives back to its machine: 1 or 0.', (all) => {
    return flag(all['donorOn']);
  }),
  gauge('unmeasured', 'Whether it does not know what its machine has left: 1 or 0.', (all) => {
    return flag(all['donorUnmeasured']);
  }),
  counter(
    'limit_changes',
    'Changes of what is lent, by direction.',
    (all) => ({ lowered: all['limitLowered'], raised: all['limitRaised'] }),
    'direction',
  ),
  gauge(
    'slabs_going',
    'Copies of slabs of block devices that it has asked their hosts to take elsewhere.',
    (all) => all['slabsGoing'],
  ),
  counter('slabs_gone', 'Of these, those that went.', (all) => all['slabsGone']),
];

const DISK: readonly Wanted[] = [
  histogram(
    'flush_seconds',
    'Until what was flushed is durable. A node whose disk fails ends, and is started anew.',
    (all) => disk(all)['flushSeconds'],
  ),
  histogram(
    'disk_commit_seconds',
    'Until a change of the page table is durable.',
    (all) => disk(all)['commitSeconds'],
  ),
  counter('disk_checkpoints', 'Page tables written as a whole.', (all) => disk(all)['checkpoints']),
  gauge('disk_log_used_bytes', 'Of the log of the page table.', (all) => disk(all)['logBytesUsed']),
];

const DATAGRAMS: readonly Wanted[] = [
  counter(
    'datagrams_received',
    'Datagrams that came.',
    (all) => datagrams(all)['datagramsReceived'],
  ),
  counter('datagrams_sent', 'Datagrams of answers.', (all) => datagrams(all)['datagramsSent']),
  counter(
    'datagrams_dropped',
    'Datagrams that found no room in the receive buffer: net.core.rmem_max is small.',
    (all) => datagrams(all)['dropped'],
  ),
  counter(
    'datagrams_unsent',
    'Datagrams that the system did not take.',
    (all) => datagrams(all)['unsent'],
  ),
  counter(
    'datagrams_malformed',
    'Datagrams, of the last two kinds parts of them, that break a rule, by rule.',
    (all) => datagrams(all)['malformed'],
    'kind',
  ),
  counter(
    'datagrams_refused',
    'Datagrams answered without a look at their parts, by reason; held_back: not even answered.',
    (all) => {
      const { cookiesRefused, incarnationsRefused, nacks, refusalsHeldBack } = datagrams(all);
      return {
        cookie: cookiesRefused,
        incarnation: incarnationsRefused,
        checksum: nacks,
        held_back: refusalsHeldBack,
      };
    },
    'reason',
  ),
  counter(
    'datagram_parts',
    'Parts of datagrams, by what became of them; recorded: duplicates, answered from the record.',
    (all) => {
      const { partsExecuted, partsRecorded, again, never, late } = datagrams(all);
      return { executed: partsExecuted, recorded: partsRecorded, again, never, late };
    },
    'outcome',
  ),
  counter('datagram_hellos', 'Hellos in datagrams.', (all) => datagrams(all)['hellos']),
  counter('datagram_pings', 'Pings in datagrams.', (all) => datagrams(all)['pings']),
  gauge(
    'datagram_record_rows',
    'Changes that are remembered.',
    (all) => datagrams(all)['recordRows'],
  ),
  gauge('datagram_record_rows_max', 'How many it takes; then clients wait.', (all) => {
    return datagrams(all)['recordRowsMax'];
  }),
  gauge('datagram_record_bytes', 'Memory of that record.', (all) => datagrams(all)['recordBytes']),
  gauge(
    'datagram_receive_buffer_bytes',
    'What the system keeps of datagrams that the node has not taken yet.',
    (all) => datagrams(all)['receiveBytes'],
  ),
];

/** All that can be told of a node. */
export const NODE_METRICS: readonly Wanted[] = [
  ...DATA,
  ...MEMORY,
  ...WITHOUT_THE_NODE,
  ...STREAMS,
  ...DATAGRAMS,
  ...MOVES,
  ...DONOR,
  ...DISK,
];
