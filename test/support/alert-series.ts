// Series of a rack in order, minute by minute for 70 minutes, and for each alert those that differ
// when it is to fire. In the notation of promtool: a+bxn is a, a+b, ... for n more minutes.

const NODE = '{node="n"}';
const BUCKET = (name: string, le: string, labels = ''): string =>
  `${name}_bucket{${labels}le="${le}"}`;
const SERVICE = (le: string): string =>
  BUCKET('memrack_node_service_seconds', le, 'node="n",kind="read",');
const PAUSE = (le: string): string =>
  BUCKET('memrack_node_region_move_pause_seconds', le, 'node="n",');
const FLUSH = (le: string): string => BUCKET('memrack_node_flush_seconds', le, 'node="n",');
const COMMIT = (le: string): string => BUCKET('memrack_metadata_commit_seconds', le);

const SLABS = (state: string): string => `memrack_device_slabs{device="d",state="${state}"}`;
const ERRORS = 'memrack_device_errors_total{device="d",host="h",kind="read"}';

export type Series = Readonly<Record<string, string>>;

const RISING = '0+600x80';
const NEVER = '0x80';

export const QUIET: Series = {
  'up{job="memrack"}': '1x80',
  memrack_up: '1x80',
  'memrack_nodes{state="away"}': NEVER,
  'memrack_nodes{state="serving"}': '1x80',
  'memrack_findings{code="DATA_LOST"}': NEVER,
  'memrack_findings{code="REGION_UNKNOWN"}': NEVER,
  'memrack_findings{code="LEASE_BLOCKED"}': NEVER,
  memrack_nodes_refused: NEVER,
  'memrack_host_up{host="h"}': '1x80',
  [`memrack_node_answered${NODE}`]: '1x80',
  [`memrack_node_incarnation${NODE}`]: '1x40 2x40',
  [`memrack_node_lent_bytes${NODE}`]: '1000x80',
  [`memrack_node_used_bytes${NODE}`]: '600x80',
  [`memrack_node_frames_refused_total${NODE}`]: '7x80',
  [`memrack_node_slots_held_back${NODE}`]: NEVER,
  [`memrack_node_revocations_waiting${NODE}`]: NEVER,
  memrack_garbage_old_places: NEVER,
  [SERVICE('0.000256')]: RISING,
  [SERVICE('0.016384')]: RISING,
  [SERVICE('0.032768')]: RISING,
  [SERVICE('+Inf')]: RISING,
  [`memrack_node_frame_waits_total${NODE}`]: RISING,
  [`memrack_node_datagrams_dropped_total${NODE}`]: '0+60x80',
  [`memrack_node_datagram_record_rows${NODE}`]: '700x80',
  [`memrack_node_datagram_record_rows_max${NODE}`]: '1000x80',
  'memrack_node_streams_malformed_total{node="n",kind="magic"}': '0+1x80',
  'memrack_node_datagrams_malformed_total{node="n",kind="magic"}': '0+1x80',
  [COMMIT('0.001024')]: RISING,
  [COMMIT('0.262144')]: RISING,
  [COMMIT('0.524288')]: RISING,
  [COMMIT('+Inf')]: RISING,
  memrack_metadata_changes_waiting: '3x80',
  memrack_move_oldest_seconds: '4x80',
  'memrack_moves_total{outcome="done"}': '0+1x80',
  'memrack_moves_total{outcome="refused"}': '0+2x80',
  'memrack_moves_total{outcome="cancelled"}': NEVER,
  'memrack_findings{code="NODE_DRAIN_WAITS"}': NEVER,
  [`memrack_node_to_give_bytes${NODE}`]: NEVER,
  [`memrack_node_unmeasured${NODE}`]: NEVER,
  [PAUSE('0.008')]: RISING,
  [PAUSE('0.256')]: RISING,
  [PAUSE('0.512')]: RISING,
  [PAUSE('+Inf')]: RISING,
  [FLUSH('0.008192')]: RISING,
  [FLUSH('0.524288')]: RISING,
  [FLUSH('1.048576')]: RISING,
  [FLUSH('+Inf')]: RISING,
  [SLABS('whole')]: '7x80',
  [SLABS('lost')]: NEVER,
  [SLABS('away')]: NEVER,
  [SLABS('degraded')]: '0x40 3x10 0x30',
  [ERRORS]: '9x80',
  'memrack_devices{state="waiting"}': NEVER,
};

/** By alert; '': there is no such series. */
export const FIRING: Readonly<Record<string, Series>> = {
  MemrackControllerDown: { 'up{job="memrack"}': '1x60 0x20', memrack_up: '1x60' },
  MemrackRackDown: { memrack_up: '1x60 0x20' },
  MemrackNodesAway: { 'memrack_nodes{state="away"}': '0x60 1x20' },
  MemrackDataLost: { 'memrack_findings{code="DATA_LOST"}': '0x60 1x20' },
  MemrackNodeNotAnswering: { [`memrack_node_answered${NODE}`]: '1x60 0x20' },
  MemrackNodeRestarts: { [`memrack_node_incarnation${NODE}`]: '1x60 2x3 3x20' },
  MemrackNodeRefused: { memrack_nodes_refused: '0x60 1x20' },
  MemrackRegionsUnknown: { 'memrack_findings{code="REGION_UNKNOWN"}': '0x50 2x30' },
  MemrackHostAway: { 'memrack_host_up{host="h"}': '1x60 0x20' },
  MemrackNodeNearlyFull: { [`memrack_node_used_bytes${NODE}`]: '600x60 910x20' },
  MemrackFullInHours: { [`memrack_node_used_bytes${NODE}`]: '300+5x80' },
  MemrackWritesRefused: { [`memrack_node_frames_refused_total${NODE}`]: '7x68 9x20' },
  MemrackThreadStopped: { [`memrack_node_slots_held_back${NODE}`]: '0x60 1x20' },
  MemrackRevocationWaits: { [`memrack_node_revocations_waiting${NODE}`]: '0x60 1x20' },
  MemrackGarbageNotFreed: { memrack_garbage_old_places: '0x20 4x60' },
  MemrackRequestsSlow: { [SERVICE('0.000256')]: NEVER, [SERVICE('0.016384')]: NEVER },
  MemrackFrameWaits: { [`memrack_node_frame_waits_total${NODE}`]: '0+7000x80' },
  MemrackDatagramsDropped: { [`memrack_node_datagrams_dropped_total${NODE}`]: '0+700x80' },
  MemrackRecordNearlyFull: { [`memrack_node_datagram_record_rows${NODE}`]: '700x60 810x20' },
  MemrackInputMalformed: {
    'memrack_node_streams_malformed_total{node="n",kind="magic"}': '0+9x80',
  },
  MemrackMoveStuck: { memrack_move_oldest_seconds: '4x60 121+60x20' },
  MemrackMovesFail: { 'memrack_moves_total{outcome="done"}': '9x80' },
  MemrackMovePauses: { [PAUSE('0.008')]: NEVER, [PAUSE('0.256')]: NEVER },
  MemrackDrainWaits: { 'memrack_findings{code="NODE_DRAIN_WAITS"}': '0x50 1x30' },
  MemrackNodeGivesBack: { [`memrack_node_to_give_bytes${NODE}`]: '0x60 65536x20' },
  MemrackNodeNotMeasured: { [`memrack_node_unmeasured${NODE}`]: '0x60 1x20' },
  MemrackFlushSlow: { [FLUSH('0.008192')]: NEVER, [FLUSH('0.524288')]: NEVER },
  MemrackMetadataSlow: { [COMMIT('0.001024')]: NEVER, [COMMIT('0.262144')]: NEVER },
  MemrackChangesWait: { memrack_metadata_changes_waiting: '3x60 101x20' },
  MemrackDeviceLost: { [SLABS('lost')]: '0x60 1x20' },
  MemrackDeviceAway: { [SLABS('away')]: '0x60 1x20' },
  MemrackDeviceDegraded: { [SLABS('degraded')]: '0x50 3x30' },
  MemrackDeviceErrors: { [ERRORS]: '9x67 12x20' },
  MemrackDeviceWaits: { 'memrack_devices{state="waiting"}': '0x60 1x20' },
  MemrackLeaseBlocked: { 'memrack_findings{code="LEASE_BLOCKED"}': '0x60 1x20' },
};
