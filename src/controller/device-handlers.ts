/** The controller's calls about block devices, as messages. */
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { utf8Bytes } from '../base/utf8.js';
import { JSON_BYTES_MAX, SETS_PER_MESSAGE_MAX } from '../wire/limits.js';
import * as wire from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { Controller } from './controller.js';
import { deviceFacts } from './device-facts.js';
import type { DeviceRow } from './metadata/schema.js';
import { copiesOf, type SetCopy } from './metadata/slab-sets.js';
import { isRefusal } from './refusal.js';
import { cut, refuseChange, refused, type Serve } from './replies.js';

const M = wire.MessageType;

export function serveDevices(serve: Serve, controller: Controller): void {
  const { devices, slabSpace } = controller;
  serve(M.CreateDevice, async (request) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await devices.create(request);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  serve(M.OpenDevice, ({ name }) => {
    const result = devices.open(name);
    if (isRefusal(result)) return refuseChange(controller) ?? refused(result);
    return { status: Status.Ok, ...deviceMessage(result.device) };
  });
  serve(M.ListDevices, ({ after }) => {
    const rows = devices.list().filter((row) => row.name > after);
    const { values, more } = cut(rows.map(deviceMessage), wire.DeviceFacts.encodedBytes);
    return { status: Status.Ok, devices: values, more };
  });
  serve(M.SeeDevices, ({ after }) => {
    const texts = deviceFacts(controller)
      .filter(({ name }) => name > after)
      .map((facts) => JSON.stringify(facts));
    const { values, more } = cut(texts, (text) => utf8Bytes(text) + 1, JSON_BYTES_MAX);
    return { status: Status.Ok, json: `[${values.join(',')}]`, more };
  });
  serve(M.RemoveDevice, async ({ name, device, epoch }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await devices.remove(name, device, epoch);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  serve(M.ResizeDevice, async ({ isForced, ...wish }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await devices.resize({ ...wish, isForced: isForced !== 0 });
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  serve(M.SetDeviceOptions, async (wish) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await devices.setOptions(wish);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  const grant = async (node: string, after: number, bytes = 0) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await slabSpace.grant(node, after, bytes);
    if (isRefusal(result)) return refused(result);
    const { row, pageBytes, address } = result;
    const { space, region, epoch, memoryId } = row;
    return { status: Status.Ok, space, region, epoch, memoryId, pageBytes, address };
  };
  serve(M.GrantSlabRegion, ({ node, after }) => grant(node, after));
  serve(M.GrantSlabRoom, ({ node, after, bytes }) => grant(node, after, bytes));
  serveSets(serve, controller);
}

function serveSets(serve: Serve, controller: Controller): void {
  const { devices } = controller;
  serve(M.GetSets, ({ device, from }) => {
    const result = devices.sets(device, from, SETS_PER_MESSAGE_MAX);
    if (isRefusal(result)) return refuseChange(controller) ?? refused(result);
    const { rows, next } = result;
    const sets = rows.map(({ slab, generation, copies }) => {
      return { slab, generation, copies: copiesOf(copies).map(copyMessage) };
    });
    const { values, more } = cut(sets, wire.SlabSet.encodedBytes);
    const left = more === 0 ? next : (sets[values.length]?.slab ?? 0);
    return { status: Status.Ok, sets: values, next: left };
  });
  serve(M.PutSet, async ({ copies, ...wish }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const places = copies.map((copy) => ({ ...copy, space: copy.space as SpaceId }));
    const result = await devices.putSet({ ...wish, copies: places });
    if (isRefusal(result)) return refused(result);
    return {
      status: Status.Ok,
      generation: result.generation,
      isTaken: result.isTaken ? 1 : 0,
      copies: result.copies.map(copyMessage),
    };
  });
}

function deviceMessage(row: DeviceRow): Fields<typeof wire.DeviceFacts> {
  const { name, device, bytes, slabBytes, copies, options, sinceMs } = row;
  return { name, device, bytes, slabBytes, copies, options, sinceMs };
}

function copyMessage(copy: SetCopy): Fields<typeof wire.SlabCopy> {
  return { ...copy };
}
