/** Tells the controller what a host knows of the devices that it serves, some at a time. */

import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { DEVICE_REPORTS_PER_MESSAGE_MAX } from '../wire/limits.js';
import { type DeviceReport, MessageType } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';

export type DeviceReports = readonly Fields<typeof DeviceReport>[];

const CALL_MS = 2_000;

export class DeviceNotes {
  readonly #host: string;
  readonly #reports: () => DeviceReports;
  #isTelling = false;
  /** Whether the controller may know of devices. */
  #hasTold = false;

  constructor(host: string, reports: () => DeviceReports) {
    this.#host = host;
    this.#reports = reports;
  }

  /** What is lost on the way is told anew the next time. */
  async tell(controller: Peer): Promise<void> {
    if (this.#isTelling) return;
    const reports = [...this.#reports()].sort((a, b) => a.device - b.device);
    if (reports.length === 0 && !this.#hasTold) return;
    this.#isTelling = true;
    this.#hasTold = true;
    const isTold = await this.#tellAll(controller, reports);
    if (isTold && reports.length === 0) this.#hasTold = false;
    this.#isTelling = false;
  }

  async #tellAll(controller: Peer, reports: DeviceReports): Promise<boolean> {
    for (let from = 0, after = 0; ; ) {
      const devices = reports.slice(from, from + DEVICE_REPORTS_PER_MESSAGE_MAX);
      from += devices.length;
      const isLast = from === reports.length;
      const upTo = isLast ? Number.MAX_SAFE_INTEGER : (devices.at(-1)?.device ?? after);
      const request = { host: this.#host, after, upTo, devices };
      const reply = await controller.call(MessageType.NoteDevices, request, CALL_MS);
      if (isLast || reply.status !== Status.Ok) return reply.status === Status.Ok;
      after = upTo;
    }
  }
}
