/** Takes down what runs with remote memory have left whose processes are certainly gone. */

import { removeDevice, seeDevices } from '../../block/manage.js';
import { connect } from '../library.js';
import { devicePrefix, isGone, RunFolder } from './run-folder.js';
import { takeDown } from './take-down.js';

export interface Cleaned {
  readonly what: string;
  /** Empty: it is gone. */
  readonly problems: readonly string[];
}

/** Of this machine. */
export async function cleanRuns(): Promise<Cleaned[]> {
  const done: Cleaned[] = [];
  for (const folder of RunFolder.all()) {
    const { id, record } = folder;
    const what = `run ${id}`;
    if (record === undefined) {
      // It is the first that is written: nothing was made behind it.
      if (!folder.isNew) folder.remove();
    } else if (!isGone(record.command)) {
      continue;
    } else if (folder.watchdog !== undefined && !isGone(folder.watchdog)) {
      done.push({ what, problems: ['its watchdog is taking it down'] });
      continue;
    } else {
      done.push({ what, problems: await takeDown(folder, record) });
    }
  }
  return done;
}

/** In the rack: devices of this machine's runs of which nothing is left here. */
export async function cleanDevices(url: string): Promise<Cleaned[]> {
  const prefix = devicePrefix();
  const done: Cleaned[] = [];
  const rack = await connect(url);
  try {
    const devices = (await seeDevices(rack.core)) as readonly { readonly name: string }[];
    // Looked at afterwards: a run has its folder before its device.
    const known = new Set(RunFolder.all().map(({ id }) => `${prefix}${id}`));
    for (const { name } of devices) {
      if (!name.startsWith(prefix) || known.has(name)) continue;
      const problem = await removeDevice(rack.core, name).then(
        () => undefined,
        (error: Error) => error.message,
      );
      done.push({ what: `device ${name}`, problems: problem === undefined ? [] : [problem] });
    }
  } finally {
    await rack.close();
  }
  return done;
}
