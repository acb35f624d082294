/** What `memrack top` shows, as lines for people. */

import {
  bytesASecond,
  type Column,
  formatDuration,
  paint,
  type Screen,
  short,
  table,
} from '../apps/terminal.js';
import { formatBytes } from '../base/units.js';
import { DEVICE_COLUMNS } from './device-table.js';
import type { TopFacts, TopMove, TopNode } from './top-facts.js';

/** Everything; a screen shows of it what fits. */
export function topLines(facts: TopFacts, url: string, screen: Screen): string[] {
  const { at, state, bytesLent, bytesUsed, bytesCommitted, findings, hosts, spaces, moves } = facts;
  const colour = state === 'serving' ? 'green' : state === 'down' ? 'red' : 'yellow';
  const sizes =
    `${formatBytes(bytesUsed)} used, ${formatBytes(bytesCommitted)} allocated ` +
    `of ${formatBytes(bytesLent)}`;
  const hostText = hosts.map(({ id, state: of }) => `${id} ${of}`).join(', ');
  return [
    `${paint(screen, 'bold', 'memrack top')}  ${url}  ${at.slice(11, 19)}`,
    `${paint(screen, colour, state)}  ${sizes}${hostText === '' ? '' : `  hosts: ${hostText}`}`,
    ...findings.map(({ code, severity, subject }) => {
      const mark = paint(screen, severity === 'error' ? 'red' : 'yellow', code);
      return severity === 'info' ? '' : `${mark} ${subject}`;
    }),
    ...section('memory nodes', facts.nodes, NODE_COLUMNS),
    ...section('links', facts.nodes, LINK_COLUMNS),
    ...(moves.length === 0 ? [] : section('moves', moves, MOVE_COLUMNS)),
    ...(facts.devices.length === 0 ? [] : section('devices', facts.devices, DEVICE_COLUMNS)),
    ...section('spaces', spaces, [
      { title: 'space', value: ({ name }) => name },
      { title: 'kind', value: ({ kind }) => kind },
      { title: 'regions', value: ({ regions }) => String(regions), isNumber: true },
      { title: 'state', value: (space) => space.state },
    ]),
  ].filter((line, i, lines) => line !== '' || lines[i - 1] !== '');

  function section<Row>(
    title: string,
    rows: readonly Row[],
    columns: readonly Column<Row>[],
  ): string[] {
    if (rows.length === 0) return ['', paint(screen, 'dim', `no ${title}`)];
    const [head = '', ...lines] = table(rows, columns).trimEnd().split('\n');
    return ['', paint(screen, 'bold', head), ...lines];
  }
}

function number(
  title: string,
  of: (node: TopNode) => number | undefined,
  show: (value: number) => string = short,
): Column<TopNode> {
  const value = (node: TopNode): string => {
    const found = of(node);
    return found === undefined ? '-' : show(found);
  };
  return { title, value, isNumber: true };
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
const micros = (us: number): string => formatDuration(us / 1000);

const ID: Column<TopNode> = { title: 'node', value: ({ id }) => id };

const NODE_COLUMNS: readonly Column<TopNode>[] = [
  ID,
  { title: 'state', value: ({ state }) => state },
  number('lent', ({ bytesLent }) => bytesLent, formatBytes),
  number(
    'used',
    ({ bytesLent, bytesUsed }) => (bytesLent === 0 ? 0 : bytesUsed / bytesLent),
    percent,
  ),
  number('to give', ({ bytesToGive }) => bytesToGive, formatBytes),
  number('reads/s', ({ reads }) => reads),
  number('writes/s', ({ writes }) => writes),
  number('atomics/s', ({ atomics }) => atomics),
  number('refused/s', ({ refusals }) => refusals),
  number('read', ({ bytesRead }) => bytesRead, bytesASecond),
  number('written', ({ bytesWritten }) => bytesWritten, bytesASecond),
  number('p50', ({ serviceP50Us }) => serviceP50Us, micros),
  number('p99', ({ serviceP99Us }) => serviceP99Us, micros),
];

const MOVE_COLUMNS: readonly Column<TopMove>[] = [
  { title: 'region', value: ({ space, region }) => `${space}/${region}` },
  { title: 'from', value: ({ from }) => from },
  { title: 'to', value: ({ to }) => to },
  { title: 'for', value: ({ ms }) => formatDuration(ms), isNumber: true },
];

const LINK_COLUMNS: readonly Column<TopNode>[] = [
  ID,
  number('answer', ({ answerMs }) => answerMs, formatDuration),
  number('streams', ({ streams }) => streams),
  number('windows', ({ windows }) => windows),
  number('threads', ({ threads }) => threads),
  number('stopped', ({ threadsStopped }) => threadsStopped),
  number('quarantine', ({ framesResting }) => framesResting),
  number('datagrams in/s', ({ datagramsReceived }) => datagramsReceived),
  number('out/s', ({ datagramsSent }) => datagramsSent),
  number('dropped/s', ({ datagramsDropped }) => datagramsDropped),
  number('record', ({ recordFill }) => recordFill, percent),
];
