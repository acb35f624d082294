import { afterEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { PartFlag } from '../../wire/datagram.js';
import { fabricFaults } from '../planted.js';
import { addPart, readPart, ServerRig, withdrawal, writePart } from './testing/server-rig.js';

/** Each planted bug of the serving side does harm, and does none once it is taken away. */

type FaultName = keyof typeof fabricFaults;

afterEach(() => {
  for (const name of Object.keys(fabricFaults) as FaultName[]) fabricFaults[name] = false;
});

/** Runs a scenario without and with the bug; `isRight` must notice. */
function expectHarm(name: FaultName, isRight: (rig: ServerRig) => boolean): void {
  expect(isRight(new ServerRig().greet()), `${name} is not planted`).toBe(true);
  fabricFaults[name] = true;
  expect(isRight(new ServerRig().greet()), `${name} is planted`).toBe(false);
}

const sumAt = (rig: ServerRig, address: number) => rig.memory.view.getUint32(address, true);

test('changes that are not recorded are applied twice when the network doubles them', () => {
  expectHarm('changesNotRecorded', (rig) => {
    const request = rig.request(addPart(1, 0, 1));
    rig.receive([request, request]);
    return sumAt(rig, 0) === 1;
  });
});

test('rows that are dropped before their deadline let a change be applied twice', () => {
  expectHarm('rowDroppedEarly', (rig) => {
    const request = rig.request(addPart(1, 0, 1));
    rig.receive([request]);
    for (let id = 2; id < 40; id++) rig.one({ ...addPart(id, 8, 1), deadline: 5600 + id });
    rig.receive([request]);
    return sumAt(rig, 0) === 1;
  });
});

test('a late change that is executed lands upon newer ones', () => {
  expectHarm('lateChangeExecuted', (rig) => {
    const part = { ...writePart(1, 0, [1, 1, 1, 1]), deadline: 5400 };
    const original = rig.request(part);
    rig.nowMs = 5400;
    const isGivenUp = rig.one({ ...part, attempt: 1 }).flags === PartFlag.NEVER;
    rig.one(writePart(2, 0, [2, 2, 2, 2]));
    rig.receive([original]);
    return isGivenUp && rig.memory.bytes[0] === 2;
  });
});

test('changes recorded by the number of their datagram are applied twice, or not at all', () => {
  expectHarm('recordedByDatagram', (rig) => {
    rig.one({ ...addPart(1, 0, 1), deadline: 5500 });
    rig.one({ ...addPart(1, 0, 1), deadline: 5500, attempt: 1 });
    return sumAt(rig, 0) === 1;
  });
  fabricFaults.recordedByDatagram = false;
  expectHarm('recordedByDatagram', (rig) => {
    rig.ask(addPart(1, 0, 1), addPart(2, 8, 1));
    return sumAt(rig, 0) === 1 && sumAt(rig, 8) === 1;
  });
});

test('an incarnation that is not compared lets a new process repeat what the old one did', () => {
  expectHarm('incarnationNotCompared', (rig) => {
    const part = { ...addPart(1, 0, 1), deadline: 5500 };
    rig.one(part);
    const next = new ServerRig({ memory: rig.memory, seed: 2 }).greet();
    next.incarnation = rig.incarnation;
    next.ask({ ...part, attempt: 1 });
    return sumAt(rig, 0) === 1;
  });
});

test('a retry that is executed although its original was is applied twice', () => {
  expectHarm('retryExecutedAgain', (rig) => {
    const part = { ...addPart(1, 0, 1), deadline: 5500 };
    const request = rig.request(part);
    rig.receive([request, request]);
    const isOnce = sumAt(rig, 0) === 1;
    rig.one({ ...part, attempt: 1 });
    return isOnce && sumAt(rig, 0) === 1;
  });
});

test('a first attempt that is executed after a later one is applied twice', () => {
  expectHarm('originalExecutedAgain', (rig) => {
    const part = { ...addPart(1, 0, 1), deadline: 5500 };
    const original = rig.request(part);
    rig.one({ ...part, attempt: 1 });
    rig.receive([original]);
    return sumAt(rig, 0) === 1;
  });
});

test('an addition in two steps loses one that comes between', () => {
  expectHarm('atomicInTwoSteps', (rig) => {
    rig.ask(addPart(1, 0, 1), addPart(2, 0, 1));
    rig.pass(5);
    return sumAt(rig, 0) === 2;
  });
});

test('a change that is withdrawn and forgotten is executed all the same', () => {
  expectHarm('withdrawalNotRecorded', (rig) => {
    const part = { ...addPart(1, 0, 1), deadline: 5500 };
    const late = rig.request(part);
    const isNever = rig.one({ ...withdrawal(part), attempt: 1 }).flags === PartFlag.NEVER;
    rig.receive([late]);
    return isNever && sumAt(rig, 0) === 0;
  });
});

test('a checksum that is not verified lets wrong bytes in', () => {
  expectHarm('checksumNotVerified', (rig) => {
    const request = rig.request(writePart(1, 0, [1, 2, 3, 4, 5, 6, 7, 8]));
    request[request.length - 8] = 99;
    rig.receive([request]);
    const { status, body } = rig.one(readPart(2, 0, 8));
    return status === Status.Ok && body[0] !== 99;
  });
});
