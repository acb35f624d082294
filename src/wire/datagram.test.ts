import { expect, test } from 'vitest';
import type { Bytes } from '../runtime/network.js';
import {
  BadDatagram,
  badDatagramName,
  checkDatagram,
  clockAhead,
  DATAGRAM_BYTES_MAX,
  DatagramRefusal,
  DatagramReplyHeader,
  DatagramRequestHeader,
  headerWord,
  PART_HEADER_BYTES,
  partAttempt,
  partDeadline,
  PartFlag,
  partFlags,
  replyAttempt,
  replyBytes,
  replyCount,
  replyExtra,
  REPLY_HEADER_BYTES,
  ReplyWord,
  ReplyWriter,
  REQUEST_HEADER_BYTES,
  requestCount,
  RequestWriter,
} from './datagram.js';
import { messageExtra, messageLength, messageSequence, messageStatus } from './frame.js';
import { messageType } from './frame.js';
import { MessageFlag, MessageType } from './messages.js';
import { CHECKSUM, place } from './testing/frames.js';

const REQUESTS = { checksum: CHECKSUM, isReply: false };
const REPLIES = { checksum: CHECKSUM, isReply: true };
const CLIENT = 0x1a_bcde_0000_0000 + 0xf234_5678;
/** Anything but the start, and with bytes around it that must not matter. */
const AT = 64;

function used(): Bytes {
  const buffer = place(70_000);
  buffer.bytes.fill(0xee);
  return buffer;
}

/** A ping and a write of 13 bytes. */
function request(): { input: Bytes; end: number } {
  const input = used();
  const writer = new RequestWriter(CHECKSUM, CLIENT);
  writer.link = 0xfedcba98;
  writer.incarnation = 5;
  writer.cookieLow = 0x80000001;
  writer.cookieHigh = 7;
  writer.begin(input, AT);
  writer.append(MessageType.Ping, 11, 0, 0xfffffffe, 0, 0);
  const bytes = writer.bytesWith(29);
  input.bytes.fill(3, writer.bodyAt, writer.bodyAt + 29);
  writer.append(MessageType.Write, 0xffffffff, 9, 77, 0x1ff, 29);
  expect(writer.bytes).toBe(bytes);
  return { input, end: AT + writer.seal(0xf0000000) };
}

function reply(): { input: Bytes; end: number } {
  const input = used();
  const writer = new ReplyWriter(CHECKSUM);
  writer.link = 0xfedcba98;
  writer.incarnation = 0x90000000;
  writer.number = 4;
  writer.begin(input, AT);
  input.bytes.fill(9, writer.bodyAt, writer.bodyAt + 3);
  writer.append(MessageType.Read, 0, 0, 1, replyExtra(3, 255), 3);
  writer.append(MessageType.Write, PartFlag.NEVER, 12, 2, replyExtra(0, 1), 0);
  return { input, end: AT + writer.seal(0xffffffff, 250) };
}

test('a request goes in and comes out, and says what its declaration says', () => {
  const { input, end } = request();
  expect(end - AT).toBe(REQUEST_HEADER_BYTES + PART_HEADER_BYTES + PART_HEADER_BYTES + 32);
  expect(checkDatagram(input, AT, end, REQUESTS)).toBe(2);
  expect(requestCount(input, AT)).toBe(2);
  const header = DatagramRequestHeader.decode(input, AT, AT + REQUEST_HEADER_BYTES);
  expect(header).toMatchObject({
    client: CLIENT,
    link: 0xfedcba98,
    incarnation: 5,
    cookieLow: 0x80000001,
    cookieHigh: 7,
    number: 0xf0000000,
    count: 2,
    version: 1,
    tagBytes: 0,
  });
  expect(String.fromCharCode(...input.bytes.subarray(AT, AT + 4))).toBe('MRKQ');
  const ping = AT + REQUEST_HEADER_BYTES;
  expect([messageType(input, ping), messageSequence(input, ping)]).toEqual([MessageType.Ping, 11]);
  expect([partDeadline(input, ping), partAttempt(input, ping)]).toEqual([0xfffffffe, 0]);
  const write = ping + messageLength(input, ping);
  expect([messageSequence(input, write), messageExtra(input, write)]).toEqual([0xffffffff, 9]);
  expect([partDeadline(input, write), partAttempt(input, write)]).toEqual([77, 255]);
  expect([...input.bytes.subarray(end - 4, end)]).toEqual([3, 0, 0, 0]);
});

test('a reply goes in and comes out, and names the attempt', () => {
  const { input, end } = reply();
  expect(checkDatagram(input, AT, end, REPLIES)).toBe(2);
  expect(replyCount(input, AT)).toBe(2);
  expect(DatagramReplyHeader.decode(input, AT, AT + REPLY_HEADER_BYTES)).toMatchObject({
    link: 0xfedcba98,
    incarnation: 0x90000000,
    number: 4,
    clock: 0xffffffff,
    residence: 250,
    count: 2,
  });
  expect(String.fromCharCode(...input.bytes.subarray(AT, AT + 4))).toBe('MRKA');
  const read = AT + REPLY_HEADER_BYTES;
  expect(partFlags(input, read)).toBe(MessageFlag.REPLY);
  expect(replyBytes(messageExtra(input, read))).toBe(3);
  expect(replyAttempt(messageExtra(input, read))).toBe(255);
  const write = read + messageLength(input, read);
  expect(partFlags(input, write)).toBe(MessageFlag.REPLY | PartFlag.NEVER);
  expect(messageStatus(input, write)).toBe(12);
  expect(replyAttempt(messageExtra(input, write))).toBe(1);
});

test('a refusal is a header and its reason; a request is never empty', () => {
  const input = used();
  const writer = new ReplyWriter(CHECKSUM);
  writer.begin(input, AT);
  expect(writer.refuse(1, DatagramRefusal.INCARNATION)).toBe(REPLY_HEADER_BYTES);
  const end = AT + REPLY_HEADER_BYTES;
  expect(checkDatagram(input, AT, end, REPLIES)).toBe(0);
  expect(headerWord(input, AT, ReplyWord.RESIDENCE)).toBe(DatagramRefusal.INCARNATION);
  writer.begin(input, AT);
  writer.refuse(1, 4 as DatagramRefusal);
  expect(checkDatagram(input, AT, end, REPLIES)).toBe(BadDatagram.MESSAGE);
  const asking = new RequestWriter(CHECKSUM, 1);
  asking.begin(input, AT);
  expect(() => asking.seal(1)).toThrow('without a part');
});

/** Changes a datagram at a byte from its start, makes its checksum right, and checks it. */
function changed(make: typeof request, at: number, value: number): number {
  const { input, end } = make();
  input.bytes[AT + at] = value;
  input.words[(AT >> 2) + 1] = 0;
  input.words[(AT >> 2) + 1] = CHECKSUM.crc32c(input.bytes, AT, end);
  return checkDatagram(input, AT, end, make === request ? REQUESTS : REPLIES);
}

test('every kind of breach has its code', () => {
  const { input, end } = request();
  expect(checkDatagram(input, AT, end, REPLIES)).toBe(BadDatagram.MAGIC);
  expect(checkDatagram(input, AT, AT + 3, REQUESTS)).toBe(BadDatagram.LENGTH);
  expect(checkDatagram(input, AT, AT + 32, REQUESTS)).toBe(BadDatagram.LENGTH);
  expect(checkDatagram(input, AT, end - 1, REQUESTS)).toBe(BadDatagram.LENGTH);
  expect(checkDatagram(input, AT, end - 8, REQUESTS)).toBe(BadDatagram.CHECKSUM);
  expect(checkDatagram(input, AT, AT + DATAGRAM_BYTES_MAX + 8, REQUESTS)).toBe(BadDatagram.LENGTH);
  expect(changed(request, 38, 2)).toBe(BadDatagram.VERSION);
  expect(changed(request, 39, 8)).toBe(BadDatagram.TAG);
  expect(changed(request, 14, 0x20)).toBe(BadDatagram.MESSAGE); // A client of 2^53.
  expect(changed(request, 36, 1)).toBe(BadDatagram.MESSAGE); // Fewer parts than there are,
  expect(changed(request, 36, 3)).toBe(BadDatagram.MESSAGE); // more,
  expect(changed(request, 36, 0)).toBe(BadDatagram.MESSAGE); // none.
  expect(changed(request, 40 + 1, 1)).toBe(BadDatagram.MESSAGE); // Flags,
  expect(changed(request, 40 + 3, 1)).toBe(BadDatagram.MESSAGE); // status,
  expect(changed(request, 40 + 21, 1)).toBe(BadDatagram.MESSAGE); // reserved bytes.
  for (const bytes of [0, 16, 20, 28, 32]) {
    expect(changed(request, 40 + 4, bytes)).toBe(BadDatagram.MESSAGE);
  }
  expect(changed(reply, 32 + 1, 0)).toBe(BadDatagram.MESSAGE); // Not a reply.
  expect(changed(reply, 32 + 1, 7)).toBe(BadDatagram.MESSAGE); // Two verdicts.
  expect(changed(reply, 32 + 1, 17)).toBe(BadDatagram.MESSAGE); // A flag that there is not.
  expect(changed(reply, 32 + 1, 9)).toBe(2);
  expect(badDatagramName(BadDatagram.TAG)).toBe('tag');
});

test('a datagram is checked as often as it is shown, and never changed', () => {
  const { input, end } = request();
  const before = input.bytes.slice();
  for (let i = 0; i < 2; i++) expect(checkDatagram(input, AT, end, REQUESTS)).toBe(2);
  expect(input.bytes).toEqual(before);
});

test('a checksum that is wrong is found, or taken with a planted bug', () => {
  const { input, end } = request();
  input.bytes[end - 1] = 1;
  expect(checkDatagram(input, AT, end, REQUESTS)).toBe(BadDatagram.CHECKSUM);
  const planted = { ...REQUESTS, acceptsWrongChecksum: () => true };
  expect(checkDatagram(input, AT, end, planted)).toBe(2);
});

test('the largest datagram can be made, and no larger one', () => {
  const input = used();
  const writer = new RequestWriter(CHECKSUM, CLIENT);
  writer.begin(input, AT);
  const most = DATAGRAM_BYTES_MAX - REQUEST_HEADER_BYTES - PART_HEADER_BYTES;
  writer.append(MessageType.Ping, 1, 0, 0, 0, most);
  const end = AT + writer.seal(1);
  expect(end - AT).toBe(DATAGRAM_BYTES_MAX);
  expect(checkDatagram(input, AT, end, REQUESTS)).toBe(1);
  writer.begin(input, AT);
  expect(() => writer.append(MessageType.Ping, 1, 0, 0, 0, most + 1)).toThrow('too long');
});

test('a clock is ahead of another one also where it wraps', () => {
  expect(clockAhead(5, 3)).toBe(2);
  expect(clockAhead(1, 0xffffffff)).toBe(2);
  expect(clockAhead(0xffffffff, 1)).toBe(-2);
});
