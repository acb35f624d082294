import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { DeviceNotes, type DeviceReports } from './device-notes.js';

type Told = { after: number; upTo: number; devices: { device: number }[] };

function peerOf(status: () => Status): { peer: Peer; told: Told[] } {
  const told: Told[] = [];
  const call = (_type: unknown, request: Told): Promise<object> => {
    told.push(request);
    return Promise.resolve({ status: status() });
  };
  return { peer: { call } as unknown as Peer, told };
}

const reportsOf = (numbers: readonly number[]): DeviceReports =>
  numbers.map((device) => ({ device })) as unknown as DeviceReports;

test('every device is told once, in parts that follow each other', async () => {
  const numbers = Array.from({ length: 150 }, (_, i) => ((i * 7919) % 1000) + 1);
  const { peer, told } = peerOf(() => Status.Ok);
  await new DeviceNotes('h', () => reportsOf(numbers)).tell(peer);
  expect(told.map(({ devices }) => devices.length)).toEqual([64, 64, 22]);
  expect(told.flatMap(({ devices }) => devices.map(({ device }) => device))).toEqual(
    [...numbers].sort((a, b) => a - b),
  );
  expect(told.map(({ after }) => after)).toEqual([0, told[0]?.upTo, told[1]?.upTo]);
  expect(told[2]?.upTo).toBe(Number.MAX_SAFE_INTEGER);
});

test('that there are none any more is told until it is known, and then no more', async () => {
  let numbers = [5];
  let status: Status = Status.Unavailable;
  const { peer, told } = peerOf(() => status);
  const notes = new DeviceNotes('h', () => reportsOf(numbers));
  await notes.tell(peer);
  numbers = [];
  await notes.tell(peer);
  status = Status.Ok;
  await notes.tell(peer);
  await notes.tell(peer);
  expect(told.map(({ devices }) => devices.length)).toEqual([1, 0, 0]);
});
